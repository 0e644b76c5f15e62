"""What a run folder says about the run, read for people: never needs the run to be finished or whole."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.preferences.comparison import ANSWERS

Row = Mapping[str, Any]
Series = tuple[list[float], list[float]]


@dataclass(frozen=True)
class ComparedClips:
    """One video of two clips side by side, what the teacher said of it, and what was true.

    true_left, true_right: the clips' sums of the hidden true reward; None where unknown.
    """

    video: Path
    answer: str = ""
    true_left: float | None = None
    true_right: float | None = None
    chosen_by: str = ""


@dataclass(frozen=True)
class Results:
    """One run: its settings, its numbers and its videos. What is missing is empty.

    problems: plain sentences about files that are damaged.
    """

    path: Path
    config: Mapping[str, Any]
    run: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    bounds: Mapping[str, Any] = field(default_factory=dict)
    metrics: Sequence[Row] = ()
    timing: Sequence[Row] = ()
    answers: Mapping[str, int] = field(default_factory=dict)
    clips: Sequence[ComparedClips] = ()
    problems: Sequence[str] = ()

    @property
    def env(self) -> str:
        """The environment's name."""
        return str(self.summary.get("env") or self.config.get("env") or "unknown environment")

    @property
    def finished(self) -> bool:
        """The run wrote its summary, which it does last."""
        return bool(self.summary)

    @property
    def learns_from_labels(self) -> bool:
        """False for a run on the true reward itself."""
        return "labels" in self.config

    @property
    def labels(self) -> int | None:
        """Answers given so far, skipped ones included; None for a run on the true reward."""
        if not self.learns_from_labels:
            return None
        return int(self.number("labels") or self.last("labels") or sum(self.answers.values()))

    @property
    def steps(self) -> int:
        """Environment steps done."""
        return int(self.number("steps") or self.last("step") or 0)

    @property
    def final_return(self) -> float | None:
        """Median true return of the final evaluation, or of the newest one of an unfinished run."""
        value = self.number("final_return")
        return self.last("true_return") if value is None else value

    @property
    def score(self) -> float | None:
        """s = (R_pref - R_random) / (R_true - R_random): 0 is random, 1 the true-reward policy."""
        given = self.number("score")
        if given is not None or not self.learns_from_labels:
            return given
        low, high = self.baseline, finite(self.bounds.get("true_reward_return"))
        if self.final_return is None or low is None or high is None or high <= low:
            return None
        return (self.final_return - low) / (high - low)

    @property
    def baseline(self) -> float | None:
        """The zero of the score: the better of random actions and the untrained policy."""
        known = [finite(self.bounds.get(name)) for name in ("random_return", "untrained_return")]
        return max((value for value in known if value is not None), default=None)

    def number(self, name: str) -> float | None:
        """A number of the summary, None where it is missing or not finite."""
        return finite(self.summary.get(name))

    def last(self, name: str) -> float | None:
        """The newest value of a metric."""
        _, values = series(self.metrics, name)
        return values[-1] if values else None


def read_results(path: Path) -> Results:
    """Reads the folder of a run. Raises FileNotFoundError where there is no run.

    Only config.json must be there; a damaged file is left out and named in `problems`.
    """
    if not (path / "config.json").is_file():
        raise FileNotFoundError(f"{path} holds no config.json: give the folder of a run, such as runs/demo")
    problems: list[str] = []
    labels = _read_lines(path / "labels.jsonl", problems)
    clips_file = next(
        (f for f in (path / "videos/clips/clips.json", path / "videos/clips.json") if f.exists()), None
    )
    return Results(
        path=path,
        config=_read_mapping(path / "config.json", problems),
        run=_read_mapping(path / "run.json", problems),
        summary=_read_mapping(path / "summary.json", problems),
        bounds=_read_mapping(path / "bounds.json", problems),
        metrics=_read_lines(path / "metrics.jsonl", problems),
        timing=_read_lines(path / "timing.jsonl", problems),
        answers=count_answers(labels),
        clips=_read_clips(path / "videos" / "clips", clips_file, problems),
        problems=problems,
    )


def series(rows: Iterable[Row], y: str, x: str = "step") -> Series:
    """The values of metric y and of x beside them; x is carried on from earlier rows, gaps are left out."""
    xs: list[float] = []
    ys: list[float] = []
    where: float | None = None
    for row in rows:
        here, value = finite(row.get(x)), finite(row.get(y))
        where = where if here is None else here
        if where is not None and value is not None:
            xs.append(where)
            ys.append(value)
    return xs, ys


def finite(value: object) -> float | None:
    """The value as a finite float, None if it is anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def count_answers(labels: Iterable[Row]) -> dict[str, int]:
    """How often each answer was given, in the order left, right, tie, skip."""
    counts = Counter(row.get("answer") for row in labels)
    return {answer: counts[answer] for answer in ANSWERS} if counts else {}


def mistake_rate(config: Mapping[str, Any]) -> float | None:
    """Share of answers that the simulated teacher turns around; None where no such teacher is set."""
    teacher = config.get("teacher")
    if not isinstance(teacher, Mapping) or teacher.get("kind") != "mistake":
        return None
    return finite(teacher.get("error_rate"))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _read_clips(folder: Path, listing: Path | None, problems: list[str]) -> list[ComparedClips]:
    known: dict[str, Row] = {}
    if listing is not None:
        entries = _read_json(listing, problems)
        # Only the last part of the name counts: a listing cannot point outside the folder.
        known = {Path(str(row.get("file"))).name: row for row in entries or [] if isinstance(row, Mapping)}
    names = list(known) or sorted(file.name for file in folder.glob("*.mp4"))
    return [
        ComparedClips(
            video=folder / name,
            answer=str(known.get(name, {}).get("answer", "")),
            true_left=finite(known.get(name, {}).get("true_left")),
            true_right=finite(known.get(name, {}).get("true_right")),
            chosen_by=str(known.get(name, {}).get("chosen_by", "")),
        )
        for name in names
        if (folder / name).is_file()
    ]


def _read_mapping(path: Path, problems: list[str]) -> dict[str, Any]:
    content = _read_json(path, problems)
    return content if isinstance(content, dict) else {}


def _read_json(path: Path, problems: list[str]) -> Any:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        problems.append(f"{path.name} is damaged and was left out ({error}).")
        return None


def _read_lines(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    damaged = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif line.strip():
            damaged += 1
    if damaged:
        problems.append(f"{damaged} damaged line{'s' * (damaged > 1)} of {path.name} left out.")
    return rows
