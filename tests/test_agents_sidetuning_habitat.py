"""A navigator learns and is measured in Habitat-Lab, where all is as in the plain world."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from agents.runs import read_config
from agents.sidetuning.base_config import BaseNetwork
from agents.sidetuning.config import SideError
from agents.sidetuning.frozen import FrozenBase
from agents.sidetuning.job import evaluate
from agents.sidetuning.navigate import train_navigator
from agents.sidetuning.navigate_evaluate import evaluate_navigator
from agents.sidetuning.navigation_config import NavigationConfig, PpoConfig
from agents.sidetuning.reinforce import Reinforcement
from agents.sidetuning.visual_base import Readouts, VisualBase, load_base, save_base
from envs.batch import Array
from envs.habitat_nav import HabitatNav
from envs.habitat_process import VARIABLE, HabitatMissingError, HabitatProcessError, habitat_python
from envs.pointnav import RIGHT, PointNav, PointNavConfig
from envs.pointnav_rooms import WORLDS
from surefoot import main

try:
    habitat_python()
    WHY = ""
except HabitatMissingError as error:
    WHY = str(error)
needs_habitat = pytest.mark.skipif(bool(WHY), reason=WHY)

ROOMS = PointNavConfig("validation", (1, 0), 24, 16, shift=WORLDS["negative"], trail=True, steps=120)
"""without grain: both show the same pictures. The worlds are not in order"""
# Each process of Habitat's costs seconds to start: the tests have few.


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bases") / "base"
    save_base(VisualBase(BaseNetwork(16, 16, (8, 8, 8), 8)), Readouts(8, ("depth",)), path, {"measured": {}})
    return str(path)


def config(base: str, **changes: Any) -> NavigationConfig:
    """A run by PPO of two updates."""
    small: dict[str, Any] = {"world": "wide", "how": "ppo", "episodes": 2, "steps": 30, "hidden": 16}
    small |= {"ppo": PpoConfig(steps=32, environments=1, rollout=16, epochs=1, batch_size=16)}
    return NavigationConfig(base=base, **{**small, **changes})


@pytest.fixture(scope="module")
def plain_run(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "plain"
    train_navigator(config(base), path, quiet=True, tensorboard=False)
    return path


@pytest.fixture
def no_habitat(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(VARIABLE, "nowhere/python")
    return f"{VARIABLE} is nowhere/python, which is no program: `make habitat`"


def close_to(seen: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert list(seen) == list(expected)
    assert np.array_equal(seen["rgb"], expected["rgb"])
    np.testing.assert_allclose(seen["goal"], expected["goal"], atol=1e-4)
    np.testing.assert_array_equal(seen["trail"], expected["trail"])
    assert all(seen[name].dtype == expected[name].dtype for name in expected)


def towards_the_goal(seen: Mapping[str, Array]) -> Array:
    """(N, 4) chances: mostly to turn to it and to go, and to stop beside it."""
    cosine, sine, far, _ = seen["goal"].T.astype(float)
    turn = 2 - 3 * cosine
    wishes = np.stack([20 * (0.45 - far), 3 * cosine, turn + 4 * sine, turn - 4 * sine], 1)
    odds: Array = np.exp(np.clip(wishes, -8, 8))
    chances: Array = odds / odds.sum(1, keepdims=True)
    return chances


# -- the same world ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nav() -> Iterator[HabitatNav]:
    nav = HabitatNav(ROOMS, 2, 0)
    yield nav
    nav.close()


@needs_habitat
def test_the_same_actions_show_reward_and_end_as_in_the_plain_world(nav: HabitatNav) -> None:
    plain = PointNav(ROOMS, 2, 0, threads=1)
    assert nav.observation_space == plain.observation_space
    assert nav.action_space == plain.action_space
    rng = np.random.default_rng(0)
    seen = nav.reset()
    for i in range(2):
        plain.start(i, *nav.trips[i].tolist())
    close_to(seen, plain.observe())
    outcomes: list[tuple[int, bool, float]] = []
    for _ in range(150):
        # One goes about, the other to the goal.
        actions = [int(rng.choice(4, p=(0, 0.7, 0.2, 0.1))), plain.expert(1)]
        before = nav.trips.copy()
        step, same = nav.step(actions), plain.step(actions)
        np.testing.assert_allclose(step.rewards, same.rewards, atol=1e-4)
        assert np.array_equal(step.terminated, same.terminated)
        assert np.array_equal(step.truncated, same.truncated)
        for name in ("success", "collision"):
            assert np.array_equal(step.infos[name], same.infos[name])
        for name in ("spl", "distance"):
            np.testing.assert_allclose(step.infos[name], same.infos[name], atol=1e-4)
        ended = np.flatnonzero(step.terminated | step.truncated).tolist()
        assert (step.final_observations is None) == (not ended)
        if step.final_observations is not None and same.final_observations is not None:
            close_to(step.final_observations, same.final_observations)
        for i in ended:
            outcomes.append((i, bool(step.truncated[i]), round(float(step.infos["spl"][i]), 4)))
            assert nav.trips[i].tolist() != before[i].tolist()
            plain.start(i, *nav.trips[i].tolist())
        close_to(step.observations, plain.observe())
        np.testing.assert_allclose(nav.poses[:, :2], plain.poses[:, :2], atol=1e-4)
        np.testing.assert_allclose(np.cos(nav.poses[:, 2] - plain.poses[:, 2]), 1, atol=1e-6)
    assert (1, False, 1.0) in outcomes
    assert (0, True, 0.0) in outcomes


@needs_habitat
def test_a_state_goes_on_bit_for_bit_and_an_error_ends_all_processes(nav: HabitatNav) -> None:
    nav.start(0, 1, 5)
    nav.start(1, 0, 2)
    assert nav.trips.tolist() == [[1, 5], [0, 2]]
    nav.step([1, 3])
    state, moves = nav.get_state(), [(1, 2), (0, 1), (3, 1), (2, 0), (1, 1)]
    first = [nav.step(move) for move in moves]
    nav.set_state(state)
    for step, move in zip(first, moves, strict=True):
        again = nav.step(move)
        assert all(np.array_equal(again.observations[name], x) for name, x in step.observations.items())
        assert np.array_equal(again.rewards, step.rewards)
    with pytest.raises(LookupError, match="no episode 'validation-7-0'"):
        nav.start(0, 7, 0)
    with pytest.raises(HabitatProcessError, match="was ended"):
        nav.step([RIGHT, RIGHT])


@needs_habitat
def test_the_same_trips_have_the_same_scores_in_habitat() -> None:
    rooms = replace(ROOMS, indices=(0, 1))
    plain = evaluate_navigator(towards_the_goal, rooms, 5, watched=1)
    habitat = evaluate_navigator(towards_the_goal, rooms, 5, watched=1, simulator="habitat")
    assert set(plain.success) == {True, False}
    assert habitat.trips == plain.trips
    for name in ("success", "lengths", "collisions"):
        assert np.array_equal(getattr(habitat, name), getattr(plain, name))
    np.testing.assert_allclose(habitat.spl, plain.spl, atol=1e-5)
    np.testing.assert_allclose(habitat.distance, plain.distance, atol=1e-4)
    np.testing.assert_allclose(habitat.tracks[0], plain.tracks[0], atol=1e-4)


# -- training ---------------------------------------------------------------------------------------


@needs_habitat
def test_ppo_in_habitat_goes_on_bit_for_bit_where_cameras_have_grain(base: str, tmp_path: Path) -> None:
    settings = config(base, world="strange", simulator="habitat")
    job = Reinforcement(settings, FrozenBase(load_base(base)), settings.rooms("train", 16, 16))
    try:
        job.train(0)
        save_checkpoint(tmp_path, 1, job.state())
        metrics = job.train(1)
        weights = {name: x.clone() for name, x in job.policy.state_dict().items()}
        newest = latest_checkpoint(tmp_path)
        assert newest is not None
        job.load(load_checkpoint(newest))
        assert job.train(1) == metrics
        assert all(torch.equal(x, weights[name]) for name, x in job.policy.state_dict().items())
    finally:
        job.close()


@needs_habitat
def test_a_run_in_habitat_is_measured_there_as_in_the_plain_world(base: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    summary = train_navigator(config(base, simulator="habitat"), path, quiet=True, tensorboard=False)
    assert summary["simulator"] == "habitat"
    assert evaluate(path, 2, 0, simulator="plain") == pytest.approx(summary["test"], abs=1e-4)
    assert len(json.loads((path / "trips.json").read_text())) == 2


# -- what does not serve ----------------------------------------------------------------------------


def test_where_habitat_is_missing_one_line_says_how_to_set_it_up(
    plain_run: Path, base: str, no_habitat: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    train = ["train", "sidetuning", "--base", base, "--run", str(folder), "--set", "simulator=habitat"]
    for words in (["evaluate", str(plain_run), "--simulator", "habitat", "--episodes", "1"], train):
        with pytest.raises(SystemExit) as told:
            main(words)
        assert str(told.value).startswith(f"surefoot: {no_habitat}")
        assert "\n" not in str(told.value)
    assert not folder.exists()  # the same command works once Habitat is there


def test_only_a_navigator_has_a_choice_of_simulators(base: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"kind": "PretrainConfig"}')
    for run in (str(tmp_path), "baselines", str(tmp_path / "nothing")):
        with pytest.raises(SystemExit, match=r"--simulator habitat is for navigators, .* is none"):
            main(["evaluate", run, "--simulator", "habitat"])
    with pytest.raises(SideError, match="evaluate it without --simulator"):
        evaluate(tmp_path, 1, 0, simulator="plain")


def test_a_run_from_before_there_was_a_choice_is_of_the_plain_world(
    plain_run: Path, tmp_path: Path, no_habitat: str
) -> None:
    content = json.loads((plain_run / "config.json").read_text())
    assert content.pop("simulator") == "plain"
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert read_config(tmp_path, NavigationConfig) == read_config(plain_run, NavigationConfig)
    test = json.loads((plain_run / "summary.json").read_text())["test"]
    assert evaluate(plain_run, 2, 0) == pytest.approx(test, abs=1e-6)
