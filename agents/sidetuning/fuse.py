"""One network in place of base, side and merge, where that is exact."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from agents.sidetuning.adapter import SideAdapter
from agents.sidetuning.config import SideError
from agents.sidetuning.inner import LoraAdapter
from agents.sidetuning.layers import ToShape
from agents.sidetuning.merges import AlphaBlend
from agents.sidetuning.model import SideModel

HOMOGENEOUS = (
    *(nn.Identity, nn.Flatten, nn.Unflatten, nn.ReLU, nn.LeakyReLU, nn.Dropout, nn.Dropout2d, ToShape),
    *(nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
"""f(a x) = a f(x) for a > 0: a factor before them is one after them"""


class Added(nn.Module):
    """Two networks whose outputs are added; alpha is in their weights."""

    def __init__(self, base: nn.Module, side: nn.Module) -> None:
        super().__init__()
        self.base, self.side = base, side

    def forward(self, inputs: Tensor) -> Tensor:
        return self.base(inputs) + self.side(inputs)


def fuse(model: SideModel) -> nn.Module:
    """The active task as a plain network in evaluation mode, from the base's sensor to the head's output.

    LoRA goes into the weights; an alpha of 0 or 1 drops the other branch; any other alpha goes into the last
    layers. A side network itself cannot go into the base's weights, for it is not linear.
    Raises SideError where nothing exact can be done. The model stays as it is.
    """
    if model.active is None:
        raise SideError("no adapter is active: there is nothing to fuse")
    task = model.task(model.active)
    parts = [_features(model, task.encoder), copy.deepcopy(task.encoder.norm)]
    if task.head is not None:
        parts.append(copy.deepcopy(task.head))
    return nn.Sequential(*parts).requires_grad_(False).eval()


def _features(model: SideModel, encoder: nn.Module) -> nn.Module:
    if isinstance(encoder, LoraAdapter):
        return encoder.merged()
    if not isinstance(encoder, SideAdapter):
        raise SideError("a residual adapter is not linear: it cannot be fused")
    needs_base = encoder.needs_base
    if needs_base and not encoder.needs_side:
        return copy.deepcopy(model.base)
    if encoder.side is None or not encoder.ready:
        raise SideError("a blind or undistilled adapter has nothing to fuse")
    if encoder.side_inputs != (model.base_input,):
        raise SideError(f"the side reads {', '.join(encoder.side_inputs)}: it cannot be fused with the base")
    if model.sensors.zeros[model.base_input].dtype == torch.uint8:
        raise SideError("side and base scale bytes each in their way: they cannot be fused")
    if not needs_base:
        return copy.deepcopy(encoder.side)
    if not isinstance(encoder.merge, AlphaBlend) or encoder.config.stack:
        raise SideError(
            f"merge {encoder.config.merge!r}{' with stacked sides' * bool(encoder.config.stack)} "
            "has no exact fused form: use the model as it is"
        )
    alpha, rest = encoder.merge.weights().tolist()
    return Added(_scaled(model.base, alpha, "base"), _scaled(encoder.side, rest, "side"))


def _scaled(network: nn.Module, factor: float, name: str) -> nn.Module:
    """A copy whose output is `factor` times as large."""
    scaled = copy.deepcopy(network)
    layer = _last_layer(scaled)
    if layer is None:
        raise SideError(
            f"the {name} does not end in a linear layer or convolution that alpha could go into: "
            "use the model as it is"
        )
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            parameter.mul_(factor)
    return scaled


def _last_layer(module: nn.Module) -> nn.Module | None:
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        return module
    if isinstance(module, nn.Sequential):
        for child in reversed(module):
            if not isinstance(child, HOMOGENEOUS):
                return _last_layer(child)
    return None
