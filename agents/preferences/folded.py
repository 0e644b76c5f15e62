"""The state ensemble's reward in plain NumPy: a few rows at every environment step, in microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class FoldedReward:
    """Mean over members of their normalised outputs, with the normalisation folded into the weights.

    weights: (K, inputs, outputs) a layer, biases: (K, 1, outputs) a layer; scale, offset: (K,), the
    reward being the mean over members k of scale[k] * output[k] + offset[k]. slope: of the leaky ReLU.
    """

    def __init__(
        self, weights: Sequence[Array], biases: Sequence[Array], scale: Array, offset: Array, slope: float
    ) -> None:
        members, inputs = weights[0].shape[:2]
        # All members share the input, so their first layers are one matrix (inputs, K * hidden).
        self._first = np.ascontiguousarray(weights[0].transpose(1, 0, 2)).reshape(inputs, -1)
        self._first_bias = biases[0].reshape(-1).copy()
        self._middle = [(w.copy(), b.copy()) for w, b in zip(weights[1:-1], biases[1:-1], strict=True)]
        share = (scale / members).astype(np.float32)
        self._last = (weights[-1] * share[:, None, None]).astype(np.float32)  # (K, hidden, 1)
        self._constant = np.float32((biases[-1].reshape(-1) * share).sum() + offset.mean())
        self._members = members
        self._slope = np.float32(slope)

    def __call__(self, inputs: Array) -> Array:
        """Rewards (N,) float32 of inputs (N, D) float32."""
        h = inputs @ self._first
        h += self._first_bias
        np.maximum(h, h * self._slope, out=h)  # the leaky ReLU for a slope below 1
        h = h.reshape(len(inputs), self._members, -1).transpose(1, 0, 2)  # (K, N, hidden)
        for weight, bias in self._middle:
            h = np.matmul(h, weight)
            h += bias
            np.maximum(h, h * self._slope, out=h)
        rewards: Array = np.matmul(h, self._last).sum(0).reshape(-1) + self._constant
        return rewards
