"""Where the robot is by its own GPS, compass and gyro, and which way leads back from the fence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class FenceConfig:
    """How the fence is kept."""

    margin: float = 3.0
    """m inside the fence where the robot is turned back: room for a U-turn and for GPS's error"""
    beyond: float = 1.5
    """m outside of it at which a person is called, when it lasts for `beyond_seconds`"""
    beyond_seconds: float = 10.0
    most_steering: float = 1.0
    """rad/s"""
    trust_fix: float = 0.3
    """share of a GPS fix's difference that is believed; its velocity is better than two fixes"""
    trust_compass: float = 0.05
    """share of a compass reading's difference that is believed; the gyro tells the rest"""


class Localizer:
    """Place (m east, m north) and heading (rad from east) from the robot's own sensors."""

    def __init__(self, config: FenceConfig, dt: float) -> None:
        self._config, self._dt = config, dt
        self._heading = 0.0
        self.reset()

    def reset(self) -> None:
        self._place: Array | None = None
        self._fixed = False

    def update(self, observation: Mapping[str, Array]) -> tuple[Array, float]:
        """The newest estimate. observation: gps, gps_age, gps_velocity, compass, imu_angular_velocity."""
        fix = np.asarray(observation["gps"], np.float64)
        compass = float(observation["compass"][0])
        c, news = self._config, float(observation["gps_age"][0]) < self._dt / 2
        if self._place is None:
            self._place, self._heading, self._fixed = fix, compass, news
            return self._place, self._heading
        self._place = self._place + self._dt * np.asarray(observation["gps_velocity"], np.float64)
        if news:
            # An old fix may be of where it was carried from: the first new one counts in full.
            self._place = self._place + (c.trust_fix if self._fixed else 1.0) * (fix - self._place)
            self._fixed = True
        turned = self._dt * float(np.mean(observation["imu_angular_velocity"][:, 2]))
        ahead = self._heading + turned
        self._heading = wrapped(ahead + c.trust_compass * wrapped(compass - ahead))
        return self._place, self._heading


class Geofence:
    """A box x0, y0, x1, y1 in m east and north, kept to by GPS."""

    def __init__(
        self, box: tuple[float, float, float, float], config: FenceConfig | None = None, dt: float = 0.25
    ) -> None:
        self._config = config or FenceConfig()
        self._low, self._high = np.array(box[:2]), np.array(box[2:])
        if not (self._high - self._low > 2 * self._config.margin).all():
            raise ValueError(f"the fence {box} leaves no room within a margin of {self._config.margin} m")
        self._localizer, self._dt = Localizer(self._config, dt), dt
        self._beyond = 0.0

    def reset(self) -> None:
        self._localizer.reset()
        self._beyond = 0.0

    def look(self, observation: Mapping[str, Array]) -> float | None:
        """Steering in rad/s that leads back inside, or None where it need not be turned."""
        place, heading = self._localizer.update(observation)
        c = self._config
        outside = float(np.maximum(self._low - place, place - self._high).max())
        self._beyond = self._beyond + self._dt if outside > c.beyond else 0.0
        if outside <= -c.margin:
            return None
        # Only what leads further out is corrected: along the fence one may drive.
        inward = np.sign(self._low + c.margin - place) * (place < self._low + c.margin)
        inward = inward - (place > self._high - c.margin)
        facing = np.array([np.cos(heading), np.sin(heading)])
        if float(inward @ facing) > 0.2 * float(np.linalg.norm(inward)):
            return None
        error = wrapped(float(np.arctan2(inward[1], inward[0])) - heading)
        return float(np.clip(2 * error, -c.most_steering, c.most_steering))

    @property
    def lost(self) -> bool:
        """Whether it has been beyond the fence for too long."""
        return self._beyond >= self._config.beyond_seconds


def wrapped(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
