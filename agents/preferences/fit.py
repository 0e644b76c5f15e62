"""Training of the reward ensemble on all comparisons so far."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.preferences.batches import PairBatches
from agents.preferences.bootstrap import bootstrap_weights
from agents.preferences.data import ComparisonSet
from agents.preferences.reward import RewardEnsemble, answer_loss

Array = NDArray[Any]

L2_RATIO = (1.1, 1.5)
"""where validation loss / training loss is held by the L2 coefficient (Christiano et al. 2017, 2.2.3)"""
L2_CHANGE = 0.1
"""relative change of the coefficient an epoch (not in the paper)"""
L2_LIMITS = (1e-8, 1e-1)


@dataclass(frozen=True)
class FitReport:
    """How a fit ended. Values per member are tuples of K; NaN where a member has no such labels.

    train: labels the bootstrap gave the member, weighted; validation: those it left out (about 1/e).
    Losses are mean cross-entropies without the L2 term, accuracies leave ties out; l2: coefficients.
    minibatches: optimiser steps; seconds: of wall-clock time.
    """

    comparisons: int
    epochs: int
    minibatches: int
    seconds: float
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    l2: tuple[float, ...]

    def metrics(self) -> dict[str, float]:
        """Means over members under the names of the run's metrics."""
        per_member = {
            "reward/train_loss": self.train_loss,
            "reward/validation_loss": self.validation_loss,
            "reward/train_accuracy": self.train_accuracy,
            "reward/validation_accuracy": self.validation_accuracy,
            "reward/l2": self.l2,
        }
        means = {name: _mean_of_known(values) for name, values in per_member.items()}
        counts = {"reward/comparisons": self.comparisons, "reward/epochs": self.epochs}
        return {
            **means,
            **counts,
            "reward/minibatches": self.minibatches,
            "reward/fit_seconds": self.seconds,
        }


def fit(
    ensemble: RewardEnsemble,
    data: ComparisonSet,
    generator: np.random.Generator,
    *,
    max_epochs: int = 50,
    max_minibatches: int | None = None,
    patience: int = 5,
    min_improvement: float = 1e-3,
    error_rates: Mapping[str, float] | None = None,
) -> FitReport:
    """Trains every member on its bootstrap of `data`, and adapts each member's L2 coefficient.

    Ends after max_epochs passes, max_minibatches optimiser steps, or `patience` passes in which the
    validation loss, averaged over members, did not fall by min_improvement below its best.
    generator: of the order, the crops and the dropout masks. error_rates: of labellers that are known
    to differ from the configuration's. Raises ValueError without labels.
    """
    if len(data) == 0:
        raise ValueError(
            f"there is no comparison to fit the reward to ({data.skipped} were skipped): "
            "collect answers of left, right or tie first"
        )
    started = time.perf_counter()
    draws = torch.Generator().manual_seed(int(generator.integers(2**62)))
    batches = PairBatches(ensemble, data, draws, error_rates)
    weights = bootstrap_weights(ensemble.seed, ensemble.config.members, data.keys)
    weights_tensor = torch.from_numpy(weights).to(ensemble.device)
    budget = math.inf if max_minibatches is None else max_minibatches
    epochs = minibatches = since_best = 0
    best = math.inf
    scores = _score(ensemble, batches, weights)
    while epochs < max_epochs and minibatches < budget and since_best < patience:
        order = torch.randperm(len(data), generator=draws)
        for chosen in order.split(ensemble.config.batch_size):
            if minibatches >= budget:
                break
            _train_minibatch(ensemble, batches, weights_tensor, chosen)
            minibatches += 1
        epochs += 1
        scores = _score(ensemble, batches, weights)
        _adapt_l2(ensemble, scores["train_loss"], scores["validation_loss"])
        loss = _mean_of_known(scores["validation_loss"])
        # NaN (no member has a label left out) never compares as worse: all epochs are then run.
        since_best = since_best + 1 if loss > best - min_improvement else 0
        best = min(best, loss) if math.isfinite(loss) else best
    ensemble.finish_update()
    return FitReport(
        comparisons=len(data),
        epochs=epochs,
        minibatches=minibatches,
        seconds=time.perf_counter() - started,
        l2=tuple(ensemble.l2.tolist()),
        **{name: tuple(values.tolist()) for name, values in scores.items()},
    )


def _train_minibatch(ensemble: RewardEnsemble, batches: PairBatches, weights: Tensor, chosen: Tensor) -> None:
    """One optimiser step. All members see the same pairs, each with its own bootstrap weights."""
    ensemble.network.train()
    ensemble.optimizer.zero_grad()
    for rows, inputs in batches.training(chosen):
        difference = batches.differences(ensemble.network(inputs, batches.masks), len(rows))  # (K, pairs)
        losses = answer_loss(difference, batches.targets[rows], batches.error_rate(rows))
        (losses * weights[:, rows]).sum().div(len(chosen)).backward()
    l2 = torch.as_tensor(ensemble.l2, dtype=torch.float32, device=ensemble.device)
    (l2 * ensemble.network.penalty()).sum().backward()
    ensemble.optimizer.step()
    ensemble.network.eval()


def _score(ensemble: RewardEnsemble, batches: PairBatches, weights: Array) -> dict[str, Array]:
    """Per member (K,): mean loss and accuracy over its training and its left-out labels."""
    ensemble.network.eval()
    with torch.no_grad():
        parts = [batches.differences(ensemble.network(inputs), len(rows)) for rows, inputs in batches.whole()]
        difference = torch.cat(parts, dim=1)  # (K, labels)
        losses = answer_loss(difference, batches.targets, batches.error_rate()).cpu().numpy()
    targets = batches.targets.cpu().numpy()
    right = (difference.cpu().numpy() > 0) == (targets > 0.5)
    decided = (targets != 0.5).astype(np.float32)
    left_out = (weights == 0).astype(np.float32)
    return {
        "train_loss": _weighted_mean(losses, weights),
        "validation_loss": _weighted_mean(losses, left_out),
        "train_accuracy": _weighted_mean(right, weights * decided),
        "validation_accuracy": _weighted_mean(right, left_out * decided),
    }


def _adapt_l2(ensemble: RewardEnsemble, train: Array, validation: Array) -> None:
    ratio = validation / np.maximum(train, 1e-12)
    # A member without labels on one side has a ratio of NaN, which is neither above nor below.
    change = np.where(ratio > L2_RATIO[1], 1 + L2_CHANGE, np.where(ratio < L2_RATIO[0], 1 - L2_CHANGE, 1.0))
    ensemble.l2 = np.clip(ensemble.l2 * change, *L2_LIMITS)


def _weighted_mean(values: Array, weights: Array) -> Array:
    total = weights.sum(1, dtype=np.float64)
    summed = (values * weights).sum(1, dtype=np.float64)
    return np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)


def _mean_of_known(values: Array | tuple[float, ...]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
