"""Many rovers at once, each in a world of its own: decisions in, every sensor's streams and the truth out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils.seeding import np_random

from envs.batch import Array, usable_cores
from envs.mujoco_batch import generator_words, set_generator
from envs.rover.body import CAMERA, LIDAR, BodyConfig, rotation
from envs.rover.camera import BADGR_LENS, FAR, Camera, Lens, camera_axes
from envs.rover.compiled import load
from envs.rover.physics import DECISION, Physics
from envs.rover.prepared import Prepared, prepare
from envs.rover.sensors import BEAMS, IMU_SAMPLES, LIDAR_FARTHEST, LIDAR_NEAREST, MotionSensors, Noise, hear
from envs.rover.truth import HISTORY, told
from envs.rover.worlds import SPLITS, TRIPS, Layout, Split

UNITS: Mapping[str, str] = {
    "action": "rad/s to the left, m/s forward",
    "image": "0-255, red green blue",
    "depth": "m along the optical axis",
    "lidar": "m, anticlockwise from straight ahead, 12 where there is no echo",
    "imu_angular_velocity": "rad/s about forward, left, up; 100 Hz",
    "imu_linear_acceleration": "m/s^2 along forward, left, up; 100 Hz",
    "odometry": "m, m, rad from the start, by the wheels",
    "odometry_velocity": "m/s, rad/s by the wheels",
    "gps": "m east and north",
    "gps_age": "s since the fix",
    "gps_velocity": "m/s east and north",
    "compass": "rad anticlockwise from east",
    "goal": "m east and north",
}


@dataclass(frozen=True)
class RoverConfig:
    """Which worlds, which sensors."""

    layout: Layout = "urban"
    split: Split = "train"
    indices: tuple[int, ...] = ()
    """worlds of the split to draw from; none: all of them"""
    swap_colours: bool = False
    lens: Lens = BADGR_LENS
    depth: bool = False
    """whether the camera's depth is observed too"""
    noise: Noise = field(default_factory=Noise)
    body: BodyConfig = field(default_factory=BodyConfig)

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"the splits are {', '.join(SPLITS)}, got {self.split!r}")
        wrong = [index for index in self.indices if not 0 <= index < len(SPLITS[self.split])]
        if wrong:
            raise ValueError(f"{self.split} has worlds 0 to {len(SPLITS[self.split]) - 1}, got {wrong}")


def observation_space(config: RoverConfig) -> spaces.Dict:
    """Of one rover; the units are in `UNITS`."""
    size = (config.lens.height, config.lens.width)
    anything = {
        "imu_angular_velocity": (IMU_SAMPLES, 3), "imu_linear_acceleration": (IMU_SAMPLES, 3),
        "odometry": (3,), "odometry_velocity": (2,), "gps_velocity": (2,),
    }  # fmt: skip
    streams: dict[str, Any] = {
        "image": spaces.Box(0, 255, (*size, 3), np.uint8),
        "lidar": spaces.Box(LIDAR_NEAREST, LIDAR_FARTHEST, (BEAMS,), np.float32),
        **{name: spaces.Box(-np.inf, np.inf, shape, np.float32) for name, shape in anything.items()},
        "gps": spaces.Box(-np.inf, np.inf, (2,), np.float64),
        "gps_age": spaces.Box(0.0, np.inf, (1,), np.float32),
        "compass": spaces.Box(-4.0, 4.0, (1,), np.float32),
        "goal": spaces.Box(-np.inf, np.inf, (2,), np.float64),
    }
    if config.depth:
        streams["depth"] = spaces.Box(0.0, FAR, size, np.float32)
    return spaces.Dict(streams)


class Rovers:
    """N rovers, stepped together by `drive`. Copy i is seeded with seed + i and depends on no other copy.

    `truth`: what really happened in the last decision, see `truth.told`; not for agents' eyes.
    """

    dt = DECISION

    def __init__(
        self, config: RoverConfig, n: int, seed: int | None = None, *, threads: int | None = None
    ) -> None:
        if n < 1:
            raise ValueError(f"a batch needs at least one rover, got n={n}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1 or None for all cores, got {threads}")
        self.config, self.num_envs = config, n
        self.observation_space = observation_space(config)
        self.threads = min(threads or usable_cores(), n)
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        self._indices = config.indices or tuple(range(len(SPLITS[config.split])))
        self._generators = self._seeded(seed)
        first = prepare(config.layout, config.split, self._indices[0], config.swap_colours)
        self._physics = Physics(n, first.world.heights.shape, self.threads, config.body)
        self._prepared: list[Prepared] = [first] * n
        self._chosen = np.full((n, 2), -1)  # index of the world, trip
        self._motion_sensors = MotionSensors(config.noise, n)
        self._cameras = [Camera(config.lens, config.noise.camera) for _ in range(n)]
        self._history = np.full((n, HISTORY + 1, 2), np.nan)
        self._commands = np.zeros((n, HISTORY))
        space = self.observation_space
        self._seen = {name: np.zeros((n, *one.shape), one.dtype) for name, one in space.spaces.items()}
        self._depth = np.zeros((n, config.lens.height, config.lens.width), np.float32)
        self._scan = load()["kernel_lidar"].scan
        self.truth: dict[str, Array] = {}

    def seed(self, seed: int) -> None:
        """Begins the random numbers of every copy anew; takes effect with the next `restart`."""
        self._generators = self._seeded(seed)

    def restart(self, ids: Sequence[int] | Array | None = None, trips: Array | None = None) -> None:
        """Puts rovers (or all) at the start of a trip, drawn from their generators or given.

        trips: (len(ids), 2) index of the world in its split and number of the trip in that world.
        """
        ids = range(self.num_envs) if ids is None else ids
        for k, i in enumerate(ids):
            generator = self._generators[i]
            index = self._indices[generator.integers(len(self._indices))]
            trip = int(generator.integers(TRIPS))
            if trips is not None:
                index, trip = (int(part) for part in trips[k])
            self._enter(i, index, trip)
            x, y, heading = self.prepared(i).world.starts[trip]
            self.place(i, x, y, heading)

    def place(self, i: int, x: float, y: float, heading: float) -> None:
        """Puts a rover at rest anywhere in its world; a new episode for its sensors."""
        self._physics.place(i, x, y, heading)
        self._motion_sensors.restart(i, self._generators[i], np.array((x, y)), heading)
        self._history[i], self._commands[i] = np.nan, 0.0
        self._history[i, -1] = x, y
        self._look([i])

    def drive(self, actions: Array) -> None:
        """One decision of each rover. actions: (N, 2) rad/s to the left and m/s forward."""
        actions = np.asarray(actions, np.float64)
        if actions.shape != (self.num_envs, 2):
            raise ValueError(f"expected actions ({self.num_envs}, 2), rad/s and m/s, got {actions.shape}")
        if not np.isfinite(actions).all():
            raise ValueError(f"the actions are not finite: {actions}")
        motion = self._physics.drive(actions[:, 1], actions[:, 0])
        if not np.isfinite(motion.pose).all():
            raise FloatingPointError("a rover's simulation diverged; reset() it")
        self._history = np.roll(self._history, -1, 1)
        self._history[:, -1] = motion.pose[:, -1, :2]
        self._commands = np.roll(self._commands, -1, 1)
        self._commands[:, -1] = actions[:, 1]
        worlds = [one.world for one in self._prepared]
        self.truth = told(motion, worlds, self._seen["goal"], self._history, self._commands)
        self._motion_sensors.feel(self._generators, motion, self.truth["heading"])
        self._look(range(self.num_envs))

    def observe(self) -> dict[str, Array]:
        """{name: (N, ...)} of the newest observations, in new memory."""
        return {name: seen.copy() for name, seen in self._seen.items()}

    def prepared(self, i: int) -> Prepared:
        """The world that rover i is in."""
        return self._prepared[i]

    def trip(self, i: int) -> tuple[int, int]:
        """Index of rover i's world in its split, and number of its trip."""
        index, trip = self._chosen[i]
        return int(index), int(trip)

    @property
    def poses(self) -> Array:
        """(N, 7) true m and quaternion of the bodies' origins."""
        return self._physics.poses.copy()

    def get_state(self) -> dict[str, Any]:
        """Everything needed to go on, arrays with the copies in front."""
        return {
            **self._physics.get_state(),
            "trips": self._chosen.copy(),
            "history": self._history.copy(),
            "commands": self._commands.copy(),
            "sensors": self._motion_sensors.get_state(),
            "generators": np.stack([generator_words(one) for one in self._generators]),
            "seen": self.observe(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError for a state of another number of rovers or another layout's."""
        if len(state["trips"]) != self.num_envs:
            raise ValueError(f"the state is of {len(state['trips'])} rovers, there are {self.num_envs}")
        for i, (index, trip) in enumerate(np.asarray(state["trips"])):
            self._enter(i, int(index), int(trip))
        self._physics.set_state(state)
        self._history, self._commands = np.array(state["history"]), np.array(state["commands"])
        self._motion_sensors.set_state(state["sensors"])
        for generator, words in zip(self._generators, state["generators"], strict=True):
            set_generator(generator, words)
        for name, seen in self._seen.items():
            seen[:] = state["seen"][name]

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _seeded(self, seed: int | None) -> list[np.random.Generator]:
        return [np_random(None if seed is None else seed + i)[0] for i in range(self.num_envs)]

    def _enter(self, i: int, index: int, trip: int) -> None:
        if self._chosen[i, 0] != index:
            config = self.config
            self._prepared[i] = prepare(config.layout, config.split, index, config.swap_colours)
            self._physics.settle_on(i, self._prepared[i].world, self._prepared[i].surface)
        self._chosen[i] = index, trip
        self._seen["goal"][i] = self._prepared[i].world.goals[trip]

    def _look(self, ids: Sequence[int] | range) -> None:
        """Fills what rovers see: camera and lidar on the threads, the rest is at hand."""
        poses = self._physics.poses
        bodies = rotation(poses[:, 3:7])
        seeds = {i: int(self._generators[i].integers(2**31)) for i in ids}

        def look(i: int) -> None:
            self._look_around(i, poses[i], bodies[i], seeds[i])
            ranges = self._ranges(i, poses[i], bodies[i])
            self._seen["lidar"][i] = hear(ranges, self._generators[i], self.config.noise)

        list(map(look, ids) if self._pool is None else self._pool.map(look, ids))
        chosen = slice(None) if len(ids) == self.num_envs else list(ids)
        for name, value in self._motion_sensors.read().items():
            self._seen[name][chosen] = value[chosen]

    def _look_around(self, i: int, pose: Array, body: Array, seed: int) -> None:
        depth = self._seen["depth"][i] if self.config.depth else self._depth[i]
        eye, scene = pose[:3] + body @ CAMERA, self._prepared[i].views.scene
        self._cameras[i].take(scene, eye, camera_axes(body), self._seen["image"][i], depth, seed)

    def _ranges(self, i: int, pose: Array, body: Array) -> Array:
        views, ranges = self._prepared[i].views, np.empty(BEAMS, np.float32)
        axes = np.ascontiguousarray(body.T)
        self._scan(
            views.lidar, views.solids, pose[:3] + body @ LIDAR, axes, LIDAR_NEAREST, LIDAR_FARTHEST, ranges
        )
        return ranges
