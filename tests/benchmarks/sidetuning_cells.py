"""The work behind bench_sidetuning_claims.py, in cells that are done once: a base, navigators, their scores.

<results>/origin.json                    sizes and digest of the worlds: others ask for another folder
          base/                          as `surefoot train base` makes it
          demos/                         demonstrations, gathered once
          runs/<method>-<demos>-<seed>/  as `surefoot train sidetuning` makes them
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.runs import git_commit, write_json
from agents.sidetuning.base_config import BaseNetwork, PretrainConfig
from agents.sidetuning.navigation_config import NavigationConfig, PpoConfig
from envs.rover.worlds import make_world

Summary = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much of everything. The specification: 5 seeds, 200 test episodes, up to 300 demonstrations.

    World, demonstrations and updates were chosen in validation layouts with one seed, so that seeing matters.
    Episodes end at the goal by themselves, as in the authors' environment.
    """

    world: str = "strange"
    demos: tuple[int, ...] = (20, 60, 240)
    """little, middling and much data"""
    seeds: int = 5
    updates: int = 1000
    episodes: int = 60
    stop: bool = False
    trail: bool = False
    """whether they see where they have been: with it, a blind policy arrives as often as one that sees"""
    frames: int = 6000
    base_steps: int = 1500
    height: int = 24
    width: int = 32
    layouts: int = 60


@dataclass(frozen=True)
class LearningSizes:
    """Of reinforcement learning, without demonstrations."""

    methods: tuple[str, ...] = (
        *("blind", "features", "scratch", "finetune", "side-zero"),
        *("side", "side-fixed", "side-scheduled"),
    )
    steps: int = 60_000
    seeds: int = 5
    rows: int = 25
    """points of a curve"""


FULL = Sizes()
LEARNING, QUICK_LEARNING = LearningSizes(), LearningSizes(("features", "side"), 2_048, 1, 2)
QUICK = Sizes(demos=(3,), seeds=1, updates=8, episodes=2, frames=32, base_steps=4, layouts=2)


class MissingError(Exception):
    """A cell is not there, and none is to be made."""


class Cells:
    """All cells in one folder. Whatever is asked for is made if it is not there.

    only_stored: raise MissingError instead of making.
    """

    def __init__(
        self, folder: Path, sizes: Sizes, learning: LearningSizes = LEARNING, *, only_stored: bool = False,
        quiet: bool = False,
    ) -> None:  # fmt: skip
        self.folder, self.sizes, self.learning = folder, sizes, learning
        self.only_stored, self.quiet = only_stored, quiet
        self.used: dict[str, str] = {}
        """{run: digest of what it learnt} of all that a judgement rests on"""

    def base(self) -> Path:
        from agents.sidetuning.pretrain import train_base

        path, sizes = self.folder / "base", self.sizes
        if not (path / "summary.json").exists():
            self._making("the base")
            config = PretrainConfig(
                BaseNetwork(sizes.height, sizes.width),
                frames=sizes.frames,
                layouts=sizes.layouts,
                holdout_frames=min(500, sizes.frames),
                steps=sizes.base_steps,
            )
            train_base(config, path, resume=True, quiet=self.quiet, tensorboard=False)
        self.used["base"] = digest_of(path / "base.safetensors")
        return path

    def config(self, method: str, demos: int, seed: int, world: str = "") -> NavigationConfig:
        """Seeds differ in demonstrations, weights and batches; the base is one for all."""
        sizes = self.sizes
        return NavigationConfig(
            base=str(self.base()), world=world or sizes.world, method=method, demos=demos, seed=seed,
            demo_seed=seed, stop=sizes.stop, trail=sizes.trail, updates=sizes.updates,
            episodes=sizes.episodes, evaluations=min(10, sizes.updates), checkpoints=min(4, sizes.updates),
        )  # fmt: skip

    def navigator(self, method: str, demos: int, seed: int) -> Path:
        """Folder of a finished run."""
        from agents.sidetuning.navigate import train_navigator

        run = self.folder / "runs" / f"{method}-{demos}-{seed}"
        if not (run / "summary.json").exists():
            self._making(f"{method}, {demos} demonstrations, seed {seed}")
            config = self.config(method, demos, seed)
            demos_folder = self.folder / "demos"
            train_navigator(config, run, resume=True, quiet=self.quiet, tensorboard=False, demos=demos_folder)
        self.used[run.name] = digest_of(run / "policy.safetensors")
        return run

    def learner(self, method: str, seed: int) -> Path:
        """Folder of a finished run by reinforcement learning."""
        from agents.sidetuning.navigate import train_navigator

        learning = self.learning
        run = self.folder / "runs" / f"ppo-{learning.steps}-{method}-{seed}"
        if not (run / "summary.json").exists():
            self._making(f"{method}, PPO, seed {seed}")
            config = replace(
                self.config(method, min(self.sizes.demos), seed),
                how="ppo",
                ppo=PpoConfig(steps=learning.steps),
                log_rows=learning.rows,
            )
            train_navigator(config, run, resume=True, quiet=self.quiet, tensorboard=False)
        self.used[run.name] = digest_of(run / "policy.safetensors")
        return run

    def curve(self, method: str, seed: int, name: str = "episode/success") -> np.ndarray:
        """(rows,) per cent of the episodes that ended since the row before."""
        lines = (self.learner(method, seed) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        return np.array([100 * row[name] for row in rows if name in row])

    def scores(self, method: str, demos: int, name: str = "spl") -> np.ndarray:
        """(seeds,) points of a score, in per cent."""
        runs = [self.navigator(method, demos, seed) for seed in range(self.sizes.seeds)]
        return np.array([100 * self.summary(run)["test"][name] for run in runs])

    def summary(self, run: Path) -> Summary:
        found: Summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        return found

    def _making(self, what: str) -> None:
        if self.only_stored:
            raise MissingError(what)
        expect_origin(self.folder, self.sizes)
        print(f"--- {what}", file=sys.stderr, flush=True)


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def expect_origin(folder: Path, sizes: Sizes) -> None:
    """Notes what results come from. Raises ValueError where worlds or sizes are others by now."""
    file = folder / "origin.json"
    now = json.loads(json.dumps({"sizes": asdict(sizes), "worlds": worlds_digest()}))
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, {**now, "git": git_commit()})
        return
    kept = json.loads(file.read_text(encoding="utf-8"))
    differ = [name for name in now if kept[name] != now[name]]
    if differ:
        raise ValueError(
            f"the {' and '.join(differ)} behind {folder} are not those of this code: give another --results"
        )


def worlds_digest() -> str:
    """Of two test layouts' walls, furniture and trips."""
    digest = hashlib.sha256()
    for index in (0, 7):
        one = make_world("indoor", "test", index)
        rows = np.array([solid.row() for solid in one.solids])
        for part in (one.heights, one.kinds, rows, one.starts, one.goals):
            digest.update(np.ascontiguousarray(np.round(part, 4)).tobytes())
    return digest.hexdigest()[:16]
