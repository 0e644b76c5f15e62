"""Reinforcement learning on the true reward: the bound that a learnt reward is measured against."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.checkpoint import CheckpointError, latest_checkpoint, load_checkpoint, save_checkpoint
from agents.configs import config_from_json
from agents.evaluate import Scores, evaluate
from agents.interrupts import RunStopped, StopSignal
from agents.presets import LearnerConfig, RlConfig
from agents.progress import Progress
from agents.runs import Run, open_run, start_run, write_json
from agents.sb3 import Learner, learner_env
from envs.catalog import make_vec

EVALUATION_SEED = 10_000
"""added to a run's seed: evaluations start where training did not"""


def train_rl(
    config: RlConfig, path: Path | str, resume: bool = False, quiet: bool = False, tensorboard: bool = True
) -> Scores:
    """Trains to the end, or goes on from the newest checkpoint; writes summary.json.

    Returns the final evaluation. Raises RunStopped after Ctrl-C or SIGTERM, when all is saved.
    """
    path = Path(path)
    begun = resume and (path / "run.json").exists()
    run = open_run(path, tensorboard) if begun else start_run(path, config, config.seed, tensorboard)
    with run, StopSignal() as stop:
        run.acquire()
        training = RlTraining(config, run, quiet)
        try:
            return training.run(stop)
        finally:
            training.close()


class RlTraining:
    """One run in progress."""

    def __init__(self, config: RlConfig, record: Run, quiet: bool = False) -> None:
        self.config, self.record, self.quiet = config, record, quiet
        self.env = make_vec(
            config.env,
            config.learner.n_envs,
            config.seed,
            preferences=config.preferences,
            threads=config.learner.env_threads,
        )
        view = learner_env(config.learner, self.env, reward="true")
        self.learner = Learner(config.learner, view, config.seed, config.steps)
        self.means = RunningMeans()
        self._cpu, self._wall = -time.process_time(), -time.monotonic()

    def close(self) -> None:
        self.env.close()

    def run(self, stop: StopSignal) -> Scores:
        if not self._resume():
            self.record.rewind(0)
            self.learner.start()
            self._evaluate(self.config.evaluation_episodes)
        with Progress(
            self.config.env, self.config.steps, done=self.learner.steps, quiet=self.quiet
        ) as progress:
            while self.learner.steps < self.config.steps:
                self._iterate(progress)
                if stop.asked and self.learner.steps < self.config.steps:
                    self._checkpoint()
                    where = f"at step {self.learner.steps:,} of {self.config.steps:,}"
                    raise RunStopped(
                        f"stopped {where}, all is saved; go on with: surefoot resume {self.record.path}"
                    )
        return self._finish()

    def _iterate(self, progress: Progress) -> None:
        config, before = self.config, self.learner.steps
        self.means.add(self.learner.iterate())
        step = self.learner.steps
        if crossed(before, step, config.steps, config.log_rows):
            self.record.log(step, self.means.take())
        if crossed(before, step, config.steps, config.evaluations) and step < config.steps:
            scores = self._evaluate(config.evaluation_episodes)
            progress.say(f"step {step:,}: true return {np.median(scores.returns):.1f}")
        if crossed(before, step, config.steps, config.checkpoints) and step < config.steps:
            self._checkpoint()
        progress.update(step)

    def _evaluate(self, episodes: int) -> Scores:
        seed = EVALUATION_SEED + self.config.seed
        scores = evaluate(self.config.env, self.learner.predict, episodes, seed, self.config.preferences)
        self.record.log(self.learner.steps, scores.metrics())
        return scores

    def _finish(self) -> Scores:
        """The checkpoint comes first: a finished run that is resumed evaluates again and adds nothing."""
        self._checkpoint()
        scores = self._evaluate(self.config.final_episodes)
        summary = {
            "kind": "rl",
            "env": self.config.env,
            "preferences": self.config.preferences,
            "seed": self.config.seed,
            "steps": self.learner.steps,
            "algorithm": self.config.learner.algorithm,
            "final_return": scores.mean,
            "final_return_median": float(np.median(scores.returns)),
            "final_episodes": len(scores.returns),
            "success_rate": scores.success_rate,
            "final_length": float(np.mean(scores.lengths)),
            "cpu_seconds": self._cpu + time.process_time(),
            "wall_seconds": self._wall + time.monotonic(),
        }
        write_json(self.record.path / "summary.json", summary)
        return scores

    def _checkpoint(self) -> None:
        self.learner.prepare_checkpoint()
        state = {
            "learner": self.learner.state_dict(),
            "means": self.means.state_dict(),
            "metrics_position": self.record.metrics_position(),
            "cpu_seconds": self._cpu + time.process_time(),
            "wall_seconds": self._wall + time.monotonic(),
        }
        save_checkpoint(self.record.checkpoints, self.learner.steps, state)

    def _resume(self) -> bool:
        newest = latest_checkpoint(self.record.checkpoints)
        if newest is None:
            return False
        state = load_checkpoint(newest)
        self.learner.load_state_dict(state["learner"], source=f"checkpoint {newest}")
        self.means.load_state_dict(state["means"])
        self.record.rewind(state["metrics_position"], step=self.learner.steps + 1)
        self._cpu += state["cpu_seconds"]
        self._wall += state["wall_seconds"]
        return True


class RunningMeans:
    """Means of metrics between two rows of a log."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The means since the last call, in order of names."""
        means = {name: self._sums[name] / self._counts[name] for name in sorted(self._sums)}
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])


def crossed(before: int, after: int, total: int, parts: int) -> bool:
    """Whether a step count passed one of `parts` even marks of the whole."""
    return parts > 0 and before * parts // total < after * parts // total


def load_learner(path: Path | str) -> Learner:
    """The learner of a run as its newest checkpoint has it, for `predict`. Close its `env` after use.

    Raises CheckpointError when there is none.
    """
    path = Path(path)
    open_run(path)
    newest = latest_checkpoint(path / "checkpoints")
    if newest is None:
        raise CheckpointError(f"{path} has no checkpoint yet: let the run get further, or resume it")
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    settings = config_from_json(config["learner"], LearnerConfig, f"{path / 'config.json'}: learner")
    env = make_vec(
        config["env"], settings.n_envs, config["seed"], preferences=config.get("preferences", True)
    )
    learner = Learner(settings, learner_env(settings, env), config["seed"], config["steps"])
    learner.load_state_dict(load_checkpoint(newest)["learner"], source=f"checkpoint {newest}")
    return learner
