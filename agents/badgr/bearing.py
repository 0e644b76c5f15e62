"""Which way the goal lies: the robot's place and heading by GPS, compass, gyro and wheels; NumPy only.

A fix errs in two ways: anew each time, and slowly wandering. Doppler velocity or the wheels carry the place
from fix to fix almost without error, so a Kalman filter that knows of the wandering error (Jazwinski 1970,
coloured noise by an added state) averages over the whole way driven. What is left of a fix's error of
1 m is some 0.8 m: nobody without a map knows more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

STREAMS: Mapping[str, tuple[int | None, ...]] = {
    "gps": (2,), "gps_age": (1,), "gps_velocity": (2,), "compass": (1,), "odometry_velocity": (2,),
    "imu_angular_velocity": (None, 3),
}  # fmt: skip
"""What it needs, with shapes; None: any number"""


@dataclass(frozen=True)
class BearingConfig:
    """Errors of the sensors, standard deviations."""

    fix: float = 0.6
    """m, of each fix"""
    wander: float = 1.0
    """m, the slow error of GPS"""
    wander_seconds: float = 60.0
    """s over which the slow error forgets itself"""
    velocity: float = 0.03
    """m/s, by Doppler"""
    wheel_speed: float = 0.1
    """m/s, by the wheels, which slip; used where GPS is silent"""
    fix_seconds: float = 2.5
    """s after which GPS counts as silent"""
    compass: float = 0.087
    """rad"""
    course: float = 0.08
    """rad, of the direction of motion as the heading"""
    turn: float = 0.004
    """rad a decision, by the gyro and its bias"""
    dt: float = 0.25
    """s of a decision"""


@dataclass(frozen=True)
class Whereabouts:
    """place: (2,) m east and north; heading: rad anticlockwise from east; reckoned: (2,) m, the same way
    without the jumps of fixes, from an origin of its own: for maps of what is near."""

    place: Array
    heading: float
    reckoned: Array

    def in_frame(self, goal: Array) -> Array:
        """(2,) m forward and to the left of a goal (2,) m east and north."""
        c, s = np.cos(self.heading), np.sin(self.heading)
        east, north = np.asarray(goal, np.float64) - self.place
        return np.array([c * east + s * north, c * north - s * east])


class Bearing:
    """`update` with each observation of a trip, from its first."""

    def __init__(self, config: BearingConfig | None = None) -> None:
        self.config = config or BearingConfig()
        self.is_fixed = False
        """whether there was a fix in this trip: an older one may be of where the robot was carried from"""
        self.reset()

    def reset(self) -> None:
        """A new trip."""
        self._begun = self.is_fixed = False

    def update(self, observation: Mapping[str, Array]) -> Whereabouts:
        """The newest estimate. observation: the finite STREAMS."""
        if not self._begun:
            self._begin(observation)
        else:
            self._turn(observation)
            self._move(observation)
        if float(observation["gps_age"][0]) < self.config.dt / 2 or self._sets_out_with(observation):
            self.is_fixed = True
            self._fix(np.asarray(observation["gps"], np.float64))
        self._begun = True
        return Whereabouts(self._state[0].copy(), self._heading, self._reckoned.copy())

    def _sets_out_with(self, observation: Mapping[str, Array]) -> bool:
        return not self._begun and self._heard(observation)

    def _begin(self, observation: Mapping[str, Array]) -> None:
        c = self.config
        self._state = np.zeros((2, 2))  # place and wandering error, of east and north
        self._state[0] = observation["gps"]
        self._spread = np.diag([1e4, c.wander**2])
        self._heading, self._doubt = float(observation["compass"][0]), c.compass**2
        self._reckoned = np.zeros(2)

    def _turn(self, observation: Mapping[str, Array]) -> None:
        c = self.config
        turned = c.dt * float(np.mean(observation["imu_angular_velocity"][:, 2]))
        self._heading, self._doubt = wrapped(self._heading + turned), self._doubt + c.turn**2
        self._believe(float(observation["compass"][0]), c.compass)
        velocity = np.asarray(observation["gps_velocity"], np.float64)
        forward = float(observation["odometry_velocity"][0])
        # Backing up and sliding sideways: the course is not the heading.
        if self._heard(observation) and forward > 0.4 and np.hypot(*velocity) > 0.4:
            # It is the mean of the step, half a turn ago.
            self._believe(float(np.arctan2(velocity[1], velocity[0])) + turned / 2, c.course)

    def _believe(self, heading: float, error: float) -> None:
        gain = self._doubt / (self._doubt + error**2)
        self._heading = wrapped(self._heading + gain * wrapped(heading - self._heading))
        self._doubt *= 1 - gain

    def _move(self, observation: Mapping[str, Array]) -> None:
        c = self.config
        facing = np.array([np.cos(self._heading), np.sin(self._heading)])
        rolled = float(observation["odometry_velocity"][0]) * facing
        heard = self._heard(observation)
        # Doppler knows when wheels spin and nothing moves.
        moved = c.dt * (np.asarray(observation["gps_velocity"], np.float64) if heard else rolled)
        self._reckoned = self._reckoned + moved
        self._state[0] += moved
        keep = np.exp(-c.dt / c.wander_seconds)
        self._state[1] *= keep
        error = c.dt * (c.velocity if heard else c.wheel_speed)
        self._spread = self._spread * np.array([[1, keep], [keep, keep**2]])
        self._spread += np.diag([error**2, c.wander**2 * (1 - keep**2)])

    def _heard(self, observation: Mapping[str, Array]) -> bool:
        return float(observation["gps_age"][0]) <= self.config.fix_seconds

    def _fix(self, fix: Array) -> None:
        """A fix is the place and the wandering error together."""
        seen = self._spread.sum(0)  # covariance of the state with their sum
        gain = seen / (seen.sum() + self.config.fix**2)
        self._state += gain[:, None] * (fix - self._state.sum(0))
        self._spread = self._spread - np.outer(gain, seen)


def wrapped(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
