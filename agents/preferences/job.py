"""A run from its first file to its report, and going on with one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agents.checkpoint import latest_checkpoint
from agents.configs import config_to_json
from agents.evaluate import evaluate
from agents.interrupts import StopSignal
from agents.preferences.bounds import write_bounds
from agents.preferences.config import PreferenceConfig
from agents.preferences.label_sets import copy_label_set, read_label_set
from agents.preferences.media import write_clip_videos, write_policy_video
from agents.preferences.teachers import Teacher
from agents.preferences.train import PreferenceTrainer
from agents.presets import RlConfig
from agents.report import write_report
from agents.rl import load_learner, train_rl
from agents.run_lock import RunError
from agents.runs import Run, open_run, read_config, start_run, write_json
from envs.batch import Array
from envs.rendering import NoRendererError

logger = logging.getLogger(__name__)
VIDEO_SEED = 40_000


def start(
    config: PreferenceConfig,
    path: Path,
    *,
    true_reward_run: Path | None = None,
    labels_from: Path | None = None,
    videos: bool = True,
    teacher: Teacher | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Starts a run and follows it to its report. Returns the summary.

    labels_from: a run whose first `config.recorded_labels` answers this one begins with.
    """
    with start_run(path, config, config.seed) as run:
        options = {
            "videos": videos,
            "true_reward_run": str(true_reward_run) if true_reward_run else None,
            "labels_from": str(labels_from) if labels_from else None,
        }
        write_json(path / "options.json", options)
        return _follow(config, run, teacher, quiet)


def resume(
    path: Path, *, steps: int | None = None, labels: int | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Goes on from the newest checkpoint. Raises RunError where there is no run.

    steps, labels: new totals: more to make a finished run longer, fewer to end one sooner.
    """
    with open_run(path) as run:
        run.acquire()  # before its configuration is touched: another process may be training
        if run.kind == "RlConfig":
            rl = read_config(path, RlConfig)
            rl = dataclasses.replace(rl, steps=steps or rl.steps)
            write_json(path / "config.json", config_to_json(rl))
        else:
            config = read_config(path, PreferenceConfig)
            config = dataclasses.replace(config, steps=steps or config.steps, labels=labels or config.labels)
            write_json(path / "config.json", config_to_json(config))
            return _follow(config, run, None, quiet)
    train_rl(rl, path, resume=True)
    return json.loads((path / "summary.json").read_text(encoding="utf-8"))


def _follow(config: PreferenceConfig, run: Run, teacher: Teacher | None, quiet: bool) -> dict[str, Any]:
    """Trains, then makes what people look at; a stop in between keeps all that is done."""
    options: dict[str, Any] = {"videos": True, "true_reward_run": None, "labels_from": None}
    if (run.path / "options.json").exists():  # a start that was killed at once has none
        options = json.loads((run.path / "options.json").read_text(encoding="utf-8"))
    if options.get("labels_from") and latest_checkpoint(run.checkpoints) is None:
        source = Path(options["labels_from"])
        copy_label_set(source, run.path, read_label_set(source, config.env)[: config.recorded_labels])
    with StopSignal() as stop, contextlib.ExitStack() as beside:
        trainer = PreferenceTrainer(config, run, teacher, quiet)
        try:
            if trainer.people is not None and config.people.serve:
                from agents.preferences.labelling.command import ServerBeside

                beside.enter_context(ServerBeside(run.path, config.people))
            before = run.path / "videos" / "before.mp4"
            if options["videos"] and not before.exists():
                _video(config.env, trainer.learner.predict, before)
            summary = trainer.run(stop)
            if options["videos"]:
                _video(config.env, trainer.learner.predict, run.path / "videos" / "after.mp4")
                _clip_videos(config, trainer, run.path)
        finally:
            trainer.close()
    true_reward_run = options["true_reward_run"]
    write_bounds(run.path, Path(true_reward_run) if true_reward_run else None)
    write_report(run.path)
    return summary


def _video(env: str, predict: Callable[[Array], Array], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_policy_video(env, predict, path, seed=VIDEO_SEED)
    except NoRendererError as error:
        logger.warning("no video: %s", error)


def _clip_videos(config: PreferenceConfig, trainer: PreferenceTrainer, path: Path) -> None:
    folder = path / "videos" / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        write_clip_videos(folder, config.env, trainer.session.dataset, list(trainer.session.log))
    except NoRendererError as error:
        logger.warning("no clip videos: %s", error)


def evaluate_run(path: Path, episodes: int, seed: int, video: Path | None) -> dict[str, Any]:
    """True returns of a run's newest policy; also a video of it. Raises RunError without a checkpoint."""
    run = open_run(path)
    preferences = read_config(path, RlConfig).preferences if run.kind == "RlConfig" else True
    learner, env = load_learner(path), json.loads((path / "config.json").read_text(encoding="utf-8"))["env"]
    try:
        scores = evaluate(env, learner.predict, episodes, seed, preferences=preferences)
        if video is not None:
            write_policy_video(env, learner.predict, video, seed=seed)
    finally:
        learner.env.close()
    return {
        "env": env,
        "episodes": len(scores.returns),
        "mean": float(np.mean(scores.returns)),
        "median": float(np.median(scores.returns)),
        "lowest": float(np.min(scores.returns)),
        "highest": float(np.max(scores.returns)),
    }


__all__ = ["RunError", "evaluate_run", "resume", "start"]
