"""A rosbag2 folder being written: MCAP files with CDR messages, and metadata.yaml.

    <folder>/<folder>_0.mcap, <folder>_1.mcap, …    each readable by itself
    <folder>/metadata.yaml                          what `ros2 bag info` reads

Messages are gathered in chunks; `flush` ends the chunk and puts it on the disk. Whatever happens to the
power, all chunks before the last flush are read back (`bag_reader`).
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from envs.files import sync_folder, write_durably
from robot.bag_metadata import metadata_yaml, qos_yaml
from robot.record_queue import Heard
from robot.recorded import Topic

ABOUT = "surefoot"
"""name of the MCAP metadata record at a file's beginning; "surefoot.end" is the one at its end"""
FIX = "pip install 'surefoot[record]'"


class BagError(RuntimeError):
    """A bag cannot be written or read; says why and what to do."""


class Sink(Protocol):
    """Where the bytes of one file go."""

    def write(self, content: bytes) -> int: ...
    def tell(self) -> int: ...
    def flush(self) -> None: ...
    def sync(self) -> None:
        """Returns when everything written is on the disk."""
        ...

    def close(self) -> None: ...


class DiskFile:
    """A new file. Raises FileExistsError."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")

    def write(self, content: bytes) -> int:
        return self._file.write(content)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class BagConfig:
    """How a bag is cut and packed."""

    split_seconds: float = 60.0
    """s that a file holds at most: what a broken file can cost"""
    split_bytes: int = 1 << 30
    chunk_bytes: int = 1 << 20
    """of messages that are indexed together"""
    compression: str = "none"
    """"none", "lz4" or "zstd"; camera frames get 7 % smaller by zstd and take half as much CPU again"""

    def __post_init__(self) -> None:
        if self.compression not in ("none", "lz4", "zstd"):
            raise ValueError(f"compression must be none, lz4 or zstd, got {self.compression!r}")
        if not (self.split_seconds > 0 and self.split_bytes > 0 and self.chunk_bytes > 0):
            raise ValueError("split_seconds, split_bytes and chunk_bytes must be above 0")


@dataclass
class FileSummary:
    """What is in one file; times are ns."""

    name: str
    start: int = 0
    stop: int = 0
    counts: Counter[str] = field(default_factory=Counter)


class BagWriter:
    """topics: what there will be, whose `topic` is its full ROS name. about: saved at the head of each file.

    open_file: makes the Sink of a path. Raises BagError where the folder holds something already, OSError
    when the disk does not take more: then `abandon` it.
    """

    def __init__(
        self,
        folder: Path,
        topics: Sequence[Topic],
        *,
        about: Mapping[str, str],
        config: BagConfig | None = None,
        open_file: Callable[[Path], Sink] = DiskFile,
    ) -> None:
        if folder.exists() and any(folder.iterdir()):
            raise BagError(f"{folder} is not empty: a bag needs a folder of its own, choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
        self.folder, self.topics, self.config = folder, list(topics), config or BagConfig()
        self.files: list[FileSummary] = []
        self.bytes = 0
        """of the files that are finished"""
        self._about, self._open_file = dict(about), open_file
        self._definitions = definitions([topic.kind for topic in topics])
        self._sink: Sink | None = None
        self._writer: Any = None
        self._channels: dict[str, int] = {}
        self._open()

    def write(self, heard: Heard) -> None:
        """Into the chunk in progress; begins another file where this one is long enough."""
        summary = self.files[-1]
        late = summary.counts and heard.log_time - summary.start > self.config.split_seconds * 1e9
        if late or self._size > self.config.split_bytes:
            self._finish({})
            self._open()
            summary = self.files[-1]
        summary.start = min(summary.start or heard.log_time, heard.log_time)
        summary.stop = max(summary.stop, heard.log_time)
        summary.counts[heard.name] += 1
        self._writer.add_message(
            channel_id=self._channels[heard.name],
            log_time=heard.log_time,
            data=heard.data,
            publish_time=heard.publish_time,
            sequence=summary.counts[heard.name],
        )

    def flush(self) -> None:
        """Everything written so far is on the disk, and will be read back."""
        self._writer.flush()
        assert self._sink is not None
        self._sink.sync()

    def close(self, end: Mapping[str, str] | None = None) -> None:
        """end: saved at the end of the last file, such as what was dropped."""
        if self._sink is not None:
            self._finish(end or {})
            self._describe()

    def abandon(self) -> None:
        """After an OSError: leaves the files as they are, to be read up to the last flush."""
        sink, self._sink = self._sink, None
        if sink is None:
            return
        for last in (sink.close, self._describe):
            try:
                last()
            except OSError:
                continue  # a disk that takes nothing more takes no farewell either

    @property
    def counts(self) -> Counter[str]:
        """{name: messages written}"""
        return sum((one.counts for one in self.files), Counter())

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self.bytes + (self._size if self._sink is not None else 0)

    @property
    def _size(self) -> int:
        assert self._sink is not None
        return self._sink.tell()

    def _open(self) -> None:
        from mcap.writer import CompressionType, Writer

        name = f"{self.folder.name}_{len(self.files)}.mcap"
        self._sink = self._open_file(self.folder / name)
        sync_folder(self.folder)
        self._writer = Writer(
            self._sink,
            chunk_size=self.config.chunk_bytes,
            compression=CompressionType[self.config.compression.upper()],
        )
        self._writer.start(profile="ros2", library="surefoot")
        self._writer.add_metadata(ABOUT, self._about)
        schemas = {
            kind: self._writer.register_schema(name=kind, encoding="ros2msg", data=text.encode())
            for kind, text in self._definitions.items()
        }
        self._channels = {
            topic.name: self._writer.register_channel(
                topic=topic.topic,
                message_encoding="cdr",
                schema_id=schemas[topic.kind],
                metadata={"offered_qos_profiles": qos_yaml(topic)},
            )
            for topic in self.topics
        }
        self.files.append(FileSummary(name))
        self._describe()

    def _finish(self, end: Mapping[str, str]) -> None:
        assert self._sink is not None
        if end:
            self._writer.add_metadata(f"{ABOUT}.end", dict(end))
        self._writer.finish()
        self._sink.sync()
        self.bytes += self._sink.tell()
        self._sink.close()
        self._sink = None

    def _describe(self) -> None:
        text = metadata_yaml(self.topics, self.files)
        write_durably(self.folder / "metadata.yaml", text.encode())


def definitions(kinds: Sequence[str]) -> dict[str, str]:
    """{kind: its definition with all that it contains, as in .msg files}. Raises BagError for others."""
    store = typestore()
    found = {}
    for kind in dict.fromkeys(kinds):
        try:
            found[kind] = store.generate_msgdef(kind, ros_version=2)[0]
        except Exception as error:
            raise BagError(f"the message type {kind} is not known: only ROS's common ones are") from error
    return found


@functools.lru_cache(maxsize=1)
def typestore() -> Any:
    """ROS's common message types. Raises BagError where the extra is not installed."""
    try:
        import mcap.writer  # noqa: F401
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise BagError(f"bags need mcap and rosbags ({error}): {FIX}") from error
    return get_typestore(Stores.ROS2_JAZZY)
