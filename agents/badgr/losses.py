"""What an event predictor is trained on (badgr specification, 1.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the pairs of sample and step that count, 0 where none does: (), of (B, H) each."""
    counted = mask.to(values.dtype)
    return (values * counted).sum() / counted.sum().clamp(min=1)


def event_losses(logits: Tensor, labels: Tensor, mask: Tensor, positive_weights: Tensor) -> Tensor:
    """Cross-entropy of each event, a mean over what is known of it, (K,).

    logits, labels, mask: (B, H, K); positive_weights: (K,) factor on the steps in which it happens.
    """
    losses = binary_cross_entropy_with_logits(
        logits, labels.to(logits.dtype), pos_weight=positive_weights, reduction="none"
    )
    counted = mask.to(logits.dtype)
    return (losses * counted).sum((0, 1)) / counted.sum((0, 1)).clamp(min=1)


def position_loss(predicted: Tensor, position: Tensor, mask: Tensor) -> Tensor:
    """Half the squared distance in m^2, a mean over what is known, (). (B, H, 2) twice, and (B, H)."""
    return masked_mean(0.5 * torch.square(predicted - position).sum(-1), mask)


def weight_decay(network: nn.Module) -> Tensor:
    """Mean over all kernels of half their mean square, (); biases are free."""
    kernels = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    return torch.stack([0.5 * torch.square(kernel).mean() for kernel in kernels]).mean()
