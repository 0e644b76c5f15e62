"""Handing queries out: what is offered to whom, and for how long."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, or_, select, update

from agents.preferences.labelling import annotators, offers, repeats
from agents.preferences.labelling.offers import HAS_ROOM, IDS, ME, MINE, WAS_SEEN
from agents.preferences.labelling.schema import lease, query
from agents.preferences.labelling.types import Offer

OPEN = (
    offers.FOR_ANNOTATOR.where(
        query.c.study == bindparam("study"),
        query.c.kind == "train",
        query.c.closed.is_(None),
        query.c.ready,
        ~WAS_SEEN,
        HAS_ROOM,
    )
    .order_by(query.c.priority.desc(), query.c.number)
    .limit(bindparam("count"))
)
"""training queries that an annotator can be asked, most important first"""
_FRESH = OPEN.where(MINE.c.skipped.is_(None))
_SKIPPED = OPEN.where(MINE.c.annotator == ME, MINE.c.skipped.is_not(None))
_LOCKING = {
    (statement, waits): statement.with_for_update(of=query, key_share=True, skip_locked=not waits)
    for statement in (_FRESH, _SKIPPED)
    for waits in (False, True)
}
_OWN = (
    select(lease.c.query, lease.c.expires)
    .join(query, query.c.id == lease.c.query)
    .where(lease.c.annotator == ME, lease.c.answer.is_(None), lease.c.released.is_(None))
    .order_by(lease.c.issued, query.c.priority.desc(), query.c.number)
)
_OTHERS = lease.alias("others")
_TAKEN = (
    select(func.count())
    .select_from(_OTHERS)
    .where(_OTHERS.c.query == query.c.id, _OTHERS.c.annotator != ME, offers.runs(_OTHERS.c))
)
_FREE = select(query.c.id).where(
    query.c.id.in_(IDS),
    query.c.closed.is_(None),
    or_(query.c.answers + _TAKEN.scalar_subquery() < query.c.wanted, query.c.kind != "train"),
)
"""those in which there is a place for the annotator, who may hold one already"""
_OF_ME = (lease.c.annotator == ME) & lease.c.query.in_(IDS)
_PROLONG = update(lease).where(_OF_ME).values(expires=bindparam("until"))
_AGAIN = (
    update(lease).where(_OF_ME).values(issued=bindparam("from"), expires=bindparam("until"), released=None)
)


@dataclass(frozen=True)
class Asking:
    """One request for queries."""

    person: Row[Any]
    now: datetime
    rng: random.Random
    waits: bool
    """wait for queries that another process is handing out at this moment, instead of leaving them out"""

    @property
    def expires(self) -> datetime:
        return self.now + timedelta(seconds=self.person.lease_seconds)

    @property
    def parameters(self) -> dict[str, Any]:
        return {"me": self.person.id, "now": self.now}


def offer(
    connection: Connection,
    annotator_id: str,
    count: int,
    held: Sequence[str],
    now: datetime,
    rng: random.Random,
    waits: bool,
) -> list[Offer]:
    """Renews what is held; first what the annotator has but does not hold, as after a reload, then new."""
    person = offers.person(connection, annotator_id)
    annotators.check(person, now)
    asking = Asking(person, now, rng, waits)
    own = _renew(connection, asking, set(held))
    if person.state != "active":
        return []
    again = [query_id for query_id in own if query_id not in held][:count]
    known = offers.held(connection, annotator_id, again, asking.expires)
    new = _choose(connection, asking, count - len(again))
    _hand_out(connection, asking, new)
    return known + [offers.as_offer(row, swapped, asking.expires) for row, swapped in new]


def release(connection: Connection, annotator_id: str, query_id: str, now: datetime) -> None:
    own = (lease.c.query == query_id) & (lease.c.annotator == annotator_id)
    connection.execute(update(lease).where(own, lease.c.answer.is_(None)).values(released=now))


def _renew(connection: Connection, asking: Asking, held: set[str]) -> list[str]:
    """Prolongs what runs, and what is held and ran out while nobody else took it. Returns all of these."""
    rows = connection.execute(_OWN, asking.parameters).all()
    # On PostgreSQL a lease that ends soon may end, and be taken, before this transaction does: only half
    # its time is more than any transaction lasts.
    safe = asking.now + timedelta(seconds=asking.person.lease_seconds / 2)
    unsafe = [
        row.query for row in rows if row.expires <= safe and (row.expires > asking.now or row.query in held)
    ]
    kept = set(_lock_free(connection, asking, unsafe)) if unsafe else set()
    own = [row.query for row in rows if row.expires > safe or row.query in kept]
    if own:
        connection.execute(_PROLONG, {"me": asking.person.id, "ids": own, "until": asking.expires})
    return own


def _lock_free(connection: Connection, asking: Asking, ids: list[str]) -> list[str]:
    """Those that are open and have room, which nobody can take until this transaction ends."""
    offers.lock(connection, ids)
    return list(connection.execute(_FREE, {**asking.parameters, "ids": ids}).scalars())


def _choose(connection: Connection, asking: Asking, count: int) -> list[tuple[Row[Any], bool]]:
    """Queries and whether their sides are swapped."""
    rows = _train(connection, asking, count, skipped=False)
    rows += _train(connection, asking, count - len(rows), skipped=True)
    places = [row.pair for row in rows]
    checks = repeats.instead(connection, asking.person, places, asking.now, asking.rng)
    drawn = [(row, offers.swaps(row, asking.person.id)) for row in rows[: len(rows) - len(checks)]]
    for check in checks:
        drawn.insert(asking.rng.randint(0, len(drawn)), check)
    return drawn


def _train(connection: Connection, asking: Asking, count: int, skipped: bool) -> list[Row[Any]]:
    if count < 1:
        return []
    statement = _LOCKING[_SKIPPED if skipped else _FRESH, asking.waits]
    of_study = {**asking.parameters, "study": asking.person.study, "count": count}
    rows = list(connection.execute(statement, of_study))
    if not rows or connection.dialect.name == "sqlite":
        return rows
    # PostgreSQL counted the leases before it had the locks: count again now that nobody can add one.
    free = set(_lock_free(connection, asking, [row.id for row in rows]))
    return [row for row in rows if row.id in free]


def _hand_out(connection: Connection, asking: Asking, new: list[tuple[Row[Any], bool]]) -> None:
    fresh = [
        {
            "query": row.id,
            "annotator": asking.person.id,
            "pair": row.pair,
            "swapped": swapped,
            "issued": asking.now,
            "expires": asking.expires,
        }
        for row, swapped in new
        if row.leased_to is None
    ]
    if fresh:
        connection.execute(insert(lease), fresh)
    again = [row.id for row, _ in new if row.leased_to is not None]
    if again:
        term = {"from": asking.now, "until": asking.expires}
        connection.execute(_AGAIN, {"me": asking.person.id, "ids": again, **term})
