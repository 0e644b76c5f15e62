"""Labels beside a dataset: a step of its own between recording and training, run again as one likes.

`<dataset>/labels/<digest>/` holds labels.json (the rules' version and thresholds) and `<episode>.npz`; other
thresholds have another digest, so that labels of two kinds never mix.
"""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.events import DETECTORS, VERSION, Detector, EventLabels, LabelConfig, label_episode
from agents.badgr.signals import LabelError
from agents.configs import config_to_json
from envs.dataset import EpisodeDataset

Array = NDArray[Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetLabels:
    """labels: {episode id: its labels}; refused: {episode id: why it cannot be labelled}."""

    labels: Mapping[str, EventLabels]
    refused: Mapping[str, str]
    folder: Path


def label_dataset(
    dataset: EpisodeDataset,
    config: LabelConfig,
    *,
    detectors: Mapping[str, Detector] | None = None,
    again: bool = False,
) -> DatasetLabels:
    """Labels every drive that is not labelled yet with these thresholds, and reads the others.

    detectors: events of your own; their rules are no part of the digest, so after a change of theirs say
    again=True, which labels everything anew. Where the folder is for reading only, nothing is kept. Drives
    that cannot be labelled are left out with a warning;
    raises LabelError when that is all of them.
    """
    used = DETECTORS if detectors is None else detectors
    folder = dataset.path / "labels" / _folder_name(config, used)
    description = {"version": VERSION, "thresholds": config_to_json(config), "events": sorted(used)}
    keep = _prepare(folder, description)
    labels, refused = {}, {}
    for id in dataset.ids:
        file = folder / f"{id}.npz"
        known = None if again else _read(file, len(dataset[id]))
        if known is None:
            try:
                known = label_episode(dataset[id], config, used)
            except LabelError as error:
                refused[id] = str(error)
                logger.warning("%s: drive %s is left out: %s", dataset.path, id[:12], error)
                continue
            if keep:
                _save(file, known)
        labels[id] = known
    if refused and not labels:
        first = next(iter(refused.values()))
        raise LabelError(f"none of the {len(refused)} drives of {dataset.path} can be labelled: {first}")
    return DatasetLabels(labels, refused, folder)


def _folder_name(config: LabelConfig, detectors: Mapping[str, Detector]) -> str:
    if dict(detectors) == dict(DETECTORS):
        return config.digest()
    return "-".join([config.digest(), *sorted(detectors)])


def _save(file: Path, labels: EventLabels) -> None:
    arrays = {
        **{f"event/{name}": values for name, values in labels.events.items()},
        **{f"known/{name}": values for name, values in labels.known.items()},
        **{"pose": labels.pose, "moved": labels.moved, "whole": labels.whole},
    }
    temporary = file.with_name(f".{file.stem}.{os.getpid()}.npz")
    np.savez(temporary, allow_pickle=False, **arrays)
    temporary.replace(file)


def _read(file: Path, steps: int) -> EventLabels | None:
    """None where there is no whole file: labels are made again rather than mourned."""
    try:
        # A file of our own: numpy leaves what it opened itself open when the content is no archive.
        with file.open("rb") as content, np.load(content, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        found = EventLabels(
            events=_group(arrays, "event/"),
            known=_group(arrays, "known/"),
            pose=arrays["pose"],
            moved=arrays["moved"],
            whole=arrays["whole"],
        )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return found if len(found) == steps else None


def _group(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name[len(prefix) :]: values for name, values in arrays.items() if name.startswith(prefix)}


def _prepare(folder: Path, description: Mapping[str, Any]) -> bool:
    """Whether labels can be kept there: others' recordings may be for reading only."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".labels.{os.getpid()}.tmp"
        temporary.write_text(json.dumps(description, indent=2), encoding="utf-8")
        temporary.replace(folder / "labels.json")
    except PermissionError as error:
        logger.warning("labels are not kept, and made again next time: %s", error)
        return False
    return True
