"""The two files behind an EpisodeDataset: appending that a crash cannot spoil, reading through a map.

The bytes are on the disk before the index line that names them, so whatever the index names is whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import warnings
from pathlib import Path

import numpy as np

from envs.dataset_index import Record, Scan, encode_line, lay_out, scan_index
from envs.dataset_spec import DatasetError
from envs.episode import Episode


class DatasetWarning(UserWarning):
    """Something in a dataset was lost or is damaged; the rest is usable."""


class DatasetLockedError(DatasetError):
    """Another writer has the dataset open."""


class DatasetWriteError(OSError):
    """The disk took no more (full, quota, failing); nothing that was saved before is lost."""


class EpisodeFiles:
    """data.bin and index.jsonl of one folder. Not safe to share between threads."""

    def __init__(self, path: Path, read_only: bool) -> None:
        self.path = path
        self._map: mmap.mmap | bytes = b""
        self._index_stop = self._data_stop = 0
        with contextlib.ExitStack() as opened:
            flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT
            self._data = _open(path / "data.bin", flags, opened)
            self._index = _open(path / "index.jsonl", flags, opened)
            self._opened = opened.pop_all()

    def new_records(self) -> Scan:
        """The whole records of the index that were not seen yet."""
        raw = _read_from(self._index, self._index_stop)
        # The size after the index: a writer's data are always ahead of its index.
        scan = scan_index(raw, os.fstat(self._data).st_size)
        self._index_stop += scan.stop
        self._data_stop = max([self._data_stop, *(record.stop for record in scan.records)])
        return scan

    def drop_tail(self, scan: Scan) -> None:
        """Cuts off what an interrupted append left behind the last whole record, with a DatasetWarning."""
        size = os.fstat(self._data).st_size
        if scan.damaged:
            # The bytes of a damaged line may lie behind the last good record: overwrite nothing.
            self._data_stop = size
        unnamed = size - self._data_stop
        if scan.torn or unnamed:
            why = scan.torn or f"{unnamed} bytes of data without an index line"
            warnings.warn(
                f"{self.path}: the last append was interrupted ({why}); it is dropped, "
                "the whole episodes before it are kept",
                DatasetWarning,
                stacklevel=3,
            )
        self._cut()

    def write(self, episode: Episode, id: str, durable: bool) -> Record:
        """Appends one episode, or leaves the files as they were and raises DatasetWriteError."""
        record, chunks = lay_out(episode, id, self._data_stop)
        line = encode_line(record)
        try:
            for offset, array in chunks:
                _write_at(self._data, array.reshape(-1).view(np.uint8).data, offset)
            if durable:
                os.fsync(self._data)
            _write_at(self._index, memoryview(line), self._index_stop)
            if durable:
                os.fsync(self._index)
            self._data_stop, self._index_stop = record.stop, self._index_stop + len(line)
        except BaseException as error:
            self._cut()
            if not isinstance(error, OSError):
                raise
            raise DatasetWriteError(
                error.errno,
                f"{self.path}: an episode of {record.stop - self._data_stop:,} bytes could not be saved "
                f"({error.strerror}); all episodes saved before are untouched. Make room and append it again",
            ) from error
        return record

    def read(self, record: Record) -> Episode:
        """The episode as read-only views of the file."""
        if len(self._map) < record.stop:
            # Views of the smaller, older map keep it alive for themselves.
            self._map = mmap.mmap(self._data, 0, access=mmap.ACCESS_READ)
        return record.read(self._map)

    def flush(self) -> None:
        os.fsync(self._data)
        os.fsync(self._index)

    def close(self) -> None:
        self._map = b""
        self._opened.close()

    def _cut(self) -> None:
        """Back to the last whole record; the index first, so that it never names data that are gone."""
        os.ftruncate(self._index, self._index_stop)
        os.ftruncate(self._data, self._data_stop)


def lock_folder(path: Path) -> int:
    """Makes this the only writer until the returned descriptor is closed, or the process ends in any way.

    Raises DatasetLockedError.
    """
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # flock, not lockf: it also keeps out a second writer in this very process.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise DatasetLockedError(
            f"{path} is open for writing in process {holder}: close it there, or open it with read_only=True"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _open(file: Path, flags: int, opened: contextlib.ExitStack) -> int:
    descriptor = os.open(file, flags | os.O_CLOEXEC, 0o644)
    opened.callback(os.close, descriptor)
    return descriptor


def _read_from(descriptor: int, offset: int) -> bytes:
    parts = []
    while part := os.pread(descriptor, 1 << 24, offset):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _write_at(descriptor: int, content: memoryview, offset: int) -> None:
    """All of it: a disk that fills takes a part first and refuses the rest."""
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written
