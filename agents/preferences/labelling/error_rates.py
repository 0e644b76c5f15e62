"""How often does each person answer at random? What the likelihood of the reward model wants to know.

`reward.answer_loss` takes an answer to be a coin's with probability eps and else to follow the clips;
on a clear pair it is then wrong with probability eps / 2. Which side is right is known of golds. Of
other pairs that were judged twice or more, by one person (repeats) or several (shared queries), it
is not: it is a hidden variable here, and so is whether the pair is clear at all. Two clips that are
about equally good are answered by a coin too, and nobody is to blame: without this, careful people
who are asked close pairs were found to err in 20-30 % of their answers. The model is that of Dawid
and Skene (1979) with one error rate a person; its posterior is drawn by Gibbs sampling.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.preferences.labelling.quality import JUDGING, stands
from agents.preferences.labelling.types import Choice, Label

Array = NDArray[Any]

PRIOR = (2.0, 18.0)
"""Beta of eps of whoever tries: 0.1 on average, the rate that Christiano 2017 gives everybody"""
ANYTHING = 0.1
"""share of people of whom anything may be true, eps uniform: else 200 labels would not show a clicker"""
TOSS_UP_PRIOR = (1.0, 4.0)
"""Beta of the share of pairs that are no clear case"""
CELLS = 100
"""eps is told in steps of 1 / CELLS"""
CHAINS, SWEEPS, BURN_IN = 32, 60, 20
COVERAGE = 0.95


@dataclass(frozen=True)
class ErrorRate:
    """Posterior of the share of a person's answers that are a coin's."""

    mean: float
    low: float
    high: float
    """the likeliest 95 % lie between low and high"""
    evidence: int
    """answers that tell of it: to golds, and to pairs that were judged twice or more"""


@dataclass(frozen=True)
class _Evidence:
    """What people said of pairs, without the pairs: alike ones are counted, left and right are turned."""

    people: list[str]
    gold: Array
    """(people, 2): right and wrong answers to golds"""
    patterns: Array
    """(patterns, people, 2): answers for the one side and for the other"""
    counts: Array
    """(patterns,): pairs of which exactly this was said"""
    answers: Array
    """(people,)"""


def error_rates(labels: Iterable[Label], golds: Mapping[str, Choice]) -> dict[str, ErrorRate]:
    """By annotator, for everyone who answered; the prior's mean of 0.14 where nothing tells more.

    The same rows always give the same rates. golds: the right choice by the pair's key. Only left
    and right say something of an error; a tie is half a wrong answer where a gold says left or
    right, as it is in the loss.
    """
    evidence = _collect([label for label in labels if stands(label)], golds)
    if not evidence.people:
        return {}
    density = _posterior(evidence)
    rates = {}
    for person, cells, answers in zip(evidence.people, density, evidence.answers, strict=True):
        low, high = _densest(cells)
        rates[person] = ErrorRate(float(cells @ _middles()), low, high, int(answers))
    return rates


def _collect(labels: list[Label], golds: Mapping[str, Choice]) -> _Evidence:
    people = sorted({label.annotator for label in labels if label.kind != "gold" or label.choice in JUDGING})
    index = {person: number for number, person in enumerate(people)}
    gold, answers = np.zeros((len(people), 2)), np.zeros(len(people), np.int64)
    pairs: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    for label in labels:
        truth = golds.get(label.key)
        if truth is None and label.choice in ("left", "right"):
            pairs[label.key].append((index[label.annotator], label.choice == "left"))
        elif truth in ("left", "right") and label.choice in JUDGING:
            half = label.choice == "tie"
            gold[index[label.annotator]] += (0.5, 0.5) if half else _one_hot(label.choice != truth)
            answers[index[label.annotator]] += 1
    patterns: Counter[tuple[tuple[int, bool], ...]] = Counter()
    for said in pairs.values():
        if len(said) > 1:
            said.sort()
            # Which side is called left is arbitrary: call it what the first answer says.
            patterns[tuple(sorted((who, left == said[0][1]) for who, left in said))] += 1
            for who, _ in said:
                answers[who] += 1
    table = np.zeros((len(patterns), len(people), 2))
    for row, pattern in enumerate(patterns):
        for who, same in pattern:
            table[row, who] += _one_hot(not same)
    return _Evidence(people, gold, table, np.array(list(patterns.values()), np.int64), answers)


def _one_hot(second: bool) -> tuple[float, float]:
    return (0.0, 1.0) if second else (1.0, 0.0)


def _posterior(evidence: _Evidence) -> Array:
    """Probability (people, CELLS) of each step of eps, the mean of its exact conditionals.

    Each sweep of the independent chains draws what each pair was, then the error rates.
    """
    generator = np.random.default_rng(0)
    shape = (CHAINS, len(evidence.people))
    prior = _prior()
    eps = generator.choice(_middles(), shape, p=prior)
    a, b = TOSS_UP_PRIOR
    toss_up = generator.beta(a, b, CHAINS)
    density = np.zeros((len(evidence.people), CELLS))
    for sweep in range(BURN_IN + SWEEPS):
        drawn = _draw_pairs(evidence, eps, toss_up, generator)  # (CHAINS, patterns, 3)
        unclear = drawn[..., 2].sum(-1)
        toss_up = generator.beta(a + unclear, b + drawn[..., :2].sum((1, 2)))
        conditional = _conditionals(evidence, drawn, prior)
        if sweep >= BURN_IN:
            density += conditional.mean(0)
        below = conditional.cumsum(-1) < generator.random((*shape, 1))
        eps = _middles()[np.minimum(below.sum(-1), CELLS - 1)]
    return density / SWEEPS


def _draw_pairs(evidence: _Evidence, eps: Array, toss_up: Array, generator: np.random.Generator) -> Array:
    """How many pairs of each pattern had the first side right, the second, neither."""
    correct, mistaken = np.log1p(-eps / 2), np.log(eps / 2)  # (CHAINS, people)
    first, second = evidence.patterns[..., 0].T, evidence.patterns[..., 1].T  # (people, patterns)
    unclear = np.clip(toss_up, 1e-9, 1 - 1e-9)[:, None]
    log = np.stack(
        [
            np.log((1 - unclear) / 2) + correct @ first + mistaken @ second,
            np.log((1 - unclear) / 2) + correct @ second + mistaken @ first,
            np.log(unclear) + evidence.patterns.sum((1, 2)) * np.log(0.5),
        ],
        axis=-1,
    )
    weights = np.exp(log - log.max(-1, keepdims=True))
    drawn: Array = generator.multinomial(evidence.counts, weights / weights.sum(-1, keepdims=True))
    return drawn


def _conditionals(evidence: _Evidence, drawn: Array, prior: Array) -> Array:
    """Probability (CHAINS, people, CELLS) of each eps, given what the pairs were."""
    first, second = evidence.patterns[..., 0], evidence.patterns[..., 1]  # (patterns, people)
    right = drawn[..., 0] @ first + drawn[..., 1] @ second + evidence.gold[:, 0]  # (CHAINS, people)
    wrong = drawn[..., 0] @ second + drawn[..., 1] @ first + evidence.gold[:, 1]
    log = right[..., None] * np.log1p(-_middles() / 2) + wrong[..., None] * np.log(_middles() / 2)
    density: Array = prior * np.exp(log - log.max(-1, keepdims=True))
    return density / density.sum(-1, keepdims=True)


def _middles() -> Array:
    middles: Array = (np.arange(CELLS) + 0.5) / CELLS
    return middles


def _prior() -> Array:
    a, b = PRIOR
    beta = _middles() ** (a - 1) * (1 - _middles()) ** (b - 1)
    prior: Array = (1 - ANYTHING) * beta / beta.sum() + ANYTHING / CELLS
    return prior


def _densest(cells: Array) -> tuple[float, float]:
    """Edges of the shortest run of cells that holds COVERAGE of the probability."""
    total = np.concatenate([[0.0], cells.cumsum()])
    ends = np.searchsorted(total, total + COVERAGE * total[-1] - 1e-12)  # (CELLS + 1,)
    lengths = np.where(ends <= CELLS, ends - np.arange(CELLS + 1), CELLS + 1)
    start = int(lengths.argmin())
    return start / CELLS, int(ends[start]) / CELLS
