"""One optimiser step of the event predictor: on one process or several, processor or GPU, one member or more.

What makes it fast on a processor, none of which changes what is learnt: channels last, ReLU and the images'
scaling in place, one fused Adam, weight decay's gradient by hand, one thread (bench_badgr_train.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.badgr.config import BadgrConfig
from agents.badgr.ddp import Ranks
from agents.badgr.losses import add_weight_decay, event_losses, position_loss
from agents.badgr.network import EventPredictor, NetworkConfig, released_layers
from agents.badgr.windows import Batch

Array = NDArray[Any]


class TrainingError(RuntimeError):
    """Training cannot go on; the message says what to change."""


class Members(nn.Module):
    """What is trained: every member's own prediction. DistributedDataParallel knows `forward` alone."""

    def __init__(self, network: EventPredictor) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.members(images, actions)


class Optimisation:
    """The network, its optimiser, and the step. drives: how many there are to train on."""

    def __init__(self, config: BadgrConfig, drives: int, ranks: Ranks | None = None) -> None:
        self.config, self.ranks = config, ranks or Ranks()
        self.own_shards = bool(config.shards) and self.ranks.count > 1
        """whether each process draws its part of a minibatch from drives that the others do not have"""
        self.device, self.autocast = choose_device(config, self.ranks)
        torch.manual_seed(config.seed)
        layers = NetworkConfig(members=config.members)
        layers = released_layers(layers) if config.released_code else layers
        network = EventPredictor(config.spec, layers)
        # Parameters as tensors are: the copies that make them fit would cost a tenth of the time.
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, fused=True)
        self.event_weights = self._per_event(config.event_weights)
        self._positive_weights = self._per_event(config.positive_weights)
        self._trained: nn.Module | None = None
        self._seen = _seen(config, drives)

    def load(self, network: Mapping[str, Tensor], optimizer: Mapping[str, Any]) -> None:
        """What state_dict() of both gave."""
        self.network.load_state_dict(network)
        self.optimizer.load_state_dict(dict(optimizer))
        for parameter, state in self.optimizer.state.items():
            for name, values in state.items():
                if values.shape == parameter.shape:
                    # The fused step pairs numbers by their places in memory, which files do not keep.
                    state[name] = torch.empty_like(parameter).copy_(values)

    def rows(self) -> slice:
        """Of the windows that this process draws, those that it computes."""
        part = self.ranks.part(self.config.batch_size)
        return slice(None) if self.own_shards else part

    @property
    def drawn(self) -> int:
        """Windows that this process draws for each minibatch."""
        return self.config.batch_size // (self.ranks.count if self.own_shards else 1)

    def step(self, batch: Batch, number: int) -> dict[str, float]:
        """Learns from a minibatch, whose images are those of `rows`. number: of the step, from 0.

        Returns metrics. Raises TrainingError when the loss is not finite.
        """
        config = self.config
        if self._trained is None:  # only now, when weights from elsewhere are in it
            self._trained = self.ranks.wrapped(Members(self.network), self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * rate(config, number)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        events, place = self._losses(batch)
        loss = (self.event_weights * events).sum() + config.position_weight * place
        # The processes' gradients are averaged, and their losses are parts of one mean.
        (loss * self.ranks.count).backward()
        decay = add_weight_decay(self.network, config.weight_decay)
        said = self.ranks.summed(torch.cat([torch.stack([loss.detach(), place.detach()]), events.detach()]))
        value, place_value, *event_values = said.tolist()
        value += config.weight_decay * float(decay)
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} in step {number + 1}: lower learning_rate, and check the drives' "
                "odometry for jumps"
            )
        self.optimizer.step()
        per_event = zip(config.spec.events, event_values, strict=True)
        return {
            "train/loss": value,
            "train/position": place_value,
            "train/weight_decay": float(decay),
            **{f"train/{name}": number for name, number in per_event},
        }

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """This process's part of each event's loss, (K,), and of the position's, (); means over members."""
        rows = self.rows()
        seen = self._seen[:, batch.drives]  # (M, B)
        mask = batch.mask & seen[:, :, None, None]  # (M, B, H, K)
        moved = batch.position_mask & seen[:, :, None]  # (M, B, H)
        assert self._trained is not None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            logits, position = self._trained(self._moved(batch.images), self._moved(batch.actions[rows]))
        # Every process knows by how much the whole minibatch's mean is divided: it drew it too, or is told.
        events = event_losses(
            logits.float(),
            self._moved(batch.labels[rows]),
            self._moved(mask[:, rows]),
            self._positive_weights,
            self._total(mask.sum((1, 2))),
        )
        place = position_loss(
            position.float(),
            self._moved(batch.position[rows]),
            self._moved(moved[:, rows]),
            self._total(moved.sum((1, 2))),
        )
        return events.mean(0), place.mean()

    def _total(self, counts: Array) -> Tensor:
        """Counts of the windows drawn here, made those of the whole minibatch."""
        moved = self._moved(counts)
        return self.ranks.summed(moved) if self.own_shards else moved

    def _moved(self, values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device, non_blocking=True)

    def _per_event(self, weights: Mapping[str, float]) -> Tensor:
        """(K,); a weight for an event that the model does not have is left out."""
        return torch.tensor([weights.get(name, 1.0) for name in self.config.spec.events], device=self.device)


def rate(config: BadgrConfig, number: int) -> float:
    """Factor on the learning rate in a step, from 0."""
    if config.schedule == "constant":
        return 1.0
    warming = max(config.warmup * config.steps, 1.0)
    return min(1.0, (number + 1) / warming) * 0.5 * (1 + math.cos(math.pi * number / config.steps))


def choose_device(config: BadgrConfig, ranks: Ranks | None = None) -> tuple[torch.device, bool]:
    """The device, and whether products run in bfloat16. Raises ValueError for what is not there."""
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {config.device} was asked for, and there is no GPU here: take cpu or auto")
    if name == "cuda" and ranks is not None and ranks.count > 1:
        name = f"cuda:{ranks.local}"
    device = torch.device(name)
    if config.precision == "bfloat16" and device.type != "cuda":
        raise ValueError(f"precision bfloat16 needs a GPU, the device is {device}: take float32 or auto")
    return device, device.type == "cuda" and config.precision != "float32"


def _seen(config: BadgrConfig, drives: int) -> Array:
    """(M, drives): which members learn from which drives, of an ensemble; each drive teaches one at least."""
    if config.members == 1:
        return np.ones((1, drives), np.bool_)
    rng = np.random.default_rng([config.seed, 0xE25E])
    seen = rng.random((config.members, drives)) < config.member_share
    seen[rng.integers(config.members, size=drives), np.arange(drives)] = True
    return seen
