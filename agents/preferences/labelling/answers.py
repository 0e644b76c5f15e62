"""Answers and their undoing: rows that are only ever added, and what follows from them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, select, update

from agents.preferences.labelling import offers
from agents.preferences.labelling.offers import ME
from agents.preferences.labelling.schema import label, lease, query
from agents.preferences.labelling.sides import turned
from agents.preferences.labelling.types import (
    ANSWERING,
    ConflictError,
    ForbiddenError,
    Kind,
    Label,
    NewLabel,
    Offer,
    UnknownError,
)

_UNDO = label.alias("undo")
_STANDS = label.c.retracts.is_(None) & _UNDO.c.uuid.is_(None)
_LABELS: Select[Any] = select(
    *(column for column in label.c if column.name not in ("seq", "seconds")),
    _UNDO.c.uuid.is_not(None).label("retracted"),
).outerjoin(_UNDO, _UNDO.c.retracts == label.c.uuid)
_BY_UUID = _LABELS.where(label.c.uuid == bindparam("uuid"))
_OF_STUDY = _LABELS.where(
    label.c.study == bindparam("study"), label.c.kind.in_(bindparam("kinds", expanding=True))
).order_by(label.c.seq)
_STANDING = _OF_STUDY.where(_STANDS)
_HISTORY = (
    _LABELS.where(label.c.annotator == ME, label.c.retracts.is_(None))
    .order_by(label.c.seq.desc())
    .limit(bindparam("count"))
)
_REVISION = select(func.count()).select_from(label).where(label.c.study == bindparam("study"))
_TIMES = (
    select(label.c.annotator, label.c.seconds)
    .outerjoin(_UNDO, _UNDO.c.retracts == label.c.uuid)
    .where(label.c.study == bindparam("study"), label.c.kind == "train", label.c.choice.in_(ANSWERING))
    .where(_STANDS)
    .order_by(label.c.seq)
)
_PREVIOUS = select(label.c.server_time).where(label.c.annotator == ME).order_by(label.c.seq.desc()).limit(1)
_ASKED: Select[Any] = (
    select(
        *query.c["id", "study", "key", "kind", "pair", "wanted", "answers", "closed", "closed_by"],
        query.c.annotator.label("only_for"),
        lease.c.annotator.label("leased_to"),
        *lease.c["swapped", "issued", "expires", "answer"],
        _PREVIOUS.scalar_subquery().label("previous"),
    )
    .outerjoin(lease, (lease.c.query == query.c.id) & (lease.c.annotator == ME))
    .where(query.c.id == bindparam("query"))
)
"""the query, the annotator's lease of it, and when their label before came"""
_RUNNING = select(func.count()).where(
    lease.c.query == bindparam("query"), lease.c.annotator != ME, offers.runs(lease.c)
)
_OTHER_FLAGS = (
    select(label.c.uuid)
    .join(lease, lease.c.answer == label.c.uuid)
    .where(lease.c.query == bindparam("query"), lease.c.annotator != ME, label.c.choice == "broken")
    .limit(1)
)
_OWN = (lease.c.query == bindparam("of_query")) & (lease.c.annotator == bindparam("of_annotator"))
_END = update(lease).where(_OWN)
_CHANGE = update(query).where(query.c.id == bindparam("of_query"))


def answer(connection: Connection, annotator_id: str, new: NewLabel, now: datetime) -> Label:
    """The stored row; the one of before where the same uuid says the same again."""
    offers.lock(connection, [new.query])
    asked = _asked(connection, annotator_id, new.query)
    known = _find(connection, new.uuid)
    if known is not None:
        return _same(known, annotator_id, new)
    if asked is None:
        raise UnknownError("This pair is not known here.")
    if asked.leased_to is None:
        asked = _lost(connection, asked, annotator_id, now)
    if asked.answer is not None:
        raise ConflictError("You have answered this pair already. Undo that answer to give another.")
    given = Label(
        **_about(asked, annotator_id, now),
        uuid=new.uuid,
        choice=turned(new.choice, asked.swapped),
        shown_ms=new.shown_ms,
        loops=new.loops,
        speed=new.speed,
        client_time=new.client_time,
    )
    _add(connection, given, _seconds(asked, now))
    _settle(connection, asked, given)
    return given


def retract(connection: Connection, annotator_id: str, uuid: str, new_uuid: str, now: datetime) -> Offer:
    """Adds the undo and hands the query to the same annotator again, same sides."""
    given = _own(_find(connection, uuid), annotator_id)
    offers.lock(connection, [given.query])
    given, undo = _own(_find(connection, uuid), annotator_id), _find(connection, new_uuid)
    asked = _asked(connection, annotator_id, given.query)
    assert asked is not None, "a label names a query"
    if undo is not None:
        if (undo.retracts, undo.annotator) != (uuid, annotator_id):
            raise ConflictError("This uuid was used for something else.")
        return _offer(connection, asked, asked.expires)  # said again, done before
    if given.retracted or given.retracts is not None:
        raise ConflictError("This answer was undone already.")
    if given.choice == "skip" and asked.answer is not None:
        raise ConflictError("You have answered this pair since: undo that answer first.")
    expires = _take_back(connection, given, asked, now)
    kept = {name: getattr(given, name) for name in ("choice", "shown_ms", "loops", "speed")}
    _add(connection, Label(**_about(asked, annotator_id, now), **kept, uuid=new_uuid, retracts=uuid), 0.0)
    return _offer(connection, asked, expires)


def labels(
    connection: Connection, study_id: str, kinds: Collection[Kind], include_retracted: bool
) -> list[Label]:
    statement = _OF_STUDY if include_retracted else _STANDING
    rows = connection.execute(statement, {"study": study_id, "kinds": list(kinds)})
    return [Label(**row._mapping) for row in rows]


def history(connection: Connection, annotator_id: str, limit: int) -> list[Label]:
    rows = connection.execute(_HISTORY, {"me": annotator_id, "count": limit})
    return [Label(**row._mapping) for row in rows]


def revision(connection: Connection, study_id: str) -> int:
    # Not the highest number: PostgreSQL may show a higher one before a lower one.
    return int(connection.execute(_REVISION, {"study": study_id}).scalar_one())


def times(connection: Connection, study_id: str) -> list[tuple[str, float]]:
    return [(row.annotator, row.seconds) for row in connection.execute(_TIMES, {"study": study_id})]


def _asked(connection: Connection, annotator_id: str, query_id: str) -> Row[Any] | None:
    return connection.execute(_ASKED, {"me": annotator_id, "query": query_id}).one_or_none()


def _offer(connection: Connection, asked: Row[Any], expires: datetime) -> Offer:
    return offers.held(connection, asked.leased_to, [asked.id], expires)[0]


def _lost(connection: Connection, asked: Row[Any], annotator_id: str, now: datetime) -> Row[Any]:
    """Takes an answer to a pair whose hand-out is not on record, if it might have been theirs.

    `offer` does not wait for the disk, so a loss of power may take back what a page shows already. Who
    names the pair has seen its id, which cannot be guessed; so it is handed to them now, if nobody else
    has it.
    """
    running = connection.execute(_RUNNING, {"query": asked.id, "me": annotator_id, "now": now}).scalar_one()
    has_room = asked.kind == "gold" or asked.answers + running < asked.wanted
    own = asked.only_for in (None, annotator_id)
    if not (own and has_room and asked.closed is None):
        raise ForbiddenError("This pair was not handed to you.")
    if offers.person(connection, annotator_id).study != asked.study:
        raise ForbiddenError("This pair was not handed to you.")
    place = {"query": asked.id, "annotator": annotator_id, "pair": asked.pair}
    swapped = offers.swaps(asked, annotator_id)
    connection.execute(insert(lease), {**place, "swapped": swapped, "issued": now, "expires": now})
    found = _asked(connection, annotator_id, asked.id)
    assert found is not None, "it was found before"
    return found


def _find(connection: Connection, uuid: str) -> Row[Any] | None:
    row: Row[Any] | None = connection.execute(_BY_UUID, {"uuid": uuid}).one_or_none()
    return row


def _own(given: Row[Any] | None, annotator_id: str) -> Row[Any]:
    if given is None:
        raise UnknownError("There is no such answer to undo.")
    if given.annotator != annotator_id:
        raise ForbiddenError("This answer is somebody else's.")
    return given


def _same(known: Row[Any], annotator_id: str, new: NewLabel) -> Label:
    said = (annotator_id, new.query, turned(new.choice, known.swapped), None)
    if (known.annotator, known.query, known.choice, known.retracts) != said:
        raise ConflictError("This uuid was used for another answer.")
    return Label(**known._mapping)


def _about(asked: Row[Any], annotator_id: str, now: datetime) -> dict[str, Any]:
    own = {"annotator": annotator_id, "server_time": now}
    return own | {
        "study": asked.study,
        "query": asked.id,
        "key": asked.key,
        "kind": asked.kind,
        "swapped": asked.swapped,
    }


def _add(connection: Connection, new: Label, seconds: float) -> None:
    row = {name: getattr(new, name) for name in Label.__dataclass_fields__ if name != "retracted"}
    connection.execute(insert(label), {**row, "seconds": seconds})


def _seconds(asked: Row[Any], now: datetime) -> float:
    """What this answer took: pairs are handed out ahead, so not before the label before it came."""
    begun = asked.issued if asked.previous is None else max(asked.issued, asked.previous)
    return max(0.0, (now - begun).total_seconds())


def _settle(connection: Connection, asked: Row[Any], given: Label) -> None:
    """The lease ends; the query closes with its last answer, or when a clip of it is broken."""
    now, place = given.server_time, {"of_query": asked.id, "of_annotator": given.annotator}
    ends = {"skipped": now} if given.choice == "skip" else {"answer": given.uuid}
    connection.execute(_END, {**place, "released": now, **ends})
    changes: dict[str, Any] = {}
    if given.choice in ANSWERING:
        changes["answers"] = asked.answers + 1
    full = asked.kind != "gold" and changes.get("answers", 0) >= asked.wanted
    if asked.closed is None and (full or given.choice == "broken"):
        changes |= {"closed": now, "closed_by": "answers" if full else "flag"}
    if changes:
        connection.execute(_CHANGE, {"of_query": asked.id, **changes})


def _take_back(connection: Connection, given: Row[Any], asked: Row[Any], now: datetime) -> datetime:
    """Frees the place that the answer took, and gives it to the same annotator. Returns until when."""
    rules = offers.person(connection, given.annotator)
    expires: datetime = now + timedelta(seconds=rules.lease_seconds)
    held = {"query": asked.id, "me": given.annotator, "now": now}
    running = int(connection.execute(_RUNNING, held).scalar_one())
    counted = given.choice in ANSWERING
    answers = asked.answers - counted
    has_room = answers + running < asked.wanted or asked.kind != "train"
    if not has_room and not counted:
        raise ConflictError("This pair is with somebody else by now: it cannot be brought back.")
    # An answer whose lease had run out may have been one too many: others keep their places.
    changes: dict[str, Any] = {
        "answers": answers,
        "wanted": asked.wanted if has_room else answers + running + 1,
    }
    if _reopens(connection, given, asked):
        changes |= {"closed": None, "closed_by": None}
    connection.execute(_CHANGE, {"of_query": asked.id, **changes})
    again = {"issued": now, "expires": expires, "released": None, "skipped": None, "answer": None}
    connection.execute(_END, {"of_query": asked.id, "of_annotator": given.annotator, **again})
    return expires


def _reopens(connection: Connection, given: Row[Any], asked: Row[Any]) -> bool:
    """Whether it was this that closed the query, and no other person's flag would."""
    if given.choice != "broken":
        return given.choice in ANSWERING and asked.closed_by == "answers"
    others = {"query": asked.id, "me": given.annotator}
    return asked.closed_by == "flag" and connection.execute(_OTHER_FLAGS, others).first() is None
