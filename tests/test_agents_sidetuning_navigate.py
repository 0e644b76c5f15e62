"""A navigator imitates, resumes bit for bit, leaves the base as it was, ends with a robot's file."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.sidetuning.base import fingerprint
from agents.sidetuning.base_config import BaseNetwork
from agents.sidetuning.config import SideError
from agents.sidetuning.demos import gather_demos
from agents.sidetuning.frozen import FrozenBase
from agents.sidetuning.imitate import Imitation
from agents.sidetuning.job import evaluate, is_sidetuning, with_steps
from agents.sidetuning.model import SideModel
from agents.sidetuning.navigate import MODEL, SIDE, decider, load_navigator, train_navigator
from agents.sidetuning.navigate_evaluate import evaluate_navigator
from agents.sidetuning.navigation_config import NAVIGATORS, NavigationConfig, PpoConfig
from agents.sidetuning.navigator import make_policy, prepared, side_model
from agents.sidetuning.policy_agent import SideTunedAgent
from agents.sidetuning.reinforce import Reinforcement
from agents.sidetuning.report import write_report
from agents.sidetuning.sb3_export import export_sb3
from agents.sidetuning.visual_base import Readouts, VisualBase, load_base, save_base
from envs.batch import Array
from envs.pointnav import FORWARD, STOP, PointNav, PointNavConfig

ROOMS = PointNavConfig("train", (0, 1), 16, 16, trail=True, steps=60)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    network = BaseNetwork(16, 16, (8, 8, 8), 8)
    path = tmp_path_factory.mktemp("bases") / "base"
    save_base(VisualBase(network), Readouts(8, ("depth",)), path, {"measured": {}})
    return str(path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of demonstrations that all runs here share."""
    return tmp_path_factory.mktemp("demos")


def config(base: str, **changes: Any) -> NavigationConfig:
    small: dict[str, Any] = {"demos": 3, "holdout": 0.3, "updates": 12, "batch_size": 16, "episodes": 2}
    small |= {"steps": 40, "hidden": 16, "evaluations": 3, "checkpoints": 4, "log_rows": 4}
    small |= {"ppo": PpoConfig(steps=96, environments=2, rollout=16, epochs=1, batch_size=16)}
    return NavigationConfig(base=base, **{**small, **changes})


def config_of(path: Path) -> NavigationConfig:
    return load_navigator(path)[0]


def run(config: NavigationConfig, path: Path, kept: Path, **options: Any) -> dict[str, Any]:
    return train_navigator(config, path, quiet=True, tensorboard=False, demos=kept, **options)


@pytest.fixture(scope="module")
def trained(base: str, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    path = tmp_path_factory.mktemp("runs") / "side"
    return run(config(base, method="side"), path, kept), path


def killed_at(kind: Any, step: int, patch: pytest.MonkeyPatch) -> None:
    original = kind.train

    def train(job: Any, now: int) -> Any:
        if now == step:
            raise KeyboardInterrupt
        return original(job, now)

    patch.setattr(kind, "train", train)


# -- demonstrations ---------------------------------------------------------------------------------


def test_more_demonstrations_begin_with_the_fewer_and_a_file_gives_them_back(tmp_path: Path) -> None:
    few = gather_demos(ROOMS, 2, folder=tmp_path)
    more = gather_demos(ROOMS, 3, folder=tmp_path)
    fresh = gather_demos(ROOMS, 3)
    assert len(more.actions) == len(fresh.actions) > len(few.actions)
    assert np.array_equal(more.sensors["rgb"], fresh.sensors["rgb"])
    assert np.array_equal(more.first(2).actions, few.actions)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    learnt, unseen = more.split(0.3)
    assert set(learnt.ways) | set(unseen.ways) == {0, 1, 2}
    assert not set(learnt.ways) & set(unseen.ways)
    next(tmp_path.glob("*.safetensors")).write_bytes(b"cut short")
    assert np.array_equal(gather_demos(ROOMS, 2, folder=tmp_path).actions, few.actions)
    with pytest.raises(ValueError, match="the worlds have 16 trips, 17 demonstrations"):
        gather_demos(ROOMS, 17)


def test_the_expert_says_when_to_stop_and_noise_is_not_in_what_it_says() -> None:
    demos = gather_demos(replace(ROOMS, steps=500), 2, noise=0.0)
    for way in (0, 1):
        actions = demos.actions[demos.ways == way]
        assert actions[-1] == STOP
        assert STOP not in actions[:-1]
    goals = demos.sensors["goal"][demos.actions == STOP]
    assert (goals[:, 2] < 0.6).all()


# -- scores -----------------------------------------------------------------------------------------


def test_who_stops_at_once_never_arrives_and_who_turns_takes_all_the_time() -> None:
    def always(action: int) -> Any:
        def decide(observations: Mapping[str, Array]) -> Array:
            return np.tile(np.eye(4)[action], (len(observations["goal"]), 1))

        return decide

    scores = evaluate_navigator(always(0), ROOMS, 5).summary()
    assert (scores["success"], scores["spl"], scores["length"], scores["collisions"]) == (0, 0, 1, 0)
    assert scores["distance"] > 3
    assert evaluate_navigator(always(2), ROOMS, 3).summary()["length"] == ROOMS.steps
    assert evaluate_navigator(always(1), ROOMS, 3).summary()["collisions"] > 0
    with pytest.raises(ValueError, match="train has 16 trips, 17 episodes"):
        evaluate_navigator(always(0), ROOMS, 17)


def test_a_trip_is_the_same_however_many_are_played() -> None:
    def decide(observations: Mapping[str, Array]) -> Array:
        return np.tile((0.02, 0.6, 0.2, 0.18), (len(observations["goal"]), 1))

    few, many = evaluate_navigator(decide, ROOMS, 2), evaluate_navigator(decide, ROOMS, 12)
    assert np.array_equal(few.lengths, many.lengths[:2])
    assert np.array_equal(few.distance, many.distance[:2])


# -- imitation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", NAVIGATORS)
def test_every_method_learns_by_imitation_and_leaves_the_base_as_it_was(method: str, base: str) -> None:
    network = load_base(base)
    before = fingerprint(network)
    demos = gather_demos(ROOMS, 2)
    settings = config(base, method=method, updates=25, learning_rate=5e-3, batch_size=32)
    nav = PointNav(ROOMS, 1)
    job = Imitation(settings, FrozenBase(network), nav.observation_space, nav.action_space, demos)
    losses = [job.train(step)["train/loss"] for step in range(25)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert fingerprint(network) == before
    found = job.evaluate(25)
    assert np.isfinite(found["holdout/loss"])
    # What was baked is what the base gives when it is run.
    given, _ = job.unseen
    sensors = {name: x for name, x in given.items() if not name.startswith("base/")}
    with torch.no_grad():
        baked, run_again = (job.policy.features_extractor(x) for x in (given, sensors))
    assert torch.allclose(baked, run_again, atol=1e-5)


def test_a_zero_side_begins_as_the_base(base: str) -> None:
    network = load_base(base)
    nav = PointNav(ROOMS, 1)
    job = Imitation(
        config(base, method="side-zero"),
        FrozenBase(network), nav.observation_space, nav.action_space, gather_demos(ROOMS, 2),
    )  # fmt: skip
    images = prepared({"rgb": nav.reset(0)["rgb"]})["rgb"]
    with torch.no_grad():
        assert torch.equal(side_model(job.policy).encode({"rgb": images}), network(images))


def test_a_run_is_all_that_a_run_should_be(trained: tuple[dict[str, Any], Path], base: str) -> None:
    summary, path = trained
    assert is_sidetuning(path)
    assert json.loads((path / "summary.json").read_text())["test"] == summary["test"]
    assert set(summary["test"]) >= {"success", "spl", "collisions", "episodes"}
    assert summary["base_sha256"] == fingerprint(load_base(base))
    assert 0 < summary["side_alpha"] < 1
    assert summary["side_norm_ratio"] > 0
    assert summary["onnx_difference"] < 1e-4
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row] == [3, 6, 9, 12]
    assert [row["step"] for row in rows if "holdout/loss" in row] == [4, 8, 12]
    assert evaluate(path, 2, seed=0) == summary["test"]


def test_the_report_shows_curves_alpha_and_the_ways_of_test_trips(
    trained: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    summary, path = trained
    text = write_report(path).read_text(encoding="utf-8")
    assert f"On {summary['test']['episodes']} trips in layouts that nobody trained on" in text
    assert "Line chart: Alpha: the base&#x27;s share. alpha: from" in text
    assert text.count("<figcaption>layout ") == 2
    shown = json.loads((path / "trips.json").read_text())
    scores = evaluate_navigator(decider(load_navigator(path)[1]), config_of(path).rooms("test", 16, 16), 2)
    assert [len(one["track"]) for one in shown] == scores.lengths.tolist()
    assert [(one["world"], one["trip"]) for one in shown] == list(scores.trips)
    # Of a run that goes on, and with a file that is damaged, it says what is missing.
    for name in ("config.json", "run.json", "metrics.jsonl"):
        shutil.copy(path / name, tmp_path)
    (tmp_path / "trips.json").write_text("[{")
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Not finished: 12 updates are done" in text
    assert "the ways of test trips are written at the end of the run" in text.lower()
    assert "surefoot resume" in text


def test_the_robots_file_decides_as_the_policy(trained: tuple[dict[str, Any], Path]) -> None:
    _, path = trained
    settings, policy = load_navigator(path)
    nav = PointNav(settings.rooms("test", 16, 16), 4, 0)
    observations = nav.reset()
    likeliest = decider(policy)(observations).argmax(1)
    agent = SideTunedAgent(path / MODEL, providers=("CPUExecutionProvider",))
    seen = [{name: x[i] for name, x in observations.items()} for i in range(4)]
    assert [agent.act(one) for one in seen] == likeliest.tolist()
    model = SideModel.from_pretrained(load_base(settings.base), path / SIDE)
    images = prepared(observations)["rgb"]
    with torch.no_grad():
        assert torch.equal(model({"rgb": images}), side_model(policy)({"rgb": images}))


def test_a_resumed_run_is_the_run_that_was_never_interrupted(
    trained: tuple[dict[str, Any], Path],
    base: str,
    kept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    summary, whole = trained
    settings = config(base, method="side")
    with monkeypatch.context() as patch:
        killed_at(Imitation, 8, patch)  # the newest checkpoint is at 6
        with pytest.raises(KeyboardInterrupt):
            run(settings, tmp_path / "run", kept)
    again = run(settings, tmp_path / "run", kept, resume=True)
    assert again["test"] == summary["test"]
    for name in ("metrics.jsonl", "policy.safetensors", "checkpoints/step_000000012/state.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes(), name
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    run(settings, tmp_path / "run", kept, resume=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_a_blind_policy_can_be_exported_for_any_batch(base: str) -> None:
    nav = PointNav(ROOMS, 3)
    policy = make_policy(
        nav.observation_space, nav.action_space, FrozenBase(load_base(base)), NAVIGATORS["blind"], 16, 1e-3
    )
    _, difference = export_sb3({"blind": policy}, nav.reset(0))
    assert difference < 1e-5


# -- reinforcement ----------------------------------------------------------------------------------


def test_ppo_trains_beside_the_base_and_resumes_bit_for_bit(
    base: str, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(base, method="side-zero", how="ppo", checkpoints=3)
    summary = run(settings, tmp_path / "whole", kept)
    assert summary["how"] == "ppo"
    assert summary["base_sha256"] == fingerprint(load_base(base))
    with monkeypatch.context() as patch:
        killed_at(Reinforcement, 2, patch)  # of three, with a checkpoint after each
        with pytest.raises(KeyboardInterrupt):
            run(settings, tmp_path / "resumed", kept)
    run(settings, tmp_path / "resumed", kept, resume=True)
    for name in ("metrics.jsonl", "policy.safetensors"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize("how", ["bc", "ppo"])
def test_where_episodes_end_at_the_goal_by_themselves_there_is_no_action_to_stop(
    how: Any, base: str, kept: Path, tmp_path: Path
) -> None:
    run(config(base, method="features", how=how, stop=False), tmp_path / "run", kept)
    settings, policy = load_navigator(tmp_path / "run")
    nav = PointNav(settings.rooms("test", 16, 16), 3, 0)
    observations = nav.reset()
    likeliest = decider(policy)(observations).argmax(1)
    agent = SideTunedAgent(tmp_path / "run" / MODEL, providers=("CPUExecutionProvider",))
    acted = [agent.act({name: x[i] for name, x in observations.items()}) for i in range(3)]
    assert acted == (likeliest + FORWARD).tolist()
    turning = evaluate_navigator(lambda seen: np.tile((0, 1, 0), (len(seen["goal"]), 1)), nav.config, 2)
    assert turning.summary()["length"] == settings.steps
    with pytest.raises(SideError, match="has another policy"):
        run(
            config(base, method="features", how="ppo", start_from=str(tmp_path / "run")), tmp_path / "b", kept
        )


# -- what does not serve ------------------------------------------------------------------------------


def test_another_base_in_the_folder_is_refused(
    trained: tuple[dict[str, Any], Path], base: str, kept: Path, tmp_path: Path
) -> None:
    _, path = trained
    other = tmp_path / "other"
    torch.manual_seed(9)
    save_base(VisualBase(BaseNetwork(16, 16, (8, 8, 8), 8)), Readouts(8, ("depth",)), other, {})
    with pytest.raises(SideError, match=r"is not the one that .* began with"):
        run(config(str(other), method="side"), path, kept, resume=True)
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in ("config.json", "run.json"):
        (begun / name).write_bytes((path / name).read_bytes())
    with pytest.raises(SideError, match="is not done yet: go on with"):
        load_navigator(begun)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"world": "moon"}, "there is no world 'moon': choose from plain"),
        ({"method": "magic"}, "there is no method 'magic': choose from blind"),
        ({"demos": 1}, "demos >= 2"),
        ({"updates": 0}, "updates, batch_size, hidden"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SideError, match=message):
        NavigationConfig(base="x", **wrong)


def test_a_length_is_of_updates_or_of_the_environments_steps() -> None:
    assert with_steps(NavigationConfig("x"), 7).updates == 7
    assert with_steps(NavigationConfig("x", how="ppo"), 7).ppo.steps == 7
