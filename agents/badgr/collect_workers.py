"""Processes that drive units of work, and give every drive to the one process that writes."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import TypeAlias

from agents.badgr.collect_config import CollectConfig
from agents.badgr.collect_drive import Drive, Fleet


@dataclass(frozen=True)
class Driven:
    """So many steps more, in a unit that is not complete yet."""

    steps: int


@dataclass(frozen=True)
class Done:
    """All drives of a unit have come."""

    unit: int


Message: TypeAlias = Drive | Driven | Done | str
"""What workers say; a text is why one cannot go on"""


class WorkerError(RuntimeError):
    """A worker process failed or was killed; what it had given is kept."""


class Workers:
    """`count` processes that work through units, in a `with` statement."""

    def __init__(self, config: CollectConfig, count: int) -> None:
        # spawn: a forked copy of a process with threads (MuJoCo's, numba's) may hang.
        context = multiprocessing.get_context("spawn")
        self._processes: dict[Connection, multiprocessing.process.BaseProcess] = {}
        for number in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work, args=(config, theirs), name=f"collect-{number}", daemon=True
            )
            process.start()
            theirs.close()  # so that the end of the process is the end of the pipe
            self._processes[ours] = process

    @property
    def processes(self) -> list[int]:
        """Their numbers in the operating system."""
        return [process.pid for process in self._processes.values() if process.pid is not None]

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe, process in self._processes.items():
            process.terminate()
            process.join()
            pipe.close()

    def run(self, units: Iterator[int], poll_seconds: float = 0.5) -> Iterator[Drive | Driven | Done | None]:
        """Drives as they come, what else the workers say, None when nothing came for a while.

        Raises WorkerError when a process fails.
        """
        busy = {pipe for pipe in self._processes if _give(pipe, units)}
        while busy:
            ready = wait(list(busy), timeout=poll_seconds)
            if not ready:
                yield None
            for pipe in ready:
                assert isinstance(pipe, Connection)
                try:
                    said: Message = pipe.recv()
                except (EOFError, OSError):
                    raise WorkerError(self._how_it_ended(pipe)) from None
                if isinstance(said, str):
                    raise WorkerError(f"a worker failed: {said}")
                yield said
                if isinstance(said, Done) and not _give(pipe, units):
                    busy.discard(pipe)

    def _how_it_ended(self, pipe: Connection) -> str:
        process = self._processes[pipe]
        process.join()
        return (
            f"worker {process.name} ended with exit code {process.exitcode} (-9: it was killed, perhaps for "
            "want of memory; each takes about 1 GB): run the same command again, perhaps with fewer --workers"
        )


def _give(pipe: Connection, units: Iterator[int]) -> bool:
    unit = next(units, None)
    if unit is not None:
        with contextlib.suppress(OSError):  # it has ended: `recv` says how
            pipe.send(unit)
    return unit is not None


def _work(config: CollectConfig, pipe: Connection) -> None:
    """Until the pipe ends, which it does with the other process, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that writes
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(EOFError, OSError):
        try:
            fleet = Fleet(config)
            while True:
                unit: int = pipe.recv()
                for drive in fleet.drives(unit, lambda steps: pipe.send(Driven(steps))):
                    pipe.send(drive)
                pipe.send(Done(unit))
        except (EOFError, OSError):
            raise
        except Exception as error:
            traceback.print_exc()
            pipe.send(f"{type(error).__name__}: {error}")
