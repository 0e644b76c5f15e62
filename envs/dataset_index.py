"""The index of an EpisodeDataset: one checksummed line per episode, and what a crash can do to it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.episode import Episode

Array = NDArray[Any]

ALIGNMENT = 64
"""Bytes: every stream starts at a multiple, so that mapped arrays are aligned for any dtype."""


@dataclass(frozen=True)
class Stream:
    """Where one array lies in the data file: `offset` in bytes."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class Record:
    """One line of the index. stop: the end of the episode's bytes in the data file."""

    id: str
    terminated: bool
    truncated: bool
    stop: int
    streams: Mapping[str, Stream]

    def __len__(self) -> int:
        """Number of steps T."""
        return self.streams["action"].shape[0]

    def read(self, data: Any) -> Episode:
        """The Episode as views of `data`, a buffer over the whole data file."""
        views = {
            name: np.ndarray(stream.shape, np.dtype(stream.dtype), buffer=data, offset=stream.offset)
            for name, stream in self.streams.items()
        }

        def group(prefix: str) -> dict[str, Array]:
            return {name[len(prefix) :]: view for name, view in views.items() if name.startswith(prefix)}

        return Episode(
            observations=group("observation/"),
            actions=views["action"],
            rewards=views["reward"],
            times=views["time"],
            terminated=self.terminated,
            truncated=self.truncated,
            info=group("info/"),
        )


@dataclass(frozen=True)
class Scan:
    """What a look through index bytes found.

    stop: bytes worth keeping; damaged: lines (from 1) of whole lines with a wrong checksum;
    torn: why something lies beyond `stop`, None if nothing does.
    """

    records: list[Record]
    stop: int
    damaged: list[int]
    torn: str | None


def lay_out(episode: Episode, id: str, start: int) -> tuple[Record, list[tuple[int, Array]]]:
    """Where the episode's arrays go if written from byte `start` on, and the (offset, array) pairs.

    Raises TypeError for arrays that have no plain bytes (objects, structures).
    """
    streams, chunks, stop = {}, [], start
    for name, array in episode.streams().items():
        if array.dtype.kind not in "biufcSU":
            raise TypeError(f"{name} has dtype {array.dtype}: only numbers, booleans and text can be stored")
        offset = -(-stop // ALIGNMENT) * ALIGNMENT
        streams[name] = Stream(array.dtype.str, array.shape, offset)
        chunks.append((offset, np.ascontiguousarray(array)))
        stop = offset + array.nbytes
    return Record(id, bool(episode.terminated), bool(episode.truncated), stop, streams), chunks


def encode_line(record: Record) -> bytes:
    """crc32 in hex, a space, JSON, newline. The newline comes last: without it the line is torn."""
    text = json.dumps(asdict(record), separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode_line(line: bytes) -> Record | None:
    """None when the checksum is wrong. line: without the newline."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    fields = json.loads(text)
    streams = {
        name: Stream(stream["dtype"], tuple(stream["shape"]), stream["offset"])
        for name, stream in fields.pop("streams").items()
    }
    return Record(**fields, streams=streams)


def scan_index(raw: bytes, data_size: int) -> Scan:
    """Reads index lines. A line in the middle that is damaged costs its own episode, no other.

    data_size: bytes in the data file, measured after `raw` was read.
    """
    *lines, rest = raw.split(b"\n")
    records: list[Record] = []
    damaged: list[int] = []
    stop = 0
    for number, line in enumerate(lines, start=1):
        record = decode_line(line)
        if record is not None and record.stop > data_size:
            return Scan(records, stop, damaged, f"the data of episode {record.id[:12]} end too early")
        if record is None:
            damaged.append(number)
        else:
            records.append(record)
        stop += len(line) + 1
    return Scan(
        records, stop, damaged, f"the last index line is cut off ({len(rest)} bytes)" if rest else None
    )
