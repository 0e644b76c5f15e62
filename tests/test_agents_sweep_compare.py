"""Comparing runs: intervals that know how few seeds there are, one length for all, the same bytes again."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import trim_mean

from agents.sweep.compare import CompareError, charts, find_runs, measure_of, methods, table
from agents.sweep.compare_files import compare
from agents.sweep.statistics import band, interval, iqm


def write_run(path: Path, labels: int = 140, seed: int = 0, final: float = -210.0) -> Path:
    """A finished run, as far as a comparison reads it: its return rises from -1200 to `final`."""
    path.mkdir()
    rng = np.random.default_rng(seed)
    config = {"env": "classic:Pendulum", "labels": labels, "seed": seed, "learner": {"algorithm": "ppo"}}
    summary = {"env": config["env"], "steps": 120_000, "final_return": final, "score": (final + 1200) / 1065}
    rows = [
        {"step": step, "true_return": -1200 + (final + 1200) * step / 120_000 + rng.normal()}
        for step in range(0, 120_001, 12_000)
    ]
    (path / "config.json").write_text(json.dumps(config))
    (path / "summary.json").write_text(json.dumps({**summary, "held_out_accuracy": 0.93}))
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def mean(runs: np.ndarray) -> np.ndarray:
    return runs.mean(axis=-1)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Four seeds with 140 labels, one with 70."""
    return [
        write_run(tmp_path / f"{labels}-{seed}", labels=labels, seed=seed, final=final)
        for labels, seed, final in (
            (140, 0, -210.0), (140, 1, -310.0), (140, 2, -190.0), (140, 3, -900.0), (70, 0, -400.0)
        )
    ]  # fmt: skip


def test_the_iqm_is_the_mean_of_the_middle_half() -> None:
    assert iqm(np.array([1.0, 2.0, 4.0, 100.0])) == 3.0
    assert iqm(np.array([1.0, 2.0, 9.0])) == 4.0  # too few to leave one out
    values = np.random.default_rng(0).normal(size=(5, 23))
    assert iqm(values) == pytest.approx(trim_mean(values, 0.25, axis=1))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    held = [
        low <= 0 <= high
        for low, high in (interval([rng.normal(size=20)], mean, seed)[1:] for seed in range(200))
    ]
    assert 0.88 <= np.mean(held) <= 0.98


def test_each_task_keeps_its_weight_in_an_interval() -> None:
    # Two tasks, apart by 100, without spread of their own: drawn together the interval would be wide.
    assert interval([[0.0] * 5, [100.0] * 5], mean) == (50.0, 50.0, 50.0)
    value, low, high = interval([[1.0, 2.0]])
    assert value == 1.5
    assert math.isnan(low)
    assert math.isnan(high)
    with pytest.raises(ValueError, match="there is no run"):
        interval([[]])


def test_a_band_holds_the_middle_of_its_curves() -> None:
    curves = np.random.default_rng(0).normal(size=(8, 5)) + np.arange(5)
    middle, low, high = band(curves)
    assert middle == pytest.approx([iqm(column) for column in curves.T])
    assert (low < middle).all()
    assert (middle < high).all()


def test_runs_that_differ_by_seed_are_one_row(runs: list[Path]) -> None:
    found = methods(runs)
    rows = table(found, measure_of(found))
    assert [row[1:4] for row in rows[1:]] == [["140 labels", "4", "120,000"], ["70 labels", "1", "120,000"]]
    assert rows[1][4].startswith("-260.0 (")  # the IQM leaves -900 and -190 out
    assert rows[1][5] == "-900.0 to -190.0"
    assert rows[2][4:7] == ["-400.0", "-400.0 to -400.0", "0.751"]


def test_every_seed_has_a_line_and_each_method_a_band(runs: list[Path]) -> None:
    found = methods(runs)
    (chart,) = charts(found, measure_of(found))
    assert [line.label for line in chart.lines] == ["_seed"] * 4 + [
        "140 labels, 4 seeds",
        "70 labels, 1 seed",
    ]
    assert len(chart.lines[4].low) == len(chart.lines[4].x)
    assert not chart.lines[5].low


def test_pictures_and_pages_are_the_same_bytes_again(runs: list[Path], tmp_path: Path) -> None:
    for suffix in (".svg", ".png", ".html"):
        out = tmp_path / f"comparison{suffix}"
        said = compare(runs, out)
        assert "| 140 labels | 4 | 120,000 | -260.0 (" in said
        first = out.read_bytes()
        assert len(first) > 5000
        compare(runs, out)
        assert out.read_bytes() == first
    page = (tmp_path / "comparison.html").read_text()
    assert ">140 labels</td>" in page
    assert "_seed" not in page
    with pytest.raises(ValueError, match=r"is written as \.svg, \.png, \.pdf, \.html, got"):
        compare(runs, tmp_path / "x.txt")


def test_tasks_with_scores_are_told_together(runs: list[Path], tmp_path: Path) -> None:
    for path in runs[:3]:
        other = write_run(tmp_path / f"other-{path.name}", seed=int(path.name[-1]), final=-300.0)
        _change(other, "config.json", env="classic:Other")
        _change(other, "summary.json", env="classic:Other", score=0.5)
        runs.append(other)
    rows = table(methods(runs), measure_of(methods(runs)))
    assert rows[-1][:3] == ["all 2 tasks", "140 labels", "7"]
    assert [row[0] for row in rows[1:]] == ["classic:Pendulum"] * 2 + ["classic:Other", "all 2 tasks"]


def test_runs_of_other_lengths_are_refused_unless_a_step_is_named(runs: list[Path], tmp_path: Path) -> None:
    _change(runs[0], "summary.json", steps=60_000)
    with pytest.raises(CompareError, match=r"different numbers of steps .*such as --until 60000"):
        methods(runs)
    found = methods(runs, until=60_000)
    at = table(found, measure_of(found), 60_000)
    assert "at step 60,000" in at[0][4]
    with pytest.raises(CompareError, match="has no true_return up to step 130,000"):
        compare(runs, tmp_path / "x.svg", until=130_000)


def test_what_cannot_be_compared_is_said(runs: list[Path], tmp_path: Path) -> None:
    twice = write_run(tmp_path / "twice", seed=0)
    with pytest.raises(CompareError, match="have the same settings and seed: leave one out"):
        methods([*runs, twice])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    nothing = methods([tmp_path / "empty"])
    with pytest.raises(CompareError, match="none of the runs has a curve of true_return"):
        charts(nothing, measure_of(nothing))
    driver = tmp_path / "driver"
    driver.mkdir()
    (driver / "config.json").write_text(json.dumps({"data": ["a/urban"], "spec": {"horizon": 8}}))
    with pytest.raises(CompareError, match="nothing in common"):
        measure_of(methods([*runs, driver]))
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_text("{}")
    with pytest.raises(CompareError, match="has no finished trial yet"):
        find_runs([sweep])


def _change(run: Path, name: str, **values: object) -> None:
    file = run / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
