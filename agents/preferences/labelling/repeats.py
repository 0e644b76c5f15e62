"""Queries that check the annotators: own ones again with sides swapped, and golds."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, insert, select

from agents.preferences.labelling import offers
from agents.preferences.labelling.offers import MINE
from agents.preferences.labelling.queries import new_id
from agents.preferences.labelling.schema import label, query

APART: Final = 10
"""a repeat comes this many labels after the first answer or later, so that nobody remembers"""
_ASKED = query.alias("asked")


def instead(
    connection: Connection, person: Row[Any], count: int, now: datetime, rng: random.Random
) -> list[tuple[Row[Any], bool]]:
    """Up to `count` checks with their sides, each place drawn by the study's shares.

    They take the place of training queries, so somebody who waits for those is not kept busy with checks.
    """
    draws = [rng.random() for _ in range(count)]
    wants_repeats = sum(draw < person.repeat_share for draw in draws)
    wants_golds = sum(person.repeat_share <= draw < person.repeat_share + person.gold_share for draw in draws)
    found: list[tuple[Row[Any], bool]] = []
    if wants_repeats:
        found += _repeats(connection, person, wants_repeats, now)
    if wants_golds:
        golds = connection.execute(_golds(person, now).limit(wants_golds))
        found += [(row, bool(rng.getrandbits(1))) for row in golds]
    return found


def _golds(person: Row[Any], now: datetime) -> Select[Any]:
    """Those whose pair the annotator never saw, not even to skip it."""
    return (
        offers.for_annotator(person.id)
        .where(query.c.study == person.study, query.c.kind == "gold", query.c.closed.is_(None), query.c.ready)
        .where(MINE.c.annotator.is_(None), ~offers.was_seen(person.id, now))
        .order_by(func.random())
    )


def _repeats(
    connection: Connection, person: Row[Any], count: int, now: datetime
) -> list[tuple[Row[Any], bool]]:
    """Rows of queries made for this annotator alone; those left unanswered before come first."""
    left_over = (
        offers.held_by(person.id)
        .where(
            query.c.annotator == person.id, query.c.kind == "repeat", query.c.closed.is_(None), query.c.ready
        )
        .where(MINE.c.answer.is_(None), MINE.c.skipped.is_(None), ~offers.runs(MINE.c, now))
    )
    rows = [(row, bool(row.swapped)) for row in connection.execute(left_over.limit(count))]
    origins = connection.execute(_repeatable(connection, person).limit(count - len(rows))).all()
    for origin in origins:
        made = _make(connection, person, origin, now)
        row = connection.execute(offers.for_annotator(person.id).where(query.c.id == made)).one()
        rows.append((row, not origin.swapped))
    return rows


def _repeatable(connection: Connection, person: Row[Any]) -> Select[Any]:
    """Own training queries that were judged long enough ago and not repeated yet, in random order."""
    own = select(label.c.seq).where(label.c.annotator == person.id, label.c.retracts.is_(None))
    newest = connection.execute(
        own.order_by(label.c.seq.desc()).offset(APART - 1).limit(1)
    ).scalar_one_or_none()
    repeated = select(_ASKED.c.id).where(
        _ASKED.c.annotator == person.id, _ASKED.c.kind == "repeat", _ASKED.c.key == query.c.key
    )
    return (
        offers.held_by(person.id)
        .join(label, label.c.uuid == MINE.c.answer)
        .where(query.c.kind == "train", query.c.ready, label.c.choice.in_(["left", "right", "tie"]))
        .where(label.c.seq <= (-1 if newest is None else newest), ~repeated.exists())
        .order_by(func.random())
    )


def _make(connection: Connection, person: Row[Any], origin: Row[Any], now: datetime) -> str:
    own = {column.name: getattr(origin, column.name) for column in query.c}
    made = new_id()
    fresh = {"id": made, "kind": "repeat", "annotator": person.id, "gold": None, "wanted": 1, "answers": 0}
    connection.execute(insert(query), {**own, **fresh, "created": now, "closed": None, "closed_by": None})
    return made
