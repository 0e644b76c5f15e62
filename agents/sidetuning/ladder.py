"""The ladder: a side network that reads the base's intermediate outputs (Sung, Cho and Bansal 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from agents.sidetuning.layers import Shape, ToShape, expect_vector_or_map, group_norm, pointwise, pool_to

TEMPERATURE = 0.1
"""of the gates, the paper's"""


class Ladder(nn.Module):
    """One rung a tap: a gate blends what the base shows there with what comes from the rung below.

    shapes: of the taps, in order. Gradients stay in the ladder: the taps are constants.
    """

    def __init__(self, names: Sequence[str], shapes: Sequence[Shape], features: Shape, width: int) -> None:
        super().__init__()
        for name, shape in zip(names, shapes, strict=True):
            expect_vector_or_map(shape, f"a ladder on module {name!r}")
        expect_vector_or_map(features, "a ladder")
        self.names, self.sizes = tuple(names), [shape[1:] for shape in shapes]
        self.down = nn.ModuleList(pointwise(shape[0], width, shape) for shape in shapes)
        self.rungs = nn.ModuleList(_rung(width, shape) for shape in shapes)
        self.gates = nn.Parameter(torch.zeros(len(shapes)))
        # From vectors back to maps, every place needs weights of its own.
        unflatten = len(shapes[-1]) == 1 and len(features) == 3
        outputs = features[0] * features[1] * features[2] if unflatten else features[0]
        self.up = nn.Sequential(pointwise(width, outputs, shapes[-1]), ToShape(features))

    def forward(self, taps: Mapping[str, Tensor]) -> Tensor:
        gates = torch.sigmoid(self.gates / TEMPERATURE)
        h: Tensor | None = None
        for index, (name, down, rung) in enumerate(zip(self.names, self.down, self.rungs, strict=True)):
            shown = down(taps[name])
            if h is not None:
                below = pool_to(h, self.sizes[index]) if h.dim() == 4 else _raised(h, shown)
                shown = gates[index] * shown + (1 - gates[index]) * below
            h = rung(shown)
        return self.up(h)


def _rung(width: int, shape: Shape) -> nn.Sequential:
    if len(shape) == 3:
        return nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), group_norm(width), nn.ReLU())
    return nn.Sequential(nn.Linear(width, width), nn.ReLU())


def _raised(vector: Tensor, like: Tensor) -> Tensor:
    return vector if like.dim() == 2 else vector[:, :, None, None].expand_as(like)
