"""Fitting: what a few hundred answers teach, the bootstrap, the regularisation, resuming."""

import dataclasses

import gymnasium
import numpy as np
import pytest
import torch

from agents.preferences import fit as fitting
from agents.preferences.bootstrap import bootstrap_weights
from agents.preferences.comparison import Answer, Comparison, Query
from agents.preferences.data import ComparisonSet
from agents.preferences.fit import fit
from agents.preferences.reward import RewardConfig, RewardEnsemble, answer_loss
from envs.episode import Clip, Episode

STATES = gymnasium.spaces.Box(-np.inf, np.inf, (6,), np.float32)
FORCES = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
WEIGHTS = np.array([1.0, -0.7, 0.5, 0.0, 0.3, -1.2, 0.4, -0.3])


def make_clips(count: int, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(observations, actions, true returns) of clips under a linear reward."""
    rng = np.random.default_rng(seed)
    offsets = rng.normal(size=(count, 1, 6))
    observations = (offsets + 0.5 * rng.normal(size=(count, steps + 1, 6))).astype(np.float32)
    actions = rng.uniform(-1, 1, (count, steps, 2)).astype(np.float32)
    returns = (np.concatenate([observations[:, :-1], actions], axis=-1) @ WEIGHTS).sum(1)
    return observations, actions, returns


def make_comparisons(count: int, steps: int = 20, seed: int = 0, flipped: float = 0.0) -> ComparisonSet:
    observations, actions, returns = make_clips(2 * count, steps, seed)
    rng = np.random.default_rng([seed, 1])
    data = ComparisonSet()
    for i in range(count):
        left, right = 2 * i, 2 * i + 1
        answers: tuple[Answer, Answer] = ("left", "right")
        better = bool(returns[left] > returns[right]) != bool(rng.random() < flipped)
        query = Query(i, Clip(f"clip {left}", 0, steps), Clip(f"clip {right}", 0, steps))
        clips = [
            Episode({"observation": observations[j]}, actions[j], np.zeros(steps), np.arange(steps + 1.0))
            for j in (left, right)
        ]
        data.add(Comparison(query, answers[0] if better else answers[1]), *clips)
    return data


def rank_correlation(ensemble: RewardEnsemble, seed: int = 99) -> float:
    observations, actions, returns = make_clips(300, 20, seed)
    predicted = ensemble.clip_returns(observations[:, :-1], actions).mean(0)
    ranks = [values.argsort().argsort() for values in (predicted, returns)]
    return float(np.corrcoef(*ranks)[0, 1])


def test_200_comparisons_recover_the_order_of_the_reward() -> None:
    for seed in (0, 1):
        ensemble = RewardEnsemble(STATES, FORCES, seed=seed)
        report = fit(
            ensemble, make_comparisons(200, seed=seed), np.random.default_rng(seed), max_minibatches=200
        )
        assert rank_correlation(ensemble) > 0.9
        assert report.comparisons == 200
        assert min(report.validation_accuracy) > 0.75
        assert ensemble.version == 1


@pytest.mark.slow
def test_the_error_model_helps_where_a_fifth_of_the_answers_is_wrong() -> None:
    def mean_correlation(error_rate: float) -> float:
        values = []
        for seed in range(4):
            ensemble = RewardEnsemble(STATES, FORCES, RewardConfig(error_rate=error_rate), seed=seed)
            data = make_comparisons(200, seed=seed, flipped=0.2)
            fit(ensemble, data, np.random.default_rng(seed), max_epochs=40, patience=40)
            values.append(rank_correlation(ensemble))
        return float(np.mean(values))

    assert mean_correlation(0.4) > mean_correlation(0.0) + 0.02


def test_bootstrap_weights_are_poisson_and_stable() -> None:
    keys = np.random.default_rng(0).integers(0, 2**64, 20_000, np.uint64)
    weights = bootstrap_weights(seed=3, members=3, keys=keys)
    for k in range(3):
        shares = [np.mean(weights[k] == count) for count in range(4)]
        np.testing.assert_allclose(shares, [0.3679, 0.3679, 0.1839, 0.0613], atol=0.015)
    assert abs(np.corrcoef(weights[0], weights[1])[0, 1]) < 0.03
    np.testing.assert_array_equal(bootstrap_weights(3, 3, keys[:50]), weights[:, :50])  # labels stream in
    np.testing.assert_array_equal(bootstrap_weights(3, 5, keys)[:3], weights)
    assert not np.array_equal(bootstrap_weights(4, 3, keys), weights)


def test_a_pair_asked_twice_stays_on_one_side_of_the_bootstrap() -> None:
    data = ComparisonSet()
    observations, actions, _ = make_clips(2, 5, 0)
    clips = [
        Episode({"observation": o}, a, np.zeros(5), np.arange(6.0))
        for o, a in zip(observations, actions, strict=True)
    ]
    ids = [Clip("a", 0, 5), Clip("b", 0, 5)]
    data.add(Comparison(Query(0, *ids), "left"), *clips)
    data.add(Comparison(Query(1, *ids[::-1]), "right"), *clips[::-1])
    assert data.keys[0] == data.keys[1]


def test_contradictory_answers_meet_in_the_middle() -> None:
    observations, actions, _ = make_clips(40, 10, 0)
    data = ComparisonSet()
    for i in range(40):
        clips = [
            Episode({"observation": observations[j]}, actions[j], np.zeros(10), np.arange(11.0))
            for j in (i, (i + 1) % 40)
        ]
        for answer in ("left", "right"):
            query = Query(2 * i, Clip(f"{i}", 0, 10), Clip(f"{(i + 1) % 40}", 0, 10))
            data.add(Comparison(query, answer), *clips)
    ensemble = RewardEnsemble(STATES, FORCES)
    report = fit(ensemble, data, np.random.default_rng(0), max_epochs=30, patience=30)
    np.testing.assert_allclose(report.train_loss, np.log(2), atol=0.02)


def test_regularisation_adapts_both_ways_and_stays_within_its_limits() -> None:
    ensemble = RewardEnsemble(STATES, FORCES, RewardConfig(members=4))
    ensemble.l2 = np.array([1e-3, 1e-3, 1e-3, 0.0999])
    fitting._adapt_l2(ensemble, np.array([0.1, 0.1, 0.1, 0.1]), np.array([0.16, 0.13, 0.105, 0.2]))
    np.testing.assert_allclose(ensemble.l2, [1.1e-3, 1e-3, 0.9e-3, 0.1])
    fitting._adapt_l2(ensemble, np.full(4, 0.1), np.full(4, np.nan))
    np.testing.assert_allclose(ensemble.l2, [1.1e-3, 1e-3, 0.9e-3, 0.1])


def test_overfitting_raises_the_coefficient_and_easy_data_lowers_it() -> None:
    few = RewardEnsemble(STATES, FORCES)
    fit(few, make_comparisons(30, flipped=0.4), np.random.default_rng(0), max_epochs=100, patience=100)
    assert few.l2.max() > 2e-4
    easy = RewardEnsemble(STATES, FORCES)
    fit(easy, make_comparisons(400, steps=4), np.random.default_rng(0), max_epochs=4, patience=100)
    assert easy.l2.min() < 1e-4


def test_a_larger_coefficient_shrinks_the_weights() -> None:
    norms = []
    for l2 in (1e-8, 1e-1):
        ensemble = RewardEnsemble(STATES, FORCES)
        ensemble.l2[:] = l2
        fit(ensemble, make_comparisons(60), np.random.default_rng(0), max_epochs=20, patience=20)
        norms.append(float(ensemble.network.penalty().sum().detach()))
    assert norms[1] < norms[0] - 3


def test_training_stops_when_validation_does_not_improve() -> None:
    data = make_comparisons(100, flipped=0.5)  # nothing to learn
    report = fit(RewardEnsemble(STATES, FORCES), data, np.random.default_rng(0), max_epochs=100, patience=3)
    assert report.epochs < 30


def test_budgets_hold() -> None:
    data = make_comparisons(130)
    ensemble = RewardEnsemble(STATES, FORCES)
    assert fit(ensemble, data, np.random.default_rng(0), max_minibatches=4).minibatches == 4
    report = fit(ensemble, data, np.random.default_rng(0), max_epochs=2)
    assert (report.epochs, report.minibatches) == (2, 6)
    assert set(report.metrics()) >= {"reward/train_loss", "reward/validation_accuracy", "reward/l2"}


@pytest.mark.parametrize("crop", [1.0, 0.75])
def test_a_resumed_fit_ends_with_the_same_weights(crop: float) -> None:
    config = RewardConfig(crop=crop)
    straight = RewardEnsemble(STATES, FORCES, config, seed=1)
    rng = np.random.default_rng(5)
    data = make_comparisons(90)
    fit(straight, data, rng, max_epochs=3)
    saved, saved_data, saved_rng = straight.state_dict(), data.state_dict(), rng.bit_generator.state
    first = fit(straight, data, rng, max_epochs=3)

    resumed = RewardEnsemble(STATES, FORCES, config, seed=77)
    resumed.load_state_dict(saved)
    data = ComparisonSet()
    data.load_state_dict(saved_data)
    rng = np.random.default_rng()
    rng.bit_generator.state = saved_rng
    second = fit(resumed, data, rng, max_epochs=3)
    for ours, theirs in zip(resumed.network.parameters(), straight.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert dataclasses.replace(second, seconds=0.0) == dataclasses.replace(first, seconds=0.0)


def test_cropped_clips_teach_as_well() -> None:
    ensemble = RewardEnsemble(STATES, FORCES, RewardConfig(crop=0.75))
    fit(ensemble, make_comparisons(200), np.random.default_rng(0), max_minibatches=200)
    assert rank_correlation(ensemble) > 0.9


def test_one_step_and_one_comparison_are_enough_to_run() -> None:
    report = fit(
        RewardEnsemble(STATES, FORCES), make_comparisons(1, steps=1), np.random.default_rng(0), max_epochs=2
    )
    assert report.comparisons == 1


def test_nothing_to_fit_is_said() -> None:
    data = ComparisonSet()
    query = Query(0, Clip("a", 0, 5), Clip("b", 0, 5))
    observations, actions, _ = make_clips(1, 5, 0)
    clip = Episode({"observation": observations[0]}, actions[0], np.zeros(5), np.arange(6.0))
    assert not data.add(Comparison(query, "skip"), clip, clip)
    with pytest.raises(ValueError, match=r"no comparison to fit.*1 were skipped"):
        fit(RewardEnsemble(STATES, FORCES), data, np.random.default_rng(0))


def test_pixels_learn_which_clip_is_brighter() -> None:
    frames_space = gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    rng = np.random.default_rng(0)
    data = ComparisonSet()
    brightness = rng.integers(20, 230, (24, 2))
    for i, pair in enumerate(brightness):
        clips = [
            Episode(
                {"observation": np.full((4, 4, 84, 84), value, np.uint8)},
                np.zeros(3, np.int64),
                np.zeros(3),
                np.arange(4.0),
            )
            for value in pair
        ]
        query = Query(i, Clip(f"{2 * i}", 0, 3), Clip(f"{2 * i + 1}", 0, 3))
        data.add(Comparison(query, "left" if pair[0] > pair[1] else "right"), *clips)
    ensemble = RewardEnsemble(
        frames_space, gymnasium.spaces.Discrete(2), RewardConfig(members=2, batch_size=8, learning_rate=2e-3)
    )
    report = fit(ensemble, data, np.random.default_rng(0), max_epochs=8, patience=8)
    assert np.mean(report.train_accuracy) > 0.8
    state = ensemble.state_dict()
    copy = RewardEnsemble(frames_space, gymnasium.spaces.Discrete(2), ensemble.config, seed=9)
    copy.load_state_dict(state)
    frames = data.observations[:4, 0, :4]
    np.testing.assert_array_equal(
        copy.reward(frames, np.zeros(4, np.int64)), ensemble.reward(frames, np.zeros(4, np.int64))
    )


def test_error_rates_of_each_labeller_are_those_of_all_where_they_are_alike() -> None:
    difference, targets = torch.tensor([[-3.0, 0.2, 5.0]]), torch.tensor([1.0, 0.5, 0.0])
    alike = answer_loss(difference, targets, torch.full((3,), 0.1))
    torch.testing.assert_close(alike, answer_loss(difference, targets, 0.1))


def test_a_labeller_known_to_err_does_less_harm() -> None:
    """A third of the answers come from somebody who mostly answers the wrong way round."""
    correlations = {}
    for known in (None, {"liar": 0.98}):
        data = make_comparisons(300)
        liar = np.arange(300) % 3 == 0
        data.labellers.append("liar")
        data.labeller[liar] = 1
        data.targets[liar] = 1 - data.targets[liar]
        ensemble = RewardEnsemble(STATES, FORCES, RewardConfig(learning_rate=1e-3), seed=0)
        fit(ensemble, data, np.random.default_rng(0), max_epochs=30, error_rates=known)
        correlations[known is not None] = rank_correlation(ensemble)
    assert correlations[True] > correlations[False] + 0.05, correlations
