"""MovingDot: the smallest task that is seen only as pixels. Bring the dot to the centre and keep it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from envs.batch import BatchStep
from envs.tasks import task_info

Array = NDArray[Any]

SIZE, DOT, STACK, STRIDE = 84, 4, 4, 3
"""px of the picture's side and of the dot's; pictures in a stack; px of one move."""

_HIGHEST = SIZE - DOT  # the largest coordinate of the dot's upper left corner
_CENTRE = _HIGHEST / 2
_FARTHEST = _CENTRE * np.sqrt(2.0)
_CENTRAL_HALF = SIZE * np.sqrt(0.1) / 2  # half the side of the box with a tenth of the picture's area
_MOVES = STRIDE * np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])  # stay, up, down, left, right
_EPISODE_STEPS = task_info("pixel:MovingDot").episode_steps
_JUDGED_STEPS = 100  # success is judged over the last so many steps
_NEEDED_STEPS = 80  # and needs more than this many of them in the central tenth


def _observation_space() -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(0, 255, (STACK, SIZE, SIZE), np.uint8)


class MovingDotBatch:
    """N moving dots; a `BatchEnv`.

    Observations: (N, 4, 84, 84) uint8, the newest picture last; a new episode repeats its first one.
    Actions: (N,) int; stay, up, down, left, right.
    True reward: 1 - distance/largest distance from the centre, of the newest picture that was acted
    on: a function of the observation alone, so a reward net that sees no action can learn it exactly.
    infos: "true_reward" (N,) float32; "central" (N,) bool, the dot is now within the tenth of the
    picture's area around the centre; "is_success" (N,) bool, at an episode's end: it was there in
    more than 80 of the last 100 steps.
    """

    dt = 0.1

    def __init__(self, num_envs: int, seed: int | None = None, *, preferences: bool = False) -> None:
        if num_envs < 1:
            raise ValueError(f"a batch needs at least one copy, got {num_envs}")
        self.num_envs = num_envs
        self.observation_space = _observation_space()
        self.action_space = gymnasium.spaces.Discrete(len(_MOVES))
        self._preferences = preferences
        self._generators = _generators(num_envs, seed)
        self._corners = np.full(
            (num_envs, STACK, 2), -1
        )  # of the dot in each picture: row, column; oldest first
        self._steps = np.zeros(num_envs, np.int64)
        self._central_steps = np.zeros(num_envs, np.int64)

    def reset(self, seed: int | None = None) -> Array:
        if seed is not None:
            self._generators = _generators(self.num_envs, seed)
        self._start_anew(np.ones(self.num_envs, bool))
        return _draw(self._corners)

    def step(self, actions: Array) -> BatchStep:
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or not np.all((actions >= 0) & (actions < len(_MOVES))):
            raise ValueError(
                f"MovingDot expects actions of shape ({self.num_envs},) from 0 to {len(_MOVES) - 1}, "
                f"got {actions.dtype} {actions.shape}"
            )
        true_rewards = _reward(self._corners[:, -1])
        moved = np.clip(self._corners[:, -1] + _MOVES[actions], 0, _HIGHEST)
        self._corners = np.concatenate([self._corners[:, 1:], moved[:, None]], axis=1)
        self._steps += 1
        central = np.all(np.abs(moved - _CENTRE) <= _CENTRAL_HALF, axis=1)
        self._central_steps += central & (self._steps > _EPISODE_STEPS - _JUDGED_STEPS)

        observations = _draw(self._corners)
        truncated = self._steps >= _EPISODE_STEPS
        is_success = truncated & (self._central_steps > _NEEDED_STEPS)
        final_observations = None
        if truncated.any():
            final_observations = observations
            self._start_anew(truncated)
            observations = _draw(self._corners)
        return BatchStep(
            observations=observations,
            rewards=np.zeros_like(true_rewards) if self._preferences else true_rewards,
            terminated=np.zeros(self.num_envs, bool),
            truncated=truncated,
            final_observations=final_observations,
            infos={"true_reward": true_rewards.copy(), "central": central, "is_success": is_success},
        )

    def physics(self) -> None:
        """None: the observations are the frames."""
        return

    def get_state(self) -> dict[str, Any]:
        return {
            "corners": self._corners.copy(),
            "steps": self._steps.copy(),
            "central_steps": self._central_steps.copy(),
            "generators": [generator.bit_generator.state for generator in self._generators],
        }

    def set_state(self, state: Mapping[str, Any]) -> Array:
        if np.shape(state["corners"]) != self._corners.shape:
            raise ValueError(f"the state is of {len(state['corners'])} dots, this batch has {self.num_envs}")
        self._corners = np.array(state["corners"], np.int64)
        self._steps = np.array(state["steps"], np.int64)
        self._central_steps = np.array(state["central_steps"], np.int64)
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = saved
        return _draw(self._corners)

    def close(self) -> None:
        """Nothing to release."""

    def _start_anew(self, which: Array) -> None:
        for index in np.flatnonzero(which):
            self._corners[index] = _start(self._generators[index])
        self._steps[which] = 0
        self._central_steps[which] = 0


class MovingDotEnv(gymnasium.Env):
    """One moving dot, as in `MovingDotBatch`.

    preferences: the returned reward is 0; the true one is in info["true_reward"] in both variants.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - gymnasium's own form

    def __init__(self, preferences: bool = False, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f'render_mode of MovingDot is None or "rgb_array", got {render_mode!r}')
        self.render_mode = render_mode
        self.observation_space = _observation_space()
        self.action_space = gymnasium.spaces.Discrete(len(_MOVES))
        self._preferences = preferences
        self._corners: list[Array] = []
        self._central: list[bool] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._corners = [_start(self.np_random)] * STACK
        self._central = []
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        true_reward = float(_reward(self._corners[-1]))
        moved = np.clip(self._corners[-1] + _MOVES[action], 0, _HIGHEST)
        self._corners = [*self._corners[1:], moved]
        self._central.append(bool(np.all(np.abs(moved - _CENTRE) <= _CENTRAL_HALF)))
        truncated = len(self._central) >= _EPISODE_STEPS
        info = {"true_reward": true_reward, "central": self._central[-1], "is_success": False}
        if truncated:
            info["is_success"] = sum(self._central[-_JUDGED_STEPS:]) > _NEEDED_STEPS
        return self._observe(), 0.0 if self._preferences else true_reward, False, truncated, info

    def render(self) -> Array | None:
        if self.render_mode is None:
            return None
        from envs.rendering import frames_from_observations

        return frames_from_observations(self._observe()[None])[0]

    def _observe(self) -> Array:
        return _draw(np.stack(self._corners))


def _start(generator: np.random.Generator) -> Array:
    return generator.integers(0, _HIGHEST, size=2, endpoint=True)


def _reward(corners: Array) -> Array:
    """(...,) float32 of the dot's corners (..., 2)."""
    distance = np.linalg.norm(corners - _CENTRE, axis=-1)
    return (1.0 - distance / _FARTHEST).astype(np.float32)


def _draw(corners: Array) -> Array:
    """Pictures (..., 84, 84) uint8, new memory, of the dot's corners (..., 2)."""
    flat = corners.reshape(-1, 2)
    pictures = np.zeros((len(flat), SIZE, SIZE), np.uint8)
    extent = np.arange(DOT)
    rows = flat[:, 0, None, None] + extent[:, None]
    columns = flat[:, 1, None, None] + extent
    pictures[np.arange(len(flat))[:, None, None], rows, columns] = 255
    return pictures.reshape(*corners.shape[:-1], SIZE, SIZE)


def _generators(count: int, seed: int | None) -> list[np.random.Generator]:
    return [seeding.np_random(None if seed is None else seed + index)[0] for index in range(count)]
