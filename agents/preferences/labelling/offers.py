"""A query together with what one annotator is shown of it.

Statements that every answer needs are built once, here and beside: building one takes longer than
running it. Their parameters are `me`, an annotator's id, and `now`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, func, or_, select

from agents.preferences.labelling.schema import UtcTime, annotator, lease, query, study
from agents.preferences.labelling.sides import clips, sprite
from agents.preferences.labelling.types import ConflictError, Offer, UnknownError

NOW: Final = bindparam("now", type_=UtcTime())
ME: Final = bindparam("me", type_=annotator.c.id.type)
IDS: Final = bindparam("ids", expanding=True, type_=query.c.id.type)

MINE = lease.alias("mine")
"""the annotator's own row of a query, if there is one"""
_OTHER = lease.alias("other")
_PAIR = lease.alias("same_pair")
_LEFT, _RIGHT = clips("l"), clips("r")


def runs(row: Any) -> ColumnElement[bool]:
    """Whether a lease holds its query now; row: columns of `lease`."""
    return and_(row.answer.is_(None), row.released.is_(None), row.expires > NOW)


_RUNNING = select(func.count()).select_from(_OTHER).where(_OTHER.c.query == query.c.id, runs(_OTHER.c))
HAS_ROOM: Final = query.c.answers + _RUNNING.scalar_subquery() < query.c.wanted
"""whether a query wants more answers than there are and are being given"""
_OF_PAIR = and_(_PAIR.c.annotator == ME, _PAIR.c.pair == query.c.pair)
WAS_SEEN: Final = (
    select(_PAIR.c.query).where(_OF_PAIR, or_(_PAIR.c.answer.is_not(None), runs(_PAIR.c))).exists()
)
"""whether the annotator has answered the pair of a query, or holds it"""

FOR_ANNOTATOR: Final[Select[Any]] = (
    select(
        *query.c["id", "kind", "pair", "left_reward", "right_reward"],
        *query.c["chosen_by", "score", "reward_version", "step"],
        MINE.c.annotator.label("leased_to"),
        MINE.c.swapped,
        *_LEFT.columns,
        *_RIGHT.columns,
    )
    .join(_LEFT.table, _LEFT.table.c.id == query.c.left_segment)
    .join(_RIGHT.table, _RIGHT.table.c.id == query.c.right_segment)
    .outerjoin(MINE, and_(MINE.c.query == query.c.id, MINE.c.annotator == ME))
)
"""queries with their clips and, where there is one, the annotator's own lease"""
HELD_BY: Final[Select[Any]] = FOR_ANNOTATOR.where(MINE.c.annotator == ME)
"""those that were handed to the annotator at any time"""
_THESE = HELD_BY.where(query.c.id.in_(IDS)).order_by(MINE.c.issued, query.c.priority.desc(), query.c.number)

_LOCK = select(query.c.id).where(query.c.id.in_(IDS)).order_by(query.c.id).with_for_update(key_share=True)
_RULES = ("state", "lease_seconds", "repeat_share", "gold_share", "target")
_PERSON = (
    select(*annotator.c["id", "study", "revoked", "expires"], *(study.c[name] for name in _RULES))
    .join(study, study.c.id == annotator.c.study)
    .where(annotator.c.id == ME)
)


def swaps(row: Row[Any], annotator_id: str) -> bool:
    """Whether a query's sides change places for somebody. row: its id, and `swapped` of their lease.

    The same person always sees a query the same way, for an old page may still answer it. That holds
    after a loss of power too, which may take a hand-out back that a page goes on showing: so it is
    drawn from the two ids, which are random themselves.
    """
    if row.swapped is not None:
        return bool(row.swapped)
    return hashlib.sha256(f"{row.id}|{annotator_id}".encode()).digest()[0] % 2 == 1


def lock(connection: Connection, ids: Sequence[str]) -> None:
    """Other writers of these queries wait until this transaction ends."""
    if connection.dialect.name != "sqlite":  # which has one writer at a time
        connection.execute(_LOCK, {"ids": ids})


def person(connection: Connection, annotator_id: str) -> Row[Any]:
    """The annotator with their study's rules: study, revoked, expires, state, lease_seconds, …"""
    row = connection.execute(_PERSON, {"me": annotator_id}).one_or_none()
    if row is None:
        raise UnknownError("There is no such person in this session.")
    return row


def held(connection: Connection, annotator_id: str, ids: Sequence[str], expires: datetime) -> list[Offer]:
    """What the annotator was handed of these before, once more."""
    if not ids:
        return []
    rows = connection.execute(_THESE, {"me": annotator_id, "ids": ids})
    return [as_offer(row, row.swapped, expires) for row in rows]


def as_offer(row: Row[Any], swapped: bool, expires: datetime) -> Offer:
    """row: of `FOR_ANNOTATOR`."""
    first, second = sprite(row, "l"), sprite(row, "r")
    if first is None or second is None:
        raise ConflictError("The clips of this pair are being drawn. Try again in a moment.")
    rewards = tuple(row.left_reward), tuple(row.right_reward)
    return Offer(
        query=row.id,
        kind=row.kind,
        left=second if swapped else first,
        right=first if swapped else second,
        fps=row.l_fps,
        left_reward=rewards[1] if swapped else rewards[0],
        right_reward=rewards[0] if swapped else rewards[1],
        swapped=swapped,
        chosen_by=row.chosen_by,
        score=row.score,
        reward_version=row.reward_version,
        step=row.step,
        expires=expires,
    )
