"""One flush of the disk for all who wait for one."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

logger = logging.getLogger(__name__)


class SharedSync:
    """Brings what was written to the log of a SQLite file onto the disk.

    A flush takes as long for one answer as for fifty, so those that come while one runs share the next.
    """

    def __init__(self, database: str) -> None:
        self._database, self._path = Path(database), f"{database}-wal"
        self._identity: tuple[int, int] | None = None
        self._changed = threading.Condition()
        self._begun = self._ended = 0
        self._runs = False
        self._wanted = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def wait(self) -> None:
        """Returns when all that was written before the call is on the disk. Raises OSError."""
        with self._changed:
            mine = self._begun + 1  # the one that runs may have begun before the last write
            while self._runs and self._ended < mine:
                self._changed.wait()
            if self._ended >= mine:
                return
            self._runs = True
            self._begun += 1
            number = self._begun
        try:
            self._flush()
        except BaseException:
            with self._changed:
                self._runs = False
                self._changed.notify_all()
            raise
        with self._changed:
            self._runs, self._ended = False, number
            self._changed.notify_all()

    def soon(self) -> None:
        """Does the same beside the caller, who does not wait."""
        if self._thread is None:
            with self._changed:
                if self._thread is None and not self._closing:
                    self._thread = threading.Thread(target=self._follow, name="sync", daemon=True)
                    self._thread.start()
        self._wanted.set()

    def close(self) -> None:
        with self._changed:
            self._closing = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._closing:
            self._wanted.wait()
            self._wanted.clear()
            try:
                self.wait()
            except OSError as error:
                logger.error("%s is not on the disk yet: %s", self._path, error)

    def _flush(self) -> None:
        found = self._database.stat()
        if self._identity not in (None, (found.st_dev, found.st_ino)):
            raise FileNotFoundError("another file took the place of the database")
        self._identity = (found.st_dev, found.st_ino)
        file = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
