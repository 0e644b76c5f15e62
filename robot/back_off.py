"""Getting free where the guard holds the robot: the plan saw nothing in its way, the lidar does.

The robot stands for a while, since what holds it may go away, backs up the way that it came, and turns on the
spot to where the lidar sees more room; then whoever drives to the goal goes on. Each motion passes the guard,
which holds it before what is behind just as well. What helps nobody ends by the trip's own patience
(`agents.badgr.trip`): "no way on".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robot.safety import AHEAD, BEHIND

Array = NDArray[Any]


@dataclass(frozen=True)
class BackOffConfig:
    """Measured on the simulated rover over DDS (tests/benchmarks/bench_drive_dds.py)."""

    patience: float = 2.5
    """s of being held: what crosses the way has time to pass"""
    back_speed: float = 0.3
    back_way: float = 0.6
    """m/s and m"""
    turn_rate: float = 0.8
    turn_angle: float = 1.05
    """rad/s and rad, 60 degrees"""
    again: float = 10.0
    """s after a manoeuvre within which the next one turns to the same side: not to and fro in a corner"""

    def __post_init__(self) -> None:
        for name in ("patience", "back_speed", "back_way", "turn_rate", "turn_angle", "again"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


class BackOff:
    """`step` after `step`. phase: what it is at, else None; count: manoeuvres so far; dt: s of a decision."""

    def __init__(self, dt: float, config: BackOffConfig | None = None) -> None:
        self.config, self.dt = config or BackOffConfig(), dt
        self.count = 0
        self._side = 1.0
        self.reset()

    def reset(self) -> None:
        """The robot stands, or was carried: nothing holds it yet."""
        self.phase: Literal["back", "turn"] | None = None
        self._held = self._seconds = self._way = self._angle = 0.0
        self._since = np.inf  # s since the last manoeuvre

    def step(self, wish: Array, hold: str | None, observation: Mapping[str, Array]) -> Array | None:
        """An action (rad/s, m/s) in place of `wish`, or None: nothing holds the robot, or not for long.

        hold: the guard's reason; observation: lidar (n,) m, beam i at i / n of a turn to the left of ahead;
        odometry_velocity (2,) m/s and rad/s; imu_angular_velocity (k, 3) rad/s.
        """
        if self.phase is None:
            self._wait(wish, hold, observation)
        else:
            self._measure(observation)
        if self.phase == "back" and self._has_backed(hold):
            self.phase, self._seconds = "turn", 0.0
        if self.phase == "turn" and self._has_turned():
            self.reset()
            self._since = 0.0
        return self._action()

    def _wait(self, wish: Array, hold: str | None, observation: Mapping[str, Array]) -> None:
        self._since += self.dt
        is_held = hold is not None and hold.startswith(AHEAD) and wish[1] > 0
        self._held = self._held + self.dt if is_held else 0.0
        if self._held < self.config.patience:
            return
        if self._since > self.config.again:
            self._side = freer_side(np.asarray(observation["lidar"]))
        self.reset()
        self.phase = "back"
        self.count += 1

    def _measure(self, observation: Mapping[str, Array]) -> None:
        self._seconds += self.dt
        if self.phase == "back":
            self._way += max(-float(observation["odometry_velocity"][0]), 0.0) * self.dt
        else:
            rate = float(np.mean(np.asarray(observation["imu_angular_velocity"])[:, 2]))
            self._angle += max(self._side * rate, 0.0) * self.dt

    def _has_backed(self, hold: str | None) -> bool:
        c = self.config
        stands = hold is not None and hold.startswith(BEHIND)
        return stands or self._way >= c.back_way or self._seconds > 2 * c.back_way / c.back_speed

    def _has_turned(self) -> bool:
        c = self.config
        return self._angle >= c.turn_angle or self._seconds > 2 * c.turn_angle / c.turn_rate

    def _action(self) -> Array | None:
        if self.phase == "back":
            return np.array([0.0, -self.config.back_speed], np.float32)
        if self.phase == "turn":
            return np.array([self._side * self.config.turn_rate, 0.0], np.float32)
        return None


def freer_side(lidar: Array) -> float:
    """1 to the left, -1 to the right: where it sees farther on average, 30 to 120 degrees from ahead."""
    first, last = len(lidar) // 12, len(lidar) // 3
    left, right = lidar[first:last], lidar[-first:-last:-1]  # beam n - i lies as far right as i left
    return 1.0 if float(np.mean(left)) >= float(np.mean(right)) else -1.0
