"""The naive baseline: straight at the goal, blind to everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.pursuit import MOST_TURN, SPEED
from agents.badgr.trip import STAND, Halt, Trip, TripConfig

Array = NDArray[Any]


class StraightAgent:
    """An Agent. Actions: (2,) float32 rad/s to the left, m/s forward. `halt`: why it stands, else None."""

    def __init__(self, config: TripConfig | None = None, *, goal: Array | None = None) -> None:
        self._trip = Trip(config, goal=goal)

    def reset(self) -> None:
        """A new trip."""
        self._trip.reset()

    @property
    def halt(self) -> Halt | None:
        return self._trip.halt

    def act(self, observation: Mapping[str, Any]) -> Array:
        """observation: the streams of `bearing.STREAMS`; "goal" unless one was given."""
        leg = self._trip.look(observation)
        if leg is None:
            return STAND.copy()
        angle = float(np.arctan2(leg.goal[1], leg.goal[0]))
        return np.array([np.clip(2 * angle, -MOST_TURN, MOST_TURN), SPEED], np.float32)
