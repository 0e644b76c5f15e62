"""Queries that check the annotators: own ones again with sides swapped, and golds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, Row, bindparam, func, insert, select

from agents.preferences.labelling import offers
from agents.preferences.labelling.offers import HELD_BY, ME, MINE, WAS_SEEN
from agents.preferences.labelling.queries import new_id
from agents.preferences.labelling.schema import label, query

APART: Final = 10
"""a repeat comes this many labels after the first answer or later, so that nobody remembers"""
JUDGING: Final = ("left", "right", "tie")

_COUNT: Final[BindParameter[int]] = bindparam("count")
_GOLDS = (
    offers.FOR_ANNOTATOR.where(query.c.study == bindparam("study"), query.c.kind == "gold")
    .where(query.c.closed.is_(None), query.c.ready, MINE.c.annotator.is_(None), ~WAS_SEEN)
    .order_by(func.random())
    .limit(_COUNT)
)
"""those whose pair the annotator never saw, and that they did not skip"""
_LEFT_OVER = (
    HELD_BY.where(query.c.annotator == ME, query.c.kind == "repeat", query.c.closed.is_(None), query.c.ready)
    .where(MINE.c.answer.is_(None), MINE.c.skipped.is_(None), ~offers.runs(MINE.c))
    .limit(_COUNT)
)
"""own repeats that were handed out and not answered"""
_ASKED = query.alias("asked")
_REPEATED = select(_ASKED.c.id).where(
    _ASKED.c.annotator == ME, _ASKED.c.kind == "repeat", _ASKED.c.key == query.c.key
)
_REPEATABLE = (
    HELD_BY.join(label, label.c.uuid == MINE.c.answer)
    .where(query.c.kind == "train", query.c.ready, label.c.choice.in_(JUDGING))
    .where(label.c.seq <= bindparam("newest"), ~_REPEATED.exists())
    .order_by(func.random())
    .limit(_COUNT)
)
"""own training queries that were judged long enough ago and not repeated yet"""
_NEWEST = (
    select(label.c.seq)
    .where(label.c.annotator == ME, label.c.retracts.is_(None))
    .order_by(label.c.seq.desc())
    .offset(APART - 1)
    .limit(1)
)
_ONE = offers.FOR_ANNOTATOR.where(query.c.id == bindparam("query"))


def instead(
    connection: Connection, person: Row[Any], pairs: Sequence[str], now: datetime, rng: random.Random
) -> list[tuple[Row[Any], bool]]:
    """Checks with their sides in place of some of these pairs, as the study's shares draw them.

    They take the place of training queries, so somebody who waits for those is not kept busy with checks.
    """
    draws = [rng.random() for _ in pairs]
    wants_repeats = sum(draw < person.repeat_share for draw in draws)
    wants_golds = sum(person.repeat_share <= draw < person.repeat_share + person.gold_share for draw in draws)
    found: list[tuple[Row[Any], bool]] = []
    if wants_repeats:
        found += _repeats(connection, person, wants_repeats, now)
    if wants_golds:
        of_study = {"me": person.id, "now": now, "study": person.study, "count": wants_golds}
        golds = connection.execute(_GOLDS, of_study)
        found += [(row, offers.swaps(row, person.id)) for row in golds if row.pair not in pairs]
    return found


def _repeats(
    connection: Connection, person: Row[Any], count: int, now: datetime
) -> list[tuple[Row[Any], bool]]:
    """Rows of queries made for this annotator alone; those left unanswered before come first."""
    mine = {"me": person.id, "now": now}
    rows = [(row, bool(row.swapped)) for row in connection.execute(_LEFT_OVER, {**mine, "count": count})]
    newest = connection.execute(_NEWEST, mine).scalar_one_or_none()
    if newest is None or len(rows) == count:
        return rows
    origins = connection.execute(_REPEATABLE, {**mine, "newest": newest, "count": count - len(rows)}).all()
    for origin in origins:
        made = _make(connection, person, origin, now)
        rows.append((connection.execute(_ONE, {**mine, "query": made}).one(), not origin.swapped))
    return rows


def _make(connection: Connection, person: Row[Any], origin: Row[Any], now: datetime) -> str:
    own = connection.execute(select(query).where(query.c.id == origin.id)).one()._mapping
    made = new_id()
    fresh = {"id": made, "kind": "repeat", "annotator": person.id, "gold": None, "wanted": 1, "answers": 0}
    connection.execute(insert(query), {**own, **fresh, "created": now, "closed": None, "closed_by": None})
    return made
