"""How the features of base and side become one; parameters as in the authors' code, counts as theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from agents.sidetuning.config import Alpha, SideConfig
from agents.sidetuning.layers import Shape, expect_vector_or_map, group_norm, pointwise

FILM_WIDTH = 64


def build_merge(config: SideConfig, features: Shape) -> nn.Module:
    """A module from (base, [earlier sides ..., side]) to merged features, all of one shape."""
    if config.merge == "alpha":
        return AlphaBlend(config.alpha, 1 + len(config.stack))
    if config.merge in ("sum", "ladder"):
        return Sum()
    if config.merge == "product":
        return Product()
    expect_vector_or_map(features, f"merge {config.merge!r}")
    if config.merge == "film":
        return Film(features)
    return Transformed(features, side=config.merge != "mlp", residual=config.merge == "resmlp2")


class Sum(nn.Module):
    """base + all sides"""

    def forward(self, base: Tensor, sides: Sequence[Tensor]) -> Tensor:
        for side in sides:
            base = base + side
        return base


class Product(nn.Module):
    """base * side, element by element"""

    def forward(self, base: Tensor, sides: Sequence[Tensor]) -> Tensor:
        return base * sides[-1]


class AlphaBlend(nn.Module):
    """alpha * base + (1 - alpha) * side, alpha the sigmoid of one number (paper, section 3.3).

    With earlier sides, the softmax over base and all sides, equal at first.
    """

    updates: Tensor

    def __init__(self, alpha: Alpha, sides: int = 1) -> None:
        super().__init__()
        self.config = alpha
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        if alpha.kind == "learned":
            first = (
                torch.zeros(1 + sides)
                if sides > 1
                else torch.tensor(math.log(alpha.start / (1 - alpha.start)))
            )
            self.raw_alpha = nn.Parameter(first)

    def weights(self) -> Tensor:
        """Of base and sides, (1 + sides,); they sum to 1."""
        if self.config.kind != "learned":
            alpha = self.updates.new_tensor(self.scheduled(), dtype=torch.float32)
            return torch.stack([alpha, 1 - alpha])
        if self.raw_alpha.dim():
            return torch.softmax(self.raw_alpha, 0)
        alpha = torch.sigmoid(self.raw_alpha)
        return torch.stack([alpha, 1 - alpha])

    def scheduled(self) -> float | None:
        """Now's alpha where nothing is learned, exactly as configured; None otherwise."""
        return None if self.config.kind == "learned" else self.config.at(int(self.updates.item()))

    def forward(self, base: Tensor, sides: Sequence[Tensor]) -> Tensor:
        weights = self.weights()
        merged = weights[0] * base
        for weight, side in zip(weights[1:], sides, strict=True):
            merged = merged + weight * side
        return merged


class Film(nn.Module):
    """base * m + b, both from the side, each with the side as a skip: 1,680 parameters for 8 channels.

    The authors' is wired to maps of 8 x 16 x 16; this one takes any map, and vectors.
    """

    def __init__(self, features: Shape) -> None:
        super().__init__()
        channels = features[0]
        self.trunk = nn.Sequential(
            pointwise(channels, FILM_WIDTH, features, bias=False), group_norm(FILM_WIDTH), nn.ReLU()
        )
        self.scale = pointwise(FILM_WIDTH, channels, features)
        self.shift = pointwise(FILM_WIDTH, channels, features)

    def forward(self, base: Tensor, sides: Sequence[Tensor]) -> Tensor:
        side = sides[-1]
        h = self.trunk(side)
        return base * (self.scale(h) + side) + self.shift(h) + side


class Transformed(nn.Module):
    """f(base) + side, f(base) + g(side), or f(base) + side + g(side): "mlp", "mlp2", "resmlp2"."""

    def __init__(self, features: Shape, side: bool, residual: bool) -> None:
        super().__init__()
        self.base = _mlp(features)
        self.side = _mlp(features) if side else None
        self.residual = residual

    def forward(self, base: Tensor, sides: Sequence[Tensor]) -> Tensor:
        side, merged = sides[-1], self.base(base)
        if self.side is None or self.residual:
            merged = merged + side
        return merged if self.side is None else merged + self.side(side)


class Scale(nn.Module):
    """Times one learned number."""

    def __init__(self, first: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(first))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def _mlp(features: Shape) -> nn.Sequential:
    """8,448 parameters for 64 features, 145 for maps of 8 channels."""
    channels = features[0]
    if len(features) == 1:
        return nn.Sequential(
            *(nn.Linear(channels, channels), nn.BatchNorm1d(channels), nn.ReLU()),
            nn.Linear(channels, channels),
        )
    return nn.Sequential(
        *(Scale(0.9), nn.Conv2d(channels, channels, 1, bias=False), group_norm(channels), nn.ReLU()),
        nn.Conv2d(channels, channels, 1, bias=False),
    )
