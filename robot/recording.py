"""The thread that writes a bag: whoever hears a message hands it over and goes on at once. No ROS.

A disk that is slow or hangs costs pictures, then messages, which are counted; one that is full or fails
ends the recording, and nothing else.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from robot.bag import BagWriter
from robot.record_queue import Heard, RecordQueue

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordingConfig:
    """How much may be in memory, how much may be lost, how much the disk keeps free."""

    flush_seconds: float = 1.0
    """between two moments at which everything is on the disk: what a power cut costs"""
    queue_bytes: int = 128 << 20
    """that wait for the disk at most; 640 x 480 at 30 Hz is 28 MB a second"""
    reserve_bytes: int = 1 << 30
    """that stay free on the disk: the robot needs it for other things"""

    def __post_init__(self) -> None:
        if not self.flush_seconds > 0 or self.reserve_bytes < 0:
            raise ValueError("flush_seconds must be above 0 and reserve_bytes not below")


@dataclass
class RecordingReport:
    """How a recording went so far. dropped: messages that the disk was too slow for."""

    folder: str
    seconds: float = 0.0
    bytes: int = 0
    files: int = 0
    messages: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    waiting_bytes: int = 0
    flush_ms_worst: float = 0.0
    free_bytes: int = 0
    stopped: str = ""
    """why it ended before it was told to"""


def free_bytes(folder: Path) -> int:
    """That the disk of a folder can take."""
    return shutil.disk_usage(folder).free


class Recording:
    """Begins at once. free: how many bytes the disk can take, asked at each flush."""

    def __init__(
        self,
        bag: BagWriter,
        config: RecordingConfig | None = None,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self.config = config or RecordingConfig()
        self._bag, self._free = bag, free
        self._queue = RecordQueue(self.config.queue_bytes)
        self._began, self._ended = time.monotonic(), 0.0
        self._report = RecordingReport(str(bag.folder))
        self._thread = threading.Thread(target=self._live, name="recording", daemon=True)
        self._thread.start()

    def put(self, heard: Heard) -> None:
        """Never waits, whatever the disk does."""
        self._queue.put(heard)

    def report(self) -> RecordingReport:
        """Never waits."""
        report = self._report
        report.seconds = (self._ended or time.monotonic()) - self._began
        report.dropped = dict(self._queue.dropped)
        report.waiting_bytes = self._queue.bytes
        return report

    def close(self, seconds: float = 30.0) -> RecordingReport:
        """Writes what is waiting, and gives the last report; a disk that hangs is left after so many s."""
        self._queue.close()
        self._ended = self._ended or time.monotonic()
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._queue.close(drop=True)
            self._report.stopped = self._report.stopped or (
                f"the disk of {self._bag.folder} has not answered for {seconds:g} s: what it took is there "
                "up to the last flush"
            )
        return self.report()

    def _live(self) -> None:
        try:
            self._write_all()
        except OSError as error:
            self._stop(f"{self._bag.folder}: {error.strerror or error}; what was written before is there")
            self._bag.abandon()
        except Exception as error:  # a fault of ours must not cost the drive
            log.exception("recorder: it failed")
            self._stop(f"the recorder failed: {error!r}; what was written before is there")
            self._bag.abandon()

    def _write_all(self) -> None:
        due = time.monotonic() + self.config.flush_seconds
        while True:
            taken = self._queue.take(due - time.monotonic())
            for heard in taken:
                self._bag.write(heard)
            if time.monotonic() >= due:
                self._flush()
                due = time.monotonic() + self.config.flush_seconds
                if self._disk_is_full():
                    break
            if self._queue.is_closed and not self._queue.bytes:  # also none that came while it flushed
                break
        dropped = {f"dropped.{name}": str(count) for name, count in self._queue.dropped.items()}
        self._bag.close({**dropped, "stopped": self._report.stopped})
        self._take_stock()

    def _flush(self) -> None:
        began = time.monotonic()
        self._bag.flush()
        took = (time.monotonic() - began) * 1e3
        self._report.flush_ms_worst = max(self._report.flush_ms_worst, took)
        self._take_stock()

    def _take_stock(self) -> None:
        report, bag = self._report, self._bag
        report.bytes, report.files, report.messages = bag.size, len(bag.files), dict(bag.counts)

    def _disk_is_full(self) -> bool:
        self._report.free_bytes = free = self._free(self._bag.folder)
        if free >= self.config.reserve_bytes:
            return False
        self._stop(
            f"the disk of {self._bag.folder} has {free / 1e9:.2f} GB left and "
            f"{self.config.reserve_bytes / 1e9:.2f} GB are kept free: recording has stopped, the drive goes "
            "on; make room and record again"
        )
        return True

    def _stop(self, why: str) -> None:
        self._report.stopped = self._report.stopped or why
        self._ended = self._ended or time.monotonic()
        log.error("recorder: %s", why)
        self._queue.close(drop=True)
