"""The settings of a labelling session; free of every library, so that the command line starts fast."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PeopleConfig:
    """How people are asked, where their answers are kept, and how far ahead of them a policy may run."""

    database: str = ""
    """where answers are kept: empty for <run>/labels.db (SQLite), or postgresql://host/name; give the
    password by PGPASSWORD or ~/.pgpass, for this setting is written to the run"""
    media: str = ""
    """where drawn clips are kept: empty for <run>/media, or a folder, or s3://bucket/prefix"""
    serve: bool = True
    """whether training starts the web server too; false where `surefoot label` runs apart"""
    host: str = "127.0.0.1"
    """address the server listens at"""
    port: int = 8737
    """and its port; the next free one when it is taken"""
    processes: int = 1
    """server processes"""
    lead: int = 40
    """open queries at which the policy waits for people, or a tenth of the labels if that is less; it
    shrinks to 0 over the last fifth of the steps"""
    patience_seconds: float = 4.0
    """the reward is fitted anew this long after an answer, if not enough for a batch come earlier"""
    overlap_share: float = 0.05
    """share of the queries that several people are asked"""
    overlap: int = 3
    """how many people those are"""
    repeat_share: float = 0.05
    """share of the offers that ask a person an own query again, sides swapped"""
    gold_share: float = 0.03
    """share of the offers whose answer the owner knows, where there are any"""

    def __post_init__(self) -> None:
        if self.lead < 1:
            raise ValueError(f"people.lead must be at least 1 query, got {self.lead}")
        if not self.patience_seconds >= 0:
            raise ValueError(f"people.patience_seconds must not be negative, got {self.patience_seconds}")
        if self.processes < 1:
            raise ValueError(f"people.processes must be at least 1, got {self.processes}")
        if not 0 <= self.port < 65536:
            raise ValueError(f"people.port must lie in [0, 65535], got {self.port}")
