"""Optuna's part of a sweep: asking and telling, ending what is hopeless, going on after a kill."""

import runpy
from pathlib import Path

import pytest

from agents.sweep.search import Search, mean_curve, metric
from agents.sweep.spec import Range, SearchConfig
from agents.sweep.task import TaskError
from agents.sweep.trials import Trial

pytest.importorskip("optuna", reason="Optuna is not installed: surefoot[sweep]")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
postgres = runpy.run_path(str(Path(__file__).with_name("postgres.py")))

SEEDS = [Trial("train rl", "a:B", seed) for seed in (0, 1)]


def config(trials: int = 12, **more: object) -> SearchConfig:
    parameters = {"x": Range(-4.0, 4.0), "n": Range(1, 8), "kind": Range(choices=("good", "bad"))}
    return SearchConfig(parameters, trials=trials, metric="measured.value", **more)  # type: ignore[arg-type]


def summary(trial: Trial) -> dict[str, object]:
    """Best at x = 1, n = 8, kind good; the seeds differ by a constant."""
    x, n = trial.values["x"], trial.values["n"]
    value = -((x - 1) ** 2) + n - 10 * (trial.values["kind"] == "bad") + trial.seed
    return {"measured": {"value": value}}


def run(search: Search, most: int = 1000) -> list[Trial]:
    ran = []
    for trial in search.ask():
        ran.append(trial)
        if len(ran) > most:
            break  # as a driver that is killed: nothing is told of this one
        search.tell(trial, summary(trial))
    return ran


def test_a_search_finds_better_values_and_counts_by_the_mean_of_the_seeds(tmp_path: Path) -> None:
    search = Search(config(30), SEEDS, tmp_path)
    ran = run(search)
    assert len(ran) == 60
    assert all(isinstance(trial.values["n"], int) for trial in ran)
    best = search.best()
    assert best is not None
    assert best["values"]["kind"] == "good"
    values = [summary(trial)["measured"]["value"] for trial in ran]  # type: ignore[index]
    assert best["measured.value"] == max((a + b) / 2 for a, b in zip(values[::2], values[1::2], strict=True))
    assert best["measured.value"] > 5


def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = run(Search(config(), SEEDS, tmp_path))
    other = tmp_path / "killed" / tmp_path.name  # a study is named by its folder
    other.mkdir(parents=True)
    first = run(Search(config(), SEEDS, other), most=7)
    second = run(Search(config(), SEEDS, other))
    # The attempt under way begins with its first seed, whose result the trial's folder holds.
    assert first[:6] + second == whole
    assert run(Search(config(), SEEDS, other)) == []


def test_a_failed_seed_fails_its_attempt_alone(tmp_path: Path) -> None:
    search = Search(config(3), SEEDS, tmp_path)
    for number, trial in enumerate(search.ask()):
        search.tell(trial, None if number == 0 else summary(trial))
    assert search.states() == {"complete": 2, "fail": 1}


def test_hopeless_attempts_are_ended_by_their_curves(tmp_path: Path) -> None:
    search = Search(config(4, watch="true_return", startup=2), SEEDS[:1], tmp_path)
    ended = []
    for number, trial in enumerate(search.ask()):
        slope = 1.0 if number < 3 else -1.0
        rows = [{"step": step, "true_return": slope * step} for step in range(0, 50, 10)]
        ended += search.watch({trial.key: rows})
        if trial not in ended:
            search.tell(trial, summary(trial))
    assert len(ended) == 1
    assert search.states() == {"complete": 3, "pruned": 1}


@pytest.mark.skipif(not postgres["BINARIES"], reason=postgres["MISSING"])
def test_a_search_in_postgresql_and_words_when_it_is_gone(tmp_path: Path) -> None:
    with postgres["cluster"]() as server:
        url = server.new_database()
        first = Search(config(4, storage=url), SEEDS, tmp_path)
        assert len(run(first)) == 8
        first.close()
        second = Search(config(4, storage=url), SEEDS, tmp_path)
        assert second.states() == {"complete": 4}
        second.close()
    with pytest.raises(TaskError, match="Optuna's storage cannot be used: "):
        Search(config(4, storage=url), SEEDS, tmp_path)


def test_a_mean_curve_ends_where_the_shortest_does() -> None:
    curves = [([0.0, 10.0, 20.0], [0.0, 1.0, 2.0]), ([0.0, 10.0], [2.0, 5.0])]
    assert mean_curve(curves) == [(0.0, 1.0), (10.0, 3.0)]
    assert metric({"a": {"b": 2}}, "a.b") == 2.0
    assert metric({"a": None}, "a.b") is None
