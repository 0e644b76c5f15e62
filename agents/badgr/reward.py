"""What a plan is worth: predicted events and progress to a goal, weighted as one likes, without retraining.

Kahn et al. 2020 gate by collision: whatever would come after one counts as the worst. Each term lies in
[0, 1], so that weights compare directly. Source of the formulas: paper, section on planning; the
released code's dead zones and goal cone are options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.prediction import Prediction

Array = NDArray[Any]


@dataclass(frozen=True)
class Preferences:
    """How much each thing matters; change it between two plans as you like.

    A weight of 0 does not look at its term. Weights are of one step; a plan's cost is their mean.
    """

    collision: float = 1.0
    """weight of the collision event itself"""
    goal: float = 0.5
    """weight of the angle between where the robot would go and where the goal is"""
    events: Mapping[str, float] = field(default_factory=lambda: {"bumpy": 0.5, "stuck": 1.0})
    """weight of each further event"""
    steering: float = 0.001
    """weight of the squared steering, of its limits"""
    smoothness: float = 0.0
    """weight of the squared change of steering between steps"""
    dead_zone: float = 0.02
    """probabilities below it count as 0, above 1 minus it as 1: what is certain is certain"""

    def __post_init__(self) -> None:
        weights = {"collision": self.collision, "goal": self.goal, "steering": self.steering}
        weights |= {"smoothness": self.smoothness, **self.events}
        for name, weight in weights.items():
            if not (np.isfinite(weight) and weight >= 0):
                raise ValueError(f"the weight of {name} must be finite and not negative, got {weight}")
        if not 0 <= self.dead_zone < 0.5:
            raise ValueError(f"dead_zone must lie in [0, 0.5), got {self.dead_zone}")


def plan_cost(
    prediction: Prediction, steering: Array, preferences: Preferences, goal: Array | None = None
) -> Array:
    """Cost of each candidate, (N,), the mean over its steps.

    steering: (N, H) in [-1, 1] of its limits. goal: (2,) m in the robot's frame, only its direction
    counts; None: no goal.
    """
    crash = certain(prediction.events["collision"], preferences.dead_zone)  # (N, H)
    survive = 1 - crash
    cost = preferences.collision * crash
    if goal is not None and preferences.goal:
        cost = cost + preferences.goal * (survive * goal_angle(prediction.position, goal) + crash)
    for name, weight in preferences.events.items():
        if weight and name in prediction.events:
            event = certain(prediction.events[name], preferences.dead_zone)
            cost = cost + weight * (survive * event + crash)
    cost = cost + preferences.steering * steering**2
    total: Array = cost.mean(1)
    if preferences.smoothness:
        total = total + preferences.smoothness * (np.diff(steering, axis=1) ** 2).mean(1)
    return total


def certain(probability: Array, dead_zone: float) -> Array:
    """Probabilities stretched so that those within dead_zone of 0 or 1 reach it."""
    if not dead_zone:
        return probability
    return np.clip((probability - dead_zone) / (1 - 2 * dead_zone), 0, 1)


def goal_angle(position: Array, goal: Array) -> Array:
    """Angle between each displacement (N, H, 2) and the goal's direction, as a share of pi, (N, H).

    A robot that stays where it is has made no progress in any direction: half.
    """
    towards = np.arctan2(goal[1], goal[0])
    angle = np.arctan2(position[..., 1], position[..., 0]) - towards
    wrapped = np.abs((angle + np.pi) % (2 * np.pi) - np.pi) / np.pi
    moved = np.square(position).sum(-1) > 1e-6
    return np.where(moved, wrapped, 0.5)
