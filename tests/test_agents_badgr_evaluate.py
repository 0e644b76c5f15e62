"""Comparing drivers on the same trips: what is counted, how sure it is, and what a kill leaves behind."""

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from agents.badgr.agent import DriveConfig
from agents.badgr.evaluate import EvaluationConfig, cell_name, evaluate_driving
from agents.badgr.export import export_model
from agents.badgr.intervals import difference_of_means, paired, ratio_of_means, wilson
from agents.badgr.model_file import write_model
from agents.badgr.planner import PlannerConfig
from agents.badgr.reward import Preferences
from agents.badgr.scores import compared, method_scores, score_table
from agents.badgr.spec import ModelSpec, SpecError
from agents.badgr.trial_file import TrialFile, read_rows, tracks, trial_rows
from agents.badgr.trials import Trial, drive_trials, trip_of
from agents.badgr.trip import Halt
from agents.run_lock import RunError
from envs.rover.camera import Lens
from envs.rover.rovers import RoverConfig
from surefoot import main

calm_network = runpy.run_path(str(Path(__file__).with_name("badgr_calm.py")))["calm_network"]
WORLD = RoverConfig("urban", "test", (0, 1), lens=Lens(8, 6, 1.7, 1.7, False))


class Told:
    """Does the same always, and keeps what it saw first."""

    def __init__(self, action: tuple[float, float], halt: Halt | None = None) -> None:
        self.action, self.halt = np.array(action, np.float32), halt
        self.seen: list[dict[str, Any]] = []

    def reset(self) -> None:
        self.seen = []

    def act(self, observation: Any) -> np.ndarray:
        self.seen.append(observation)
        return self.action


def trial(number: int, outcome: str = "reached", **changed: Any) -> Trial:
    shown = Trial(
        number=number, world=number % 3, trip=0, outcome="reached", words="", seconds=30.0, path=25.0,
        shortest=20.0, roughness=0.2, smooth=0.8, closest=1.9, act_ms=(5.0, 9.0), track=np.zeros((3, 2)),
    )  # fmt: skip
    return replace(shown, outcome=outcome, **changed)


def test_intervals_of_rates_are_wilsons() -> None:
    """Values of Newcombe 1998, table I (method 3), and of solving the score equation."""
    for successes, trials, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
    assert wilson(29, 29) == pytest.approx((0.8830, 1), abs=1e-4)
    for successes, trials in ((1, 0), (3, 2), (-1, 4)):
        with pytest.raises(ValueError, match="expected 0 <= successes <= trials"):
            wilson(successes, trials)


def test_paired_intervals_use_the_pairs() -> None:
    """Two methods that differ by little on trips that differ by much; and nine in ten intervals hold."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(1, 10, 80)
    left, right = 0.9 * hard, hard + 0.05 * rng.standard_normal(80)
    value, low, high = paired(left, right, ratio_of_means)
    assert low < value < high
    assert (value, low, high) == pytest.approx((0.9, 0.9, 0.9), abs=0.01)
    assert paired(left, right, ratio_of_means) == (value, low, high)
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        _, low, high = paired(rng.normal(1, 1, 40), rng.normal(0, 1, 40), difference_of_means)
        held += low < 1 < high
    assert held >= 50
    gap = np.array([1.0, np.nan, 3.0])
    assert paired(gap, np.ones(3), difference_of_means)[0] == 1.0
    assert np.isnan(paired(np.zeros(0), np.zeros(0), ratio_of_means)).all()
    with pytest.raises(ValueError, match="two lists of one length"):
        paired(np.zeros(3), np.zeros(4), ratio_of_means)


def test_scores_count_what_happened() -> None:
    rows = [trial_row_of(trial(0)), trial_row_of(trial(1, "collision", path=5.0, roughness=0.4))]
    rows += [trial_row_of(trial(2, "refused", path=0.0)), trial_row_of(trial(3, path=40.0, seconds=50.0))]
    scores = method_scores(rows)
    assert scores["success"][0] == 0.5
    assert scores["counts"]["collision"] == scores["counts"]["refused"] == 1
    assert scores["seconds"] == 40.0
    assert scores["spl"] == pytest.approx((0.8 + 0.5) / 4)
    assert scores["roughness"] == pytest.approx(0.25)
    assert scores["failures_per_km"] == pytest.approx(2 / 0.07)
    assert "| ours | 4 | 50 (15 to 85) | 25 | 0 | 25 | 0 " in score_table({"ours": scores})
    with pytest.raises(ValueError, match="no trials to count"):
        method_scores([])
    others = [trial_row_of(trial(k, roughness=0.4)) for k in (0, 1, 3, 9)]
    against = compared(rows, others)
    assert (against["trips"], against["both_reached"]) == (3, 2)
    assert against["roughness_ratio"][0] == pytest.approx(0.5)
    assert against["success_difference"][0] == pytest.approx(-1 / 3)
    assert compared(rows, [])["roughness_ratio"] is None


def trial_row_of(one: Trial) -> dict[str, Any]:
    from agents.badgr.trial_file import trial_row

    return json.loads(json.dumps(trial_row(one)))


def test_claims_are_met_or_missed_by_their_marks() -> None:
    claims = runpy.run_path(str(Path(__file__).parent / "benchmarks" / "badgr_claims.py"))

    def trials(reached: int, otherwise: str = "collision", **shown: float) -> list[dict[str, Any]]:
        ends = ["reached"] * reached + [otherwise] * (100 - reached)
        return [trial_row_of(trial(k, end, world=k % 20, **shown)) for k, end in enumerate(ends)]

    smooth, rough = {"roughness": 0.1, "smooth": 0.9}, {"roughness": 0.3, "smooth": 0.4}
    ours = [trials(97, **smooth), trials(96, **smooth)]
    first, second = claims["urban"](ours, trials(97, **rough), trials(30))
    assert (first.met, second.met) == (True, True)
    assert "33 % (33 to 33) of geometric's; smooth 90 % against 40 %" in second.measured
    assert first.line().endswith("| met |")
    first, second = claims["urban"](ours, trials(100, **smooth), trials(41))
    assert (first.met, second.met) == (False, False)
    assert first.line().endswith("| MISSED |")

    weights = {w: trials(90, roughness=0.3 - 0.1 * w) for w in (0, 0.125, 0.25, 0.5, 1)}
    assert claims["knob"](weights, trials(95, **rough)).met
    weights[1] = trials(90, roughness=0.31)
    assert not claims["knob"](weights, trials(95, **rough)).met, "it must fall with the weight"

    first, second = claims["offroad"]([trials(93, "timeout")], trials(40, "refused"), trials(35, "stuck"))
    assert (first.met, second.met) == (True, True)
    first, second = claims["offroad"]([trials(91)], trials(70, "timeout"), trials(35))
    assert (first.met, second.met) == (False, False)

    fine = {0.5: trials(60), 3.0: trials(92)}
    assert claims["improvement"](trials(8), fine, trials(60)).met
    assert not claims["improvement"](trials(8), fine, trials(70)).met
    assert claims["generalisation"](trials(100), trials(86)).met
    assert not claims["generalisation"](trials(100), trials(84)).met
    assert claims["data_budget"]({"urban": 34.0, "off-road": 8.0}, 600_000, fine).met
    assert not claims["data_budget"]({"urban": 34.0, "off-road": 9.0}, 600_000, fine).met
    assert claims["latency"]({1024: (0.01, 0.09), 4096: (0.05, 0.2)}).met
    assert not claims["latency"]({1024: (0.01, 0.11), 4096: (0.05, 0.2)}).met


def test_a_torn_line_is_cut_off_and_what_is_whole_stays(tmp_path: Path) -> None:
    with TrialFile(tmp_path) as file:
        for number in (0, 1):
            file.add("cell", {"method": "x"}, trial(number, track=np.full((2, 2), number / 3)))
        with pytest.raises(RunError, match="in use by process"):
            TrialFile(tmp_path)
    with (tmp_path / "trials.jsonl").open("ab") as stream:
        stream.write(b'{"cell": "cell", "numb')
    with TrialFile(tmp_path) as file:
        assert file.done("cell") == {0, 1}
        assert file.done("other") == set()
        file.add("cell", {"method": "x"}, trial(2))
    assert [row["number"] for row in trial_rows(tmp_path, "cell")] == [0, 1, 2]
    assert [row["settings"] for row in read_rows(tmp_path / "trials.jsonl") if "settings" in row] == [
        {"method": "x"}
    ]
    np.testing.assert_allclose(tracks(tmp_path, "cell")[1], 0.33)
    (tmp_path / "trials.jsonl").write_text("one, two\n")
    with pytest.raises(ValueError, match="line 1, is no trial"):
        read_rows(tmp_path / "trials.jsonl")


def test_a_trip_is_the_same_whoever_drives_beside_it() -> None:
    """Alone, or on the third seat of a batch whose other rovers come and go."""
    turning = lambda rovers, i, number: Told((0.2 * number - 0.3, 0.8))  # noqa: E731
    options = {"seed": 5, "seconds": 3.0}
    together = {one.number: one for one in drive_trials(WORLD, range(5), turning, rovers=3, **options)}
    assert sorted(together) == [0, 1, 2, 3, 4]
    for number in (1, 4):
        (alone,) = drive_trials(WORLD, [number], turning, rovers=1, **options)
        assert (alone.world, alone.trip) == trip_of(number, WORLD)
        np.testing.assert_array_equal(alone.track, together[number].track)
        assert alone.outcome == together[number].outcome
        assert alone.roughness == pytest.approx(together[number].roughness, rel=1e-12)  # sums in other orders


def test_all_methods_meet_the_same_faults_of_the_sensors() -> None:
    seen = []
    for action in ((0.0, 0.3), (1.0, 0.8)):
        agents: list[Told] = []

        def make(rovers: Any, i: int, number: int, action=action, agents=agents) -> Told:
            agents.append(Told(action))
            return agents[-1]

        assert len(list(drive_trials(WORLD, [3, 0], make, seed=5, rovers=1, seconds=1.0))) == 2
        seen.append([agent.seen[0] for agent in agents])
    for one, other in zip(*seen, strict=True):
        for name in ("gps", "compass", "lidar", "goal"):
            np.testing.assert_array_equal(one[name], other[name])
    assert not np.array_equal(seen[0][0]["gps"], seen[0][1]["gps"])


@pytest.mark.parametrize(
    ("agent", "outcome", "seconds"),
    [
        (Told((0, 0)), "refused", 20.0),
        (Told((0, 0), Halt("arrived", "there")), "missed", 0.25),
        (Told((0, 0), Halt("refused", "no")), "refused", 0.25),
        (Told((0, 0), Halt("blind", "no image")), "timeout", 2.0),
        (Told((0, 0.8)), "collision", None),
    ],
)
def test_each_end_has_its_name(agent: Told, outcome: str, seconds: float | None) -> None:
    longest = seconds if outcome == "timeout" else 40.0
    (one,) = drive_trials(WORLD, [3], lambda *_: agent, seed=0, seconds=longest)
    assert one.outcome == outcome
    assert one.words == (agent.halt.words if agent.halt else "")
    if seconds is not None:
        assert one.seconds == seconds
    assert one.spl == 0.0
    assert one.shortest > 10
    assert one.track.shape == (round(one.seconds * 4) + 1, 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "predictor.model"
    write_model(path, export_model(calm_network(ModelSpec())))
    return path


def test_an_evaluation_goes_on_where_it_was_stopped(model: Path, tmp_path: Path) -> None:
    config = EvaluationConfig(
        episodes=1, methods=("badgr", "straight"), model=str(model), seconds=1.0,
        drive=DriveConfig(PlannerConfig(candidates=16)),
    )  # fmt: skip
    evaluate_driving(config, tmp_path, quiet=True)
    first = (tmp_path / "trials.jsonl").read_bytes()
    summary = evaluate_driving(replace(config, episodes=2), tmp_path, quiet=True)
    assert (tmp_path / "trials.jsonl").read_bytes().startswith(first)
    assert summary["methods"]["badgr"]["trials"] == summary["methods"]["straight"]["trials"] == 2
    rows = [row for row in read_rows(tmp_path / "trials.jsonl") if "number" in row]
    assert len(rows) == 4
    assert json.loads((tmp_path / "summary.json").read_text())["badgr_against"]["straight"]["trips"] == 2
    again = evaluate_driving(replace(config, episodes=2), tmp_path, quiet=True)
    assert again == summary
    with Image.open(tmp_path / "ways.png") as picture:
        assert min(picture.size) > 300


def test_whatever_changes_the_trials_changes_their_cell(model: Path, tmp_path: Path) -> None:
    config = EvaluationConfig(model=str(model))
    other = tmp_path / "other.model"
    torch.manual_seed(1)
    write_model(other, export_model(calm_network(ModelSpec())))
    copy = tmp_path / "copy.model"
    copy.write_bytes(model.read_bytes())
    changed = [
        replace(config, world="off-road"), replace(config, split="train"), replace(config, seed=1),
        replace(config, swap_colours=True), replace(config, seconds=10.0), replace(config, model=str(other)),
        replace(config, preferences=Preferences(goal=1.0)), replace(config, drive=DriveConfig(patience=5.0)),
    ]  # fmt: skip
    names = {cell_name(one.settings("badgr")) for one in (config, *changed)}
    assert len(names) == 1 + len(changed)
    same = replace(config, episodes=3, model=str(copy))
    assert cell_name(same.settings("badgr")) == cell_name(config.settings("badgr"))
    lidar = cell_name(config.settings("lidar"))
    assert lidar == cell_name(replace(config, model=str(other)).settings("lidar"))


def test_the_command_evaluates_a_model_and_prints_json(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(model), "--episodes", "1", "--methods", "badgr", "random", "--out"]
    main([*words, str(tmp_path), "--set", "seconds=0.5", "--set", "drive.planner.candidates=8"])
    *table, last = capsys.readouterr().out.splitlines()
    assert any(line.startswith("| badgr | 1 |") for line in table)
    assert json.loads(last)["methods"]["random"]["trials"] == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EvaluationConfig(), "the method badgr needs a trained model"),
        (lambda: EvaluationConfig(world="moon", model="m"), "the worlds are urban, off-road, got 'moon'"),
        (lambda: EvaluationConfig(methods=("magic",)), "the methods are badgr, straight.* got magic"),
        (lambda: EvaluationConfig(episodes=0, model="m"), "at least one episode, got 0"),
        (lambda: EvaluationConfig(seconds=0, model="m"), "seconds must be above 0"),
    ],
)
def test_evaluations_that_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_model_of_another_camera_is_refused_before_anything_is_driven(tmp_path: Path) -> None:
    path = tmp_path / "small.model"
    write_model(path, export_model(calm_network(ModelSpec(image=(24, 32, 3)))))
    config = EvaluationConfig(episodes=1, methods=("badgr",), model=str(path))
    with pytest.raises(SpecError, match=r"expects images \(24, 32, 3\), got \(96, 128, 3\)"):
        evaluate_driving(config, tmp_path / "out", quiet=True)
    (tmp_path / "torn.model").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SystemExit, match="is not a whole model file"):
        main(["evaluate", str(tmp_path / "torn.model")])
