"""From folders of drives to windows for training and for measuring, that never share a drive."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from agents.badgr.config import BadgrConfig
from agents.badgr.events import Detector, EventLabels
from agents.badgr.label_store import label_dataset
from agents.badgr.windows import WindowError, Windows
from envs.dataset import EpisodeDataset
from envs.episode import Episode

Drive = tuple[Episode, EventLabels]


@dataclass(frozen=True)
class Experience:
    """Windows to train on and to measure on, and the ids of their drives."""

    training: Windows
    holdout: Windows
    training_ids: tuple[str, ...]
    holdout_ids: tuple[str, ...]
    hours: float
    """that the drives to train on last"""


def load_experience(
    config: BadgrConfig,
    detectors: Mapping[str, Detector] | None = None,
    sides: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Experience:
    """Labels what is not labelled yet, and cuts the windows. The images stay where they are, on the disk.

    sides: ids of the drives to train and to measure on, as a run began with: others that came since are
    left out. Raises LabelError, SpecError or WindowError where the drives do not serve, FileNotFoundError
    without them.
    """
    drives = _labelled(config.data, config, detectors)
    if sides is not None:
        everything = drives | _labelled(config.holdout_data, config, detectors)
        if missing := [id for side in sides for id in side if id not in everything]:
            raise WindowError(
                f"{len(missing)} of the drives that this run began with are gone or cannot be labelled, such "
                f"as {missing[0]}: bring them back, or start a new run"
            )
        drives, measured = ({id: everything[id] for id in side} for side in sides)
    elif config.holdout_data:
        measured = _labelled(config.holdout_data, config, detectors)
        both = drives.keys() & measured.keys()
        if both:
            raise WindowError(f"{len(both)} drives are in data and in holdout_data: take them out of one")
    else:
        chosen = holdout_ids(list(drives), config.holdout)
        measured = {id: drive for id, drive in drives.items() if id in chosen}
        drives = {id: drive for id, drive in drives.items() if id not in chosen}
    if config.hours is not None and sides is None:
        drives = first_hours(drives, config.hours)
    training = Windows(list(drives.values()), config.spec, config.windows)
    training.expect_events()
    holdout = Windows(list(measured.values()), config.spec, config.windows)
    hours = sum(_seconds(drive) for drive in drives.values()) / 3600
    return Experience(training, holdout, tuple(drives), tuple(measured), hours)


def holdout_ids(ids: list[str], share: float) -> set[str]:
    """A share of the drives, at least one; the same drive stays on its side when others come.

    Raises WindowError for a single drive.
    """
    if len(ids) < 2:
        raise WindowError(
            f"{len(ids)} drive cannot be both trained on and measured on: record more, or give holdout_data"
        )
    place = {id: int(hashlib.sha256(id.encode()).hexdigest()[:12], 16) / 16**12 for id in ids}
    chosen = {id for id in ids if place[id] < share}
    most = math.ceil(len(ids) / 2)
    if not chosen or len(chosen) > most:
        chosen = set(sorted(ids, key=lambda id: place[id])[: max(1, min(len(chosen), most))])
    return chosen


def first_hours(drives: Mapping[str, Drive], hours: float) -> dict[str, Drive]:
    """So many drives that they last at least `hours`, in an order that is that of their ids' digests: fewer
    hours are a part of more, whoever recorded them when. Raises WindowError when there are not as many."""
    order = sorted(drives, key=lambda id: hashlib.sha256(f"order {id}".encode()).hexdigest())
    chosen: dict[str, Drive] = {}
    seconds = 0.0
    for id in order:
        if seconds >= hours * 3600:
            break
        chosen[id] = drives[id]
        seconds += _seconds(drives[id])
    if seconds < hours * 3600:
        raise WindowError(
            f"{hours:g} hours were asked for, the drives to train on last {seconds / 3600:.3g}: record more, "
            "or ask for less"
        )
    return chosen


def _seconds(drive: Drive) -> float:
    times = drive[0].times
    return float(times[-1] - times[0])


def _labelled(
    folders: tuple[str, ...], config: BadgrConfig, detectors: Mapping[str, Detector] | None
) -> dict[str, Drive]:
    drives: dict[str, Drive] = {}
    for folder in folders:
        with ExitStack() as opened:
            # The views of the episodes outlive the dataset: they hold its file's memory map.
            dataset = opened.enter_context(EpisodeDataset(folder, read_only=True))
            labelled = label_dataset(dataset, config.labels, detectors=detectors)
            drives |= {id: (dataset[id], labels) for id, labels in labelled.labels.items()}
    return drives
