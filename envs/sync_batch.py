"""Copies of any gymnasium environment, stepped one after the other in this process.

The fall-back where a family has no native batch, and the plain path that native ones are tested
against. Worker processes are not offered: for these environments they are slower than this
(`tests/benchmarks/bench_vec.py` has the figures).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import gymnasium
import numpy as np

from envs.batch import Array, BatchStep, StateUnavailableError
from envs.recording import step_seconds

Env: TypeAlias = gymnasium.Env[Any, Any]


class SyncBatch:
    """N environments made by `make_one`; infos are the numbers that every copy's info has.

    "true_reward" is the reward where an environment does not tell it itself.
    `get_state` needs environments with `get_state() -> dict` and `set_state(dict) -> observation`.
    Raises FloatingPointError when an environment gives NaN or a reward that is not finite.
    """

    def __init__(self, make_one: Callable[[], Env], n: int, seed: int | None = None) -> None:
        if n < 1:
            raise ValueError(f"a batch needs at least one copy, got n={n}")
        self.num_envs = n
        self._envs = [make_one() for _ in range(n)]
        self.observation_space = self._envs[0].observation_space
        self.action_space = self._envs[0].action_space
        self.dt = step_seconds(self._envs[0])
        self._first_seed = seed

    def reset(self, seed: int | None = None) -> Array:
        """As BatchEnv; without a seed the generators go on, first with the constructor's seed."""
        seed = self._first_seed if seed is None else seed
        self._first_seed = None
        return np.stack(
            [self._reset_copy(copy, None if seed is None else seed + copy) for copy in range(self.num_envs)]
        )

    def step(self, actions: Array) -> BatchStep:
        """As BatchEnv; actions: (N, ...)."""
        if len(actions) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} actions, one a copy, got {len(actions)}")
        observations, finals, rewards, terminated, truncated, infos = [], [], [], [], [], []
        for copy, (env, action) in enumerate(zip(self._envs, actions, strict=True)):
            observation, reward, over, limit, info = env.step(action)
            self._expect_finite(copy, observation, float(reward))
            finals.append(observation)
            observations.append(self._reset_copy(copy, None) if over or limit else observation)
            rewards.append(reward)
            terminated.append(over)
            truncated.append(limit)
            infos.append({"true_reward": float(reward), **info})
        ended = any(terminated) or any(truncated)
        return BatchStep(
            observations=np.stack(observations),
            rewards=np.array(rewards, np.float32),
            terminated=np.array(terminated, np.bool_),
            truncated=np.array(truncated, np.bool_),
            final_observations=np.stack(finals) if ended else None,
            infos=_stack_numbers(infos),
        )

    def physics(self) -> Array | None:
        """(N, S) where the environments have `physics()`, else None."""
        if not self._envs[0].has_wrapper_attr("physics"):
            return None
        return np.stack([env.get_wrapper_attr("physics")() for env in self._envs])

    def get_state(self) -> dict[str, Any]:
        return {f"copy{copy}": self._method(env, "get_state")() for copy, env in enumerate(self._envs)}

    def set_state(self, state: Mapping[str, Any]) -> Array:
        if len(state) != self.num_envs:
            raise ValueError(f"the state is of {len(state)} copies, this batch has {self.num_envs}")
        self._first_seed = None
        return np.stack(
            [self._method(env, "set_state")(state[f"copy{copy}"]) for copy, env in enumerate(self._envs)]
        )

    def close(self) -> None:
        for env in self._envs:
            env.close()

    def _reset_copy(self, copy: int, seed: int | None) -> Array:
        observation, _ = self._envs[copy].reset(seed=seed)
        self._expect_finite(copy, observation, 0.0)
        return np.asarray(observation)

    def _expect_finite(self, copy: int, observation: Any, reward: float) -> None:
        if not np.isfinite(reward):
            raise FloatingPointError(f"NaN from an environment: {self._name(copy)} gave the reward {reward}")
        values = np.asarray(observation)
        if values.dtype.kind == "f" and np.isnan(values).any():
            where = np.argwhere(np.isnan(values))[0].tolist()
            raise FloatingPointError(
                f"NaN from an environment: {self._name(copy)} gave NaN in its observation at {where}; "
                "check that the policy's actions are finite and within the action space"
            )

    def _name(self, copy: int) -> str:
        return f"copy {copy} of {type(self._envs[copy].unwrapped).__name__}"

    def _method(self, env: Env, name: str) -> Callable[..., Any]:
        if not env.has_wrapper_attr(name):
            raise StateUnavailableError(
                f"{type(env.unwrapped).__name__} has no {name}(): its copies begin anew after a resume"
            )
        method: Callable[..., Any] = env.get_wrapper_attr(name)
        return method


def _stack_numbers(infos: list[dict[str, Any]]) -> dict[str, Array]:
    """{name: (N, ...)} of the numbers that all infos have; rewards as float32."""
    stacked = {}
    for name, value in infos[0].items():
        if isinstance(value, bool | int | float | np.generic | np.ndarray) and all(
            name in info for info in infos
        ):
            column = np.stack([np.asarray(info[name]) for info in infos])
            stacked[name] = column.astype(np.float32) if name == "true_reward" else column
    return stacked
