"""How true the labels are that a rover makes of its own drives: against the simulator's truth.

    python tests/benchmarks/bench_badgr_labels.py            # a few minutes
    python tests/benchmarks/bench_badgr_labels.py --quick    # about one

Fresh random walks in worlds of each kind, of the train and of the test split, labelled with the thresholds
of that kind (agents.badgr.collect_config.LABELS). Steps of reset manoeuvres do not count, nor do steps
whose label is unknown. Precision and recall within one step of 0.25 s (a contact that begins at the end of
a step is felt in the next), and exact. The truth "stuck" is spread over the 1.5 s that it speaks of. Onsets
are those of collisions: the first step after two without, which is where windows end. The place is where
the robot reckons to be after 2 s and 8 s, from windows without an unknown step or a rescue.
"""

from __future__ import annotations

import argparse
import json
import platform
from typing import Any

import numpy as np

from agents.badgr.collect_config import LABELS, CollectConfig, WorldKind
from agents.badgr.collect_drive import Fleet
from agents.badgr.events import EventLabels, label_episode
from agents.badgr.label_report import LabelScore, label_report
from envs.batch import usable_cores
from envs.episode import Episode

EVENTS: dict[WorldKind, tuple[str, ...]] = {
    "urban": ("collision", "bumpy", "stuck"),
    "off-road": ("collision", "bumpy", "stuck"),
    "indoor": ("collision",),
}
"""which happen there; floors are smooth"""
ENOUGH = 50
"""true steps, below which a figure says nothing"""
TARGET = 0.95
Labelled = list[tuple[Episode, EventLabels]]


def gather(world: WorldKind, split: Any, units: int, seed: int) -> Labelled:
    """Labelled drives of a minute each."""
    fleet = Fleet(CollectConfig(world, split, seed=seed))
    drives = [drive.episode for unit in range(units) for drive in fleet.drives(unit)]
    fleet.close()
    return [(drive, label_episode(drive, LABELS[world])) for drive in drives]


def onsets(labelled: Labelled) -> tuple[float, float, int]:
    """Precision and recall of the beginnings of collisions within a step, and how many there truly were."""
    right = said_all = found = true_all = 0
    for episode, labels in labelled:
        counted = labels.known["collision"] & ~np.asarray(episode.info["resetting"])
        said, true = labels.events["collision"], np.asarray(episode.info["collision"])
        said_begins, true_begins = _begins(said) & counted, _begins(true) & counted
        right += int((said_begins & _near(true)).sum())
        found += int((true_begins & _near(said)).sum())
        said_all, true_all = said_all + int(said_begins.sum()), true_all + int(true_begins.sum())
    return right / max(said_all, 1), found / max(true_all, 1), true_all


def position_errors(labelled: Labelled, steps: int) -> np.ndarray:
    """m between where it reckons to be after so many steps and where it is, in its own frame at the start."""
    errors = []
    for episode, labels in labelled:
        place = np.asarray(episode.info["position"], np.float64)  # after each step
        heading, pose = np.asarray(episode.info["heading"], np.float64), labels.pose[1:]
        for start in range(0, len(place) - steps, steps):
            if not labels.moved[start : start + steps + 1].all():
                continue
            really = _turned(place[start + steps] - place[start], -heading[start])
            reckoned = _turned(pose[start + steps, :2] - pose[start, :2], -pose[start, 2])
            errors.append(float(np.linalg.norm(really - reckoned)))
    return np.array(errors)


def report(world: WorldKind, split: str, labelled: Labelled) -> dict[str, float]:
    """Prints a split's lines, and gives its figures by key."""
    hours = sum(len(drive) for drive, _ in labelled) * 0.25 / 3600
    print(f"\n{world}, {split} worlds: {len(labelled)} drives, {hours:.2f} h")
    near, exact = (label_report(labelled, tolerance=steps) for steps in (1, 0))
    figures: dict[str, float] = {}
    for event in EVENTS[world]:
        score: LabelScore = near[event]
        verdict = "met" if min(score.precision, score.recall) >= TARGET else "MISSED"
        if score.true < ENOUGH:
            verdict = f"too few to say (fewer than {ENOUGH})"
        print(f"  {event:10s} within a step: {score}: {verdict}")
        print(f"  {'':10s} exact: precision {exact[event].precision:.3f}, recall {exact[event].recall:.3f}")
        if score.true >= ENOUGH:
            figures |= {f"{event}_precision": score.precision, f"{event}_recall": score.recall}
    precision, recall, count = onsets(labelled)
    print(f"  collisions' onsets: precision {precision:.3f}, recall {recall:.3f} of {count}")
    for steps in (8, 32):
        errors = position_errors(labelled, steps)
        middle, worst = np.quantile(errors, (0.5, 0.95)) if len(errors) else (np.nan, np.nan)
        print(f"  place after {steps / 4:.0f} s: {middle:.3f} m off in half, {worst:.3f} m in 95 %")
        figures[f"position_{steps // 4}s_median_m"] = float(middle)
    return {f"{world}_{split}_{name}": round(value, 4) for name, value in figures.items()}


def _begins(values: np.ndarray) -> np.ndarray:
    before = np.concatenate([[False, False], values])
    begins: np.ndarray = values & ~before[1:-1] & ~before[:-2]
    return begins


def _near(values: np.ndarray) -> np.ndarray:
    padded = np.concatenate([[False], values, [False]])
    near: np.ndarray = padded[:-2] | padded[1:-1] | padded[2:]
    return near


def _turned(vector: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * vector[0] - s * vector[1], s * vector[0] + c * vector[1]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a quarter of an hour in one split only")
    parser.add_argument("--seed", type=int, default=1234)
    options = parser.parse_args()
    print(f"{platform.machine()}, {usable_cores()} cores, Python {platform.python_version()}")
    figures: dict[str, float] = {}
    for world in LABELS:
        for split in ("test",) if options.quick else ("train", "test"):
            figures |= report(world, split, gather(world, split, 1 if options.quick else 2, options.seed))
    scores = {name: value for name, value in figures.items() if name.endswith(("precision", "recall"))}
    missed = sorted(name for name, value in scores.items() if value < TARGET)
    print(f"\ntarget {TARGET}: {len(scores) - len(missed)} of {len(scores)} met; missed: {missed or 'none'}")
    print(json.dumps({"worst": min(scores.values()), "missed": missed, **figures}))


if __name__ == "__main__":
    main()
