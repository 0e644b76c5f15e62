"""Side networks: small ones that fit any base, the authors' two, copies of the base."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from agents.sidetuning.config import SideConfig, SideError
from agents.sidetuning.layers import Shape, ToShape, expect_vector_or_map, group_norm, pointwise
from agents.sidetuning.prune import pruned_copy


def build_side(config: SideConfig, base: nn.Module, inputs: Shape, features: Shape) -> nn.Module:
    """The side network of a configuration; a custom one and the ladder are made elsewhere.

    inputs: of the side, features: of the base, both without the batch.
    """
    if config.side == "base":
        return _from_base(config, base)
    if config.side == "fcn4":
        return fcn4(inputs[0], features[0])
    if config.side == "fcn5":
        return Fcn5(inputs[0], features[0])
    return (
        small_convolutions(inputs, features, config.width)
        if len(inputs) == 3
        else (small_layers(inputs, features, 4 * config.width))
    )


def small_convolutions(inputs: Shape, features: Shape, width: int) -> nn.Sequential:
    """Four convolutions as in the authors' smallest side; strides follow the size of the features."""
    expect_vector_or_map(features, "a small side")
    channels, height = features[0], (features[1] if len(features) == 3 else 1)
    layers: list[nn.Module] = []
    size, before = inputs[1], inputs[0]
    for wanted, after in ((1, width), (2, width), (2, 2 * width)):
        stride = wanted if size // wanted >= height else 1
        size = math.ceil(size / stride)
        layers += [*_layer(before, after, 3, stride, 1)]
        before = after
    # The last layer is linear, so that any feature can be met; theirs ends in a ReLU.
    return nn.Sequential(*layers, nn.Conv2d(before, channels, 3, padding=1), ToShape(features))


def small_layers(inputs: Shape, features: Shape, width: int) -> nn.Sequential:
    """Two hidden layers for what is no image."""
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(math.prod(inputs), width), nn.ReLU()),
        *(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, math.prod(features)), ToShape(features)),
    )


def fcn4(channels: int, features: int) -> nn.Sequential:
    """The authors' side for small images: 25,904 parameters from 3 channels to 64 features."""
    return nn.Sequential(
        *_layer(channels, 16, 3, 1, 1),  # (N, 16, 32, 32)
        *_layer(16, 16, 3, 2, 0),  # (N, 16, 15, 15)
        *_layer(16, 32, 3, 2, 0),  # (N, 32, 7, 7)
        *(nn.Conv2d(32, features, 3, bias=False), nn.ReLU()),  # (N, 64, 5, 5)
        ToShape((features,)),
    )


class Fcn5(nn.Module):
    """The authors' side for images of 256: 921,376 parameters, (N, 3, 256, 256) to (N, 8, 16, 16)."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.lower = nn.Sequential(*_layer(channels, 64, 8, 4, 2), *_layer(64, 256, 3, 2, 1))
        self.upper = nn.Sequential(
            *_layer(256, 256, 3, 2, 1), *_layer(256, 64, 3, 1, 1), *_layer(64, features, 3, 1, 1)
        )
        self.skip = nn.Sequential(*_layer(256, features, 3, 2, 1))

    def forward(self, images: Tensor) -> Tensor:
        h = self.lower(images)  # (N, 256, 32, 32)
        return self.upper(h) + self.skip(h)


def zero_projected(network: nn.Module, features: Shape) -> nn.Sequential:
    """A network and a projection of zeros: its output is exactly 0 until the first update (ControlNet)."""
    expect_vector_or_map(features, "init='zero'")
    projection = pointwise(features[0], features[0], features)
    for parameter in projection.parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(network, projection)


def side_shape(shapes: Mapping[str, Shape], names: Sequence[str]) -> Shape:
    """Of what `side_input` gives."""
    example = {name: torch.zeros(1, *shapes[name]) for name in names}
    return tuple(side_input(example, names).shape[1:])


def side_input(sensors: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Sensors as one tensor: channels one after the other, vectors tiled over the maps.

    Bytes are scaled to [0, 1]. Raises SideError for maps of several sizes.
    """
    parts = [_floating(sensors[name]) for name in names]
    if len(parts) == 1:
        return parts[0]
    sizes = {tuple(part.shape[2:]) for part in parts if part.dim() > 2}
    if len(sizes) > 1:
        raise SideError(
            f"the side's sensors {', '.join(names)} have the sizes {sorted(sizes)}: make them one"
        )
    if sizes:
        size = sizes.pop()
        parts = [part if part.dim() > 2 else _tiled(part, size) for part in parts]
    return torch.cat(parts, 1)


def reset_weights(module: nn.Module) -> None:
    """Draws every weight anew. Raises SideError for layers that do not say how."""
    for name, child in module.named_modules():
        own = [*child.parameters(recurse=False), *child.buffers(recurse=False)]
        if not own:
            continue
        if not hasattr(child, "reset_parameters"):
            raise SideError(
                f"module {name or 'base'!r} ({type(child).__name__}) has weights but no reset_parameters: "
                "add it, or give a custom side"
            )
        child.reset_parameters()


def _from_base(config: SideConfig, base: nn.Module) -> nn.Module:
    if config.init == "pruned":
        return pruned_copy(base, config.keep).requires_grad_(True)
    side = copy.deepcopy(base)
    side.requires_grad_(True)
    if config.init != "copy":
        reset_weights(side)
    return side


def _layer(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> Sequence[nn.Module]:
    """Without a bias: the normalisation has one. That gives the authors' counts of parameters."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
    return convolution, group_norm(outputs), nn.ReLU()


def _floating(x: Tensor) -> Tensor:
    return x.float() / 255 if x.dtype == torch.uint8 else x


def _tiled(vector: Tensor, size: Sequence[int]) -> Tensor:
    return vector[:, :, None, None].expand(-1, -1, *size)
