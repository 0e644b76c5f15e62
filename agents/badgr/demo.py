"""The rover's part of the demo: drives by itself, learns what its actions lead to, and goes on one trip.

<folder>/drives/       what it gathered (about 0.2 GB), for `surefoot watch <folder>/drives`
<folder>/run/          the training, with predictor.model
<folder>/drive.mp4     the trip; drive.png: the moment in which most was to choose; ways.png: the map
<folder>/summary.json  the numbers, written last
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from agents.badgr.collect import collect
from agents.badgr.collect_config import LABELS, CollectConfig
from agents.badgr.config import BadgrConfig
from agents.badgr.evaluate import EvaluationConfig
from agents.badgr.spec import ModelSpec
from agents.badgr.trials import Trial, drive_trials
from agents.runs import write_json

SECONDS = 90.0
"""that the full size takes on two cores that nobody else uses"""
ROVERS, UNITS, DRIVE_SECONDS = 6, 4, 60.0
STEPS, BATCH, LEARNING_RATE = 500, 16, 5e-4
"""Smaller batches, more of them: in so little time that learns most"""
TRIP, TRIP_SECONDS = 0, 50.0
SPEC = ModelSpec(events=("collision", "bumpy"), lasting=("collision",))
"""Nothing in an urban world holds a rover but what it collides with: of "stuck" there is nothing to learn"""


def rover_demo(folder: Path, seconds: float = SECONDS) -> dict[str, Any]:
    """Gathers, trains and drives; returns the summary. What is done already is not done again.

    seconds: about how long it may take; with less it gathers and learns in proportion less. Needs the
    extras sim and train.
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be above 0, got {seconds}")
    scale = seconds / SECONDS
    took: dict[str, float] = {}
    began = time.monotonic()
    gathered = _gather(folder / "drives", scale)
    took["gather"] = time.monotonic() - began
    began = time.monotonic()
    learnt = _learn(folder, scale)
    took["learn"] = time.monotonic() - began
    began = time.monotonic()
    drove = _drive(folder, scale)
    took["drive"] = time.monotonic() - began
    events = learnt["measured"]["events"]
    summary = {
        "kind": "rover_demo",
        "minutes": round(60 * gathered["hours"], 1),
        "drives": gathered["drives"],
        "worlds": gathered["worlds"],
        "steps": learnt["steps"],
        "holdout_drives": learnt["holdout_drives"],
        "holdout_windows": learnt["measured"]["windows"],
        "auroc": {name: one["auroc"] for name, one in events.items()},
        "share": {name: one["share"] for name, one in events.items()},
        "position_error": learnt["measured"]["position_error"][-1],
        "trips": {name: _outcome(trial) for name, trial in drove.items()},
        "seconds": {name: round(value, 1) for name, value in took.items()},
    }
    write_json(folder / "summary.json", summary)
    return summary


def _gather(drives: Path, scale: float) -> dict[str, Any]:
    length = max(DRIVE_SECONDS * min(scale, 1.0), 30.0)
    units = max(round(UNITS * scale), 1)
    config = CollectConfig(
        rovers=ROVERS, episode_seconds=length, hours=units * ROVERS * length / 3600, seed=1
    )
    return collect(config, drives)


def _learn(folder: Path, scale: float) -> dict[str, Any]:
    from agents.badgr.train import train_badgr

    config = BadgrConfig(
        data=(str(folder / "drives"),),
        spec=SPEC,
        holdout=0.25,
        labels=LABELS["urban"],
        steps=max(round(STEPS * scale), 4),
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        schedule="constant",
        evaluations=4,
        checkpoints=1,
        holdout_windows=512,
    )
    return train_badgr(config, folder / "run", resume=True, tensorboard=False)


def _drive(folder: Path, scale: float) -> dict[str, Trial]:
    """One trip on a test world, shown; and the same trip driven straight at the goal."""
    from agents.badgr.methods import agent_maker
    from agents.badgr.watch import watch_driven
    from agents.badgr.watch_video import DriveVideo
    from agents.badgr.ways_picture import draw_ways
    from envs.rover.prepared import prepare

    config = EvaluationConfig(
        methods=("badgr", "straight"),
        model=str(folder / "run" / "predictor.model"),
        seconds=max(TRIP_SECONDS * scale, 4.0),
    )
    view = DriveVideo(folder / "drive.mp4", chase=False, picture=folder / "drive.png")
    try:
        trials = {"badgr": watch_driven(config, "badgr", TRIP, [view])}
    finally:
        view.close()
    rover = config.rover("straight")
    straight = drive_trials(rover, [TRIP], agent_maker("straight"), seed=config.seed, seconds=config.seconds)
    trials["straight"] = next(straight)
    world = prepare(rover.layout, config.split, trials["badgr"].world).world
    ways = {name: (trial.track, trial.outcome) for name, trial in trials.items()}
    draw_ways(world, world.goals[trials["badgr"].trip], ways, folder / "ways.png")
    return trials


def _outcome(trial: Trial) -> dict[str, Any]:
    numbers = {"seconds": trial.seconds, "path": trial.path, "smooth": trial.smooth, "closest": trial.closest}
    return {
        "world": trial.world,
        "trip": trial.trip,
        "outcome": trial.outcome,
        **{name: round(float(value), 3) for name, value in numbers.items()},
    }


if __name__ == "__main__":
    rover_demo(Path(sys.argv[1]), *(float(word) for word in sys.argv[2:]))
