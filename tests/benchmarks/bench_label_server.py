"""Label requests a second and their times, with 50 annotators on one or two server processes.

    python tests/benchmarks/bench_label_server.py [--quick] [--database both] [--people 50] [--seconds 20]

Two loads over real HTTP on loopback. "at once": everybody leases and answers as fast as the server
lets them; a pair is one lease and one answer. "at human pace": everybody answers after 3 to 5 s
(log-normal), prefetches three queries and listens to server-sent events, as the page does. The load
comes from a process of its own, on the same cores as the server (and PostgreSQL), so that a machine
with more cores gives more. An answer is durable (fsync) before its request returns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from label_people import CutError, Person, Reply
from label_session import HOST, Asker, database_url, serving, start_session

OPEN_QUERIES = 400
ANSWERS = ("left", "right", "left", "right", "left", "right", "tie", "cannot_tell")


@dataclass
class Measured:
    """What a load saw: seconds of each request by kind, and what was refused."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"lease": [], "label": []})
    refused: dict[str, int] = field(default_factory=dict)
    wall: float = 0.0
    cpu: float = 0.0
    """seconds of processor time of the load itself"""
    server_cpu: float = 0.0
    """the same of the server, without the database's own processes"""

    def add(self, kind: str, started: float, status: int) -> None:
        self.seconds[kind].append(time.perf_counter() - started)
        if status != 200:
            self.refused[f"{kind} {status}"] = self.refused.get(f"{kind} {status}", 0) + 1

    def ms(self, kind: str, percent: float) -> float:
        return 1e3 * float(np.percentile(self.seconds[kind], percent)) if self.seconds[kind] else math.nan


async def hurry(person: Person, until: float, measured: Measured) -> None:
    """Leases and answers without a pause."""
    while time.perf_counter() < until:
        started = time.perf_counter()
        reply = await person.lease(1, [])
        measured.add("lease", started, reply.status)
        queries = reply.json().get("queries", [])
        if not queries:
            await asyncio.sleep(0.02)
        for query in queries:
            started = time.perf_counter()
            reply = await person.answer(str(uuid.uuid4()), query["query"], random.choice(ANSWERS))
            measured.add("label", started, reply.status)


async def look_and_answer(person: Person, until: float, measured: Measured) -> None:
    """As people do: 3 to 5 s an answer (log-normal, two in three within), three queries held ahead."""
    held: list[str] = []
    await asyncio.sleep(random.uniform(0, 4))
    while time.perf_counter() < until:
        started = time.perf_counter()
        reply = await again(partial(person.lease, 4 - len(held), held))
        measured.add("lease", started, reply.status)
        held += [query["query"] for query in reply.json().get("queries", [])]
        await asyncio.sleep(random.lognormvariate(math.log(3.9), 0.25))
        if held:
            answer = str(uuid.uuid4()), held.pop(0), random.choice(ANSWERS)
            started = time.perf_counter()
            reply = await again(partial(person.answer, *answer))
            measured.add("label", started, reply.status)


async def again(call: Callable[[], Awaitable[Reply]]) -> Reply:
    """As a browser does where the server closed an idle connection just as a request went out."""
    try:
        return await call()
    except CutError:
        return await call()


async def listen(token: str, port: int) -> None:
    """A page's stream of server-sent events."""
    page = Person(HOST, port, token)
    await page.join()
    events = await page.listen("/api/events")
    while await events.read(65536):
        pass


async def run_people(port: int, tokens: tuple[str, ...], seconds: float, human: bool) -> Measured:
    people = [Person(HOST, port, token) for token in tokens]
    for person in people:
        await person.join()
    measured, behave = Measured(), look_and_answer if human else hurry
    streams = [asyncio.create_task(listen(token, port)) for token in tokens] if human else []
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(behave(person, started + seconds, measured) for person in people))
    measured.wall, measured.cpu = time.perf_counter() - started, time.process_time() - cpu
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    return measured


def load(port: int, tokens: tuple[str, ...], seconds: float, human: bool) -> Measured:
    return asyncio.run(run_people(port, tokens, seconds, human))


def measure(database: str, processes: int, people: int, seconds: float, human: bool) -> Measured:
    with tempfile.TemporaryDirectory() as name, database_url(database, Path(name)) as url:
        session = start_session(url, Path(name) / "media", people)
        load_process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        with (
            Asker(session, OPEN_QUERIES),
            serving(session.database, session.media, processes) as server,
            load_process as pool,
        ):
            pool.submit(load, server.port, session.tokens[:4], 1.0, False).result()  # warms the server up
            cpu = server.cpu_seconds()
            measured = pool.submit(load, server.port, session.tokens, seconds, human).result()
            measured.server_cpu = server.cpu_seconds() - cpu
            return measured


def report(name: str, database: str, processes: int, found: Measured) -> dict[str, float]:
    """Prints a row of the table; returns its numbers by key."""
    pairs = len(found.seconds["label"])
    requests = sum(map(len, found.seconds.values()))
    times = [f"{found.ms(kind, 50):.1f} / {found.ms(kind, 99):.1f}" for kind in ("lease", "label")]
    refused = ", ".join(f"{count} x {kind}" for kind, count in found.refused.items()) or "0"
    row = [
        database,
        str(processes),
        name,
        f"{pairs / found.wall:.1f}",
        f"{requests / found.wall:.1f}",
        *times,
    ]
    row += [f"{1e3 * found.server_cpu / max(pairs, 1):.1f}", f"{100 * found.cpu / found.wall:.0f} %", refused]
    print(f"| {' | '.join(row)} |", flush=True)
    key = f"{database}_{processes}_{name.replace(' ', '_')}"
    return {
        f"{key}_pairs_per_second": round(pairs / found.wall, 1),
        f"{key}_label_p99_ms": round(found.ms("label", 99), 1),
        f"{key}_lease_p99_ms": round(found.ms("lease", 99), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="SQLite, one process, a few seconds")
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a load; at human pace twice that")
    options = parser.parse_args()
    seconds = 3.0 if options.quick else options.seconds
    both = ["sqlite", "postgres"] if options.database == "both" else [options.database]
    cases = [("sqlite", 1)] if options.quick else [(kind, count) for kind in both for count in (1, 2)]
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine} (load before: {os.getloadavg()[0]:.1f}), {options.people} annotators\n")
    columns = ("database", "server processes", "load", "pairs/s", "requests/s", "lease p50 / p99 ms")
    columns += ("label p50 / p99 ms", "server's CPU ms a pair", "load's own CPU", "refused")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    result: dict[str, float] = {}
    for human in (False, True):
        for database, processes in cases:
            length = (2.0 if human else 1.0) * seconds
            found = measure(database, processes, options.people, length, human)
            result |= report("human pace" if human else "at once", database, processes, found)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
