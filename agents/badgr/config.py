"""Settings of a training run of the event predictor; torch-free, so that a command line can show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agents.badgr.events import LabelConfig
from agents.badgr.spec import ModelSpec
from agents.badgr.windows import WindowConfig


@dataclass(frozen=True)
class BadgrConfig:
    """A run. Sources of the numbers: badgr specification 1.4 and 1.5, where it says nothing else."""

    data: tuple[str, ...]
    """folders of recorded drives"""
    holdout_data: tuple[str, ...] = ()
    """folders of drives to measure on; none: a share of the drives in `data`"""
    holdout: float = 0.1
    """share of the drives in `data` that are measured on and never trained on"""
    spec: ModelSpec = field(default_factory=ModelSpec)
    labels: LabelConfig = field(default_factory=LabelConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    released_code: bool = False
    """the layers of the released code in place of the paper's"""
    steps: int = 20_000
    """minibatches; the original: 100,000 to 200,000"""
    batch_size: int = 32
    learning_rate: float = 1e-4
    """of Adam, constant"""
    event_weights: Mapping[str, float] = field(
        default_factory=lambda: {"collision": 2.0, "bumpy": 1.0, "stuck": 1.0}
    )
    """weight of each event's loss; 1 where none is given"""
    positive_weights: Mapping[str, float] = field(
        default_factory=lambda: {"collision": 1.0, "bumpy": 1.0, "stuck": 1.0}
    )
    """factor on the steps in which an event happens; 1 where none is given (released code: bumpy 0.2)"""
    position_weight: float = 1.0
    weight_decay: float = 1e-2
    """of the mean square of the kernels"""
    keep: Literal["best", "last"] = "best"
    """which network is exported: that of the lowest loss on the hold-out, or the last"""
    evaluations: int = 20
    """measurements on the hold-out, evenly over the run"""
    holdout_windows: int = 2048
    """measured on each time, evenly over the hold-out; the final measurement takes four times as many"""
    log_rows: int = 100
    checkpoints: int = 10
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """of the products; auto: bfloat16 on a GPU, float32 elsewhere"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 ..."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("data names no folder of recorded drives")
        if not 0 < self.holdout < 1:
            raise ValueError(f"holdout must lie between 0 and 1, got {self.holdout}")
        for name in ("steps", "batch_size", "evaluations", "holdout_windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not (self.position_weight >= 0 and self.weight_decay >= 0):
            raise ValueError("position_weight and weight_decay must not be negative")
        for kind in (self.event_weights, self.positive_weights):
            wrong = {name: weight for name, weight in kind.items() if not weight >= 0}
            if wrong:
                raise ValueError(f"weights must not be negative, got {wrong}")
