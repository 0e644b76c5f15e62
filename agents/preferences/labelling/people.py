"""People as the trainer sees them: queries go to the database, answers and undos come back."""

from __future__ import annotations

import logging
import math
import secrets
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agents.preferences.comparison import Answer, Comparison, Query, Retraction
from agents.preferences.labelling.config import PeopleConfig
from agents.preferences.labelling.error_rates import error_rates
from agents.preferences.labelling.session_file import Session, create_session
from agents.preferences.labelling.sources import write_source
from agents.preferences.labelling.types import (
    Label,
    LabellingError,
    NewQuery,
    SegmentSource,
    Study,
    UnavailableError,
)
from agents.preferences.media import write_policy_video
from envs.episode import Array, Clip, Episode
from envs.rendering import NoRendererError
from envs.tasks import task_info

logger = logging.getLogger(__name__)

TrainingState = Literal["waiting", "training", "stopped", "finished"]
SAY_EVERY_SECONDS = 5.0

MEANING: Mapping[str, Answer] = {
    "left": "left",
    "right": "right",
    "tie": "tie",
    "cannot_tell": "skip",
    "broken": "skip",
}
"""what a choice is to the trainer; "skip" on the page means later, and is no answer"""


def new_study(run: Path, env: str, target: int, people: PeopleConfig) -> Study:
    """The study of a run, with the task's own guide and speed."""
    task = task_info(env)
    return Study(
        id=secrets.token_hex(8),
        name=run.resolve().name,
        env=env,
        guide=task.guide,
        display_fps=task.display_fps,
        target=target,
        overlap_share=people.overlap_share,
        overlap=people.overlap,
        repeat_share=people.repeat_share,
        gold_share=people.gold_share,
        info={"run": run.resolve().name},
    )


class PeopleAnswers:
    """`Answers` from a labelling session.

    opinion: the reward model's reward of each step of a clip, (T,), or None while there is no model;
    shown to people only when they ask. A database or storage that is away for a while stops nothing:
    queries wait here, answers there, and the trainer is told with a warning.
    """

    def __init__(self, session: Session, opinion: Callable[[Episode], Array | None]) -> None:
        self.session = session
        self._store, self._study, self._opinion = session.store, session.study.id, opinion
        self._known: set[str] = set()
        self._queries: dict[str, Query] = {}
        self._pending: list[tuple[Query, Episode, Episode]] = []
        self._revision = -1
        self._away = False
        self._said = ("", -math.inf)

    @classmethod
    def of_run(
        cls,
        run: Path,
        env: str,
        target: int,
        people: PeopleConfig,
        opinion: Callable[[Episode], Array | None],
    ) -> PeopleAnswers:
        """Makes the run's session where there is none yet."""
        session = create_session(run, new_study(run, env, target, people), people)
        if session.study.env != env:
            raise LabellingError(f"the session of {run} is about {session.study.env}, the run about {env}")
        if session.study.target != target:
            session.store.set_target(session.study.id, target)
        if session.study.state == "finished":
            session.store.set_state(session.study.id, "active")
        return cls(session, opinion)

    # -- Answers --------------------------------------------------------------------------------

    def begin(self, known: Collection[str]) -> list[Query]:
        self._known = set(known)
        self._queries = {row["key"]: _query(row) for row in self._store.train_queries(self._study)}
        return [self._queries[row["key"]] for row in self._store.open_train_queries(self._study)]

    def submit(self, query: Query, left: Episode, right: Episode) -> None:
        self._queries[query.id] = query
        self._pending.append((query, left, right))

    def poll(self) -> list[Comparison | Retraction]:
        """Puts what waits and takes what came; nothing while database or storage are away."""
        try:
            self._put()
            news = self._read()
        except UnavailableError as error:
            if not self._away:
                logger.warning("labelling is interrupted: %s", error)
            self._away = True
            return []
        if self._away:
            logger.warning("labelling goes on")
        self._away = False
        return news

    def close(self) -> None:
        self._store.close()

    def _put(self) -> None:
        if not self._pending:
            return
        rows = []
        for query, left, right in self._pending:
            sources = [self._source(clip) for clip in (left, right)]
            rows.append(new_query(query, *sources))
        self._store.add_queries(self._study, rows)
        self._pending.clear()

    def _source(self, clip: Episode) -> SegmentSource:
        source, opinion = (
            write_source(self.session.storage, self.session.study.env, clip),
            self._opinion(clip),
        )
        return source if opinion is None else replace(source, reward=tuple(np.round(opinion, 4).tolist()))

    def _read(self) -> list[Comparison | Retraction]:
        revision = self._store.revision(self._study)
        if revision == self._revision:
            return []
        news: list[Comparison | Retraction] = []
        labels = self._store.labels(self._study, include_retracted=True)
        for label in labels:
            if label.retracts is not None or label.choice not in MEANING:
                continue
            if label.retracted and label.uuid in self._known:
                self._known.discard(label.uuid)
                news.append(Retraction(label.uuid))
            elif not label.retracted and label.uuid not in self._known:
                self._known.add(label.uuid)
                news.append(self._comparison(label))
        self._revision = revision
        return news

    def _comparison(self, label: Label) -> Comparison:
        if label.key not in self._queries:  # put by an earlier process after our checkpoint
            self._queries = {row["key"]: _query(row) for row in self._store.train_queries(self._study)}
        return _comparison(label, self._queries[label.key])

    # -- what people and their owner see ----------------------------------------------------------

    def error_rates(self) -> dict[str, float] | None:
        """How often each person answers at random, as repeats, golds and shared queries tell.

        None while the database cannot say.
        """
        try:
            labels = self._store.labels(self._study, kinds=("train", "repeat", "gold"))
            golds = self._store.golds(self._study)
        except UnavailableError:
            return None
        return {person: rate.mean for person, rate in error_rates(labels, golds).items()}

    def say_training(self, state: TrainingState, text: str, step: int, steps: int, labels: int) -> None:
        """What the training does now: written when that changed, or every few seconds."""
        now = time.monotonic()
        if state == self._said[0] and now - self._said[1] < SAY_EVERY_SECONDS:
            return
        self._said = (state, now)
        self._log("training", state=state, text=text, step=step, steps=steps, labels=labels)

    def say_fitted(self, version: int, step: int, labels: int, accuracy: float) -> None:
        """A new reward model; accuracy: on answers held out of its fit, NaN where there are none."""
        known = accuracy if math.isfinite(accuracy) else None
        self._log("reward", version=version, step=step, labels=labels, accuracy=known)
        try:
            self._store.add_reward_version(self._study, version, labels, step, {"accuracy": known})
        except LabellingError as error:
            logger.debug("a reward version was not written: %s", error)

    def show_policy(self, predict: Callable[[Array], Array], step: int) -> None:
        """Films the policy for those who teach it."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.mp4"
            try:
                write_policy_video(self.session.study.env, predict, path, seed=step, seconds=6, size=256)
                media = self.session.storage.put(path.read_bytes())
            except (NoRendererError, LabellingError, OSError) as error:
                logger.warning("no video of the policy for labellers: %s", error)
                return
        self._log("video", media=media, step=step, content_type="video/mp4")

    def _log(self, kind: str, **data: Any) -> None:
        try:
            self._store.log_event(self._study, kind, data)
        except UnavailableError as error:
            logger.debug("an event was not written: %s", error)

    def finish(self) -> None:
        try:
            self._store.set_state(self._study, "finished")
        except UnavailableError as error:
            logger.warning("the session could not be closed: %s", error)


def standing_answers(session: Session) -> list[Comparison]:
    """All answers of a session that teach and were not taken back, in the order they came."""
    queries = {row["key"]: _query(row) for row in session.store.train_queries(session.study.id)}
    labels = session.store.labels(session.study.id)
    return [_comparison(label, queries[label.key]) for label in labels if label.choice in MEANING]


def _comparison(label: Label, query: Query) -> Comparison:
    seconds = label.shown_ms / 1000
    return Comparison(query, MEANING[label.choice], label.annotator, seconds, label.uuid)


def new_query(query: Query, left: SegmentSource, right: SegmentSource) -> NewQuery:
    """A query of the trainer as the database takes it."""
    return NewQuery(
        key=query.id,
        index=query.index,
        left=left,
        right=right,
        chosen_by=query.chosen_by,
        score=query.score,
        reward_version=query.reward_version,
        step=query.step,
        clips={
            side: [clip.episode, clip.start, clip.length]
            for side, clip in (("left", query.left), ("right", query.right))
        },
    )


def _query(row: Mapping[str, Any]) -> Query:
    return Query(
        index=int(row["index"]),
        left=Clip(*row["clips"]["left"]),
        right=Clip(*row["clips"]["right"]),
        chosen_by=str(row["chosen_by"]),
        score=float(row["score"]),
        reward_version=int(row["reward_version"]),
        step=int(row["step"]),
    )
