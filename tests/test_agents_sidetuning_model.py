"""The side model: what it keeps exactly as it was, and what it refuses."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from agents.sidetuning.base import default_taps
from agents.sidetuning.config import (
    METHODS,
    Alpha,
    AnyConfig,
    LoraConfig,
    SideConfig,
    SideError,
)
from agents.sidetuning.model import SideModel, get_side_model

help_ = runpy.run_path(str(Path(__file__).with_name("sidetuning_models.py")))
vector_base: Callable[..., nn.Sequential] = help_["vector_base"]
map_base: Callable[..., nn.Sequential] = help_["map_base"]
images, learn = help_["images"], help_["learn"]

MERGES = ("alpha", "sum", "product", "film", "mlp", "mlp2", "resmlp2", "ladder")
EVERY: dict[str, AnyConfig] = {
    **METHODS,
    **{f"merge {kind}": SideConfig(merge=kind, head=(3,)) for kind in MERGES},  # type: ignore[arg-type]
    "copy": SideConfig(side="base", init="copy"),
    "zero": SideConfig(init="zero", merge="sum"),
    "pruned": SideConfig(side="base", init="pruned"),
    "group norm": SideConfig(norm="group"),
}


def equal(left: torch.Tensor, right: torch.Tensor) -> bool:
    return bool(torch.equal(left, right))


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("features", "blind")])
@pytest.mark.parametrize("make", [vector_base, map_base])
def test_training_any_adapter_leaves_the_base_as_it_was(name: str, make: Any) -> None:
    """Weights, batch normalisation's statistics, and what the base gives; also for who asks in between."""
    base = make()
    base.train()
    model = get_side_model(base, EVERY[name], images())
    before, output = model.base_fingerprint(), base(images())
    statistics = base[1].running_mean.clone()
    losses = learn(model, images())
    assert losses[-1] < losses[0]
    assert model.base_fingerprint() == before
    assert equal(base[1].running_mean, statistics)
    model.train()
    with model.disable_adapter():
        assert equal(model(images()), output)
    base.train()  # by somebody else
    with model.disable_adapter():
        assert equal(model(images()), output)
    assert all(parameter.grad is None for parameter in base.parameters())


@pytest.mark.parametrize("name", list(EVERY))
def test_old_tasks_answer_bit_for_bit_the_same_after_new_ones(name: str) -> None:
    model = get_side_model(vector_base(), EVERY[name], images(), "old")
    if not name.startswith(("features", "blind")):
        learn(model, images())
    model.eval()
    before = model(images())
    for new, config in (("same", EVERY[name]), ("mlp", SideConfig(merge="mlp")), ("lora", LoraConfig())):
        model.add_adapter(new, config)
    model.set_adapter("mlp")
    learn(model, images(), 2)
    model.train()
    model(images())
    model.set_adapter("old")
    model.eval()
    assert equal(model(images()), before)


@pytest.mark.parametrize(
    "name", ["features", "zero", "ladder zero", "lora", "adapter", "alpha 1", "finetune"]
)
def test_these_start_exactly_as_the_base(name: str) -> None:
    """Also alpha = 1, which is feature extraction (spec 1.4)."""
    more: dict[str, AnyConfig] = {
        "alpha 1": SideConfig(alpha=Alpha.fixed(1.0)),
        "ladder zero": SideConfig(side="none", merge="ladder", init="zero"),
    }
    base = vector_base()
    model = get_side_model(base, {**EVERY, **more}[name], images()).eval()
    assert equal(model(images()), base(images()))


def test_alpha_0_with_a_copy_is_fine_tuning_step_for_step() -> None:
    """The same weights after each of ten updates as a plain network trained alone."""
    alone = vector_base()
    model = get_side_model(
        vector_base(), SideConfig(side="base", init="copy", alpha=Alpha.fixed(0.0)), images()
    )
    torch.manual_seed(3)  # dropout
    losses = learn(model, images(), 10)
    alone.train()
    torch.manual_seed(3)
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(alone(images()).shape, generator=generator)
    optimizer = torch.optim.Adam(alone.parameters(), 1e-2)
    for expected in losses:
        loss = (alone(images()) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.item() == expected
    assert equal(alone.eval()(images()), model(images()))


def test_the_base_runs_once_where_its_outputs_are_kept_and_never_where_nobody_reads_them() -> None:
    base = vector_base()
    calls = []
    base.register_forward_hook(lambda *_: calls.append(1))
    for name, runs in (("side", 0), ("ladder", 0), ("side_only", 0), ("lora", 1)):
        model = get_side_model(base, METHODS[name], images()).eval()
        plain, kept = model(images()), model.base_outputs(images())
        calls.clear()
        assert equal(model(images(), kept), plain)
        assert len(calls) == runs, name
    model = get_side_model(base, METHODS["side_only"], images())
    calls.clear()
    model(images())
    assert not calls


def test_stacked_sides_are_constants_and_join_as_a_softmax() -> None:
    """Uniform at first (spec 1.2), and no gradient reaches an earlier task."""
    base = vector_base()
    model = get_side_model(base, SideConfig(), images(), "a")
    learn(model, images())
    model.add_adapter("b", SideConfig(stack=("a",)))
    first = model.side_output(images())
    model.set_adapter("b")
    model.eval()
    third = (base(images()) + first + model.side_output(images())) / 3
    assert torch.allclose(model(images()), third, atol=1e-6)
    model.zero_grad()
    model(images()).sum().backward()
    assert all(parameter.grad is None for parameter in model.task("a").parameters())
    assert model.task("b").encoder.merge.raw_alpha.grad is not None
    with pytest.raises(SideError, match="feeds b"):
        model.delete_adapter("a")


def test_an_extra_sensor_goes_into_the_side_only() -> None:
    """Depth changes the output, the base never sees it; a vector is tiled over the image."""
    frames = {"rgb": images(), "depth": torch.rand(6, 1, 16, 16), "goal": torch.rand(6, 3)}
    base = vector_base()
    config = SideConfig(side_inputs=("rgb", "depth", "goal"))
    model = get_side_model(base, config, frames, base_input="rgb").eval()
    output = model(frames)
    for name in ("depth", "goal"):
        assert not equal(model({**frames, name: frames[name] + 1}), output)
    with model.disable_adapter():
        assert equal(model({**frames, "depth": frames["depth"] + 1}), base(images()))
    assert model.task("default").encoder.side[0].in_channels == 3 + 1 + 3


def test_only_the_active_task_is_trained_and_alpha_gets_its_own_rate() -> None:
    model = get_side_model(vector_base(), SideConfig(head=(3,)), images(), "a")
    model.add_adapter("b", SideConfig(merge="mlp", head=(3,)))
    groups = model.param_groups(1e-3, weight_decay=0.1)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-3, 0.1), (0.02, 0.0)]
    model.set_adapter("b")
    groups = model.param_groups(1e-3, weight_decay=0.1)
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    trained = {id(parameter) for group in groups for parameter in group["params"]}
    assert trained == {id(parameter) for parameter in model.task("b").parameters()}
    assert not any(parameter.requires_grad for parameter in model.task("a").parameters())
    assert not any(name.startswith("base") for name in model.state_dict())


def test_the_account_lists_base_side_merge_and_head_apart(capsys: pytest.CaptureFixture[str]) -> None:
    model = get_side_model(vector_base(), SideConfig(head=(4,)), images())
    model.print_trainable_parameters()
    side = sum(parameter.numel() for parameter in model.task("default").encoder.side.parameters())
    line = capsys.readouterr().out
    assert f"* default: base 1,712 frozen | side {side:,} | merge 1 | head 68 |" in line


def test_moving_a_model_moves_its_base() -> None:
    model = get_side_model(vector_base(), SideConfig(), images()).double()
    assert model.base[0].weight.dtype == torch.float64
    assert model(images().double()).dtype == torch.float64


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "no parameters": (lambda: SideModel(nn.ReLU(), images()), "no parameters"),
    "another input": (lambda: SideModel(vector_base(), torch.zeros(1, 4, 16, 16)), "base cannot read"),
    "another frame": (lambda: model_of()(torch.zeros(2, 3, 8, 8)), r"expects observation \(N, 3, 16, 16\)"),
    "which sensor": (lambda: SideModel(vector_base(), {"a": images(), "b": images()}), "Set base_input"),
    "no sensor": (lambda: SideModel(vector_base(), {"a": images()}, "b"), "no sensor 'b'"),
    "missing sensor": (lambda: model_of({"a": images()})({"b": images()}), "expects the sensors a, got b"),
    "side shape": (
        lambda: get_side_model(vector_base(), SideConfig(side="fcn5"), torch.zeros(1, 3, 16, 16)),
        r"the base gives features \(16,\), the side \(16, 1, 1\)",
    ),
    "side too small": (
        lambda: get_side_model(vector_base(), SideConfig(side="fcn4"), torch.zeros(1, 3, 8, 8)),
        "side cannot read observation",
    ),
    "sensor of the side": (lambda: model_of(side_inputs=("depth",)), r"no sensors \['depth'\]"),
    "unknown adapter": (
        lambda: model_of().set_adapter("garden"),
        "no adapter 'garden': the model has default",
    ),
    "name": (lambda: model_of().add_adapter("a.b", SideConfig()), "cannot be named 'a.b'"),
    "taken": (lambda: model_of().add_adapter("default", SideConfig()), "cannot be named 'default'"),
    "undistilled": (lambda: model_of(init="distilled")(images()), "distilled from the base first"),
    "custom": (lambda: model_of(side="custom"), "go together"),
    "tap": (lambda: model_of(merge="ladder", taps=("nowhere",)), "choose from 0, 1, 2"),
    "no LoRA": (
        lambda: get_side_model(vector_base(), LoraConfig(targets=("query",)), images()),
        "nothing would be trained",
    ),
    "groups": (
        lambda: get_side_model(nn.Linear(4, 6), SideConfig(norm="group"), torch.zeros(1, 4)),
        "multiple of 8",
    ),
    "stacked": (lambda: model_of(stack=("default",)), "no adapter 'default'"),
    "reset": (lambda: get_side_model(Gain(), METHODS["scratch"], torch.zeros(1, 4)), "no reset_parameters"),
    "pruned": (
        lambda: get_side_model(Gain(), SideConfig(side="base", init="pruned"), torch.zeros(1, 4)),
        "no linear or convolutional layer to prune",
    ),
    "config copy": (lambda: SideConfig(init="copy"), "needs side='base'"),
    "config stack": (lambda: SideConfig(stack=("a",), merge="film"), "can be stacked"),
    "config alpha": (lambda: Alpha.fixed(1.5), r"alpha must lie in \[0, 1\]"),
    "config learned": (lambda: Alpha.learned(1.0), "use fixed"),
    "config steps": (lambda: Alpha.stepped((5, 0.5), (2, 0.1)), "in order"),
    "config rank": (lambda: LoraConfig(rank=0), "rank >= 1"),
}


class Gain(nn.Module):
    """A base that is neither sequential nor can be drawn anew."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gain


def model_of(example: Any = None, **config: Any) -> SideModel:
    return get_side_model(vector_base(), SideConfig(**config), images() if example is None else example)


@pytest.mark.parametrize("name", list(BAD))
def test_what_does_not_fit_is_refused_with_the_reason(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(SideError, match=message):
        call()


def test_a_refused_adapter_leaves_the_model_as_it_was() -> None:
    model = model_of()
    with pytest.raises(SideError):
        model.add_adapter("bad", SideConfig(side="fcn5"))
    with pytest.raises(SideError):
        model.set_adapter("bad")
    assert list(model.tasks) == ["default"]
    assert model.active == "default"


def test_taps_are_the_children_with_weights() -> None:
    assert default_taps(vector_base()) == ("0", "1", "3", "4", "9")
    assert default_taps(nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)))) == (
        "0.0",
        "0.2",
    )
