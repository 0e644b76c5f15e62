"""How many parameters there are, where, and what a task costs on disk."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from agents.sidetuning.adapter import SideAdapter
from agents.sidetuning.model import SideModel, Task


@dataclass(frozen=True)
class ParameterCount:
    """Of one task beside the base. side: also what LoRA or adapters add; bytes: of a saved task."""

    base: int
    side: int
    merge: int
    head: int
    bytes: int

    @property
    def trainable(self) -> int:
        return self.side + self.merge + self.head

    @property
    def share(self) -> float:
        """New parameters of the encoder, so without the head, over the base's."""
        return (self.side + self.merge) / self.base

    def __str__(self) -> str:
        return (
            f"base {self.base:,} frozen | side {self.side:,} | merge {self.merge:,} | head {self.head:,} | "
            f"trainable {self.trainable:,} | side and merge {self.share:.2%} of the base | "
            f"{self.bytes:,} bytes"
        )


def count_parameters(model: SideModel, name: str) -> ParameterCount:
    """Of the task of this name. Heads are apart: they often are larger than the sides."""
    task: Task = model.task(name)
    encoder = task.encoder
    merge = _count(encoder.merge) if isinstance(encoder, SideAdapter) else 0
    return ParameterCount(
        base=_count(model.base),
        side=_count(encoder) - merge,
        merge=merge,
        head=0 if task.head is None else _count(task.head),
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in task.state_dict().values()),
    )


def print_trainable_parameters(model: SideModel) -> None:
    """One line a task, the active one marked."""
    for name in model.tasks:
        print(f"{'*' if name == model.active else ' '} {name}: {count_parameters(model, name)}")


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
