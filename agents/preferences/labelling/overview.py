"""The owner's numbers: how fast labels come, and how far they can be trusted."""

from __future__ import annotations

import statistics
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from agents.preferences.labelling.error_rates import ErrorRate, error_rates
from agents.preferences.labelling.quality import (
    PairKappa,
    Share,
    gold_accuracy,
    krippendorff_alpha,
    pairwise_kappa,
    self_consistency,
    side_bias,
    stands,
)
from agents.preferences.labelling.stats import Board
from agents.preferences.labelling.store import LabelStore
from agents.preferences.labelling.types import Annotator, Choice, Kind, Label

KINDS: tuple[Kind, ...] = ("train", "repeat", "gold")
HOURS = 24
EVENTS = 30


@dataclass(frozen=True)
class Quality:
    """What all labels of a study together say of the people who gave them."""

    errors: Mapping[str, ErrorRate]
    consistency: Mapping[str, Share]
    sides: Mapping[str, Share]
    golds: Mapping[str, Share]
    kappas: Sequence[PairKappa]
    alpha: float | None
    seconds: Mapping[str, float]
    """median a label"""


class Overviews:
    """Makes the dashboard's numbers; those over all labels anew only when a label or a gold came."""

    def __init__(self, store: LabelStore, board: Board) -> None:
        self._store, self._board = store, board
        self._last: dict[str, tuple[object, Sequence[Label], Quality]] = {}
        self._diaries: dict[str, Diary] = {}
        self._lock = threading.Lock()

    def of(self, study_id: str) -> dict[str, Any]:
        """GET /api/owner/overview. Blocks on the database."""
        store, snapshot = self._store, self._board.snapshot(study_id)
        labels, quality = self._measured(study_id, snapshot.revision)
        study, now = snapshot.study, datetime.now(timezone.utc)
        with self._lock:
            diary = self._diaries.setdefault(study_id, Diary())
            diary.read_on(store, study_id)
        return {
            "study": {"id": study.id, "name": study.name, "env": study.env}
            | {"state": study.state, "target": study.target},
            "counts": asdict(snapshot.counts),
            **{name: snapshot.shared[name] for name in ("training", "accuracy", "step", "steps")},
            "labels_per_hour": labels_per_hour((label.server_time for label in labels if stands(label)), now),
            "people": [
                person_row(person, snapshot.mine.get(person.id, 0), quality)
                for person in store.annotators(study_id)
            ],
            "kappa": [asdict(pair) for pair in quality.kappas],
            "alpha": quality.alpha,
            "events": list(reversed(diary.notable)),
            "reward": diary.rewards,
        }

    def labels(self, study_id: str) -> Sequence[Label]:
        """All rows in order of arrival, those taken back and the undoing ones too."""
        return self._measured(study_id, self._store.revision(study_id))[0]

    def _measured(self, study_id: str, revision: int) -> tuple[Sequence[Label], Quality]:
        golds = self._store.golds(study_id)
        state = (revision, tuple(sorted(golds.items())))
        last = self._last.get(study_id)
        if last is None or last[0] != state:
            labels = self._store.labels(study_id, kinds=KINDS, include_retracted=True)
            quality = measure(labels, golds, self._store.answer_times(study_id))
            last = self._last[study_id] = (state, labels, quality)
        return last[1], last[2]


class Diary:
    """What happened in a study, read on from where the last look ended: a long run writes many events."""

    def __init__(self) -> None:
        self.notable: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        self.rewards: list[dict[str, Any]] = []
        self._after = 0
        self._training = ""

    def read_on(self, store: LabelStore, study_id: str) -> None:
        while True:
            events = store.events(study_id, after=self._after, limit=1000)
            for number, time, kind, data in events:
                self._take(number, time, kind, data)
            if len(events) < 1000:
                return

    def _take(self, number: int, time: datetime, kind: str, data: Mapping[str, Any]) -> None:
        self._after = max(self._after, number)
        if kind == "reward":
            self.rewards.append({name: data.get(name) for name in ("version", "labels", "step", "accuracy")})
        if kind == "training":  # comes every few seconds: only a new state is news
            if data.get("state") == self._training:
                return
            self._training = str(data.get("state"))
        text = event_text(kind, data)
        self.notable.append({"id": number, "time": time.isoformat(), "kind": kind, "text": text})


def measure(
    labels: Sequence[Label], golds: Mapping[str, Choice], times: Iterable[tuple[str, float]]
) -> Quality:
    """times: (annotator, seconds) of each answer."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for annotator, taken in times:
        seconds[annotator].append(taken)
    return Quality(
        errors=error_rates(labels, golds),
        consistency=self_consistency(labels),
        sides=side_bias(labels),
        golds=gold_accuracy(labels, golds),
        kappas=pairwise_kappa(labels),
        alpha=krippendorff_alpha(labels),
        seconds={annotator: round(statistics.median(taken), 2) for annotator, taken in seconds.items()},
    )


def person_row(person: Annotator, labels: int, quality: Quality) -> dict[str, Any]:
    """One line of the table of people."""
    error = quality.errors.get(person.id)
    sides = quality.sides.get(person.id)
    return {
        "id": person.id,
        "name": person.name,
        "role": person.role,
        "labels": labels,
        "median_seconds": quality.seconds.get(person.id),
        "error_rate": None if error is None else asdict(error),
        "self_consistency": _value(quality.consistency.get(person.id)),
        "side_bias": None
        if sides is None
        else {"mean": sides.value, "low": sides.low, "high": sides.high, "evidence": sides.count},
        "gold_accuracy": _value(quality.golds.get(person.id)),
        "revoked": None if person.revoked is None else person.revoked.isoformat(),
        "expires": None if person.expires is None else person.expires.isoformat(),
    }


def labels_per_hour(times: Iterable[datetime], now: datetime, hours: int = HOURS) -> list[dict[str, Any]]:
    """Answers in each of the last hours, oldest first, hours without any included."""
    this = now.replace(minute=0, second=0, microsecond=0)
    counts = Counter(
        time.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0) for time in times
    )
    starts = [this - timedelta(hours=ago) for ago in reversed(range(hours))]
    return [{"hour": start.isoformat(), "labels": counts[start]} for start in starts]


def event_text(kind: str, data: Mapping[str, Any]) -> str:
    """An event in words, as far as its writer said something of it."""
    if kind == "reward":
        accuracy = data.get("accuracy")
        held_out = "" if accuracy is None else f", held-out accuracy {accuracy:.2f}"
        return f"reward model {data.get('version')} from {data.get('labels')} labels{held_out}"
    if kind == "video":
        return f"new video of the policy at step {data.get('step'):,}"
    return str(data.get("text") or data.get("state") or "")


def _value(share: Share | None) -> float | None:
    return None if share is None else share.value
