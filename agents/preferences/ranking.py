"""How well the learnt reward orders clips that nobody was asked about."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from agents.preferences.reward import RewardEnsemble
from envs.episode import Episode


def ranking(
    ensemble: RewardEnsemble, clips: Sequence[Episode], rng: np.random.Generator, pairs: int = 200
) -> tuple[float, float]:
    """(accuracy, correlation) of predicted against true clip returns, on up to `pairs` fresh pairs.

    accuracy: share of pairs that are ordered as the hidden true reward orders them, ties left out.
    nan where there are too few clips or all are equal.
    """
    if len(clips) < 2:
        return math.nan, math.nan
    chosen = [clips[index] for index in rng.permutation(len(clips))[: 2 * pairs]]
    predicted = ensemble.predict_clips(chosen).mean(axis=0)
    true = np.array([clip.info["true_reward"].sum() for clip in chosen], dtype=np.float64)
    half = len(chosen) // 2
    gap = predicted[:half] - predicted[half : 2 * half]
    true_gap = true[:half] - true[half : 2 * half]
    decided = np.abs(true_gap) > 1e-9
    accuracy = float(np.mean((gap > 0)[decided] == (true_gap > 0)[decided])) if decided.any() else math.nan
    spread = float(predicted.std() * true.std())
    correlation = float(np.corrcoef(predicted, true)[0, 1]) if spread > 0 else math.nan
    return accuracy, correlation
