"""Merges, sides and alpha: counts of the authors' code, formulas a second time, schedules."""

import math
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from agents.sidetuning.config import Alpha, SideConfig
from agents.sidetuning.distill import distill
from agents.sidetuning.layers import pool_to
from agents.sidetuning.merges import AlphaBlend, Film, Transformed, build_merge
from agents.sidetuning.model import get_side_model
from agents.sidetuning.prune import pruned_copy
from agents.sidetuning.sides import Fcn5, fcn4

help_ = runpy.run_path(str(Path(__file__).with_name("sidetuning_models.py")))
vector_base: Callable[..., nn.Sequential] = help_["vector_base"]
map_base: Callable[..., nn.Sequential] = help_["map_base"]
images, learn = help_["images"], help_["learn"]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_sides_and_merges_have_the_parameters_of_the_authors_code() -> None:
    assert count(fcn4(3, 64)) == 25_904
    assert count(Fcn5(3, 8)) == 921_376
    assert fcn4(3, 64)(torch.zeros(2, 3, 32, 32)).shape == (2, 64)
    assert Fcn5(3, 8)(torch.zeros(1, 3, 256, 256)).shape == (1, 8, 16, 16)
    assert count(Film((8, 16, 16))) == 1_680
    for shape, expected in (((64,), 8_448), ((8, 16, 16), 145)):
        assert count(Transformed(shape, side=False, residual=False)) == expected
        assert count(Transformed(shape, side=True, residual=False)) == 2 * expected
    assert count(AlphaBlend(Alpha())) == 1
    assert count(AlphaBlend(Alpha(), sides=4)) == 5


@pytest.mark.parametrize("shape", [(8,), (8, 4, 4)])
def test_merges_are_their_formulas(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    base, side = torch.randn(5, *shape), torch.randn(5, *shape)

    def merged(config: SideConfig) -> torch.Tensor:
        torch.manual_seed(1)
        return build_merge(config, shape).eval()(base, [side])

    assert torch.equal(merged(SideConfig(merge="sum")), base + side)
    assert torch.equal(merged(SideConfig(merge="product")), base * side)
    quarter = merged(SideConfig(alpha=Alpha.learned(0.25)))
    assert torch.allclose(quarter, 0.25 * base + 0.75 * side, atol=1e-6)
    torch.manual_seed(1)
    one = Transformed(shape, side=False, residual=False).eval()
    assert torch.equal(merged(SideConfig(merge="mlp")), one.base(base) + side)
    torch.manual_seed(1)
    two = Transformed(shape, side=True, residual=True).eval()
    expected = two.base(base) + side + two.side(side)
    assert torch.allclose(merged(SideConfig(merge="resmlp2")), expected, atol=1e-6)
    assert torch.allclose(merged(SideConfig(merge="mlp2")), expected - side, atol=1e-6)
    torch.manual_seed(1)
    film = Film(shape).eval()
    h = film.trunk(side)
    expected = base * (film.scale(h) + side) + (film.shift(h) + side)
    assert torch.allclose(merged(SideConfig(merge="film")), expected, atol=1e-6)


def test_alpha_follows_its_schedule() -> None:
    assert [Alpha.fixed(0.3).at(n) for n in (0, 99)] == [0.3, 0.3]
    assert [Alpha.linear(1.0, 0.0, 10).at(n) for n in (0, 5, 10, 50)] == [1.0, 0.5, 0.0, 0.0]
    assert [Alpha.hyperbolic(10).at(n) for n in (0, 10, 30)] == [1.0, 0.5, 0.25]
    assert [Alpha.stepped((5, 0.5), (9, 0.0)).at(n) for n in (0, 4, 5, 8, 9)] == [1.0, 1.0, 0.5, 0.5, 0.0]


def test_a_schedule_hands_over_from_the_base_to_the_side() -> None:
    """Exactly the base before, exactly the side after (stagewise learning, spec 1.4)."""
    base = vector_base()
    model = get_side_model(base, SideConfig(alpha=Alpha.linear(1.0, 0.0, 4)), images()).eval()
    assert torch.equal(model(images()), base(images()))
    model.advance(2)
    half = (base(images()) + model.task("default").encoder.side(images())) / 2
    assert torch.allclose(model(images()), half, atol=1e-6)
    assert model.alpha == 0.5
    model.advance(2)
    assert torch.equal(model(images()), model.task("default").encoder.side(images()))


def test_alpha_gets_little_gradient_while_the_side_is_a_copy_and_more_with_its_multiplier() -> None:
    """d/dw = a (1 - a) <g, base - side>: exactly 0 at the start of a copy (spec 1.3)."""
    model = get_side_model(vector_base(), SideConfig(side="base", init="copy"), images()).eval()
    model(images()).square().sum().backward()
    raw = model.task("default").encoder.merge.raw_alpha
    assert abs(raw.grad.item()) < 1e-4
    moved = {}
    for multiplier in (1.0, 20.0):
        config = SideConfig(alpha=Alpha.learned(0.5, multiplier))
        model = get_side_model(vector_base(), config, images())
        learn(model, images(), 5)
        moved[multiplier] = abs(model.alpha - 0.5)
    assert moved[20.0] > 5 * moved[1.0]


def test_the_report_gives_alpha_and_the_ratio_of_norms() -> None:
    model = get_side_model(vector_base(), SideConfig(alpha=Alpha.fixed(0.8)), images()).eval()
    report = model.merge_report(images())
    base, side = model.base_outputs(images()).features, model.side_output(images())
    assert report["alpha"] == pytest.approx(0.8)
    assert report["norm_ratio"] == pytest.approx(
        0.2 * side.norm().item() / (0.8 * base.norm().item()), rel=1e-4
    )
    assert get_side_model(vector_base(), SideConfig(merge="mlp"), images()).alpha is None


@pytest.mark.parametrize("make", [vector_base, map_base])
def test_a_distilled_side_imitates_the_base(make: Callable[..., nn.Sequential]) -> None:
    base, frames = make(), images(64)
    model = get_side_model(base, SideConfig(init="distilled"), frames)
    losses = distill(model, list(frames.split(16)), epochs=15, learning_rate=3e-3)
    assert losses[-1] < 0.5 * losses[0]
    assert model(frames).shape == base(frames).shape


def test_a_low_energy_side_leaves_what_a_decoder_sees() -> None:
    """base + side still gives the decoder's output, and the decoder is as before."""
    torch.manual_seed(0)
    decoder, frames = nn.Linear(16, 4), images(64)
    model = get_side_model(vector_base(), SideConfig(init="distilled", merge="sum"), frames)
    before = decoder.weight.clone()
    losses = distill(model, [frames], epochs=40, learning_rate=1e-2, target="zero", decoder=decoder)
    assert losses[-1] < 0.1 * losses[0]
    assert torch.equal(decoder.weight, before)
    assert decoder.weight.requires_grad


def test_pruning_keeps_the_largest_channels_and_what_follows_them() -> None:
    """By hand: with every channel kept the copy is the base; else rows, columns and statistics fit."""
    base = vector_base().eval()
    assert torch.equal(pruned_copy(base, 1.0).eval()(images()), base(images()))
    narrow = pruned_copy(base, 0.5).eval()
    norms = base[0].weight.abs().sum((1, 2, 3))
    kept = norms.topk(4).indices.sort().values
    assert torch.equal(narrow[0].weight, base[0].weight[kept])
    assert torch.equal(narrow[1].running_mean, base[1].running_mean[kept])
    later = base[3].weight.abs().sum((1, 2, 3)).topk(8).indices.sort().values
    assert torch.equal(narrow[3].weight, base[3].weight[later][:, kept])
    assert torch.equal(narrow[9].weight, base[9].weight[:, later])
    flat = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 5)).eval()
    with torch.no_grad():
        flat[0].weight[[1, 3]] = 0.0
        flat[0].bias[[1, 3]] = 0.0
    assert torch.allclose(pruned_copy(flat, 0.5)(images()), flat(images()), atol=1e-5)


def test_pooling_to_a_size_is_adaptive_pooling_where_windows_divide() -> None:
    x = torch.randn(2, 3, 12, 16)
    for size in ((12, 16), (4, 4), (1, 1), (3, 2)):
        assert torch.allclose(pool_to(x, size), nn.functional.adaptive_avg_pool2d(x, size), atol=1e-6)
    assert torch.allclose(pool_to(x, ()), x.mean((2, 3)))
    assert pool_to(x, (5, 7)).shape == (2, 3, 5, 7)
    assert pool_to(x, (24, 16)).shape == (2, 3, 24, 16)


def test_the_gate_of_a_ladder_is_half_open_at_first() -> None:
    model = get_side_model(vector_base(), SideConfig(side="none", merge="ladder"), images())
    assert torch.sigmoid(model.task("default").encoder.side.gates).tolist() == [0.5] * 5
    learn(model, images())
    assert all(parameter.grad is not None for parameter in model.task("default").parameters())
    assert math.isfinite(model.merge_report(images())["norm_ratio"])
