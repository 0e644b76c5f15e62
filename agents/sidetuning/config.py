"""What is put beside, or into, a frozen base; torch-free, so that a command line can show it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias


class SideError(ValueError):
    """A base, an adapter, a file or an input do not fit together; the message says what to do."""


def _check_head(head: tuple[int, ...]) -> None:
    if any(units < 1 for units in head):
        raise SideError(f"a head's layers need at least one unit each, got {head}")


@dataclass(frozen=True)
class Alpha:
    """The weight of the base in `alpha * base + (1 - alpha) * side`, learned or over the updates.

    Schedules count the calls of `SideModel.advance`. The authors' code learns alpha; none of its parts
    schedules it, the forms here follow the paper's text.
    """

    kind: Literal["learned", "fixed", "linear", "hyperbolic", "steps"] = "learned"
    start: float = 0.5
    """first value; hyperbolic: start * half / (half + updates)"""
    end: float = 0.0
    """linear: value after `updates`"""
    updates: int = 1
    """linear: length"""
    half: float = 1.0
    """hyperbolic: updates until half of `start`"""
    steps: tuple[tuple[int, float], ...] = ()
    """steps: (update, value from then on), in order"""
    learning_rate_multiplier: float = 20.0
    """learned: times the learning rate of the rest; alpha's gradient is small while side and base agree"""

    def __post_init__(self) -> None:
        for value in (self.start, self.end, *(value for _, value in self.steps)):
            if not 0 <= value <= 1:
                raise SideError(f"alpha must lie in [0, 1], got {value}")
        if self.kind == "learned" and not 0 < self.start < 1:
            raise SideError(f"a learned alpha must start between 0 and 1, got {self.start}: use fixed")
        if self.updates < 1 or not self.half > 0 or not self.learning_rate_multiplier > 0:
            raise SideError("alpha needs updates >= 1, half > 0 and learning_rate_multiplier > 0")
        if (self.kind == "steps") != bool(self.steps) or list(self.steps) != sorted(self.steps):
            raise SideError(f"steps must be (update, value) in order, and only with steps: {self.steps}")

    @classmethod
    def learned(cls, start: float = 0.5, learning_rate_multiplier: float = 20.0) -> Alpha:
        return cls("learned", start, learning_rate_multiplier=learning_rate_multiplier)

    @classmethod
    def fixed(cls, value: float) -> Alpha:
        return cls("fixed", value)

    @classmethod
    def linear(cls, start: float, end: float, updates: int) -> Alpha:
        return cls("linear", start, end, updates)

    @classmethod
    def hyperbolic(cls, half: float, start: float = 1.0) -> Alpha:
        return cls("hyperbolic", start, half=half)

    @classmethod
    def stepped(cls, *steps: tuple[int, float], start: float = 1.0) -> Alpha:
        return cls("steps", start, steps=steps)

    def at(self, updates: int) -> float:
        """Value after so many updates; of a learned alpha, the first."""
        if self.kind == "linear":
            share = min(1.0, updates / self.updates)
            return self.end if share == 1 else self.start + (self.end - self.start) * share
        if self.kind == "hyperbolic":
            return self.start * self.half / (self.half + updates)
        reached = [value for update, value in self.steps if update <= updates]
        return reached[-1] if reached else self.start


SideKind = Literal["small", "fcn4", "fcn5", "base", "none", "custom"]
MergeKind = Literal[
    "alpha", "sum", "product", "film", "mlp", "mlp2", "resmlp2", "ladder", "base_only", "side_only", "blind"
]
ONE_BRANCH = ("base_only", "side_only", "blind")
"""merges that do not merge: the controls"""


@dataclass(frozen=True)
class SideConfig:
    """A side network beside the base, how both are merged, and the head on top."""

    side: SideKind = "small"
    """small: a few convolutions (vectors: layers) that fit any base; fcn4, fcn5: the authors' two; base: the
    base's own architecture; custom: the module given to `add_adapter`"""
    width: int = 16
    """channels of the small side and of the ladder"""
    init: Literal["random", "zero", "copy", "pruned", "distilled"] = "random"
    """zero: output exactly 0 at first, through a zero projection; copy and pruned: of the base's weights,
    with side="base"; distilled: `distill` must run before the first use"""
    keep: float = 0.25
    """pruned: share of the base's channels that is copied, those of the largest norm"""
    merge: MergeKind = "alpha"
    alpha: Alpha = field(default_factory=Alpha)
    """for merge="alpha" """
    norm: Literal["none", "group"] = "none"
    """group: 8 groups without parameters after the merge, as the authors' code does"""
    stack: tuple[str, ...] = ()
    """earlier adapters whose sides feed into this one, detached (merge alpha or sum)"""
    side_inputs: tuple[str, ...] = ()
    """sensors that the side reads; none: what the base reads"""
    taps: tuple[str, ...] = ()
    """ladder: names of the base's modules to read; none: its direct children"""
    head: tuple[int, ...] = ()
    """units of the layers on top, the last being the output; none: no head"""

    def __post_init__(self) -> None:
        if self.side == "none" and self.merge not in ("base_only", "blind", "ladder"):
            raise SideError(f"merge {self.merge!r} needs a side")
        if self.init in ("copy", "pruned") and self.side != "base":
            raise SideError(f"init {self.init!r} copies the base, which needs side='base', got {self.side!r}")
        if self.merge == "ladder" and self.init not in ("random", "zero", "distilled"):
            raise SideError(f"a ladder is built from the taps, it cannot start as {self.init!r}")
        if self.stack and (self.merge not in ("alpha", "sum") or self.alpha.kind != "learned"):
            raise SideError("sides can be stacked with merge='sum', or merge='alpha' and a learned alpha")
        if self.side == "base" and self.side_inputs:
            raise SideError("side='base' reads what the base reads: use another side for side_inputs")
        if self.width < 2 or not 0 < self.keep <= 1:
            raise SideError(f"width must be at least 2 and keep in (0, 1], got {self.width} and {self.keep}")
        _check_head(self.head)


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank changes of the base's own weights, linear and convolutional (Hu 2021)."""

    rank: int = 4
    scale: float = 1.0
    """of the change: lora_alpha / rank elsewhere"""
    targets: tuple[str, ...] = ()
    """names of the layers, or the ends of names; none: every linear and convolutional layer"""
    norm: Literal["none", "group"] = "none"
    head: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1 or not math.isfinite(self.scale) or self.scale == 0:
            raise SideError(f"LoRA needs rank >= 1 and a finite scale, got {self.rank} and {self.scale}")
        _check_head(self.head)


@dataclass(frozen=True)
class AdapterConfig:
    """Residual bottlenecks after modules of the base, exactly nothing at first (Houlsby 2019)."""

    bottleneck: int = 8
    taps: tuple[str, ...] = ()
    """names of the modules; none: the base's direct children that hold parameters"""
    norm: Literal["none", "group"] = "none"
    head: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.bottleneck < 1:
            raise SideError(f"bottleneck must be at least 1, got {self.bottleneck}")
        _check_head(self.head)


AnyConfig: TypeAlias = SideConfig | LoraConfig | AdapterConfig
CONFIGS: Mapping[str, type[AnyConfig]] = MappingProxyType(
    {cls.__name__: cls for cls in (SideConfig, LoraConfig, AdapterConfig)}
)

METHODS: Mapping[str, AnyConfig] = MappingProxyType(
    {
        "side": SideConfig(),
        "features": SideConfig(side="none", merge="base_only"),
        "finetune": SideConfig(side="base", init="copy", merge="side_only"),
        "scratch": SideConfig(side="base", init="random", merge="side_only"),
        "side_only": SideConfig(merge="side_only"),
        "blind": SideConfig(side="none", merge="blind"),
        "ladder": SideConfig(side="none", merge="ladder"),
        "lora": LoraConfig(),
        "adapter": AdapterConfig(),
    }
)
"""The method and its rivals. Fine-tuning and scratch train one copy of the base; the authors' rows train
base, side and alpha together, which is more."""
