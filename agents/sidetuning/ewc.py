"""Elastic weight consolidation, a rival for sequences of tasks (Kirkpatrick 2017).

The Fisher information is the mean of squared gradients of single samples. The authors' code squares the
gradient of a batch's mean, which is too small by about the batch's size, and its cap on samples never bites.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from agents.sidetuning.config import SideError


def diagonal_fisher(
    network: nn.Module, inputs: Tensor, labels: Tensor | None = None, chunk: int = 64
) -> dict[str, Tensor]:
    """The diagonal of a classifier's Fisher information, by parameter that is trained.

    inputs: (N, ...). labels: (N,) gives the empirical Fisher; None, the exact one: every class counts with
    the probability that the network itself gives it. Evaluation mode, as samples must not influence each
    other. Raises SideError when nothing is trained.
    """
    weights = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    if not weights or not len(inputs):
        raise SideError("the Fisher information needs trained parameters and at least one sample")
    training = network.training
    network.eval()

    def log_probability(values: Mapping[str, Tensor], x: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(network, dict(values), (x[None],))[0]
        return torch.log_softmax(logits, -1).gather(0, label[None])[0]

    gradients = vmap(grad(log_probability), in_dims=(None, 0, 0))
    total = {name: torch.zeros_like(value) for name, value in weights.items()}
    for start in range(0, len(inputs), chunk):
        x = inputs[start : start + chunk]
        if labels is not None:
            _add(total, gradients(weights, x, labels[start : start + chunk]), torch.ones(len(x)))
            continue
        with torch.no_grad():
            probabilities = torch.softmax(network(x), -1)
        for label in range(probabilities.shape[1]):
            given = torch.full((len(x),), label, device=x.device)
            _add(total, gradients(weights, x, given), probabilities[:, label])
    network.train(training)
    return {name: value / len(inputs) for name, value in total.items()}


class ElasticPenalty:
    """Holds parameters where earlier tasks need them: strength / 2 * sum of Fisher * (change squared)."""

    def __init__(self, strength: float) -> None:
        if not strength >= 0:
            raise SideError(f"the strength of the penalty must not be negative, got {strength}")
        self.strength = strength
        self._anchors: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []

    def remember(self, network: nn.Module, fisher: Mapping[str, Tensor]) -> None:
        """After a task: its optimum and its Fisher information. Tasks add up."""
        named = dict(network.named_parameters())
        missing = fisher.keys() - named.keys()
        if missing:
            raise SideError(f"the network has no parameters {sorted(missing)}: it is not the Fisher's")
        self._anchors.append((dict(fisher), {name: named[name].detach().clone() for name in fisher}))

    def __call__(self, network: nn.Module) -> Tensor:
        """The penalty, (), to be added to a task's loss."""
        named = dict(network.named_parameters())
        total = torch.zeros(())
        for fisher, anchor in self._anchors:
            for name, weight in fisher.items():
                total = total + (weight * (named[name] - anchor[name]).square()).sum()
        return self.strength / 2 * total


def _add(total: dict[str, Tensor], gradients: Mapping[str, Tensor], weights: Tensor) -> None:
    for name, gradient in gradients.items():
        total[name] += torch.einsum("n,n...->...", weights.to(gradient), gradient.square())
