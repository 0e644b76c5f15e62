"""How a visual base is pre-trained; torch-free, so that a command line can show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from agents.sidetuning.config import SideError

MidLevel: TypeAlias = Literal["depth", "normals", "edges", "contrastive"]
TASKS: tuple[MidLevel, ...] = ("depth", "normals", "edges", "contrastive")


@dataclass(frozen=True)
class BaseNetwork:
    """Convolutions from (3, H, W) to (features, H / 8, W / 8)."""

    height: int = 24
    width: int = 32
    channels: tuple[int, int, int] = (24, 32, 48)
    features: int = 16

    def __post_init__(self) -> None:
        if self.height % 8 or self.width % 8 or min(self.height, self.width) < 8:
            raise SideError(f"a base's images need sides of multiples of 8, got {self.height} x {self.width}")
        if min(self.channels) < 1 or any(c % 8 for c in self.channels) or self.features < 1:
            raise SideError(
                f"a base's channels need to be multiples of 8, and features >= 1, got {self.channels} and "
                f"{self.features}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the features."""
        return self.features, self.height // 8, self.width // 8


@dataclass(frozen=True)
class PretrainConfig:
    """A base that learns mid-level vision in the rooms as they are."""

    network: BaseNetwork = field(default_factory=BaseNetwork)
    tasks: tuple[MidLevel, ...] = ("depth", "normals", "edges")
    """what it learns to see; contrastive: SimCLR's loss on two distorted views"""
    weights: Mapping[str, float] = field(default_factory=lambda: {"depth": 1.0, "normals": 1.0, "edges": 0.5})
    """of the tasks' losses; 1 where none is given"""
    frames: int = 8_000
    """pictures from the training worlds"""
    layouts: int = 60
    """from the first so many of them; of the validation ones at most as many"""
    holdout_frames: int = 500
    """from the validation worlds, that it is measured on"""
    steps: int = 1_500
    batch_size: int = 32
    learning_rate: float = 2e-3
    """falls to 0 along a cosine"""
    seed: int = 0
    log_rows: int = 50
    evaluations: int = 3
    checkpoints: int = 5

    def __post_init__(self) -> None:
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise SideError(f"tasks must be some of {', '.join(TASKS)}, each once, got {self.tasks}")
        unknown = set(self.weights) - set(TASKS)
        if unknown or any(weight <= 0 for weight in self.weights.values()):
            raise SideError(f"weights must be above 0 and of {', '.join(TASKS)}, got {dict(self.weights)}")
        counts = self.frames, self.layouts, self.holdout_frames, self.steps, self.batch_size
        if min(counts) < 1 or self.learning_rate <= 0:
            raise SideError("pre-training needs counts of frames, layouts and steps >= 1, learning_rate > 0")
