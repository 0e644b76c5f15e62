"""Small bases and tasks that the side-tuning tests share; loaded with runpy."""

import torch
from torch import Tensor, nn

from agents.sidetuning.inputs import Inputs
from agents.sidetuning.model import SideModel

IMAGES = (3, 16, 16)


def vector_base(seed: int = 0) -> nn.Sequential:
    """(N, 3, 16, 16) to (N, 16), with batch normalisation and dropout, whose statistics are not the first."""
    torch.manual_seed(seed)
    base = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        *(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.5)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 16)),
    )
    for _ in range(3):
        base(torch.randn(8, *IMAGES) * 2 + 1)
    return base


def map_base(seed: int = 0) -> nn.Sequential:
    """(N, 3, 16, 16) to maps (N, 8, 4, 4)."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8)
    )


def images(count: int = 6, seed: int = 1) -> Tensor:
    return torch.randn(count, *IMAGES, generator=torch.Generator().manual_seed(seed))


def learn(model: SideModel, inputs: Inputs, updates: int = 3, seed: int = 0) -> list[float]:
    """Trains the active task on random targets of its output's shape; gives the losses."""
    model.train()
    optimizer = torch.optim.Adam(model.param_groups(1e-2))
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(model(inputs).shape, generator=generator)
    losses = []
    for _ in range(updates):
        loss = (model(inputs) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.advance()
        losses.append(loss.item())
    model.eval()
    return losses
