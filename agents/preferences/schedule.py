"""When labels are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

ScheduleKind = Literal["scaled", "paper", "linear", "offline"]

SCALED_SHARE = 0.2
"""half-life of the scaled schedule as a share of the run: the paper's 2e6 of 1e7 MuJoCo steps"""


@dataclass(frozen=True)
class LabelSchedule:
    """How many labels of a budget are due at each step.

    "paper": a share at the start, the rest at a rate proportional to half_life / (step + half_life)
    (Christiano et al. 2017, appendix A; its half-life is 2e6 for MuJoCo and 5e6 for Atari).
    "scaled": the same shape with a half-life of a fifth of the run, so that short runs are like it.
    "linear": the rest evenly. "offline": all at the start.
    """

    labels: int
    """budget of the whole run"""
    steps: int
    """steps of the whole run"""
    kind: ScheduleKind = "scaled"
    initial_share: float = 0.25
    """of the labels, due at step 0 (MuJoCo; 500 / 5500 on Atari)"""
    half_life: float = 2e6
    """steps after which the rate of "paper" has halved"""

    def __post_init__(self) -> None:
        if self.kind not in get_args(ScheduleKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(ScheduleKind))}, got {self.kind!r}")
        if self.labels < 0 or self.steps < 1:
            raise ValueError(
                f"labels and steps must not be negative or empty, got {self.labels}, {self.steps}"
            )
        if not 0 <= self.initial_share <= 1 or not self.half_life > 0:
            raise ValueError(
                f"initial_share must lie in [0, 1] and half_life above 0, got {self.initial_share} and "
                f"{self.half_life}"
            )

    def due(self, step: int) -> int:
        """Labels that should have been asked by this step, from the start; never more than `labels`."""
        if self.kind == "offline" or step >= self.steps:
            return self.labels
        first = round(self.initial_share * self.labels)
        # A hair above the exact value, for steps at which it is a whole number.
        return first + math.floor((self.labels - first) * self._share(max(step, 0)) + 1e-9)

    def _share(self, step: int) -> float:
        if self.kind == "linear":
            return step / self.steps
        half_life = self.half_life if self.kind == "paper" else SCALED_SHARE * self.steps
        return math.log1p(step / half_life) / math.log1p(self.steps / half_life)
