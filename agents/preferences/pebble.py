"""Exploration without labels: reward for visiting new states (PEBBLE, Lee et al. 2021, 4.1).

Relabelling the replay buffer and resetting the critic, PEBBLE's other parts, are methods of
`agents.sb3.Learner`.
"""

from __future__ import annotations

import numpy as np

from envs.batch import Array


class StateEntropy:
    """Reward for visiting new states: distance to the k-th nearest neighbour, scaled (PEBBLE, 4.1).

    capacity: newest states that distances are taken to.
    """

    def __init__(self, k: int = 5, capacity: int = 10_000) -> None:
        self.k, self.capacity = k, capacity
        self._states: Array | None = None
        self._count = 0
        self._sum = self._squares = 0.0
        self._rewards = 0

    def __call__(self, observations: Array, actions: Array) -> Array:
        """(N,) float32 rewards of observations (N, ...); the actions do not matter."""
        states = np.asarray(observations, dtype=np.float32).reshape(len(observations), -1)
        distances = self._distances(states)
        self._remember(states)
        self._sum += float(distances.sum())
        self._squares += float(np.square(distances).sum())
        self._rewards += len(distances)
        mean = self._sum / self._rewards
        std = np.sqrt(max(self._squares / self._rewards - mean**2, 0.0))
        return (distances / std if std > 0 else distances).astype(np.float32)

    def _distances(self, states: Array) -> Array:
        known = self._states[: min(self._count, self.capacity)] if self._states is not None else states[:0]
        if len(known) <= self.k:
            return np.zeros(len(states))
        squared = (
            np.square(states).sum(axis=1)[:, None]
            - 2.0 * states @ known.T
            + np.square(known).sum(axis=1)[None, :]
        )
        return np.sqrt(np.maximum(np.partition(squared, self.k - 1, axis=1)[:, self.k - 1], 0.0))

    def _remember(self, states: Array) -> None:
        if self._states is None:
            self._states = np.zeros((self.capacity, states.shape[1]), dtype=np.float32)
        places = (self._count + np.arange(len(states))) % self.capacity
        self._states[places] = states
        self._count += len(states)
