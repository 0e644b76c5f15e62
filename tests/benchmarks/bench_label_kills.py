"""Kills labelling servers under load, a thousand times: what was lost, doubled, or leased too often?

    python tests/benchmarks/bench_label_kills.py [--quick] [--kills 1000] [--database both]

Two server processes (uvicorn, real HTTP on loopback) serve 20 scripted annotators. One of them is
killed with SIGKILL every 0.3 to 1 s, sometimes both at once, and started again. Annotators repeat
what was not acknowledged, under the same uuid; they also send acknowledged answers again, send from
two tabs at once, take answers back, and leave pairs lying until their lease has ended. A trainer's
stand-in asks new pairs; every fifth is for three people. In the end, and all the time for leases:

    lost      acknowledged answers and undos that the database does not hold as they were sent
    doubled   rows beyond one for each uuid, and standing answers beyond one for each person and pair
    overlap   pairs that more people held at one time than answers were wanted
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from label_crowd import Ledger, annotate
from label_fleet import Fleet
from label_session import Asker, Session, database_url, start_session
from sqlalchemy import select

from agents.preferences.labelling.database import Database
from agents.preferences.labelling.schema import lease, query
from agents.preferences.labelling.store import open_store

LEASE_SECONDS = 3.0
OPEN_QUERIES = 60
FLIPPED = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class Found:
    """What is wrong with a database after the kills."""

    acknowledged: int
    lost: int
    doubled: int
    too_often: int
    refused: int


class Watch:
    """Looks at the leases about 20 times a second."""

    def __init__(self, url: str) -> None:
        self._database, self._stop = Database(url), threading.Event()
        self.looks, self.found = 0, set[str]()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._database.close()

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            rows = self._database.read(lambda connection: connection.execute(_HELD).all())
            self.looks += 1
            # Read off after the look: what runs now also ran when the database was looked at. Before it,
            # a lease might end and be given on in between.
            now = datetime.now(timezone.utc)
            running = [row for row in rows if row.expires > now]
            wanted = {row.query: row.wanted for row in running}
            held = Counter(row.query for row in running)
            self.found.update(name for name, count in held.items() if count > wanted[name])


_HELD = (
    select(*lease.c["query", "expires"], query.c.wanted)
    .join(query, query.c.id == lease.c.query)
    .where(lease.c.answer.is_(None), lease.c.released.is_(None))
)
"""leases that were neither answered nor given back"""


def kill_under_load(session: Session, kills: int, pause: float, started: float) -> tuple[Ledger, Fleet]:
    """Kills until `kills`, then lets the annotators end what they began."""
    spawn = multiprocessing.get_context("spawn")
    fleet = Fleet(session.database, session.media, processes=2)
    try:
        with spawn.Manager() as manager, ProcessPoolExecutor(1, mp_context=spawn) as pool:
            stop = manager.Event()
            work = pool.submit(annotate, fleet.port, session.tokens, LEASE_SECONDS, pause, stop)
            while fleet.kills < kills and not work.done():
                time.sleep(random.uniform(0.3, 1.0))
                victims = [0, 1] if random.random() < 0.1 else [random.randrange(2)]
                for number in victims:
                    fleet.kill(number)
                for number in victims:
                    fleet.restart(number)
                if fleet.kills % 100 < len(victims):
                    print(f"  {fleet.kills} kills in {time.monotonic() - started:.0f} s", flush=True)
            stop.set()
            return work.result(300), fleet
    finally:
        fleet.close()


def check(session: Session, ledger: Ledger, seen: set[str]) -> Found:
    """Compares the database with what annotators know to be acknowledged."""
    store = open_store(session.database)
    try:
        labels = store.labels(session.study, kinds=("train", "repeat", "gold"), include_retracted=True)
        people = [person.id for person in store.annotators(session.study)]
    finally:
        store.close()
    rows = {label.uuid: label for label in labels}
    lost = sum(undo not in rows or rows[undo].retracts != of for undo, of in ledger.undos.items())
    for answer in ledger.answers.values():
        row = rows.get(answer.uuid)
        if row is None:
            lost += 1
            continue
        choice = FLIPPED.get(answer.choice, answer.choice) if row.swapped else answer.choice
        same = (row.query, row.annotator, row.choice) == (answer.query, people[answer.person], choice)
        lost += not (same and row.retracted == answer.undone and row.retracts is None)
    known = ledger.answers.keys() | ledger.undos.keys()
    standing = Counter(
        (row.query, row.annotator) for row in labels if row.retracts is None and not row.retracted
    )
    undone = Counter(row.retracts for row in labels if row.retracts is not None)
    doubled = len(labels) - len(rows) + len(rows.keys() - known)
    doubled += sum(count - 1 for count in [*standing.values(), *undone.values()])
    return Found(len(known), lost, doubled, len(seen), len(ledger.refused))


def measure(database: str, kills: int, people: int, pause: float) -> Found:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name, database_url(database, Path(name)) as url:
        session = start_session(
            url, Path(name) / "media", people, lease_seconds=LEASE_SECONDS, overlap_share=0.2
        )
        with Asker(session, OPEN_QUERIES), Watch(url) as watch:
            ledger, fleet = kill_under_load(session, kills, pause, started)
        found = check(session, ledger, watch.found)
    for line in ledger.refused[:5]:
        print(f"  refused: {line}")
    counts = ", ".join(f"{count} {what}" for what, count in sorted(ledger.counts.items()))
    print(f"  {watch.looks} looks at the leases, {fleet.died_alone} servers ended alone; {counts}")
    row = [
        database,
        str(fleet.kills),
        str(people),
        str(found.acknowledged),
        str(found.lost),
        str(found.doubled),
    ]
    row += [str(found.too_often), str(found.refused), f"{time.monotonic() - started:.0f}"]
    print(f"| {' | '.join(row)} |", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 kills, SQLite alone")
    parser.add_argument("--kills", type=int, default=1000, help="for each database")
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--pause", type=float, default=0.15, help="mean seconds before an answer")
    options = parser.parse_args()
    kills = 20 if options.quick else options.kills
    both = ["sqlite", "postgres"] if options.database == "both" else [options.database]
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine} (load before: {os.getloadavg()[0]:.1f})\n")
    columns = ("database", "kills -9", "annotators", "acknowledged", "lost", "doubled")
    columns += ("leased beyond overlap", "refused", "seconds")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    found = [
        measure(database, kills, options.people, options.pause)
        for database in both[: 1 if options.quick else 2]
    ]
    result = {
        "lost_or_doubled": sum(one.lost + one.doubled for one in found),
        "leased_beyond_overlap": sum(one.too_often for one in found),
        "refused": sum(one.refused for one in found),
        "acknowledged": sum(one.acknowledged for one in found),
        "kills": kills * len(found),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
