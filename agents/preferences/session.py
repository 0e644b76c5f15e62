"""Asking and remembering: queries go to a teacher, clips and answers to disk, comparisons to the fit."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agents.preferences.comparison import Comparison, Query, Retraction
from agents.preferences.data import ComparisonSet, frame_stacks, single_frames
from agents.preferences.labels import LabelLog
from agents.preferences.teachers import Teacher
from envs.dataset import EpisodeDataset
from envs.episode import Array, Clip, Episode

logger = logging.getLogger(__name__)


class Answers(Protocol):
    """Where answers come from: at once, or some time later."""

    def begin(self, known: Collection[str]) -> list[Query]:
        """Called once, with the ids of the answers that the run has; gives queries still open from before."""
        ...

    def submit(self, query: Query, left: Episode, right: Episode) -> None:
        """Puts a question."""
        ...

    def poll(self) -> list[Comparison | Retraction]:
        """What came since the last call. The clips of all submitted queries are on disk by then."""
        ...

    def close(self) -> None: ...


class AnswersAtOnce:
    """A teacher that is asked and answers in the same breath (synchronous mode)."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self._answered: list[Comparison | Retraction] = []

    def begin(self, known: Collection[str]) -> list[Query]:
        return []

    def submit(self, query: Query, left: Episode, right: Episode) -> None:
        comparison = self._teacher.answer(query, left, right)
        if comparison is None:
            raise RuntimeError(
                f"the teacher gave no answer to query {query.index} in synchronous mode: "
                "set asynchronous=True for a teacher that answers later"
            )
        self._answered.append(comparison)

    def poll(self) -> list[Comparison | Retraction]:
        answered, self._answered = self._answered, []
        return answered

    def close(self) -> None:
        """Nothing to end."""


class LabelSession:
    """The queries of one run and their answers, durable before they are used.

    Clips that are asked about go to `clips/`, answers to `labels.jsonl`, both append-only. A run
    that goes on from an older checkpoint finds the answers given since in the log and does not
    ask again.
    """

    def __init__(
        self, folder: Path, answers: Answers, data: ComparisonSet, *, late_answers: bool = False
    ) -> None:
        """late_answers: use those of the log that a checkpoint did not know yet (asynchronous mode)."""
        self.dataset = EpisodeDataset(folder / "clips", durable=False)
        self.log = LabelLog(folder / "labels.jsonl")
        self.data = data
        self.used: list[str] = []
        """ids of the answers that were taken in, in order"""
        self.changes = 0
        """answers and retractions taken in"""
        self._late_answers = late_answers
        self._answers = answers
        self._next_index = 0
        self._open: set[str] = set()
        self._seen: set[str] = set()
        self._known: dict[str, list[Comparison]] = {}  # by query
        for comparison in self.log:
            self._known.setdefault(comparison.query.id, []).append(comparison)
        self._found: list[Comparison] = []
        self._unwritten = False  # clips since the dataset was flushed last
        self._from_before = self._answers.begin([comparison.id for comparison in self.log])

    @property
    def open(self) -> int:
        """Queries that have no answer yet."""
        return len(self._open)

    @property
    def asked(self) -> int:
        """Queries put so far, answered or open."""
        return len(self.used) + len(self._open)

    def ask(
        self, pair: tuple[Episode, Episode], chosen_by: str, score: float, version: int, step: int
    ) -> None:
        """Stores both clips and puts the question; the answer comes with `collect`."""
        left, right = (self._store(clip) for clip in pair)
        self._seen.update(clip.digest() for clip in pair)
        query = Query(self._next_index, left, right, chosen_by, float(score), version, step)
        self._next_index += 1
        self._open.add(query.id)
        known = self._known.get(query.id)
        if known is not None:
            self._found.extend(known)
        else:
            self._unwritten = True
            self._answers.submit(query, *pair)

    def was_asked_about(self, clip: Episode) -> bool:
        """Whether a clip was part of any query."""
        return clip.digest() in self._seen

    def clip(self, reference: Clip) -> Episode:
        """A clip that was asked about, as the recorder cut it."""
        return stored_clip(self.dataset, reference)

    def _store(self, clip: Episode) -> Clip:
        """Stacked frames are kept once each, as an episode that begins stack - 1 steps before the clip."""
        observations = np.asarray(clip.observations["observation"])
        if observations.dtype != np.uint8 or observations.ndim != 4:
            return Clip(self.dataset.append(clip), 0, len(clip))
        before = observations.shape[1] - 1

        def padded(stream: Array) -> Array:
            return np.concatenate([np.zeros((before, *stream.shape[1:]), stream.dtype), stream])

        episode = replace(
            clip,
            observations={"observation": single_frames(observations)},
            actions=padded(clip.actions),
            rewards=padded(clip.rewards),
            times=padded(clip.times),
            info={name: padded(stream) for name, stream in clip.info.items()},
        )
        return Clip(self.dataset.append(episode), before, len(clip))

    def collect(self) -> int:
        """Takes in what has been answered or taken back; returns how many answers came."""
        if self._unwritten:
            self.dataset.flush()  # clips are durable before a query or an answer that names them is
            self._unwritten = False
        fresh = []
        for news in self._answers.poll():
            if isinstance(news, Retraction):
                self._take_back(news)
            else:
                self.log.append(news)
                fresh.append(news)
        found, self._found = self._found, []
        arrived = sorted(found + fresh, key=lambda comparison: comparison.query.index)
        for comparison in arrived:
            self._use(comparison)
        return len(arrived)

    def use_recorded(self, first: int | None = None) -> int:
        """Takes in the log's answers, or the first so many, that were not used yet; returns how many."""
        used = set(self.used)
        late = [comparison for comparison in list(self.log)[:first] if comparison.id not in used]
        for comparison in late:
            self._use(comparison)
            self._next_index = max(self._next_index, comparison.query.index + 1)
        return len(late)

    def _use(self, comparison: Comparison) -> None:
        self.data.add(comparison, self.clip(comparison.left), self.clip(comparison.right))
        self.used.append(comparison.id)
        self.changes += 1
        self._open.discard(comparison.query.id)

    def _take_back(self, retraction: Retraction) -> None:
        """The training set is made anew without the answer; its query is open again."""
        query = self.log.retract(retraction).query.id
        self.changes += 1
        if retraction.label not in self.used:
            return
        standing = {comparison.id: comparison for comparison in self.log}
        self.used.remove(retraction.label)
        self.data.clear()
        for label in self.used:
            comparison = standing[label]
            self.data.add(comparison, self.clip(comparison.left), self.clip(comparison.right))
        if query not in self.log:
            self._open.add(query)

    def _adopt(self, queries: list[Query]) -> None:
        """Queries that were put before a stop and are still being answered; not asked again."""
        for query in queries:
            if query.id in self.log:
                continue
            try:
                self._seen.update(self.clip(side).digest() for side in (query.left, query.right))
            except (KeyError, IndexError, ValueError) as error:
                logger.warning("query %d is left to itself: its clips are gone (%s)", query.index, error)
                continue
            self._open.add(query.id)
            self._next_index = max(self._next_index, query.index + 1)

    def state_dict(self) -> dict[str, Any]:
        """Which answers were used, in order."""
        counters = {"next_index": self._next_index, "changes": self.changes}
        return {**counters, "used": list(self.used), "seen": sorted(self._seen)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Rebuilds the training set from the log; queries that were open are put anew by the trainer."""
        self._next_index, self._seen = int(state["next_index"]), set(state["seen"])
        missing = [label for label in state["used"] if not self.log.was_given(label)]
        if missing:
            raise ValueError(
                f"the checkpoint was trained on {len(missing)} answers that labels.jsonl no longer holds "
                f"(the first is {missing[0]}): restore that file, or start a new run"
            )
        standing = {comparison.id: comparison for comparison in self.log}
        for label in state["used"]:
            if label in standing:
                self._use(standing[label])
        self.changes = int(state["changes"]) + len(state["used"]) - len(self.used)  # taken back since
        if self._late_answers:
            self.use_recorded()
            self._adopt(self._from_before)

    def close(self) -> None:
        self._answers.close()
        self.log.close()
        self.dataset.close()


def stored_clip(dataset: EpisodeDataset, reference: Clip) -> Episode:
    """A clip that a `LabelSession` keeps in a run's `clips/`, as the recorder cut it."""
    if reference.start == 0:
        return dataset[reference]
    whole = dataset[Clip(reference.episode, 0, reference.start + reference.length)]
    clip = whole.slice(reference.start, reference.length)
    stacks = frame_stacks(np.asarray(whole.observations["observation"]), reference.start + 1)
    return replace(clip, observations={"observation": stacks})
