"""How true self-made labels are, where a simulator's recording says what really happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.events import EventLabels
from envs.episode import Episode

Array = NDArray[Any]


@dataclass(frozen=True)
class LabelScore:
    """One event's labels against the truth, over steps whose label is known.

    precision: share of the labelled steps that were true; recall: share of the true steps that were
    labelled; both within a tolerance in time, NaN without any. labelled, true, unknown: numbers of steps.
    """

    precision: float
    recall: float
    labelled: int
    true: int
    unknown: int
    steps: int

    def __str__(self) -> str:
        return (
            f"precision {self.precision:.3f}, recall {self.recall:.3f} "
            f"({self.labelled} labelled, {self.true} true, {self.unknown} unknown of {self.steps} steps)"
        )


def label_report(
    drives: Iterable[tuple[Episode, EventLabels]],
    *,
    truth: Mapping[str, str] | None = None,
    tolerance: int = 1,
    lead_seconds: Mapping[str, float] | None = None,
    reset: str = "resetting",
) -> dict[str, LabelScore]:
    """Of each event that some drive knows the truth of.

    truth: info stream of each event, by default of the same name. tolerance: steps by which the two may
    differ in time. lead_seconds: how long before it says so the truth began to hold; the simulator says
    "stuck" only after 1.5 s of it, the default. Steps of a reset manoeuvre are left out.
    """
    lead = {"stuck": 1.5} if lead_seconds is None else lead_seconds
    counts: dict[str, Array] = {}
    for episode, labels in drives:
        usual = float(np.median(np.diff(episode.times)))
        resetting = np.asarray(episode.info.get(reset, np.zeros(len(episode))))[: len(episode)] > 0
        for name, said in labels.events.items():
            stream = (truth or {}).get(name, name)
            if stream not in episode.info:
                continue
            steps = len(episode)
            really = np.asarray(episode.info[stream])[-steps:] > 0
            really = _spread(really, max(round(lead.get(name, 0.0) / usual) - 1, 0), 0)
            known = labels.known[name] & ~resetting
            near_truth, near_label = (_spread(values, tolerance, tolerance) for values in (really, said))
            found = [said & near_truth, said, really & near_label, really]
            numbers = [int((values & known).sum()) for values in found]
            numbers += [int((~labels.known[name]).sum()), steps]
            counts[name] = counts.get(name, np.zeros(6, np.int64)) + np.array(numbers)
    return {name: _score(*(int(number) for number in row)) for name, row in counts.items()}


def _score(right: int, labelled: int, found: int, true: int, unknown: int, steps: int) -> LabelScore:
    precision = right / labelled if labelled else float("nan")
    recall = found / true if true else float("nan")
    return LabelScore(precision, recall, labelled, true, unknown, steps)


def _spread(values: Array, before: int, after: int) -> Array:
    """True also so many steps before and after."""
    spread = values.copy()
    for shift in range(1, before + 1):
        spread[:-shift] |= values[shift:]
    for shift in range(1, after + 1):
        spread[shift:] |= values[:-shift]
    return spread
