"""Between those who hear messages and the one who writes them: bounded, and nobody ever waits to put in."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Heard:
    """A serialized message. Times are ns since 1970: when it came, and when it was sent."""

    name: str
    data: bytes
    log_time: int
    publish_time: int
    is_picture: bool = False

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, roughly."""
        return len(self.data) + OVERHEAD


OVERHEAD = 200
"""bytes of a message beside its content"""
BATCH = 4 * 2**20
"""bytes that are taken out at once: they are no longer counted, so they must be few"""


class RecordQueue:
    """When it is full the oldest pictures are dropped, and the smaller messages only when none is left.

    dropped: {name: messages}. Safe between threads.
    """

    def __init__(self, most_bytes: int) -> None:
        if most_bytes < BATCH:
            raise ValueError(f"a queue needs at least {BATCH / 2**20:g} MiB, got {most_bytes / 2**20:.3g}")
        self.most_bytes = most_bytes
        self.dropped: Counter[str] = Counter()
        self.bytes = 0
        self._pictures: deque[tuple[int, Heard]] = deque()
        self._others: deque[tuple[int, Heard]] = deque()
        self._next = 0
        self._closed = False
        self._changed = threading.Condition(threading.Lock())

    def put(self, heard: Heard) -> None:
        """Never waits. After `close` the message is dropped."""
        with self._changed:
            if self._closed or not self._make_room(heard):
                self.dropped[heard.name] += 1
                return
            side = self._pictures if heard.is_picture else self._others
            side.append((self._next, heard))
            self._next += 1
            self.bytes += heard.size
            self._changed.notify()

    def take(self, seconds: float) -> list[Heard]:
        """The oldest ones in order, as soon as there are any; none after so many s, or when it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._pictures or self._others or self._closed, max(seconds, 0.0))
            taken: list[Heard] = []
            size = 0
            while (self._pictures or self._others) and size < BATCH:
                taken.append(self._pop(self._older()))
                size += taken[-1].size
            return taken

    def close(self, *, drop: bool = False) -> None:
        """Takes no more. drop: what is still in it is dropped and counted."""
        with self._changed:
            self._closed = True
            while drop and (self._pictures or self._others):
                self.dropped[self._pop(self._older()).name] += 1
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        return self._closed

    def _make_room(self, heard: Heard) -> bool:
        while self.bytes + heard.size > self.most_bytes:
            if self._pictures:
                victims = self._pictures
            elif self._others and not heard.is_picture:
                victims = self._others
            else:
                return False
            self.dropped[self._pop(victims).name] += 1
        return True

    def _older(self) -> deque[tuple[int, Heard]]:
        """The side whose first came first."""
        if not self._pictures:
            return self._others
        if not self._others:
            return self._pictures
        return self._pictures if self._pictures[0][0] < self._others[0][0] else self._others

    def _pop(self, side: deque[tuple[int, Heard]]) -> Heard:
        heard = side.popleft()[1]
        self.bytes -= heard.size
        return heard
