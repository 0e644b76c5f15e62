"""The ONNX graphs of a policy file: one of the base, one of every adapter."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from agents.sidetuning.base import BaseOutputs, fingerprint, run_base
from agents.sidetuning.config import SideError
from agents.sidetuning.inner import LoraAdapter
from agents.sidetuning.model import SideModel
from agents.sidetuning.policy_agent import SideTunedAgent
from agents.sidetuning.policy_file import FEATURES, PolicyFile, Sensor, tap_name

TOLERANCE = 1e-5
"""largest difference that passes the gate, for outputs up to 1; relative above"""
OPSET = 17


class ParityError(RuntimeError):
    """The exported policy gives something else than the trained one."""


class Part(Protocol):
    """A module from `inputs`, by name and in order, to outputs (N, K); taps: what it reads in the base."""

    inputs: tuple[str, ...]
    taps: tuple[str, ...]
    reads_base: bool

    def __call__(self, *tensors: Tensor) -> Tensor: ...


class TappedBase(nn.Module):
    """The base's features, then its taps. prepare: what is done to the sensor before the base."""

    def __init__(
        self, base: nn.Module, taps: Sequence[str], prepare: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.base, self.taps, self.prepare = base, tuple(taps), prepare

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = run_base(self.base, inputs if self.prepare is None else self.prepare(inputs), self.taps)
        return (outputs.features, *(outputs.taps[name] for name in self.taps))


class Decider(nn.Module):
    """One task of a side model as a `Part`."""

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


def assemble(
    base: nn.Module,
    parts: Mapping[str, Part],
    zeros: Mapping[str, Tensor],
    base_input: str,
    action_space: gymnasium.spaces.Space[Any],
    active: str,
    prepare: Callable[[Tensor], Tensor] | None = None,
) -> PolicyFile:
    """Base and parts as ONNX, any batch size.

    zeros: one row of every sensor as the robot gives it. Raises SideError for outputs that do not fit the
    action space, and for a base that is not on the CPU.
    """
    if next(base.parameters()).device.type != "cpu":
        raise SideError("export from the CPU: call cpu() first")
    taps = tuple(dict.fromkeys(tap for part in parts.values() for tap in part.taps))
    tapped = TappedBase(base, taps, prepare).eval()
    names = (FEATURES, *map(tap_name, taps))
    given = {**zeros, **dict(zip(names, tapped(zeros[base_input]), strict=True))}
    for name, part in parts.items():
        _expect_outputs(name, part, given, action_space)
    read = any(part.reads_base for part in parts.values())
    return PolicyFile(
        sensors={
            name: Sensor(tuple(x.shape[1:]), str(x.dtype).removeprefix("torch.")) for name, x in zeros.items()
        },
        base_input=base_input,
        taps=taps,
        action_space=action_space,
        base_sha256=fingerprint(base),
        active=active,
        base=_onnx(tapped, {base_input: zeros[base_input]}, names) if read else b"",
        adapters={
            name: _onnx(part, {key: given[key] for key in part.inputs}, ["output"])
            for name, part in parts.items()
        },
    )


def compare(
    policy: PolicyFile, trained: Mapping[str, np.ndarray], observations: Mapping[str, np.ndarray]
) -> float:
    """The largest difference between adapters and what they were trained to give, (N, outputs) each.

    Raises ParityError when it is above TOLERANCE, for outputs larger than 1 relative to them.
    """
    agent, worst = SideTunedAgent(policy, providers=("CPUExecutionProvider",)), 0.0
    for name, expected in trained.items():
        agent.set_adapter(name)
        rows = [{key: x[row] for key, x in observations.items()} for row in range(len(expected))]
        difference = float(np.abs(expected - np.stack([agent.outputs(one) for one in rows])).max())
        if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise ParityError(
                f"the exported adapter {name!r} differs by {difference:.2g}, allowed is {TOLERANCE:.2g} "
                "of the largest output: do not drive with it"
            )
        worst = max(worst, difference)
    return worst


def _expect_outputs(
    name: str, part: Any, given: Mapping[str, Tensor], space: gymnasium.spaces.Space[Any]
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


def _onnx(module: Any, inputs: Mapping[str, Tensor], outputs: Iterable[str]) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter takes 20 times as long (torch 2.13) and cannot follow hooks.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(torch.cat([x, x]) for x in inputs.values()),
            content,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "n"} for name in (*inputs, *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
    return content.getvalue()
