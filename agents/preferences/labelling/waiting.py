"""Why somebody has nothing to answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, select

from agents.preferences.labelling import offers
from agents.preferences.labelling.leases import OPEN
from agents.preferences.labelling.offers import ME, WAS_SEEN
from agents.preferences.labelling.schema import lease, query, segment
from agents.preferences.labelling.types import WaitReason

_OF_STUDY = (query.c.study == bindparam("study")) & (query.c.kind == "train")
_UNSEEN = (
    select(query.c.ready, func.count().label("number"))
    .where(_OF_STUDY, query.c.closed.is_(None), ~WAS_SEEN)
    .group_by(query.c.ready)
)
_ALL = select(func.count(), func.coalesce(func.sum(query.c.answers), 0)).where(_OF_STUDY)
_BROKEN = (
    select(segment.c.id)
    .where(segment.c.id.in_([query.c.left_segment, query.c.right_segment]))
    .where(segment.c.state == "undrawable")
)
_BEING_DRAWN = select(query.c.id).where(
    _OF_STUDY, query.c.closed.is_(None), ~query.c.ready, ~_BROKEN.exists(), ~WAS_SEEN
)
_HOLDS = select(lease.c.query).where(lease.c.annotator == ME, offers.runs(lease.c))
_OFFERED = OPEN.with_only_columns(query.c.id)


def waiting(connection: Connection, annotator_id: str, now: datetime) -> WaitReason:
    """'none' where there is something to answer, in their hands or on offer."""
    person = offers.person(connection, annotator_id)
    if person.state != "active":
        return "paused" if person.state == "paused" else "finished"
    parameters = {"me": annotator_id, "now": now, "study": person.study}
    if _any(connection, _HOLDS, parameters) or _any(connection, _OFFERED, {**parameters, "count": 1}):
        return "none"
    return _blocked(connection, person, parameters)


def _blocked(connection: Connection, person: Row[Any], parameters: dict[str, Any]) -> WaitReason:
    unseen = {row.ready: row.number for row in connection.execute(_UNSEEN, parameters)}
    if unseen.get(True):
        return "all_leased"
    if unseen.get(False):
        return "rendering" if _any(connection, _BEING_DRAWN, parameters) else "broken_media"
    total, answers = connection.execute(_ALL, parameters).one()
    if answers >= person.target:
        return "target_reached"
    return "all_answered" if total else "no_queries"


def _any(connection: Connection, found: Select[Any], parameters: dict[str, Any]) -> bool:
    return connection.execute(found, parameters).first() is not None
