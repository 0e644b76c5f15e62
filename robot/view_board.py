"""What the live view knows: the newest of everything, and what the page is told of it. No ROS, no web.

Two threads meet here: ROS puts in, the web server takes out. Only the newest counts, so nothing queues.
"""

from __future__ import annotations

import io
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from agents.badgr.overlay import CameraView, cost_range
from robot.config import RobotConfig
from robot.messages import MessageError
from robot.thought import Thought

Array = NDArray[Any]

WIDEST = 640
"""pixels of a picture that is sent"""
QUALITY = 70
THOUGHT_SECONDS = 1.5
"""after which ways are no longer shown: they belong to a place that was left"""


@dataclass
class Board:
    """Times are s of the steady clock."""

    config: RobotConfig
    guard: dict[str, Any] = field(default_factory=dict)
    """what guard/state said last"""
    ages: dict[str, float] = field(default_factory=dict)
    """s of each stream, as the guard measures them"""
    guard_time: float = -math.inf
    """when the guard spoke last"""
    speed: tuple[float, float] | None = None
    """m/s, rad/s that odometry says"""
    thought: Thought | None = None
    thoughts: int = 0
    """how many there were"""
    thought_time: float = -math.inf
    trouble: str = ""
    """why the newest picture or thought cannot be shown"""
    pictures: int = 0
    asked: float = -math.inf
    """when a page asked for the state last"""
    _unpack: Callable[[], Array | bytes] | None = None
    _packed: tuple[int, bytes] = (0, b"")
    _taken: deque[float] = field(default_factory=lambda: deque(maxlen=30))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ways: tuple[int, dict[str, Any]] = (0, {})

    def hear_picture(self, unpack: Callable[[], Array | bytes]) -> None:
        """unpack gives (H, W, 3) uint8 or a whole JPEG; it is called only when somebody looks."""
        self._unpack = unpack
        self._taken.append(time.monotonic())
        self.pictures += 1

    def hear_thought(self, thought: Thought) -> None:
        self.thought, self.thought_time = thought, time.monotonic()
        self.thoughts += 1

    def hear_guard(self, state: dict[str, Any] | None = None, ages: dict[str, float] | None = None) -> None:
        self.guard_time = time.monotonic()
        self.guard = self.guard if state is None else state
        self.ages = self.ages if ages is None else ages

    def jpeg(self) -> tuple[int, bytes]:
        """Number and content of the newest picture; packed once for all who look. Takes some ms.

        Raises MessageError for a picture that cannot be used.
        """
        with self._lock:
            number, unpack = self.pictures, self._unpack
            if number != self._packed[0] and unpack is not None:
                try:
                    self._packed = number, _packed(unpack())
                    self.trouble = ""
                except MessageError as error:
                    self.trouble = str(error)
                    raise
            return self._packed

    def state(self, seen: int = -1) -> dict[str, Any]:
        """For the page, as JSON takes it. seen: number of the newest thought that it has."""
        now = time.monotonic()
        self.asked = now
        told = {
            "name": self.config.name,
            "guard": {
                "alive": now - self.guard_time < 1.5,
                "armed": self.guard.get("armed"),
                "reason": self.guard.get("reason"),
                "estop": self.guard.get("estop", False),
            },
            "speed": self.speed,
            "speed_cap": self.config.limits.speed,
            "ages": self._ages(now),
            "driver": self._driver(now),
            "picture": {"number": self.pictures, "rate": self._rate(now)},
            "trouble": self.trouble,
        }
        if self.thoughts != seen:
            told["ways"] = self._drawn()
        return told

    def _ages(self, now: float) -> list[dict[str, Any]]:
        """Of each stream, as the guard said; while it is silent they grow."""
        since = now - self.guard_time if now - self.guard_time > 1.0 else 0.0
        # inf and nan are no JSON.
        return [
            {
                "name": name,
                "age": round(age + since, 3) if math.isfinite(age) else None,
                "limit": getattr(self.config.timeouts, name),
            }
            for name, age in self.ages.items()
        ]

    def _driver(self, now: float) -> dict[str, Any]:
        thought, age = self.thought, now - self.thought_time
        if thought is None or age > 5.0:
            return {"alive": False}
        return {
            "alive": age < THOUGHT_SECONDS,
            "words": thought.words,
            "shadow": thought.shadow,
            "action": thought.action,
            "distance": thought.distance,
            "waypoint": thought.waypoint,
            "events": thought.events,
        }

    def _drawn(self) -> dict[str, Any]:
        """The newest thought's ways as lines in the picture."""
        number, thought = self.thoughts, self.thought
        if self._ways[0] != number and thought is not None:
            self._ways = number, drawn(thought, camera_view(self.config))
        return {"number": number, **self._ways[1]}

    def _rate(self, now: float) -> float:
        recent = [one for one in list(self._taken) if now - one < 2.0]
        return round((len(recent) - 1) / max(recent[-1] - recent[0], 1e-3), 1) if len(recent) > 1 else 0.0


def camera_view(config: RobotConfig) -> CameraView:
    """The robot's camera, of a picture 1000 pixels wide and high: shares of a thousand."""
    camera = config.camera
    across, down = (500 / math.tan(angle / 2) for angle in (camera.view_across, camera.view_down))
    return CameraView(1000, 1000, across, down, camera.forward, camera.up, 0.0, camera.tilt)


def drawn(thought: Thought, view: CameraView) -> dict[str, Any]:
    """lines: [[colour, [x, y, x, y, …]], …] dearest first, plan: [[x, y, …], …], in thousandths of the
    picture's width and height; cost: [lowest, highest]."""
    if thought.ways is None:
        return {"lines": [], "plan": [], "cost": None}
    lines = [
        ["#{:02x}{:02x}{:02x}".format(*colour), _flat(line)]
        for way, colour in thought.ways.shown()
        for line in view.lines(way)
    ]
    plan = [_flat(line) for line in view.lines(thought.ways.plan)]
    return {"lines": lines, "plan": plan, "cost": [round(one, 3) for one in cost_range(thought.ways.cost)]}


def _flat(line: Array) -> list[int]:
    return [int(one) for one in np.clip(np.round(line), -5000, 5000).ravel()]


def _packed(picture: Array | bytes) -> bytes:
    """As JPEG, at most WIDEST pixels wide; one that is a JPEG passes as it is."""
    if isinstance(picture, bytes):
        return picture
    image = Pillow.fromarray(picture)
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Pillow.Resampling.BOX)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
