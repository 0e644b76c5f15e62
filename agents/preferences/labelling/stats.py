"""The numbers that a page shows while people answer, and why it waits."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.preferences.labelling.store import Counts, LabelStore
from agents.preferences.labelling.types import LabellingError, Study

WAITING: Mapping[str, str] = {
    "none": "",
    "no_queries": "The training run has not asked anything yet. Its first clips appear here by themselves.",
    "rendering": "The next clips are being drawn. They appear here by themselves, mostly within seconds.",
    "all_leased": "Every open pair is with somebody else just now. What they leave comes to you.",
    "all_answered": "You have answered all that was asked so far. The run asks more as its policy learns.",
    "target_reached": "All the answers that the run wants are there. Thank you!",
    "paused": "The owner has paused the session. Your answers so far are kept.",
    "finished": "The session is finished. Thank you!",
    "broken_media": "The clips that are open cannot be shown. The owner sees why on the dashboard.",
}
"""what a page says while it has nothing to ask, by the store's reason"""
GIVEN_SECONDS = 1.0


@dataclass(frozen=True)
class Snapshot:
    """What all people of a study see alike at one moment."""

    study: Study
    counts: Counts
    revision: int
    shared: Mapping[str, Any]
    """the part of GET /api/stats that is the same for everybody"""
    mine: Mapping[str, int] = field(default_factory=dict, compare=False)
    """answers by annotator; they follow from the revision"""
    median_seconds: float | None = field(default=None, compare=False)


class Board:
    """Reads the numbers of studies; what walks through all labels is done again only when a label came."""

    def __init__(self, store: LabelStore) -> None:
        self._store = store
        self._last: dict[str, Snapshot] = {}
        self._given: dict[str, tuple[int, float]] = {}  # and when they were counted

    def snapshot(self, study_id: str) -> Snapshot:
        """The numbers now. Blocks on the database."""
        store, before = self._store, self._last.get(study_id)
        revision = store.revision(study_id)
        if before is not None and before.revision == revision:
            mine, median = before.mine, before.median_seconds
        else:
            times = store.answer_times(study_id)
            mine = Counter(annotator for annotator, _ in times)
            median = round(statistics.median(seconds for _, seconds in times), 2) if times else None
        study, counts = store.study(study_id), store.counts(study_id)
        shared = {**_numbers(study, counts), **_training(store, study_id), "median_seconds": median}
        self._last[study_id] = Snapshot(study, counts, revision, shared, mine, median)
        return self._last[study_id]

    def words(self, error: LabellingError) -> str:
        """What people may read of an error: where the database is, is the owner's business."""
        place = self._store.place
        return str(error).replace(f"The database {place}", "The session's database").replace(place, "…")

    def given(self, study_id: str, added: int) -> int:
        """Answers that stand, `added` just now; counted once a second, for each answer asks it."""
        now = time.monotonic()
        count, counted = self._given.get(study_id, (0, -math.inf))
        if now - counted > GIVEN_SECONDS:
            count, counted = self._store.counts(study_id).labels, now
        else:
            count += added
        self._given[study_id] = count, counted
        return count

    def personal(self, snapshot: Snapshot, annotator_id: str) -> dict[str, Any]:
        """GET /api/stats of one annotator."""
        wait = wait_reason(self._store, snapshot.study.id, annotator_id)
        return {**snapshot.shared, "mine": snapshot.mine.get(annotator_id, 0), "wait": wait}


def _numbers(study: Study, counts: Counts) -> dict[str, Any]:
    return {
        "given": counts.labels,
        "target": study.target,
        "open": counts.open,
        "leased": counts.leased,
        "state": study.state,
    }


def _training(store: LabelStore, study_id: str) -> dict[str, Any]:
    """What the trainer said last."""
    training = store.latest(study_id, "training") or {}
    reward = store.latest(study_id, "reward") or {}
    video = store.latest(study_id, "video") or {}
    return {
        "accuracy": reward.get("accuracy"),
        "step": training.get("step", reward.get("step")),
        "steps": training.get("steps"),
        "training": {"state": training.get("state", "waiting"), "text": training.get("text", "")},
        "video": f"/media/{video['media']}" if video.get("media") else None,
    }


def wait_reason(store: LabelStore, study_id: str, annotator_id: str) -> dict[str, str]:
    """Why a person has nothing to answer, and in a sentence for that person."""
    reason = store.waiting(study_id, annotator_id)
    return {"reason": reason, "text": WAITING[reason]}
