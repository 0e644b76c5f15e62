"""A random walk that is correlated in time: how the robot drives while it gathers experience."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class WalkConfig:
    """Sources: badgr specification 2.2; the limits are those of the released data (1.2)."""

    steering: float = 0.6
    """rad/s, standard deviation of the steering before it is cut off"""
    steering_seconds: float = 1.0
    """s over which the steering forgets itself"""
    most_steering: float = 1.0
    """rad/s"""
    slowest: float = 0.75
    fastest: float = 1.25
    """m/s"""
    speed_seconds: float = 5.0
    """s that a speed is kept"""
    dt: float = 0.25
    """s of a decision"""

    def __post_init__(self) -> None:
        for name in ("steering", "steering_seconds", "most_steering", "speed_seconds", "dt"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 < self.slowest <= self.fastest:
            raise ValueError(f"expected 0 < slowest <= fastest, got {self.slowest} and {self.fastest} m/s")


class RandomWalk:
    """An Agent that looks at nothing: steering is an Ornstein-Uhlenbeck process, speed uniform for a while.

    Actions: (2,) float32 rad/s to the left, m/s forward.
    """

    def __init__(self, config: WalkConfig, generator: np.random.Generator) -> None:
        self.config, self._generator = config, generator
        self._keep = float(np.exp(-config.dt / config.steering_seconds))
        self._speed_steps = max(round(config.speed_seconds / config.dt), 1)
        self.reset()

    def reset(self) -> None:
        """A new direction and a new speed."""
        self._steering = self.config.steering * float(self._generator.standard_normal())
        self._steps = 0
        self._speed = 0.0

    def act(self, observation: Any) -> Array:
        config = self.config
        spread = config.steering * np.sqrt(1 - self._keep**2)
        self._steering = self._keep * self._steering + spread * float(self._generator.standard_normal())
        if self._steps % self._speed_steps == 0:
            self._speed = float(self._generator.uniform(config.slowest, config.fastest))
        self._steps += 1
        steering = float(np.clip(self._steering, -config.most_steering, config.most_steering))
        return np.array([steering, self._speed], np.float32)
