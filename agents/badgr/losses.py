"""What an event predictor is trained on (badgr specification, 1.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits


def masked_mean(values: Tensor, mask: Tensor, counted: Tensor | None = None) -> Tensor:
    """Mean over the pairs of sample and step that count, 0 where none does: (...), of (..., B, H) each.

    counted: (...) how many pairs to divide by, where others hold a part of the batch.
    """
    counts = mask.to(values.dtype)
    return (values * counts).sum((-2, -1)) / _number(counts.sum((-2, -1)), counted)


def event_losses(
    logits: Tensor, labels: Tensor, mask: Tensor, positive_weights: Tensor, counted: Tensor | None = None
) -> Tensor:
    """Cross-entropy of each event, a mean over what is known of it, (..., K).

    logits, mask: (..., B, H, K), members of an ensemble first; labels: (B, H, K); positive_weights: (K,)
    factor on the steps in which it happens; counted: (..., K), see masked_mean.
    """
    losses = binary_cross_entropy_with_logits(
        logits,
        labels.to(logits.dtype).expand_as(logits),
        pos_weight=positive_weights,
        reduction="none",
    )
    counts = mask.to(logits.dtype)
    return (losses * counts).sum((-3, -2)) / _number(counts.sum((-3, -2)), counted)


def position_loss(predicted: Tensor, position: Tensor, mask: Tensor, counted: Tensor | None = None) -> Tensor:
    """Half the squared distance in m^2, a mean over what is known, (...).

    predicted: (..., B, H, 2); position: (B, H, 2); mask: (..., B, H); counted: (...), see masked_mean.
    """
    return masked_mean(0.5 * torch.square(predicted - position).sum(-1), mask, counted)


def _number(here: Tensor, counted: Tensor | None) -> Tensor:
    return (here if counted is None else counted.to(here.dtype)).clamp(min=1)


def weight_decay(network: nn.Module) -> Tensor:
    """Mean over all kernels of half their mean square, (); biases are free."""
    kernels = _kernels(network)
    return torch.stack([0.5 * torch.square(kernel).mean() for kernel in kernels]).mean()


@torch.no_grad()
def add_weight_decay(network: nn.Module, factor: float) -> Tensor:
    """Adds the gradient of factor * weight_decay(network) to those that are there; returns weight_decay, ().

    By hand, for autograd reads every kernel several times for it.
    """
    kernels = _kernels(network)
    for kernel in kernels:
        if kernel.grad is not None:
            kernel.grad.add_(kernel, alpha=factor / (len(kernels) * kernel.numel()))
    squares = torch.stack([kernel.flatten().dot(kernel.flatten()) / kernel.numel() for kernel in kernels])
    return 0.5 * squares.mean()


def _kernels(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.ndim > 1]
