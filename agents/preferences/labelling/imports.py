"""Labels of a file into a study, all or nothing."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, select

from agents.preferences.labelling import annotators, studies
from agents.preferences.labelling.exchange_rows import LabelRow, of_line, same_content
from agents.preferences.labelling.import_page import (
    Page,
    copy,
    place,
    read_page,
    settle,
    take_back,
    write_page,
)
from agents.preferences.labelling.schema import annotator
from agents.preferences.labelling.types import Annotator, Choice, Label

ROWS: Final = 500
"""at a time: what an import needs of memory, whatever the file's size"""
EXAMPLES: Final = 5
CLOCKS_DIFFER: Final = timedelta(days=1)


@dataclass
class ImportReport:
    """What an import did."""

    imported: int = 0
    """rows added, undo rows among them"""
    known: int = 0
    """rows that were there before"""
    skipped: int = 0
    """rows about pairs that the study never asked"""
    unknown: list[str] = field(default_factory=list)
    """keys of the first of these pairs"""
    people: list[str] = field(default_factory=list)
    """annotators that the study did not know; they cannot log in"""


def take_in(
    connection: Connection,
    study_id: str,
    rows: Iterable[tuple[int, LabelRow]],
    golds: Mapping[str, Choice],
    skip_unknown: bool,
    now: datetime,
) -> ImportReport:
    """Adds the rows, (line, row), in their order. Raises ExchangeError with the line that does not fit."""
    studies.lock(connection, study_id)
    importer = _Importer(connection, study_id, golds, skip_unknown, now)
    rest = iter(rows)
    while some := list(islice(rest, ROWS)):
        importer.take(some)
    for uuid, (line, _) in importer.undone.items():
        with of_line(line):
            raise ValueError(f"{uuid} is said to be taken back, but no line does it")
    return importer.report


class _Importer:
    """What is known of a study while a file goes into it; a page's own state is read anew each time."""

    def __init__(
        self,
        connection: Connection,
        study_id: str,
        golds: Mapping[str, Choice],
        skip_unknown: bool,
        now: datetime,
    ) -> None:
        self.report = ImportReport()
        self.undone: dict[str, tuple[int, bool]] = {}
        """rows that a later one must take back: their lines, and whether they stand until then"""
        self._connection, self._study, self._now = connection, study_id, now
        self._golds, self._skip_unknown = golds, skip_unknown
        self._people = {person.id for person in annotators.of_study(connection, study_id)}

    def take(self, some: list[tuple[int, LabelRow]]) -> None:
        page = read_page(self._connection, self._study, [row for _, row in some])
        new: list[Label] = []
        for line, row in some:
            with of_line(line):
                known = page.labels.get(row.label.uuid)
                asked = None if known is not None else self._asked(row.label, page)
                if known is not None:
                    self._check_known(line, row.label, known)
                elif asked is not None:
                    self._add_person(row)
                    new.append(self._add(line, replace(row.label, query=asked["id"]), asked, page))
        write_page(self._connection, page, new)

    def _check_known(self, line: int, given: Label, known: Label) -> None:
        if known.study != self._study:
            raise ValueError(f"label {known.uuid} is one of another study in this database")
        if not same_content(known, given):
            raise ValueError(f"label {known.uuid} is there already, with other content")
        if given.retracted and not known.retracted:
            self.undone.setdefault(known.uuid, (line, True))
        self.report.known += 1

    def _add(self, line: int, given: Label, asked: dict[str, Any], page: Page) -> Label:
        if given.server_time > self._now + CLOCKS_DIFFER:
            raise ValueError(f"server_time {given.server_time.isoformat()} lies in the future")
        if given.retracts is not None:
            _, stood = self.undone.pop(given.retracts, (0, True))
            take_back(given, asked, page, stood)
        elif given.retracted:  # other answers to the pair may stand by now, so it never does
            self.undone[given.uuid] = (line, False)
        else:
            settle(given, asked, page)
        page.labels[given.uuid] = replace(given, retracted=False)
        self.report.imported += 1
        return given

    def _asked(self, given: Label, page: Page) -> dict[str, Any] | None:
        """The query that a row answers; None where the study has none and that is to be left out."""
        asked = page.queries.get(place(given))
        if asked is None and given.kind != "train":
            asked = self._made(given, page)
        if asked is None and not self._skip_unknown:
            pair = "gold" if given.kind == "gold" else "pair"
            raise ValueError(f"the study never asked the {pair} {given.key}")
        if asked is None:
            self.report.skipped += 1
            if given.key not in self.report.unknown and len(self.report.unknown) < EXAMPLES:
                self.report.unknown.append(given.key)
        return asked

    def _made(self, given: Label, page: Page) -> dict[str, Any] | None:
        """A repeat's or gold's query, where its pair is known and, for a gold, the right answer."""
        origin = page.queries.get(("train", given.key, ""))
        known = self._golds.get(given.key) if given.kind == "gold" else None
        if origin is None or (given.kind == "gold" and known is None):
            return None
        made = copy(origin, given, known, self._now)
        page.queries[place(given)] = made
        page.made.append(made)
        return made

    def _add_person(self, row: LabelRow) -> None:
        """Somebody whom this study does not know gets a place in it, and a link that nobody has."""
        identity = row.label.annotator
        if identity in self._people:
            return
        found = select(annotator.c.id).where(annotator.c.id == identity)
        if self._connection.execute(found).first() is not None:
            raise ValueError(f"annotator {identity} belongs to another study in this database")
        person = Annotator(identity, self._study, row.name, "annotator", self._now, None, self._now)
        annotators.add(self._connection, person, secrets.token_urlsafe(32))
        self._people.add(identity)
        self.report.people.append(identity)
