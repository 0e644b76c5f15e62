"""Our batched environments as stable-baselines3's VecEnv: true returns kept apart, rewards replaceable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from agents.normalizer import ObservationNormalizer, RewardScaler
from envs.batch import Array, BatchEnv, BatchStep

RewardFunction = Callable[[Array, Array], Array]
OnStep = Callable[[Array, Array, BatchStep], None]


class EnvironmentFault(RuntimeError):
    """An environment or a reward gave what no learner can use."""


class BatchVecEnv(VecEnv):
    """N copies of an environment with the learner's view of them: normalised observations, chosen reward.

    reward: "env", the environment's own; "true", the hidden one in infos; or a function of the raw
    observations acted on (B, ...) and the executed actions (B, ...) that gives (B,). A learner may call it
    once for many steps. on_step sees every step: raw observations acted on, actions, what came of them.
    """

    def __init__(
        self,
        env: BatchEnv,
        reward: Literal["env", "true"] | RewardFunction = "env",
        normalizer: ObservationNormalizer | None = None,
        scale_reward: bool = False,
        on_step: OnStep | None = None,
        gamma: float = 0.99,
        clip_reward: bool = False,
    ) -> None:
        super().__init__(
            env.num_envs, _learner_space(env.observation_space, normalizer), deepcopy(env.action_space)
        )
        self.env, self.reward, self.normalizer, self.on_step = env, reward, normalizer, on_step
        self.scaler = RewardScaler(env.num_envs, gamma) if scale_reward else None
        self.clip_reward = clip_reward
        self.raw: Array = np.zeros((env.num_envs, *(env.observation_space.shape or ())))
        """the environment's observations (N, ...) to act on next"""
        self.episodes: list[tuple[float, int]] = []
        """(true return, length) of episodes that ended since `take_episodes`"""
        self._floating = (
            isinstance(env.observation_space, spaces.Box) and env.observation_space.dtype.kind == "f"
        )
        self._true_returns = np.zeros(env.num_envs)
        self._lengths = np.zeros(env.num_envs, dtype=np.int64)
        self._seen: list[Array] = []
        self._seed_to_use: int | None = None
        self._actions: Array | None = None
        self._no_infos: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]

    # -- stepping -------------------------------------------------------------------------------

    def restart(self, seed: int | None) -> Array:
        """Begins new episodes everywhere; gives the learner's observations (N, ...)."""
        self.raw = np.array(self.env.reset(seed))
        self._check("observation", self.raw)
        self._true_returns[:] = 0
        self._lengths[:] = 0
        if self.scaler is not None:
            self.scaler.returns[:] = 0
        return self.view(self.raw)

    def advance(self, actions: Array) -> BatchStep:
        """One step of every copy, with all book-keeping but the learner's reward."""
        step = self.env.step(actions)
        self._check("observation", step.observations)
        self._check("reward", step.rewards)
        if self.normalizer is not None:
            self._seen.append(self.raw)
        if self.on_step is not None:
            self.on_step(self.raw, actions, step)
        self._true_returns += step.infos.get("true_reward", step.rewards)
        self._lengths += 1
        ended = step.ended
        if ended.any():
            for index in np.flatnonzero(ended):
                self.episodes.append((float(self._true_returns[index]), int(self._lengths[index])))
            self._true_returns[ended] = 0
            self._lengths[ended] = 0
        self.raw = np.array(step.observations)  # our own memory: an environment may reuse its
        return step

    def given_reward(self, step: BatchStep) -> Array:
        """(N,) float32 reward of a step where it is not a function."""
        rewards = step.infos["true_reward"] if self.reward == "true" else step.rewards
        return np.array(rewards, dtype=np.float32)

    def computed_reward(self, raw: Array, actions: Array) -> Array:
        """(B,) float32 reward function of raw observations and actions (B, ...)."""
        assert callable(self.reward)
        rewards = np.array(self.reward(raw, actions), dtype=np.float32)
        if rewards.shape != (len(raw),):
            raise EnvironmentFault(f"the reward function gave shape {rewards.shape}, expected ({len(raw)},)")
        self._check("learnt reward", rewards)
        return rewards

    def shape_reward(self, rewards: Array, ended: Array) -> Array:
        """Clipped and scaled as configured: (N,) rewards of one step, in order of time."""
        if self.clip_reward:
            rewards = np.clip(rewards, -1.0, 1.0)
        return rewards if self.scaler is None else self.scaler(rewards, ended)

    def view(self, raw: Array) -> Array:
        """What the learner sees of raw observations (..., *shape)."""
        if self.normalizer is not None:
            return self.normalizer(raw)
        return np.asarray(raw, dtype=self.observation_space.dtype)

    def update_normalizer(self) -> None:
        """Takes in the raw observations since the last call: once a rollout, so that one has one scale."""
        if self.normalizer is not None and self._seen:
            self.normalizer.update(np.stack(self._seen))
        self._seen.clear()

    def take_episodes(self) -> list[tuple[float, int]]:
        episodes, self.episodes = self.episodes, []
        return episodes

    def _check(self, what: str, values: Array) -> None:
        # A sum is finite unless an element is not (or values are absurd), and is one cheap pass.
        if values.dtype.kind == "f" and not np.isfinite(values.sum()):
            rows = values.reshape(len(values), -1)
            bad = np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist()
            raise EnvironmentFault(
                f"{what} is nan or infinite in environment copies {bad}: the simulation has diverged; "
                "resume from the last checkpoint, with smaller actions or a smaller learning rate"
            )

    # -- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Without the environments' own state, which may not exist."""
        return {
            "true_returns": np.array(self._true_returns),
            "lengths": np.array(self._lengths),
            "episodes": [list(episode) for episode in self.episodes],
            "seen": list(self._seen),
            "normalizer": None if self.normalizer is None else self.normalizer.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], raw: Array) -> None:
        """raw: what the environments' `set_state` or `reset` gave."""
        self.raw = np.array(raw)
        self._true_returns = np.array(state["true_returns"])
        self._lengths = np.array(state["lengths"])
        self.episodes = [(float(value), int(length)) for value, length in state["episodes"]]
        self._seen = list(state["seen"])
        if self.normalizer is not None:
            self.normalizer.load_state_dict(state["normalizer"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])

    # -- stable-baselines3's interface ----------------------------------------------------------

    def reset(self) -> Array:
        seed, self._seed_to_use = self._seed_to_use, None
        return self.restart(seed)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        self._seed_to_use = seed
        return [None if seed is None else seed + index for index in range(self.num_envs)]

    def step_async(self, actions: Array) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        actions, acted_on = self._actions, self.raw
        assert actions is not None
        step = self.advance(actions)
        rewards = (
            self.computed_reward(acted_on, actions) if callable(self.reward) else self.given_reward(step)
        )
        ended = step.ended
        infos = self._no_infos
        if ended.any():
            infos = [{} for _ in range(self.num_envs)]
            finished = iter(self.episodes[-int(ended.sum()) :])
            for index in np.flatnonzero(ended):
                assert step.final_observations is not None
                value, length = next(finished)
                infos[index] = {
                    "terminal_observation": self.view(step.final_observations[index]),
                    "TimeLimit.truncated": bool(step.truncated[index] and not step.terminated[index]),
                    "episode": {"r": value, "l": length},
                }
        return self.view(step.observations), self.shape_reward(rewards, ended), ended, infos

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        value = None if attr_name == "render_mode" else getattr(self.env, attr_name)
        return [value] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("the copies of a batched environment have no attributes of their own")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError("the copies of a batched environment have no methods of their own")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * len(list(self._get_indices(indices)))


def _learner_space(space: spaces.Space[Any], normalizer: ObservationNormalizer | None) -> spaces.Space[Any]:
    """float32 for every real-valued observation: stable-baselines3's buffers take the type of the space."""
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
        return space
    if normalizer is not None:
        return spaces.Box(-normalizer.limit, normalizer.limit, space.shape, np.float32)
    low, high = space.low.astype(np.float32), space.high.astype(np.float32)
    return spaces.Box(low, high, space.shape, np.float32)
