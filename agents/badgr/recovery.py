"""Trouble noticed by the robot's own sensors while it drives, and the manoeuvre that gets it free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.badgr.events import LabelConfig, outline_reach
from agents.badgr.signals import hardest_blow

Array = NDArray[Any]
Trouble = Literal["collision", "stuck", "tipped", "outside"]


@dataclass(frozen=True)
class RecoveryConfig:
    """What counts as trouble and how it is left. Sources: badgr specification 2.2, else measured on the
    simulated rover."""

    collision_seconds: float = 0.5
    """s that it is left pressing against what it hit, so that the recording shows it"""
    stuck_seconds: float = 2.5
    """s of being held back after which it is stuck: longer than the labels ask for"""
    tilt: float = 0.61
    """rad, 35 degrees"""
    back_speed: float = 0.5
    """m/s"""
    back_way: tuple[float, float] = (0.5, 1.0)
    """m, drawn for each manoeuvre"""
    turn_rate: float = 1.2
    """rad/s"""
    turn_angle: tuple[float, float] = (1.05, 2.62)
    """rad, 60 to 150 degrees, drawn for each manoeuvre"""
    tries: int = 3
    """manoeuvres in a row that may fail before a person is called"""
    free_seconds: float = 2.0
    """s of driving on after which a manoeuvre has helped"""
    dt: float = 0.25
    """s of a decision"""


class Recovery:
    """`step` after `step`: looks for trouble, and says how to drive while it gets out of it.

    resetting: the last action belonged to a manoeuvre. rescue: why a person must come, else None.
    counts: {trouble: manoeuvres begun for it}.
    """

    def __init__(self, config: RecoveryConfig, labels: LabelConfig, generator: np.random.Generator) -> None:
        """labels: thresholds of echoes, blows and of being held back: those that label the drive."""
        self.config, self.labels, self._generator = config, labels, generator
        self.reset()

    def reset(self) -> None:
        """A new start, at rest."""
        self.resetting = False
        self.rescue: Trouble | None = None
        self.counts: dict[Trouble, int] = {}
        self._told = (0.0, 0.0)  # rad/s, m/s
        self._held = self._met = self._tipped = self._pressed = 0
        self._tries = 0
        self._free = 0.0  # s of driving on since the last manoeuvre
        self._way = self._angle = 0.0  # m and rad that are left of the manoeuvre
        self._side = 1.0
        self._blocked = self._turning = 0

    def step(self, observation: Mapping[str, Array]) -> Array | None:
        """An action (rad/s, m/s) of the manoeuvre, or None: drive on, and `remember` what was told.

        observation: imu_angular_velocity, imu_linear_acceleration, lidar, and odometry_velocity or
        gps_velocity, as `labels.motion` says.
        """
        trouble = self._trouble(observation)
        if trouble is not None:
            self._begin(trouble)
        elif not self.resetting and not self._held:
            self._free += self.config.dt
            if self._free >= self.config.free_seconds:
                self._tries = 0
        action = self._manoeuvre(observation) if self.resetting else None
        if action is not None:
            self.remember(action)
        return action

    def remember(self, action: Array) -> None:
        """What the robot was told for the coming step."""
        self._told = (float(action[0]), float(action[1]))

    def _trouble(self, observation: Mapping[str, Array]) -> Trouble | None:
        c = self.config
        pull = np.asarray(observation["imu_linear_acceleration"], np.float64).mean(0)
        leaning = float(np.arccos(np.clip(pull[2] / max(float(np.linalg.norm(pull)), 1e-6), -1, 1)))
        self._tipped = self._tipped + 1 if leaning > c.tilt else 0
        if self._tipped >= 3:
            return "tipped"
        if self.resetting:
            return None
        held = self._is_held(observation)
        self._held = self._held + 1 if held else 0
        # What was met long ago and did not hold the robot was no collision.
        self._met = 3 if self._meets(observation) else max(self._met - 1, 0)
        self._pressed = self._pressed + 1 if held and (self._met or self._pressed) else 0
        if self._pressed * c.dt >= c.collision_seconds - 1e-9:
            return "collision"
        return "stuck" if self._held * c.dt >= c.stuck_seconds - 1e-9 else None

    def _is_held(self, observation: Mapping[str, Array]) -> bool:
        labels, told = self.labels, self._told[1]
        if abs(told) <= labels.stuck_command:
            return False
        if labels.motion == "wheels":
            return float(observation["odometry_velocity"][0]) * np.sign(told) < labels.held_wheels * abs(told)
        return self._speed(observation) < labels.held * abs(told)

    def _speed(self, observation: Mapping[str, Array]) -> float:
        """m/s, without its direction."""
        if self.labels.motion == "wheels":
            return abs(float(observation["odometry_velocity"][0]))
        return float(np.hypot(*observation["gps_velocity"][:2]))

    def _meets(self, observation: Mapping[str, Array]) -> bool:
        labels = self.labels
        if self._told[1] == 0.0:
            return False
        ranges = np.asarray(observation["lidar"])
        near = (ranges > 0) & (ranges < outline_reach(labels, len(ranges)))
        if labels.collision != "imu" and np.count_nonzero(near) >= labels.echoes:
            return True
        samples = np.asarray(observation["imu_linear_acceleration"], np.float64)[None]
        spacing = self.config.dt / samples.shape[1]
        lost, peak = hardest_blow(samples, np.array([self._told[1]]), spacing, labels.blow_seconds)
        return bool(lost[0] >= labels.blow and peak[0] >= labels.blow_peak)

    def _begin(self, trouble: Trouble) -> None:
        c = self.config
        self.counts[trouble] = self.counts.get(trouble, 0) + 1
        if trouble == "tipped" or self._tries >= c.tries:
            self.rescue = trouble
        self._tries += 1
        self.resetting = True
        self._way = float(self._generator.uniform(*c.back_way))
        self._angle = float(self._generator.uniform(*c.turn_angle))
        # The other way round when the first try did not help.
        self._side = -self._side if self._tries > 1 else float(self._generator.choice((-1.0, 1.0)))
        self._blocked = self._turning = 0

    def _manoeuvre(self, observation: Mapping[str, Array]) -> Array | None:
        """Backs up, then turns on the spot; what is blocked behind begins to turn at once."""
        c = self.config
        if self._told[1] < 0:
            gone = self._speed(observation)
            self._way -= gone * c.dt
            self._blocked = self._blocked + 1 if gone < 0.5 * c.back_speed else 0
        elif self._turning:
            self._angle -= c.dt * abs(float(np.mean(observation["imu_angular_velocity"][:, 2])))
        if self._way > 0 and self._blocked < 4:
            wiggle = 0.0 if self._tries == 1 else 0.5 * self._side
            return np.array([wiggle, -c.back_speed], np.float32)
        if self._angle > 0 and self._turning * c.dt < 2 * c.turn_angle[1] / c.turn_rate:
            self._turning += 1
            return np.array([self._side * c.turn_rate, 0.0], np.float32)
        self._end()
        return None

    def _end(self) -> None:
        self.resetting = False
        self._held = self._met = self._pressed = 0
        self._free = 0.0
