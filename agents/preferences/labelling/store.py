"""The database of labelling sessions, as the trainer, the server and the dashboard use it."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final

from agents.preferences.labelling import (
    annotators,
    answers,
    exports,
    imports,
    leases,
    queries,
    renderings,
    studies,
    waiting,
)
from agents.preferences.labelling.database import Database
from agents.preferences.labelling.exchange_rows import LabelRow
from agents.preferences.labelling.imports import ImportReport
from agents.preferences.labelling.migrate import migrate
from agents.preferences.labelling.studies import Event
from agents.preferences.labelling.types import (
    Annotator,
    Choice,
    Counts,
    Flag,
    Kind,
    Label,
    NewLabel,
    NewQuery,
    Offer,
    Role,
    SegmentJob,
    Sprite,
    Study,
    StudyState,
    Undrawable,
    WaitReason,
)

__all__ = ["Counts", "LabelStore", "open_store"]

TOKEN_BYTES: Final = 32
TRAIN: Final[tuple[Kind, ...]] = ("train",)
SHORTEST_TOKEN: Final = 22
"""letters of 128 bits"""
_system = random.SystemRandom()


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def open_store(
    url: str, *, now: Callable[[], datetime] = utc_now, rng: random.Random = _system
) -> LabelStore:
    """Makes the tables where they are missing or old; several processes may do so at once.

    url: sqlite:////path/labels.db or postgresql://host/name. now, rng: for tests; rng draws
    repeats and golds. Raises LabellingError where a newer version made the tables, UnavailableError
    where the database cannot be reached.
    """
    database = Database(url)
    try:
        migrate(database)
    except BaseException:
        database.close()
        raise
    return LabelStore(database, now, rng)


class LabelStore:
    """Methods are transactions: what they wrote is on the disk when they return. Threads may share it.

    Each raises UnavailableError, with what to do, while the database cannot be used; then nothing was
    stored.
    """

    def __init__(self, database: Database, now: Callable[[], datetime], rng: random.Random) -> None:
        self._database, self._now, self._rng = database, now, rng
        self._read, self._write = database.read, database.write

    @property
    def place(self) -> str:
        """Where the database is, without a password; not for everybody's eyes."""
        return self._database.name

    def close(self) -> None:
        self._database.close()

    # -- studies ----------------------------------------------------------------------------------

    def create_study(self, study: Study) -> Study:
        """What is there, where a study of that id is."""
        return self._write(lambda c: studies.create(c, study, self._now()))

    def study(self, study_id: str) -> Study:
        return self._read(lambda c: studies.read(c, study_id))

    def studies(self) -> list[Study]:
        return self._read(studies.every)

    def set_state(self, study_id: str, state: StudyState) -> None:
        self._write(lambda c: studies.set_state(c, study_id, state))

    def set_target(self, study_id: str, target: int) -> None:
        self._write(lambda c: studies.set_target(c, study_id, target))

    # -- what the training run asks and tells ------------------------------------------------------

    def add_queries(self, study_id: str, new: Sequence[NewQuery]) -> int:
        """How many were new; a key that is there is left as it is."""
        return self._write(lambda c: queries.add(c, study_id, new, self._now()))

    def query_keys(self, study_id: str, *, open_only: bool = False) -> list[str]:
        return self._read(lambda c: queries.keys(c, study_id, open_only))

    def open_train_queries(self, study_id: str) -> list[dict[str, Any]]:
        """Those that want more answers: key, index, clips, chosen_by, score, reward_version, step."""
        return self._read(lambda c: queries.rows(c, study_id, open_only=True))

    def train_queries(self, study_id: str) -> list[dict[str, Any]]:
        return self._read(lambda c: queries.rows(c, study_id, open_only=False))

    def withdraw(self, study_id: str, keys: Sequence[str]) -> None:
        """Asks nobody any more; what somebody holds of them may still be answered."""
        self._write(lambda c: queries.withdraw(c, study_id, keys, self._now()))

    def log_event(self, study_id: str, kind: str, data: Mapping[str, Any]) -> int:
        """Its number. What `data["media"]` names may then be seen by the study's people."""
        return self._write(lambda c: studies.log_event(c, study_id, kind, data, self._now()), durable=False)

    def events(
        self, study_id: str, *, after: int = 0, kinds: Collection[str] | None = None, limit: int = 1000
    ) -> list[Event]:
        """(number, time, kind, data), oldest first."""
        return self._read(lambda c: studies.events(c, study_id, after, kinds, limit))

    def latest(self, study_id: str, kind: str) -> dict[str, Any] | None:
        return self._read(lambda c: studies.latest(c, study_id, kind))

    def add_reward_version(
        self, study_id: str, version: int, labels: int, step: int, metrics: Mapping[str, Any]
    ) -> None:
        row = {"version": version, "labels": labels, "step": step, "metrics": dict(metrics)}
        self._write(
            lambda c: studies.add_reward_version(c, study_id, {**row, "created": self._now()}), durable=False
        )

    def reward_versions(self, study_id: str) -> list[dict[str, Any]]:
        """version, labels, step, metrics, created; oldest first."""
        return self._read(lambda c: studies.reward_versions(c, study_id))

    # -- people -------------------------------------------------------------------------------------

    def add_annotator(
        self,
        study_id: str,
        name: str,
        role: Role = "annotator",
        expires: datetime | None = None,
        token: str | None = None,
    ) -> tuple[Annotator, str]:
        """The new annotator and their token, which nobody can read later.

        With a token that is known: the annotator of before.
        """
        token = token or secrets.token_urlsafe(TOKEN_BYTES)
        if len(token) < SHORTEST_TOKEN:
            raise ValueError(f"a token needs {SHORTEST_TOKEN} letters or more, got {len(token)}")
        new = Annotator(secrets.token_hex(8), study_id, name, role, self._now(), expires)
        return self._write(lambda c: annotators.add(c, new, token)), token

    def annotator_by_token(self, token: str) -> Annotator:
        """Raises ForbiddenError where the token is unknown, revoked or expired."""
        return self._read(lambda c: annotators.by_token(c, token, self._now()))

    def annotators(self, study_id: str) -> list[Annotator]:
        return self._read(lambda c: annotators.of_study(c, study_id))

    def revoke(self, annotator_id: str) -> None:
        """Their link opens nothing from now on; their answers stay."""
        self._write(lambda c: annotators.revoke(c, annotator_id, self._now()))

    # -- asking and answering -----------------------------------------------------------------------

    def offer(self, annotator_id: str, count: int, *, held: Sequence[str] = ()) -> list[Offer]:
        """Up to `count` queries for an annotator beside those their page holds; these are prolonged.

        held: all that the page still shows or has not had acknowledged. What the annotator has and
        does not hold, as after a reload, comes first. Never more at once than a query wants answers,
        and never one of a pair that they have judged, but for repeats.
        """

        def hand_out(waits: bool) -> list[Offer]:
            return self._write(
                lambda c: leases.offer(c, annotator_id, count, held, self._now(), self._rng, waits),
                durable=False,
            )

        # Another process may hold the last open ones for a moment, only to leave them.
        return hand_out(False) or (hand_out(True) if count and not self._database.is_sqlite else [])

    def release(self, annotator_id: str, query_id: str) -> None:
        """Gives a query back unanswered."""
        self._write(lambda c: leases.release(c, annotator_id, query_id, self._now()), durable=False)

    def waiting(self, study_id: str, annotator_id: str) -> WaitReason:
        """Why they are offered nothing; "none" where they are, or still hold something."""
        return self._read(lambda c: waiting.waiting(c, annotator_id, self._now()))

    def answer(self, annotator_id: str, new: NewLabel) -> Label:
        """Stores an answer, also after its lease ran out or while the study is paused.

        The same again gives the row of before. Raises ConflictError where the uuid was used for another
        answer or the pair has one of theirs, ForbiddenError where it was never handed to them,
        UnknownError where there is no such query.
        """
        return self._write(lambda c: answers.answer(c, annotator_id, new, self._now()))

    def retract(self, annotator_id: str, uuid: str, new_uuid: str) -> Offer:
        """Undoes an answer of theirs by a row `new_uuid`, and hands them its query again."""
        return self._write(lambda c: answers.retract(c, annotator_id, uuid, new_uuid, self._now()))

    def history(self, annotator_id: str, limit: int = 50) -> list[Label]:
        """What they answered, newest first, undone or not; without the undo rows."""
        return self._read(lambda c: answers.history(c, annotator_id, limit))

    def labels(
        self, study_id: str, *, kinds: Collection[Kind] = TRAIN, include_retracted: bool = False
    ) -> list[Label]:
        """In order of arrival; with include_retracted also what was undone, and the undo rows."""
        return self._read(lambda c: answers.labels(c, study_id, kinds, include_retracted))

    def revision(self, study_id: str) -> int:
        """Changes with every label or undo."""
        return self._read(lambda c: answers.revision(c, study_id))

    def answer_times(self, study_id: str) -> list[tuple[str, float]]:
        """(annotator, seconds) of each training answer that stands, counted from when the pair was
        handed out or, as pairs are handed out ahead, from the annotator's label before."""
        return self._read(lambda c: answers.times(c, study_id))

    def counts(self, study_id: str) -> Counts:
        return self._read(lambda c: queries.counts(c, study_id, self._now()))

    # -- the owner ----------------------------------------------------------------------------------

    def make_gold(self, study_id: str, query_id: str, choice: Choice) -> None:
        """The right choice of a pair, by the query's sides; others are asked it as a check."""
        self._write(lambda c: queries.make_gold(c, study_id, query_id, choice, self._now()))

    def golds(self, study_id: str) -> dict[str, Choice]:
        """The right choice by the pair's key."""
        return self._read(lambda c: queries.golds(c, study_id))

    def flagged(self, study_id: str) -> list[Flag]:
        return self._read(lambda c: queries.flagged(c, study_id))

    def reopen(self, query_id: str, study_id: str | None = None) -> None:
        """Asks others a flagged or answered query again; with study_id only if it belongs there."""
        self._write(lambda c: queries.reopen(c, query_id, study_id))

    def label_pages(self, study_id: str, *, include_retracted: bool = False) -> Iterator[list[LabelRow]]:
        """The labels of now in order of arrival with their pairs and givers, a bounded number at a time."""
        return exports.pages(self._read, study_id, include_retracted)

    def import_labels(
        self,
        study_id: str,
        rows: Callable[[], Iterable[tuple[int, LabelRow]]],
        golds: Mapping[str, Choice],
        *,
        skip_unknown: bool = False,
    ) -> ImportReport:
        """Adds labels with their line numbers, all or none; `rows` begins anew with each call.

        golds: the right choice by key, for golds that this study has not. Raises ExchangeError with the
        line that does not fit; labels of pairs never asked are refused or, with skip_unknown, left out.
        """
        return self._write(lambda c: imports.take_in(c, study_id, rows(), golds, skip_unknown, self._now()))

    # -- clips --------------------------------------------------------------------------------------

    def segments_to_render(
        self, study_id: str | None, limit: int, claim_seconds: float = 60
    ) -> list[SegmentJob]:
        """Clips that open queries wait for; no other renderer gets them for `claim_seconds`."""
        now = self._now()
        due = self._read(lambda c: renderings.due(c, study_id, limit, now))
        return (
            self._write(lambda c: renderings.claim(c, due, now, claim_seconds), durable=False) if due else []
        )

    def set_sprite(self, segment_id: int, sprite: Sprite) -> None:
        self._write(lambda c: renderings.set_sprite(c, segment_id, sprite), durable=False)

    def set_undrawable(self, segment_id: int, reason: str) -> None:
        """It is given to a renderer again after some minutes."""
        self._write(lambda c: renderings.set_undrawable(c, segment_id, reason, self._now()), durable=False)

    def undrawable(self, study_id: str) -> list[Undrawable]:
        return self._read(lambda c: renderings.undrawable(c, study_id))

    def redraw(self, media: str) -> int:
        """For a picture that the storage lost: its clips are drawn anew. Returns how many."""
        return self._write(lambda c: renderings.redraw(c, media), durable=False)

    def is_awaited(self, media: str) -> bool:
        """Whether a renderer will draw its clips anew, because open queries show them."""
        return self._read(lambda c: renderings.is_awaited(c, media))

    def media(self, study_id: str) -> list[str]:
        """Digests of the pictures of its clips, those that are drawn."""
        return self._read(lambda c: renderings.media(c, study_id))

    def media_allowed(self, annotator_id: str, media: str) -> str:
        """Its content type. Raises ForbiddenError unless it belongs to the annotator's study."""
        return self._read(lambda c: renderings.content_type(c, annotator_id, media))
