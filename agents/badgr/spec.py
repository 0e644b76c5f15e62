"""What an event predictor takes and gives; saved with every model, compared when one is used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class SpecError(ValueError):
    """A model, a robot or a dataset do not fit together; the message says what was expected and what came."""


@dataclass(frozen=True)
class ActionLimit:
    """One number of an action, in SI units, with the range that the model knows."""

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise SpecError(f"action {self.name} needs finite low < high, got {self.low} and {self.high}")


JACKAL_ACTIONS = (ActionLimit("angular_velocity", -1.0, 1.0), ActionLimit("linear_velocity", 0.75, 1.25))
"""rad/s and m/s, the limits of the released data"""


@dataclass(frozen=True)
class ModelSpec:
    """Input and output of an event predictor.

    Defaults are those of the released configuration: one rectified image, eight steps of a quarter second.
    """

    image: tuple[int, int, int] = (96, 128, 3)
    """height, width, channels; uint8"""
    horizon: int = 8
    """steps that are looked ahead"""
    step_seconds: float = 0.25
    actions: tuple[ActionLimit, ...] = JACKAL_ACTIONS
    events: tuple[str, ...] = ("collision", "bumpy", "stuck")
    """names of what is predicted beside the position, a probability a step each"""
    lasting: tuple[str, ...] = ("collision", "stuck")
    """events that, once they happened, hold for the rest of the horizon"""

    def __post_init__(self) -> None:
        if len(self.image) != 3 or min(self.image) < 1:
            raise SpecError(f"image must be (height, width, channels), got {self.image}")
        if self.horizon < 1 or not self.step_seconds > 0:
            raise SpecError(f"horizon {self.horizon} and step_seconds {self.step_seconds} must be positive")
        if not self.actions or not self.events:
            raise SpecError("a model needs at least one action and one event")
        for kind, names in (("action", [one.name for one in self.actions]), ("event", self.events)):
            if len(set(names)) != len(names):
                raise SpecError(f"every {kind} needs a name of its own, got {', '.join(names)}")
        unknown = set(self.lasting) - set(self.events)
        if unknown:
            raise SpecError(
                f"lasting events {', '.join(sorted(unknown))} are not among {', '.join(self.events)}"
            )

    @property
    def low(self) -> Array:
        """(A,) float32"""
        return np.array([one.low for one in self.actions], np.float32)

    @property
    def high(self) -> Array:
        """(A,) float32"""
        return np.array([one.high for one in self.actions], np.float32)

    def normalised(self, actions: Array) -> Array:
        """Actions (..., A) in SI units as float32 in [-1, 1] of their limits."""
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        scaled: Array = (np.asarray(actions, np.float32) - middle) / half
        return scaled

    def event(self, name: str) -> int:
        """Column of an event. Raises SpecError with the names there are."""
        if name not in self.events:
            raise SpecError(f"the model predicts {', '.join(self.events)}, not {name!r}")
        return self.events.index(name)

    def expect_image(self, shape: Sequence[int]) -> None:
        """Raises SpecError for images of another size."""
        if tuple(shape) != self.image:
            raise SpecError(
                f"the model expects images {self.image}, got {tuple(shape)}: set the camera to that size, "
                "or train a model for this one"
            )

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Raises SpecError when the text is not a specification of this version."""
        try:
            content: Mapping[str, Any] = json.loads(text)
            actions = tuple(ActionLimit(**one) for one in content["actions"])
            lists = {name: tuple(content[name]) for name in ("image", "events", "lasting")}
            return cls(**{**content, **lists, "actions": actions})
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, SpecError):
                raise
            raise SpecError(f"not a model specification: {error}") from error
