"""Handing queries out: what is offered to whom, for how long, and why nothing is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from agents.preferences.labelling import annotators, offers, repeats
from agents.preferences.labelling.offers import MINE
from agents.preferences.labelling.schema import lease, query, segment
from agents.preferences.labelling.types import Offer, WaitReason


@dataclass(frozen=True)
class Asking:
    """One request for queries."""

    person: Row[Any]
    now: datetime
    rng: random.Random
    skip_locked: bool
    """leave out what another process hands out at this moment, instead of waiting for it"""

    @property
    def expires(self) -> datetime:
        return self.now + timedelta(seconds=self.person.lease_seconds)


def offer(
    connection: Connection,
    annotator_id: str,
    count: int,
    held: Sequence[str],
    now: datetime,
    rng: random.Random,
    skip_locked: bool,
) -> list[Offer]:
    """Renews what is held; first what the annotator has but does not hold, as after a reload, then new."""
    person = offers.person(connection, annotator_id)
    annotators.check(person, now)
    asking = Asking(person, now, rng, skip_locked)
    own = _renew(connection, asking, set(held))
    if person.state != "active":
        return []
    again = [row for row in own if row.id not in held][:count]
    new = _choose(connection, asking, count - len(again))
    _hand_out(connection, asking, new)
    known = [offers.as_offer(row, row.swapped, asking.expires) for row in again]
    return known + [offers.as_offer(row, swapped, asking.expires) for row, swapped in new]


def release(connection: Connection, annotator_id: str, query_id: str, now: datetime) -> None:
    own = (lease.c.query == query_id) & (lease.c.annotator == annotator_id)
    connection.execute(update(lease).where(own, lease.c.answer.is_(None)).values(released=now))


def _renew(connection: Connection, asking: Asking, held: set[str]) -> list[Row[Any]]:
    """Prolongs what runs, and what is held and ran out while nobody else took it. Returns all of these."""
    mine = offers.held_by(asking.person.id).where(MINE.c.answer.is_(None), MINE.c.released.is_(None))
    rows = list(connection.execute(mine.order_by(MINE.c.issued)))
    lapsed = [row.id for row in rows if row.expires <= asking.now and row.id in held]
    if lapsed:
        lapsed = _lock_free(connection, asking, lapsed)
    own = [row for row in rows if row.expires > asking.now or row.id in lapsed]
    if own:
        of_own = (lease.c.annotator == asking.person.id) & lease.c.query.in_([row.id for row in own])
        connection.execute(update(lease).where(of_own).values(expires=asking.expires))
    return own


def _lock_free(connection: Connection, asking: Asking, ids: list[str]) -> list[str]:
    """Those that are open and have room, which nobody can take until this transaction ends."""
    offers.lock(connection, ids)
    free = select(query.c.id).where(query.c.id.in_(ids), query.c.closed.is_(None))
    found = connection.execute(free.where(offers.has_room(asking.now) | (query.c.kind != "train")))
    return list(found.scalars())


def _choose(connection: Connection, asking: Asking, count: int) -> list[tuple[Row[Any], bool]]:
    """Queries and whether their sides are swapped."""
    if count < 1:
        return []
    rows = _train(connection, asking, count, skipped=False)
    if len(rows) < count:
        rows += _train(connection, asking, count - len(rows), skipped=True)
    checks = repeats.instead(connection, asking.person, len(rows), asking.now, asking.rng)
    drawn = [(row, _side(row, asking.rng)) for row in rows[: len(rows) - len(checks)]]
    for check in checks:
        drawn.insert(asking.rng.randint(0, len(drawn)), check)
    return drawn


def _side(row: Row[Any], rng: random.Random) -> bool:
    """The same person always sees a query the same way: an old page may still answer it."""
    return bool(rng.getrandbits(1)) if row.swapped is None else bool(row.swapped)


def _train(connection: Connection, asking: Asking, count: int, skipped: bool) -> list[Row[Any]]:
    """Open queries with room that this annotator has not judged, most important first."""
    if count < 1:
        return []
    found = _open(asking).where(
        MINE.c.skipped.is_not(None) if skipped else MINE.c.skipped.is_(None), offers.has_room(asking.now)
    )
    rows = list(
        connection.execute(
            found.limit(count).with_for_update(of=query, key_share=True, skip_locked=asking.skip_locked)
        )
    )
    if not rows or connection.dialect.name == "sqlite":
        return rows
    # PostgreSQL counted the leases before it had the locks: count again now that nobody can add one.
    free = set(_lock_free(connection, asking, [row.id for row in rows]))
    return [row for row in rows if row.id in free]


def _open(asking: Asking) -> Select[Any]:
    return (
        offers.for_annotator(asking.person.id)
        .where(
            query.c.study == asking.person.study,
            query.c.kind == "train",
            query.c.closed.is_(None),
            query.c.ready,
            ~offers.was_seen(asking.person.id, asking.now),
        )
        .order_by(query.c.priority.desc(), query.c.number)
    )


def _hand_out(connection: Connection, asking: Asking, new: list[tuple[Row[Any], bool]]) -> None:
    term = {"issued": asking.now, "expires": asking.expires, "released": None}
    first = [
        {"query": row.id, "annotator": asking.person.id, "pair": row.pair, "swapped": swapped, **term}
        for row, swapped in new
        if row.leased_to is None
    ]
    if first:
        connection.execute(insert(lease), first)
    again = [row.id for row, _ in new if row.leased_to is not None]
    if again:
        of_again = (lease.c.annotator == asking.person.id) & lease.c.query.in_(again)
        connection.execute(update(lease).where(of_again).values(term))


def waiting(connection: Connection, study_id: str, annotator_id: str, now: datetime) -> WaitReason:
    """Why an annotator who is offered nothing has to wait; "none" where there is something for them."""
    person = offers.person(connection, annotator_id)
    if person.state != "active":
        return "paused" if person.state == "paused" else "finished"
    asking = Asking(person, now, random.Random(0), False)
    runs = select(lease.c.query).where(lease.c.annotator == annotator_id, offers.runs(lease.c, now)).limit(1)
    if connection.execute(runs).first() is not None:
        return "none"
    offered = _open(asking).where(offers.has_room(now)).with_only_columns(query.c.id).limit(1)
    if connection.execute(offered).first() is not None:
        return "none"
    return _blocked(connection, asking)


def _blocked(connection: Connection, asking: Asking) -> WaitReason:
    of_study = (query.c.study == asking.person.study) & (query.c.kind == "train")
    unseen = (
        select(query.c.ready, func.count().label("number"))
        .where(of_study, query.c.closed.is_(None), ~offers.was_seen(asking.person.id, asking.now))
        .group_by(query.c.ready)
    )
    numbers = {row.ready: row.number for row in connection.execute(unseen)}
    if numbers.get(True):
        return "all_leased"
    if numbers.get(False):
        return "rendering" if _draws(connection, asking) else "broken_media"
    total, answers = connection.execute(
        select(func.count(), func.coalesce(func.sum(query.c.answers), 0)).where(of_study)
    ).one()
    if answers >= asking.person.target:
        return "target_reached"
    return "all_answered" if total else "no_queries"


def _draws(connection: Connection, asking: Asking) -> bool:
    """Whether any open query waits for clips that can be drawn."""
    undrawable = (
        select(segment.c.id)
        .where(segment.c.id.in_([query.c.left_segment, query.c.right_segment]))
        .where(segment.c.state == "undrawable")
        .exists()
    )
    waits = select(query.c.id).where(
        query.c.study == asking.person.study,
        query.c.kind == "train",
        query.c.closed.is_(None),
        ~query.c.ready,
        ~undrawable,
        ~offers.was_seen(asking.person.id, asking.now),
    )
    return connection.execute(waits.limit(1)).first() is not None
