"""Layers on vectors (N, C) and maps (N, C, H, W) alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from agents.sidetuning.config import SideError

Shape = tuple[int, ...]
"""without the batch"""


def pointwise(inputs: int, outputs: int, shape: Shape, bias: bool = True) -> nn.Module:
    """A linear layer for vectors, a 1x1 convolution for maps of `shape`."""
    if len(shape) == 3:
        return nn.Conv2d(inputs, outputs, 1, bias=bias)
    return nn.Linear(inputs, outputs, bias=bias)


def group_norm(channels: int, groups: int = 2) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(groups, channels), channels)


def expect_vector_or_map(shape: Shape, what: str) -> None:
    """Raises SideError for anything else, such as tokens."""
    if len(shape) not in (1, 3):
        raise SideError(f"{what} works on vectors (N, C) and maps (N, C, H, W), got (N, {_words(shape)})")


def pool_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """Average of maps (N, C, H, W) over windows, to (N, C, *size); size () gives the mean, (N, C).

    Windows of one size, as exporters need them, in place of adaptive pooling.
    """
    if not size:
        return x.mean((2, 3)) if x.dim() == 4 else x
    height, width = int(x.shape[2]), int(x.shape[3])
    if (height, width) == tuple(size):
        return x
    if height < size[0] or width < size[1]:
        return F.interpolate(x, size=tuple(size), mode="nearest")
    strides = height // size[0], width // size[1]
    kernels = height - (size[0] - 1) * strides[0], width - (size[1] - 1) * strides[1]
    return F.avg_pool2d(x, kernels, strides)


class ToShape(nn.Module):
    """Maps or vectors to the features' own shape: pooled, flattened or unflattened."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            return pool_to(x, self.shape[1:])
        return x.unflatten(1, self.shape) if len(self.shape) > 1 else x


def _words(shape: Shape) -> str:
    return ", ".join(map(str, shape))
