"""Habitat-Lab over our rooms with the face of `envs.pointnav.PointNav`: both show a navigator the same."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from envs.batch import Array
from envs.habitat import Observation
from envs.habitat_batch import HabitatBatch
from envs.habitat_config import SENSORS, HabitatConfig
from envs.pointnav import NavStep, PointNav, PointNavConfig, begun_anew, spaces_of
from envs.pointnav_trail import Trail
from envs.rover.worlds import SPLITS, TRIPS, Split, make_world

Simulator = Literal["plain", "habitat"]
"""our own world as it is, or Habitat-Lab over it"""


class HabitatNav:
    """N agents, each in a process of its own; ended ones begin anew at once, as in `PointNav`.

    Habitat-Lab runs task, sensors and measures: "success", "spl", "distance" and "collision" of the infos are
    its own. "goal" is made of its pointgoal sensor, "trail" and `poses` of its GPS and compass, in float32.
    Other than in `PointNav`: each trip comes once in a drawn order, and a camera's grain is of other numbers.
    Raises HabitatMissingError, HabitatProcessError. After any failure all processes are ended.
    """

    def __init__(self, config: PointNavConfig | None = None, n: int = 1, seed: int | None = None) -> None:
        self.config = config = config or PointNavConfig()
        self.num_envs = n
        self.observation_space, self.action_space = spaces_of(config)
        self.worlds = config.indices or tuple(range(len(SPLITS[config.split])))
        self._seed = seed
        self._batch = HabitatBatch(HabitatConfig(replace(config, trail=False), sensors=SENSORS), n, seed)
        self._trail = Trail(n)
        self._seen: list[Observation] = [{} for _ in range(n)]
        self.trips = np.zeros((n, 2), np.int64)
        """(N, 2) index of each agent's world and of the trip in it"""
        self.poses = np.zeros((n, 3))
        """(N, 3) m, m, rad: the trip's start, and from there what GPS and compass say"""

    def reset(self, seed: int | None = None) -> Observation:
        """Starts every agent anew."""
        seen = self._batch.reset(seed)
        self._begin_all(np.arange(self.num_envs), seen)
        return self.observe()

    def start(self, i: int, index: int, trip: int) -> None:
        """Puts agent i at the start of a trip of a world. Raises LookupError for one that there is not.

        Its camera's grain then depends on the trip and on this object's seed alone.
        """
        seed = None
        if self._seed is not None:
            seed = int(np.random.default_rng([self._seed, index, trip]).integers(2**31))
        self._begin(i, self._batch.begin(i, f"{self.config.split}-{index}-{trip}", seed))

    def step(self, actions: Sequence[int] | Array) -> NavStep:
        """One action of each agent. Raises ValueError for others than the action space's."""
        step = self._batch.step(actions)
        last = step.final_observations or step.observations
        for i in range(self.num_envs):
            self._see(i, _of(last, i))
        self._trail.add(self.poses[:, :2])
        ended = np.flatnonzero(step.terminated | step.truncated)
        observations, final = begun_anew(
            self.observe(), ended, lambda ids: self._begin_all(ids, step.observations), self.observe
        )
        measures = step.infos
        infos = {
            "success": measures["success"] > 0,
            "collision": measures["collisions.is_collision"] > 0,
            "distance": measures["distance_to_goal"],
            "spl": measures["spl"],
        }
        return NavStep(observations, step.rewards, step.terminated, step.truncated, final, infos)

    def observe(self, ids: Sequence[int] | Array | None = None) -> Observation:
        """{name: (N, ...)} of these agents, or all: what Habitat showed last. RuntimeError before reset()."""
        ids = list(range(self.num_envs)) if ids is None else [int(i) for i in ids]
        if not all(self._seen[i] for i in ids):
            raise RuntimeError("call reset() or start() before observe()")
        seen = {
            "rgb": np.stack([self._seen[i]["rgb"].transpose(2, 0, 1) for i in ids]),
            "goal": np.stack([_goal(self._seen[i]["pointgoal_with_gps_compass"]) for i in ids]),
        }
        if self.config.trail:
            seen["trail"] = np.stack([self._trail.map(i, self.poses[i]) for i in ids])
        return seen

    def get_state(self) -> dict[str, Any]:
        """Everything needed to go on but the observations. RuntimeError before reset()."""
        return {"batch": self._batch.get_state(), "trail": self._trail.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> Observation:
        """Goes back to a state, by making the episodes' moves again; gives its observations."""
        seen = self._batch.set_state(state["batch"])
        self._begin_all(np.arange(self.num_envs), seen)
        self._trail.set_state(state["trail"])
        return self.observe()

    def close(self) -> None:
        """Ends the processes. Any number of times."""
        self._batch.close()

    def _begin_all(self, ids: Array, seen: Observation) -> None:
        for i in ids.tolist():
            self._begin(i, _of(seen, i))

    def _begin(self, i: int, seen: Observation) -> None:
        """Agent i is in the episode that its process has begun."""
        place, trip = divmod(self._batch.envs[i].episode, TRIPS)
        self.trips[i] = self.worlds[place], trip
        self._trail.forget(i)
        self._see(i, seen)

    def _see(self, i: int, seen: Observation) -> None:
        index, trip = self.trips[i].tolist()
        x, y, heading = _starts(self.config.split, index)[trip]
        ahead, right = seen["gps"].astype(float)
        c, s = np.cos(heading), np.sin(heading)
        turned = heading + float(seen["compass"][0])
        self.poses[i, :2] = x + c * ahead + s * right, y + s * ahead - c * right
        self.poses[i, 2] = np.arctan2(np.sin(turned), np.cos(turned))
        self._seen[i] = seen


Nav = PointNav | HabitatNav


def make_nav(simulator: Simulator, config: PointNavConfig, n: int, seed: int | None = None) -> Nav:
    """N agents in one of the simulators. Raises HabitatMissingError where there is no Habitat."""
    if simulator == "habitat":
        return HabitatNav(config, n, seed)
    return PointNav(config, n, seed, threads=1)


@functools.lru_cache(maxsize=256)
def _starts(split: Split, index: int) -> Array:
    """(TRIPS, 3) m, m, rad: of a world without light and camera, which are Habitat's process's."""
    return make_world("indoor", split, index).starts


def _goal(told: Array) -> Array:
    """`PointNav`'s, of (2,) m and rad to the left."""
    far, bearing = told.astype(float)
    return np.array((np.cos(bearing), np.sin(bearing), far, np.exp(-far)), np.float32)


def _of(seen: Observation, i: int) -> Observation:
    return {name: x[i] for name, x in seen.items()}
