"""A labelling session for benchmarks: a database, clips drawn beforehand, people with links, open queries."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from agents.preferences.labelling.storage import MediaStorage, open_storage
from agents.preferences.labelling.store import LabelStore, open_store
from agents.preferences.labelling.types import NewQuery, SegmentSource, Sprite, Study

HOST = "127.0.0.1"
FRAMES, COLUMNS, SIDE, FPS = 16, 4, 32, 15
CLIPS = 24
"""different clips; queries pair them in turn"""


@dataclass(frozen=True)
class Session:
    database: str
    media: str
    study: str
    tokens: tuple[str, ...]
    """of the annotators' links"""


@contextmanager
def database_url(kind: str, folder: Path) -> Iterator[str]:
    """An empty database: a file in `folder`, or in a PostgreSQL that is started for it and stopped after."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'labels.db'}"
        return
    postgres = runpy.run_path(str(Path(__file__).parents[1] / "postgres.py"))
    if not postgres["BINARIES"]:
        raise SystemExit(postgres["MISSING"])
    with postgres["cluster"](fsync="on") as cluster:
        yield cluster.new_database()


def start_session(database: str, media: Path, people: int, **settings: float) -> Session:
    """A study with annotators and no queries yet."""
    store = open_store(database)
    study = Study(
        id="bench",
        name="bench",
        env="classic:Pendulum",
        guide="Prefer the clip that is brighter.",
        display_fps=FPS,
        target=10_000_000,
        **settings,  # type: ignore[arg-type]
    )
    store.create_study(study)
    tokens = tuple(store.add_annotator(study.id, f"person {number}")[1] for number in range(people))
    store.close()
    return Session(database, str(media), study.id, tokens)


class Asker:
    """Stands in for the trainer: keeps a number of queries open, their clips drawn."""

    def __init__(self, session: Session, open_queries: int) -> None:
        self.store = open_store(session.database)
        self._storage = open_storage(session.media)
        self._study, self._open, self._asked = session.study, open_queries, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_asking, daemon=True)
        self.trouble: BaseException | None = None

    def __enter__(self) -> Asker:
        self.ask(self._open)
        draw_all(self.store, self._storage, self._study)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.store.close()
        if self.trouble is not None:
            raise self.trouble

    def ask(self, count: int) -> None:
        queries = [new_query(self._asked + offset) for offset in range(count)]
        self.store.add_queries(self._study, queries)
        self._asked += count

    def _keep_asking(self) -> None:
        try:
            while not self._stop.wait(0.25):
                missing = self._open - self.store.counts(self._study).open
                if missing > 0:
                    self.ask(missing)
        except BaseException as error:
            self.trouble = error


def new_query(index: int) -> NewQuery:
    """Pairs every clip with every other before a pair comes again."""
    left, step = index % CLIPS, 1 + index // CLIPS % (CLIPS - 1)
    sides = [
        SegmentSource(f"{clip:064x}", "classic:Pendulum", FRAMES, FPS, (0.0,) * FRAMES)
        for clip in (left, (left + step) % CLIPS)
    ]
    clips = {"left": [f"{index}a", 0, FRAMES], "right": [f"{index}b", 0, FRAMES]}
    return NewQuery(f"{index:016x}", index, sides[0], sides[1], "random", 0.0, 0, index, clips)


def draw_all(store: LabelStore, storage: MediaStorage, study: str) -> None:
    """Sprites of plain colours, so that nothing is rendered while the server is measured."""
    while jobs := store.segments_to_render(study, 100):
        for job in jobs:
            number = int(job.source, 16)
            sheet = np.full((FRAMES // COLUMNS * SIDE, COLUMNS * SIDE, 3), 10 * number, np.uint8)
            content = io.BytesIO()
            Image.fromarray(sheet).save(content, "WEBP", lossless=True)
            store.set_sprite(
                job.segment, Sprite(storage.put(content.getvalue()), FRAMES, COLUMNS, SIDE, SIDE)
            )


@dataclass(frozen=True)
class Server:
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far."""
        ticks, family = 0, {self.pid}
        for stat in sorted(Path("/proc").glob("[0-9]*/stat"), key=lambda path: int(path.parent.name)):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(stat.parent.name) in family or int(fields[1]) in family:
                    family.add(int(stat.parent.name))
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(database: str, media: str, processes: int = 1) -> Iterator[Server]:
    """The server of `surefoot label` in a process of its own; gives its place once it answers."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    call = f"serve({database!r}, {media!r}, {HOST!r}, {port}, {processes}, exact_port=True)"
    command = [sys.executable, "-c", f"from agents.preferences.labelling.serve import serve; {call}"]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_until_healthy(server, port)
            yield Server(port, server.pid)
        except BaseException:
            log.seek(0)
            print(log.read().decode()[-3000:], file=sys.stderr)
            raise
        finally:
            server.terminate()
            server.wait(20)


def _wait_until_healthy(server: subprocess.Popen[bytes], port: int, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/api/health", timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the server did not start")
