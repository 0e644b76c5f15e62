"""AUROC, calibration error and reliability against counting by hand."""

import numpy as np
import pytest

from agents.badgr.calibration import auroc, event_score, event_scores, reliability


def auroc_by_pairs(score: np.ndarray, happened: np.ndarray) -> float:
    wins = 0.0
    for positive in score[happened]:
        for negative in score[~happened]:
            wins += 1.0 if positive > negative else 0.5 if positive == negative else 0.0
    return wins / (happened.sum() * (~happened).sum())


@pytest.mark.parametrize("levels", [3, 10, 1000])
def test_auroc_is_the_share_of_pairs_in_the_right_order(levels: int) -> None:
    rng = np.random.default_rng(levels)
    score = rng.integers(levels, size=150) / levels
    happened = rng.random(150) < score
    assert auroc(score, happened) == pytest.approx(auroc_by_pairs(score, happened), abs=1e-12)


def test_auroc_of_a_perfect_an_inverted_and_a_constant_score() -> None:
    happened = np.array([False, False, True, True])
    assert auroc(np.array([0.1, 0.2, 0.3, 0.4]), happened) == 1.0
    assert auroc(np.array([0.4, 0.3, 0.2, 0.1]), happened) == 0.0
    assert auroc(np.full(4, 0.5), happened) == 0.5


def test_without_both_outcomes_there_is_no_auroc() -> None:
    assert np.isnan(auroc(np.array([0.1, 0.2]), np.array([True, True])))
    assert np.isnan(auroc(np.array([]), np.array([], bool)))


def test_reliability_counts_each_bin() -> None:
    rng = np.random.default_rng(0)
    probability = np.concatenate([rng.random(500), [0.0, 0.2, 0.4, 1.0]])
    happened = rng.random(504) < probability**2
    table = reliability(probability, happened, bins=5)
    expected = 0.0
    for index in range(5):
        low, high = index / 5, (index + 1) / 5
        inside = (probability >= low) & ((probability < high) | (index == 4))
        assert table.count[index] == inside.sum()
        assert table.probability[index] == pytest.approx(probability[inside].mean())
        assert table.frequency[index] == pytest.approx(happened[inside].mean())
        expected += inside.sum() / 504 * abs(happened[inside].mean() - probability[inside].mean())
    assert table.error == pytest.approx(expected)


def test_true_probabilities_have_no_error_and_boastful_ones_have() -> None:
    rng = np.random.default_rng(1)
    probability = rng.random(100_000)
    happened = rng.random(100_000) < probability
    assert reliability(probability, happened).error < 0.01
    boastful = np.where(probability > 0.5, 0.99, 0.01)
    assert reliability(boastful, happened).error == pytest.approx(0.24, abs=0.01)


def test_empty_bins_are_nan_and_do_not_count() -> None:
    table = reliability(np.array([0.95, 0.97]), np.array([True, False]), bins=10)
    assert np.isnan(table.frequency[:9]).all()
    assert table.error == pytest.approx(0.46)
    assert np.isnan(reliability(np.array([]), np.array([], bool)).error)


@pytest.mark.parametrize("wrong", [1.2, -0.1, np.nan])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="apply the sigmoid first"):
        reliability(np.array([0.5, wrong]), np.array([True, False]))


def test_scores_of_events_and_steps_look_only_at_what_is_known() -> None:
    rng = np.random.default_rng(2)
    probability = rng.random((200, 3, 2))
    happened, known = rng.random((200, 3, 2)) < probability, rng.random((200, 3, 2)) < 0.7
    known[:, 2, 1] = False
    scores = event_scores(probability, happened, known, ("collision", "bumpy"))
    assert list(scores) == ["collision", "bumpy"]
    for k, name in enumerate(scores):
        for step in range(3):
            chosen = known[:, step, k]
            if not chosen.any():
                assert np.isnan(scores[name].auroc_by_step[step])
                assert np.isnan(scores[name].error_by_step[step])
                continue
            expected = auroc_by_pairs(probability[chosen, step, k], happened[chosen, step, k])
            assert scores[name].auroc_by_step[step] == pytest.approx(expected)
        chosen = known[..., k]
        whole = auroc_by_pairs(probability[..., k][chosen], happened[..., k][chosen])
        assert scores[name].auroc == pytest.approx(whole)
        assert scores[name].share == pytest.approx(happened[..., k][chosen].mean())
        assert scores[name].reliability.count.sum() == chosen.sum()


def test_what_is_unknown_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    probability, known = rng.random((50, 4)), rng.random((50, 4)) < 0.5
    happened = rng.random((50, 4)) < 0.5
    other = np.where(known, probability, 1 - probability)
    assert str(event_score(probability, happened, known)) == str(event_score(other, happened ^ ~known, known))
