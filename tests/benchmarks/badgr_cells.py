"""The work behind bench_badgr_claims.py, in cells that are done once: gather, train, drive.

<results>/origin.json            sizes, digest of the worlds: another one asks for another folder
          drives/<name>/         as `surefoot collect` makes them
          runs/<name>-<seed>/    as `surefoot train badgr` makes them
          trials/<name>/         as `surefoot evaluate` makes them
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from agents.badgr.agent import DriveConfig
from agents.badgr.collect import collect
from agents.badgr.collect_config import CollectConfig
from agents.badgr.config import BadgrConfig
from agents.badgr.evaluate import LAYOUTS, EvaluationConfig, cell_name, evaluate_driving
from agents.badgr.job import label_thresholds
from agents.badgr.methods import Method
from agents.badgr.planner import PlannerConfig
from agents.badgr.reward import Preferences
from agents.badgr.trial_file import trial_rows
from agents.runs import git_commit
from envs.files import write_durably
from envs.rover.worlds import SPLITS, make_world

World = Literal["urban", "off-road"]
Row = dict[str, Any]

PREFERENCES: Mapping[World, Preferences] = {
    "urban": Preferences(events={"bumpy": 0.5, "stuck": 1.0}),
    "off-road": Preferences(events={"bumpy": 0.0, "stuck": 1.0}),
}
"""As the paper: goal, collision and bumpiness in town; goal, collision and getting stuck off the road.
Chosen on validation worlds."""
CANDIDATES = (16, 64, 256, 512, 2048)
"""for the curve of how well is driven by how many plans are looked at"""
KNOB = (0.0, 0.125, 0.25, 0.5, 1.0)
"""weights of bumpiness, for the claim that it does what it says"""


@dataclass(frozen=True)
class Sizes:
    """How much of everything. The specification: 34 and 8 hours, 100 episodes, 5 training seeds."""

    urban_hours: float = 8.0
    offroad_hours: float = 6.0
    target_hours: tuple[float, ...] = (1.0, 3.0)
    """of new driving in worlds whose colours are swapped, for the curve of self-improvement"""
    curve_hours: tuple[float, ...] = (1.0,)
    """fewer hours of the same urban driving, for the curve of data"""
    steps: int = 5_000
    """minibatches of 32 windows"""
    more_steps: int = 2_000
    """of going on with new driving"""
    seeds: int = 3
    episodes: int = 100
    few_episodes: int = 50
    """trips of each point of a curve"""
    candidates: int = 512
    seconds: float = 180.0
    """simulated, that a trip may take"""


FULL = Sizes()
QUICK = Sizes(0.1, 0.1, (0.1,), (), 60, 60, 1, 3, 2, 64, 20.0)


class Cells:
    """All cells in one folder. Whatever is asked for is made if it is not there.

    jobs: worker processes for gathering and driving. only_stored: raise MissingError instead of making.
    """

    def __init__(
        self, folder: Path, sizes: Sizes, *, jobs: int = 1, only_stored: bool = False, quiet: bool = False
    ) -> None:
        self.folder, self.sizes, self.jobs = folder, sizes, jobs
        self.only_stored, self.quiet = only_stored, quiet
        self.used: set[Path] = set()

    def drives(self, name: str) -> Path:
        """Folder of the drives of "urban", "off-road" or "swapped" (off the road, other colours)."""
        sizes = self.sizes
        hours = {"urban": sizes.urban_hours, "off-road": sizes.offroad_hours}
        config = CollectConfig(
            world="urban" if name == "urban" else "off-road",
            hours=hours.get(name, max(sizes.target_hours)),
            swap_colours=name == "swapped",
            seed=len(name),
        )
        out = self.folder / "drives" / name
        if not _has_hours(out, config.hours):
            self._making(f"drives of {name}, {config.hours:g} h")
            collect(config, out, workers=self.jobs, quiet=self.quiet)
        self.used.add(out)
        return out

    def model(self, name: str, seed: int) -> Path:
        """Model file of a training: "urban", "off-road", "urban-1h" (of fewer hours), "fine-0.5h" (off the
        road, then on so much with swapped colours) or "target-0.5h" (on the swapped ones alone)."""
        from agents.badgr.train import MODEL_FILE, train_badgr

        run = self.folder / "runs" / f"{name}-{seed}"
        if not (run / "summary.json").exists():
            config = self.training(name, seed)
            self._making(f"training {name}, seed {seed}, {config.steps:,} steps")
            train_badgr(config, run, resume=True, quiet=self.quiet, tensorboard=False)
        return run / MODEL_FILE

    def training(self, name: str, seed: int) -> BadgrConfig:
        """Configuration of a training; makes what it begins with."""
        sizes, (kind, _, hours) = self.sizes, name.partition("-")
        if name in ("urban", "off-road"):
            data, steps, some = name, sizes.steps, None
        else:
            data = "urban" if kind == "urban" else "swapped"
            steps = sizes.more_steps if kind == "fine" else sizes.steps
            some = float(hours.removesuffix("h"))
        drives = str(self.drives(data))
        start = str(self.model("off-road", seed).parent) if kind == "fine" else ""
        labels = label_thresholds((drives,))
        if data == "swapped" and some == max(sizes.target_hours):
            some = None  # all there are, but for the hold-out
        return BadgrConfig(
            data=(drives,),
            labels=labels,
            steps=steps,
            hours=some,
            start_from=start,
            seed=seed,
            evaluations=8,
        )

    def trials(
        self, name: str, method: Method, world: World = "urban", *, model: Path | None = None,
        preferences: Preferences | None = None, split: Literal["train", "test"] = "test",
        swapped: bool = False, episodes: int | None = None, candidates: int | None = None,
    ) -> list[Row]:  # fmt: skip
        """Trials of one method, in the order of the trips' numbers. name: of the folder they are in."""
        sizes = self.sizes
        planner = PlannerConfig(candidates=candidates or sizes.candidates)
        config = EvaluationConfig(
            world=world, split=split, episodes=episodes or sizes.episodes, methods=(method,),
            model=str(model or ""), preferences=preferences or PREFERENCES[world], seconds=sizes.seconds,
            drive=DriveConfig(planner), swap_colours=swapped,
        )  # fmt: skip
        out = self.folder / "trials" / name
        cell = cell_name(config.settings(method))
        rows = [row for row in trial_rows(out, cell) if row["number"] < config.episodes]
        if len(rows) < config.episodes:
            self._making(f"{config.episodes} trips of {method}, {name}")
            evaluate_driving(config, out, jobs=self.jobs, quiet=self.quiet)
            rows = [row for row in trial_rows(out, cell) if row["number"] < config.episodes]
        return rows

    def summaries(self) -> dict[str, Row]:
        """{run: its summary} of all trainings so far."""
        found = sorted((self.folder / "runs").glob("*/summary.json"))
        return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in found}

    def _making(self, what: str) -> None:
        if self.only_stored:
            raise MissingError(what)
        _expect_origin(self.folder, self.sizes)
        print(f"--- {what}", file=sys.stderr, flush=True)


class MissingError(Exception):
    """A cell is not there, and none is to be made."""


def _has_hours(out: Path, hours: float) -> bool:
    file = out / "summary.json"
    return file.exists() and json.loads(file.read_text(encoding="utf-8"))["hours"] > 0.9 * hours


def _expect_origin(folder: Path, sizes: Sizes) -> None:
    """Notes what the results come from; raises ValueError where the worlds or sizes are others by now."""
    file = folder / "origin.json"
    now = {"sizes": asdict(sizes), "worlds": {world: worlds_digest(world) for world in LAYOUTS}}
    now = json.loads(json.dumps(now))
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        content = {**now, "git": git_commit()}
        write_durably(file, (json.dumps(content, indent=2) + "\n").encode())
        return
    kept = json.loads(file.read_text(encoding="utf-8"))
    differ = [name for name in now if kept[name] != now[name]]
    if differ:
        raise ValueError(
            f"the {' and '.join(differ)} behind {folder} are not those of this code: give another --results, "
            "or check out the commit that origin.json names"
        )


def worlds_digest(world: World, layouts: Sequence[int] = (0, 7)) -> str:
    """Of some test worlds' ground, solids and trips: they change all together, with the generator."""
    digest = hashlib.sha256()
    for index in layouts:
        assert index in range(len(SPLITS["test"]))
        one = make_world(LAYOUTS[world], "test", index)
        rows = np.array([solid.row() for solid in one.solids])
        for part in (one.heights, one.kinds, rows, one.starts, one.goals):
            digest.update(np.ascontiguousarray(np.round(part, 4)).tobytes())
    return digest.hexdigest()[:16]


def seeds_of(cells: Cells) -> range:
    return range(cells.sizes.seeds)


def with_bump_weight(preferences: Preferences, weight: float) -> Preferences:
    return replace(preferences, events={**preferences.events, "bumpy": weight})
