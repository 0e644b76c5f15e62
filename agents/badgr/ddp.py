"""Several processes that train one network: torchrun starts them, each computes a part of every minibatch.

    torchrun --nproc-per-node 2 -m -- surefoot train badgr --data runs/drives/urban --run runs/mine

and the same for `resume`; without the two dashes torchrun takes --run for an option of its own. Gradients
are averaged by DistributedDataParallel, with NCCL between GPUs and gloo between processors; process 0 alone
writes. Which windows a process gets follows from the seed, the step and its number: nothing of it needs to
be saved.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch import distributed as dist

if TYPE_CHECKING:
    from torch.nn import Module

PATIENCE = timedelta(hours=1)
"""that the others wait while process 0 measures or labels"""


class RanksError(RuntimeError):
    """The processes do not fit the run; the message says what to change."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train; a context manager that leaves the group."""

    rank: int = 0
    count: int = 1
    local: int = 0
    """number on this machine, and of its GPU"""

    @property
    def writes(self) -> bool:
        """Whether this one keeps the run's files."""
        return self.rank == 0

    def part(self, size: int) -> slice:
        """Rows of a minibatch that this process computes. Raises RanksError when it cannot be shared."""
        if size % self.count:
            raise RanksError(
                f"batch_size {size} cannot be shared by {self.count} processes: choose a multiple"
            )
        return slice(self.rank, size, self.count)

    def wrapped(self, network: Module, device: torch.device) -> Module:
        """The network, with gradients that are averaged over all processes."""
        if self.count == 1:
            return network
        from torch.nn.parallel import DistributedDataParallel

        ids = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)

    def summed(self, values: Tensor) -> Tensor:
        """Over all processes; in place."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.count > 1 and dist.is_initialized():
            dist.destroy_process_group()


def join_ranks(device: str = "auto") -> Ranks:
    """The group that torchrun's environment names, or this process alone. device: as BadgrConfig has it."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in os.environ:
        return Ranks()
    ranks = Ranks(int(os.environ["RANK"]), count, int(os.environ.get("LOCAL_RANK", "0")))
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(ranks.local)
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    return ranks
