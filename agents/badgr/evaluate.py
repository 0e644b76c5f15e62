"""How well methods drive to goals in simulated worlds: paired trips, kept as they end, with intervals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from agents.badgr.agent import DriveConfig
from agents.badgr.methods import BLIND, METHODS, Method, agent_maker
from agents.badgr.planner import PlannerConfig
from agents.badgr.reward import Preferences
from agents.badgr.scores import compared, method_scores, score_table
from agents.badgr.trial_file import TrialFile, tracks, trial_rows
from agents.badgr.trials import Trial, drive_trials, trip_of
from agents.badgr.ways_picture import draw_ways
from agents.configs import config_to_json
from agents.progress import Progress
from envs.files import write_durably
from envs.rover.camera import BADGR_LENS, Lens
from envs.rover.prepared import prepare
from envs.rover.rovers import RoverConfig
from envs.rover.worlds import Layout, Split

World = Literal["urban", "off-road"]
LAYOUTS: dict[World, Layout] = {"urban": "urban", "off-road": "offroad"}
RULES = 1
"""raised whenever the same settings would give other trials: older ones are then driven again"""


@dataclass(frozen=True)
class EvaluationConfig:
    """Which trips, which methods."""

    world: World = "urban"
    split: Split = "test"
    episodes: int = 100
    """trips of each method"""
    methods: tuple[Method, ...] = ("badgr", "straight", "lidar", "oracle")
    model: str = ""
    """file of an event predictor, for "badgr" """
    preferences: Preferences = field(default_factory=Preferences)
    drive: DriveConfig = field(default_factory=lambda: DriveConfig(PlannerConfig(candidates=512)))
    seed: int = 30_000
    """of the sensors' faults: seed + number of the trip"""
    seconds: float = 180.0
    """simulated, that a trip may take"""
    swap_colours: bool = False
    """what looks smooth is bumpy and the other way round"""

    def __post_init__(self) -> None:
        if self.world not in LAYOUTS:
            raise ValueError(f"the worlds are {', '.join(LAYOUTS)}, got {self.world!r}")
        if self.episodes < 1:
            raise ValueError(f"an evaluation needs at least one episode, got {self.episodes}")
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown or not self.methods:
            raise ValueError(f"the methods are {', '.join(METHODS)}, got {', '.join(unknown) or 'none'}")
        if "badgr" in self.methods and not self.model:
            raise ValueError("the method badgr needs a trained model: give a run, or a model file")
        if not self.seconds > 0:
            raise ValueError(f"seconds must be above 0, got {self.seconds}")

    def rover(self, method: Method) -> RoverConfig:
        """The simulated rover; who does not look gets a camera that costs nothing."""
        lens = Lens(8, 6, 1.7, 1.7, False) if method in BLIND else BADGR_LENS
        return RoverConfig(LAYOUTS[self.world], self.split, swap_colours=self.swap_colours, lens=lens)

    def settings(self, method: Method) -> dict[str, Any]:
        """All that the trials of a method depend on, but for their number."""
        shared = {
            "rules": RULES,
            "method": method,
            "world": self.world,
            "split": self.split,
            "seed": self.seed,
            "seconds": self.seconds,
            "swap_colours": self.swap_colours,
        }
        if method != "badgr":
            return shared
        model = hashlib.sha256(Path(self.model).read_bytes()).hexdigest()[:16]
        own = {"preferences": config_to_json(self.preferences), "drive": config_to_json(self.drive)}
        return {**shared, "model": model, **own}


def evaluate_driving(
    config: EvaluationConfig, folder: Path, *, rovers: int = 8, jobs: int = 1, quiet: bool = False
) -> dict[str, Any]:
    """Drives what `folder` does not hold yet; writes summary.json and ways.png there; returns the summary.

    rovers: that drive at a time; jobs: worker processes. Stop and go on at will: a trial that was driven is
    kept. Raises SpecError for a model that cannot be used, RunError where another process uses the folder.
    """
    cells = {method: cell_name(config.settings(method)) for method in config.methods}
    with TrialFile(folder) as file:
        for method in config.methods:
            _drive_cell(config, method, file, rovers, jobs, quiet)
    rows = {
        method: [row for row in trial_rows(folder, cell) if row["number"] < config.episodes]
        for method, cell in cells.items()
    }
    first = config.methods[0]
    summary = {
        "world": config.world,
        "split": config.split,
        "seed": config.seed,
        "episodes": config.episodes,
        "cells": cells,
        "settings": {method: config.settings(method) for method in config.methods},
        "methods": {method: method_scores(found) for method, found in rows.items()},
        f"{first}_against": {m: compared(rows[first], rows[m]) for m in config.methods[1:]},
    }
    write_durably(folder / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    write_ways(config, folder, folder / "ways.png")
    return summary


def _drive_cell(
    config: EvaluationConfig, method: Method, file: TrialFile, rovers: int, jobs: int, quiet: bool
) -> None:
    settings = config.settings(method)
    cell = cell_name(settings)
    done = file.done(cell)
    missing = [number for number in range(config.episodes) if number not in done]
    title = f"{config.world} {config.split}, {method}"
    with Progress(title, config.episodes, done=config.episodes - len(missing), quiet=quiet) as progress:
        reached = 0
        for count, trial in enumerate(_trials(config, method, missing, rovers, jobs), start=1):
            file.add(cell, settings, trial)
            reached += trial.outcome == "reached"
            progress.update(config.episodes - len(missing) + count, reached=reached / count)


def _trials(
    config: EvaluationConfig, method: Method, numbers: Sequence[int], rovers: int, jobs: int
) -> Iterator[Trial]:
    if jobs <= 1 or len(numbers) <= rovers:
        yield from _drive(config, method, numbers, rovers)
        return
    parts = [numbers[start : start + rovers] for start in range(0, len(numbers), rovers)]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        futures = [pool.submit(_drive_part, config, method, part, rovers) for part in parts]
        try:
            for future in as_completed(futures):
                yield from future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _drive_part(config: EvaluationConfig, method: Method, numbers: Sequence[int], rovers: int) -> list[Trial]:
    return list(_drive(config, method, numbers, rovers))


def _drive(config: EvaluationConfig, method: Method, numbers: Sequence[int], rovers: int) -> Iterator[Trial]:
    foresight = None
    if method == "badgr":
        from agents.badgr.predictor import Predictor

        foresight = Predictor(config.model, threads=1)
        foresight.spec.expect_image((*_size(config.rover(method).lens), 3))
    make = agent_maker(method, foresight, config.preferences, config.drive)
    return drive_trials(
        config.rover(method), numbers, make, seed=config.seed, rovers=rovers, seconds=config.seconds
    )


def _size(lens: Lens) -> tuple[int, int]:
    return lens.height, lens.width


def cell_name(settings: dict[str, Any]) -> str:
    """A short name made of all settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def write_ways(config: EvaluationConfig, folder: Path, path: Path, number: int | None = None) -> None:
    """Draws one trip with the way of each method; by default the first on which methods came to different
    ends."""
    found = {method: cell_name(config.settings(method)) for method in config.methods}
    rows = {m: {row["number"]: row for row in trial_rows(folder, cell)} for m, cell in found.items()}
    ends = {k: {rows[m][k]["outcome"] for m in found} for k in range(config.episodes)}
    if number is None:
        number = max(ends, key=lambda k: (len(ends[k]), -k))
    index, trip = trip_of(number, config.rover(config.methods[0]))
    world = prepare(LAYOUTS[config.world], config.split, index, config.swap_colours).world
    ways = {m: (tracks(folder, cell)[number], rows[m][number]["outcome"]) for m, cell in found.items()}
    draw_ways(world, world.goals[trip], ways, path)


def print_summary(summary: dict[str, Any]) -> None:
    """A table, what the first method is against the others, and the summary as JSON on the last line."""
    print(f"\n**{summary['world']}, {summary['split']} worlds, {summary['episodes']} paired trips**\n")
    print(score_table(summary["methods"]))
    for key in [name for name in summary if name.endswith("_against")]:
        for method, one in summary[key].items():
            parts = [f"{k} {_interval(v)}" for k, v in one.items() if isinstance(v, list)]
            print(
                f"{key.replace('_', ' ')} {method}: {'; '.join(parts)} ({one['both_reached']} both reached)"
            )
    print(json.dumps({key: value for key, value in summary.items() if key != "settings"}))


def _interval(values: Sequence[float]) -> str:
    return f"{values[0]:.2f} ({values[1]:.2f} to {values[2]:.2f})"
