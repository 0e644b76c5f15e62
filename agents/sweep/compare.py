"""`surefoot compare`: runs and sweeps side by side, as a table and as learning curves with their spread.

Runs that differ by their seed only are one method. Only runs of the same length are compared.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.plots import DASHES, Chart, Line
from agents.results import Results, flatten, read_results, series
from agents.sweep.job import is_sweep, read_trials
from agents.sweep.search import metric as number
from agents.sweep.statistics import band, interval

PALETTE = ("blue", "orange", "green", "purple", "sky", "grey")
HIDDEN = "_seed"
"""label of a single run's line, which no legend shows"""


class CompareError(ValueError):
    """The runs cannot be compared; the message says why, and what can be done."""


@dataclass(frozen=True)
class Measure:
    """What runs are compared by: a number of the summary, and a curve of metrics.jsonl."""

    summary: str
    curve: str
    words: str


RETURN = Measure("final_return", "true_return", "true return per episode")
LOSS = Measure("measured.loss", "holdout/loss", "loss on the hold-out")


@dataclass(frozen=True)
class Method:
    """Runs on one task that differ by their seed only."""

    task: str
    name: str
    runs: tuple[Results, ...]

    def values(self, measure: Measure, until: float | None = None) -> list[float]:
        """One number a run: of the summary, or of the curve at a step."""
        found = [_value(run, measure, until) for run in self.runs]
        return [value for value in found if value is not None]

    def scores(self) -> list[float]:
        return [run.score for run in self.runs if run.score is not None]


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Runs as they are, and the finished ones of sweeps. Raises CompareError for a sweep without any."""
    found: list[Path] = []
    for path in paths:
        if not is_sweep(path):
            found.append(path)
            continue
        trials = read_trials(path)
        if not trials:
            raise CompareError(f"{path} has no finished trial yet: give its `surefoot sweep` command again")
        found += trials
    return list(dict.fromkeys(found))


def methods(runs: Sequence[Path], until: float | None = None) -> list[Method]:
    """Groups runs by all settings but the seed, and names them by what differs.

    Raises CompareError when runs of a task, or two of one seed, do not go together.
    """
    groups: dict[tuple[str, str], list[Results]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for result in map(read_results, runs):
        flat = {name: value for name, value in flatten(result.config).items() if name != "seed"}
        key = json.dumps(flat, sort_keys=True)
        settings[key] = {name: value for name, value in flat.items() if name not in ("env", "data")}
        groups.setdefault((_task(result), key), []).append(result)
    for members in groups.values():
        _expect_different_seeds(members)
    if until is None:
        for task in sorted({task for task, _ in groups}):
            _expect_same_steps([run for (of, _), runs in groups.items() if of == task for run in runs])
    names = _names({key: settings[key] for _, key in groups})
    return [Method(task, names[key], tuple(members)) for (task, key), members in groups.items()]


def measure_of(found: Sequence[Method]) -> Measure:
    """The loss for event predictors, the return for all else. Raises CompareError for a mixture."""
    kinds = {"measured" in run.summary or "spec" in run.config for one in found for run in one.runs}
    if len(kinds) > 1:
        raise CompareError("event predictors and policies have nothing in common to compare: give one kind")
    return LOSS if kinds == {True} else RETURN


def table(found: Sequence[Method], measure: Measure, until: float | None = None) -> list[list[str]]:
    """Rows of cells, the first of them the heads: interquartile means with 95 % bootstrap intervals.

    Where several tasks have scores, each method has a row over all of them.
    """
    at = "" if until is None else f" at step {until:,.0f}"
    rows = [["task", "run", "seeds", "steps", f"{measure.words}{at}, IQM (95 %)", "lowest to highest",
             "score, IQM (95 %)", "held-out accuracy", "CPU time"]]  # fmt: skip
    for one in found:
        values = one.values(measure, until)
        steps = sorted({f"{run.steps:,}" for run in one.runs})
        spread = f"{_short(min(values))} to {_short(max(values))}" if values else "-"
        rows.append([
            one.task, one.name, str(len(one.runs)), " / ".join(steps), _interval([values]), spread,
            _interval([one.scores()]), _median(one, "held_out_accuracy", "{:.0f} %", 100),
            _median(one, "cpu_seconds", "{:,.0f} s"),
        ])  # fmt: skip
    return rows + _over_tasks(found)


def charts(found: Sequence[Method], measure: Measure) -> list[Chart]:
    """One chart a task: every run thin, the IQM of each method with its interval.

    Raises CompareError when no run has the curve.
    """
    drawn: list[Chart] = []
    for task in dict.fromkeys(one.task for one in found):
        lines: list[Line] = []
        for index, one in enumerate(method for method in found if method.task == task):
            curves = [curve for run in one.runs if (curve := series(run.metrics, measure.curve))[0]]
            if curves:
                lines += _lines(one.name, curves, index)
        if lines:
            name = f"curves-{len(drawn)}"
            drawn.append(Chart(name, task, "steps", measure.words, tuple(lines)))
    if not drawn:
        raise CompareError(f"none of the runs has a curve of {measure.curve} to draw")
    return drawn


def _lines(name: str, curves: Sequence[tuple[list[float], list[float]]], index: int) -> list[Line]:
    color, dash = PALETTE[index % len(PALETTE)], tuple(DASHES)[index % len(DASHES)]
    first, last = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    steps = sorted({step for x, _ in curves for step in x if first <= step <= last})
    middle, low, high = band(np.array([np.interp(steps, x, y) for x, y in curves]))
    thin = [Line(HIDDEN, x, y, color, width=0.7) for x, y in curves] if len(curves) > 1 else []
    spread = (low.tolist(), high.tolist()) if len(curves) > 2 else ((), ())
    seeds = f"{len(curves)} seed{'s' * (len(curves) > 1)}"
    return [*thin, Line(f"{name}, {seeds}", steps, middle.tolist(), color, dash, *spread)]


def _over_tasks(found: Sequence[Method]) -> list[list[str]]:
    rows = []
    for name in dict.fromkeys(one.name for one in found):
        strata = [one.scores() for one in found if one.name == name and one.scores()]
        if len(strata) > 1:
            count = str(sum(map(len, strata)))
            rows.append([f"all {len(strata)} tasks", name, count, "", "", "", _interval(strata), "", ""])
    return rows


def _value(run: Results, measure: Measure, until: float | None) -> float | None:
    if until is None:
        given = number(run.summary, measure.summary)
        return run.last(measure.curve) if given is None else given
    steps, values = series(run.metrics, measure.curve)
    if not steps or steps[-1] < until:
        raise CompareError(
            f"{run.path} has no {measure.curve} up to step {until:,.0f}: choose a lower --until"
        )
    return float(np.interp(until, steps, values))


def _expect_same_steps(runs: Sequence[Results]) -> None:
    lengths = {run.steps: run.path for run in reversed(runs)}
    if len(lengths) > 1:
        told = ", ".join(f"{path} {steps:,}" for steps, path in sorted(lengths.items()))
        raise CompareError(
            f"runs of {_task(runs[0])} have done different numbers of steps ({told}): let them finish, or "
            f"compare where all have been, such as --until {min(lengths)}"
        )


def _expect_different_seeds(runs: Sequence[Results]) -> None:
    seeds = [run.config.get("seed", run.path) for run in runs]
    if len(set(map(str, seeds))) < len(seeds):
        raise CompareError(f"{runs[0].path} and another run have the same settings and seed: leave one out")


def _task(result: Results) -> str:
    data = result.config.get("data")
    return " + ".join(Path(one).name for one in data) if data else result.env


def _names(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Of each group: what it learns from, and the settings in which it differs from others of its kind."""
    kinds = {key: _kind(flat) for key, flat in settings.items()}
    names = {}
    for key, mine in settings.items():
        others = [flat for other, flat in settings.items() if other != key and kinds[other] == kinds[key]]
        differ = sorted(
            {name for flat in others for name in {*mine, *flat} if mine.get(name) != flat.get(name)}
        )
        told = [f"{name} {mine[name]}" if name in mine else f"no {name}" for name in differ]
        names[key] = ", ".join([kinds[key], *told])
    return names


def _kind(flat: Mapping[str, Any]) -> str:
    if any(name.startswith("spec.") for name in flat):
        return "event predictor"
    return f"{flat['labels']} labels" if "labels" in flat else "true reward"


def _interval(strata: Sequence[Sequence[float]]) -> str:
    if not any(len(runs) for runs in strata):
        return "-"
    value, low, high = interval(strata)
    return _short(value) if math.isnan(low) else f"{_short(value)} ({_short(low)} to {_short(high)})"


def _median(one: Method, name: str, style: str, factor: float = 1.0) -> str:
    known = [factor * value for run in one.runs if (value := run.number(name)) is not None]
    return style.format(statistics.median(known)) if known else "-"


def _short(value: float) -> str:
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"
