"""The simulated rover for ROS: the same body, worlds, camera and lidar, in steps short enough for streams.

`envs.rover.Rovers` gives one observation a decision of 0.25 s; a robot's base and drivers live faster.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray

from envs.rover.body import CAMERA, LIDAR, TRACK, TURN_FACTOR, WHEEL_RADIUS, rotation
from envs.rover.camera import Camera, camera_axes
from envs.rover.compiled import load
from envs.rover.physics import CHUNK, DECISION, Motion, Physics
from envs.rover.prepared import prepare
from envs.rover.rovers import RoverConfig
from envs.rover.sensors import BEAMS, LIDAR_FARTHEST, LIDAR_NEAREST, hear
from envs.rover.truth import HISTORY, told
from envs.rover.worlds import SPLITS, TRIPS

Array = NDArray[Any]

TICK = 2 * CHUNK
"""s of one step"""
BACKWARD, FORWARD, TURN = -0.5, 2.0, 1.5
"""m/s and rad/s that the base takes"""


class SimWorld:
    """One rover in one world; `step` is TICK long. The sensors' faults are those of `RoverConfig.noise`."""

    def __init__(self, config: RoverConfig, seed: int | None = None) -> None:
        self.config = config
        self._generator = np_random(seed)[0]
        indices = config.indices or tuple(range(len(SPLITS[config.split])))
        self._index = int(self._generator.choice(indices))
        self._prepared = prepare(config.layout, config.split, self._index, config.swap_colours)
        self._physics = Physics(1, self._prepared.world.heights.shape, 1, config.body, TICK)
        self._physics.settle_on(0, self._prepared.world, self._prepared.surface)
        self._camera = Camera(config.lens, config.noise.camera)
        self._scan = load()["kernel_lidar"].scan
        self.decisions = 0
        self.restart()
        # What is compiled when it is first used would be late in a world that goes on.
        self.step(0.0, 0.0), self.picture(), self.scan()
        self.restart()

    def restart(self, trip: int | None = None) -> None:
        """To the start of a trip of this world, drawn or given."""
        n, draw = self.config.noise, self._generator
        self.trip = int(draw.integers(TRIPS)) if trip is None else trip
        x, y, heading = self._prepared.world.starts[self.trip]
        self._physics.place(0, x, y, heading)
        self._gyro_bias = n.gyro_bias * draw.standard_normal(3)
        self._accelerometer_bias = n.accelerometer_bias * draw.standard_normal(3)
        self._scale = 1.0 + n.odometry_scale * draw.standard_normal()
        self._gps_bias = n.gps_bias * draw.standard_normal(2)
        self._fix_time = 0.0
        self.time = 0.0
        self.odometry, self.wheel_speed = np.zeros(3), np.zeros(2)
        self.ground_speed = np.zeros(2)
        self.truth: dict[str, Any] = {}
        self._motions: list[Motion] = []
        self._history = np.full((1, HISTORY + 1, 2), np.nan)
        self._history[0, -1] = x, y
        self._commands = np.zeros((1, HISTORY))

    @property
    def goal(self) -> Array:
        """(2,) m east and north."""
        goal: Array = self._prepared.world.goals[self.trip]
        return goal

    @property
    def name(self) -> str:
        """Layout, split, index of the world, and number of the trip."""
        return f"{self.config.layout}/{self.config.split}/{self._index} trip {self.trip}"

    def step(self, speed: float, turn_rate: float) -> tuple[Array, Array]:
        """Drives for TICK; gives the IMU's samples meanwhile, (K, 3) rad/s and (K, 3) m/s^2, 10 ms apart."""
        n, draw = self.config.noise, self._generator
        speed, turn_rate = float(np.clip(speed, BACKWARD, FORWARD)), float(np.clip(turn_rate, -TURN, TURN))
        motion = self._physics.drive(np.array([speed]), np.array([turn_rate]))
        self.time += TICK
        self._roll_wheels(motion)
        self._judge(motion, speed)
        faults = draw.standard_normal((2, *motion.gyro[0].shape))
        gyro = motion.gyro[0] + self._gyro_bias + n.gyro * faults[0]
        acceleration = motion.acceleration[0] + self._accelerometer_bias + n.accelerometer * faults[1]
        return gyro, acceleration

    def picture(self) -> Array:
        """(H, W, 3) uint8 that the camera sees now."""
        lens, pose = self.config.lens, self._physics.poses[0]
        image = np.empty((lens.height, lens.width, 3), np.uint8)
        depth = np.empty((lens.height, lens.width), np.float32)
        body, seed = self._body, int(self._generator.integers(2**31))
        scene = self._prepared.views.scene
        self._camera.take(scene, pose[:3] + body @ CAMERA, camera_axes(body), image, depth, seed)
        return image

    def scan(self) -> Array:
        """(BEAMS,) float32 m that the lidar says now; LIDAR_FARTHEST without an echo."""
        views, body, ranges = self._prepared.views, self._body, np.empty(BEAMS, np.float32)
        eye, axes = self._physics.poses[0, :3] + body @ LIDAR, np.ascontiguousarray(body.T)
        self._scan(views.lidar, views.solids, eye, axes, LIDAR_NEAREST, LIDAR_FARTHEST, ranges)
        return hear(ranges, self._generator, self.config.noise)

    def fix(self) -> Array:
        """(2,) m east and north that the GPS says now."""
        n, draw = self.config.noise, self._generator.standard_normal((2, 2))
        keep = np.exp(-(self.time - self._fix_time) / n.gps_bias_seconds)
        self._fix_time = self.time
        self._gps_bias = keep * self._gps_bias + n.gps_bias * np.sqrt(1 - keep * keep) * draw[0]
        place: Array = self._physics.poses[0, :2] + self._gps_bias + n.gps * draw[1]
        return place

    def velocity(self) -> Array:
        """(2,) m/s east and north, by Doppler."""
        said: Array = self.ground_speed + self.config.noise.gps_velocity * self._generator.standard_normal(2)
        return said

    def orientation(self) -> Array:
        """(4,) x y z w of the IMU's filter: roll and pitch are right, the heading has the compass's error."""
        w, x, y, z = self._physics.poses[0, 3:7]
        half = self.config.noise.compass * self._generator.standard_normal() / 2
        c, s = np.cos(half), np.sin(half)  # turned about up, in the world
        return np.array([c * x - s * y, c * y + s * x, c * z + s * w, c * w - s * z])

    @property
    def _body(self) -> Array:
        body: Array = rotation(self._physics.poses[:, 3:7])[0]
        return body

    def _roll_wheels(self, motion: Motion) -> None:
        left = motion.wheels[0][:, 0::2].mean(1) * WHEEL_RADIUS * self._scale
        right = motion.wheels[0][:, 1::2].mean(1) * WHEEL_RADIUS * self._scale
        for forward, turn in zip((left + right) / 2, (right - left) / (TRACK * TURN_FACTOR), strict=True):
            heading = self.odometry[2] + turn * CHUNK
            way = forward * CHUNK * np.array([np.cos(heading), np.sin(heading)])
            self.odometry = np.array([*(self.odometry[:2] + way), heading])
            self.wheel_speed = np.array([forward, turn])
        self.ground_speed = motion.velocity[0].mean(0)

    def _judge(self, motion: Motion, speed: float) -> None:
        """What really happened, once in each DECISION, as in the simulation without ROS."""
        self._motions.append(motion)
        if sum(part.gyro.shape[1] for part in self._motions) * CHUNK < DECISION - 1e-9:
            return
        whole = Motion(
            *(np.concatenate(parts, 1) for parts in zip(*map(_arrays, self._motions), strict=True))
        )
        self._motions.clear()
        self._history = np.roll(self._history, -1, 1)
        self._history[0, -1] = motion.pose[0, -1, :2]
        self._commands = np.roll(self._commands, -1, 1)
        self._commands[0, -1] = speed
        goals = self.goal[None]
        truth = told(whole, [self._prepared.world], goals, self._history, self._commands)
        self.truth = {name: value[0] for name, value in truth.items()}
        self.decisions += 1


def _arrays(motion: Motion) -> tuple[Array, ...]:
    return tuple(getattr(motion, name) for name in Motion.__dataclass_fields__)
