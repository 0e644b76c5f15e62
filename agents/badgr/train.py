"""Training of the event predictor: a run that resumes bit for bit and ends with the robot's model file."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.badgr.config import BadgrConfig
from agents.badgr.ddp import Ranks, join_ranks
from agents.badgr.events import Detector
from agents.badgr.examples import EXAMPLES_FILE, choose_examples, save_examples
from agents.badgr.experience import Experience, load_experience
from agents.badgr.export import check_parity, export_model
from agents.badgr.measure import Measurement, measure
from agents.badgr.mirror import mirrored, steering_column
from agents.badgr.model_file import write_model
from agents.badgr.step import Optimisation, TrainingError
from agents.badgr.weights import WEIGHTS_FILE, load_weights, save_weights
from agents.badgr.windows import Batch
from agents.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from agents.configs import config_to_json
from agents.interrupts import RunStopped, StopSignal
from agents.progress import Progress
from agents.rl import RunningMeans, crossed
from agents.runs import Run, open_run, start_run, write_json

__all__ = ["MODEL_FILE", "BadgrTraining", "TrainingError", "train_badgr"]

MODEL_FILE = "predictor.model"
"""in the run's folder: what a robot is given"""
DRIVES_FILE = "drives.json"
"""in the run's folder: which drives it trains and measures on"""
PARITY_FRAMES, PARITY_CANDIDATES = 16, 64


def train_badgr(
    config: BadgrConfig,
    path: Path | str,
    resume: bool = False,
    quiet: bool = False,
    tensorboard: bool = True,
    *,
    detectors: Mapping[str, Detector] | None = None,
) -> dict[str, Any]:
    """Trains to the end, or goes on from the newest checkpoint; writes predictor.model and summary.json.

    Under torchrun all its processes train one network together. detectors: events of your own beside
    events.DETECTORS; see label_dataset. Returns the summary (of processes that do not write: nothing).
    Raises RunStopped after Ctrl-C or SIGTERM, when all is saved.
    """
    path = Path(path)
    with join_ranks(config.device) as ranks, _threads(config.threads), StopSignal() as stop:
        begun = resume and (path / "run.json").exists()
        if not ranks.writes:
            ranks.wait()  # until the run and its drives are there
            return BadgrTraining(config, open_run(path), True, detectors, ranks).run(stop)
        run = open_run(path, tensorboard) if begun else start_run(path, config, config.seed, tensorboard)
        with run:
            run.acquire()
            training = BadgrTraining(config, run, quiet, detectors, ranks)
            ranks.wait()
            return training.run(stop)


class BadgrTraining:
    """One run in progress."""

    def __init__(
        self,
        config: BadgrConfig,
        record: Run,
        quiet: bool = False,
        detectors: Mapping[str, Detector] | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.config, self.record, self.quiet, self.ranks = config, record, quiet, ranks or Ranks()
        self.experience = self._load(detectors)
        self.optimisation = Optimisation(config, len(self.experience.training_ids), self.ranks)
        self.network, self.device = self.optimisation.network, self.optimisation.device
        self.step = 0
        self.means = RunningMeans()
        self._best_loss, self._best_step = math.inf, 0
        self._best: dict[str, Tensor] = {}
        self._cpu, self._wall = -time.process_time(), -time.monotonic()

    def run(self, stop: StopSignal) -> dict[str, Any]:
        if not self._resume():
            self._begin()
        steps = self.config.steps
        with (
            Progress("badgr", steps, done=self.step, quiet=self.quiet) as progress,
            ThreadPoolExecutor(1) as loader,
        ):
            # A batch depends on its step alone: one is loaded ahead, and resuming needs no state of it.
            ahead: Future[Batch] = loader.submit(self._batch, self.step)
            while self.step < steps:
                batch = ahead.result()
                if self.step + 1 < steps:
                    ahead = loader.submit(self._batch, self.step + 1)
                self._iterate(batch, progress)
                if self.step < steps and self._stopped(stop):
                    self._checkpoint()
                    raise RunStopped(
                        f"stopped at step {self.step:,} of {steps:,}, all is saved; "
                        f"go on with: surefoot resume {self.record.path}"
                    )
        summary = self._finish() if self.ranks.writes else {}
        self.ranks.wait()
        return summary

    def _begin(self) -> None:
        if self.ranks.writes:
            self.record.rewind(0)
        if self.config.start_from:
            load_weights(self.network, Path(self.config.start_from))

    def _stopped(self, stop: StopSignal) -> bool:
        """Whether any process was asked to stop: all of them end at the same step."""
        if self.ranks.count == 1:
            return stop.asked
        return bool(self.ranks.summed(torch.tensor([float(stop.asked)], device=self.device)))

    def _iterate(self, batch: Batch, progress: Progress) -> None:
        config, before = self.config, self.step
        metrics = self._train(batch)
        self.step += 1
        self.means.add(metrics)
        if self.ranks.writes:
            if crossed(before, self.step, config.steps, config.log_rows):
                self.record.log(self.step, self.means.take())
            if crossed(before, self.step, config.steps, config.evaluations):
                self._evaluate(progress)
            if crossed(before, self.step, config.steps, config.checkpoints) and self.step < config.steps:
                self._checkpoint()
        progress.update(self.step, loss=metrics["train/loss"])

    def _batch(self, step: int) -> Batch:
        own = [self.ranks.rank] if self.optimisation.own_shards else []  # each process draws from its own
        rng = np.random.default_rng([self.config.seed, step, *own])
        windows, rows = self.experience.training, self.optimisation.rows()
        batch = windows.batch(windows.draw(rng, self.optimisation.drawn), rng, rows)
        if not self.config.mirror:
            return batch
        column = steering_column(self.config.spec, self.config.steering)
        return mirrored(batch, column, self.config.mirror, rng, rows)

    def _train(self, batch: Batch) -> dict[str, float]:
        return self.optimisation.step(batch, self.step)

    def _measure(self, windows: int) -> Measurement:
        return measure(
            self.network,
            self.experience.holdout,
            windows,
            device=self.device,
            event_weights=self.optimisation.event_weights,
            position_weight=self.config.position_weight,
        )

    def _evaluate(self, progress: Progress) -> None:
        measured = self._measure(self.config.holdout_windows)
        self.record.log(self.step, measured.metrics())
        if measured.loss < self._best_loss:
            self._best_loss, self._best_step = measured.loss, self.step
            self._best = copy.deepcopy(self.network.state_dict())
        areas = ", ".join(f"{name} {score.auroc:.3f}" for name, score in measured.events.items())
        progress.say(f"step {self.step:,}: hold-out loss {measured.loss:.4f}, AUROC {areas}")

    def _finish(self) -> dict[str, Any]:
        """The checkpoint comes first: a finished run that is resumed measures and exports again."""
        self._checkpoint()
        if self.config.keep == "best" and self._best:
            self.network.load_state_dict(self._best)
        measured = self._measure(4 * self.config.holdout_windows)
        network = copy.deepcopy(self.network).cpu()
        model = export_model(network)
        spec, holdout = self.config.spec, self.experience.holdout
        rng = np.random.default_rng([self.config.seed, 0xF11E])
        frames = holdout.batch(rng.integers(len(holdout), size=PARITY_FRAMES), rng).images
        shape = (PARITY_CANDIDATES, spec.horizon, len(spec.actions))
        parity = check_parity(network, model, frames, rng.uniform(spec.low, spec.high, shape))
        save_examples(
            choose_examples(network, holdout, torch.device("cpu")), self.record.path / EXAMPLES_FILE
        )
        save_weights(network, self.record.path / WEIGHTS_FILE)
        write_model(self.record.path / MODEL_FILE, model)
        training = self.experience.training
        summary = {
            "kind": "badgr",
            "seed": self.config.seed,
            "steps": self.step,
            "exported_step": self._best_step if self.config.keep == "best" else self.step,
            "model": MODEL_FILE,
            "device": str(self.device),
            "labels": self.config.labels.digest(),
            "members": self.config.members,
            "start_from": self.config.start_from,
            "drives": len(self.experience.training_ids),
            "holdout_drives": len(self.experience.holdout_ids),
            "hours": self.experience.hours,
            "windows": len(training),
            "holdout_windows": len(holdout),
            "shares": {name: training.share(name) for name in spec.events},
            "dropped": dict(training.dropped),
            "measured": measured.to_json(),
            "parity": config_to_json(parity),
            "cpu_seconds": self._cpu + time.process_time(),
            "wall_seconds": self._wall + time.monotonic(),
        }
        write_json(self.record.path / "summary.json", summary)
        return summary

    def _checkpoint(self) -> None:
        if not self.ranks.writes:
            return
        state = {
            "network": dict(self.network.state_dict()),
            "optimizer": _named(self.optimisation.optimizer.state_dict()),
            "means": self.means.state_dict(),
            "best": {"loss": self._best_loss, "step": self._best_step, "network": dict(self._best)},
            "metrics_position": self.record.metrics_position(),
            "cpu_seconds": self._cpu + time.process_time(),
            "wall_seconds": self._wall + time.monotonic(),
        }
        save_checkpoint(self.record.checkpoints, self.step, state)

    def _resume(self) -> bool:
        newest = latest_checkpoint(self.record.checkpoints)
        if newest is None:
            return False
        state = load_checkpoint(newest)
        self.optimisation.load(state["network"], _numbered(state["optimizer"]))
        self.means.load_state_dict(state["means"])
        best = state["best"]
        self._best_loss, self._best_step = best["loss"], best["step"]
        self._best = {name: values.to(self.device) for name, values in best["network"].items()}
        self.step = int(newest.name.removeprefix("step_"))
        if self.ranks.writes:
            self.record.rewind(state["metrics_position"], step=self.step + 1)
        self._cpu += state["cpu_seconds"]
        self._wall += state["wall_seconds"]
        return True

    def _load(self, detectors: Mapping[str, Detector] | None) -> Experience:
        """The drives that the run began with, though others may have been recorded since."""
        config, name = self.config, DRIVES_FILE
        if config.shards:
            config = dataclasses.replace(config, shards="", data=self._own_shards())
            name = DRIVES_FILE if self.ranks.writes else f"drives-{self.ranks.rank}.json"
        file = self.record.path / name
        if file.exists():
            drives = json.loads(file.read_text(encoding="utf-8"))
            return load_experience(config, detectors, (drives["training"], drives["holdout"]))
        experience = load_experience(config, detectors)
        if not (self.ranks.writes or self.config.shards):
            raise TrainingError(f"{file} is not there: all processes must see the same folder of runs")
        write_json(file, {"training": list(experience.training_ids), "holdout": list(experience.holdout_ids)})
        return experience

    def _own_shards(self) -> tuple[str, ...]:
        """Folders of this process's shards, fetched where they are not here yet."""
        from agents.sweep.shards import default_cache, fetch_shards, own_shards, read_shards

        place = self.config.shards
        shards = own_shards(read_shards(place), self.ranks.rank, self.ranks.count)
        cache = Path(self.config.cache) if self.config.cache else default_cache()
        return tuple(str(folder) for folder in fetch_shards(place, shards, cache))


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch's threads, put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _named(state: Mapping[str, Any]) -> dict[str, Any]:
    """An optimiser's state with text for keys, as checkpoints have them."""
    return {
        "state": {str(index): dict(values) for index, values in state["state"].items()},
        "param_groups": list(state["param_groups"]),
    }


def _numbered(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "state": {int(index): values for index, values in state["state"].items()},
        "param_groups": state["param_groups"],
    }
