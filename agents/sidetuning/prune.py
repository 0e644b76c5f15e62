"""A narrow copy of a network from its channels of the largest norm (after ladder side-tuning, Sung 2022)."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from agents.sidetuning.config import SideError


def pruned_copy(base: nn.Module, keep: float) -> nn.Sequential:
    """The base's layers with the share `keep` of their outputs; the last layer keeps all of its.

    base: nested nn.Sequential of linear layers, ungrouped 2-d convolutions, normalisations and layers
    without weights. Raises SideError for other networks: which channels belong together is not known there.
    """
    layers = list(_leaves(base))
    weighted = [index for index, layer in enumerate(layers) if isinstance(layer, (nn.Linear, nn.Conv2d))]
    if not weighted:
        raise SideError("the base has no linear or convolutional layer to prune")
    kept: Tensor | None = None
    channels = 0
    narrow: list[nn.Module] = []
    for index, layer in enumerate(layers):
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            inputs = _inputs(layer, kept, channels)
            last = index == weighted[-1]
            channels = len(layer.weight)
            kept = torch.arange(channels) if last else _largest(layer.weight, keep)
            narrow.append(_narrow_layer(layer, kept, inputs))
        elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)):
            narrow.append(_narrow_norm(layer, kept))
        elif any(True for _ in layer.parameters()):
            raise SideError(f"cannot prune a {type(layer).__name__}: use init='copy', or a custom side")
        else:
            narrow.append(copy.deepcopy(layer))
    return nn.Sequential(*narrow)


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _leaves(child)
    elif next(module.children(), None) is None:
        yield module
    else:
        raise SideError(
            f"only nn.Sequential can be pruned, the base holds a {type(module).__name__}: "
            "use init='copy', or a custom side"
        )


def _largest(weight: Tensor, keep: float) -> Tensor:
    """Indices of the output channels of the largest L1 norm, in order."""
    count = max(1, round(keep * len(weight)))
    return weight.detach().flatten(1).abs().sum(1).topk(count).indices.sort().values


def _inputs(layer: nn.Linear | nn.Conv2d, kept: Tensor | None, channels: int) -> Tensor:
    """Indices of the layer's inputs that still come; after flattening, a channel is many inputs."""
    count = layer.weight.shape[1]
    if isinstance(layer, nn.Conv2d) and layer.groups != 1:
        raise SideError("cannot prune grouped convolutions: use init='copy', or a custom side")
    if kept is None:
        return torch.arange(count)
    if count % channels:
        raise SideError(f"a layer of {count} inputs follows {channels} channels: cannot be pruned")
    each = count // channels
    return (kept[:, None] * each + torch.arange(each)).reshape(-1)


def _narrow_layer(layer: nn.Linear | nn.Conv2d, outputs: Tensor, inputs: Tensor) -> nn.Module:
    narrow = copy.deepcopy(layer)
    narrow.weight = nn.Parameter(layer.weight.detach()[outputs][:, inputs].clone())
    if layer.bias is not None:
        narrow.bias = nn.Parameter(layer.bias.detach()[outputs].clone())
    if isinstance(narrow, nn.Linear):
        narrow.in_features, narrow.out_features = len(inputs), len(outputs)
    else:
        narrow.in_channels, narrow.out_channels = len(inputs), len(outputs)
    return narrow


def _narrow_norm(layer: nn.Module, kept: Tensor | None) -> nn.Module:
    narrow = copy.deepcopy(layer)
    if kept is None:
        return narrow
    for name, parameter in list(narrow.named_parameters()):
        setattr(narrow, name, nn.Parameter(parameter.detach()[kept].clone()))
    for name, buffer in list(narrow.named_buffers()):
        if buffer.dim():
            setattr(narrow, name, buffer[kept].clone())
    if isinstance(narrow, nn.GroupNorm):
        narrow.num_channels = len(kept)
        narrow.num_groups = math.gcd(narrow.num_groups, len(kept))
    else:
        narrow.num_features = len(kept)
    return narrow
