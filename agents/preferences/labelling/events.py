"""Server-sent events: one look a second at each study, for all who watch it in this process."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool

from agents.preferences.labelling.stats import Board, Snapshot
from agents.preferences.labelling.types import Annotator, ForbiddenError, LabellingError

logger = logging.getLogger(__name__)


@dataclass
class _Topic:
    """A study that somebody watches. `news` is set, and replaced by a fresh one, at each change."""

    snapshot: Snapshot | None = None
    trouble: str = ""
    watchers: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Hub:
    """Tells open pages what changes. All of it runs in the server's event loop."""

    def __init__(self, board: Board, *, poll_seconds: float = 1.0, ping_seconds: float = 15.0) -> None:
        self._board, self._poll_seconds, self._ping_seconds = board, poll_seconds, ping_seconds
        self._topics: dict[str, _Topic] = {}
        self._streams: Counter[str] = Counter()  # by annotator
        self._closed = False

    def streams(self, annotator_id: str) -> int:
        """How many streams an annotator has open in this process."""
        return self._streams[annotator_id]

    def close(self) -> None:
        """Ends all streams; a server that stops would wait for them. Safe in a signal handler of the loop."""
        self._closed = True
        for topic in self._topics.values():
            topic.news.set()

    async def stream(self, annotator: Annotator, check: Callable[[], Annotator]) -> AsyncIterator[str]:
        """Stats of an annotator whenever they changed, as server-sent events.

        check: raises ForbiddenError once the annotator's link does not hold any more; the stream then ends.
        """
        self._streams[annotator.id] += 1
        topic = self._enter(annotator.study)
        try:
            async for text in self._messages(topic, annotator, check):
                yield text
        finally:
            self._leave(annotator.study, topic)
            self._streams[annotator.id] -= 1
            self._streams += Counter()  # drops the zeros

    async def _messages(
        self, topic: _Topic, annotator: Annotator, check: Callable[[], Annotator]
    ) -> AsyncIterator[str]:
        yield "retry: 2000\n\n"
        last: tuple[str, Any] | None = None
        while not self._closed:
            news, snapshot, trouble = topic.news, topic.snapshot, topic.trouble
            message: tuple[str, Any] | None = None
            try:
                await run_in_threadpool(check)
                if trouble:
                    message = ("trouble", {"detail": trouble})
                elif snapshot is not None:
                    stats = await run_in_threadpool(self._board.personal, snapshot, annotator.id)
                    message = ("stats", stats)
            except ForbiddenError as error:
                yield sse("end", {"detail": self._board.words(error)})
                return
            except LabellingError as error:
                message = ("trouble", {"detail": self._board.words(error)})
            if message is not None and message != last:
                last = message
                yield sse(*message)
            if not await _happens(news, self._ping_seconds):
                yield ": ping\n\n"

    def _enter(self, study: str) -> _Topic:
        topic = self._topics.setdefault(study, _Topic())
        topic.watchers += 1
        if topic.task is None:
            topic.task = asyncio.create_task(self._watch(study, topic))
        return topic

    def _leave(self, study: str, topic: _Topic) -> None:
        topic.watchers -= 1
        if topic.watchers == 0 and topic.task is not None:
            topic.task.cancel()
            del self._topics[study]

    async def _watch(self, study: str, topic: _Topic) -> None:
        while not self._closed:
            snapshot, trouble = topic.snapshot, ""
            try:
                snapshot = await run_in_threadpool(self._board.snapshot, study)
            except LabellingError as error:
                trouble = self._board.words(error)
            except Exception:
                logger.exception("the numbers of study %s cannot be read", study)
                trouble = "The server cannot read the session's numbers just now."
            if trouble and trouble != topic.trouble:
                logger.warning("study %s: %s", study, trouble)
            if (snapshot, trouble) != (topic.snapshot, topic.trouble):
                topic.snapshot, topic.trouble = snapshot, trouble
                news, topic.news = topic.news, asyncio.Event()
                news.set()
            await asyncio.sleep(self._poll_seconds)


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except (TimeoutError, asyncio.TimeoutError):
        return False
    return True


def sse(event: str, data: Any) -> str:
    """One server-sent event; JSON has no line breaks of its own."""
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'), allow_nan=False)}\n\n"
