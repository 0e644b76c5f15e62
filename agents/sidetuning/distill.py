"""Distillation: a side starts as a small imitation of the base (paper, 3.2), or as nothing in its eyes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.sidetuning.config import SideError
from agents.sidetuning.inputs import Inputs
from agents.sidetuning.model import SideModel


def distill(
    model: SideModel,
    batches: Sequence[Inputs],
    *,
    epochs: int = 10,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    target: Literal["base", "zero"] = "base",
    decoder: nn.Module | None = None,
) -> list[float]:
    """Trains the active task's side alone; gives the mean loss of each epoch.

    target: "base", the side gives what the base does; "zero", base + side still does ("low energy").
    decoder: a frozen network on the features through which both are compared, as the authors do.
    The loss is the mean squared difference. Raises SideError where there is no side to distil.
    """
    encoder = model.task(model.active).encoder if model.active is not None else None
    side = getattr(encoder, "side", None)
    if encoder is None or side is None:
        raise SideError(f"adapter {model.active!r} has no side to distil")
    if not batches or epochs < 1:
        raise SideError("distillation needs at least one batch and one epoch")
    seen = decoder if decoder is not None else nn.Identity()
    before = [(parameter, parameter.requires_grad) for parameter in seen.parameters()]
    training = seen.training
    seen.requires_grad_(False).eval()
    kept = [(model.sensors.check(batch), model.base_outputs(batch)) for batch in batches]
    with torch.no_grad():
        wanted = [seen(base.features) for _, base in kept]
    optimizer = torch.optim.Adam(side.parameters(), lr=learning_rate, weight_decay=weight_decay)
    losses = []
    side.train()
    for _ in range(epochs):
        total = 0.0
        for (sensors, base), aim in zip(kept, wanted, strict=True):
            features: Tensor = encoder.side_network_output(sensors, base)
            if target == "zero":
                features = features + base.features
            loss = F.mse_loss(seen(features), aim)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total / len(kept))
    encoder.ready.fill_(True)
    side.train(encoder.training)
    seen.train(training)
    for parameter, required in before:
        parameter.requires_grad_(required)
    return losses
