"""What an event predictor is worth on drives that it was not trained on, as the robot would see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.badgr.calibration import EventScore, event_scores
from agents.badgr.losses import event_losses, position_loss
from agents.badgr.network import EventPredictor
from agents.badgr.windows import Windows

Array = NDArray[Any]

BATCH = 64


@dataclass(frozen=True)
class Measurement:
    """On windows as they come, not rebalanced. loss: that of training without weight decay and without
    positive weights; position_error: (H,) m, mean distance at each step; windows: how many."""

    loss: float
    events: dict[str, EventScore]
    position_error: tuple[float, ...]
    windows: int

    def metrics(self) -> dict[str, float]:
        """Under the names of the run's metrics."""
        values = {"holdout/loss": self.loss, "holdout/position_error": self.position_error[-1]}
        for name, score in self.events.items():
            values |= {f"holdout/auroc_{name}": score.auroc, f"holdout/ece_{name}": score.error}
        return values

    def to_json(self) -> dict[str, Any]:
        """NaN, which JSON lacks, is null."""
        events = {
            name: {
                "auroc": score.auroc,
                "ece": score.error,
                "share": score.share,
                "auroc_by_step": list(score.auroc_by_step),
                "ece_by_step": list(score.error_by_step),
                "reliability": {
                    "probability": score.reliability.probability.tolist(),
                    "frequency": score.reliability.frequency.tolist(),
                    "count": score.reliability.count.tolist(),
                },
            }
            for name, score in self.events.items()
        }
        whole = {
            "loss": self.loss,
            "windows": self.windows,
            "position_error": list(self.position_error),
            "events": events,
        }
        plain: dict[str, Any] = _without_nan(whole)
        return plain


def measure(
    network: EventPredictor,
    windows: Windows,
    count: int,
    *,
    device: torch.device,
    event_weights: Tensor,
    position_weight: float,
) -> Measurement:
    """Over `count` windows (or all), evenly spread: always the same ones."""
    spec = network.spec
    numbers = np.unique(np.linspace(0, len(windows) - 1, min(count, len(windows))).astype(np.int64))
    rng = np.random.default_rng(0)
    said, where, known = [], [], []
    network.eval()
    for start in range(0, len(numbers), BATCH):
        batch = windows.batch(numbers[start : start + BATCH], rng)
        with torch.inference_mode():
            images, actions = (torch.from_numpy(one).to(device) for one in (batch.images, batch.actions))
            outcome = network(images, actions)
        said.append(outcome[0].cpu())
        where.append(outcome[1].cpu())
        known.append((batch.labels, batch.mask, batch.position, batch.position_mask))
    labels, mask, position, moved = (np.concatenate(part) for part in zip(*known, strict=True))
    logits, places = torch.cat(said), torch.cat(where)
    losses = event_losses(
        logits, torch.from_numpy(labels), torch.from_numpy(mask), torch.ones(len(spec.events))
    )
    place = position_loss(places, torch.from_numpy(position), torch.from_numpy(moved))
    probability = torch.sigmoid(logits.double()).numpy()
    for name in spec.lasting:
        # As the predictor does on the robot: what has happened does not become less likely.
        column = spec.event(name)
        probability[..., column] = np.maximum.accumulate(probability[..., column], axis=1)
    distance = np.linalg.norm(places.numpy() - position, axis=-1)
    counted = np.maximum(moved.sum(0), 1)
    error = np.where(moved.any(0), (distance * moved).sum(0) / counted, np.nan)
    return Measurement(
        loss=float((event_weights.cpu() * losses).sum() + position_weight * place),
        events=event_scores(probability, labels, mask, spec.events),
        position_error=tuple(float(one) for one in error),
        windows=len(numbers),
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
