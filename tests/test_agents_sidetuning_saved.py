"""Side models on disk, and as one plain network."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from agents.sidetuning.config import METHODS, AdapterConfig, Alpha, LoraConfig, SideConfig, SideError
from agents.sidetuning.distill import distill
from agents.sidetuning.model import SideModel, get_side_model
from agents.sidetuning.saved import CONFIG, WEIGHTS

help_ = runpy.run_path(str(Path(__file__).with_name("sidetuning_models.py")))
vector_base: Callable[..., nn.Sequential] = help_["vector_base"]
map_base: Callable[..., nn.Sequential] = help_["map_base"]
images, learn = help_["images"], help_["learn"]


def trained() -> SideModel:
    """Every kind of adapter, each trained a little."""
    model = get_side_model(vector_base(), SideConfig(merge="mlp", head=(5, 3)), images(), "mlp")
    model.add_adapter("side", SideConfig(init="distilled", alpha=Alpha.learned(0.3, 7.0)))
    model.add_adapter("stacked", SideConfig(stack=("side",)), head=nn.Linear(16, 2))
    model.add_adapter("schedule", SideConfig(init="zero", alpha=Alpha.stepped((2, 0.5), start=0.7)))
    model.add_adapter("ladder", SideConfig(side="none", merge="ladder"))
    model.add_adapter("lora", LoraConfig(rank=2))
    model.add_adapter("adapter", AdapterConfig())
    model.add_adapter("finetune", METHODS["finetune"])
    for name in model.tasks:
        model.set_adapter(name)
        if name == "side":
            distill(model, [images()], epochs=1)
        learn(model, images(), 2)
    model.set_adapter("stacked")
    return model.eval()


def test_what_is_loaded_is_what_was_saved_and_the_base_is_not_in_it(tmp_path: Path) -> None:
    model = trained()
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG, WEIGHTS]
    again = SideModel.from_pretrained(vector_base(), tmp_path, heads={"stacked": nn.Linear(16, 2)}).eval()
    assert again.active == "stacked"
    for name in model.tasks:
        model.set_adapter(name)
        again.set_adapter(name)
        assert torch.equal(again.eval()(images()), model.eval()(images())), name
        assert again.alpha == model.alpha
        assert again.task(name).encoder.config == model.task(name).encoder.config
    saved = load_file(tmp_path / WEIGHTS)
    assert sum(x.numel() for x in saved.values()) == sum(x.numel() for x in model.state_dict().values())
    assert {name.partition("/")[0] for name in saved} <= set(model.tasks)
    assert not any(name.startswith("base.") for name in model.state_dict())


def test_another_base_is_refused_also_when_only_its_statistics_differ(tmp_path: Path) -> None:
    get_side_model(vector_base(), SideConfig(), images()).save_pretrained(tmp_path)
    for change in ("weight", "running_mean"):
        other = vector_base()
        with torch.no_grad():
            getattr(other[1], change)[0] += 1e-6
        with pytest.raises(SideError, match="trained beside another base"):
            SideModel.from_pretrained(other, tmp_path)
        assert SideModel.from_pretrained(other, tmp_path, strict_base=False).active == "default"


def test_a_base_of_another_shape_is_refused_even_when_not_strict(tmp_path: Path) -> None:
    get_side_model(vector_base(), SideConfig(), images()).save_pretrained(tmp_path)
    with pytest.raises(SideError, match="gives"):
        SideModel.from_pretrained(map_base(), tmp_path, strict_base=False)


def edit(folder: Path, change: Callable[[Any], None]) -> None:
    content = json.loads((folder / CONFIG).read_text())
    change(content)
    (folder / CONFIG).write_text(json.dumps(content))


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "version": (lambda f: edit(f, lambda c: c.update(format=2)), "has format 2, this version reads 1"),
    "no version": (lambda f: (f / CONFIG).write_text("[]"), "has format None"),
    "no json": (lambda f: (f / CONFIG).write_text("{"), "there is no side model"),
    "no folder": (lambda f: (f / CONFIG).unlink(), "there is no side model"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "there is no side model"),
    "cut short": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-1]),
        "cut short or changed",
    ),
    "unknown kind": (
        lambda f: edit(f, lambda c: c["adapters"]["default"].update(kind="Dora")),
        "is a 'Dora'",
    ),
    "unknown key": (
        lambda f: edit(f, lambda c: c["adapters"]["default"]["config"].update(depth=3)),
        "unknown key 'depth'",
    ),
    "another width": (
        lambda f: edit(f, lambda c: c["adapters"]["default"]["config"].update(width=8)),
        "does not hold a side model of this version",
    ),
    "no adapters": (lambda f: edit(f, lambda c: c.pop("adapters")), "does not hold a side model"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_damaged_and_foreign_files_are_refused(name: str, tmp_path: Path) -> None:
    get_side_model(vector_base(), SideConfig(), images()).save_pretrained(tmp_path)
    damage, message = BAD[name]
    damage(tmp_path)
    with pytest.raises(SideError, match=message):
        SideModel.from_pretrained(vector_base(), tmp_path)


def test_modules_of_ones_own_are_asked_for(tmp_path: Path) -> None:
    side = nn.Sequential(nn.Flatten(), nn.Linear(768, 16))
    model = get_side_model(vector_base(), SideConfig(side="custom"), images(), side=side)
    model.save_pretrained(tmp_path)
    with pytest.raises(SideError, match=r"give sides\['default'\]"):
        SideModel.from_pretrained(vector_base(), tmp_path)
    with pytest.raises(SideError, match=r"leave out heads\['default'\]"):
        SideModel.from_pretrained(vector_base(), tmp_path, sides={"default": side}, heads={"default": side})
    fresh = nn.Sequential(nn.Flatten(), nn.Linear(768, 16))
    again = SideModel.from_pretrained(vector_base(), tmp_path, sides={"default": fresh})
    assert torch.equal(again.eval()(images()), model.eval()(images()))


@pytest.mark.parametrize(
    "config",
    [
        SideConfig(),
        SideConfig(init="zero", alpha=Alpha.fixed(0.3), head=(4,)),
        SideConfig(side="base", init="pruned", norm="group"),
        SideConfig(alpha=Alpha.fixed(1.0)),
        SideConfig(alpha=Alpha.fixed(0.0)),
        METHODS["features"],
        METHODS["finetune"],
        METHODS["side_only"],
    ],
)
def test_a_fused_model_is_the_same_function(config: SideConfig) -> None:
    model = get_side_model(vector_base(), config, images())
    if config.merge != "base_only" and config.alpha != Alpha.fixed(1.0):
        learn(model, images())
    model.eval()
    before = model.base_fingerprint()
    fused, output = model.fuse(), model(images())
    assert torch.allclose(fused(images()), output, atol=1e-5)
    assert model.base_fingerprint() == before
    assert torch.equal(model(images()), output)
    if config.merge != "alpha" or config.alpha.start in (0.0, 1.0):
        assert torch.equal(fused(images()), output)


@pytest.mark.parametrize(
    ("base", "config", "message"),
    [
        (vector_base, SideConfig(merge="mlp"), "merge 'mlp' has no exact fused form"),
        (vector_base, SideConfig(side="none", merge="ladder"), "merge 'ladder' has no exact"),
        (vector_base, AdapterConfig(), "not linear"),
        (vector_base, METHODS["blind"], "blind"),
        (map_base, SideConfig(), "base does not end in a linear layer"),
    ],
)
def test_what_has_no_exact_form_is_refused(base: Any, config: Any, message: str) -> None:
    with pytest.raises(SideError, match=message):
        get_side_model(base(), config, images()).fuse()
