"""Draws clips beside the web server, ahead of the people who will look at them."""

from __future__ import annotations

import logging
import threading

from agents.preferences.labelling.drawing import Drawer
from agents.preferences.labelling.sources import UndrawableError
from agents.preferences.labelling.sprites import SIZE
from agents.preferences.labelling.storage import MediaStorage
from agents.preferences.labelling.store import LabelStore
from agents.preferences.labelling.types import SegmentJob, UnavailableError
from envs.rendering import NoRendererError

logger = logging.getLogger(__name__)

CLAIM = 2
"""clips claimed at once: a pair, so that several renderers share the work"""
CLAIM_SECONDS = 30.0
"""a clip takes 1 to 5 s; what a killed renderer had claimed is drawn by another after this"""
LONGEST_WAIT = 30.0
_BLIND_WAIT = 5.0
"""A renderer without OpenGL steps back this long after each clip, so that others draw what it cannot."""
_STOP_SECONDS = 15.0


class Renderer:
    """A thread that has drawn what open queries wait for; each server process has its own.

    Drawing itself is done in a process beside it. Doubles do no harm: a clip's picture is named by its
    content. While the database or the storage is down it tries again, ever more seldom.
    """

    def __init__(
        self,
        store: LabelStore,
        storage: MediaStorage,
        study_id: str | None = None,
        *,
        size: int = SIZE,
        idle_seconds: float = 0.5,
    ) -> None:
        self._store, self._study = store, study_id
        self._size, self._idle_seconds = size, idle_seconds
        self._stopping = threading.Event()
        self._drawer = Drawer(storage.url, self._stopping)
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._blind = False
        self._said = ""

    def start(self) -> None:
        """Begins to draw; does nothing if it does already."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="renderer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends within some seconds; what was claimed and not drawn is free again after CLAIM_SECONDS."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
            self._thread = None
        self._drawer.close()

    def draw_due(self) -> int:
        """Claims some clips and has them drawn; returns how many were claimed.

        Raises UnavailableError when the database or the storage is down; what was claimed comes again.
        """
        jobs = self._store.segments_to_render(self._study, CLAIM, CLAIM_SECONDS)
        trouble = None
        for job in jobs:
            if self._stopping.is_set():
                break
            try:
                self._draw(job)
            except UnavailableError as error:
                trouble = error
        if trouble is not None:
            raise trouble
        return len(jobs)

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            wait = self._turn()

    def _turn(self) -> float:
        """Draws once; returns the seconds to wait before the next time."""
        self._blind = False
        try:
            claimed = self.draw_due()
        except Exception as error:  # whatever it is, people who answer must not be left without clips
            if self._stopping.is_set():
                return 0.0
            self._failures += 1
            known = isinstance(error, UnavailableError)
            self._say(f"no clips are drawn for now: {error}", None if known else error)
            return min(LONGEST_WAIT, self._idle_seconds * 2.0 ** min(self._failures, 16))
        if self._failures:
            logger.warning("clips are drawn again")
            self._failures, self._said = 0, ""
        if self._blind:
            return _BLIND_WAIT
        return 0.0 if claimed else self._idle_seconds

    def _draw(self, job: SegmentJob) -> None:
        try:
            sprite = self._drawer.draw(job.source, job.env, self._size)
        except NoRendererError as error:
            self._blind = True
            self._give_up(job, f"{error}; then start the server again")
        except UndrawableError as error:
            self._give_up(job, str(error))
        else:
            self._store.set_sprite(job.segment, sprite)

    def _give_up(self, job: SegmentJob, reason: str) -> None:
        self._say(f"a clip of {job.env} cannot be drawn: {reason}")
        self._store.set_undrawable(job.segment, reason[:500])

    def _say(self, text: str, error: Exception | None = None) -> None:
        """The same trouble is told once, not for every clip."""
        if text != self._said:
            logger.error("%s", text, exc_info=error)
        self._said = text
