"""The clips of a query as columns of a statement, and back as what a page shows."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, FromClause, Row

from agents.preferences.labelling.schema import segment
from agents.preferences.labelling.types import Choice, Sprite

_SPRITE = ("media", "frames", "columns", "width", "height", "content_type")
_TURNED: dict[str, Choice] = {"left": "right", "right": "left"}


class Clips(NamedTuple):
    """One side of a query: the table under its own name, and its columns with that name before them."""

    table: FromClause
    columns: list[ColumnElement[Any]]


def clips(name: str) -> Clips:
    table = segment.alias(name)
    return Clips(table, [table.c[column].label(f"{name}_{column}") for column in (*_SPRITE, "fps")])


def sprite(row: Row[Any], name: str) -> Sprite | None:
    """None where the clip was never drawn."""
    if getattr(row, f"{name}_media") is None:
        return None
    return Sprite(**{column: getattr(row, f"{name}_{column}") for column in _SPRITE})


def turned(choice: Choice, swapped: bool) -> Choice:
    """From the screen's sides to the query's, and back."""
    return _TURNED.get(choice, choice) if swapped else choice
