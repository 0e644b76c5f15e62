"""Do people agree, with each other and with themselves? Pure functions over the rows of a study.

Rows that were taken back never count. What two people say of a pair is compared on training pairs
alone: everybody gets the golds, which are easy, and they would flatter the agreement.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from agents.preferences.labelling.types import Choice, Label

JUDGING: tuple[Choice, ...] = ("left", "right", "tie")
"""choices that say something about a pair; cannot_tell counts as missing"""
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Share:
    """`hits` of `count`, with Wilson's 95 % interval (1927)."""

    hits: int
    count: int

    @property
    def value(self) -> float | None:
        """None where there was nothing to count."""
        return self.hits / self.count if self.count else None

    @property
    def low(self) -> float:
        return self._bound(-Z95)

    @property
    def high(self) -> float:
        return self._bound(Z95)

    def _bound(self, z: float) -> float:
        """The p whose distance to the share is z of its own standard errors; [0, 1] for nothing."""
        n = self.count
        if n == 0:
            return 0.0 if z < 0 else 1.0
        p = self.hits / n
        spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return min(1.0, max(0.0, (p + z * z / (2 * n) + spread) / (1 + z * z / n)))


@dataclass(frozen=True)
class PairKappa:
    """Two annotators, and how much they agree beyond chance on the pairs that both judged."""

    a: str
    b: str
    kappa: float | None
    shared: int


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float | None:
    """Agreement of two people's answers to the same questions beyond chance (Cohen 1960), at most 1.

    None where it is undefined: no answers, or both always say one and the same thing.
    """
    if len(a) != len(b):
        raise ValueError(f"both must have judged the same questions, got {len(a)} and {len(b)} answers")
    total = len(a)
    agreed = sum(x == y for x, y in zip(a, b, strict=True))
    of_a, of_b = Counter(a), Counter(b)
    by_chance = sum(of_a[value] * of_b[value] for value in of_a)
    if by_chance == total * total:
        return None
    return (agreed * total - by_chance) / (total * total - by_chance)


def pairwise_kappa(labels: Iterable[Label]) -> list[PairKappa]:
    """Cohen's kappa of every two annotators who judged a pair in common, by their ids."""
    shared: dict[tuple[str, str], list[tuple[Choice, Choice]]] = defaultdict(list)
    for answers in judged_pairs(labels).values():
        for a, b in combinations(sorted(answers), 2):
            shared[a, b].append((answers[a], answers[b]))
    found = []
    for a, b in sorted(shared):
        of_a, of_b = zip(*shared[a, b], strict=True)
        found.append(PairKappa(a, b, cohen_kappa(of_a, of_b), len(of_a)))
    return found


def krippendorff_alpha(labels: Iterable[Label]) -> float | None:
    """Agreement of all annotators over all pairs, 1 for perfect, 0 for chance; None where undefined."""
    return nominal_alpha(answers.values() for answers in judged_pairs(labels).values())


def nominal_alpha(units: Iterable[Iterable[Hashable]]) -> float | None:
    """Krippendorff's alpha of nominal values ("Computing Krippendorff's Alpha-Reliability", 2011).

    units: what was said of each unit, by however many; a missing value is left out. None where
    nothing was said twice, or all that was said is one and the same.
    """
    totals: Counter[Hashable] = Counter()
    disagreement = 0.0
    for unit in units:
        values = Counter(unit)
        size = sum(values.values())
        if size < 2:
            continue
        totals.update(values)
        disagreement += (size * size - sum(count * count for count in values.values())) / (size - 1)
    n = sum(totals.values())
    by_chance = n * n - sum(count * count for count in totals.values())
    return None if by_chance == 0 else 1 - (n - 1) * disagreement / by_chance


def self_consistency(labels: Iterable[Label]) -> dict[str, Share]:
    """By annotator: how many repeats got the answer that their pair got first."""
    standing = [label for label in labels if stands(label) and label.choice in JUDGING]
    first: dict[tuple[str, str], Choice] = {}
    for label in standing:
        if label.kind != "repeat":
            first.setdefault((label.annotator, label.key), label.choice)
    counts: dict[str, list[bool]] = defaultdict(list)
    for label in standing:
        before = first.get((label.annotator, label.key))
        if label.kind == "repeat" and before is not None:
            counts[label.annotator].append(label.choice == before)
    return _shares(counts)


def side_bias(labels: Iterable[Label]) -> dict[str, Share]:
    """By annotator: how many of the answers left and right were the left of the SCREEN.

    Sides are drawn at random, so an interval without 0.5 tells of a habit of the hand.
    """
    counts: dict[str, list[bool]] = defaultdict(list)
    for label in labels:
        if stands(label) and label.choice in ("left", "right"):
            counts[label.annotator].append((label.choice == "left") != label.swapped)
    return _shares(counts)


def gold_accuracy(labels: Iterable[Label], golds: Mapping[str, Choice]) -> dict[str, Share]:
    """By annotator: how many answers to pairs of known answer were right; cannot_tell was not.

    golds: the right choice by the pair's key.
    """
    counts: dict[str, list[bool]] = defaultdict(list)
    for label in labels:
        if stands(label) and label.key in golds and label.choice in (*JUDGING, "cannot_tell"):
            counts[label.annotator].append(label.choice == golds[label.key])
    return _shares(counts)


def judged_pairs(labels: Iterable[Label]) -> dict[str, dict[str, Choice]]:
    """{pair: {annotator: answer}} of the training pairs, for answers that judge and stand."""
    pairs: dict[str, dict[str, Choice]] = defaultdict(dict)
    for label in labels:
        if stands(label) and label.kind == "train" and label.choice in JUDGING:
            pairs[label.key][label.annotator] = label.choice
    return pairs


def stands(label: Label) -> bool:
    """Whether a row is an answer that nobody took back."""
    return label.retracts is None and not label.retracted


def _shares(counts: Mapping[str, Sequence[bool]]) -> dict[str, Share]:
    return {who: Share(sum(hits), len(hits)) for who, hits in sorted(counts.items())}
