"""Rows of a labelling study, made by hand or drawn, for tests. Load it with `runpy.run_path`, as they do."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone

import numpy as np

from agents.preferences.labelling.types import Choice, Kind, Label

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def row(
    number: int,
    annotator: str,
    key: str,
    choice: Choice,
    kind: Kind = "train",
    *,
    swapped: bool = False,
    retracts: str | None = None,
    retracted: bool = False,
) -> Label:
    return Label(
        uuid=f"00000000-0000-4000-8000-{number:012x}",
        study="study",
        query=f"query-{key}-{kind}",
        key=key,
        kind=kind,
        annotator=annotator,
        choice=choice,
        swapped=swapped,
        shown_ms=1200 + number,
        loops=1.5,
        speed=1.0,
        server_time=NOON + timedelta(seconds=number),
        retracts=retracts,
        retracted=retracted,
    )


def simulate(
    generator: np.random.Generator,
    error_rates: list[float],
    answers: int,
    *,
    golds: int | None = None,
    logit: float = 50.0,
) -> tuple[list[Label], dict[str, Choice]]:
    """What people of known error rates say who give `answers` each, and the golds.

    3 % golds, 5 % repeats, and 5 % of each one's answers to pairs that three share; the rest tells
    of nobody's errors and is left out. logit: standard deviation of how much better a clip is
    (50: every pair is clear). Annotators are "p0", "p1", ...
    """
    rows: list[Label] = []
    number = itertools.count()

    def difference() -> float:
        return float(generator.normal() * logit) if logit < 50 else float(generator.choice([-50, 50]))

    def say(person: int, key: str, better: float, kind: Kind = "train") -> None:
        left = generator.random() < 1 / (1 + np.exp(-better))
        if generator.random() < error_rates[person]:
            left = generator.random() < 0.5
        rows.append(row(next(number), f"p{person}", key, "left" if left else "right", kind))

    known: dict[str, Choice] = {}
    people = range(len(error_rates))
    for gold in range(round(0.03 * answers) if golds is None else golds):
        known[f"gold{gold}"] = "left" if generator.random() < 0.5 else "right"
        for person in people:
            say(person, f"gold{gold}", 50.0 if known[f"gold{gold}"] == "left" else -50.0, "gold")
    share = round(0.05 * answers)
    for shared in range(round(share * len(people) / 3)):
        better = difference()
        for person in generator.choice(len(people), min(3, len(people)), replace=False):
            say(int(person), f"shared{shared}", better)
    for person in people:
        for repeat in range(share):
            better = difference()
            say(person, f"own{person}-{repeat}", better)
            say(person, f"own{person}-{repeat}", better, "repeat")
    return rows, known
