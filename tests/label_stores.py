"""Stores over new databases of both kinds, for tests of what is stored. Load it with `runpy.run_path`."""

from __future__ import annotations

import random
import runpy
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agents.preferences.labelling.schema import query, segment
from agents.preferences.labelling.store import LabelStore, open_store
from agents.preferences.labelling.types import Study

POSTGRES = runpy.run_path(str(Path(__file__).with_name("postgres.py")))


STUDY = runpy.run_path(str(Path(__file__).with_name("label_study.py")))


def make_study(store: LabelStore, queries: int = 20, name: str = "study", **rules: Any) -> Study:
    """As in label_study, but all clips are drawn at once: one by one takes long."""
    study: Study = STUDY["make_study"](store, 0, name, **rules)
    store.add_queries(name, [STUDY["new_query"](index) for index in range(queries)])
    drawn = {"state": "drawn", "frames": 26, "columns": 6, "width": 64, "height": 64}
    media = {"media": f"{name}-" + sa.cast(segment.c.id, sa.String), "content_type": "image/webp"}
    if queries:
        store._database.write(lambda c: c.execute(sa.update(segment).values({**drawn, **media})))
        store._database.write(lambda c: c.execute(sa.update(query).values(ready=True)))
    return study


class Clock:
    """Stands still until told otherwise."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Stores:
    """Opens stores over one new database and closes them."""

    def __init__(self, url: str) -> None:
        self.url, self.clock = url, Clock()
        self._open: list[LabelStore] = []

    def __call__(self, seed: int = 0, now: Callable[[], datetime] | None = None) -> LabelStore:
        self._open.append(open_store(self.url, now=now or self.clock, rng=random.Random(seed)))
        return self._open[-1]

    def close(self) -> None:
        for store in self._open:
            store.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    if not POSTGRES["BINARIES"]:
        pytest.skip(POSTGRES["MISSING"])
    with POSTGRES["cluster"]() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'labels.db'}"
    else:
        url = request.getfixturevalue("cluster").new_database()
    made = Stores(url)
    yield made
    made.close()


@pytest.fixture
def store(stores: Stores) -> LabelStore:
    return stores()


@pytest.fixture
def clock(stores: Stores) -> Clock:
    """The clock of `store`."""
    return stores.clock
