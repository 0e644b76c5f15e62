"""Ensembles of reward networks whose members all run in one batched pass.

Sizes are those of Christiano et al. (2017), appendix A. Parameters carry the member as first
axis, (K, ...), so that one multiplication serves all members and one optimiser all of training.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.01
"""of the leaky ReLU"""
CONVOLUTIONS = ((16, 7, 3), (16, 5, 2), (16, 3, 1), (16, 3, 1))
"""(channels, kernel, stride) of the pixel network"""
DENSE = 64
BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1


class StateEnsemble(nn.Module):
    """K multi-layer perceptrons from a state-action vector to a reward.

    inputs: length of the vector. generator: seeds every member on its own.
    """

    def __init__(self, inputs: int, members: int, hidden: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        sizes = [inputs, *hidden, 1]
        self.members = members
        self.weights = nn.ParameterList(
            _uniform((members, fan_in, fan_out), fan_in, generator)
            for fan_in, fan_out in itertools.pairwise(sizes)
        )
        self.biases = nn.ParameterList(
            _uniform((members, 1, fan_out), fan_in, generator)
            for fan_in, fan_out in itertools.pairwise(sizes)
        )

    def forward(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Rewards (K, N) of inputs (N, D); nothing is random, so no generator is used."""
        h = inputs.expand(self.members, -1, -1)  # (K, N, D)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, h, weight)  # (K, N, hidden)
            if layer < last:
                h = F.leaky_relu(h, SLOPE, inplace=True)
        return h.squeeze(-1)

    def penalty(self) -> Tensor:
        """(K,) sum of each member's squared weights."""
        return _squares(self.weights)


class PixelEnsemble(nn.Module):
    """K convolutional networks from stacked frames to a reward.

    Four convolutions, each with batch normalisation, leaky ReLU and dropout, then 64 units; the
    members are the groups of grouped convolutions. Both clips of a pair belong into one forward
    pass: the same batch statistics, independent dropout masks (Rahtz 2018).
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(
        self, shape: Sequence[int], members: int, dropout: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.members, self.dropout = members, dropout
        channels, height, width = shape
        weights = []
        for outputs, kernel, stride in CONVOLUTIONS:
            fan_in = channels * kernel * kernel
            weights.append(_uniform((members, outputs, channels, kernel, kernel), fan_in, generator))
            channels = outputs
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        if height < 1 or width < 1:
            raise ValueError(f"frames of {tuple(shape)} are too small for the pixel reward network")
        features = channels * height * width  # 784 for frames of 84 x 84
        weights.append(_uniform((members, features, DENSE), features, generator))
        weights.append(_uniform((members, DENSE, 1), DENSE, generator))
        self.weights = nn.ParameterList(weights)
        self.biases = nn.ParameterList(
            [_uniform((members, 1, DENSE), features, generator), _uniform((members, 1, 1), DENSE, generator)]
        )
        maps = [members * outputs for outputs, _, _ in CONVOLUTIONS]
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(count)) for count in maps)
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros(count)) for count in maps)
        self.register_buffer("running_mean", torch.zeros(len(maps), maps[0]))
        self.register_buffer("running_variance", torch.ones(len(maps), maps[0]))

    def forward(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Rewards (K, N) of frames (N, stack, H, W) in 0..255. generator: of dropout masks while training."""
        h = inputs.float() * (1 / 255)
        for layer in range(len(CONVOLUTIONS)):
            h = F.leaky_relu(self._convolve(h, layer), SLOPE, inplace=True)  # (N, K * 16, height, width)
            h = _dropout(h, self.dropout if self.training else 0.0, generator)
        h = h.unflatten(1, (self.members, -1)).flatten(2).transpose(0, 1)  # (K, N, features)
        h = F.leaky_relu(torch.baddbmm(self.biases[0], h, self.weights[-2]), SLOPE)  # (K, N, 64)
        return torch.baddbmm(self.biases[1], h, self.weights[-1]).squeeze(-1)

    def _convolve(self, h: Tensor, layer: int) -> Tensor:
        """A convolution and its batch normalisation, which while not training is part of the weights."""
        stride = CONVOLUTIONS[layer][2]
        # The first layer sees one input for all members; after it each group is a member.
        groups = 1 if layer == 0 else self.members
        weight = self.weights[layer].flatten(0, 1)  # (K * 16, channels, kernel, kernel)
        mean, variance = self.running_mean[layer], self.running_variance[layer]
        scale, shift = self.scales[layer], self.shifts[layer]
        if not self.training:
            factor = scale * torch.rsqrt(variance + BATCH_NORM_EPSILON)
            return F.conv2d(
                h, weight * factor[:, None, None, None], shift - mean * factor, stride, groups=groups
            )
        h = F.conv2d(h, weight, stride=stride, groups=groups)
        return F.batch_norm(h, mean, variance, scale, shift, True, BATCH_NORM_MOMENTUM, BATCH_NORM_EPSILON)

    def penalty(self) -> Tensor:
        """(K,) sum of each member's squared weights."""
        return _squares(self.weights)


def _uniform(shape: Sequence[int], fan_in: int, generator: torch.Generator) -> nn.Parameter:
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(tuple(shape)).uniform_(-bound, bound, generator=generator))


def _dropout(h: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """With masks from an own generator, so that a fit depends on its arguments alone."""
    if share == 0.0:
        return h
    # A byte decides about a unit (shares in 256ths): 5 times as fast as drawing a number for each.
    draws = torch.empty((h.numel() + 7) // 8, dtype=torch.int64, device=h.device)
    draws.random_(-(2**63), None, generator=generator)
    keep = max(1, round(256 * (1.0 - share)))
    mask = (draws.view(torch.uint8)[: h.numel()] < keep).view(h.shape)
    return h * (mask * (256 / keep))


def _squares(weights: nn.ParameterList) -> Tensor:
    return torch.stack([weight.square().flatten(1).sum(1) for weight in weights]).sum(0)
