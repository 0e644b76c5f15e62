"""What every driver to a goal has in common: checked sensors, the goal's direction, and when to stop.

Safe behaviour, each with its reason in words (`Halt.words`): a stream that is missing, of another size or not
finite means zero speed until it is well again; a goal that is reached or cannot be reached ends the trip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.badgr.bearing import STREAMS, Bearing, BearingConfig, Whereabouts

Array = NDArray[Any]
Shape = tuple[int | None, ...]

STAND = np.zeros(2, np.float32)
"""rad/s, m/s"""


@dataclass(frozen=True)
class Halt:
    """Why the robot stands. arrived and refused: for good, until `reset`; blind and blocked: for now."""

    kind: Literal["arrived", "refused", "blind", "blocked"]
    words: str

    @property
    def is_final(self) -> bool:
        return self.kind in ("arrived", "refused")


@dataclass(frozen=True)
class TripConfig:
    """When a trip is over."""

    arrive: float = 0.8
    """m from the goal, by the robot's own estimate, that count as there"""
    circle: float = 1.6
    """m: GPS errs by more than `arrive`, so a circle of this radius is driven around the goal before the
    robot says that it is there; 0: it says so at once"""
    circle_seconds: float = 20.0
    """s that the circle may take"""
    stand: float = 0.5
    stand_seconds: float = 20.0
    """m that must be left behind within so many seconds; less is a refusal"""
    closer: float = 0.5
    closer_seconds: float = 60.0
    """m that it must come closer to the goal than ever before, within so many seconds"""
    another_goal: float = 0.3
    """m that the observed goal moves, from which on it is another one, and progress is counted anew"""
    gps_seconds: float = 30.0
    """s without a fix after which the goal's direction is not trusted"""
    bearing: BearingConfig = field(default_factory=BearingConfig)

    def __post_init__(self) -> None:
        for name in ("arrive", "circle_seconds", "stand", "stand_seconds", "closer", "closer_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.circle < 0:
            raise ValueError(f"circle must not be negative, got {self.circle}")


@dataclass(frozen=True)
class Leg:
    """Where to go next. goal: (2,) m forward and to the left, of the goal or of a place on the circle around
    it; distance: m to the goal itself."""

    here: Whereabouts
    goal: Array
    distance: float


class Trip:
    """One trip after the other. `halt`: why the robot must stand after the last `look`, else None.

    needs: {stream: shape} beside those that tell the direction of the goal. goal: (2,) m east and north;
    None: the observation's "goal".
    """

    def __init__(
        self, config: TripConfig | None = None, needs: Mapping[str, Shape] | None = None,
        goal: Array | None = None,
    ) -> None:  # fmt: skip
        self.config, self.goal = config or TripConfig(), goal
        self._needs = {**STREAMS, **(needs or {})}
        self._bearing = Bearing(self.config.bearing)
        self.reset()

    def reset(self) -> None:
        """A new trip, from where the robot stands."""
        self._bearing.reset()
        self.halt: Halt | None = None
        steps = round(self.config.stand_seconds / self.config.bearing.dt)
        self._track: deque[Array] = deque(maxlen=steps + 1)
        self._last_goal: Array | None = None
        self._begin_leg()

    def _begin_leg(self) -> None:
        """To another goal. How long it has stood still counts on."""
        self._closest, self._since = np.inf, 0.0
        self._circle: list[Array] | None = None
        self._circling = 0.0

    def look(self, observation: Mapping[str, Any]) -> Leg | None:
        """The way on, or None: stand, and `halt` says why."""
        if self.halt is not None and self.halt.is_final:
            return None
        trouble = self._trouble(observation)
        if trouble is not None:
            self.halt = Halt("blind", trouble)
            return None
        here = self._bearing.update(observation)
        if not self._bearing.is_fixed:
            self.halt = Halt("blind", "there was no GPS fix yet since it set out: waiting for one")
            return None
        self.halt = None
        goal = np.asarray(observation["goal"] if self.goal is None else self.goal, np.float64)
        if self._last_goal is not None and np.linalg.norm(goal - self._last_goal) > self.config.another_goal:
            self._begin_leg()
        self._last_goal = goal
        distance = float(np.linalg.norm(goal - here.place))
        if self._circle is None and distance < self.config.arrive:
            self._circle = self._around(goal, here)
        target = goal if self._circle is None else self._next_on_circle(here)
        if target is None:
            self.halt = Halt("arrived", f"the goal is reached: {distance:.1f} m away by my own estimate")
            return None
        self.halt = self._refusal(here, distance)
        return None if self.halt is not None else Leg(here, here.in_frame(target), distance)

    @property
    def seconds_without_progress(self) -> float:
        """Since it came `closer` to the goal than ever before."""
        return self._since

    def _trouble(self, observation: Mapping[str, Any]) -> str | None:
        needs = dict(self._needs)
        if self.goal is None:
            needs["goal"] = (2,)
        for name, shape in needs.items():
            problem = stream_problem(observation, name, shape)
            if problem is not None:
                return problem
        if float(observation["gps_age"][0]) > self.config.gps_seconds:
            return f"no GPS fix for {float(observation['gps_age'][0]):.0f} s: the goal's direction is unknown"
        return None

    def _around(self, goal: Array, here: Whereabouts) -> list[Array]:
        """Places on the circle, the first one straight ahead."""
        if not self.config.circle:
            return []
        angles = here.heading + np.arange(4) * np.pi / 2
        return [goal + self.config.circle * np.array([np.cos(a), np.sin(a)]) for a in angles]

    def _next_on_circle(self, here: Whereabouts) -> Array | None:
        assert self._circle is not None
        self._circling += self.config.bearing.dt
        while self._circle and np.linalg.norm(self._circle[0] - here.place) < self.config.arrive:
            self._circle.pop(0)
        over = not self._circle or self._circling > self.config.circle_seconds
        return None if over else self._circle[0]

    def _refusal(self, here: Whereabouts, distance: float) -> Halt | None:
        c = self.config
        # The reckoned way has no jumps that could be taken for motion.
        self._track.append(here.reckoned)
        if len(self._track) == self._track.maxlen:
            gone = float(np.linalg.norm(np.asarray(self._track) - self._track[0], axis=1).max())
            if gone < c.stand:
                return Halt(
                    "refused",
                    f"no way on: {gone:.1f} m in the last {c.stand_seconds:.0f} s, the goal is "
                    f"{distance:.1f} m away; the robot is shut in or held, or the goal lies in an obstacle",
                )
        if distance < self._closest - c.closer:
            self._closest, self._since = distance, 0.0
        self._since += c.bearing.dt
        if self._circle is None and self._since > c.closer_seconds:
            return Halt(
                "refused",
                f"the goal cannot be reached: no closer than {self._closest:.1f} m in the last "
                f"{c.closer_seconds:.0f} s; choose another goal, or bring the robot to its other side",
            )
        return None


def stream_problem(observation: Mapping[str, Any], name: str, shape: Shape) -> str | None:
    """What is wrong with a stream, in words, or None."""
    if name not in observation:
        there = ", ".join(sorted(observation)) or "none"
        return f"the stream {name!r} is missing, there are: {there}"
    value = np.asarray(observation[name])
    fits = len(value.shape) == len(shape) and all(
        want in (None, got) for want, got in zip(shape, value.shape, strict=True)
    )
    if not fits or 0 in value.shape:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        return f"the stream {name!r} has the size {value.shape}, expected {wanted}"
    if value.dtype.kind not in "fiu":
        return f"the stream {name!r} holds no numbers but {value.dtype}"
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        return f"the stream {name!r} holds NaN or infinity"
    return None
