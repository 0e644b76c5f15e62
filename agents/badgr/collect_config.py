"""Settings of gathering experience; torch-free, and readable without a simulator."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from agents.badgr.events import OFF_ROAD, URBAN, LabelConfig
from agents.badgr.geofence import FenceConfig
from agents.badgr.recovery import RecoveryConfig
from agents.badgr.walk import WalkConfig

WorldKind = Literal["urban", "off-road", "indoor"]
LABELS: dict[WorldKind, LabelConfig] = {"urban": URBAN, "off-road": OFF_ROAD, "indoor": URBAN}
"""The thresholds that label the drives of each kind of world"""


@dataclass(frozen=True)
class CollectConfig:
    """What is driven where. The same values give the same drives; more hours add to them."""

    world: WorldKind = "urban"
    split: Literal["train", "validation", "test"] = "train"
    hours: float = 2.0
    """simulated"""
    seed: int = 0
    policy: str = "random"
    """"random" walk, or the file of a trained event predictor"""
    swap_colours: bool = False
    """what looks smooth is bumpy and the other way round: the ablation's world"""
    episode_seconds: float = 60.0
    """longest drive; a rescue ends it earlier"""
    rovers: int = 16
    """that drive in one unit of work, each in a world of its own"""
    walk: WalkConfig = field(default_factory=WalkConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    fence: FenceConfig = field(default_factory=FenceConfig)

    def __post_init__(self) -> None:
        if self.world not in LABELS:
            raise ValueError(f"the worlds are {', '.join(LABELS)}, got {self.world!r}")
        if not (math.isfinite(self.hours) and self.hours > 0):
            raise ValueError(f"hours must be finite and above 0, got {self.hours}")
        if self.rovers < 1:
            raise ValueError(f"rovers must be at least 1, got {self.rovers}")
        if not 5 <= self.episode_seconds <= 3600:
            raise ValueError(f"episode_seconds must be 5 to 3600, got {self.episode_seconds}")

    @property
    def unit_hours(self) -> float:
        """Simulated hours of one unit of work."""
        return self.rovers * self.episode_seconds / 3600

    @property
    def units(self) -> int:
        """Units of work that make up at least `hours`."""
        return math.ceil(self.hours / self.unit_hours - 1e-9)
