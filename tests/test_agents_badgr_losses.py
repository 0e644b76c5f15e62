"""The losses against their formulas written out, and that what is masked has no say."""

import math

import pytest
import torch

from agents.badgr.losses import event_losses, masked_mean, position_loss, weight_decay
from agents.badgr.network import EventPredictor
from agents.badgr.spec import ModelSpec


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, 4, 3, generator=draws)
    labels, mask = (torch.rand(5, 4, 3, generator=draws) < 0.5 for _ in range(2))
    return logits, labels, mask


def test_the_loss_of_an_event_is_the_mean_cross_entropy_of_what_is_known() -> None:
    logits, labels, mask = batch()
    weights = torch.tensor([1.0, 0.2, 3.0])
    losses = event_losses(logits, labels, mask, weights)
    for k in range(3):
        total, count = 0.0, 0
        for b in range(5):
            for h in range(4):
                if mask[b, h, k]:
                    p = 1 / (1 + math.exp(-float(logits[b, h, k])))
                    total -= float(weights[k]) * math.log(p) if labels[b, h, k] else math.log(1 - p)
                    count += 1
        assert float(losses[k]) == pytest.approx(total / count, rel=1e-5)


def test_what_is_masked_has_no_say_and_no_gradient() -> None:
    logits, labels, mask = batch()
    logits.requires_grad_()
    losses = event_losses(logits, labels, mask, torch.ones(3))
    losses.sum().backward()
    assert (logits.grad[~mask] == 0).all()
    assert (logits.grad[mask] != 0).all()
    other = event_losses(torch.where(mask, logits, 9.0), labels ^ ~mask, mask, torch.ones(3))
    torch.testing.assert_close(losses, other)


def test_an_event_of_which_nothing_is_known_costs_nothing() -> None:
    logits, labels, mask = batch()
    mask[..., 1] = False
    losses = event_losses(logits, labels, mask, torch.ones(3))
    assert float(losses[1]) == 0.0
    assert float(losses[0]) > 0


def test_half_the_squared_distance_of_known_places() -> None:
    predicted = torch.tensor([[[0.0, 0.0], [3.0, 4.0]], [[1.0, 1.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True], [True, False]])
    loss = position_loss(predicted, torch.zeros(2, 2, 2) + torch.tensor([0.0, 0.0]), mask)
    assert float(loss) == pytest.approx((0 + 12.5 + 1.0) / 3)
    assert float(masked_mean(torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.bool))) == 0.0


def test_weight_decay_is_the_mean_over_kernels_of_half_their_mean_square() -> None:
    network = EventPredictor(ModelSpec(image=(24, 32, 3)))
    kernels = [values.detach() for name, values in network.named_parameters() if "bias" not in name]
    expected = sum(0.5 * float((kernel**2).mean()) for kernel in kernels) / len(kernels)
    assert float(weight_decay(network).detach()) == pytest.approx(expected, rel=1e-5)
    for name, values in network.named_parameters():
        if "bias" in name:
            values.data += 5.0
    assert float(weight_decay(network).detach()) == pytest.approx(expected, rel=1e-5)
