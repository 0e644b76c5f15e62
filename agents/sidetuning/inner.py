"""Rivals that change the base from inside, for their own task only: LoRA and residual adapters."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from agents.sidetuning.adapter import build_norm
from agents.sidetuning.base import (
    BaseOutputs,
    default_taps,
    run_base,
    run_edited,
    run_with_weights,
    tap_shapes,
)
from agents.sidetuning.config import AdapterConfig, LoraConfig, SideError
from agents.sidetuning.layers import Shape, expect_vector_or_map, pointwise

ADAPTABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class InnerAdapter(nn.Module):
    """What both have in common: the base runs anew for every task, so its outputs cannot be shared."""

    needs_base = False
    taps: tuple[str, ...] = ()

    def __init__(
        self,
        config: LoraConfig | AdapterConfig,
        base: nn.Module,
        sensors: Mapping[str, Tensor],
        base_input: str,
    ) -> None:
        super().__init__()
        self.config, self.base_input = config, base_input
        # Outside of the children: the base is neither saved nor trained with the adapter.
        object.__setattr__(self, "base", base)
        self.features: Shape = tuple(run_base(base, sensors[base_input]).features.shape[1:])
        self.norm = build_norm(config.norm, self.features)

    def encode(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(
        self, sensors: Mapping[str, Tensor], base: BaseOutputs | None = None, earlier: Sequence[Tensor] = ()
    ) -> Tensor:
        """Features of the changed base."""
        return self.norm(self.encode(sensors[self.base_input]))


class LoraAdapter(InnerAdapter):
    """weight + scale * up @ down for linear and convolutional weights; nothing at first, as up is 0.

    A convolution's change has the rank over (outputs, inputs * kernel), as merging needs it. The changed
    weight is made first and used once, so that merged and unmerged are the same computation; its gradient
    takes the memory of fine-tuning.
    """

    def __init__(
        self, config: LoraConfig, base: nn.Module, sensors: Mapping[str, Tensor], base_input: str
    ) -> None:
        super().__init__(config, base, sensors, base_input)
        self.scale = config.scale
        layers = {
            name: module
            for name, module in base.named_modules()
            if isinstance(module, ADAPTABLE) and _chosen(name, config.targets)
        }
        if not layers:
            raise SideError(
                f"LoRA finds no linear or convolutional layer named {config.targets or 'at all'} in the "
                "base: nothing would be trained"
            )
        self.names = tuple(layers)
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        for layer in layers.values():
            outputs, inputs = len(layer.weight), layer.weight[0].numel()
            rank = min(config.rank, outputs, inputs)
            down = torch.empty(rank, inputs, device=layer.weight.device)
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))
            self.down.append(nn.Parameter(down))
            self.up.append(nn.Parameter(torch.zeros(outputs, rank, device=layer.weight.device)))

    def weights(self) -> dict[str, Tensor]:
        """The changed weights by the base's names."""
        changed = {}
        for name, down, up in zip(self.names, self.down, self.up, strict=True):
            weight = self.base.get_submodule(name).weight
            changed[f"{name}.weight"] = weight + self.scale * (up @ down).view_as(weight)
        return changed

    def encode(self, inputs: Tensor) -> Tensor:
        return run_with_weights(self.base, inputs, self.weights())

    def merged(self) -> nn.Module:
        """A copy of the base with the change in its weights; the base itself stays as it is."""
        merged = copy.deepcopy(self.base)
        with torch.no_grad():
            for name, weight in self.weights().items():
                merged.get_parameter(name).copy_(weight)
        return merged


class ResidualAdapter(InnerAdapter):
    """h + up(relu(down(h))) after modules of the base; exactly h at first, as up is 0."""

    def __init__(
        self, config: AdapterConfig, base: nn.Module, sensors: Mapping[str, Tensor], base_input: str
    ) -> None:
        super().__init__(config, base, sensors, base_input)
        self.names = config.taps or default_taps(base)
        self.bottlenecks = nn.ModuleList()
        for name, shape in tap_shapes(base, sensors[base_input], self.names).items():
            expect_vector_or_map(shape, f"an adapter after module {name!r}")
            down, up = (
                pointwise(shape[0], config.bottleneck, shape),
                pointwise(config.bottleneck, shape[0], shape),
            )
            for parameter in up.parameters():
                nn.init.zeros_(parameter)
            self.bottlenecks.append(nn.Sequential(down, nn.ReLU(), up))

    def encode(self, inputs: Tensor) -> Tensor:
        edits = {
            name: lambda h, bottleneck=bottleneck: h + bottleneck(h)
            for name, bottleneck in zip(self.names, self.bottlenecks, strict=True)
        }
        return run_edited(self.base, inputs, edits)


def _chosen(name: str, targets: Sequence[str]) -> bool:
    return not targets or any(name == target or name.endswith(f".{target}") for target in targets)
