"""PointNav in Habitat-Lab as a gymnasium environment, over our rooms or over habitat-sim's scenes.

Habitat runs in a process and a Python environment of its own (`make habitat`); see `envs.habitat_process`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.batch import Array
from envs.habitat_config import HabitatConfig
from envs.habitat_episodes import EpisodeOrder
from envs.habitat_process import EpisodeFileError, HabitatProcess
from envs.habitat_protocol import Message
from envs.mujoco_batch import generator_words, set_generator
from envs.pointnav import FORWARD

Observation = dict[str, Array]


class HabitatEnv(gymnasium.Env[Observation, int]):
    """One agent. Observations are Habitat-Lab's: "rgb" (H, W, 3) uint8, "depth" (H, W, 1) float32 of 10 m,
    "pointgoal_with_gps_compass" (2,) float32: m, and rad to the left. Actions: 0 stop, 1 forward, 2 left,
    3 right.

    reset(options={"episode": k or "its id"}) begins with an episode of choice; else each comes once in a
    drawn order, then all again in another. info: Habitat's measures as floats, "episode_id", "scene_id", and
    "is_success" at the end. terminated: STOP was called; truncated: the steps are used up.
    process: one that was started before with the same configuration.
    Raises HabitatMissingError, EpisodeFileError, and HabitatProcessError whenever the process dies.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - gymnasium's own form

    def __init__(
        self,
        config: HabitatConfig | None = None,
        render_mode: str | None = None,
        *,
        process: HabitatProcess | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f'render_mode of Habitat is None or "rgb_array", got {render_mode!r}')
        self.render_mode = render_mode
        self.config = config = config or HabitatConfig()
        self.process = process or HabitatProcess(config.settings(), config.timeout)
        message, arrays = self.process.ready()
        self.versions: dict[str, str] = message["versions"]
        self.observation_space = spaces.Dict({name: _box(one) for name, one in message["spaces"].items()})
        self.action_space = spaces.Discrete(4) if config.nav.stop else spaces.Discrete(3, start=FORWARD)
        self.num_episodes = len(arrays["scenes"])
        self.unsolvable: set[int] = set()
        """episodes that were met without a way from start to goal: they are left out"""
        self._order = EpisodeOrder(arrays["scenes"], grouped=bool(config.scenes))
        self._wanted: int | str | None = None
        self._episode = -1
        self._seed = 0
        self._actions: list[int] = []
        self._over, self._left = True, 0.0
        self._shown: Observation | None = None

    @property
    def episode(self) -> int:
        """Number in the data set of the one that goes on; -1 before the first."""
        return self._episode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Raises LookupError for an episode that there is not, EpisodeFileError for one without a way."""
        self.seed_order(seed)
        self.begin_reset((options or {}).get("episode"))
        return self.end_reset()

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Raises ValueError for an action of another space, RuntimeError after an episode's end."""
        self.begin_step(action)
        return self.end_step()

    def expert(self) -> int:
        """The shortest-path follower's action."""
        return int(self.process.ask("expert")[0]["action"])

    def render(self) -> Array | None:
        if self.render_mode is None or self._shown is None:
            return None
        return self._shown["rgb"].copy()

    def close(self) -> None:
        """Ends Habitat's process, and with it the simulator and its OpenGL context."""
        self.process.close()

    def get_state(self) -> dict[str, Any]:
        """The order of the episodes, and what happened in this one. RuntimeError before reset()."""
        if self._episode == -1:
            raise RuntimeError("call reset() before get_state()")
        return {
            "generator": generator_words(self.np_random),
            "order": self._order.get_state(),
            **{"episode": self._episode, "seed": self._seed, "over": self._over},
            "actions": np.array(self._actions, np.int64),
        }

    def set_state(self, state: Mapping[str, Any]) -> Observation:
        """Goes back to a state, by making the episode's moves again; gives its observation."""
        set_generator(self.np_random, state["generator"])
        self._order.set_state(state["order"])
        episode = state["episode"]
        self._wanted, self._seed = None, int(state["seed"])
        moves = [int(action) for action in state["actions"]]
        message, seen = self.process.ask("reset", episode=episode, seed=self._seed, replay=moves)
        self._begin(message, seen, moves)
        self._over = bool(state["over"])
        return seen

    def seed_order(self, seed: int | None) -> None:
        """A seed begins a new order of the episodes; without one it goes on."""
        super().reset(seed=seed)
        if seed is not None:
            self._order.forget()

    def begin_reset(self, episode: int | str | None = None) -> None:
        """The first half of `reset`: several environments can work on it at the same time."""
        self._wanted = episode
        chosen = self._order.draw(self.np_random) if episode is None else episode
        self._seed = int(self.np_random.integers(2**31))
        self.process.tell({"kind": "reset", "episode": chosen, "seed": self._seed, "replay": []})

    def end_reset(self) -> tuple[Observation, dict[str, Any]]:
        message, seen = self.process.hear()
        while not _solvable(message["info"]["distance_to_goal"]):
            name, episode = message["info"]["episode_id"], int(message["episode"])
            self.unsolvable.add(episode)
            if self._wanted is not None:
                raise EpisodeFileError(
                    f"episode {name} has no way to its goal, or begins there: choose another"
                )
            if len(self.unsolvable) == self.num_episodes:
                raise EpisodeFileError(f"none of the {self.num_episodes} episodes has a way to its goal")
            self.begin_reset()
            message, seen = self.process.hear()
        self._begin(message, seen, [])
        return seen, message["info"]

    def begin_step(self, action: int) -> None:
        """The first half of `step`."""
        if self._over:
            raise RuntimeError("call reset() before step(), and again after an episode has ended")
        if not self.action_space.contains(action):
            raise ValueError(f"expected an action of {self.action_space}, got {action!r}")
        self._actions.append(int(action))
        self.process.tell({"kind": "step", "action": int(action)})

    def end_step(self) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        message, seen = self.process.hear()
        info = message["info"]
        left, before = info["distance_to_goal"], self._left
        # A step onto an island of the navigation mesh has no distance: it counts nothing.
        nearer = before - left if math.isfinite(left) else 0.0
        self._left = left if math.isfinite(left) else before
        nav = self.config.nav
        reward = nearer - nav.slack + nav.success_reward * info["success"]
        terminated, truncated = message["terminated"], message["truncated"]
        self._over = terminated or truncated
        if self._over:
            info["is_success"] = bool(info["success"])
        self._shown = seen
        return seen, float(reward), terminated, truncated, info

    def _begin(self, message: Message, seen: Observation, moves: list[int]) -> None:
        self._episode, self._actions = int(message["episode"]), list(moves)
        self._left, self._over, self._shown = float(message["info"]["distance_to_goal"]), False, seen


def _solvable(distance: float) -> bool:
    return math.isfinite(distance) and distance > 0


def _box(told: Message) -> spaces.Box:
    return spaces.Box(told["low"], told["high"], tuple(told["shape"]), np.dtype(told["dtype"]).type)
