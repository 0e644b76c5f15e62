"""Pre-training of a visual base: it learns to see depth, surface normals and edges in rooms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.configs import config_to_json
from agents.interrupts import StopSignal
from agents.runs import write_json
from agents.sidetuning.base_config import PretrainConfig
from agents.sidetuning.loop import Schedule, load_optimizer, opened, optimizer_state, run_job
from agents.sidetuning.visual_base import FINER, Readouts, VisualBase, images_to_float, save_base
from envs.pointnav import PointNavConfig
from envs.pointnav_midlevel import NEAREST, Frames, take_frames
from envs.rover.worlds import SPLITS, Split

CHUNK = 500
"""frames that are held in full resolution at a time"""
TEMPERATURE = 0.2
"""of the contrastive loss"""
Targets = dict[str, Tensor]


def train_base(
    config: PretrainConfig,
    path: Path | str,
    resume: bool = False,
    quiet: bool = False,
    tensorboard: bool = True,
) -> dict[str, Any]:
    """Trains to the end, or goes on from the newest checkpoint; the run's folder then is a base's folder.

    Returns the summary. Raises RunStopped after Ctrl-C or SIGTERM, when all is saved.
    """
    path = Path(path)
    with opened(path, config, config.seed, resume, tensorboard) as run, StopSignal() as stop:
        job = Pretraining(config)
        schedule = Schedule("base", config.steps, config.log_rows, config.evaluations, config.checkpoints)
        spent = run_job(job, run, schedule, stop, quiet)
        measured = job.evaluate(config.steps)
        about = {"config": config_to_json(config), "measured": measured}
        sha256 = save_base(job.base, job.readouts, path, about)
        summary = {
            "kind": "base",
            "seed": config.seed,
            "steps": config.steps,
            "base_sha256": sha256,
            "tasks": list(config.tasks),
            "frames": config.frames,
            "parameters": sum(x.numel() for x in job.base.parameters()),
            "measured": measured,
            "cpu_seconds": spent.cpu,
            "wall_seconds": spent.wall,
        }
        write_json(path / "summary.json", summary)
        return summary


class Pretraining:
    """The job of `loop`."""

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.base = VisualBase(config.network)
        self.readouts = Readouts(config.network.features, config.tasks)
        self.projection = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(config.network.shape), 64), nn.ReLU(), nn.Linear(64, 32)
        )
        self.parts = nn.ModuleDict(
            {"base": self.base, "readouts": self.readouts, "projection": self.projection}
        )
        self.optimizer = torch.optim.Adam(self.parts.parameters(), config.learning_rate)
        self.images, self.targets = gather(config, "train", config.frames)
        self.unseen = gather(config, "validation", config.holdout_frames)

    def train(self, step: int) -> dict[str, float]:
        config = self.config
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        rows = torch.randint(len(self.images), (config.batch_size,), generator=generator)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.5 * config.learning_rate * (1 + math.cos(math.pi * step / config.steps))
        self.parts.train()
        images = images_to_float(self.images[rows])
        losses = self._losses(images, {name: x[rows] for name, x in self.targets.items()})
        if "contrastive" in config.tasks:
            views = [self.projection(self.base(distorted(images, generator))) for _ in range(2)]
            losses["contrastive"] = contrastive_loss(*views)
        loss = torch.stack([config.weights.get(name, 1.0) * x for name, x in losses.items()]).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"train/loss": loss.item(), **{f"train/{name}": x.item() for name, x in losses.items()}}

    @torch.no_grad()
    def evaluate(self, step: int) -> dict[str, float]:
        return readout_errors(self.base, self.readouts, *self.unseen)

    def state(self) -> dict[str, Any]:
        return {"parts": dict(self.parts.state_dict()), "optimizer": optimizer_state(self.optimizer)}

    def load(self, state: Mapping[str, Any]) -> None:
        self.parts.load_state_dict(state["parts"])
        load_optimizer(self.optimizer, state["optimizer"])

    def _losses(self, images: Tensor, targets: Targets) -> Targets:
        found = self.readouts(self.base(images)) if self.readouts.tasks else {}
        losses = {
            "depth": lambda x, aim: F.l1_loss(x, aim),
            "normals": lambda x, aim: (1 - (x * aim).sum(1)).mean(),
            "edges": lambda x, aim: F.binary_cross_entropy_with_logits(x, aim),
        }
        return {name: losses[name](x, targets[name]) for name, x in found.items()}


@torch.no_grad()
def readout_errors(base: nn.Module, readouts: Readouts, images: Tensor, targets: Targets) -> dict[str, float]:
    """How well the readouts see through a base: mean error of log depth, of normals in degrees, and the
    area under the curve of edges; "_mean": of who always says the mean."""
    base.eval()
    readouts.eval()
    if not readouts.tasks:
        return {}
    batches = [readouts(base(images_to_float(part))) for part in images.split(128)]
    found = {name: torch.cat([batch[name] for batch in batches]) for name in readouts.tasks}
    errors = {}
    if "depth" in found:
        errors["holdout/depth"] = (found["depth"] - targets["depth"]).abs().mean().item()
        errors["holdout/depth_mean"] = (targets["depth"] - targets["depth"].mean()).abs().mean().item()
    if "normals" in found:
        cosine = (found["normals"] * targets["normals"]).sum(1).clamp(-1, 1)
        errors["holdout/normals_degrees"] = torch.rad2deg(torch.arccos(cosine)).mean().item()
    if "edges" in found:
        errors["holdout/edges_auroc"] = _auroc(found["edges"].flatten(), targets["edges"].flatten() > 0.5)
    return errors


def gather(config: PretrainConfig, split: Split, count: int) -> tuple[Tensor, Targets]:
    """(images (N, 3, H, W) uint8, targets (N, c, H / 4, W / 4)) of random places in a split's rooms."""
    network = config.network
    layouts = tuple(range(min(config.layouts, len(SPLITS[split]))))
    rooms = PointNavConfig(split, layouts, network.width, network.height)
    images, targets = [], []
    for first in range(0, count, CHUNK):
        seed = config.seed * 1000 + first // CHUNK + (0 if split == "train" else 500)
        frames = take_frames(rooms, min(CHUNK, count - first), seed)
        images.append(torch.from_numpy(frames.rgb))
        targets.append(targets_of(frames))
    return torch.cat(images), {name: torch.cat([each[name] for each in targets]) for name in targets[0]}


def targets_of(frames: Frames) -> Targets:
    """At the readouts' resolution: means of log depth and of normals, edges anywhere."""
    size = 8 // FINER
    depth = F.avg_pool2d(torch.from_numpy(np.log(np.maximum(frames.depth, NEAREST)))[:, None], size)
    normals = F.normalize(F.avg_pool2d(torch.from_numpy(frames.normals), size), dim=1)
    edges = F.max_pool2d(torch.from_numpy(frames.edges.astype(np.float32))[:, None], size)
    return {"depth": depth, "normals": normals, "edges": edges}


def distorted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Other light, other colours, moved by some pixels: what SimCLR holds to be the same."""
    count = len(images)
    gain = 2 ** (2 * torch.rand(count, 3, 1, 1, generator=generator) - 1)
    shade = 0.3 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5)
    moves = torch.randint(-4, 5, (2,), generator=generator).tolist()
    return (images * gain + shade).clamp(0, 1).roll(moves, (2, 3))


def contrastive_loss(one: Tensor, two: Tensor) -> Tensor:
    """SimCLR's loss (Chen 2020): each view finds its other one among all of the batch."""
    views = F.normalize(torch.cat([one, two]), dim=1)
    likeness = views @ views.T / TEMPERATURE
    count = len(one)
    likeness = likeness - 1e9 * torch.eye(2 * count)
    others = torch.arange(2 * count).roll(count)
    return F.cross_entropy(likeness, others)


def _auroc(scores: Tensor, positive: Tensor) -> float:
    ranks = torch.empty(len(scores), dtype=torch.float64)
    ranks[scores.argsort()] = torch.arange(1, len(scores) + 1, dtype=torch.float64)
    ups = int(positive.sum())
    if ups in (0, len(scores)):
        return math.nan
    return float((ranks[positive].sum() - ups * (ups + 1) / 2) / (ups * (len(scores) - ups)))
