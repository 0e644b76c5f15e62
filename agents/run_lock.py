"""One process at a time works on a run; free of torch, so that others can ask cheaply."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO


class RunError(RuntimeError):
    """A run's folder cannot be made or used; the message says what to do."""


def lock_run(path: Path) -> IO[str]:
    """Takes a run for this process until the file is closed. Raises RunError when another has it."""
    lock = (path / ".lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip()
        lock.close()
        raise RunError(f"{path} is in use by process {owner}: stop it first, or use another name") from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def is_running(path: Path) -> bool:
    """Whether some process works on a run now."""
    try:
        with (path / ".lock").open("a+", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # no such run, or one that may only be read
    return False
