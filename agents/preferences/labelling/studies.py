"""Rows of studies, and of what a training run tells those who watch."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from agents.preferences.labelling.schema import reward_version, run_event, study
from agents.preferences.labelling.types import Study, StudyState, UnknownError

_BY_ID = select(study).where(study.c.id == bindparam("id"))
_LOCK = _BY_ID.with_for_update(key_share=True)
_LATEST = (
    select(run_event.c.data)
    .where(run_event.c.study == bindparam("study"), run_event.c.kind == bindparam("kind"))
    .order_by(run_event.c.id.desc())
    .limit(1)
)

Event = tuple[int, datetime, str, dict[str, Any]]


def create(connection: Connection, new: Study, now: datetime) -> Study:
    """The study of that id, made where there is none."""
    row = _find(connection, new.id)
    if row is None:
        connection.execute(insert(study), {**_fields(new), "created": now})
        row = _find(connection, new.id)
    return _study(row)


def read(connection: Connection, study_id: str) -> Study:
    return _study(_find(connection, study_id), study_id)


def every(connection: Connection) -> list[Study]:
    return [_study(row) for row in connection.execute(select(study).order_by(study.c.created, study.c.id))]


def set_state(connection: Connection, study_id: str, state: StudyState) -> None:
    _change(connection, study_id, state=state)


def set_target(connection: Connection, study_id: str, target: int) -> None:
    _change(connection, study_id, target=target)


def lock(connection: Connection, study_id: str) -> Study:
    """The study; other writers of it wait until this transaction ends."""
    return _study(connection.execute(_LOCK, {"id": study_id}).one_or_none(), study_id)


def log_event(
    connection: Connection, study_id: str, kind: str, data: Mapping[str, Any], now: datetime
) -> int:
    lock(connection, study_id)  # else a reader that goes by the number could miss one that commits late
    row = {"study": study_id, "time": now, "kind": kind, "media": data.get("media"), "data": dict(data)}
    number: int = connection.execute(insert(run_event).values(row).returning(run_event.c.id)).scalar_one()
    return number


def events(
    connection: Connection, study_id: str, after: int, kinds: Collection[str] | None, limit: int
) -> list[Event]:
    found = select(*run_event.c["id", "time", "kind", "data"]).where(
        run_event.c.study == study_id, run_event.c.id > after
    )
    if kinds is not None:
        found = found.where(run_event.c.kind.in_(list(kinds)))
    rows = connection.execute(found.order_by(run_event.c.id).limit(limit))
    return [(row.id, row.time, row.kind, row.data) for row in rows]


def latest(connection: Connection, study_id: str, kind: str) -> dict[str, Any] | None:
    found = connection.execute(_LATEST, {"study": study_id, "kind": kind})
    data: dict[str, Any] | None = found.scalar_one_or_none()
    return data


def add_reward_version(connection: Connection, study_id: str, row: Mapping[str, Any]) -> None:
    """A run that went back to a checkpoint makes a version anew: the newer one counts."""
    lock(connection, study_id)
    same = (reward_version.c.study == study_id) & (reward_version.c.version == row["version"])
    connection.execute(delete(reward_version).where(same))
    connection.execute(insert(reward_version), {"study": study_id, **row})


def reward_versions(connection: Connection, study_id: str) -> list[dict[str, Any]]:
    found = select(reward_version).where(reward_version.c.study == study_id)
    rows = connection.execute(found.order_by(reward_version.c.version))
    return [
        {name: getattr(row, name) for name in ("version", "labels", "step", "metrics", "created")}
        for row in rows
    ]


def _find(connection: Connection, study_id: str) -> Row[Any] | None:
    return connection.execute(_BY_ID, {"id": study_id}).one_or_none()


def _change(connection: Connection, study_id: str, **values: Any) -> None:
    if connection.execute(update(study).where(study.c.id == study_id).values(values)).rowcount == 0:
        raise _unknown(study_id)


def _fields(new: Study) -> dict[str, Any]:
    fields = {field.name: getattr(new, field.name) for field in dataclasses.fields(new)}
    return {**fields, "info": dict(new.info)}


def _study(row: Row[Any] | None, study_id: str = "") -> Study:
    if row is None:
        raise _unknown(study_id)
    return Study(**row._mapping)


def _unknown(study_id: str) -> UnknownError:
    return UnknownError(f"There is no study {study_id!r} in this database.")
