"""Which pairs are asked."""

import math

import gymnasium
import numpy as np
import pytest

from agents.preferences.queries import candidate_pairs, choose, choose_queries, information_gain
from agents.preferences.reward import RewardEnsemble
from envs.episode import Episode

# Three members, four clips: all agree on 0 against 1, disagree on 2 against 3.
RETURNS = np.array([[3.0, 0.0, 2.0, -2.0], [3.0, 0.0, -2.0, 2.0], [3.0, 0.0, 0.5, 0.0]], np.float32)
PAIRS = np.array([[0, 1], [2, 3], [0, 2]])


def probability(member: int, pair: tuple[int, int], error_rate: float) -> float:
    difference = float(RETURNS[member, pair[0]] - RETURNS[member, pair[1]])
    return (1 - error_rate) / (1 + math.exp(-difference)) + error_rate / 2


def entropy(p: float) -> float:
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def test_variance_and_information_gain_equal_the_formulas() -> None:
    for strategy in ("variance", "information_gain"):
        chosen = choose(strategy, RETURNS, PAIRS, 3, np.random.default_rng(0), error_rate=0.1)
        assert chosen[0][:2] == (2, 3)
        assert [score for *_, score in chosen] == sorted((score for *_, score in chosen), reverse=True)
        for left, right, score in chosen:
            p = [probability(member, (left, right), 0.1) for member in range(3)]
            mean = sum(p) / 3
            if strategy == "variance":
                expected = sum((value - mean) ** 2 for value in p) / 3
            else:
                expected = entropy(mean) - sum(map(entropy, p)) / 3
            assert score == pytest.approx(expected, abs=1e-9)


def test_information_gain_is_at_most_one_bit_and_leaves_hopeless_pairs() -> None:
    gains = information_gain(np.array([[0.5, 1.0, 0.9], [0.5, 0.0, 0.9]]))
    np.testing.assert_allclose(gains, [0.0, math.log(2), 0.0], atol=1e-9)


def test_random_choice_is_uniform_and_repeatable() -> None:
    pairs = np.array([[i, i + 1] for i in range(10)])
    returns = np.zeros((2, 11))
    rng = np.random.default_rng(0)
    counts = np.zeros(10)
    for _ in range(2000):
        for left, _, score in choose("random", returns, pairs, 3, rng):
            counts[left] += 1
            assert score == 0.0
    np.testing.assert_allclose(counts / 6000, 0.1, atol=0.015)
    repeated = [choose("random", returns, pairs, 5, np.random.default_rng(7)) for _ in range(2)]
    assert repeated[0] == repeated[1]


def test_candidates_are_different_pairs_of_different_clips() -> None:
    for kind in ("policy_aligned", "diverse", "mixed"):
        pairs = candidate_pairs(40, 200, np.random.default_rng(1), kind)
        assert (pairs[:, 0] != pairs[:, 1]).all()
        assert len({tuple(sorted(pair)) for pair in pairs.tolist()}) == len(pairs) >= 150
        assert 0.3 < np.mean(pairs[:, 0] < pairs[:, 1]) < 0.7  # either clip may be the left one


def test_policy_aligned_pairs_are_new_and_mixed_ones_half() -> None:
    aligned = candidate_pairs(100, 300, np.random.default_rng(0), "policy_aligned")
    assert aligned.min() == 50
    assert aligned.max() == 99
    mixed = candidate_pairs(100, 1000, np.random.default_rng(0), "mixed")
    new = np.mean((mixed >= 50).all(1))
    assert new == pytest.approx(0.5 + 0.5 * 0.25, abs=0.06)  # a quarter of the diverse ones are new too
    diverse = candidate_pairs(100, 1000, np.random.default_rng(0), "diverse")
    assert np.mean((diverse >= 50).all(1)) == pytest.approx(0.25, abs=0.05)


def test_every_pair_can_be_drawn_once() -> None:
    pairs = candidate_pairs(6, 99, np.random.default_rng(0), "diverse")
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} == {
        (i, j) for i in range(6) for j in range(i + 1, 6)
    }


def test_choosing_from_episodes_asks_the_ensemble_about_them() -> None:
    space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    ensemble = RewardEnsemble(space, gymnasium.spaces.Discrete(2))
    rng = np.random.default_rng(0)
    clips = [
        Episode(
            {"observation": rng.normal(size=(6, 3)).astype(np.float32)},
            rng.integers(0, 2, 5),
            np.zeros(5),
            np.arange(6.0),
        )
        for _ in range(12)
    ]
    chosen = choose_queries("variance", clips, ensemble, count=4, rng=np.random.default_rng(3))
    assert len(chosen) == 4
    assert all(score > 0 for *_, score in chosen)
    best = choose(
        "variance", ensemble.predict_clips(clips), candidate_pairs(12, 40, np.random.default_rng(3)), 4,
        np.random.default_rng(0),
    )  # fmt: skip
    assert {frozenset(pair[:2]) for pair in chosen} == {frozenset(pair[:2]) for pair in best}


def test_bad_requests_are_named() -> None:
    with pytest.raises(ValueError, match="needs two clips, there are 1"):
        candidate_pairs(1, 5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="random, variance, information_gain"):
        choose("best", RETURNS, PAIRS, 1, np.random.default_rng(0))
