"""A frozen base with one adapter a task, of which one is active: the face of the package."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agents.sidetuning.adapter import SideAdapter
from agents.sidetuning.base import BaseOutputs, fingerprint, freeze, run_base
from agents.sidetuning.config import AnyConfig, LoraConfig, SideConfig, SideError
from agents.sidetuning.inner import LoraAdapter, ResidualAdapter
from agents.sidetuning.inputs import Inputs, Sensors
from agents.sidetuning.layers import Shape
from agents.sidetuning.merges import AlphaBlend


class Task(nn.Module):
    """An adapter and the head on top of it."""

    def __init__(self, encoder: SideAdapter | LoraAdapter | ResidualAdapter, head: nn.Module | None) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head


class SideModel(nn.Module):
    """Base, adapters and heads. The base is held, not owned: it is in no optimiser and no state_dict.

    base: any module from one sensor to features (N, d) or (N, C, H, W); it is frozen in place, with its
    batch normalisation, also under train(). example: inputs as they will come; only their shapes and types
    are used. base_input: the sensor that the base reads, where there are several.
    """

    def __init__(self, base: nn.Module, example: Inputs, base_input: str | None = None) -> None:
        super().__init__()
        freeze(base)
        object.__setattr__(self, "base", base)
        self.sensors = Sensors(example, base_input, next(base.parameters()).device)
        zeros = self.sensors.zeros[self.base_input]
        try:
            self.features: Shape = tuple(run_base(base, zeros).features.shape[1:])
        except RuntimeError as error:
            raise SideError(
                f"the base cannot read {self.base_input} {tuple(zeros.shape)}: {error}"
            ) from error
        self.tasks = nn.ModuleDict()
        self.active: str | None = None

    @property
    def base_input(self) -> str:
        """The sensor that the base reads."""
        return self.sensors.base_input

    # -- adapters -------------------------------------------------------------------------------

    def add_adapter(
        self, name: str, config: AnyConfig, *, side: nn.Module | None = None, head: nn.Module | None = None
    ) -> None:
        """A new task; it becomes the active one if it is the first.

        side: the network for side="custom". head: a module on the merged features in place of config.head.
        Raises SideError for shapes that do not fit; the model is then as before.
        """
        if name in self.tasks or hasattr(self.tasks, name) or not re.fullmatch(r"[\w-]+", name):
            raise SideError(
                f"an adapter cannot be named {name!r}: take another name, of letters, digits, _ and -"
            )
        if head is not None and config.head:
            raise SideError("give config.head or a head module, not both")
        if side is not None and not isinstance(config, SideConfig):
            raise SideError(f"a {type(config).__name__} has no side network")
        if isinstance(config, SideConfig):
            for earlier in config.stack:
                stacked = self._encoder(earlier)
                if stacked.side is None or stacked.taps:
                    raise SideError(f"adapter {earlier!r} has no side that could be stacked")
            encoder: Any = SideAdapter(config, self.base, self.sensors.zeros, self.base_input, side)
        else:
            kind: Any = LoraAdapter if isinstance(config, LoraConfig) else ResidualAdapter
            encoder = kind(config, self.base, self.sensors.zeros, self.base_input)
        task = Task(encoder, head if head is not None else _head(self.features, config.head))
        self.tasks[name] = task.to(self.sensors.zeros[self.base_input].device)
        self.set_adapter(self.active or name)

    def set_adapter(self, name: str) -> None:
        """Makes a task the active one, the only one that is trained. Raises SideError, nothing changed."""
        self.task(name)
        self.active = name
        for other, task in self.tasks.items():
            task.requires_grad_(other == name)
            task.train(self.training and other == name)

    def delete_adapter(self, name: str) -> None:
        """Raises SideError when others are stacked on it, or when it is active and not the last."""
        self.task(name)
        users = [
            other for other, task in self.tasks.items() if name in getattr(task.encoder.config, "stack", ())
        ]
        if users:
            raise SideError(f"adapter {name!r} feeds {', '.join(users)}: delete those first")
        if self.active == name and len(self.tasks) > 1:
            raise SideError(f"adapter {name!r} is active: set another one first")
        del self.tasks[name]
        self.active = None if self.active == name else self.active

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Inside, the model gives the base's own features, bit for bit."""
        before, self.active = self.active, None
        try:
            yield
        finally:
            self.active = before

    def task(self, name: str) -> Task:
        """Raises SideError with the names there are."""
        if name not in self.tasks:
            raise SideError(f"there is no adapter {name!r}: the model has {', '.join(self.tasks) or 'none'}")
        task: Task = self.tasks[name]
        return task

    # -- running --------------------------------------------------------------------------------

    def forward(self, inputs: Inputs, base: BaseOutputs | None = None) -> Tensor:
        """Output of the active task's head, or its features where it has none.

        base: what `base_outputs` gave for these inputs before, so that the base need not run again.
        """
        features = self.encode(inputs, base)
        head = self.task(self.active).head if self.active is not None else None
        return features if head is None else head(features)

    def encode(self, inputs: Inputs, base: BaseOutputs | None = None) -> Tensor:
        """Merged features of the active task; without one, the base's."""
        sensors = self.sensors.check(inputs)
        if self.active is None:
            return (base or self._run_base(sensors)).features
        encoder: Any = self.task(self.active).encoder
        stack = getattr(encoder.config, "stack", ())
        if base is None and (encoder.needs_base or encoder.taps):
            base = self._run_base(sensors, encoder.taps)
        # Earlier tasks' sides are constants here, as in the authors' code.
        with torch.no_grad():
            earlier = [self._encoder(name).side_output(sensors, base) for name in stack]
        return encoder(sensors, base, earlier)

    def base_outputs(self, inputs: Inputs) -> BaseOutputs:
        """Features, and the taps of the active adapter, to be kept and given to `forward`."""
        taps = self.task(self.active).encoder.taps if self.active is not None else ()
        return self._run_base(self.sensors.check(inputs), taps)

    def side_output(self, inputs: Inputs, base: BaseOutputs | None = None) -> Tensor:
        """What the active adapter's side alone gives. Raises SideError where there is no side."""
        encoder = self._encoder(self.active)
        if encoder.side is None:
            raise SideError(f"adapter {self.active!r} has no side")
        sensors = self.sensors.check(inputs)
        return encoder.side_output(sensors, base or self._run_base(sensors, encoder.taps))

    @torch.no_grad()
    def merge_report(self, inputs: Inputs, base: BaseOutputs | None = None) -> dict[str, float]:
        """alpha, where there is one, and norm_ratio: |(1 - alpha) side| / |alpha base| on a batch.

        Alpha alone says little: the side's scale is free.
        """
        encoder = self._encoder(self.active)
        base = base or self.base_outputs(inputs)
        side = self.side_output(inputs, base)
        report = {}
        shares = (1.0, 1.0)
        if isinstance(encoder.merge, AlphaBlend):
            weights = encoder.merge.weights().tolist()
            shares = weights[0], weights[-1]
            report["alpha"] = weights[0]
        base_norm = shares[0] * float(base.features.norm())
        report["norm_ratio"] = shares[1] * float(side.norm()) / base_norm if base_norm else math.inf
        return report

    @property
    def alpha(self) -> float | None:
        """The weight of the base in the active adapter; None where the merge has none."""
        encoder = self.task(self.active).encoder if self.active is not None else None
        merge = encoder.merge if isinstance(encoder, SideAdapter) else None
        return float(merge.weights()[0].item()) if isinstance(merge, AlphaBlend) else None

    def advance(self, updates: int = 1) -> None:
        """Counts updates of the active task, which schedules of alpha follow."""
        encoder = self.task(self.active).encoder if self.active is not None else None
        if isinstance(encoder, SideAdapter) and isinstance(encoder.merge, AlphaBlend):
            encoder.merge.updates += updates

    def base_fingerprint(self) -> str:
        """sha256 of the base's weights and buffers; training must never change it."""
        return fingerprint(self.base)

    # -- training -------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> SideModel:
        """As any module's, but neither the base nor tasks that are not active follow."""
        super().train(mode)
        for name, task in self.tasks.items():
            if name != self.active:
                task.eval()
        return self

    def param_groups(self, learning_rate: float, weight_decay: float = 0.0) -> list[dict[str, Any]]:
        """The active task's parameters for an optimiser: alpha with its own rate, the merge without decay.

        The base is in none of them.
        """
        task = self.task(self.active) if self.active is not None else None
        if task is None:
            raise SideError("no adapter is active: add one to train")
        named = dict(task.named_parameters())
        alpha = [named.pop(name) for name in list(named) if name.endswith("raw_alpha")]
        merge = [named.pop(name) for name in list(named) if name.startswith("encoder.merge.")]
        groups: list[dict[str, Any]] = [
            {"params": list(named.values()), "lr": learning_rate, "weight_decay": weight_decay}
        ]
        if merge:
            groups.append({"params": merge, "lr": learning_rate, "weight_decay": 0.0})
        if alpha:
            factor = self._encoder(self.active).config.alpha.learning_rate_multiplier
            groups.append({"params": alpha, "lr": factor * learning_rate, "weight_decay": 0.0})
        return [group for group in groups if group["params"]]

    # -- accounts and files -----------------------------------------------------------------------

    def print_trainable_parameters(self) -> None:
        """Base, side, merge and head of every task apart."""
        from agents.sidetuning.accounting import print_trainable_parameters

        print_trainable_parameters(self)

    def save_pretrained(self, folder: Path | str) -> None:
        """The tasks and the base's fingerprint, never the base: see `saved`."""
        from agents.sidetuning.saved import save_pretrained

        save_pretrained(self, folder)

    @classmethod
    def from_pretrained(cls, base: nn.Module, folder: Path | str, **options: Any) -> SideModel:
        """What was saved, on its own base; options as of `saved.from_pretrained`."""
        from agents.sidetuning.saved import from_pretrained

        return from_pretrained(base, folder, **options)

    def fuse(self) -> nn.Module:
        """The active task as one plain network, where that is exact: see `fuse`."""
        from agents.sidetuning.fuse import fuse

        return fuse(self)

    def export_onnx(self, path: Path | str, action_space: Any, observations: Inputs, **options: Any) -> float:
        """Writes a policy for the robot if it gives the same on these observations: see `export`."""
        from agents.sidetuning.export import export_onnx

        return export_onnx(self, path, action_space, observations, **options)

    # -- inside ---------------------------------------------------------------------------------

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> SideModel:
        """Moves the base with the rest: to another device or type."""
        self.base._apply(function, recurse)
        self.sensors.to(next(self.base.parameters()).device)
        super()._apply(function, recurse)
        return self

    def _run_base(self, sensors: Mapping[str, Tensor], taps: tuple[str, ...] = ()) -> BaseOutputs:
        return run_base(self.base, sensors[self.base_input], taps)

    def _encoder(self, name: str | None) -> SideAdapter:
        encoder = self.task(name).encoder if name is not None else None
        if not isinstance(encoder, SideAdapter):
            raise SideError(f"adapter {name!r} has no side")
        return encoder


def get_side_model(
    base: nn.Module,
    config: AnyConfig,
    example: Inputs,
    adapter_name: str = "default",
    *,
    base_input: str | None = None,
    side: nn.Module | None = None,
    head: nn.Module | None = None,
) -> SideModel:
    """A model with its first adapter; arguments as of `SideModel` and `add_adapter`."""
    model = SideModel(base, example, base_input)
    model.add_adapter(adapter_name, config, side=side, head=head)
    return model


def _head(features: Shape, sizes: tuple[int, ...]) -> nn.Module | None:
    if not sizes:
        return None
    layers: list[nn.Module] = [nn.Flatten()]
    before = math.prod(features)
    for index, units in enumerate(sizes):
        layers += [nn.ReLU()] * (index > 0) + [nn.Linear(before, units)]
        before = units
    return nn.Sequential(*layers)
