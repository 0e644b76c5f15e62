"""Driving on by camera alone: the rover as an environment for learners and for comparing clips.

Observations are pictures (96, 128, 3) uint8, actions (steering, speed) in [-1, 1]: 1 rad/s to the left, and
0.75 to 1.25 m/s. A step is 0.25 s. The true reward counts metres, those on bumpy ground a quarter, and takes
three off for each collision or standstill. There is no goal: trips to goals are `robot.make_rover_env`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.batch import Array, BatchStep
from envs.rover.robot import TIPPED
from envs.rover.rovers import RoverConfig, Rovers
from envs.rover.worlds import TRIPS, Layout
from envs.tasks import task_info

LAYOUT_OF: Mapping[str, Layout] = {"Urban": "urban", "OffRoad": "offroad", "Indoor": "indoor"}
BUMPY_SHARE, PENALTY = 0.25, 3.0
_INFOS = ("position", "heading", "speed", "terrain", "collision", "bumpy", "stuck", "outside")


class RoverBatch:
    """BatchEnv of rovers that drive on.

    preferences: episodes of constant length; a rover that collides, gets stuck or leaves the fence is put
    at a new start in its world instead of ending its episode. infos: "true_reward" and `truth.told`'s.
    """

    def __init__(
        self,
        task: str,
        n: int,
        seed: int | None = None,
        *,
        preferences: bool = False,
        threads: int | None = None,
        config: RoverConfig | None = None,
    ) -> None:
        self.name, self.preferences = task, preferences
        self._rovers = Rovers(config or RoverConfig(LAYOUT_OF[task]), n, seed, threads=threads)
        self.num_envs, self.dt = n, self._rovers.dt
        self.episode_steps = task_info(f"rover:{task}").episode_steps
        self.observation_space = self._rovers.observation_space["image"]
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._elapsed = np.zeros(n, np.int64)
        self.reset()

    def reset(self, seed: int | None = None) -> Array:
        if seed is not None:
            self._rovers.seed(seed)
        self._rovers.restart()
        self._elapsed[:] = 0
        return self._images()

    def step(self, actions: Array) -> BatchStep:
        """As BatchEnv; actions: (N, 2), clipped to [-1, 1]."""
        actions = np.asarray(actions, np.float64)
        if actions.shape != (self.num_envs, 2):
            raise ValueError(f"{self.name} expects actions ({self.num_envs}, 2), got {actions.shape}")
        steering, speed = np.clip(actions, -1.0, 1.0).T
        self._rovers.drive(np.stack([steering, 1.0 + 0.25 * speed], axis=1))
        self._elapsed += 1
        truth = self._rovers.truth
        failed = truth["collision"] | truth["stuck"] | truth["outside"] | (truth["tilt"] > TIPPED)
        metres = truth["distance"] * np.where(truth["bumpy"], BUMPY_SHARE, 1.0)
        reward = (metres - PENALTY * failed).astype(np.float32)
        truncated = self._elapsed >= self.episode_steps
        terminated = np.zeros(self.num_envs, bool) if self.preferences else failed & ~truncated
        infos = {name: truth[name].copy() for name in _INFOS}
        infos["true_reward"] = reward
        observations, final = self._images(), None
        ended = terminated | truncated
        again = np.flatnonzero(failed & ~ended)
        if ended.any() or len(again):
            final = observations if ended.any() else None
            self._rovers.restart(np.flatnonzero(ended))
            trips = np.array([self._rovers.trip(int(i)) for i in again]).reshape(-1, 2)
            self._rovers.restart(again, self._elsewhere(trips))
            self._elapsed[ended] = 0
            observations = self._images()
        returned = np.zeros(self.num_envs, np.float32) if self.preferences else reward.copy()
        return BatchStep(observations, returned, terminated, truncated, final, infos)

    def physics(self) -> None:
        """None: the observations are the frames."""

    def get_state(self) -> dict[str, Any]:
        return {"task": self.name, "elapsed": self._elapsed.copy(), "rovers": self._rovers.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> Array:
        if state["task"] != self.name:
            raise ValueError(f"the state is one of rover:{state['task']}, this batch runs rover:{self.name}")
        self._rovers.set_state(state["rovers"])
        self._elapsed = np.array(state["elapsed"], np.int64)
        return self._images()

    def close(self) -> None:
        self._rovers.close()

    def _images(self) -> Array:
        images: Array = self._rovers.observe()["image"]
        return images

    @staticmethod
    def _elsewhere(trips: Array) -> Array:
        """The next trip of the same world."""
        return np.stack([trips[:, 0], (trips[:, 1] + 1) % TRIPS], axis=1)


class RoverEnv(gymnasium.Env[Array, Array]):
    """One rover of `RoverBatch`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 - gymnasium's own form

    def __init__(self, task: str, preferences: bool = False, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f'render_mode of a rover is None or "rgb_array", got {render_mode!r}')
        self.render_mode = render_mode
        self._batch = RoverBatch(task, 1, preferences=preferences, threads=1)
        self.observation_space, self.action_space = self._batch.observation_space, self._batch.action_space
        self.dt = self._batch.dt
        self._waiting: Array | None = None  # the first picture of an episode that the batch began already
        self._shown: Array | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        begun = self._waiting is not None and seed is None
        image = self._waiting if begun else self._batch.reset(seed)[0]
        assert image is not None
        self._waiting, self._shown = None, image
        return image, {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        step = self._batch.step(np.asarray(action)[None])
        image = step.observations[0]
        if step.final_observations is not None:
            self._waiting, image = image, step.final_observations[0]
        self._shown = image
        info = {name: value[0] for name, value in step.infos.items()}
        info["true_reward"] = float(info["true_reward"])
        return image, float(step.rewards[0]), bool(step.terminated[0]), bool(step.truncated[0]), info

    def render(self) -> Array | None:
        return None if self.render_mode is None or self._shown is None else self._shown.copy()

    def get_state(self) -> dict[str, Any]:
        return self._batch.get_state()

    def set_state(self, state: Mapping[str, Any]) -> Array:
        self._waiting = None
        image: Array = self._batch.set_state(state)[0]
        return image

    def close(self) -> None:
        self._batch.close()
