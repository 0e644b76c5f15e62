"""One interface over many copies of an environment stepped together, whatever steps them.

Autoreset is "same step": when copy i ends, `step` resets it at once; `observations[i]` already
belongs to the new episode and `final_observations[i]` is the last one of the old.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import gymnasium
from numpy.typing import NDArray

Array = NDArray[Any]


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class BatchStep:
    """What one step of N environments gives.

    observations: (N, ...) to act on next; rewards: (N,) float32;
    terminated, truncated: (N,) bool;
    final_observations: (N, ...), only rows of ended copies mean something; None if none ended;
    infos: {name: (N, ...)} such as "true_reward" (N,) float32.
    """

    observations: Array
    rewards: Array
    terminated: Array
    truncated: Array
    final_observations: Array | None = None
    infos: Mapping[str, Array] = field(default_factory=dict)

    @property
    def ended(self) -> Array:
        """(N,) bool: copies whose episode ended with this step."""
        return self.terminated | self.truncated


class StateUnavailableError(RuntimeError):
    """The simulator behind this environment cannot give or take its state."""


@runtime_checkable
class BatchEnv(Protocol):
    """N copies of one environment."""

    num_envs: int
    observation_space: gymnasium.spaces.Space[Any]
    """of one copy"""
    action_space: gymnasium.spaces.Space[Any]
    """of one copy"""
    dt: float
    """seconds of simulated time a step takes"""

    def reset(self, seed: int | None = None) -> Array:
        """Starts every copy anew; copy i is seeded with seed + i. Returns (N, ...) observations."""
        ...

    def step(self, actions: Array) -> BatchStep:
        """Steps every copy and resets those that ended. actions: (N, ...)."""
        ...

    def physics(self) -> Array | None:
        """(N, S) simulator states that `render_physics` draws; None where frames are the observation."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Everything needed to go on: physics, step counts, random generators.

        Nested dict of arrays, numbers and strings. Raises StateUnavailableError.
        """
        ...

    def set_state(self, state: Mapping[str, Any]) -> Array:
        """Goes back to a state; returns its (N, ...) observations. Raises StateUnavailableError."""
        ...

    def close(self) -> None: ...
