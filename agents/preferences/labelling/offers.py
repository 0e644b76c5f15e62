"""A query together with what one annotator is shown of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Exists, Row, Select, and_, func, or_, select

from agents.preferences.labelling.schema import annotator, lease, query, study
from agents.preferences.labelling.sides import clips, sprite
from agents.preferences.labelling.types import ConflictError, Offer, UnknownError

MINE = lease.alias("mine")
"""the annotator's own row of a query, if there is one"""
_OTHER = lease.alias("other")
_PAIR = lease.alias("same_pair")
_LEFT, _RIGHT = clips("l"), clips("r")


def runs(row: Any, now: datetime) -> ColumnElement[bool]:
    """Whether a lease holds its query at this moment; row: columns of `lease`."""
    return and_(row.answer.is_(None), row.released.is_(None), row.expires > now)


def has_room(now: datetime) -> ColumnElement[bool]:
    """Whether a query wants more answers than there are and are being given."""
    running = (
        select(func.count()).select_from(_OTHER).where(_OTHER.c.query == query.c.id, runs(_OTHER.c, now))
    )
    return query.c.answers + running.scalar_subquery() < query.c.wanted


def was_seen(annotator_id: str, now: datetime) -> Exists:
    """Whether somebody has answered the pair of a query, or holds it."""
    of_pair = (_PAIR.c.annotator == annotator_id) & (_PAIR.c.pair == query.c.pair)
    return select(_PAIR.c.query).where(of_pair, or_(_PAIR.c.answer.is_not(None), runs(_PAIR.c, now))).exists()


def held_by(annotator_id: str) -> Select[Any]:
    """Queries that were handed to the annotator at any time, with their clips and the lease."""
    return for_annotator(annotator_id).where(MINE.c.annotator == annotator_id)


def for_annotator(annotator_id: str) -> Select[Any]:
    """Queries with their clips and, where there is one, the annotator's own lease."""
    mine = and_(MINE.c.query == query.c.id, MINE.c.annotator == annotator_id)
    return (
        select(
            query,
            MINE.c.annotator.label("leased_to"),
            MINE.c.swapped,
            MINE.c.expires,
            *_LEFT.columns,
            *_RIGHT.columns,
        )
        .join(_LEFT.table, _LEFT.table.c.id == query.c.left_segment)
        .join(_RIGHT.table, _RIGHT.table.c.id == query.c.right_segment)
        .outerjoin(MINE, mine)
    )


def lock(connection: Connection, ids: Sequence[str]) -> None:
    """Other writers of these queries wait until this transaction ends; SQLite has no others."""
    of_ids = select(query.c.id).where(query.c.id.in_(sorted(ids))).order_by(query.c.id)
    connection.execute(of_ids.with_for_update(key_share=True))


def person(connection: Connection, annotator_id: str) -> Row[Any]:
    """The annotator with their study's rules: study, revoked, expires, state, lease_seconds, …"""
    rules = study.c["state", "lease_seconds", "repeat_share", "gold_share", "target"]
    found = select(*annotator.c["id", "study", "revoked", "expires"], *rules).join(
        study, study.c.id == annotator.c.study
    )
    row = connection.execute(found.where(annotator.c.id == annotator_id)).one_or_none()
    if row is None:
        raise UnknownError("There is no such person in this session.")
    return row


def as_offer(row: Row[Any], swapped: bool, expires: datetime) -> Offer:
    """row: of `for_annotator`."""
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
