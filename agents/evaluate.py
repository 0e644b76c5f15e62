"""How good a policy is on the true reward: many episodes at once, in environments of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from envs.batch import Array, BatchEnv
from envs.catalog import make_vec

Predict = Callable[[Array], Array]


@dataclass(frozen=True)
class Scores:
    """What each episode gave. returns, lengths: (episodes,); successes: (episodes,) bool or empty."""

    returns: Array
    lengths: Array
    successes: Array = field(default_factory=lambda: np.zeros(0, dtype=bool))

    @property
    def success_rate(self) -> float | None:
        """Share of episodes that succeeded; None where the task knows no success."""
        return float(np.mean(self.successes)) if len(self.successes) else None

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    def metrics(self) -> dict[str, float]:
        """Names and numbers for a run's log; "true_return" is the median."""
        low, middle, high = np.percentile(self.returns, [25, 50, 75])
        numbers = {"true_return": middle, "true_return_mean": self.mean, "true_return_low": low}
        return {name: float(number) for name, number in {**numbers, "true_return_high": high}.items()}


def evaluate(
    name: str,
    predict: Predict,
    episodes: int = 50,
    seed: int = 0,
    preferences: bool = True,
    n_envs: int = 10,
) -> Scores:
    """Plays whole episodes and sums the true reward. Draws from no global generator.

    predict: actions (N, ...) for raw observations (N, ...), such as `Learner.predict`.
    Every copy plays the same number of episodes: taking whichever end first would favour short ones.
    """
    if episodes < 1:
        raise ValueError(f"an evaluation needs at least one episode, got {episodes}")
    copies = min(n_envs, episodes)
    env = make_vec(name, copies, seed, preferences=preferences)
    try:
        return play(env, predict, episodes, seed)
    finally:
        env.close()


def play(env: BatchEnv, predict: Predict, episodes: int, seed: int) -> Scores:
    """`evaluate` in environments that exist; episodes in order of copy, then time."""
    quota = np.full(env.num_envs, episodes // env.num_envs)
    quota[: episodes % env.num_envs] += 1
    returns: list[list[float]] = [[] for _ in quota]
    lengths: list[list[int]] = [[] for _ in quota]
    successes: list[list[bool]] = [[] for _ in quota]
    total, steps = np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=np.int64)
    observations = env.reset(seed)
    while (quota > 0).any():
        step = env.step(predict(observations))
        total += step.infos.get("true_reward", step.rewards)
        steps += 1
        for index in np.flatnonzero(step.ended):
            if quota[index] > 0:
                quota[index] -= 1
                returns[index].append(float(total[index]))
                lengths[index].append(int(steps[index]))
                if "is_success" in step.infos:
                    successes[index].append(bool(step.infos["is_success"][index]))
            total[index], steps[index] = 0.0, 0
        observations = step.observations
    return Scores(
        np.array([value for copy in returns for value in copy]),
        np.array([value for copy in lengths for value in copy]),
        np.array([value for copy in successes for value in copy], dtype=bool),
    )


def random_policy(name: str, seed: int) -> Predict:
    """Uniformly random actions of an environment, from a generator of its own."""
    env = make_vec(name, 1, seed)
    space = env.action_space
    env.close()
    space.seed(seed)

    def predict(observations: Array) -> Array:
        return np.stack([space.sample() for _ in range(len(observations))])

    return predict
