"""Rows of queries and their clips, as the trainer puts them and the owner looks after them."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, case, func, insert, select, update

from agents.preferences.labelling import offers, studies
from agents.preferences.labelling.schema import label, lease, query, segment
from agents.preferences.labelling.sides import clips, sprite
from agents.preferences.labelling.types import (
    Choice,
    ConflictError,
    Counts,
    Flag,
    NewQuery,
    SegmentSource,
    Study,
    UnknownError,
)

CHUNK = 500
"""rows named in one statement: databases bound how many values it may hold"""
T = TypeVar("T")
_TRAIN = query.c.kind == "train"
_ROW = ("id", "key", "number", "clips", "chosen_by", "score", "reward_version", "step")


def _number(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


_STUDY: Final[BindParameter[str]] = bindparam("study")
_UNDO = label.alias("undo")
_ITS = query.alias("its")
_OF_STUDY = select(_ITS.c.id).where(
    _ITS.c.id == lease.c.query, _ITS.c.study == _STUDY, _ITS.c.kind == "train"
)
_RUNNING = (
    select(func.count())
    .select_from(lease)
    .where(offers.runs(lease.c))
    .where(
        select(_ITS.c.id)
        .where(_ITS.c.id == lease.c.query, _ITS.c.study == _STUDY, _ITS.c.kind == "train")
        .exists()
    )
)
_SKIPS = (
    select(func.count())
    .select_from(label)
    .where(label.c.study == _STUDY, label.c.choice == "skip", label.c.retracts.is_(None))
    .where(~select(_UNDO.c.seq).where(_UNDO.c.retracts == label.c.uuid).exists())
)
_COUNTS = select(
    func.count().label("queries"),
    _number(query.c.closed_by.is_(None)).label("open"),
    _number(query.c.closed_by.is_(None) & ~query.c.ready).label("rendering"),
    _RUNNING.scalar_subquery().label("leased"),
    _number(query.c.closed_by == "answers").label("answered"),
    func.coalesce(func.sum(query.c.answers), 0).label("labels"),
    _SKIPS.scalar_subquery().label("skips"),
    _number(query.c.closed_by == "flag").label("flagged"),
).where(query.c.study == _STUDY, _TRAIN)


def new_id() -> str:
    """128 bits: knowing one is no help in guessing another."""
    return secrets.token_hex(16)


def add(connection: Connection, study_id: str, new: Sequence[NewQuery], now: datetime) -> int:
    """How many of them were not there yet."""
    study = studies.lock(connection, study_id)
    for one in new:
        if not (math.isfinite(one.score) and math.isfinite(one.priority)):
            raise ValueError(f"query {one.key}: score and priority must be finite")
    by_key = {one.key: one for one in new}
    for keys in _chunks(list(by_key)):
        there = select(query.c.key).where(query.c.study == study_id, _TRAIN, query.c.key.in_(keys))
        for key in connection.execute(there).scalars():
            del by_key[key]
    segments = _segments(connection, study_id, by_key.values())
    rows = [_row(study, one, segments, now) for one in by_key.values()]
    if rows:
        connection.execute(insert(query), rows)
    return len(rows)


def _row(study: Study, new: NewQuery, segments: dict[str, tuple[int, bool]], now: datetime) -> dict[str, Any]:
    identity = new_id()
    left, right = segments[new.left.source], segments[new.right.source]
    return {
        "id": identity,
        "study": study.id,
        "kind": "train",
        "key": new.key,
        "pair": identity,
        "number": new.index,
        "left_segment": left[0],
        "right_segment": right[0],
        "left_reward": _rewards(new.left),
        "right_reward": _rewards(new.right),
        "clips": dict(new.clips),
        "chosen_by": new.chosen_by,
        "score": new.score,
        "reward_version": new.reward_version,
        "step": new.step,
        "priority": new.priority,
        "wanted": study.overlap if _is_shared(study, new.key) else 1,
        "answers": 0,
        "ready": left[1] and right[1],
        "created": now,
    }


def _is_shared(study: Study, key: str) -> bool:
    """Drawn from the key, so that putting a query again does not draw again."""
    draw = int.from_bytes(hashlib.sha256(f"{study.id}|{key}".encode()).digest()[:8], "big") / 2**64
    return draw < study.overlap_share


def _rewards(source: SegmentSource) -> list[float]:
    """The opinion of a model that diverged is none."""
    return list(source.reward) if all(map(math.isfinite, source.reward)) else []


def _segments(connection: Connection, study_id: str, new: Iterable[NewQuery]) -> dict[str, tuple[int, bool]]:
    """By source: the row's number, and whether it is drawn."""
    sources = {source.source: source for one in new for source in (one.left, one.right)}
    there = _stored(connection, study_id, list(sources))
    missing = [source for name, source in sources.items() if name not in there]
    if missing:
        connection.execute(insert(segment), [_segment(study_id, source) for source in missing])
    return {**there, **_stored(connection, study_id, [source.source for source in missing])}


def _segment(study_id: str, source: SegmentSource) -> dict[str, Any]:
    fields = {"source": source.source, "env": source.env, "steps": source.steps, "fps": source.fps}
    return {"study": study_id, **fields, "state": "waiting"}


def _stored(connection: Connection, study_id: str, sources: list[str]) -> dict[str, tuple[int, bool]]:
    stored: dict[str, tuple[int, bool]] = {}
    for some in _chunks(sorted(sources)):
        found = select(*segment.c["source", "id", "state"]).where(
            segment.c.study == study_id, segment.c.source.in_(some)
        )
        # Shared: a renderer that draws one meanwhile must see the queries that we add, or we its sprite.
        for row in connection.execute(found.order_by(segment.c.id).with_for_update(read=True)):
            stored[row.source] = (row.id, row.state == "drawn")
    return stored


def keys(connection: Connection, study_id: str, open_only: bool) -> list[str]:
    return [row["key"] for row in rows(connection, study_id, open_only)]


def rows(connection: Connection, study_id: str, open_only: bool) -> list[dict[str, Any]]:
    """Training queries as the trainer put them, in its order."""
    found = select(*(query.c[name] for name in _ROW)).where(query.c.study == study_id, _TRAIN)
    if open_only:
        found = found.where(query.c.closed.is_(None))
    ordered = connection.execute(found.order_by(query.c.number, query.c.key))
    return [{("index" if name == "number" else name): getattr(row, name) for name in _ROW} for row in ordered]


def withdraw(connection: Connection, study_id: str, keys: Sequence[str], now: datetime) -> None:
    """What somebody holds of them may still be answered."""
    for some in _chunks(sorted(keys)):
        of_keys = (query.c.study == study_id) & _TRAIN & query.c.key.in_(some) & query.c.closed.is_(None)
        connection.execute(update(query).where(of_keys).values(closed=now, closed_by="withdrawn"))


def reopen(connection: Connection, query_id: str, study_id: str | None) -> None:
    """Asks for one more answer where there are enough; those who flagged it are not asked again."""
    known = (
        query.c.id == query_id if study_id is None else (query.c.id == query_id) & (query.c.study == study_id)
    )
    changed = connection.execute(
        update(query)
        .where(known)
        .values(
            closed=None,
            closed_by=None,
            wanted=case((query.c.answers >= query.c.wanted, query.c.answers + 1), else_=query.c.wanted),
        )
    )
    if changed.rowcount == 0:
        raise UnknownError("There is no such query in this session.")


def make_gold(connection: Connection, study_id: str, query_id: str, choice: Choice, now: datetime) -> None:
    """A copy of the query that everybody may be asked once; again with another choice: that one counts."""
    studies.lock(connection, study_id)
    origin = connection.execute(
        select(query).where(query.c.id == query_id, query.c.study == study_id)
    ).one_or_none()
    if origin is None:
        raise UnknownError("There is no such query in this session.")
    if choice not in ("left", "right", "tie"):
        raise ConflictError("The known answer of a gold is left, right or tie.")
    same = (query.c.study == study_id) & (query.c.kind == "gold") & (query.c.key == origin.key)
    if connection.execute(
        update(query).where(same).values(gold=choice, closed=None, closed_by=None)
    ).rowcount:
        return
    copy = {
        **origin._mapping,
        "id": new_id(),
        "kind": "gold",
        "gold": choice,
        "annotator": None,
        "answers": 0,
    }
    connection.execute(insert(query), {**copy, "created": now, "closed": None, "closed_by": None})


def golds(connection: Connection, study_id: str) -> dict[str, Choice]:
    found = select(*query.c["key", "gold"]).where(query.c.study == study_id, query.c.kind == "gold")
    return {row.key: row.gold for row in connection.execute(found)}


def flagged(connection: Connection, study_id: str) -> list[Flag]:
    """What a flag closed and the owner has not opened again, newest first."""
    left, right = clips("l"), clips("r")
    flag = label.alias()
    undo = label.alias()
    stands = ~select(undo.c.seq).where(undo.c.retracts == flag.c.uuid).exists()
    found = (
        select(
            *query.c["id", "key", "kind"], *flag.c["annotator", "server_time"], *left.columns, *right.columns
        )
        .join(flag, flag.c.query == query.c.id)
        .join(left.table, left.table.c.id == query.c.left_segment)
        .join(right.table, right.table.c.id == query.c.right_segment)
        .where(
            query.c.study == study_id,
            query.c.closed_by == "flag",
            flag.c.choice == "broken",
            flag.c.retracts.is_(None),
            stands,
        )
    )
    return [
        Flag(row.id, row.key, row.kind, row.annotator, row.server_time, sprite(row, "l"), sprite(row, "r"))
        for row in connection.execute(found.order_by(flag.c.seq.desc()))
    ]


def counts(connection: Connection, study_id: str, now: datetime) -> Counts:
    row = connection.execute(_COUNTS, {"study": study_id, "now": now}).one()
    return Counts(**{name: int(value) for name, value in row._mapping.items()})


def _chunks(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
