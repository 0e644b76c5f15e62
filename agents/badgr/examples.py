"""A few windows of the hold-out with what the network said of them, kept with the run for its report."""

from __future__ import annotations

import io
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.badgr.network import EventPredictor
from agents.badgr.windows import Windows
from envs.files import write_durably

Array = NDArray[Any]

EXAMPLES_FILE = "examples.npz"
LOOKED_AT, TYPICAL, WORST = 512, 9, 3
BATCH = 64


@dataclass(frozen=True)
class Examples:
    """E windows. images (E, height, width, C) uint8; labels, mask (E, H, K) bool; probability (E, H, K);
    position, predicted (E, H, 2) m; position_mask (E, H); worst (E,) bool: chosen for its errors, the
    others without a look at them."""

    images: Array
    labels: Array
    mask: Array
    probability: Array
    position: Array
    position_mask: Array
    predicted: Array
    worst: Array

    def __len__(self) -> int:
        return len(self.images)


def choose_examples(network: EventPredictor, windows: Windows, device: torch.device) -> Examples:
    """Some in which each event happens and some as they come, evenly over the hold-out; then the most wrong
    of all that were looked at."""
    numbers = np.unique(np.linspace(0, len(windows) - 1, min(LOOKED_AT, len(windows))).astype(np.int64))
    parts = [
        _predicted(network, windows, numbers[i : i + BATCH], device) for i in range(0, len(numbers), BATCH)
    ]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    right = np.where(found["labels"], found["probability"], 1 - found["probability"])
    surprise = (-np.log(np.maximum(right, 1e-6)) * found["mask"]).sum((1, 2))
    typical = _typical(found["labels"] & found["mask"])
    worst = [row for row in np.argsort(-surprise, kind="stable") if row not in typical][:WORST]
    rows = np.array([*typical, *worst], np.int64)
    images = windows.batch(numbers[rows], np.random.default_rng(0)).images
    chosen = {name: values[rows] for name, values in found.items()}
    return Examples(images, **chosen, worst=np.arange(len(rows)) >= len(typical))


def save_examples(examples: Examples, path: Path) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **asdict(examples))
    write_durably(path, content.getvalue())


def read_examples(path: Path) -> Examples | None:
    """None where there is no whole file."""
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as saved:
            return Examples(**{name: saved[name] for name in saved.files})
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _typical(happens: Array) -> list[int]:
    """Rows, of happens (N, H, K): a third of the choice for each of the first events, then as they come."""
    count = happens.shape[-1]
    chosen: list[int] = []
    for column in range(count):
        rows = np.flatnonzero(happens[..., column].any(1))
        chosen += [int(row) for row in _spread(rows, max(TYPICAL // (count + 1), 1)) if row not in chosen]
    rest = np.setdiff1d(np.arange(len(happens)), chosen)
    return [*chosen, *(int(row) for row in _spread(rest, TYPICAL - len(chosen)))]


def _spread(rows: Array, count: int) -> Array:
    """Some of them, evenly; not the first and the last, where drives begin and end."""
    if len(rows) <= count:
        return rows
    places = ((np.arange(count) + 0.5) * len(rows) / count).astype(np.int64)
    spread: Array = rows[places]
    return spread


def _predicted(
    network: EventPredictor, windows: Windows, numbers: Array, device: torch.device
) -> dict[str, Array]:
    batch = windows.batch(numbers, np.random.default_rng(0))
    network.eval()
    with torch.inference_mode():
        images, actions = (torch.from_numpy(one).to(device) for one in (batch.images, batch.actions))
        logits, places = network(images, actions)
    probability = torch.sigmoid(logits.double()).cpu().numpy()
    for name in network.spec.lasting:
        column = network.spec.event(name)
        probability[..., column] = np.maximum.accumulate(probability[..., column], axis=1)
    return {
        "labels": batch.labels,
        "mask": batch.mask,
        "probability": probability.astype(np.float32),
        "position": batch.position,
        "position_mask": batch.position_mask,
        "predicted": places.cpu().numpy(),
    }
