"""What a model reads: sensors by name, of fixed shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from agents.sidetuning.config import SideError
from envs.spaces import PLAIN

Inputs: TypeAlias = Tensor | Mapping[str, Tensor]
"""of one sensor, or of several by name; the batch comes first"""


def named(inputs: Inputs) -> dict[str, Tensor]:
    return {PLAIN: inputs} if isinstance(inputs, Tensor) else dict(inputs)


class Sensors:
    """Shapes and types of the sensors, and which of them the base reads.

    example: inputs as they will come. `zeros` has one row of each.
    """

    def __init__(self, example: Inputs, base_input: str | None, device: torch.device) -> None:
        given = named(example)
        names = ", ".join(given)
        if base_input is None and len(given) > 1:
            raise SideError(f"which of the sensors {names} does the base read? Set base_input")
        self.base_input = base_input or next(iter(given))
        if self.base_input not in given:
            raise SideError(f"no sensor {self.base_input!r} for the base: there are {names}")
        self.zeros = {
            name: torch.zeros(1, *x.shape[1:], dtype=x.dtype, device=device) for name, x in given.items()
        }

    def check(self, inputs: Inputs) -> dict[str, Tensor]:
        """Inputs by sensor. Raises SideError for those that are missing or of another shape."""
        given = named(inputs)
        if self.zeros.keys() - given.keys():
            raise SideError(f"the model expects the sensors {', '.join(self.zeros)}, got {', '.join(given)}")
        for name, zeros in self.zeros.items():
            if given[name].shape[1:] != zeros.shape[1:]:
                shape = ", ".join(map(str, zeros.shape[1:]))
                raise SideError(f"the model expects {name} (N, {shape}), got {tuple(given[name].shape)}")
        return given

    def to(self, device: torch.device) -> None:
        self.zeros = {name: x.to(device) for name, x in self.zeros.items()}
