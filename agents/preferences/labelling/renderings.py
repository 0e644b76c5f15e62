"""What is drawn of clips, what is to be drawn next, and who may see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, or_, select, update

from agents.preferences.labelling.schema import annotator, query, run_event, segment
from agents.preferences.labelling.types import ForbiddenError, SegmentJob, Sprite, Undrawable, UnknownError

RETRY_SECONDS: Final = 300.0
"""an undrawable clip is tried again after this: a renderer may have been installed since"""


def due(connection: Connection, study_id: str | None, limit: int, now: datetime) -> list[SegmentJob]:
    """Clips of open queries that no renderer has claimed, the most important query's first."""
    jobs: dict[int, SegmentJob] = {}
    for row in connection.execute(_due(study_id, now).limit(2 * limit)):  # one clip may be in several queries
        jobs.setdefault(row.id, SegmentJob(row.id, row.source, row.env, row.fps))
    return list(jobs.values())[:limit]


def claim(
    connection: Connection, jobs: Sequence[SegmentJob], now: datetime, seconds: float
) -> list[SegmentJob]:
    """Those of the jobs that are still free; they stay this renderer's for so long."""
    ids = sorted(job.segment for job in jobs)
    free = select(segment.c.id).where(segment.c.id.in_(ids), _waits(now)).order_by(segment.c.id)
    claimed = set(connection.execute(free.with_for_update(key_share=True, skip_locked=True)).scalars())
    until = now + timedelta(seconds=seconds)
    connection.execute(update(segment).where(segment.c.id.in_(sorted(claimed))).values(claimed_until=until))
    return [job for job in jobs if job.segment in claimed]


def set_sprite(connection: Connection, segment_id: int, sprite: Sprite) -> None:
    drawn = {**dataclasses.asdict(sprite), "state": "drawn", "reason": None, "claimed_until": None}
    _change(connection, segment_id, drawn)
    _say_ready(connection, [segment_id])


def set_undrawable(connection: Connection, segment_id: int, reason: str, now: datetime) -> None:
    until = now + timedelta(seconds=RETRY_SECONDS)
    _change(connection, segment_id, {"state": "undrawable", "reason": reason, "claimed_until": until})
    _say_ready(connection, [segment_id])


def redraw(connection: Connection, media: str) -> int:
    """Everything that this was drawn of is drawn anew, and not offered until then."""
    lost = select(segment.c.id).where(segment.c.media == media, segment.c.state == "drawn")
    ids = list(connection.execute(lost.order_by(segment.c.id).with_for_update(key_share=True)).scalars())
    if ids:
        anew = {"state": "waiting", "claimed_until": None}
        connection.execute(update(segment).where(segment.c.id.in_(ids)).values(anew))
        _say_ready(connection, ids)
    return len(ids)


def is_awaited(connection: Connection, media: str) -> bool:
    """Whether open queries wait for what this was drawn of."""
    clips = or_(segment.c.id == query.c.left_segment, segment.c.id == query.c.right_segment)
    waiting = (
        select(segment.c.id)
        .join(query, clips)
        .where(segment.c.media == media, segment.c.state == "waiting", query.c.closed.is_(None))
    )
    return connection.execute(waiting.limit(1)).first() is not None


def media(connection: Connection, study_id: str) -> list[str]:
    """Digests of what is drawn."""
    drawn = select(segment.c.media).where(segment.c.study == study_id, segment.c.state == "drawn")
    return list(connection.execute(drawn.distinct().order_by(segment.c.media)).scalars())


def undrawable(connection: Connection, study_id: str) -> list[Undrawable]:
    found = select(*segment.c["id", "source", "reason"]).where(
        segment.c.study == study_id, segment.c.state == "undrawable"
    )
    return [Undrawable(*row) for row in connection.execute(found.order_by(segment.c.id))]


def content_type(connection: Connection, annotator_id: str, media: str) -> str:
    """Of a sprite, or a video of the policy, in the annotator's own study."""
    of_study = select(annotator.c.study).where(annotator.c.id == annotator_id).scalar_subquery()
    drawn = select(segment.c.content_type).where(segment.c.study == of_study, segment.c.media == media)
    found: str | None = connection.execute(drawn.limit(1)).scalar_one_or_none()
    if found is None:
        shown = select(run_event.c.data).where(run_event.c.study == of_study, run_event.c.media == media)
        data = connection.execute(shown.limit(1)).scalar_one_or_none()
        found = None if data is None else str(data.get("content_type", "application/octet-stream"))
    if found is None:
        raise ForbiddenError("This picture is not part of your session.")
    return found


def _due(study_id: str | None, now: datetime) -> Select[Any]:
    clips = or_(segment.c.id == query.c.left_segment, segment.c.id == query.c.right_segment)
    found = (
        select(*segment.c["id", "source", "env", "fps"])
        .select_from(query)
        .join(segment, clips)
        .where(query.c.closed.is_(None), ~query.c.ready, _waits(now))
        .order_by(query.c.priority.desc(), query.c.number)
    )
    return found if study_id is None else found.where(query.c.study == study_id)


def _waits(now: datetime) -> ColumnElement[bool]:
    return (segment.c.state != "drawn") & (
        segment.c.claimed_until.is_(None) | (segment.c.claimed_until <= now)
    )


def _change(connection: Connection, segment_id: int, values: dict[str, Any]) -> None:
    changed = connection.execute(update(segment).where(segment.c.id == segment_id).values(values))
    if changed.rowcount == 0:
        raise UnknownError(f"There is no clip {segment_id} in this database.")


def _say_ready(connection: Connection, segment_ids: list[int]) -> None:
    """After the clips' own rows: whoever adds a query meanwhile waits for those, so one of us sees both.

    And after a lock of the queries in a statement of its own: on PostgreSQL an update that had to wait
    for another drawer's would still see that one's clip as it was before.
    """
    other = segment.alias()
    undrawn = select(other.c.id).where(
        or_(other.c.id == query.c.left_segment, other.c.id == query.c.right_segment), other.c.state != "drawn"
    )
    shows = query.c.left_segment.in_(segment_ids) | query.c.right_segment.in_(segment_ids)
    connection.execute(select(query.c.id).where(shows).order_by(query.c.id).with_for_update(key_share=True))
    connection.execute(update(query).where(shows).values(ready=~undrawn.exists()))
