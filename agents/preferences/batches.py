"""Pairs of clips as network inputs: both clips of a pair always in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from agents.preferences.data import ComparisonSet
from agents.preferences.reward import RewardEnsemble

STATE_ROWS = 2048
"""steps a forward pass of state networks takes: their activations stay in the processor's cache"""
PIXEL_ROWS = 256
"""steps a forward pass of pixel networks takes: 5 pairs of 25 steps, 29 MB of input"""


class PairBatches:
    """A ComparisonSet as an ensemble's inputs, fixed for one fit.

    generator: draws the windows of cropped clips, and seeds the dropout masks (`masks`).
    `targets` is (labels,) on the ensemble's device. error_rates: of labellers known to differ from
    the configuration's.
    """

    def __init__(
        self,
        ensemble: RewardEnsemble,
        data: ComparisonSet,
        generator: torch.Generator,
        error_rates: Mapping[str, float] | None = None,
    ) -> None:
        self._pixels = ensemble.inputs.pixels
        self._stack = ensemble.inputs.observation_shape[0]
        self._steps, self._crop = data.steps, ensemble.config.crop
        self._device, self._generator = ensemble.device, generator
        # State inputs are made once a fit, with the normaliser of now; frames stay as they are stored.
        raw = data.observations if self._pixels else ensemble.inputs(data.observations, data.actions)
        self._inputs = torch.from_numpy(raw) if self._pixels else torch.from_numpy(raw).to(self._device)
        self.targets = torch.from_numpy(data.targets.copy()).to(self._device)
        self._error_rate: float | Tensor = ensemble.config.error_rate
        if error_rates:
            usual = ensemble.config.error_rate
            # A rate of 0 would give answers of which nothing can doubt, and a logarithm of 0.
            rates = np.array([max(1e-3, error_rates.get(name, usual)) for name in data.labellers], np.float32)
            self._error_rate = torch.from_numpy(rates[data.labeller]).to(self._device)
        self.masks = torch.Generator(self._device)
        self.masks.manual_seed(int(torch.randint(2**62, (), generator=generator)))

    def error_rate(self, rows: Tensor | None = None) -> float | Tensor:
        """Of all answers alike, or (rows,) of whoever gave each."""
        if isinstance(self._error_rate, float) or rows is None:
            return self._error_rate
        return self._error_rate[rows]

    def training(self, chosen: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """(row indices, inputs) of the chosen pairs, in parts of bounded size; windows if cropping is on.

        inputs: (2 * pairs * steps, ...), every pair's left clip before its right one.
        """
        length = self._draw_length()
        for rows in chosen.split(self._pairs_at_once(length)):
            rows = rows.to(self._inputs.device)
            starts = None
            if length < self._steps:
                starts = torch.randint(self._steps - length + 1, (len(rows), 2), generator=self._generator)
            yield rows.to(self._device), self._windows(rows, starts, length)

    def whole(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(row indices, inputs) of every pair in order, whole clips."""
        everything = torch.arange(len(self.targets), device=self._inputs.device)
        for rows in everything.split(self._pairs_at_once(self._steps)):
            yield rows.to(self._device), self._windows(rows, None, self._steps)

    def differences(self, rewards: Tensor, pairs: int) -> Tensor:
        """Left minus right return (K, pairs) of step rewards (K, 2 * pairs * steps)."""
        returns = rewards.view(len(rewards), pairs, 2, -1).sum(-1)
        return returns[..., 0] - returns[..., 1]

    def _draw_length(self) -> int:
        """One window length a minibatch, so that it stays a rectangle (SURF draws one a pair)."""
        if self._crop == 1:
            return self._steps
        shortest = max(1, round(self._crop * self._steps))
        return int(torch.randint(shortest, self._steps + 1, (), generator=self._generator))

    def _pairs_at_once(self, length: int) -> int:
        return max(1, (PIXEL_ROWS if self._pixels else STATE_ROWS) // (2 * length))

    def _windows(self, rows: Tensor, starts: Tensor | None, length: int) -> Tensor:
        frames = length + self._stack - 1 if self._pixels else length
        if starts is None:
            clips = self._inputs.index_select(0, rows)
        else:
            time = starts.to(self._inputs.device)[..., None] + torch.arange(
                frames, device=self._inputs.device
            )
            sides = torch.arange(2, device=self._inputs.device)[None, :, None]
            clips = self._inputs[rows[:, None, None], sides, time]
        if not self._pixels:
            return clips.flatten(0, 2)  # (2 * pairs * length, D)
        stacks = clips.to(self._device).unfold(2, self._stack, 1)  # (pairs, 2, length, H, W, stack)
        return stacks.movedim(-1, 3).flatten(0, 2)  # (2 * pairs * length, stack, H, W)
