"""What the rover's sensors say about its motion, with the faults of real ones; each fault can be left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.batch import Array
from envs.rover.body import TRACK, TURN_FACTOR, WHEEL_RADIUS
from envs.rover.physics import CHUNK, DECISION, Motion

BEAMS = 360
LIDAR_NEAREST, LIDAR_FARTHEST = 0.1, 12.0
"""m; LIDAR_FARTHEST is also what a beam without an echo says"""
GYRO_RANGE, ACCELERATION_RANGE = math.radians(2000.0), 16 * 9.81
"""rad/s and m/s^2 of each axis, where a small robot's IMU ends; a blow against a wall takes about half"""
IMU_SAMPLES = round(DECISION / CHUNK)
"""of each decision, at 100 Hz"""


@dataclass(frozen=True)
class Noise:
    """Faults of the sensors, standard deviations unless said otherwise."""

    gyro: float = 0.01
    """rad/s, each sample"""
    gyro_bias: float = 0.005
    """rad/s, drawn for an episode"""
    accelerometer: float = 0.08
    """m/s^2, each sample"""
    accelerometer_bias: float = 0.05
    """m/s^2, drawn for an episode"""
    odometry_scale: float = 0.01
    """share, drawn for an episode: tyres are never quite as large as thought"""
    gps: float = 0.6
    """m, each fix"""
    gps_bias: float = 1.0
    """m, that the slow error wanders within"""
    gps_bias_seconds: float = 60.0
    """s over which the slow error forgets itself"""
    gps_velocity: float = 0.03
    """m/s, each decision: by Doppler, so better than two fixes"""
    compass: float = 0.087
    """rad, 5 degrees"""
    lidar: float = 0.01
    """m, each beam"""
    lidar_lost: float = 0.01
    """share of beams without an echo, at random"""
    camera: float = 2.0
    """0-255, each pixel"""

    @classmethod
    def none(cls) -> Noise:
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 60.0, 0.0, 0.0, 0.0, 0.0)


class MotionSensors:
    """IMU, wheel odometry, GPS and compass of N rovers. Each draws from a generator of its own."""

    def __init__(self, noise: Noise, count: int = 1) -> None:
        self.noise = noise
        self._gyro_bias, self._accelerometer_bias = np.zeros((count, 3)), np.zeros((count, 3))
        self._scale = np.ones(count)
        self._odometry = np.zeros((count, 3))  # x, y m and heading rad in the frame of the start
        self._speed = np.zeros((count, 2))  # m/s, rad/s by the wheels
        self._gps_bias, self._fix = np.zeros((count, 2)), np.zeros((count, 2))
        self._fix_age = np.zeros(count)
        self._ground_speed = np.zeros((count, 2))  # m/s east, north
        self._compass = np.zeros(count)
        self._gyro = np.zeros((count, IMU_SAMPLES, 3))
        self._acceleration = np.zeros((count, IMU_SAMPLES, 3))

    def restart(self, i: int, generator: np.random.Generator, place: Array, heading: float) -> None:
        """A new episode of rover i, at rest; place: (2,) m."""
        n = self.noise
        draws = generator.standard_normal(14)
        self._gyro_bias[i], self._accelerometer_bias[i] = (
            n.gyro_bias * draws[:3],
            n.accelerometer_bias * draws[3:6],
        )
        self._scale[i] = 1.0 + n.odometry_scale * draws[6]
        self._gps_bias[i] = n.gps_bias * draws[7:9]
        self._odometry[i] = self._speed[i] = self._ground_speed[i] = 0.0
        self._gyro[i], self._acceleration[i] = 0.0, (0.0, 0.0, 9.81)
        self._fix_age[i] = 1.0
        self._outer(slice(i, i + 1), draws[None, 9:], place[None], np.array([heading]))

    def feel(self, generators: Sequence[np.random.Generator], motion: Motion, headings: Array) -> None:
        """Takes in a decision of all rovers; headings: (N,) rad."""
        n, count, steps = self.noise, len(generators), IMU_SAMPLES
        draws = np.stack([generator.standard_normal(6 * steps + 7) for generator in generators])
        samples = draws[:, : 6 * steps].reshape(count, 2, steps, 3)
        self._gyro = motion.gyro + self._gyro_bias[:, None] + n.gyro * samples[:, 0]
        acceleration = motion.acceleration + self._accelerometer_bias[:, None]
        self._acceleration = acceleration + n.accelerometer * samples[:, 1]
        np.clip(self._gyro, -GYRO_RANGE, GYRO_RANGE, out=self._gyro)
        np.clip(self._acceleration, -ACCELERATION_RANGE, ACCELERATION_RANGE, out=self._acceleration)
        left = motion.wheels[:, :, 0::2].mean(2) * WHEEL_RADIUS * self._scale[:, None]
        right = motion.wheels[:, :, 1::2].mean(2) * WHEEL_RADIUS * self._scale[:, None]
        forward, turn = (left + right) / 2, (right - left) / (TRACK * TURN_FACTOR)
        facing = self._odometry[:, 2:] + np.cumsum(turn, 1) * CHUNK
        self._odometry[:, 0] += (forward * np.cos(facing)).sum(1) * CHUNK
        self._odometry[:, 1] += (forward * np.sin(facing)).sum(1) * CHUNK
        self._odometry[:, 2] = facing[:, -1]
        self._speed = np.stack([forward.mean(1), turn.mean(1)], 1)
        self._ground_speed = motion.velocity.mean(1) + n.gps_velocity * draws[:, -7:-5]
        self._outer(slice(None), draws[:, -5:], motion.pose[:, -1, :2], headings)

    def read(self) -> dict[str, Array]:
        """(N, ...) the newest of every stream, live."""
        return {
            "imu_angular_velocity": self._gyro,
            "imu_linear_acceleration": self._acceleration,
            "odometry": self._odometry,
            "odometry_velocity": self._speed,
            "gps": self._fix,
            "gps_age": self._fix_age[:, None],
            "gps_velocity": self._ground_speed,
            "compass": self._compass[:, None],
        }

    def _outer(self, which: slice, draws: Array, places: Array, headings: Array) -> None:
        """GPS each second, compass each time; draws: (n, 5)."""
        n = self.noise
        keep = np.exp(-DECISION / n.gps_bias_seconds)
        wander = n.gps_bias * np.sqrt(1 - keep * keep) * draws[:, :2]
        self._gps_bias[which] = keep * self._gps_bias[which] + wander
        self._fix_age[which] += DECISION
        due = self._fix_age[which] >= 1.0 - 1e-9
        fixes = places + self._gps_bias[which] + n.gps * draws[:, 2:4]
        self._fix[which] = np.where(due[:, None], fixes, self._fix[which])
        self._fix_age[which] = np.where(due, 0.0, self._fix_age[which])
        said = headings + n.compass * draws[:, 4]
        self._compass[which] = np.arctan2(np.sin(said), np.cos(said))

    def get_state(self) -> dict[str, Array]:
        """Arrays with the rovers in front."""
        return {name: np.array(value) for name, value in sorted(vars(self).items()) if name.startswith("_")}

    def set_state(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, np.array(value, np.float64))


def hear(ranges: Array, generator: np.random.Generator, noise: Noise) -> Array:
    """(BEAMS,) float32 m that the lidar says of true ranges, inf where there is no echo."""
    said = ranges + noise.lidar * generator.standard_normal(BEAMS)
    lost = generator.random(BEAMS) < noise.lidar_lost
    said = np.where(lost | ~np.isfinite(ranges), LIDAR_FARTHEST, said)
    heard: Array = np.clip(said, LIDAR_NEAREST, LIDAR_FARTHEST).astype(np.float32)
    return heard
