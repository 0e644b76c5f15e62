"""Drawing the clips of labelling sessions as tasks: one clip a task, named by its content.

A worker puts the picture into the storage, where its name is the digest of its bytes; the driver tells the
database. A driver that dies loses nothing: what it had claimed is free again after a while.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from agents.preferences.labelling.sprites import SIZE
from agents.preferences.labelling.storage import MediaStorage
from agents.preferences.labelling.store import LabelStore
from agents.preferences.labelling.types import SegmentJob, Sprite, UnavailableError
from agents.sweep.queue import RETRIES
from agents.sweep.task import Executor, Outcome, Task, digest

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 120.0
"""A clip takes 1 to 5 s; what was claimed by a driver that died is drawn by another after this."""


def draw_clips(
    store: LabelStore,
    storage: MediaStorage,
    executor: Executor,
    study_id: str | None = None,
    *,
    size: int = SIZE,
    idle_seconds: float | None = None,
    claim_seconds: float = CLAIM_SECONDS,
) -> int:
    """Has drawn what open queries wait for; returns how many clips were. Never more are claimed than are
    under way.

    idle_seconds: for how long to wait for new ones, None: for ever. Raises UnavailableError when database or
    storage stay away.
    """
    under_way: dict[str, SegmentJob] = {}
    drawn, failures, since = 0, 0, time.monotonic()
    while True:
        jobs: list[SegmentJob] = []
        free = executor.slots - len(under_way)
        try:
            jobs = store.segments_to_render(study_id, free, claim_seconds) if free else []
            for job in jobs:
                task = clip_task(storage, job, size)
                if task.key not in under_way:  # the same clip in two queries
                    under_way[task.key] = job
                    executor.start(task)
            for outcome in executor.wait(0.5) if under_way else []:
                job = under_way.pop(outcome.task.key)
                drawn += _take(store, job, outcome)
                failures, since = 0, time.monotonic()
        except UnavailableError as error:
            failures += 1
            if failures > RETRIES:
                raise
            logger.warning("clips are not drawn for now (%d of %d): %s", failures, RETRIES, error)
            time.sleep(2.0**failures)
        if free and not (under_way or jobs):  # it looked, and there was nothing
            if idle_seconds is not None and time.monotonic() - since >= idle_seconds:
                return drawn
            time.sleep(0.2)


def clip_task(storage: MediaStorage, job: SegmentJob, size: int) -> Task:
    """The task that draws a clip."""
    arguments = {"storage": storage.url, "source": job.source, "env": job.env, "size": size}
    return Task(digest(arguments), "agents.sweep.drawing:draw_clip", arguments)


def draw_clip(storage: str, source: str, env: str, size: int) -> dict[str, Any]:
    """On the worker: what became of a clip, as agents.preferences.labelling.drawing.reply says it."""
    from agents.preferences.labelling.drawing import reply
    from agents.preferences.labelling.storage import open_storage

    return reply(open_storage(storage), {"source": source, "env": env, "size": size})


def _take(store: LabelStore, job: SegmentJob, outcome: Outcome) -> int:
    """Tells the database; 1 for a clip that is drawn. What was lost is claimed again after its time."""
    reply = outcome.value or {}
    if outcome.lost:
        logger.warning("the clip %d is drawn again: %s", job.segment, outcome.error)
    elif "sprite" in reply:
        store.set_sprite(job.segment, Sprite(**reply["sprite"]))
        return 1
    elif "unavailable" in reply:
        raise UnavailableError(str(reply["unavailable"]))
    else:
        why = outcome.error or reply.get("no_renderer") or reply.get("undrawable")
        logger.error("a clip of %s cannot be drawn: %s", job.env, why)
        store.set_undrawable(job.segment, str(why)[:500])
    return 0
