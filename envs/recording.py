"""Letting an agent act, and keeping what happened as Episodes."""

from __future__ import annotations

import copy
from typing import Any, Protocol, TypeAlias

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.dataset import EpisodeDataset
from envs.episode import Episode
from envs.spaces import flatten_observation

Array = NDArray[Any]
Env: TypeAlias = gymnasium.Env[Any, Any]


class Agent(Protocol):
    """Who decides."""

    def reset(self) -> None:
        """Forgets the episode before."""
        ...

    def act(self, observation: Any) -> Any:
        """An action of the environment's action space."""
        ...


class RandomAgent:
    """Uniform actions of a space, all drawn from one generator."""

    def __init__(self, action_space: gymnasium.spaces.Space[Any], rng: np.random.Generator) -> None:
        # A copy: seeding the environment's own space would change what others draw from it.
        self._space = copy.deepcopy(action_space)
        self._space.seed(int(rng.integers(2**31)))

    def reset(self) -> None:
        """Nothing to forget: the draws go on."""

    def act(self, observation: Any) -> Any:
        return self._space.sample()


class EpisodeRecorder:
    """Gathers one episode step by step; `episode()` gives it.

    dt: seconds of a step. Streams of info are kept if they are numbers of one shape in every step:
    (T+1, ...) if the reset has them too, (T, ...) otherwise.
    Raises ValueError on NaN in an observation or a reward that is not finite.
    """

    def __init__(self, observation: Any, info: dict[str, Any], dt: float, action_dtype: Any = None) -> None:
        self._dt = dt
        self._action_dtype = action_dtype
        self._observations = {name: [value] for name, value in self._checked(observation, 0).items()}
        self._actions: list[Array] = []
        self._rewards: list[float] = []
        self._reset_info = _numeric(info)
        self._infos: list[dict[str, Array]] = []
        self._ended = (False, False)

    def __len__(self) -> int:
        """Number of steps so far."""
        return len(self._actions)

    def add(
        self, action: Any, observation: Any, reward: float, ended: tuple[bool, bool], info: dict[str, Any]
    ) -> None:
        """One step; ended: (terminated, truncated). The values are copied. A refused step leaves no trace."""
        flat = self._checked(observation, len(self) + 1)
        if not np.isfinite(reward):
            raise ValueError(f"the environment gave the reward {reward} in step {len(self) + 1}")
        if flat.keys() != self._observations.keys():
            raise ValueError(
                f"the observations were {sorted(self._observations)}, now they are {sorted(flat)}"
            )
        for name, value in flat.items():
            self._observations[name].append(value)
        self._actions.append(np.array(action, self._action_dtype))
        self._rewards.append(float(reward))
        self._infos.append(_numeric(info))
        self._ended = (bool(ended[0]), bool(ended[1]))

    def episode(self) -> Episode:
        """What was gathered; truncated if it has not ended yet."""
        if not self._actions:
            raise ValueError("an episode without a step cannot be kept")
        return Episode(
            observations={name: np.stack(values) for name, values in self._observations.items()},
            actions=np.stack(self._actions),
            rewards=np.array(self._rewards, np.float32),
            times=np.arange(len(self) + 1) * self._dt,
            terminated=self._ended[0],
            truncated=self._ended[1] or not any(self._ended),
            info=self._info_streams(),
        )

    def _info_streams(self) -> dict[str, Array]:
        streams = {}
        for name, first in self._infos[0].items():
            values = [info[name] for info in [self._reset_info, *self._infos] if name in info]
            everywhere = all(name in info for info in self._infos)
            if everywhere and all(value.shape == first.shape for value in values):
                streams[name] = np.stack(values)
        return streams

    @staticmethod
    def _checked(observation: Any, step: int) -> dict[str, Array]:
        flat = {name: np.array(value) for name, value in flatten_observation(observation).items()}
        for name, value in flat.items():
            if value.dtype.kind in "fc" and np.isnan(value).any():
                raise ValueError(f"the environment gave NaN in the observation {name!r} in step {step}")
        return flat


class RecordEpisodes(gymnasium.Wrapper):
    """Appends every episode to a dataset when it ends.

    A reset or `close` in mid-episode appends what there is, as truncated; so does an error of the
    environment (NaN), before it is raised. The dataset stays open. `ids`: what was appended.
    """

    def __init__(self, env: Env, dataset: EpisodeDataset) -> None:
        super().__init__(env)
        self.dataset = dataset
        self.ids: list[str] = []
        self._recorder: EpisodeRecorder | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self._save()
        observation, info = self.env.reset(seed=seed, options=options)
        self._recorder = EpisodeRecorder(
            observation, info, step_seconds(self.env), self.env.action_space.dtype
        )
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._recorder is not None:
            try:
                self._recorder.add(action, observation, float(reward), (terminated, truncated), info)
            except ValueError:
                self._save()
                raise
            if terminated or truncated:
                self._save()
        return observation, float(reward), terminated, truncated, info

    def close(self) -> None:
        try:
            self._save()
        finally:
            self.env.close()

    def _save(self) -> None:
        # If the disk is full the recorder stays: the next reset or close tries again.
        if self._recorder is not None and len(self._recorder):
            self.ids.append(self.dataset.append(self._recorder.episode()))
        self._recorder = None


def rollout(env: Env, agent: Agent, episodes: int = 1, seed: int | None = None) -> list[Episode]:
    """Lets the agent act for whole episodes. seed: of the first reset; the next ones go on from it."""
    recorded = []
    for index in range(episodes):
        observation, info = env.reset(seed=seed if index == 0 else None)
        agent.reset()
        recorder = EpisodeRecorder(observation, info, step_seconds(env), env.action_space.dtype)
        ended = (False, False)
        while not any(ended):
            action = agent.act(observation)
            observation, reward, terminated, truncated, info = env.step(action)
            ended = (bool(terminated), bool(truncated))
            recorder.add(action, observation, float(reward), ended, info)
        recorded.append(recorder.episode())
    return recorded


def step_seconds(env: Env) -> float:
    """Simulated seconds of a step: the environment's `dt`, else 1 / metadata["render_fps"], else 1."""
    dt = env.get_wrapper_attr("dt") if env.has_wrapper_attr("dt") else None
    if isinstance(dt, int | float | np.number) and dt > 0:
        return float(dt)
    fps = env.metadata.get("render_fps")
    return 1.0 / fps if fps else 1.0


def _numeric(info: dict[str, Any]) -> dict[str, Array]:
    """The entries that are numbers or arrays of numbers, copied; names that start with "_" are internal."""
    numeric = {}
    for name, value in info.items():
        if isinstance(value, bool | int | float | np.generic | np.ndarray) and not name.startswith("_"):
            array = np.array(value)
            if array.dtype.kind in "biuf":
                numeric[name] = array
    return numeric
