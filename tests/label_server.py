"""A labelling server over a small study, for tests and benchmarks that talk to the real thing.

Its clips can be told apart by their pixels: the left half of each frame is the clip's own grey level,
the right half the number of the frame. Load it with `runpy.run_path`, as the tests do.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.preferences.labelling import sources, sprites
from agents.preferences.labelling.storage import MediaStorage, open_storage
from agents.preferences.labelling.store import LabelStore, open_store
from agents.preferences.labelling.types import NewQuery, SegmentSource, Study
from envs.episode import Episode

ENV = "pixel:MovingDot"
STEPS = 20
"""of a clip; it has one frame more"""
FRAME_LEVEL = 10
"""grey levels between a frame and the next"""
PLAIN = {
    "name": "Grey clips",
    "env": ENV,
    "guide": "Prefer the brighter clip. Both look grey: judge only what you see.",
    "display_fps": 10,
    "target": 40,
    "overlap_share": 0.0,
    "repeat_share": 0.0,
    "gold_share": 0.0,
}
"""a study without repeats, golds and overlap"""
START_SECONDS = 60.0
_SERVE = (
    "import json, sys; from agents.preferences.labelling.serve import serve; serve(**json.loads(sys.argv[1]))"
)


def coded_clip(level: int, mark: int = 0) -> Episode:
    """A clip of 16 x 16 pictures: `level` on the left, the frame's number times FRAME_LEVEL on the right.

    mark: level of the topmost row, so that clips of one level differ.
    """
    frames = np.empty((STEPS + 1, 16, 16), np.uint8)
    frames[:, :, :8] = level
    frames[:, :, 8:] = (np.arange(STEPS + 1) * FRAME_LEVEL)[:, None, None]
    frames[:, 0] = mark
    times = np.arange(STEPS + 1) / 10
    return Episode({"observation": frames}, np.zeros(STEPS, np.int64), np.zeros(STEPS), times)


def levels(index: int) -> tuple[int, int]:
    """Grey levels of the left and the right clip of query `index`; they come again after 100 queries."""
    return 20 + 2 * (index % 100), 21 + 2 * (index % 100)


def new_query(storage: MediaStorage, index: int, reward: bool = True) -> NewQuery:
    """Query `index` of a study, its clips' sources in the storage."""
    left, right = (
        sources.write_source(storage, ENV, coded_clip(level, index // 100)) for level in levels(index)
    )
    if reward:
        left, right = _rewarded(left, 0.5), _rewarded(right, 1.5)
    clips = {
        "left": ["episode", 2 * index * STEPS, STEPS],
        "right": ["episode", (2 * index + 1) * STEPS, STEPS],
    }
    return NewQuery(f"pair-{index}", index, left, right, "variance", 0.25, 2, 12_000, clips)


def _rewarded(source: SegmentSource, slope: float) -> SegmentSource:
    return replace(source, reward=tuple(slope * step / STEPS for step in range(STEPS)))


def draw_all(store: LabelStore, storage: MediaStorage, size: int = 64) -> int:
    """Draws every clip that waits for it, as the server's renderer does; returns how many."""
    drawn = 0
    while jobs := store.segments_to_render(None, 100):
        for job in jobs:
            content, sprite = sprites.draw(storage, job.source, job.env, size)
            storage.put(content)
            store.set_sprite(job.segment, sprite)
            drawn += 1
    return drawn


class LabelServer:
    """A study in `folder` and the server process over it, which can be killed and started again.

    rules: fields of Study where it is not PLAIN.
    """

    study = ""
    """id of the newest study"""
    owner_token = ""

    def __init__(self, folder: Path, *, queries: int = 12, database: str | None = None, **rules: Any) -> None:
        self.database = database or f"sqlite:///{folder / 'labels.db'}"
        self.media = str(folder / "media")
        self.storage = open_storage(self.media)
        self.store = open_store(self.database)
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._log = folder / "server.log"
        self.begin_study(queries, **rules)

    def begin_study(self, queries: int = 12, **rules: Any) -> None:
        """Another study in the same database: all that follows is about it."""
        self._asked = 0
        self.study = f"study-{len(self.store.studies())}"
        self.store.create_study(Study(self.study, **{**PLAIN, **rules}))
        _, self.owner_token = self.store.add_annotator(self.study, "owner", "owner")
        self.ask(queries)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, count: int, *, draw: bool = True) -> None:
        """Adds so many queries, their clips drawn."""
        new = [new_query(self.storage, index) for index in range(self._asked, self._asked + count)]
        self._asked += count
        self.store.add_queries(self.study, new)
        if draw:
            draw_all(self.store, self.storage)

    def invite(self, name: str) -> str:
        """The link of a new annotator."""
        _, token = self.store.add_annotator(self.study, name)
        return self.link(token)

    def link(self, token: str) -> str:
        return f"{self.url}/join#{token}"

    def start(self, processes: int = 1, *, render: bool = False) -> None:
        """Returns once it answers."""
        settings = {"database": self.database, "media": self.media, "port": self.port, "processes": processes}
        settings |= {"render": render, "exact_port": True}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, json.dumps(settings)],
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parent.parent,
                start_new_session=True,
            )
        self._wait_until_up()

    def kill(self) -> None:
        """kill -9 of all its processes, as when the plug is pulled."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def close(self) -> None:
        self.stop()
        self.store.close()

    def log(self) -> str:
        """What the server has written so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
        self.process = None

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log()}")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/api/health", timeout=2).close()
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server did not answer within {START_SECONDS:.0f} s:\n{self.log()}")


@contextlib.contextmanager
def label_server(
    folder: Path, *, processes: int = 1, render: bool = False, **study: Any
) -> Iterator[LabelServer]:
    """A server that runs, and is stopped at the end. study: what LabelServer takes."""
    server = LabelServer(folder, **study)
    try:
        server.start(processes, render=render)
        yield server
    finally:
        server.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
