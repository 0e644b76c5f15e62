"""Error rates of labellers: the exact posterior by brute force, known rates found again, honest intervals."""

from __future__ import annotations

import itertools
import math
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.preferences.labelling.error_rates import (
    ANYTHING,
    PRIOR,
    TOSS_UP_PRIOR,
    ErrorRate,
    error_rates,
)
from agents.preferences.labelling.types import Choice, Label
from agents.preferences.reward import answer_loss

ROWS = runpy.run_path(str(Path(__file__).with_name("label_rows.py")))
row = ROWS["row"]
simulate = ROWS["simulate"]


def beta_density(x: np.ndarray, parameters: tuple[float, float]) -> np.ndarray:
    a, b = parameters
    return math.gamma(a + b) / math.gamma(a) / math.gamma(b) * x ** (a - 1) * (1 - x) ** (b - 1)


def exact(rows: list[Label], golds: dict[str, Choice], steps: int = 60) -> dict[str, float]:
    """Posterior means by summing over every eps of everybody and every share of toss-ups.

    The likelihood of an answer is that of the reward model: a clear pair has a difference of +-50, a
    toss-up of 0.
    """
    people = sorted({label.annotator for label in rows})
    grid = (np.arange(steps) + 0.5) / steps
    density = (1 - ANYTHING) * beta_density(grid, PRIOR) + ANYTHING
    eps = np.stack(np.meshgrid(*[grid] * len(people), indexing="ij"))[..., None]
    unclear = grid  # last axis
    weight = beta_density(unclear, TOSS_UP_PRIOR) * np.ones(eps.shape[1:])
    for axis in range(len(people)):
        shape = [1] * (len(people) + 1)
        shape[axis] = steps
        weight = weight * density.reshape(shape)

    def said(label: Label, better: float) -> np.ndarray:
        target = torch.tensor({"left": 1.0, "right": 0.0, "tie": 0.5}[label.choice], dtype=torch.float64)
        rate = torch.from_numpy(eps[people.index(label.annotator)])
        difference = torch.full_like(rate, better)
        return torch.exp(-answer_loss(difference, target, rate)).numpy()

    for key in {label.key for label in rows}:
        about = [label for label in rows if label.key == key]
        if key in golds:
            for label in about:
                weight = weight * said(label, 50.0 if golds[key] == "left" else -50.0)
        else:
            sides = [np.prod([said(label, better) for label in about], axis=0) for better in (50.0, -50.0)]
            weight = weight * ((1 - unclear) * sum(sides) / 2 + unclear * 0.5 ** len(about))
    total = weight.sum()
    return {person: float((weight * eps[axis]).sum() / total) for axis, person in enumerate(people)}


def test_the_posterior_is_that_of_the_likelihood_the_reward_model_is_fitted_with() -> None:
    rows = [row(n, "ann", f"g{n}", "left" if n < 6 else "right", "gold") for n in range(7)]
    rows += [row(10 + n, "bob", f"g{n}", "right" if n < 3 else "tie", "gold") for n in range(4)]
    number = itertools.count(100)
    for key, by_ann, by_bob in [("a", "LL", "R"), ("b", "LR", "L"), ("c", "L", "L"), ("d", "R", "L")]:
        for who, sides in (("ann", by_ann), ("bob", by_bob)):
            for turn, side in enumerate(sides):
                choice: Choice = "left" if side == "L" else "right"
                rows.append(row(next(number), who, key, choice, "repeat" if turn else "train"))
    golds: dict[str, Choice] = {f"g{n}": "left" for n in range(7)}
    wanted = exact(rows, golds)
    found = error_rates(rows, golds)
    assert found["ann"].mean == pytest.approx(wanted["ann"], abs=0.01)
    assert found["bob"].mean == pytest.approx(wanted["bob"], abs=0.02)
    assert wanted["bob"] > wanted["ann"] + 0.1
    assert found["ann"].evidence == 7 + 6
    assert found["bob"].evidence == 4 + 4


def test_golds_alone_give_the_conjugate_posterior() -> None:
    """With the error at eps / 2 and no wrong answer at all, the density is prior * (1 - eps / 2)^n."""
    rows = [row(n, "ann", f"g{n}", "right", "gold") for n in range(50)]
    rate = error_rates(rows, {f"g{n}": "right" for n in range(50)})["ann"]
    grid = np.linspace(0, 1, 20001)
    density = ((1 - ANYTHING) * beta_density(grid, PRIOR) + ANYTHING) * (1 - grid / 2) ** 50
    density /= density.sum()
    assert rate.mean == pytest.approx(density @ grid, abs=1e-3)
    inside = (grid >= rate.low) & (grid <= rate.high)
    assert 0.95 <= density[inside].sum() < 0.965
    assert rate.low == 0


def test_without_evidence_everyone_gets_the_prior() -> None:
    rows = [row(n, who, f"{who}{n}", "left") for n, who in enumerate(["ann", "bob", "ann"])]
    rates = error_rates(rows, {})
    assert set(rates) == {"ann", "bob"}
    for rate in rates.values():
        assert rate.mean == pytest.approx(0.9 * 0.1 + 0.1 * 0.5, abs=2e-3)
        assert rate.evidence == 0
    assert error_rates([], {}) == {}


def test_what_was_taken_back_or_is_no_answer_tells_nothing() -> None:
    rows = [row(1, "ann", "a", "left"), row(2, "ann", "b", "left")]
    silent = [
        row(3, "ann", "a", "right", "repeat", retracted=True),
        row(4, "ann", "a", "right", retracts=row(3, "ann", "a", "right").uuid),
        row(5, "ann", "b", "tie", "repeat"),
        row(6, "ann", "g", "cannot_tell", "gold"),
        row(7, "ann", "g", "skip", "gold"),
        row(8, "ann", "h", "left", "gold"),  # a gold that says tie
    ]
    assert error_rates(rows + silent, {"g": "left", "h": "tie"}) == error_rates(rows, {})


def test_the_same_rows_give_the_same_rates_in_any_order() -> None:
    rows, golds = simulate(np.random.default_rng(0), [0.1, 0.5, 0.2], 200)
    assert error_rates(rows, golds) == error_rates(rows, golds)
    for person, rate in error_rates(rows[::-1], golds).items():
        assert rate.mean == pytest.approx(error_rates(rows, golds)[person].mean, abs=0.01)


def test_someone_who_always_takes_the_left_of_the_screen_is_found_by_repeats() -> None:
    """Repeats swap the sides, so each contradicts the first answer: worse than a coin."""
    rows = []
    for n in range(10):
        rows.append(row(2 * n, "ann", f"k{n}", "left"))
        rows.append(row(2 * n + 1, "ann", f"k{n}", "right", "repeat", swapped=True))
    rows += [row(100 + n, "ann", f"g{n}", "left", "gold", swapped=False) for n in range(12)]
    golds: dict[str, Choice] = {f"g{n}": "left" if n % 2 else "right" for n in range(12)}
    assert error_rates(rows, golds)["ann"].mean > 0.6


def test_close_pairs_are_not_held_against_careful_people() -> None:
    """Two in three pairs are nearly a toss-up here, so everyone contradicts the others and himself."""
    rows, golds = simulate(np.random.default_rng(2), [0.0, 0.0, 0.0, 0.0], 700, logit=1.0)
    rates = error_rates(rows, golds)
    assert max(rate.mean for rate in rates.values()) < 0.12


@pytest.fixture(scope="module")
def found() -> dict[int, list[dict[str, ErrorRate]]]:
    """40 sessions of four people, of 200 and of 700 answers each."""
    rates: dict[int, list[dict[str, ErrorRate]]] = {}
    for answers in (200, 700):
        generator = np.random.default_rng(answers)
        sessions = (simulate(generator, TRUE, answers) for _ in range(40))
        rates[answers] = [error_rates(*session) for session in sessions]
    return rates


TRUE = [0.0, 0.1, 0.3, 0.6]


@pytest.mark.parametrize("answers", [200, 700])
@pytest.mark.parametrize(("person", "least"), [(0, 0.95), (1, 0.85), (2, 0.45), (3, 0.7)])
def test_known_error_rates_lie_in_their_intervals(
    found: dict[int, list[dict[str, ErrorRate]]], answers: int, person: int, least: float
) -> None:
    """Below 95 % for rates far above what the prior expects of people: few golds cannot outweigh it."""
    inside = [rates[f"p{person}"].low <= TRUE[person] <= rates[f"p{person}"].high for rates in found[answers]]
    assert np.mean(inside) >= least


def test_more_answers_tell_more(found: dict[int, list[dict[str, ErrorRate]]]) -> None:
    means = {
        answers: [np.mean([rates[f"p{person}"].mean for rates in found[answers]]) for person in range(4)]
        for answers in found
    }
    assert means[700] == sorted(means[700])
    assert means[700] == pytest.approx(TRUE, abs=0.1)
    assert abs(means[700][3] - 0.6) < abs(means[200][3] - 0.6)
    width = {n: np.mean([rates["p3"].high - rates["p3"].low for rates in found[n]]) for n in found}
    assert width[700] < width[200]


def test_intervals_hold_95_of_100_rates_when_people_are_as_the_prior_expects() -> None:
    generator = np.random.default_rng(5)
    inside = []
    for _ in range(40):
        anything = generator.random(4) < ANYTHING
        true = np.where(anything, generator.random(4), generator.beta(*PRIOR, 4))
        rates = error_rates(*simulate(generator, list(true), 200))
        inside += [rates[f"p{k}"].low <= true[k] <= rates[f"p{k}"].high for k in range(4)]
    spread = 3.3 * math.sqrt(0.95 * 0.05 / len(inside))  # 99.9 % of 160 draws
    assert abs(np.mean(inside) - 0.95) < spread
