"""The three places where tasks run: this machine, a Ray cluster, a Slurm cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agents.sweep.task import Executor

Place = Literal["local", "ray", "slurm"]


@dataclass(frozen=True)
class ExecutorConfig:
    """Where, and how many at a time."""

    place: Place = "local"
    jobs: int | None = None
    """tasks at a time; None: one locally, on a cluster as many as its processors allow"""
    address: str = "auto"
    """of Ray's head, host:port; auto: the one of this machine; local: a Ray of its own on this machine"""
    cpus: float = 1.0
    """processors that a task is given on a cluster"""
    gpus: float = 0.0
    slurm: Mapping[str, Any] = field(default_factory=dict)
    """parameters of submitit, such as slurm_partition, timeout_min, mem_gb"""

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"jobs must be at least 1, got {self.jobs}")
        if not (self.cpus >= 0 and self.gpus >= 0):
            raise ValueError(f"cpus and gpus must not be negative, got {self.cpus} and {self.gpus}")


def open_executor(config: ExecutorConfig, folder: Path) -> Executor:
    """Raises TaskError when the cluster cannot be reached or used. folder: for Slurm's scripts and logs; all
    nodes must see it."""
    if config.place == "ray":
        from agents.sweep.ray_cluster import RayExecutor

        return RayExecutor(config.address, slots=config.jobs, cpus=config.cpus, gpus=config.gpus)
    if config.place == "slurm":
        from agents.sweep.slurm import SlurmExecutor

        wants = {"cpus_per_task": max(1, round(config.cpus)), **dataclasses.asdict(config)["slurm"]}
        if config.gpus:
            wants.setdefault("gpus_per_node", max(1, round(config.gpus)))
        return SlurmExecutor(folder, slots=config.jobs or 16, settings=wants)
    from agents.sweep.local import LocalExecutor

    return LocalExecutor(config.jobs or 1)
