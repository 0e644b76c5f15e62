"""The labels of a study out of its database, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, select

from agents.preferences.labelling.exchange_rows import LabelRow
from agents.preferences.labelling.schema import annotator, label, query
from agents.preferences.labelling.types import Label

PAGE: Final = 500
"""rows at a time: what an export needs of memory, whatever the study's size"""
_UNDO = label.alias("undo")
Read = Callable[[Callable[[Connection], Any]], Any]


def pages(read: Read, study_id: str, include_retracted: bool) -> Iterator[list[LabelRow]]:
    """The labels that are there when this begins, in order of arrival."""
    last = read(lambda c: c.execute(select(func.max(label.c.seq)).where(label.c.study == study_id)).scalar())
    after = 0
    while last is not None and after < last:
        found = _page(study_id, after, last, include_retracted)
        rows = _rows(read, found)
        if not rows:
            return
        after = rows[-1].seq
        yield [_label_row(row) for row in rows]


def _page(study_id: str, after: int, last: int, include_retracted: bool) -> Select[Any]:
    retracted = _UNDO.c.uuid.is_not(None).label("retracted")
    found = (
        select(
            *(column for column in label.c if column.name != "seconds"),
            *query.c["number", "clips", "chosen_by", "score", "reward_version", "step"],
            annotator.c.name,
            retracted,
        )
        .join(query, query.c.id == label.c.query)
        .join(annotator, annotator.c.id == label.c.annotator)
        .outerjoin(_UNDO, (_UNDO.c.retracts == label.c.uuid) & (_UNDO.c.seq <= last))
        .where(label.c.study == study_id, label.c.seq > after, label.c.seq <= last)
        .order_by(label.c.seq)
        .limit(PAGE)
    )
    if include_retracted:
        return found
    return found.where(label.c.retracts.is_(None), _UNDO.c.uuid.is_(None))


def _label_row(row: Row[Any]) -> LabelRow:
    own = {name: getattr(row, name) for name in Label.__dataclass_fields__}
    return LabelRow(
        label=Label(**own),
        name=row.name,
        index=row.number,
        clips=row.clips,
        chosen_by=row.chosen_by,
        score=row.score,
        reward_version=row.reward_version,
        step=row.step,
    )


def _rows(read: Read, found: Select[Any]) -> list[Row[Any]]:
    rows: list[Row[Any]] = read(lambda connection: connection.execute(found).all())
    return rows
