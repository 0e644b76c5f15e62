"""`surefoot train badgr`, and going on with such a run: from its folder of drives to its report."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from agents.badgr.collect_config import LABELS
from agents.badgr.config import BadgrConfig
from agents.badgr.events import LabelConfig

Labels = Literal["auto", "urban", "off-road"]
KIND = BadgrConfig.__name__
"""of these runs, in run.json"""


def is_badgr(run: Path) -> bool:
    """Whether a folder holds a run of the event predictor."""
    about = run / "run.json"
    return about.exists() and json.loads(about.read_text(encoding="utf-8")).get("kind") == KIND


def label_thresholds(folders: Sequence[str], labels: Labels = "auto") -> LabelConfig:
    """The thresholds for these drives; auto: those of the worlds that `surefoot collect` recorded.

    Raises ValueError when the folders are of worlds that need different ones.
    """
    if labels != "auto":
        return LABELS[labels]
    if not folders:
        raise ValueError("nothing says what world the drives are from: give --labels urban or off-road")
    worlds = sorted({_world(Path(folder)) for folder in folders})
    chosen = {LABELS[world].digest(): LABELS[world] for world in worlds}  # type: ignore[index]
    if len(chosen) > 1:
        raise ValueError(
            f"the drives are of {' and '.join(worlds)} worlds, whose collisions different sensors tell: "
            "choose with --labels urban or --labels off-road"
        )
    return next(iter(chosen.values()))


def start(config: BadgrConfig, path: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Trains from the beginning, writes the report and returns the summary."""
    from agents.badgr.train import train_badgr

    return _reported(path, train_badgr(config, path, quiet=quiet))


def resume(path: Path, *, steps: int | None = None, quiet: bool = False) -> dict[str, Any]:
    """Goes on from the newest checkpoint. steps: a new total; the learning rate then falls more slowly."""
    from agents.badgr.train import train_badgr
    from agents.configs import config_to_json
    from agents.run_lock import lock_run
    from agents.runs import read_config, write_json

    config = read_config(path, BadgrConfig)
    if steps is not None and steps != config.steps:
        config = dataclasses.replace(config, steps=steps)
        with lock_run(path):  # another process may be training
            write_json(path / "config.json", config_to_json(config))
    return _reported(path, train_badgr(config, path, resume=True, quiet=quiet))


def _reported(path: Path, summary: dict[str, Any]) -> dict[str, Any]:
    if not summary:  # a process of torchrun's that does not write
        return summary
    measured = summary["measured"]
    events = ", ".join(
        f"{name} {'unknown' if score['auroc'] is None else format(score['auroc'], '.3f')}"
        for name, score in measured["events"].items()
    )
    from agents.badgr.report import write_report

    write_report(path)
    print(f"{path}: hold-out loss {measured['loss']:.4f}, AUROC {events}", file=sys.stderr)
    return summary


def _world(folder: Path) -> str:
    file = folder / "collect.json"
    if not file.exists():
        return "urban"  # drives of a real robot: its lidar tells collisions
    world = str(json.loads(file.read_text(encoding="utf-8"))["world"])
    if world not in LABELS:
        raise ValueError(f"{file} is of the world {world!r}, known are {', '.join(LABELS)}: give --labels")
    return world
