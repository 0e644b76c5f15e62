"""How good predicted probabilities are: do they rank (AUROC), and are they true (reliability, ECE)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Equally wide bins of probability: mean probability and frequency in each, NaN in empty ones, and how
    many predictions it holds; (bins,) each."""

    probability: Array
    frequency: Array
    count: Array

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of frequency from probability; NaN without data."""
        total = self.count.sum()
        if not total:
            return float("nan")
        filled = self.count > 0
        distance = np.abs(self.frequency - self.probability)[filled]
        return float((distance * self.count[filled]).sum() / total)


def reliability(probability: Array, happened: Array, bins: int = BINS) -> Reliability:
    """Of predictions (N,) in [0, 1] and outcomes (N,) bool. Raises ValueError for other probabilities."""
    probability = np.asarray(probability, np.float64)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]: apply the sigmoid first")
    chosen = np.minimum((probability * bins).astype(np.int64), bins - 1)
    count = np.bincount(chosen, minlength=bins)

    def mean(values: Array) -> Array:
        total = np.bincount(chosen, weights=values, minlength=bins)
        return np.divide(total, count, out=np.full(bins, np.nan), where=count > 0)

    return Reliability(mean(probability), mean(np.asarray(happened, np.float64)), count)


def auroc(score: Array, happened: Array) -> float:
    """Probability that one that happened scores above one that did not, ties half; NaN without both."""
    score, happened = np.asarray(score, np.float64), np.asarray(happened, np.bool_)
    positives = int(happened.sum())
    negatives = len(happened) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = (last - (counts - 1) / 2)[inverse]  # ties share the mean of their ranks
    return float((rank[happened].sum() - positives * (positives + 1) / 2) / (positives * negatives))


@dataclass(frozen=True)
class EventScore:
    """One event. auroc, error: over all steps; auroc_by_step, error_by_step: (H,); share: of labels that are
    true; reliability: over all steps. NaN where no label, or only one kind of them, is known."""

    auroc: float
    error: float
    auroc_by_step: tuple[float, ...]
    error_by_step: tuple[float, ...]
    share: float
    reliability: Reliability


def event_score(probability: Array, happened: Array, known: Array, bins: int = BINS) -> EventScore:
    """Of one event: (N, H) predictions, outcomes, and whether these are known."""
    steps = range(probability.shape[1])

    def at(step: int) -> tuple[Array, Array]:
        return probability[known[:, step], step], happened[known[:, step], step]

    whole = reliability(probability[known], happened[known], bins)
    return EventScore(
        auroc=auroc(probability[known], happened[known]),
        error=whole.error,
        auroc_by_step=tuple(auroc(*at(step)) for step in steps),
        error_by_step=tuple(reliability(*at(step), bins).error for step in steps),
        share=float(happened[known].mean()) if known.any() else float("nan"),
        reliability=whole,
    )


def event_scores(
    probability: Array, happened: Array, known: Array, events: Sequence[str], bins: int = BINS
) -> dict[str, EventScore]:
    """Of each event: arrays (N, H, K), columns in the order of names."""
    return {
        name: event_score(probability[..., k], happened[..., k], known[..., k], bins)
        for k, name in enumerate(events)
    }
