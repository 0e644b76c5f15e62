"""Some rows of an imported file, what a study knows of their pairs, and what they change of that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Connection, bindparam, insert, select, update

from agents.preferences.labelling.exchange_rows import LabelRow
from agents.preferences.labelling.queries import CHUNK, new_id
from agents.preferences.labelling.schema import label, lease, query
from agents.preferences.labelling.types import ANSWERING, Choice, Label

_UNDO = label.alias("undo")
Place = tuple[str, str, str]
"""kind and key of a query; for repeats also whose it is"""
T = TypeVar("T")


@dataclass
class Page:
    """What the database says of what a page of rows is about, and what the rows change of it."""

    labels: dict[str, Label]
    queries: dict[Place, dict[str, Any]]
    leases: dict[tuple[str, str], dict[str, Any]]
    made: list[dict[str, Any]] = field(default_factory=list)
    """queries that are new"""


def place(given: Label) -> Place:
    return (given.kind, given.key, given.annotator if given.kind == "repeat" else "")


def read_page(connection: Connection, study_id: str, rows: list[LabelRow]) -> Page:
    keys = sorted({row.label.key for row in rows})
    of_keys = select(query).where(query.c.study == study_id, query.c.key.in_(keys))
    locked = of_keys.order_by(query.c.id).with_for_update(key_share=True)  # as whoever answers them does
    queries = {}
    for row in connection.execute(locked):
        queries[(row.kind, row.key, row.annotator or "")] = dict(row._mapping)
    ids = sorted(asked["id"] for asked in queries.values())
    people = sorted({row.label.annotator for row in rows})
    leases = {}
    for some in _chunks(ids):
        held = select(lease).where(lease.c.query.in_(some), lease.c.annotator.in_(people))
        for row in connection.execute(held):
            leases[(row.query, row.annotator)] = dict(row._mapping)
    names = {row.label.uuid for row in rows} | {row.label.retracts or "" for row in rows}
    columns = [column for column in label.c if column.name not in ("seq", "seconds")]
    labels = {}
    for some in _chunks(sorted(names)):
        found = select(*columns, _UNDO.c.uuid.is_not(None).label("retracted"))
        found = found.outerjoin(_UNDO, _UNDO.c.retracts == label.c.uuid).where(label.c.uuid.in_(some))
        for row in connection.execute(found):
            labels[row.uuid] = Label(**row._mapping)
    return Page(labels, queries, leases)


def write_page(connection: Connection, page: Page, new: Sequence[Label]) -> None:
    """The labels, and what follows from them."""
    if page.made:
        connection.execute(insert(query), [_unmarked(asked) for asked in page.made])
    if new:
        connection.execute(insert(label), [_stored(given) for given in new])
    asked = [_named(row, "id") for row in page.queries.values() if "changed" in row]
    if asked:
        of_id = update(query).where(query.c.id == bindparam("of_id"))
        connection.execute(of_id.values(_bound("answers", "closed", "closed_by")), asked)
    first = [_unmarked(row) for row in page.leases.values() if "fresh" in row]
    if first:
        connection.execute(insert(lease), first)
    again = [_named(row, "query", "annotator") for row in page.leases.values() if _is_changed(row)]
    if again:
        own = (lease.c.query == bindparam("of_query")) & (lease.c.annotator == bindparam("of_annotator"))
        connection.execute(update(lease).where(own).values(_bound("answer", "skipped", "released")), again)


def settle(given: Label, asked: dict[str, Any], page: Page) -> None:
    """As when the answer is given; the pair closes with its last answer, or when a clip is broken."""
    held = _lease(given, asked, page)
    if given.choice == "skip":
        held["skipped"] = given.server_time
        return
    if held["answer"] is not None:
        raise ValueError(f"{given.annotator} has answered {given.key} already ({held['answer']})")
    held["answer"] = given.uuid
    if given.choice in ANSWERING:
        asked["answers"] += 1
        asked["changed"] = True
        if asked["answers"] >= asked["wanted"] and asked["kind"] != "gold" and asked["closed"] is None:
            asked |= {"closed": given.server_time, "closed_by": "answers"}
    elif asked["closed"] is None:
        asked |= {"closed": given.server_time, "closed_by": "flag", "changed": True}


def take_back(given: Label, asked: dict[str, Any], page: Page, stood: bool) -> None:
    """As when an answer is undone, but that the pair is not handed out again.

    stood: whether the answer counted until now.
    """
    assert given.retracts is not None
    undone = page.labels.get(given.retracts)
    if undone is None:
        raise ValueError(f"it takes {given.retracts} back, which neither the file nor the study has before")
    if (undone.annotator, undone.query) != (given.annotator, asked["id"]):
        raise ValueError(f"it takes {given.retracts} back, which is another person's or pair's")
    if undone.retracts is not None or undone.retracted:
        raise ValueError(f"{given.retracts} was taken back already")
    page.labels[undone.uuid] = replace(undone, retracted=True)
    if not stood:
        return
    held = _lease(given, asked, page)
    if undone.choice == "skip":
        held["skipped"] = None
        return
    held["answer"] = None
    if undone.choice in ANSWERING:
        asked["answers"] -= 1
        asked["changed"] = True
    if asked["closed_by"] == ("answers" if undone.choice in ANSWERING else "flag"):
        asked |= {"closed": None, "closed_by": None, "changed": True}


def _lease(given: Label, asked: dict[str, Any], page: Page) -> dict[str, Any]:
    place = (asked["id"], given.annotator)
    held = page.leases.get(place)
    if held is None:
        time = given.server_time
        held = page.leases[place] = {
            "query": asked["id"],
            "annotator": given.annotator,
            "pair": asked["pair"],
            "swapped": given.swapped,
            **{"issued": time, "expires": time, "skipped": None, "answer": None, "fresh": True},
        }
    held |= {"released": given.server_time, "changed": True}
    return held


def copy(origin: dict[str, Any], given: Label, known: Choice | None, now: datetime) -> dict[str, Any]:
    """The query of a repeat or a gold, made of its pair's."""
    asked = {**origin, "id": new_id(), "kind": given.kind, "answers": 0, "created": now, "closed": None}
    own = given.annotator if given.kind == "repeat" else None
    asked |= {"closed_by": None, "annotator": own, "gold": known if given.kind == "gold" else None}
    return asked | ({"wanted": 1} if given.kind == "repeat" else {})


def _stored(given: Label) -> dict[str, Any]:
    own = {name: getattr(given, name) for name in Label.__dataclass_fields__ if name != "retracted"}
    return {**own, "seconds": given.shown_ms / 1000}  # when the pair was handed out is not in the file


def _is_changed(row: Mapping[str, Any]) -> bool:
    return "changed" in row and "fresh" not in row


def _unmarked(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("changed", "fresh")}


def _named(row: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Values for a statement that changes the row; a key has another name there than its column."""
    return _unmarked(row) | {f"of_{key}": row[key] for key in keys}


def _bound(*names: str) -> dict[str, BindParameter[Any]]:
    return {name: bindparam(name) for name in names}


def _chunks(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
