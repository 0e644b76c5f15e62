"""The event predictor: one image and candidate actions in, events and positions out (paper, figure 5).

The image is encoded once; its code is the first state of an LSTM that runs over each candidate's actions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from agents.badgr.spec import ModelSpec

CODE = 128


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes. The released code differs from the paper's figure in the second layer: 128 units, linear."""

    second_layer: int = 256
    second_layer_linear: bool = False
    hidden: int = 64
    """units of the LSTM; two of these are the image's code"""
    head: int = 32
    """units of each event's own layer"""
    members: int = 1
    """rollouts beside each other; more than one is an ensemble"""


RELEASED_CODE = NetworkConfig(second_layer=128, second_layer_linear=True)


class ImageEncoder(nn.Module):
    """uint8 images (B, height, width, C) to the LSTM's first state, h and c, (B, members * hidden) each."""

    def __init__(self, spec: ModelSpec, config: NetworkConfig) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(spec.image[2], 32, 5, 2), nn.ReLU(inplace=True)),
            *(nn.Conv2d(32, 64, 3, 2), nn.ReLU(inplace=True)),
            *(nn.Conv2d(64, 64, 3, 2), nn.ReLU(inplace=True), nn.Flatten()),
        )
        with torch.no_grad():
            features = self.convolutions(torch.zeros(1, spec.image[2], *spec.image[:2])).shape[1]
        second = nn.Linear(256, config.second_layer)
        self.layers = nn.Sequential(
            *(nn.Linear(features, 256), nn.ReLU()),
            *((second,) if config.second_layer_linear else (second, nn.ReLU())),
            *(
                nn.Linear(config.second_layer, CODE),
                nn.ReLU(),
                nn.Linear(CODE, 2 * config.members * config.hidden),
            ),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # In place and with the channels last, as cameras have them: images are most of the memory traffic.
        scaled = images.permute(0, 3, 1, 2).float().sub_(127.5).div_(127.5)  # (B, C, 96, 128)
        h, c = self.layers(self.convolutions(scaled)).chunk(2, dim=1)
        return h, c


class Rollout(nn.Module):
    """First states (B, hidden) and actions (H, B, A) to event logits (H, B, K) and positions (H, B, 2).

    Actions lie in [-1, 1]; positions are in metres in the robot's frame at the image. Time comes first,
    as LSTMs run.
    """

    def __init__(self, spec: ModelSpec, config: NetworkConfig) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(len(spec.actions), 16), nn.ReLU(), nn.Linear(16, 16))
        self.lstm = nn.LSTM(16, config.hidden)
        # All heads side by side: one product for the first layers, then each event reads its own part.
        self.outputs = len(spec.events) + 1
        self.first = nn.Linear(config.hidden, self.outputs * config.head)
        self.heads = nn.ModuleList(nn.Linear(config.head, 1) for _ in spec.events)
        self.position = nn.Linear(config.head, 2)

    def forward(self, h: Tensor, c: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        states, _ = self.lstm(self.embed(actions), (h[None].contiguous(), c[None].contiguous()))
        parts = torch.relu(self.first(states)).chunk(self.outputs, dim=-1)  # each (H, B, head)
        logits = torch.cat([head(part) for head, part in zip(self.heads, parts, strict=False)], dim=-1)
        return logits, self.position(parts[-1])

    def members(self, h: Tensor, c: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """As an ensemble of one has it: (1, H, B, ...)."""
        logits, position = self(h, c, actions)
        return logits[None], position[None]


class RolloutEnsemble(nn.Module):
    """Members that share the image's encoder, up to its last layer, and nothing else.

    forward gives their mean probability, as logits, their mean position, and how much they disagree about
    each event: the standard deviation of their probabilities, (H, B, K).
    """

    def __init__(self, spec: ModelSpec, config: NetworkConfig) -> None:
        super().__init__()
        self.each = nn.ModuleList(Rollout(spec, config) for _ in range(config.members))

    def members(self, h: Tensor, c: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """h, c: (B, M * hidden). Returns (M, H, B, K) and (M, H, B, 2)."""
        count = len(self.each)
        states = zip(self.each, h.chunk(count, dim=1), c.chunk(count, dim=1), strict=True)
        said = [member(own_h, own_c, actions) for member, own_h, own_c in states]
        return torch.stack([logits for logits, _ in said]), torch.stack([place for _, place in said])

    def forward(self, h: Tensor, c: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, position = self.members(h, c, actions)
        return mean_logits(logits), position.mean(0), disagreement(logits)


def mean_logits(logits: Tensor) -> Tensor:
    """Of the mean of probabilities, (...), of members' logits (M, ...); finite where all are certain."""
    happens, not_happens = (-softplus(sign * logits) for sign in (-1, 1))
    return torch.logsumexp(happens, 0) - torch.logsumexp(not_happens, 0)


def disagreement(logits: Tensor) -> Tensor:
    """Standard deviation of members' probabilities, (...), of logits (M, ...)."""
    return torch.sigmoid(logits).std(0, correction=0)


class EventPredictor(nn.Module):
    """Both together, as it is trained: one candidate an image."""

    def __init__(self, spec: ModelSpec, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.spec, self.config = spec, config or NetworkConfig()
        self.encoder = ImageEncoder(spec, self.config)
        alone = self.config.members == 1
        self.rollout = Rollout(spec, self.config) if alone else RolloutEnsemble(spec, self.config)
        self.apply(_begin)

    def forward(self, images: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """images: (B, height, width, C) uint8; actions: (B, H, A) in [-1, 1].

        Returns logits (B, H, K) and positions (B, H, 2) in metres; of an ensemble, those of its mean.
        """
        h, c = self.encoder(images)
        logits, position = self.rollout(h, c, actions.transpose(0, 1))[:2]
        return logits.transpose(0, 1), position.transpose(0, 1)

    def members(self, images: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """The same of every member on its own: (M, B, H, K) and (M, B, H, 2)."""
        h, c = self.encoder(images)
        logits, position = self.rollout.members(h, c, actions.transpose(0, 1))
        return logits.transpose(1, 2), position.transpose(1, 2)


def _begin(layer: nn.Module) -> None:
    """Glorot's uniform weights and biases of 0, as the original's library begins. With torch's own beginning
    the image moves the LSTM's first state 13 times less, and it takes long to find that there is one."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


def released_layers(config: NetworkConfig) -> NetworkConfig:
    """The same with the released code's second layer."""
    return replace(config, second_layer=128, second_layer_linear=True)
