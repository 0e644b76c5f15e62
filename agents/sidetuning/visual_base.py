"""The visual base of indoor navigation, what reads depth, normals and edges off it, and its folder.

base.safetensors  the network       decoder.safetensors  the readouts
base.json         its shape, its fingerprint, what it was trained on and how well it sees
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from agents.configs import ConfigError, config_from_json, config_to_json
from agents.sidetuning.base import fingerprint
from agents.sidetuning.base_config import BaseNetwork
from agents.sidetuning.config import SideError
from agents.sidetuning.layers import group_norm
from envs.files import write_durably

WEIGHTS, DECODER, ABOUT = "base.safetensors", "decoder.safetensors", "base.json"
FORMAT = 1
CHANNELS = {"depth": 1, "normals": 3, "edges": 1}
"""of each readout"""
FINER = 2
"""times the features' resolution that the readouts have"""


class VisualBase(nn.Module):
    """(N, 3, H, W) in [0, 1] to (N, features, H / 8, W / 8)."""

    def __init__(self, config: BaseNetwork | None = None) -> None:
        super().__init__()
        self.config = config = config or BaseNetwork()
        a, b, c = config.channels
        self.first = _block(3, a, 5, 2)  # (N, a, H / 2, W / 2)
        self.second = _block(a, b, 3, 2)  # (N, b, H / 4, W / 4)
        self.third = _block(b, c, 3, 2)  # (N, c, H / 8, W / 8)
        self.fourth = _block(c, c, 3, 1)
        self.last = nn.Conv2d(c, config.features, 1)

    def forward(self, images: Tensor) -> Tensor:
        h = self.third(self.second(self.first(images - 0.5)))
        return self.last(h + self.fourth(h))


class Readouts(nn.Module):
    """Features to log depth in m, unit normals and logits of edges, each (N, c, H / 4, W / 4)."""

    def __init__(self, features: int, tasks: Sequence[str], width: int = 48) -> None:
        super().__init__()
        self.tasks = tuple(task for task in tasks if task in CHANNELS)
        self.width = width
        outputs = sum(CHANNELS[task] for task in self.tasks)
        layers: list[nn.Module] = []
        if outputs:
            layers += [nn.Conv2d(features, width, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(width, outputs * FINER**2, 3, padding=1), nn.PixelShuffle(FINER)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        if not self.tasks:
            return {}
        parts = self.layers(features).split([CHANNELS[task] for task in self.tasks], 1)
        found = dict(zip(self.tasks, parts, strict=True))
        if "normals" in found:
            found["normals"] = nn.functional.normalize(found["normals"], dim=1)
        return found


def save_base(base: VisualBase, readouts: Readouts, folder: Path | str, about: Mapping[str, Any]) -> str:
    """Writes the folder; gives the fingerprint. about: whatever else base.json is to say."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = fingerprint(base)
    content = {
        "format": FORMAT,
        "sha256": sha256,
        "network": config_to_json(base.config),
        "readouts": list(readouts.tasks),
        "readout_width": readouts.width,
        **about,
    }
    write_durably(folder / WEIGHTS, tensors_to_bytes(_tensors(base)))
    write_durably(folder / DECODER, tensors_to_bytes(_tensors(readouts)))
    write_durably(folder / ABOUT, (json.dumps(content, indent=2) + "\n").encode())
    return sha256


def load_base(folder: Path | str) -> VisualBase:
    """The base that was saved. Raises SideError for a folder without one, or with a damaged one."""
    folder = Path(folder)
    about = read_about(folder)
    try:
        base = VisualBase(config_from_json(about["network"], BaseNetwork, str(folder / ABOUT)))
        base.load_state_dict(load_tensors((folder / WEIGHTS).read_bytes()))
    except (OSError, KeyError, ConfigError, RuntimeError, SafetensorError) as error:
        raise SideError(f"the base in {folder} cannot be read: {error}; train it again") from error
    if fingerprint(base) != about["sha256"]:
        raise SideError(
            f"{folder / WEIGHTS} is not what {ABOUT} says (cut short or changed): copy the folder again"
        )
    return base.eval()


def load_readouts(folder: Path | str) -> Readouts:
    """What reads mid-level vision off the base's features. Raises SideError as `load_base` does."""
    folder = Path(folder)
    about = read_about(folder)
    try:
        features = int(about["network"]["features"])
        readouts = Readouts(features, about["readouts"], int(about["readout_width"]))
        readouts.load_state_dict(load_tensors((folder / DECODER).read_bytes()))
    except (OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise SideError(f"the readouts in {folder} cannot be read: {error}; train them again") from error
    return readouts.eval()


def read_about(folder: Path | str) -> dict[str, Any]:
    """base.json. Raises SideError where there is none, or one of another version."""
    file = Path(folder) / ABOUT
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SideError(
            f"there is no base in {folder}: {error}; make one with `surefoot train base --out {folder}`"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        version = content.get("format") if isinstance(content, dict) else None
        raise SideError(f"{file} has format {version}, this version reads {FORMAT}: train the base again")
    return content


def _block(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, group_norm(outputs), nn.ReLU())


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


def images_to_float(images: Tensor) -> Tensor:
    """Bytes as the base and sides take them: floats in [0, 1]."""
    return images.to(torch.float32) / 255
