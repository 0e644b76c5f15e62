"""Many Habitat-Lab agents, each in a process of its own, stepped together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from envs.batch import Array
from envs.habitat import HabitatEnv, Observation
from envs.habitat_config import HabitatConfig
from envs.habitat_process import HabitatProcess
from envs.pointnav import NavStep


class HabitatBatch:
    """N of `HabitatEnv` as `envs.batch.BatchEnv`, but that observations come by name, as in `envs.pointnav`.

    Ended ones begin anew at once ("same step"); copy i is seeded with seed + i. infos: what every copy's info
    has in numbers, "true_reward" (N,) float32, and "is_success" (N,) bool of episodes that ended.
    """

    def __init__(self, config: HabitatConfig | None = None, n: int = 1, seed: int | None = None) -> None:
        if n < 1:
            raise ValueError(f"a batch needs at least one copy, got n={n}")
        config = config or HabitatConfig()
        self.num_envs, self.dt = n, 0.1
        self._processes = [HabitatProcess(config.settings(), config.timeout) for _ in range(n)]
        try:
            self.envs = [HabitatEnv(config, process=process) for process in self._processes]
        except BaseException:
            self.close()
            raise
        self.observation_space, self.action_space = self.envs[0].observation_space, self.envs[0].action_space
        self._first_seed = seed

    def reset(self, seed: int | None = None) -> Observation:
        """{name: (N, ...)}; without a seed the orders go on, first with the constructor's seed."""
        seed = self._first_seed if seed is None else seed
        self._first_seed = None
        with self._whole():
            for i, env in enumerate(self.envs):
                env.seed_order(None if seed is None else seed + i)
                env.begin_reset()
            return _stacked([env.end_reset()[0] for env in self.envs])

    def begin(self, i: int, episode: int | str, seed: int | None = None) -> Observation:
        """Copy i leaves its episode for this one; gives what it sees. Raises LookupError for none."""
        with self._whole():
            return self.envs[i].reset(seed=seed, options={"episode": episode})[0]

    def step(self, actions: Sequence[int] | Array) -> NavStep:
        """One action of each agent. Raises ValueError for others than the action space's."""
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or not all(self.action_space.contains(int(a)) for a in actions):
            raise ValueError(f"expected {self.num_envs} actions of {self.action_space}, got {actions}")
        with self._whole():
            for env, action in zip(self.envs, actions, strict=True):
                env.begin_step(int(action))
            told = [env.end_step() for env in self.envs]
            seen, rewards, terminated, truncated, infos = zip(*told, strict=True)
            ended = [i for i in range(self.num_envs) if terminated[i] or truncated[i]]
            for i in ended:
                self.envs[i].begin_reset()
            after = list(seen)
            for i in ended:
                after[i] = self.envs[i].end_reset()[0]
        return NavStep(
            _stacked(after),
            np.array(rewards, np.float32),
            np.array(terminated, np.bool_),
            np.array(truncated, np.bool_),
            _stacked(list(seen)) if ended else None,
            {**_numbers(infos), "true_reward": np.array(rewards, np.float32)},
        )

    def physics(self) -> None:
        """None: frames are the observation."""

    def get_state(self) -> dict[str, Any]:
        return {f"copy{i}": env.get_state() for i, env in enumerate(self.envs)}

    def set_state(self, state: Mapping[str, Any]) -> Observation:
        if len(state) != self.num_envs:
            raise ValueError(f"the state is of {len(state)} copies, this batch has {self.num_envs}")
        self._first_seed = None
        with self._whole():
            return _stacked([env.set_state(state[f"copy{i}"]) for i, env in enumerate(self.envs)])

    def close(self) -> None:
        """Ends the processes. Any number of times."""
        for process in self._processes:
            process.close()

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What breaks off in between leaves answers that nobody heard: then all processes end."""
        try:
            yield
        except BaseException:
            self.close()
            raise


def _stacked(seen: Sequence[Observation]) -> Observation:
    return {name: np.stack([one[name] for one in seen]) for name in seen[0]}


def _numbers(infos: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """{name: (N,)} of the numbers that all have; "is_success" is False where nothing ended."""
    found = {
        name: np.array([info[name] for info in infos])
        for name, value in infos[0].items()
        if isinstance(value, float) and all(name in info for info in infos)
    }
    return {**found, "is_success": np.array([bool(info.get("is_success")) for info in infos])}
