"""Scripted annotators who write down what a server acknowledged, while it is killed under them."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event

from label_people import CutError, Person, Reply

CHOICES = ("left", "right", "left", "right", "left", "right", "tie", "cannot_tell")
PATIENCE_SECONDS = 120.0
"""an answer that no server took by then counts as lost"""


@dataclass
class Written:
    """A row that the database must hold, as the annotator sees it."""

    uuid: str
    person: int
    query: str
    choice: str
    """by the screen's sides"""
    undone: bool = False


@dataclass
class Ledger:
    """What was acknowledged, and what happened on the way."""

    answers: dict[str, Written] = field(default_factory=dict)
    undos: dict[str, str] = field(default_factory=dict)
    """uuid of each undo -> uuid of the answer that it takes back"""
    counts: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


class Annotator:
    """Leases, answers, repeats what was not acknowledged, changes its mind, comes back late."""

    def __init__(self, number: int, port: int, token: str, lease_seconds: float, ledger: Ledger) -> None:
        self._number, self._lease_seconds, self._ledger = number, lease_seconds, ledger
        self._page, self._tab = Person("127.0.0.1", port, token), Person("127.0.0.1", port, token)
        self._held: list[str] = []
        self._left_lying: dict[str, float] = {}
        """queries not to be answered before their lease has ended -> when"""
        self._last: Written | None = None

    async def work(self, stop: Event, pause: float) -> None:
        for page in (self._page, self._tab):
            await self._until_answered("join", page.join)
        while not stop.is_set():
            await self._fetch()
            for query in self._due():
                await asyncio.sleep(random.uniform(0, 2 * pause))
                await self._answer(query)
            if self._last is not None and random.random() < 0.06:
                await self._change_mind(self._last)
            await asyncio.sleep(random.uniform(0, 2 * pause))

    async def _fetch(self) -> None:
        held = [query for query in [*self._held, *self._left_lying] if random.random() < 0.7]
        reply = await self._until_answered("lease", lambda: self._page.lease(random.randint(1, 3), held))
        offered = [query["query"] for query in reply.json()["queries"]] if reply is not None else []
        for query in offered:
            self._left_lying.pop(query, None)
            if query not in self._held:
                self._held.append(query)
        if not offered:
            self._ledger.counts["had to wait"] += 1

    def _due(self) -> list[str]:
        """Most of what is held, at once; some only after its lease has ended."""
        now = time.monotonic()
        due = [query for query, late in self._left_lying.items() if late < now]
        for query in due:
            del self._left_lying[query]
        for query in self._held:
            if random.random() < 0.04:
                self._left_lying[query] = now + self._lease_seconds * random.uniform(1.0, 1.5)
            else:
                due.append(query)
        self._held.clear()
        return due

    async def _answer(self, query: str) -> None:
        answer = Written(str(uuid.uuid4()), self._number, query, random.choice(CHOICES))
        pages: list[Person] = [self._page]
        if random.random() < 0.1:
            pages.append(self._tab)  # a reload sends again what may be under way
        replies = await asyncio.gather(*(self._send(page, answer) for page in pages))
        if any(reply is not None for reply in replies):
            self._ledger.answers[answer.uuid] = self._last = answer
        if random.random() < 0.05:
            await self._send(self._tab, answer)
            self._ledger.counts["acknowledged answers sent again"] += 1

    async def _send(self, page: Person, answer: Written) -> Reply | None:
        return await self._until_answered(
            "answer", lambda: page.answer(answer.uuid, answer.query, answer.choice)
        )

    async def _change_mind(self, answer: Written) -> None:
        undo = str(uuid.uuid4())
        reply = await self._until_answered("undo", lambda: self._page.retract(answer.uuid, undo))
        self._last = None
        if reply is not None:
            self._ledger.undos[undo] = answer.uuid
            answer.undone = True
            self._held.append(reply.json()["query"]["query"])

    async def _until_answered(self, kind: str, call: Callable[[], Awaitable[Reply | None]]) -> Reply | None:
        """Repeats a request until a server answers it; None where it was refused."""
        counts, cut, deadline = self._ledger.counts, False, time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                reply = await call()
            except CutError:
                counts[f"{kind} cut"] += 1
                cut = True
            else:
                if reply is None:
                    return None
                if reply.status == 200:
                    if cut and kind == "answer":
                        counts[f"cut, then {reply.json()['status']}"] += 1
                    return reply
                counts[f"{kind} {reply.status}"] += 1
                if reply.status not in (429, 503):
                    self._ledger.refused.append(f"{kind} {reply.status}: {reply.content[:200]!r}")
                    return None
            await asyncio.sleep(random.uniform(0.01, 0.1))
        self._ledger.refused.append(f"{kind}: no answer in {PATIENCE_SECONDS:.0f} s")
        return None


async def _annotate(
    port: int, tokens: tuple[str, ...], lease_seconds: float, pause: float, stop: Event
) -> Ledger:
    ledger = Ledger()
    people = [Annotator(number, port, token, lease_seconds, ledger) for number, token in enumerate(tokens)]
    await asyncio.gather(*(person.work(stop, pause) for person in people))
    return ledger


def annotate(port: int, tokens: tuple[str, ...], lease_seconds: float, pause: float, stop: Event) -> Ledger:
    """One annotator a token, until `stop`; all that was begun is acknowledged on return.

    pause: mean seconds before each request.
    """
    return asyncio.run(_annotate(port, tokens, lease_seconds, pause, stop))
