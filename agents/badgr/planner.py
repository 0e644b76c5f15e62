"""Chooses actions by sampling around the last plan, weighted by what they would bring (paper, eq. 3-4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.prediction import Plan, Prediction
from agents.badgr.spec import ModelSpec

Array = NDArray[Any]


@dataclass(frozen=True)
class PlannerConfig:
    """Settings of the sampling planner. sigma and beta were chosen on validation worlds: the released code's
    1.0 and 0.6 bend less far within the horizon, and run into more; the rest is the released code's."""

    candidates: int = 1024
    """action sequences looked at: the dial between quality and time (the original: 4096)"""
    sigma: float = 1.7
    """standard deviation of the steering noise, in halves of its range (released code: 1.0)"""
    beta: float = 0.22
    """share of a step's own sample; the rest is the step before it, so that sequences are smooth (0.6)"""
    gamma: float = 50.0
    """sharpness of the weights on the mean cost of a step"""
    speed: float | None = 0.8
    """m/s, driven always; None: speed is sampled too"""

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise ValueError(f"candidates must be at least 2, got {self.candidates}")
        if not 0 < self.beta <= 1:
            raise ValueError(f"beta must lie in (0, 1], got {self.beta}")
        if not (self.sigma > 0 and self.gamma > 0):
            raise ValueError(f"sigma and gamma must be above 0, got {self.sigma} and {self.gamma}")


class SamplingPlanner:
    """One plan after the other, each beginning where the last one ended; the same seed plans the same.

    The first action of a specification is steering, the second, if there is one, speed.
    """

    def __init__(self, spec: ModelSpec, config: PlannerConfig | None = None, seed: int = 0) -> None:
        self.spec, self.config, self.seed = spec, config or PlannerConfig(), seed
        self._speed = self._fixed_speed()
        self.reset()

    def reset(self) -> None:
        """Forgets the last plan and begins the random numbers anew."""
        self._rng = np.random.default_rng(self.seed)
        self._mean = np.zeros((self.spec.horizon, len(self.spec.actions)), np.float32)  # normalised
        self._driven = np.zeros(len(self.spec.actions), np.float32)

    def plan(
        self, predict: Callable[[Array], Prediction], cost: Callable[[Prediction, Array], Array]
    ) -> Plan:
        """Looks at new candidates and moves the plan towards the good ones.

        predict: of actions (N, H, A) in SI units; cost: (N,) of its prediction and the steering (N, H)
        in [-1, 1] of its limits. A candidate whose cost is not finite is never followed. Raises
        ValueError when none is finite.
        """
        normalised = self._sample()
        actions = self._in_units(normalised)
        prediction = predict(actions)
        costs = np.asarray(cost(prediction, normalised[..., 0]), np.float64)
        finite = np.isfinite(costs)
        if not finite.any():
            raise ValueError(
                f"none of the {len(costs)} candidates has a finite cost: the prediction is broken"
            )
        weights = np.where(finite, np.exp(-self.config.gamma * (costs - costs[finite].min())), 0.0)
        mean = np.tensordot(weights / weights.sum(), normalised, 1).astype(np.float32)
        self._driven, self._mean = mean[0], mean
        return Plan(self._in_units(mean[None])[0], actions, costs, prediction)

    def _sample(self) -> Array:
        """(N, H, A) in [-1, 1], each step's noise smoothed by the step before it."""
        config, (horizon, size) = self.config, self._mean.shape
        shifted = np.concatenate([self._mean[1:], self._mean[-1:]])
        noise = self._rng.standard_normal((horizon, config.candidates, size), dtype=np.float32)
        samples = np.empty((horizon, config.candidates, size), np.float32)
        before = np.broadcast_to(self._driven, (config.candidates, size))
        for step in range(horizon):
            mixed = config.beta * (shifted[step] + config.sigma * noise[step]) + (1 - config.beta) * before
            before = samples[step] = np.clip(mixed, -1, 1)
        return samples.transpose(1, 0, 2)

    def _in_units(self, normalised: Array) -> Array:
        low, high = self.spec.low, self.spec.high
        actions: Array = (low + high) / 2 + normalised * (high - low) / 2
        if self._speed is not None:
            actions[..., 1] = self._speed
        return actions

    def _fixed_speed(self) -> float | None:
        if self.config.speed is None or len(self.spec.actions) < 2:
            return None
        speed, limit = self.config.speed, self.spec.actions[1]
        if not limit.low <= speed <= limit.high:
            raise ValueError(
                f"speed {speed} m/s is outside what the model knows: {limit.low} to {limit.high}"
            )
        return speed
