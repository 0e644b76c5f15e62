"""Agreement of labellers: published examples, formulas the long way round, and what must not count."""

from __future__ import annotations

import itertools
import math
import runpy
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.preferences.labelling.quality import (
    JUDGING,
    Share,
    cohen_kappa,
    gold_accuracy,
    krippendorff_alpha,
    nominal_alpha,
    pairwise_kappa,
    self_consistency,
    side_bias,
)

ROWS = runpy.run_path(str(Path(__file__).with_name("label_rows.py")))
row = ROWS["row"]


def units(*observers: str) -> list[list[str]]:
    """Columns of a reliability data matrix; a dot is a missing value."""
    columns = zip(*(line.split() for line in observers), strict=True)
    return [[value for value in column if value != "."] for column in columns]


def test_alpha_of_krippendorffs_examples() -> None:
    """K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): A binary, B and C nominal."""
    binary = units("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0")
    two = units("a a b b d c c c e d d a", "b a b b b c c c e d d d")
    four = units(
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    )
    assert nominal_alpha(binary) == pytest.approx(0.095, abs=5e-4)
    assert nominal_alpha(two) == pytest.approx(0.692, abs=5e-4)
    assert nominal_alpha(four) == pytest.approx(0.743, abs=5e-4)


def test_alpha_of_three_observers_with_many_missing_values() -> None:
    """Wikipedia's example of 26 values that another one can be compared with."""
    three = units(
        ". . . . . 3 4 1 2 1 1 3 3 . 3",
        "1 . 2 1 3 3 4 3 . . . . . . .",
        ". . 2 1 3 4 4 . 2 1 1 3 3 . 4",
    )
    assert nominal_alpha(three) == pytest.approx(0.691, abs=5e-4)


def test_kappa_of_published_tables() -> None:
    def of_table(*rows: tuple[int, ...]) -> float | None:
        pairs = [(i, j) for i, line in enumerate(rows) for j, n in enumerate(line) for _ in range(n)]
        return cohen_kappa([i for i, _ in pairs], [j for _, j in pairs])

    assert of_table((20, 5), (10, 15)) == pytest.approx(0.4)  # po = 0.7, pe = 0.5
    assert of_table((45, 15), (25, 15)) == pytest.approx(0.1304, abs=5e-5)
    assert of_table((25, 35), (5, 35)) == pytest.approx(0.2593, abs=5e-5)
    # Cohen (1960): diagnoses of 200 patients, po = 0.70, pc = 0.41
    assert of_table((88, 14, 18), (10, 40, 10), (2, 6, 12)) == pytest.approx((0.70 - 0.41) / 0.59)


answers = st.lists(st.sampled_from(JUDGING), min_size=0, max_size=5)


@given(st.lists(answers, max_size=12))
def test_alpha_is_one_minus_observed_over_expected_disagreement(pairs: list[list[str]]) -> None:
    """Disagreement counted pair of values by pair of values, in fractions, as the definition says."""
    shared = [unit for unit in pairs if len(unit) > 1]
    values = [value for unit in shared for value in unit]
    n = len(values)
    observed = sum(
        (Fraction(sum(a != b for a, b in itertools.permutations(unit, 2)), len(unit) - 1) for unit in shared),
        Fraction(0),
    )
    expected = sum(a != b for a, b in itertools.permutations(values, 2))
    if expected == 0:
        assert nominal_alpha(pairs) is None
    else:
        wanted = 1 - (observed / n) / (Fraction(expected) / (n * (n - 1)))
        assert nominal_alpha(pairs) == pytest.approx(float(wanted), abs=1e-12)


@given(st.lists(st.tuples(st.sampled_from(JUDGING), st.sampled_from(JUDGING)), min_size=1, max_size=30))
def test_kappa_is_agreement_beyond_that_of_shuffled_answers(pairs: list[tuple[str, str]]) -> None:
    a, b = zip(*pairs, strict=True)
    observed = Fraction(sum(x == y for x, y in pairs), len(pairs))
    shuffled = Fraction(sum(x == y for x in a for y in b), len(pairs) ** 2)
    if shuffled == 1:
        assert cohen_kappa(a, b) is None
    else:
        kappa = cohen_kappa(a, b)
        assert kappa == pytest.approx(float((observed - shuffled) / (1 - shuffled)), abs=1e-12)
        assert kappa == pytest.approx(cohen_kappa(b, a))


def test_kappa_refuses_answers_to_different_questions() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        cohen_kappa(["left", "tie"], ["left"])


def test_only_standing_judgements_of_shared_training_pairs_count_for_agreement() -> None:
    agreed = [
        row(1, "ann", "a", "left"),
        row(2, "bob", "a", "left"),
        row(3, "ann", "b", "right"),
        row(4, "bob", "b", "right"),
        row(5, "bob", "c", "tie"),
        row(6, "ann", "c", "left"),
    ]
    noise = [
        row(7, "ann", "d", "left", "gold"),
        row(8, "bob", "d", "right", "gold"),
        row(9, "ann", "a", "right", "repeat"),
        row(10, "ann", "e", "cannot_tell"),
        row(11, "bob", "e", "left"),
        row(12, "cid", "a", "right", retracted=True),
        row(13, "cid", "a", "right", retracts=row(12, "cid", "a", "right").uuid),
        row(14, "ann", "f", "skip"),
        row(15, "bob", "f", "broken"),
        row(16, "dan", "g", "left"),
    ]
    kappa = cohen_kappa(["left", "right", "left"], ["left", "right", "tie"])
    (pair,) = pairwise_kappa(agreed + noise)
    assert (pair.a, pair.b, pair.shared) == ("ann", "bob", 3)
    assert pair.kappa == kappa == pytest.approx(0.5)
    wanted = nominal_alpha([["left", "left"], ["right", "right"], ["tie", "left"]])
    assert krippendorff_alpha(agreed + noise) == wanted
    assert krippendorff_alpha([]) is None
    assert pairwise_kappa([]) == []


def test_self_consistency_compares_repeats_with_the_first_answer() -> None:
    rows = [
        row(1, "ann", "a", "left"),
        row(2, "ann", "b", "tie"),
        row(3, "ann", "c", "right", retracted=True),
        row(4, "ann", "a", "left", "repeat", swapped=True),
        row(5, "ann", "b", "left", "repeat", swapped=True),
        row(6, "ann", "c", "right", "repeat"),  # what it repeats was taken back
        row(7, "bob", "a", "right", "repeat"),  # bob never answered it
        row(8, "ann", "a", "cannot_tell", "repeat"),
    ]
    assert self_consistency(rows) == {"ann": Share(1, 2)}


def test_side_bias_counts_the_side_of_the_screen() -> None:
    """Someone who always takes the left of the screen, whichever clip is there."""
    always_left = [
        row(number, "ann", f"k{number}", "right" if number % 3 == 0 else "left", swapped=number % 3 == 0)
        for number in range(40)
    ]
    bias = side_bias([*always_left, row(99, "ann", "t", "tie"), row(98, "bob", "t", "skip")])
    assert bias == {"ann": Share(40, 40)}
    assert bias["ann"].low > 0.9
    assert bias["ann"].high == 1


def test_gold_accuracy_counts_doubt_about_a_clear_pair_as_wrong() -> None:
    rows = [
        row(1, "ann", "g1", "left", "gold"),
        row(2, "ann", "g2", "right"),  # asked before it was made a gold
        row(3, "ann", "g3", "cannot_tell", "gold"),
        row(4, "ann", "g3", "skip", "gold"),
        row(5, "ann", "k", "left"),
        row(6, "bob", "g1", "tie", "gold", retracted=True),
    ]
    assert gold_accuracy(rows, {"g1": "left", "g2": "left", "g3": "tie"}) == {"ann": Share(1, 3)}


def test_a_share_of_nothing_is_unknown() -> None:
    nothing = Share(0, 0)
    assert (nothing.value, nothing.low, nothing.high) == (None, 0.0, 1.0)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(15, 20, 0.531, 0.888), (0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_intervals_of_known_examples(hits: int, count: int, low: float, high: float) -> None:
    """81 of 263 is Newcombe's (1998) first example, method 3."""
    share = Share(hits, count)
    assert share.low == pytest.approx(low, abs=5e-4)
    assert share.high == pytest.approx(high, abs=5e-4)


@pytest.mark.parametrize("truth", [0.3, 0.5, 0.8])
def test_the_interval_holds_the_truth_in_95_of_100_cases(truth: float) -> None:
    """Exact, by summing the binomial distribution over all that can come of 60 answers."""
    covered = sum(
        math.comb(60, hits) * truth**hits * (1 - truth) ** (60 - hits)
        for hits in range(61)
        if Share(hits, 60).low <= truth <= Share(hits, 60).high
    )
    assert 0.93 < covered < 0.97
