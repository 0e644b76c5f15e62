"""Running statistics: observations to mean 0 and std 1, rewards to unit discounted return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class ObservationNormalizer:
    """(x - mean) / std in float32, clipped to +-10; gives x itself until the first update."""

    def __init__(self, shape: tuple[int, ...], limit: float = 10.0) -> None:
        self.shape, self.limit = tuple(shape), limit
        self.mean = np.zeros(shape)
        self.variance = np.ones(shape)
        self.count = 0
        self._freeze()

    def update(self, batch: Array) -> None:
        """Takes in a batch (B, *shape), merged as in Chan et al. 1979; float64 inside."""
        batch = np.asarray(batch, dtype=np.float64).reshape(-1, *self.shape)
        new = len(batch)
        if new == 0:
            return
        delta, total = batch.mean(axis=0) - self.mean, self.count + new
        squares = self.variance * self.count + batch.var(axis=0) * new + delta**2 * (self.count * new / total)
        self.mean = self.mean + delta * (new / total)
        self.variance = squares / total
        self.count = total
        self._freeze()

    def __call__(self, observations: Array) -> Array:
        """(..., *shape) to float32 of the same shape."""
        scaled = (observations - self._offset) * self._scale
        return np.minimum(np.maximum(scaled, -self.limit), self.limit).astype(np.float32, copy=False)

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "variance": self.variance, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if np.shape(state["mean"]) != self.shape:
            raise ValueError(f"normaliser of shape {np.shape(state['mean'])} loaded into one of {self.shape}")
        self.mean, self.variance = np.array(state["mean"]), np.array(state["variance"])
        self.count = int(state["count"])
        self._freeze()

    def _freeze(self) -> None:
        known = self.count > 0
        self._offset = self.mean if known else np.zeros(self.shape)
        self._scale = 1.0 / np.sqrt(self.variance + 1e-8) if known else np.ones(self.shape)


class RewardScaler:
    """Divides rewards by the running std of the discounted return, clipped to +-10."""

    def __init__(self, num_envs: int, gamma: float, limit: float = 10.0) -> None:
        self.gamma, self.limit = gamma, limit
        self.returns = np.zeros(num_envs)
        self.mean, self.variance, self.count = 0.0, 1.0, 1e-4

    def __call__(self, rewards: Array, ended: Array) -> Array:
        """One step: rewards (N,), ended (N,) bool; gives (N,) float32."""
        self.returns = self.returns * self.gamma + rewards
        new, total = len(rewards), self.count + len(rewards)
        mean = float(self.returns.mean())
        spread = float(np.dot(self.returns - mean, self.returns - mean))
        delta = mean - self.mean
        self.variance = (self.variance * self.count + spread + delta**2 * self.count * new / total) / total
        self.mean += delta * new / total
        self.count = total
        self.returns[ended] = 0.0
        scaled = rewards / np.sqrt(self.variance + 1e-8)
        return np.clip(scaled, -self.limit, self.limit).astype(np.float32)

    def state_dict(self) -> dict[str, Any]:
        return {"returns": self.returns, "mean": self.mean, "variance": self.variance, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.returns = np.array(state["returns"])
        self.mean, self.variance = float(state["mean"]), float(state["variance"])
        self.count = float(state["count"])
