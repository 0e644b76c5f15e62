"""What the rover's sensors say about its motion, with the faults of real ones; each fault can be left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.batch import Array
from envs.rover.body import TRACK, TURN_FACTOR, WHEEL_RADIUS
from envs.rover.physics import CHUNK, DECISION, Motion

BEAMS = 360
LIDAR_NEAREST, LIDAR_FARTHEST = 0.1, 12.0
"""m; LIDAR_FARTHEST is also what a beam without an echo says"""
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
    """IMU, wheel odometry, GPS and compass of one rover."""

    def __init__(self, noise: Noise) -> None:
        self.noise = noise
        self._gyro_bias, self._accelerometer_bias = np.zeros(3), np.zeros(3)
        self._scale = 1.0
        self._odometry = np.zeros(3)  # x, y m and heading rad in the frame of the start
        self._speed = np.zeros(2)  # m/s, rad/s by the wheels
        self._gps_bias, self._fix, self._fix_age = np.zeros(2), np.zeros(2), 0.0
        self._ground_speed = np.zeros(2)  # m/s east, north
        self._compass = 0.0
        self._gyro = np.zeros((IMU_SAMPLES, 3))
        self._acceleration = np.zeros((IMU_SAMPLES, 3))

    def restart(self, generator: np.random.Generator, place: Array, heading: float) -> None:
        """A new episode at rest; place: (2,) m."""
        n = self.noise
        draws = generator.standard_normal(9)
        self._gyro_bias, self._accelerometer_bias = n.gyro_bias * draws[:3], n.accelerometer_bias * draws[3:6]
        self._scale = 1.0 + n.odometry_scale * draws[6]
        self._gps_bias = n.gps_bias * draws[7:9]
        self._odometry, self._speed, self._ground_speed = np.zeros(3), np.zeros(2), np.zeros(2)
        self._gyro = np.zeros((IMU_SAMPLES, 3))
        self._acceleration = np.tile((0.0, 0.0, 9.81), (IMU_SAMPLES, 1))
        self._fix_age = 1.0
        self._outer(generator, place, heading)

    def feel(self, generator: np.random.Generator, motion: Motion, i: int, heading: float) -> None:
        """Takes in a decision of rover i."""
        n = self.noise
        draws = generator.standard_normal((2, IMU_SAMPLES, 3))
        self._gyro = motion.gyro[i] + self._gyro_bias + n.gyro * draws[0]
        self._acceleration = motion.acceleration[i] + self._accelerometer_bias + n.accelerometer * draws[1]
        left = motion.wheels[i][:, 0::2].mean(1) * WHEEL_RADIUS * self._scale
        right = motion.wheels[i][:, 1::2].mean(1) * WHEEL_RADIUS * self._scale
        forward, turn = (left + right) / 2, (right - left) / (TRACK * TURN_FACTOR)
        headings = self._odometry[2] + np.cumsum(turn) * CHUNK
        self._odometry = np.array(
            (
                self._odometry[0] + (forward * np.cos(headings)).sum() * CHUNK,
                self._odometry[1] + (forward * np.sin(headings)).sum() * CHUNK,
                headings[-1],
            )
        )
        self._speed = np.array((forward.mean(), turn.mean()))
        self._ground_speed = motion.velocity[i].mean(0) + n.gps_velocity * generator.standard_normal(2)
        self._outer(generator, motion.pose[i, -1, :2], heading)

    def read(self) -> dict[str, Array]:
        """The newest of every stream, in new memory."""
        return {
            "imu_angular_velocity": self._gyro.astype(np.float32),
            "imu_linear_acceleration": self._acceleration.astype(np.float32),
            "odometry": self._odometry.astype(np.float32),
            "odometry_velocity": self._speed.astype(np.float32),
            "gps": self._fix.copy(),
            "gps_age": np.array([self._fix_age], np.float32),
            "gps_velocity": self._ground_speed.astype(np.float32),
            "compass": np.array([self._compass], np.float32),
        }

    def _outer(self, generator: np.random.Generator, place: Array, heading: float) -> None:
        """GPS each second, compass each time."""
        n = self.noise
        draws = generator.standard_normal(5)
        keep = np.exp(-DECISION / n.gps_bias_seconds)
        self._gps_bias = keep * self._gps_bias + n.gps_bias * np.sqrt(1 - keep * keep) * draws[:2]
        self._fix_age += DECISION
        if self._fix_age >= 1.0 - 1e-9:
            self._fix = place + self._gps_bias + n.gps * draws[2:4]
            self._fix_age = 0.0
        self._compass = float(
            np.arctan2(np.sin(heading + n.compass * draws[4]), np.cos(heading + n.compass * draws[4]))
        )

    def get_state(self) -> dict[str, Array]:
        return {name: np.array(value) for name, value in sorted(vars(self).items()) if name.startswith("_")}

    def set_state(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            kept = np.array(value, np.float64)
            setattr(self, name, kept if kept.ndim else float(kept))


def hear(ranges: Array, generator: np.random.Generator, noise: Noise) -> Array:
    """(BEAMS,) float32 m that the lidar says of true ranges, inf where there is no echo."""
    said = ranges + noise.lidar * generator.standard_normal(BEAMS)
    lost = generator.random(BEAMS) < noise.lidar_lost
    said = np.where(lost | ~np.isfinite(ranges), LIDAR_FARTHEST, said)
    heard: Array = np.clip(said, LIDAR_NEAREST, LIDAR_FARTHEST).astype(np.float32)
    return heard
