"""A bag being read: as far as it is whole, whoever wrote it.

A file that was cut off or spoilt gives everything up to the chunk in which the damage is.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robot.bag import ABOUT, FIX, BagError


@dataclass(frozen=True, slots=True)
class Record:
    """A message as it lies in a bag. Times are ns; `kind` is "sensor_msgs/msg/Imu"."""

    topic: str
    kind: str
    data: bytes
    log_time: int
    publish_time: int


@dataclass
class Bag:
    """MCAP files in the order in which they were recorded.

    damage: {file: where and why it ends early}, known of a file once it was read to its end. about: what
    our recorder saved at the head of the files, and at the end what it dropped.
    """

    name: str
    files: list[Path]
    damage: dict[str, str] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)

    def topics(self) -> dict[str, str]:
        """{topic: kind} of every topic with a message. Reads all of the files that were cut off."""
        found: dict[str, str] = {}
        for file in self.files:
            summary = _summary(file)
            if summary is None:
                found.update((record.topic, record.kind) for record in self._messages(file))
                continue
            found.update(summary)
        return found

    def messages(self) -> Iterator[Record]:
        """All of them, in the order of the files."""
        for file in self.files:
            yield from self._messages(file)

    def _messages(self, file: Path) -> Iterator[Record]:
        from mcap.records import Chunk, Message, Metadata
        from mcap.stream_reader import StreamReader

        channels = _Channels()
        count, size = 0, file.stat().st_size
        with file.open("rb") as stream:
            # A length that was spoilt must not ask for more memory than the file is long.
            records = StreamReader(stream, emit_chunks=True, record_size_limit=max(size, 1)).records
            while True:
                found: list[Record] = []
                try:
                    record: Any = next(records, None)
                    if record is None:
                        return
                    if isinstance(record, Chunk):
                        found = channels.split(record)
                    elif isinstance(record, Message):
                        found = [channels.record(record.channel_id, record)]
                    elif isinstance(record, Metadata) and record.name.startswith(ABOUT):
                        self.about.update(record.metadata)
                    else:
                        channels.learn(record)
                except Exception as error:  # spoilt bytes make the library raise almost anything
                    self._note(file, count, stream.tell(), size, error)
                    return
                count += len(found)
                yield from found

    def _note(self, file: Path, count: int, at: int, size: int, error: Exception) -> None:
        why = "it was cut off" if at >= size else f"it is damaged at byte {at:,} of {size:,}"
        self.damage[file.name] = f"{why}; {count} messages before are whole ({type(error).__name__})"


class _Channels:
    """What the channels of a file are, and the messages of its chunks."""

    def __init__(self) -> None:
        self._schemas: dict[int, str] = {0: ""}
        self._channels: dict[int, tuple[str, str]] = {}

    def learn(self, record: Any) -> None:
        """Of a schema or a channel."""
        from mcap.records import Channel, Schema

        if isinstance(record, Schema):
            self._schemas[record.id] = record.name
        elif isinstance(record, Channel):
            self._channels[record.id] = (record.topic, _kind(record, self._schemas))

    def record(self, channel: int, message: Any) -> Record:
        topic, kind = self._channels[channel]
        return Record(topic, kind, message.data, message.log_time, message.publish_time)

    def split(self, chunk: Any) -> list[Record]:
        """A chunk's messages. By hand: the library's own way takes five times as long."""
        from mcap.opcode import Opcode
        from mcap.records import Channel, Schema
        from mcap.stream_reader import ReadDataStream, get_chunk_data_stream

        stream, length = get_chunk_data_stream(chunk, validate_crc=True)
        data = stream.read(length)
        found, at = [], 0
        while at < length:
            opcode, size = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            if opcode == Opcode.MESSAGE:
                channel, _, log_time, publish_time = _MESSAGE.unpack_from(data, at)
                topic, kind = self._channels[channel]
                found.append(
                    Record(topic, kind, data[at + _MESSAGE.size : at + size], log_time, publish_time)
                )
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                part = ReadDataStream(io.BytesIO(data[at : at + size]))
                self.learn((Schema if opcode == Opcode.SCHEMA else Channel).read(part))
            at += size
        return found


_HEAD, _MESSAGE = struct.Struct("<BQ"), struct.Struct("<HIQQ")
"""of a record: opcode and length; of a message: channel, sequence, log_time, publish_time"""


def open_bag(path: Path) -> Bag:
    """A rosbag2 folder of MCAP files, or one .mcap file.

    Raises FileNotFoundError, and BagError for bags of another kind.
    """
    try:
        import mcap.stream_reader  # noqa: F401
    except ImportError as error:
        raise BagError(f"bags need mcap and rosbags ({error}): {FIX}") from error
    if path.is_file():
        if path.suffix != ".mcap":
            raise BagError(f"{path} is no .mcap file: give a bag's folder or its .mcap files; {_CONVERT}")
        return _with_head(Bag(path.stem, [path]))
    if not path.is_dir():
        raise FileNotFoundError(f"there is no bag {path}: give a folder that `surefoot robot record` wrote")
    files = sorted(path.glob("*.mcap"), key=_number)
    if not files:
        others = sorted(one.name for one in path.iterdir())[:3]
        if any(name.endswith(".db3") for name in others):
            raise BagError(f"{path} is an SQLite bag; {_CONVERT}")
        raise BagError(f"{path} holds no .mcap file (but {', '.join(others) or 'nothing'})")
    return _with_head(Bag(path.resolve().name, files))


_CONVERT = "rosbags-convert --src OLD --dst NEW --dst-storage mcap makes MCAP of other bags"


def _with_head(bag: Bag) -> Bag:
    """With what our recorder saved before the first message."""
    from mcap.records import Chunk, Message, Metadata
    from mcap.stream_reader import StreamReader

    with bag.files[0].open("rb") as stream:
        size = max(bag.files[0].stat().st_size, 1)
        try:
            for record in StreamReader(stream, emit_chunks=True, record_size_limit=size).records:
                if isinstance(record, Metadata) and record.name == ABOUT:
                    bag.about.update(record.metadata)
                if isinstance(record, Chunk | Message):
                    break
        except Exception:  # spoilt bytes: the reading will tell
            return bag
    return bag


def _summary(file: Path) -> dict[str, str] | None:
    """{topic: kind} by the index at the file's end; None where there is none."""
    from mcap.reader import SeekingReader

    limit = max(file.stat().st_size, 1)
    with file.open("rb") as stream:
        try:
            summary = SeekingReader(stream, record_size_limit=limit).get_summary()
        except Exception:  # spoilt bytes, as above
            return None
    if summary is None or summary.statistics is None:
        return None
    counts = summary.statistics.channel_message_counts
    names = {id: schema.name for id, schema in summary.schemas.items()}
    return {
        channel.topic: _kind(channel, names) for id, channel in summary.channels.items() if counts.get(id)
    }


def _kind(channel: Any, schemas: Mapping[int, str]) -> str:
    kind = schemas.get(channel.schema_id, "")
    return kind if channel.message_encoding == "cdr" else f"{kind} in {channel.message_encoding!r}, not cdr"


def _number(file: Path) -> tuple[int, str]:
    """drive_10.mcap comes after drive_9.mcap."""
    found = re.search(r"_(\d+)$", file.stem)
    return (int(found.group(1)) if found else -1), file.name
