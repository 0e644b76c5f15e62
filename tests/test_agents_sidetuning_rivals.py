"""The rivals do what they are named after: LoRA, residual adapters, elastic weight consolidation."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from agents.sidetuning.config import METHODS, AdapterConfig, LoraConfig, SideError
from agents.sidetuning.ewc import ElasticPenalty, diagonal_fisher
from agents.sidetuning.model import get_side_model

help_ = runpy.run_path(str(Path(__file__).with_name("sidetuning_models.py")))
vector_base: Callable[..., nn.Sequential] = help_["vector_base"]
images, learn = help_["images"], help_["learn"]


def test_lora_is_a_low_rank_branch_beside_each_layer() -> None:
    """Against the branch computed on its own: down, then up, added to the layer's output."""
    torch.manual_seed(0)
    base = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Flatten(), nn.Linear(8 * 64, 6))
    model = get_side_model(base, LoraConfig(rank=2, scale=0.5), images())
    learn(model, images())
    lora = model.task("default").encoder
    down, up = lora.down[0].view(2, 3, 3, 3), lora.up[0].view(8, 2, 1, 1)
    h = base[0](images()) + 0.5 * F.conv2d(F.conv2d(images(), down, None, 2, 1), up)
    h = h.flatten(1)
    expected = base[2](h) + 0.5 * (h @ lora.down[1].T) @ lora.up[1].T
    assert torch.allclose(model(images()), expected, atol=1e-4)
    assert not torch.allclose(expected, base(images()), atol=1e-3)
    assert sum(p.numel() for p in lora.parameters()) == 2 * (8 + 27) + 2 * (6 + 8 * 64)


def test_lora_reaches_convolutions_and_can_be_aimed() -> None:
    """A LoRA that finds no convolution is a no-op on a CNN, as in a published table (spec 3.5)."""
    assert get_side_model(vector_base(), LoraConfig(), images()).task("default").encoder.names == (
        "0",
        "3",
        "9",
    )
    model = get_side_model(vector_base(), LoraConfig(targets=("9",)), images())
    assert model.task("default").encoder.names == ("9",)


def test_merged_lora_is_the_same_network_and_leaves_the_base_untouched() -> None:
    model = get_side_model(vector_base(), LoraConfig(head=(3,)), images())
    learn(model, images())
    before, output = model.base_fingerprint(), model(images())
    merged = model.fuse()
    assert torch.equal(merged(images()), output)
    assert model.base_fingerprint() == before
    assert torch.equal(model(images()), output)


def test_a_residual_adapter_is_a_bottleneck_after_its_module() -> None:
    torch.manual_seed(0)
    base = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 6))
    model = get_side_model(base, AdapterConfig(bottleneck=2, taps=("1", "3")), images())
    learn(model, images())
    first, second = model.task("default").encoder.bottlenecks
    h = base[1](base[0](images()))
    h = base[3](base[2](h + first(h)))
    assert torch.allclose(model(images()), h + second(h), atol=1e-5)


def test_the_fisher_is_the_mean_of_squared_gradients_of_single_samples() -> None:
    """Against a loop with autograd, sample by sample; exact and empirical; not the square of the mean."""
    model = get_side_model(vector_base(), METHODS["finetune"], images(5), head=nn.Linear(16, 3))
    labels = torch.tensor([0, 2, 1, 1, 0])
    model.eval()
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    empirical = {name: torch.zeros_like(p) for name, p in named.items()}
    exact = {name: torch.zeros_like(p) for name, p in named.items()}
    for x, label in zip(images(5), labels, strict=True):
        log_probability = torch.log_softmax(model(x[None])[0], -1)
        for c in range(3):
            gradients = torch.autograd.grad(log_probability[c], list(named.values()), retain_graph=True)
            for name, gradient in zip(named, gradients, strict=True):
                exact[name] += log_probability[c].exp().detach() * gradient.square() / 5
                if c == label:
                    empirical[name] += gradient.square() / 5
    for chunk in (2, 64):
        ours, with_labels = (
            diagonal_fisher(model, images(5), None, chunk),
            diagonal_fisher(model, images(5), labels),
        )
        for name in named:
            assert torch.allclose(ours[name], exact[name], rtol=1e-3, atol=1e-7), name
            assert torch.allclose(with_labels[name], empirical[name], rtol=1e-3, atol=1e-7), name
    loss = F.cross_entropy(model(images(5)), labels)
    of_mean = torch.autograd.grad(loss, list(named.values()))
    flawed = sum(gradient.square().sum() for gradient in of_mean)
    assert sum(value.sum() for value in empirical.values()) > 1.5 * flawed


def test_the_penalty_is_zero_at_the_anchor_and_a_parabola_around_it() -> None:
    network = nn.Linear(2, 2)
    fisher = {"weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "bias": torch.zeros(2)}
    penalty = ElasticPenalty(10.0)
    assert penalty(network).item() == 0.0
    penalty.remember(network, fisher)
    with torch.no_grad():
        network.weight += torch.tensor([[0.1, 0.0], [0.0, 0.2]])
        network.bias += 5.0
    assert penalty(network).item() == pytest.approx(10 / 2 * (1 * 0.01 + 4 * 0.04), rel=1e-4)
    penalty.remember(network, fisher)
    assert penalty(network).item() == pytest.approx(0.85, rel=1e-4)
    penalty(network).backward()
    assert network.weight.grad is not None


def test_what_cannot_be_consolidated_is_refused() -> None:
    frozen = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(SideError, match="trained parameters"):
        diagonal_fisher(frozen, torch.zeros(1, 2))
    with pytest.raises(SideError, match="not be negative"):
        ElasticPenalty(-1.0)
    with pytest.raises(SideError, match="not the Fisher's"):
        ElasticPenalty(1.0).remember(nn.Linear(2, 2), {"other": torch.zeros(1)})
