"""An evaluation plays whole episodes of the true reward and leaves no trace."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from agents.evaluate import Scores, evaluate, play, random_policy
from envs.catalog import make_vec


def still(observations: np.ndarray) -> np.ndarray:
    return np.zeros((len(observations), 1), np.float32)


def test_returns_are_sums_of_the_hidden_true_reward() -> None:
    scores = evaluate("classic:Pendulum", still, episodes=3, seed=5, n_envs=3)
    env = make_vec("classic:Pendulum", 3, 5)  # the standard variant shows the same reward
    env.reset(5)
    shown = sum(env.step(still(np.zeros((3, 3)))).rewards.astype(float) for _ in range(200))
    np.testing.assert_allclose(scores.returns, shown)
    np.testing.assert_array_equal(scores.lengths, [200, 200, 200])
    assert scores.mean == pytest.approx(np.mean(shown))


@pytest.mark.parametrize("episodes", [1, 3, 5])
def test_copies_share_the_episodes_and_a_copy_goes_on_to_its_next(episodes: int) -> None:
    scores = evaluate("classic:Pendulum", still, episodes=episodes, seed=0, n_envs=2)
    assert scores.returns.shape == scores.lengths.shape == (episodes,)
    assert len(set(scores.returns)) == episodes  # all different starts


def test_short_episodes_are_not_favoured() -> None:
    """Hopper falls at different times: each copy gives its first episodes, not the whole its shortest."""
    scores = evaluate(
        "mujoco:Hopper", random_policy("mujoco:Hopper", 0), 6, seed=3, preferences=False, n_envs=3
    )
    assert len(set(scores.lengths)) > 1
    env = make_vec("mujoco:Hopper", 3, 3)
    again = play(env, random_policy("mujoco:Hopper", 0), 6, seed=3)
    env.close()
    np.testing.assert_array_equal(scores.returns, again.returns)


def test_the_preference_variant_has_episodes_of_one_length() -> None:
    scores = evaluate("mujoco:Reacher", random_policy("mujoco:Reacher", 0), 4, seed=0)
    np.testing.assert_array_equal(scores.lengths, [50] * 4)
    assert (scores.returns < 0).all()


def test_the_same_seed_gives_the_same_scores_and_no_global_generator_moves() -> None:
    before = (random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state())  # noqa: NPY002
    first, second = (
        evaluate("classic:Pendulum", random_policy("classic:Pendulum", 1), 4, seed=7).returns
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert before[0] == random.getstate()
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[2], torch.get_rng_state())


def test_metrics_are_quartiles_and_the_mean() -> None:
    metrics = Scores(np.array([0.0, 10.0, 20.0, 30.0, 100.0]), np.ones(5)).metrics()
    assert metrics == {
        "true_return": 20.0,
        "true_return_mean": 32.0,
        "true_return_low": 10.0,
        "true_return_high": 30.0,
    }


def test_no_episode_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one episode, got 0"):
        evaluate("classic:Pendulum", still, episodes=0)
