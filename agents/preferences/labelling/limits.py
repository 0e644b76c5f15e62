"""How much one person, one address and one request may ask of a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds that people never meet; a program that runs wild does. Rates count per server process."""

    body_bytes: int = 64 * 1024
    """of a request"""
    import_bytes: int = 64 * 1024 * 1024
    """of an upload of labels by the owner"""
    body_seconds: float = 30.0
    """a request whose body has not arrived by then is refused; uploads have ten times as long"""
    requests_per_second: float = 50.0
    """of one annotator, in the long run"""
    request_burst: int = 300
    """and at once: a page that was off line sends what it kept"""
    failures_per_second: float = 1.0
    """links that were wrong, from one address, in the long run"""
    failure_burst: int = 20
    """and at once"""
    streams: int = 20
    """pages of one annotator that listen to events"""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


class Buckets:
    """Token buckets by key: each holds `burst` and fills by `rate` a second. Thread-safe."""

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic, capacity: int = 10_000
    ) -> None:
        self._rate, self._burst, self._clock, self._capacity = rate, burst, clock, capacity
        self._levels: dict[str, tuple[float, float]] = {}  # by key: how full, when
        self._lock = threading.Lock()

    def take(self, key: str) -> float:
        """Takes one; returns 0.0, or for how many seconds there is none."""
        with self._lock:
            now = self._clock()
            level = self._level(key, now)
            if level < 1:
                return (1 - level) / self._rate
            if len(self._levels) >= self._capacity:
                self._forget(now)
            self._levels[key] = (level - 1, now)
            return 0.0

    def wait(self, key: str) -> float:
        """What `take` would return, without taking."""
        with self._lock:
            level = self._level(key, self._clock())
            return 0.0 if level >= 1 else (1 - level) / self._rate

    def _level(self, key: str, now: float) -> float:
        level, then = self._levels.get(key, (float(self._burst), now))
        return min(float(self._burst), level + (now - then) * self._rate)

    def _forget(self, now: float) -> None:
        """Full buckets say nothing; if none is full, the one that was used longest ago goes."""
        full = [key for key in self._levels if self._level(key, now) >= self._burst]
        for key in full or [min(self._levels, key=lambda key: self._levels[key][1])]:
            del self._levels[key]
