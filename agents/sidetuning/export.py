"""From a side model to the file that a robot runs, with a gate: both must give the same."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from agents.sidetuning.base import BaseOutputs, run_base
from agents.sidetuning.config import SideError
from agents.sidetuning.inner import LoraAdapter
from agents.sidetuning.inputs import Inputs, named
from agents.sidetuning.model import SideModel
from agents.sidetuning.policy_agent import SideTunedAgent
from agents.sidetuning.policy_file import FEATURES, PolicyFile, Sensor, tap_name, write_policy

TOLERANCE = 1e-5
"""largest difference that passes the gate, for outputs up to 1; relative above"""
OPSET = 17


class ParityError(RuntimeError):
    """The exported policy gives something else than the trained one."""


def export_policy(
    model: SideModel,
    action_space: gymnasium.spaces.Space[Any],
    adapters: Sequence[str] | None = None,
) -> PolicyFile:
    """Base and adapters as ONNX, any batch size.

    adapters: by name, all by default; the active one begins. Each needs a head that gives one number a
    discrete action, or the mean of continuous ones. Raises SideError for other shapes.
    """
    names = tuple(model.tasks) if adapters is None else tuple(adapters)
    if not names:
        raise SideError("the model has no adapter: there is no policy to export")
    if next(model.base.parameters()).device.type != "cpu":
        raise SideError("export from the CPU: call model.cpu() first")
    training = model.training
    try:
        return _export(model, action_space, names)
    finally:
        model.train(training)


def _export(
    model: SideModel, action_space: gymnasium.spaces.Space[Any], names: tuple[str, ...]
) -> PolicyFile:
    parts = {name: Decider(model, name) for name in names}
    taps = tuple(dict.fromkeys(tap for part in parts.values() for tap in part.taps))
    zeros = model.sensors.zeros
    with torch.no_grad():
        outputs = run_base(model.base, zeros[model.base_input], taps)
    given = {**zeros, FEATURES: outputs.features, **{tap_name(tap): x for tap, x in outputs.taps.items()}}
    for name, part in parts.items():
        _expect_outputs(name, part, given, action_space)
    base = b""
    if any(part.reads_base for part in parts.values()):
        base_names = [FEATURES, *map(tap_name, taps)]
        base = _onnx(TappedBase(model.base, taps), {model.base_input: zeros[model.base_input]}, base_names)
    return PolicyFile(
        sensors={name: _sensor(x) for name, x in zeros.items()},
        base_input=model.base_input,
        taps=taps,
        action_space=action_space,
        base_sha256=model.base_fingerprint(),
        active=model.active if model.active in names else names[0],
        base=base,
        adapters={
            name: _onnx(part, {key: given[key] for key in part.inputs}, ["output"])
            for name, part in parts.items()
        },
    )


def check_parity(model: SideModel, policy: PolicyFile, observations: Inputs) -> float:
    """The largest difference over all adapters and observations (N, ...).

    Raises ParityError when it is above TOLERANCE, for outputs larger than 1 relative to them.
    """
    agent = SideTunedAgent(policy, providers=("CPUExecutionProvider",))
    arrays = {key: x.cpu().numpy() for key, x in named(observations).items()}
    active, training, worst = model.active, model.training, 0.0
    model.eval()
    try:
        for name in policy.adapters:
            model.set_adapter(name)
            agent.set_adapter(name)
            with torch.no_grad():
                trained = model(observations).flatten(1).cpu().numpy()
            rows = [{key: x[row] for key, x in arrays.items()} for row in range(len(trained))]
            ours = np.stack([agent.outputs(one) for one in rows])
            difference = float(np.abs(trained - ours).max())
            worst = max(worst, difference)
            if not difference <= TOLERANCE * max(1.0, float(np.abs(trained).max())):
                raise ParityError(
                    f"the exported adapter {name!r} differs by {difference:.2g}, allowed is {TOLERANCE:.2g} "
                    "of the largest output: do not drive with it"
                )
    finally:
        if active is not None:
            model.set_adapter(active)
        model.train(training)
    return worst


def export_onnx(
    model: SideModel,
    path: Path | str,
    action_space: gymnasium.spaces.Space[Any],
    observations: Inputs,
    adapters: Sequence[str] | None = None,
) -> float:
    """Writes the policy if it passes the gate on these observations; gives the largest difference."""
    policy = export_policy(model, action_space, adapters)
    difference = check_parity(model, policy, observations)
    write_policy(path, policy)
    return difference


class TappedBase(nn.Module):
    """The base's features, then its taps."""

    def __init__(self, base: nn.Module, taps: Sequence[str]) -> None:
        super().__init__()
        self.base, self.taps = base, tuple(taps)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = run_base(self.base, inputs, self.taps)
        return (outputs.features, *(outputs.taps[name] for name in self.taps))


class Decider(nn.Module):
    """One task from what it reads, by name and in order, to its output (N, outputs)."""

    def __init__(self, model: SideModel, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name
        encoder: Any = model.task(name).encoder
        self.taps: tuple[str, ...] = encoder.taps
        self.reads_base = bool(encoder.needs_base or encoder.taps)
        self.inputs: tuple[str, ...] = tuple(model.sensors.zeros)
        if self.reads_base:
            self.inputs += (FEATURES, *map(tap_name, self.taps))
        # Tracing cannot follow replaced weights: LoRA is merged into a copy of the base.
        self.merged = encoder.merged() if isinstance(encoder, LoraAdapter) else None

    def forward(self, *tensors: Tensor) -> Tensor:
        given = dict(zip(self.inputs, tensors, strict=True))
        base = None
        if self.reads_base:
            base = BaseOutputs(given[FEATURES], {tap: given[tap_name(tap)] for tap in self.taps})
        sensors = {name: given[name] for name in self.model.sensors.zeros}
        if self.merged is not None:
            task = self.model.task(self.name)
            features = task.encoder.norm(self.merged(sensors[self.model.base_input]))
            return (features if task.head is None else task.head(features)).flatten(1)
        before = self.model.active
        self.model.active = self.name
        try:
            return self.model(sensors, base).flatten(1)
        finally:
            self.model.active = before


def _expect_outputs(
    name: str, part: Decider, given: Mapping[str, Tensor], space: gymnasium.spaces.Space[Any]
) -> None:
    discrete, box = isinstance(space, gymnasium.spaces.Discrete), isinstance(space, gymnasium.spaces.Box)
    if not (discrete or box):
        raise SideError(f"a policy decides in Discrete and Box spaces, got {space}")
    expected = int(space.n) if discrete else int(np.prod(space.shape))
    part.eval()
    with torch.no_grad():
        outputs = part(*(given[key] for key in part.inputs)).shape[1]
    if outputs != expected:
        raise SideError(f"adapter {name!r} gives {outputs} numbers, {space} needs {expected}: give it a head")


def _sensor(x: Tensor) -> Sensor:
    return Sensor(tuple(x.shape[1:]), str(x.dtype).removeprefix("torch."))


def _onnx(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Iterable[str]) -> bytes:
    content = io.BytesIO()
    names = [*inputs, *outputs]
    with warnings.catch_warnings():
        # The newer exporter takes 20 times as long (torch 2.13) and cannot follow hooks.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(torch.cat([x, x]).cpu() for x in inputs.values()),
            content,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "n"} for name in names},
            opset_version=OPSET,
            dynamo=False,
        )
    return content.getvalue()
