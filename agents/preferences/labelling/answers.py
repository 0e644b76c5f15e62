"""Answers and their undoing: rows that are only ever added, and what follows from them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, insert, select, update

from agents.preferences.labelling import offers
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
_SHOWN = [column for column in label.c if column.name not in ("seq", "seconds")]


def answer(connection: Connection, annotator_id: str, new: NewLabel, now: datetime) -> Label:
    """The stored row; the one of before where the same uuid says the same again."""
    offers.lock(connection, [new.query])
    asked = _asked(connection, annotator_id, new.query)
    known = _find(connection, new.uuid)
    if known is not None:
        return _same(known, annotator_id, new)
    if asked is None or asked.leased_to is None:
        raise _not_yours(asked)
    if asked.answer is not None:
        raise ConflictError("You have answered this pair already. Undo that answer to give another.")
    row = {
        **_row(new, asked, annotator_id, now),
        "choice": turned(new.choice, asked.swapped),
        "swapped": asked.swapped,
        "shown_ms": new.shown_ms,
        "loops": new.loops,
        "speed": new.speed,
        "seconds": _seconds(asked, now),
        "client_time": new.client_time,
    }
    connection.execute(insert(label), row)
    _settle(connection, annotator_id, asked, new, now)
    return _label(row)


def retract(connection: Connection, annotator_id: str, uuid: str, new_uuid: str, now: datetime) -> Offer:
    """Adds the undo and hands the query to the same annotator again, same sides."""
    given = _find(connection, uuid)
    if given is None:
        raise UnknownError("There is no such answer to undo.")
    if given.annotator != annotator_id:
        raise ForbiddenError("This answer is somebody else's.")
    offers.lock(connection, [given.query])
    given, undo = _find(connection, uuid), _find(connection, new_uuid)
    assert given is not None
    asked = _asked(connection, annotator_id, given.query)
    assert asked is not None, "a label names a query"
    if undo is not None:
        if (undo.retracts, undo.annotator) != (uuid, annotator_id):
            raise ConflictError("This uuid was used for something else.")
        return offers.as_offer(asked, asked.swapped, asked.expires)  # said again, done before
    if given.retracted or given.retracts is not None:
        raise ConflictError("This answer was undone already.")
    if given.choice == "skip" and asked.answer is not None:
        raise ConflictError("You have answered this pair since: undo that answer first.")
    expires = _take_back(connection, given, asked, now)
    kept = {name: getattr(given, name) for name in ("choice", "swapped", "shown_ms", "loops", "speed")}
    new = NewLabel(new_uuid, given.query, given.choice)
    connection.execute(
        insert(label), {**_row(new, asked, annotator_id, now), **kept, "seconds": 0.0, "retracts": uuid}
    )
    return offers.as_offer(asked, asked.swapped, expires)


def labels(
    connection: Connection, study_id: str, kinds: Collection[Kind], include_retracted: bool
) -> list[Label]:
    found = _labels().where(label.c.study == study_id, label.c.kind.in_(list(kinds)))
    if not include_retracted:
        found = found.where(label.c.retracts.is_(None), _UNDO.c.uuid.is_(None))
    return [Label(**row._mapping) for row in connection.execute(found.order_by(label.c.seq))]


def history(connection: Connection, annotator_id: str, limit: int) -> list[Label]:
    own = _labels().where(label.c.annotator == annotator_id, label.c.retracts.is_(None))
    return [
        Label(**row._mapping) for row in connection.execute(own.order_by(label.c.seq.desc()).limit(limit))
    ]


def revision(connection: Connection, study_id: str) -> int:
    # Not the highest number: PostgreSQL may show a higher one before a lower one.
    rows = select(func.count()).select_from(label).where(label.c.study == study_id)
    return int(connection.execute(rows).scalar_one())


def times(connection: Connection, study_id: str) -> list[tuple[str, float]]:
    found = (
        select(label.c.annotator, label.c.seconds)
        .outerjoin(_UNDO, _UNDO.c.retracts == label.c.uuid)
        .where(label.c.study == study_id, label.c.kind == "train", label.c.choice.in_(ANSWERING))
        .where(label.c.retracts.is_(None), _UNDO.c.uuid.is_(None))
    )
    return [(row.annotator, row.seconds) for row in connection.execute(found.order_by(label.c.seq))]


def _asked(connection: Connection, annotator_id: str, query_id: str) -> Row[Any] | None:
    """The query, the annotator's lease of it, and when their label before came."""
    previous = select(func.max(label.c.server_time)).where(label.c.annotator == annotator_id)
    found = offers.for_annotator(annotator_id).add_columns(
        offers.MINE.c.issued, offers.MINE.c.answer, previous.scalar_subquery().label("previous")
    )
    return connection.execute(found.where(query.c.id == query_id)).one_or_none()


def _find(connection: Connection, uuid: str) -> Row[Any] | None:
    return connection.execute(_labels().where(label.c.uuid == uuid)).one_or_none()


def _labels() -> Select[Any]:
    return select(*_SHOWN, _UNDO.c.uuid.is_not(None).label("retracted")).outerjoin(
        _UNDO, _UNDO.c.retracts == label.c.uuid
    )


def _same(known: Row[Any], annotator_id: str, new: NewLabel) -> Label:
    said = (annotator_id, new.query, turned(new.choice, known.swapped), None)
    if (known.annotator, known.query, known.choice, known.retracts) != said:
        raise ConflictError("This uuid was used for another answer.")
    return Label(**known._mapping)


def _not_yours(asked: Row[Any] | None) -> Exception:
    if asked is None:
        return UnknownError("This pair is not known here.")
    return ForbiddenError("This pair was not handed to you.")


def _row(new: NewLabel, asked: Row[Any], annotator_id: str, now: datetime) -> dict[str, Any]:
    return {
        "uuid": new.uuid,
        "study": asked.study,
        "query": asked.id,
        "key": asked.key,
        "kind": asked.kind,
        "annotator": annotator_id,
        "server_time": now,
        "client_time": None,
        "retracts": None,
    }


def _label(row: dict[str, Any]) -> Label:
    return Label(**{name: value for name, value in row.items() if name != "seconds"})


def _seconds(asked: Row[Any], now: datetime) -> float:
    """What this answer took: pairs are handed out ahead, so not before the label before it came."""
    begun = asked.issued if asked.previous is None else max(asked.issued, asked.previous)
    return max(0.0, (now - begun).total_seconds())


def _settle(connection: Connection, annotator_id: str, asked: Row[Any], new: NewLabel, now: datetime) -> None:
    """The lease ends; the query closes with its last answer, or when a clip of it is broken."""
    own = and_(lease.c.query == asked.id, lease.c.annotator == annotator_id)
    ends: dict[str, Any] = {"skipped": now} if new.choice == "skip" else {"answer": new.uuid}
    connection.execute(update(lease).where(own).values(released=now, **ends))
    changes: dict[str, Any] = {}
    if new.choice in ANSWERING:
        changes["answers"] = asked.answers + 1
        if asked.answers + 1 >= asked.wanted and asked.kind != "gold":
            changes |= {"closed": now, "closed_by": "answers"}
    elif new.choice == "broken":
        changes |= {"closed": now, "closed_by": "flag"}
    if changes and asked.closed is not None:
        changes = {name: value for name, value in changes.items() if name == "answers"}
    if changes:
        connection.execute(update(query).where(query.c.id == asked.id).values(changes))


def _take_back(connection: Connection, given: Row[Any], asked: Row[Any], now: datetime) -> datetime:
    """Frees the place that the answer took, and gives it to the same annotator. Returns until when."""
    seconds = offers.person(connection, given.annotator).lease_seconds
    expires: datetime = now + timedelta(seconds=seconds)
    others = select(func.count()).where(
        lease.c.query == asked.id, lease.c.annotator != given.annotator, offers.runs(lease.c, now)
    )
    running = int(connection.execute(others).scalar_one())
    answers = asked.answers - (given.choice in ANSWERING)
    room = answers + running < asked.wanted or asked.kind != "train"
    if not room and given.choice not in ANSWERING:
        raise ConflictError("This pair is with somebody else by now: it cannot be brought back.")
    changes: dict[str, Any] = {"answers": answers, "wanted": asked.wanted if room else answers + running + 1}
    reopens = ("answers",) if given.choice in ANSWERING else ("flag",)
    if asked.closed_by in reopens:
        changes |= {"closed": None, "closed_by": None}
    connection.execute(update(query).where(query.c.id == asked.id).values(changes))
    own = and_(lease.c.query == asked.id, lease.c.annotator == given.annotator)
    again = {"issued": now, "expires": expires, "released": None, "skipped": None, "answer": None}
    connection.execute(update(lease).where(own).values(again))
    return expires
