"""The event predictor: one image and candidate actions in, events and positions out (paper, figure 5).

The image is encoded once; its code is the first state of an LSTM that runs over each candidate's actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


RELEASED_CODE = NetworkConfig(second_layer=128, second_layer_linear=True)


class ImageEncoder(nn.Module):
    """uint8 images (B, height, width, C) to the LSTM's first state, h and c, (B, hidden) each."""

    def __init__(self, spec: ModelSpec, config: NetworkConfig) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(spec.image[2], 32, 5, 2), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, 2), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, 2), nn.ReLU(), nn.Flatten()),
        )
        with torch.no_grad():
            features = self.convolutions(torch.zeros(1, spec.image[2], *spec.image[:2])).shape[1]
        second = nn.Linear(256, config.second_layer)
        self.layers = nn.Sequential(
            *(nn.Linear(features, 256), nn.ReLU()),
            *((second,) if config.second_layer_linear else (second, nn.ReLU())),
            *(nn.Linear(config.second_layer, CODE), nn.ReLU(), nn.Linear(CODE, 2 * config.hidden)),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        scaled = (images.permute(0, 3, 1, 2).float() - 127.5) / 127.5  # (B, C, 96, 128)
        h, c = self.layers(self.convolutions(scaled)).chunk(2, dim=1)  # (B, 256) -> 2 x (B, hidden)
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


class EventPredictor(nn.Module):
    """Both together, as it is trained: one candidate an image."""

    def __init__(self, spec: ModelSpec, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.spec, self.config = spec, config or NetworkConfig()
        self.encoder = ImageEncoder(spec, self.config)
        self.rollout = Rollout(spec, self.config)

    def forward(self, images: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """images: (B, height, width, C) uint8; actions: (B, H, A) in [-1, 1].

        Returns logits (B, H, K) and positions (B, H, 2) in metres.
        """
        h, c = self.encoder(images)
        logits, position = self.rollout(h, c, actions.transpose(0, 1))
        return logits.transpose(0, 1), position.transpose(0, 1)
