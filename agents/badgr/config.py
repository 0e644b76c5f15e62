"""Settings of a training run of the event predictor; torch-free, so that a command line can show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agents.badgr.events import LabelConfig
from agents.badgr.mirror import steering_column
from agents.badgr.spec import ModelSpec
from agents.badgr.windows import WindowConfig


@dataclass(frozen=True)
class BadgrConfig:
    """A run. Sources of the numbers: badgr specification 1.4 and 1.5, where it says nothing else."""

    data: tuple[str, ...] = ()
    """folders of recorded drives"""
    shards: str = ""
    """in place of folders: drives in shards, in a folder or at s3://bucket/prefix, of which each process
    fetches and reads its own alone"""
    cache: str = ""
    """folder of this machine for the shards that it fetched; none: in the user's own cache"""
    holdout_data: tuple[str, ...] = ()
    """folders of drives to measure on; none: a share of the drives in `data`"""
    holdout: float = 0.1
    """share of the drives in `data` that are measured on and never trained on"""
    spec: ModelSpec = field(default_factory=ModelSpec)
    labels: LabelConfig = field(default_factory=LabelConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    hours: float | None = None
    """of driving to train on: the first drives in an order of their own, that is the same for any hours, so
    that less is always a part of more; the hold-out stays whole. None: all there are"""
    mirror: float = 0.5
    """share of the windows trained on that are seen in a mirror, which doubles what there is to see; 0 for a
    camera that does not look straight ahead from the robot's middle"""
    steering: str = "angular_velocity"
    """the action that a mirror turns round"""
    start_from: str = ""
    """folder of another run, or its network.safetensors, whose weights this one begins with"""
    members: int = 1
    """of an ensemble: rollouts beside each other on one image encoder; their disagreement is part of the
    model"""
    member_share: float = 0.8
    """of the drives, that each member learns from"""
    released_code: bool = False
    """the layers of the released code in place of the paper's"""
    steps: int = 20_000
    """minibatches; the original: 100,000 to 200,000"""
    batch_size: int = 32
    """of all processes together"""
    learning_rate: float = 3e-4
    """of Adam, at its highest; the original: 1e-4, constant"""
    schedule: Literal["cosine", "constant"] = "cosine"
    """cosine: the learning rate rises over `warmup` of the steps, then falls to 0 at the end"""
    warmup: float = 0.05
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
    threads: int = 1
    """of the processor, for what runs there; the second one adds little (bench_badgr_train.py), and harms
    beside other work"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 ..."""
    seed: int = 0

    def __post_init__(self) -> None:
        if bool(self.data) == bool(self.shards):
            raise ValueError("data must name a folder of recorded drives, or shards their place")
        if self.shards and (self.holdout_data or self.hours is not None):
            raise ValueError("drives in shards have no holdout_data and no hours: cut others instead")
        if not 0 < self.holdout < 1:
            raise ValueError(f"holdout must lie between 0 and 1, got {self.holdout}")
        for name in ("steps", "batch_size", "evaluations", "holdout_windows", "members", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a share of the steps below 1, got {self.warmup}")
        if not 0 < self.member_share <= 1:
            raise ValueError(f"member_share must be above 0 and at most 1, got {self.member_share}")
        if not 0 <= self.mirror <= 1:
            raise ValueError(f"mirror must be a share between 0 and 1, got {self.mirror}")
        if self.mirror:
            steering_column(self.spec, self.steering)
        if self.hours is not None and not self.hours > 0:
            raise ValueError(f"hours must be above 0, got {self.hours}")
        if not (self.position_weight >= 0 and self.weight_decay >= 0):
            raise ValueError("position_weight and weight_decay must not be negative")
        for kind in (self.event_weights, self.positive_weights):
            wrong = {name: weight for name, weight in kind.items() if not weight >= 0}
            if wrong:
                raise ValueError(f"weights must not be negative, got {wrong}")
