"""What the sensors said, as the observation that a decision is made on. No ROS, no clock.

The observation is that of the simulated rover (`envs.rover.rovers.observation_space`), so that the same
agents, recorders and labels work on both.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from envs.rover.sensors import BEAMS, IMU_SAMPLES, LIDAR_FARTHEST, LIDAR_NEAREST
from robot.config import RobotConfig
from robot.gate import Stream
from robot.local_frame import LocalFrame
from robot.messages import ImuReading, MessageError, OdometryReading, beams
from robot.route import Route

Array = NDArray[Any]

KEPT = 500
"""samples of IMU and odometry"""
LATE_FIX = 1.0
"""s that a receiver may take for a fix: one that comes so late is still news"""


@dataclass(frozen=True)
class _Sample:
    stamp: float
    values: Array


class Streams:
    """Filled by `hear_*`, read by `observation`. Times are s of the steady clock, stamps of the sensors'.

    image: (height, width) of the observation's picture; dt: s of a decision; needs_goal: whether nothing can
    be decided without one.
    """

    def __init__(
        self, config: RobotConfig, image: tuple[int, int], dt: float, *, needs_goal: bool = True
    ) -> None:
        self.config, self.image, self.dt, self.needs_goal = config, image, dt, needs_goal
        names = ("camera", "imu", "odometry", "lidar", "position", "velocity")
        self.streams = {name: Stream() for name in names}
        self.frame: LocalFrame | None = None
        """around the first fix"""
        self.route: Route | None = None
        """where to drive"""
        self.odometry_frame: str | None = None
        """name that odometry gives its frame"""
        self._picture: Callable[[], Array] = lambda: np.zeros((*image, 3), np.uint8)
        self._gyro: deque[_Sample] = deque(maxlen=KEPT)
        self._acceleration: deque[_Sample] = deque(maxlen=KEPT)
        self._wheels: deque[_Sample] = deque(maxlen=KEPT)
        self._compass = 0.0
        self._start: Array | None = None
        self._pose = np.zeros(3)
        self._lidar = np.full(BEAMS, LIDAR_FARTHEST, np.float32)
        self._fix = np.zeros(2)
        self._told_fix: float | None = None
        """of when the fix was that the observation before this one had"""
        self._ground_speed: deque[_Sample] = deque(maxlen=KEPT)

    def missing(self) -> list[str]:
        """Streams that have said nothing yet."""
        needed = ["camera", "imu", "odometry"] + ["lidar"] * self.config.safety.use_lidar
        needed += ["position"] * (not self.by_odometry)
        silent = [name for name in needed if self.streams[name].time is None]
        return silent + ["goal"] * (self.needs_goal and self.route is None)

    @property
    def by_odometry(self) -> bool:
        """Whether odometry alone tells where the robot and its goal are: no GPS is needed then."""
        return self.route is not None and self.route.frame == "odometry"

    @property
    def place(self) -> Array:
        """(2,) m in odometry's own frame."""
        here: Array = self._pose[:2]
        return here

    def beyond(self, radius: float) -> str | None:
        """Which goal on earth lies further away than `radius`, m, in words."""
        if self.route is None or self.by_odometry or self.frame is None:
            return None
        for number, goal in enumerate(self.route.places[self.route.at :], self.route.at + 1):
            away = math.dist(self.frame.metres(*goal), self._fix)
            if away > radius:
                return (
                    f"goal {number} of {len(self.route.places)} ({goal[0]:.7f}, {goal[1]:.7f}) lies "
                    f"{away:,.0f} m away, the guard's geofence is {radius:g} m: are latitude and longitude "
                    "swapped? Else raise safety.geofence_radius"
                )
        return None

    def hear_picture(self, unpack: Callable[[], Array]) -> None:
        """unpack gives (H, W, 3) uint8; it is called only for pictures that a decision is made on."""
        self._picture = unpack

    def hear_imu(self, reading: ImuReading, stamp: float, topic: str) -> None:
        if reading.orientation is None:
            raise MessageError(f"{topic}: orientation is missing, it is the compass: use a filter")
        self._gyro.append(_Sample(stamp, reading.angular_velocity))
        self._acceleration.append(_Sample(stamp, reading.linear_acceleration))
        self._compass = reading.orientation[2]

    def hear_odometry(self, reading: OdometryReading, stamp: float) -> None:
        # The heading goes on beyond a half turn, as wheels count it.
        turned = (reading.pose[2] - self._pose[2] + math.pi) % (2 * math.pi) - math.pi
        self._pose = np.array([reading.pose[0], reading.pose[1], self._pose[2] + turned])
        if self._start is None:
            self._start = self._pose
        self._wheels.append(_Sample(stamp, np.array([reading.speed, reading.turn_rate])))

    def hear_scan(self, angles: Array, ranges: Array) -> None:
        heard = beams(angles + self.config.body.lidar_turn, ranges, BEAMS, LIDAR_FARTHEST)
        self._lidar = np.clip(heard, LIDAR_NEAREST, LIDAR_FARTHEST)

    def hear_fix(self, place: tuple[float, float]) -> None:
        if self.frame is None:
            self.frame = LocalFrame(*place)
        self._fix = np.array(self.frame.metres(*place))

    def hear_velocity(self, east: float, north: float, stamp: float) -> None:
        self._ground_speed.append(_Sample(stamp, np.array([east, north])))

    def restart(self) -> None:
        """A new trip: odometry counts from here."""
        self._start = self._pose

    def stale(self, now: float) -> str | None:
        """What is too old to decide on, in words. GPS may be: the observation says how old its fix is."""
        for name in ("camera", "imu", "odometry", "lidar"):
            stream, timeout = self.streams[name], getattr(self.config.timeouts, name)
            if name == "lidar" and not self.config.safety.use_lidar:
                continue
            if stream.trouble:
                return stream.trouble
            if stream.time is not None and not now - stream.time <= timeout:
                age = now - stream.time
                return f"{name}: the newest message is {age:.2f} s old, the limit is {timeout:g} s"
        return None

    def observation(self, now: float) -> dict[str, Array]:
        """In new memory. Raises MessageError for a picture that cannot be used."""
        pose = self._pose if self._start is None else _seen_from(self._start, self._pose)
        seen = {
            "image": resized(self._picture(), self.image),
            "lidar": self._lidar.copy(),
            "imu_angular_velocity": self._resampled(self._gyro),
            "imu_linear_acceleration": self._resampled(self._acceleration),
            "odometry": pose.astype(np.float32),
            "odometry_velocity": self._mean(self._wheels).astype(np.float32),
            "gps": self._fix.copy(),
            "gps_age": np.array([self._fix_age(now)], np.float32),
            "gps_velocity": self._velocity().astype(np.float32),
            "compass": np.array([self._compass], np.float32),
            "goal": np.array(self._goal_in_metres()),
        }
        return {**seen, **self._told_by_odometry()} if self.by_odometry else seen

    def _fix_age(self, now: float) -> float:
        """s in whole decisions, as the simulated rover counts: 0 once for each fix, however late it came."""
        taken = self.streams["position"].time or 0.0
        age = max(now - taken, 0.0)
        news = taken != self._told_fix and age < LATE_FIX
        self._told_fix = taken
        return 0.0 if news else max(age // self.dt * self.dt, self.dt)

    def _goal_in_metres(self) -> tuple[float, float]:
        if self.route is None or self.frame is None:
            return 0.0, 0.0
        return self.frame.metres(*self.route.goal)

    def _told_by_odometry(self) -> dict[str, Array]:
        """Place, motion, heading and goal in odometry's frame, in place of those of GPS and compass."""
        assert self.route is not None
        heading = (self._pose[2] + math.pi) % (2 * math.pi) - math.pi
        facing = np.array([math.cos(heading), math.sin(heading)])
        return {
            "gps": self._pose[:2].copy(),
            "gps_age": np.zeros(1, np.float32),
            "gps_velocity": (self._mean(self._wheels)[0] * facing).astype(np.float32),
            "compass": np.array([heading], np.float32),
            "goal": np.array(self.route.goal, np.float64),
        }

    def _velocity(self) -> Array:
        """(2,) m/s east and north; by wheels and compass where the GPS gives none."""
        if self._ground_speed:
            return self._mean(self._ground_speed)
        facing = np.array([math.cos(self._compass), math.sin(self._compass)])
        along: Array = self._mean(self._wheels)[0] * facing
        return along

    def _resampled(self, samples: deque[_Sample]) -> Array:
        """(IMU_SAMPLES, 3) float32 of the last decision, evenly spaced whatever the IMU's rate."""
        if not samples:
            return np.zeros((IMU_SAMPLES, 3), np.float32)
        stamps = np.array([one.stamp for one in samples])
        values = np.array([one.values for one in samples])
        wanted = stamps[-1] - self.dt + (np.arange(IMU_SAMPLES) + 1) * (self.dt / IMU_SAMPLES)
        return np.stack([np.interp(wanted, stamps, column) for column in values.T], -1).astype(np.float32)

    def _mean(self, samples: deque[_Sample]) -> Array:
        """(2,) of the last decision."""
        if not samples:
            return np.zeros(2)
        newest = samples[-1].stamp
        recent = [one.values for one in samples if one.stamp > newest - self.dt]
        mean: Array = np.mean(recent, 0)
        return mean


def resized(picture: Array, size: tuple[int, int]) -> Array:
    """(height, width, 3) uint8 by averaging. Raises MessageError where the shape would be bent."""
    height, width = size
    if picture.shape[:2] == size:
        return picture.copy()
    if picture.shape[0] * width != picture.shape[1] * height:
        raise MessageError(
            f"camera: frames are {picture.shape[1]} x {picture.shape[0]}, the model sees {width} x {height}: "
            "another shape would bend the picture; crop it in the driver, or train a model for it"
        )
    return np.array(Pillow.fromarray(picture).resize((width, height), Pillow.Resampling.BOX))


def units() -> Mapping[str, str]:
    """Of the observation and the action."""
    from envs.rover.rovers import UNITS

    return {name: unit for name, unit in UNITS.items() if name != "depth"}


def _seen_from(start: Array, pose: Array) -> Array:
    """A pose (3,) in the frame of another."""
    c, s = math.cos(start[2]), math.sin(start[2])
    x, y, turned = pose - start
    return np.array([c * x + s * y, c * y - s * x, turned])
