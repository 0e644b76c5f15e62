"""The loop of a resumable run: train, log, evaluate, checkpoint; bit for bit the same after a kill."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from agents.checkpoint import checkpoint_step, latest_checkpoint, load_checkpoint, save_checkpoint
from agents.interrupts import RunStopped, StopSignal
from agents.progress import Progress
from agents.rl import RunningMeans, crossed
from agents.runs import Run, open_run, start_run


class Job(Protocol):
    """What is done in a loop. `train` may depend on the step and on what `state` holds, and nothing else."""

    def train(self, step: int) -> dict[str, float]:
        """One step, from `step` to the next; gives its metrics."""

    def evaluate(self, step: int) -> dict[str, float]:
        """Metrics on what was held out."""

    def state(self) -> dict[str, Any]:
        """All that changes, as `agents.checkpoint` holds it."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes back to a state."""


@dataclass(frozen=True)
class Schedule:
    """How long, and how often what is done beside training."""

    title: str
    steps: int
    log_rows: int = 50
    evaluations: int = 5
    checkpoints: int = 5


@dataclass(frozen=True)
class Spent:
    """Seconds of a run, over all its processes."""

    cpu: float
    wall: float


JobType = TypeVar("JobType", bound=Job)


@contextlib.contextmanager
def opened(path: Path, config: Any, seed: int, resume: bool, tensorboard: bool) -> Iterator[Run]:
    """The run in a folder, begun or gone on with, on one thread: sums are then the same every time."""
    begun = resume and (path / "run.json").exists()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with open_run(path, tensorboard) if begun else start_run(path, config, seed, tensorboard) as run:
            run.acquire()
            yield run
    finally:
        torch.set_num_threads(threads)


def run_job(job: Job, record: Run, schedule: Schedule, stop: StopSignal, quiet: bool = False) -> Spent:
    """From the newest checkpoint, or the beginning, to the end; a checkpoint is the last that is written.

    Raises RunStopped after Ctrl-C or SIGTERM, when all is saved.
    """
    means, cpu, wall = RunningMeans(), -time.process_time(), -time.monotonic()
    step, steps = 0, schedule.steps
    newest = latest_checkpoint(record.checkpoints)
    if newest is None:
        record.rewind(0)
    else:
        state = load_checkpoint(newest)
        step = checkpoint_step(newest)
        job.load(state["job"])
        means.load_state_dict(state["means"])
        record.rewind(state["metrics_position"], step=step + 1)
        cpu, wall = cpu + state["cpu_seconds"], wall + state["wall_seconds"]

    def save() -> None:
        state = {
            "job": job.state(),
            "means": means.state_dict(),
            "metrics_position": record.metrics_position(),
            "cpu_seconds": cpu + time.process_time(),
            "wall_seconds": wall + time.monotonic(),
        }
        save_checkpoint(record.checkpoints, step, state)

    done = step == steps and newest is not None
    with Progress(schedule.title, steps, done=step, quiet=quiet) as progress:
        while step < steps:
            metrics = job.train(step)
            step += 1
            means.add(metrics)
            if crossed(step - 1, step, steps, schedule.log_rows):
                record.log(step, means.take())
            if crossed(step - 1, step, steps, schedule.evaluations):
                found = job.evaluate(step)
                record.log(step, found)
                progress.say(f"step {step:,}: {', '.join(f'{k} {x:.4g}' for k, x in found.items())}")
            if crossed(step - 1, step, steps, schedule.checkpoints) and step < steps:
                save()
            progress.update(step, **{name.rpartition("/")[2]: x for name, x in list(metrics.items())[:1]})
            if step < steps and stop.asked:
                save()
                raise RunStopped(
                    f"stopped at step {step:,} of {steps:,}, all is saved; "
                    f"go on with: surefoot resume {record.path}"
                )
    if not done:
        save()
    return Spent(cpu + time.process_time(), wall + time.monotonic())


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """With text for keys, as checkpoints have them."""
    state = optimizer.state_dict()
    slots = {str(index): dict(values) for index, values in state["state"].items()}
    return {"state": slots, "param_groups": list(state["param_groups"])}


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    slots = {int(index): values for index, values in state["state"].items()}
    optimizer.load_state_dict({"state": slots, "param_groups": state["param_groups"]})
