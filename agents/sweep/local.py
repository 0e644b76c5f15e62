"""Tasks on processes of this machine, which stay for the next task and end with their parent."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from agents.sweep.task import Outcome, Said, Task, perform

PR_SET_PDEATHSIG = 1
"""of Linux's prctl: the signal that a process gets when its parent ends, however that ends"""


@dataclass
class _Worker:
    pipe: Connection
    process: multiprocessing.process.BaseProcess
    task: Task | None = None


class LocalExecutor:
    """`slots` processes, started when they are needed."""

    def __init__(self, slots: int = 1) -> None:
        if slots < 1:
            raise ValueError(f"jobs must be at least 1, got {slots}")
        self.slots = slots
        # spawn: a forked copy of a process with threads may hang.
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def start(self, task: Task) -> None:
        free = next((worker for worker in self._workers if worker.task is None), None) or self._hire()
        free.task = task
        with contextlib.suppress(OSError):  # it has ended meanwhile, which `wait` notices
            free.pipe.send((task.function, dict(task.arguments)))

    def wait(self, seconds: float) -> list[Outcome]:
        busy = {worker.pipe: worker for worker in self._workers if worker.task is not None}
        return [
            self._receive(busy[pipe]) for pipe in wait(list(busy), seconds) if isinstance(pipe, Connection)
        ]

    def close(self) -> None:
        for worker in self._workers:
            self._dismiss(worker)
        self._workers.clear()

    def _hire(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, os.getpid()), daemon=False)
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self._workers.append(_Worker(ours, process))
        return self._workers[-1]

    def _receive(self, worker: _Worker) -> Outcome:
        task = worker.task
        assert task is not None
        try:
            said: Said = worker.pipe.recv()
        except (EOFError, OSError):
            self._workers.remove(worker)
            self._dismiss(worker)
            why = f"its process ended with exit code {worker.process.exitcode}"
            killed = " (-9: killed, perhaps for want of memory)" if worker.process.exitcode == -9 else ""
            return Outcome(task, error=why + killed, lost=True)
        worker.task = None
        return Outcome(task, said.value, said.error, node=said.node)

    def _dismiss(self, worker: _Worker) -> None:
        worker.process.terminate()
        worker.process.join()
        worker.pipe.close()


def end_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """This process gets a signal as soon as its parent is gone, also by kill -9 (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it was faster
        os.kill(os.getpid(), number)


def _work(pipe: Connection, parent: int) -> None:
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        while True:
            function, arguments = pipe.recv()
            pipe.send(perform(function, arguments))
    except (EOFError, OSError):
        pass
