"""Episodes on disk: append-only, crash-safe, memory-mapped.

A dataset is a folder:
    dataset.json   format version and spaces
    data.bin       the raw bytes of every array, each aligned to 64 bytes
    index.jsonl    one line per episode: crc32, then where its arrays lie
    lock           held by the one process that writes
"""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from envs.dataset_files import (
    DatasetLockedError,
    DatasetWarning,
    DatasetWriteError,
    EpisodeFiles,
    lock_folder,
)
from envs.dataset_index import Record
from envs.dataset_spec import SPEC_FILE, DatasetError, DatasetSpec, create_spec, read_spec
from envs.episode import Clip, Episode
from envs.files import sync_folder
from envs.spaces import Space

__all__ = [
    "DamagedEpisodeError",
    "DatasetError",
    "DatasetLockedError",
    "DatasetWarning",
    "DatasetWriteError",
    "EpisodeDataset",
]


class DamagedEpisodeError(DatasetError):
    """The bytes of an episode are not those that were written."""


class EpisodeDataset:
    """Episodes by id (their digest), in the order they were appended.

    read_only: several processes may read while one writes; `refresh` shows them what is new.
    observation_space, action_space: saved on creation, compared on later openings (ValueError).
    durable: `append` returns only when the episode is on the disk; otherwise the operating system
    decides (a kill -9 still loses nothing, a power cut may) and `flush` forces it.
    check: compare an episode's digest when it is first read, and raise DamagedEpisodeError.
    """

    def __init__(
        self,
        path: str | Path,
        read_only: bool = False,
        *,
        observation_space: Space | None = None,
        action_space: Space | None = None,
        durable: bool = True,
        check: bool = False,
    ) -> None:
        self.path = Path(path)
        self.read_only = read_only
        self.durable = durable
        self.check = check
        self.closed = False
        self._records: dict[str, Record] = {}
        self._checked: set[str] = set()
        self._mutex = threading.RLock()
        given = DatasetSpec(observation_space, action_space)
        with contextlib.ExitStack() as opened:
            if not read_only:
                _make_folder(self.path)
                opened.callback(os.close, lock_folder(self.path))
                if not (self.path / SPEC_FILE).exists():
                    create_spec(self.path, given)
            self.spec = read_spec(self.path)
            if difference := self.spec.difference(given):
                raise ValueError(f"{self.path} was recorded with {difference}")
            self._files = EpisodeFiles(self.path, read_only)
            opened.callback(self._files.close)
            self._look_through()
            self._opened = opened.pop_all()

    def append(self, episode: Episode) -> str:
        """Saves the episode and returns its id; writes nothing if it is there already.

        Raises DatasetWriteError when the disk is full, ValueError when the observations do not
        fit the dataset's space, TypeError for arrays of objects.
        """
        if self.read_only:
            raise DatasetError(f"{self.path} was opened with read_only=True: open it without to append")
        if misfit := self.spec.misfit(episode):
            raise ValueError(f"this episode does not belong into {self.path}: {misfit}")
        id = episode.digest()
        with self._mutex:
            self._require_open()
            if id not in self._records:
                self._records[id] = self._files.write(episode, id, self.durable)
        return id

    def __getitem__(self, key: str | Clip) -> Episode:
        """An id gives the episode as read-only views of the file; a Clip gives a copy of its steps only.

        KeyError: no such episode. ValueError: the clip reaches beyond it.
        """
        id = key.episode if isinstance(key, Clip) else key
        with self._mutex:
            self._require_open()
            episode = self._files.read(self._record(id))
        if self.check and id not in self._checked:
            if episode.digest() != id:
                raise DamagedEpisodeError(
                    f"{self.path}: the bytes of episode {id} have changed since they were saved"
                )
            self._checked.add(id)
        return episode.slice(key.start, key.length) if isinstance(key, Clip) else episode

    def verify(self, ids: Iterable[str] | None = None) -> list[str]:
        """Reads all episodes (or these) in full; returns the ids whose bytes are not what was saved."""
        with self._mutex:
            self._require_open()
            episodes = {id: self._files.read(self._record(id)) for id in (self.ids if ids is None else ids)}
        return [id for id, episode in episodes.items() if episode.digest() != id]

    def steps(self, id: str) -> int:
        """Number of steps of an episode, without touching its data."""
        return len(self._record(id))

    @property
    def ids(self) -> list[str]:
        """Ids in the order of appending."""
        return list(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, id: object) -> bool:
        return id in self._records

    def refresh(self) -> int:
        """Takes in what another process has appended since; returns the number of new episodes."""
        with self._mutex:
            self._require_open()
            before = len(self)
            self._records.update((record.id, record) for record in self._files.new_records().records)
            return len(self) - before

    def flush(self) -> None:
        """Forces everything appended onto the disk."""
        with self._mutex:
            self._require_open()
            if not self.read_only:
                self._files.flush()

    def close(self) -> None:
        """Flushes and releases the files and the lock. Episodes read before stay usable."""
        with self._mutex:
            if not self.closed:
                if not self.durable:
                    self.flush()
                self.closed = True
                self._opened.close()

    def __enter__(self) -> EpisodeDataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look_through(self) -> None:
        scan = self._files.new_records()
        self._records.update((record.id, record) for record in scan.records)
        if scan.damaged:
            warnings.warn(
                f"{self.path}: index lines {scan.damaged} are damaged; their episodes are skipped, "
                f"the {len(self)} others are kept",
                DatasetWarning,
                stacklevel=3,
            )
        # A reader leaves the tail alone: a writer may be in the middle of it.
        if not self.read_only:
            self._files.drop_tail(scan)

    def _record(self, id: str) -> Record:
        try:
            return self._records[id]
        except KeyError:
            raise KeyError(f"no episode {id!r} among the {len(self)} of {self.path}") from None

    def _require_open(self) -> None:
        if self.closed:
            raise DatasetError(f"{self.path} is closed")


def _make_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise DatasetError(f"{path} is a file, expected a folder")
    if not path.exists():
        path.mkdir(parents=True, exist_ok=True)
        sync_folder(path.parent)
