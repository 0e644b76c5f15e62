"""`surefoot evaluate` for drivers: from a run's folder, a model file, or the baselines alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.badgr.evaluate import EvaluationConfig, World, evaluate_driving, print_summary
from agents.badgr.methods import Method
from agents.badgr.model_file import read_model
from agents.settings import with_settings
from envs.rover.worlds import Split

BASELINES = Path("baselines")
"""in place of a run: no model, only the methods that need none"""
MODEL_FILE = "predictor.model"
"""as `train.train_badgr` names it; not imported, for that loads torch"""


def is_driver(run: Path) -> bool:
    """Whether `run` is a run of the event predictor, a file, or the word for none."""
    if run.is_file() or (run == BASELINES and not run.exists()):
        return True
    about = run / "run.json"
    return about.exists() and json.loads(about.read_text(encoding="utf-8")).get("kind") == "BadgrConfig"


def evaluate_driver(
    run: Path, *, world: World, split: Split, episodes: int, seed: int, methods: Sequence[Method],
    out: Path | None = None, jobs: int = 1, settings: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Evaluates, prints the table and returns the summary. methods: none for all that can be.

    out: folder of the results; by default beside the model. Raises SpecError for a run without a model.
    """
    model = _model(run)
    chosen = tuple(methods) or ((*(("badgr",) if model else ()), "straight", "lidar", "oracle"))
    config = EvaluationConfig(
        world=world, split=split, episodes=episodes, methods=chosen, model=str(model or ""), seed=seed
    )
    folder = out or _folder(run, model) / world
    summary = evaluate_driving(with_settings(config, settings), folder, jobs=jobs)
    print_summary(summary)
    return summary


def _model(run: Path) -> Path | None:
    if run == BASELINES and not run.exists():
        return None
    path = run if run.is_file() else run / MODEL_FILE
    read_model(path)  # says what is wrong with it, before anything is driven
    return path


def _folder(run: Path, model: Path | None) -> Path:
    if model is None:
        return Path("runs") / "baselines"
    return run / "evaluation" if run.is_dir() else model.with_name(f"{model.stem}-evaluation")
