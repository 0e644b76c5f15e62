"""An exported side-tuned policy: the same decisions without torch, adapters swapped while it drives."""

import json
import os
import runpy
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from agents.sidetuning.config import (
    METHODS,
    AdapterConfig,
    Alpha,
    AnyConfig,
    LoraConfig,
    SideConfig,
    SideError,
)
from agents.sidetuning.export import check_parity, export_onnx, export_policy
from agents.sidetuning.graphs import ParityError
from agents.sidetuning.model import SideModel, get_side_model
from agents.sidetuning.policy_agent import SideTunedAgent
from agents.sidetuning.policy_file import PolicyFile, read_policy, write_policy
from envs.recording import Agent

ROOT = Path(__file__).parent.parent
help_ = runpy.run_path(str(Path(__file__).with_name("sidetuning_models.py")))
vector_base: Callable[..., nn.Sequential] = help_["vector_base"]
map_base: Callable[..., nn.Sequential] = help_["map_base"]
images, learn = help_["images"], help_["learn"]

FOUR = gymnasium.spaces.Discrete(4)
CPU = ("CPUExecutionProvider",)


def frames(count: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {"rgb": images(count), "goal": torch.rand(count, 3, generator=generator)}


def model_with(configs: dict[str, AnyConfig], base: nn.Module | None = None, seed: int = 0) -> SideModel:
    model = SideModel(base or vector_base(), frames(), "rgb")
    torch.manual_seed(seed)
    for name, config in configs.items():
        model.add_adapter(name, replace(config, head=(8, 4)))
        model.set_adapter(name)
        learn(model, frames(), 2)
    return model.eval()


def row(observations: dict[str, torch.Tensor], index: int) -> dict[str, np.ndarray]:
    return {name: x[index].numpy() for name, x in observations.items()}


@pytest.fixture(scope="module")
def model() -> SideModel:
    """The adapters "office" and "garden", which reads the goal too."""
    return model_with({"office": SideConfig(), "garden": SideConfig(side_inputs=("rgb", "goal"))})


@pytest.fixture(scope="module")
def policy(model: SideModel) -> PolicyFile:
    model.set_adapter("office")
    return export_policy(model, FOUR)


@pytest.mark.parametrize("make", [vector_base, map_base])
def test_every_kind_of_adapter_passes_the_gate(make: Any) -> None:
    configs: dict[str, AnyConfig] = {
        "features": METHODS["features"],
        "stack0": SideConfig(init="zero"),
        "stacked": SideConfig(stack=("stack0",)),
        "film": SideConfig(merge="film", norm="group"),
        "mlp": SideConfig(merge="mlp2"),
        "schedule": SideConfig(alpha=Alpha.linear(0.9, 0.1, 4)),
        "ladder": SideConfig(side="none", merge="ladder"),
        "finetune": METHODS["finetune"],
        "blind": METHODS["blind"],
        "lora": LoraConfig(),
        "adapter": AdapterConfig(),
    }
    model = model_with(configs, make())
    policy = export_policy(model, FOUR)
    assert check_parity(model, policy, frames()) < 1e-5
    assert tuple(policy.adapters) == tuple(configs)


def test_an_agent_acts_as_the_model_and_shares_one_base(model: SideModel, policy: PolicyFile) -> None:
    agent: Agent = SideTunedAgent(policy, providers=CPU)
    agent.reset()
    for index in range(6):
        logits = model({name: x[index : index + 1] for name, x in frames().items()})
        assert agent.act(row(frames(), index)) == int(logits.argmax())
    weights = model.base[9].weight.numpy().tobytes()
    assert weights in policy.base
    assert not any(weights in graph for graph in policy.adapters.values())


def test_continuous_actions_are_clipped_to_the_space() -> None:
    model = get_side_model(vector_base(), SideConfig(), images(), head=nn.Linear(16, 2))
    with torch.no_grad():
        model.task("default").head.bias.copy_(torch.tensor([9.0, 0.0]))
    space = gymnasium.spaces.Box(np.array([-1.0, -2.0], np.float32), np.array([1.0, 2.0], np.float32))
    agent = SideTunedAgent(export_policy(model.eval(), space), providers=CPU)
    action = agent.act(images()[0].numpy())
    assert action[0] == 1.0
    assert action[1] == pytest.approx(model(images()[:1])[0, 1].item(), abs=1e-5)
    assert space.contains(action)


def test_a_file_is_what_was_exported(policy: PolicyFile, tmp_path: Path) -> None:
    write_policy(tmp_path / "a.side", policy)
    write_policy(tmp_path / "b.side", read_policy(tmp_path / "a.side"))
    assert read_policy(tmp_path / "a.side") == policy
    assert (tmp_path / "a.side").read_bytes() == (tmp_path / "b.side").read_bytes()


def test_it_runs_without_torch(model: SideModel, tmp_path: Path) -> None:
    export_onnx(model, tmp_path / "p.side", FOUR, frames())
    np.savez(tmp_path / "frame.npz", **row(frames(), 0))
    code = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "stable_baselines3", "safetensors", "onnx", "mujoco", "rclpy"):
            raise ModuleNotFoundError(f"{name} is not on the robot", name=name)
sys.meta_path.insert(0, Blocked())
import numpy
from agents.sidetuning.policy_agent import SideTunedAgent
agent = SideTunedAgent(sys.argv[1], "garden", providers=("CPUExecutionProvider",))
print(agent.act(dict(numpy.load(sys.argv[2]))))
"""
    ran = subprocess.run(
        [sys.executable, "-B", "-c", code, str(tmp_path / "p.side"), str(tmp_path / "frame.npz")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    model.set_adapter("garden")
    assert int(ran.stdout) == int(model({name: x[:1] for name, x in frames().items()}).argmax())


def test_swapping_while_it_drives_never_mixes_two_adapters(policy: PolicyFile) -> None:
    agent = SideTunedAgent(policy, providers=CPU)
    frame = row(frames(), 0)
    alone = {}
    for name in agent.adapters:
        agent.set_adapter(name)
        alone[name] = agent.outputs(frame)
    assert not np.array_equal(alone["office"], alone["garden"])
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for name in agent.adapters:
                agent.set_adapter(name)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            output = agent.outputs(frame)
            assert any(np.array_equal(output, one) for one in alone.values())
    finally:
        stop.set()
        thread.join()


def test_an_unknown_adapter_is_refused_and_the_old_one_goes_on(
    policy: PolicyFile, caplog: pytest.LogCaptureFixture
) -> None:
    agent = SideTunedAgent(policy, providers=CPU)
    before = agent.outputs(row(frames(), 0))
    with pytest.raises(SideError, match="no adapter 'cellar': this policy has office, garden"):
        agent.set_adapter("cellar")
    assert "'office' goes on" in caplog.text
    assert agent.active == "office"
    assert np.array_equal(agent.outputs(row(frames(), 0)), before)
    with pytest.raises(SideError, match="no adapter 'cellar'"):
        SideTunedAgent(policy, "cellar", providers=CPU)


def test_adapters_of_another_file_join_if_their_base_is_this_one(policy: PolicyFile) -> None:
    agent = SideTunedAgent(policy, providers=CPU)
    later = model_with({"stairs": SideConfig(merge="film")})
    assert agent.add_adapters(export_policy(later, FOUR)) == ("stairs",)
    assert agent.active == "office"
    agent.set_adapter("stairs")
    expected = later({name: x[:1] for name, x in frames().items()})[0].detach().numpy()
    assert np.allclose(agent.outputs(row(frames(), 0)), expected, atol=1e-5)
    with pytest.raises(SideError, match="another base_sha256"):
        agent.add_adapters(export_policy(model_with({"x": SideConfig()}, vector_base(9)), FOUR))
    with pytest.raises(SideError, match="named office already"):
        agent.add_adapters(export_policy(model_with({"office": SideConfig()}, seed=3), FOUR))
    ladder = model_with({"ladder": SideConfig(side="none", merge="ladder")})
    with pytest.raises(SideError, match="does not give"):
        agent.add_adapters(export_policy(ladder, FOUR))
    broken = replace(policy, adapters={"cellar": policy.adapters["office"][:-50]})
    with pytest.raises(SideError, match="refuses the adapter 'cellar'"):
        agent.add_adapters(broken)
    assert agent.adapters == ("office", "garden", "stairs")


def test_the_gate_stops_an_export_that_answers_otherwise(model: SideModel, policy: PolicyFile) -> None:
    swapped = replace(policy, adapters={"office": policy.adapters["garden"]})
    with pytest.raises(ParityError, match="'office' differs by"):
        check_parity(model, swapped, frames())


def test_observations_that_do_not_fit_are_refused(policy: PolicyFile) -> None:
    agent = SideTunedAgent(policy, providers=CPU)
    frame = row(frames(), 0)
    for change, message in (
        ({"rgb": frame["rgb"][:, :8]}, r"expects rgb \(3, 16, 16\) float32, the robot gives \(3, 8, 16\)"),
        ({"rgb": frame["rgb"].astype(np.float64)}, "gives .* float64"),
    ):
        with pytest.raises(SideError, match=message):
            agent.act({**frame, **change})
    with pytest.raises(SideError, match="reads the sensor 'goal', the robot gives rgb"):
        agent.act({"rgb": frame["rgb"]})


def test_a_policy_needs_a_head_for_its_actions(model: SideModel) -> None:
    with pytest.raises(SideError, match="gives 4 numbers, Discrete"):
        export_policy(model, gymnasium.spaces.Discrete(3))
    with pytest.raises(SideError, match="Discrete and Box"):
        export_policy(model, gymnasium.spaces.MultiBinary(4))
    with pytest.raises(SideError, match="no adapter 'cellar'"):
        export_policy(model, FOUR, ["cellar"])


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    spec = json.loads(parts["spec.json"])
    change(spec)
    parts["spec.json"] = json.dumps(spec).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "version": (lambda p: rewrite(p, lambda s: s.update(format=7)), "has format 7, this version reads 1"),
    "cut short": (lambda p: p.write_bytes(p.read_bytes()[:-200]), "not a whole policy file"),
    "empty": (lambda p: p.write_bytes(b""), "not a whole policy file"),
    "missing": (lambda p: p.unlink(), "there is no policy"),
    "no graph": (lambda p: rewrite(p, lambda s: s["adapters"].append("cellar")), "not a whole policy file"),
    "no sensors": (lambda p: rewrite(p, lambda s: s.pop("sensors")), "not a whole policy file"),
    "fewer sensors": (lambda p: rewrite(p, lambda s: s["sensors"].pop("goal")), "not all of which is here"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_damaged_and_foreign_files_are_refused(name: str, policy: PolicyFile, tmp_path: Path) -> None:
    write_policy(tmp_path / "p.side", policy)
    damage, message = BAD[name]
    damage(tmp_path / "p.side")
    with pytest.raises(SideError, match=message):
        SideTunedAgent(tmp_path / "p.side", providers=CPU)
