"""One task's part beside the base: side network, merge, normalisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from agents.sidetuning.base import BaseOutputs, default_taps, run_base, tap_shapes
from agents.sidetuning.config import ONE_BRANCH, SideConfig, SideError
from agents.sidetuning.ladder import Ladder
from agents.sidetuning.layers import Shape
from agents.sidetuning.merges import AlphaBlend, build_merge
from agents.sidetuning.sides import build_side, side_input, side_shape, zero_projected

GROUPS = 8
"""of the normalisation after the merge"""


class SideAdapter(nn.Module):
    """Side, merge and normalisation of one task; the base is given with every call.

    sensors: an example of each, (1, ...). base_input: the sensor that the base reads. custom: the side
    network where config.side is "custom".
    """

    ready: Tensor

    def __init__(
        self,
        config: SideConfig,
        base: nn.Module,
        sensors: Mapping[str, Tensor],
        base_input: str,
        custom: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if (config.side == "custom") != (custom is not None):
            raise SideError("side='custom' and a side module go together: give both or none")
        self.config = config
        self.side_inputs = config.side_inputs or (base_input,)
        unknown = [name for name in self.side_inputs if name not in sensors]
        if unknown:
            raise SideError(f"no sensors {unknown} for the side: there are {', '.join(sensors)}")
        self.taps = (config.taps or default_taps(base)) if config.merge == "ladder" else ()
        self.features: Shape = tuple(run_base(base, sensors[base_input]).features.shape[1:])
        self.side = self._build_side(base, sensors, base_input, custom)
        self.merge = nn.Identity() if config.merge in ONE_BRANCH else build_merge(config, self.features)
        self.norm = build_norm(config.norm, self.features)
        self.register_buffer("ready", torch.tensor(config.init != "distilled"))
        self._check(base, sensors, base_input)

    @property
    def needs_base(self) -> bool:
        """Whether the base's features are used at all at present."""
        return self.config.merge not in ("side_only", "blind") and self.scheduled_alpha() != 0.0

    @property
    def needs_side(self) -> bool:
        return self.side is not None and self.scheduled_alpha() != 1.0

    def scheduled_alpha(self) -> float | None:
        """Alpha where it is not learned and one side is merged."""
        return self.merge.scheduled() if isinstance(self.merge, AlphaBlend) else None

    def side_output(self, sensors: Mapping[str, Tensor], base: BaseOutputs | None) -> Tensor:
        """What the side network gives, of the features' shape. Raises SideError before its distillation."""
        assert self.side is not None
        if not self.ready:
            raise SideError("this side is to be distilled from the base first: call distill on the model")
        return self.side_network_output(sensors, base)

    def side_network_output(self, sensors: Mapping[str, Tensor], base: BaseOutputs | None) -> Tensor:
        """The same, also while it is distilled."""
        assert self.side is not None
        if self.taps:
            assert base is not None
            return self.side(base.taps)
        return self.side(side_input(sensors, self.side_inputs))

    def forward(
        self, sensors: Mapping[str, Tensor], base: BaseOutputs | None, earlier: Sequence[Tensor] = ()
    ) -> Tensor:
        """Merged features. base: may be None where it is not needed. earlier: outputs of stacked sides."""
        return self.norm(self._merged(sensors, base, earlier))

    def _merged(
        self, sensors: Mapping[str, Tensor], base: BaseOutputs | None, earlier: Sequence[Tensor]
    ) -> Tensor:
        if self.config.merge == "blind":
            some = next(iter(sensors.values()))
            # shape[0], not len(): an exporter must see that it is the batch.
            return torch.zeros(some.shape[0], *self.features, device=some.device)
        # An alpha of exactly 0 or 1 leaves the other branch out: bit for bit, and for free.
        side = self.side_output(sensors, base) if self.needs_side else None
        if side is None:
            assert base is not None
            return base.features
        if not self.needs_base:
            return side
        assert base is not None
        return self.merge(base.features, [*earlier, side])

    def _build_side(
        self,
        base: nn.Module,
        sensors: Mapping[str, Tensor],
        base_input: str,
        custom: nn.Module | None,
    ) -> nn.Module | None:
        config = self.config
        if config.merge == "ladder":
            shapes = tap_shapes(base, sensors[base_input], self.taps)
            side: nn.Module = Ladder(self.taps, list(shapes.values()), self.features, config.width)
        elif config.side == "none":
            return None
        elif custom is not None:
            side = custom
        else:
            shape = side_shape({name: tuple(x.shape[1:]) for name, x in sensors.items()}, self.side_inputs)
            side = build_side(config, base, shape, self.features)
        return zero_projected(side, self.features) if config.init == "zero" else side

    def _check(self, base: nn.Module, sensors: Mapping[str, Tensor], base_input: str) -> None:
        """Runs the side once. Raises SideError when it does not give what the base gives."""
        if self.side is None:
            return
        # Two rows, in evaluation mode: batch normalisation must not learn from zeros.
        example = {name: torch.cat([x, x]) for name, x in sensors.items()}
        outputs = run_base(base, example[base_input], self.taps)
        self.eval()
        try:
            with torch.no_grad():
                shape = tuple(self.side_network_output(example, outputs).shape[1:])
        except RuntimeError as error:
            raise SideError(f"the side cannot read {_words(sensors, self.side_inputs)}: {error}") from error
        self.train()
        if shape != self.features:
            raise SideError(
                f"the base gives features {self.features}, the side {shape}: they must have one shape"
            )


def build_norm(kind: str, features: Shape) -> nn.Module:
    """Raises SideError when 8 groups do not fit."""
    if kind == "none":
        return nn.Identity()
    if features[0] % GROUPS:
        raise SideError(f"norm='group' needs a multiple of {GROUPS} channels, the base gives {features[0]}")
    return nn.GroupNorm(GROUPS, features[0], affine=False)


def _words(sensors: Mapping[str, Tensor], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {tuple(sensors[name].shape[1:])}" for name in names)
