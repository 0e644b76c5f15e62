"""What may come of candidate actions, and the plan that was chosen among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Prediction:
    """For N candidates over H steps: what will happen, and where the robot will be.

    events: {name: (N, H)} probabilities; position: (N, H, 2) m in the robot's frame of now, x forward,
    y to the left; disagreement: {name: (N, H)} standard deviation of an ensemble's probabilities, empty
    for a single network.
    """

    events: Mapping[str, Array]
    position: Array
    disagreement: Mapping[str, Array] = field(default_factory=dict)

    def of(self, candidates: Array) -> Prediction:
        """The same of some candidates, by index or mask."""
        events = {name: values[candidates] for name, values in self.events.items()}
        apart = {name: values[candidates] for name, values in self.disagreement.items()}
        return Prediction(events, self.position[candidates], apart)


@dataclass(frozen=True)
class Plan:
    """What a planner decided, and all that it looked at.

    actions: (H, A) in SI units, of which the first is to be driven; cost: (N,) of the candidates;
    candidates: (N, H, A); prediction: of the candidates.
    """

    actions: Array
    candidates: Array
    cost: Array
    prediction: Prediction

    @property
    def action(self) -> Array:
        """(A,): what to do now."""
        first: Array = self.actions[0]
        return first

    @property
    def best(self) -> int:
        """Index of the cheapest candidate."""
        return int(np.argmin(self.cost))
