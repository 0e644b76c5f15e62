"""PointNav through real Habitat-Lab, over our rooms: it is the plain world, step for step."""

import gzip
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.seeding import np_random

from envs.catalog import HABITAT, UnknownEnvironmentError, make, make_vec
from envs.habitat import HabitatEnv
from envs.habitat_batch import HabitatBatch
from envs.habitat_config import HabitatConfig, habitat_test_scenes
from envs.habitat_episodes import to_habitat, write_episodes
from envs.habitat_process import EpisodeFileError, HabitatMissingError, HabitatProcessError, habitat_python
from envs.pointnav import FORWARD, LEFT, RIGHT, STOP, PointNav, PointNavConfig
from envs.rover.worlds import SPLITS, TRIPS

try:
    PYTHON = str(habitat_python())
    WHY = ""
except HabitatMissingError as error:
    PYTHON, WHY = "", str(error)
needs_habitat = pytest.mark.skipif(bool(WHY), reason=WHY)

ROOMS = PointNavConfig(split="validation", indices=(0, 1), width=32, height=24, steps=120)
CONFIG = HabitatConfig(ROOMS, sensors=("gps", "compass"))
# Each process of Habitat's costs seconds to start: the tests share a few.


@pytest.fixture(scope="module")
def env() -> Iterator[HabitatEnv]:
    env = HabitatEnv(CONFIG, render_mode="rgb_array")
    yield env
    env.close()


@pytest.fixture(scope="module")
def plain() -> PointNav:
    nav = PointNav(ROOMS, 1, 0, threads=1)
    nav.reset()
    return nav


def same(seen: dict[str, Any], expected: dict[str, Any]) -> bool:
    return seen.keys() == expected.keys() and all(np.array_equal(seen[k], expected[k]) for k in seen)


@needs_habitat
@pytest.mark.parametrize("trip", [0, TRIPS + 3])
def test_the_shortest_way_succeeds_with_spl_1_and_all_is_as_in_the_plain_world(
    env: HabitatEnv, plain: PointNav, trip: int
) -> None:
    seen, info = env.reset(options={"episode": trip})
    plain.start(0, *divmod(trip, TRIPS))
    expected = plain.observe()
    start = plain.poses[0].copy()
    assert info["episode_id"] == f"validation-{trip // TRIPS}-{trip % TRIPS}"
    assert info["distance_to_goal"] == pytest.approx(plain.distance(0), abs=1e-5)
    ended = False
    while not ended:
        assert np.array_equal(seen["rgb"], expected["rgb"][0].transpose(1, 2, 0))
        depth = np.clip(plain.look(0)[1], 0, 10)[..., None] / 10
        if not ended:
            np.testing.assert_allclose(seen["depth"], depth, atol=1e-6)
        cosine, sine, far, _ = expected["goal"][0]
        np.testing.assert_allclose(
            seen["pointgoal_with_gps_compass"], (far, np.arctan2(sine, cosine)), atol=1e-4
        )
        x, y = plain.poses[0, :2] - start[:2]
        c, s = np.cos(start[2]), np.sin(start[2])
        np.testing.assert_allclose(seen["gps"], (c * x + s * y, s * x - c * y), atol=1e-4)
        action = env.expert()
        assert action == plain.expert(0)
        seen, reward, terminated, truncated, info = env.step(action)
        step = plain.step([action])
        expected = step.final_observations or step.observations
        assert reward == pytest.approx(step.rewards[0], abs=1e-4)
        assert (terminated, truncated) == (step.terminated[0], step.truncated[0])
        assert info["distance_to_goal"] == pytest.approx(step.infos["distance"][0], abs=1e-5)
        ended = terminated or truncated
    assert terminated
    assert info["success"] == info["spl"] == 1.0
    assert info["is_success"] is True
    assert info["collisions.count"] == 0
    assert np.array_equal(env.render(), seen["rgb"])
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        env.step(LEFT)


@needs_habitat
def test_walls_hold_stop_elsewhere_fails_and_time_truncates(env: HabitatEnv, plain: PointNav) -> None:
    env.reset(options={"episode": "validation-0-1"})
    plain.start(0, 0, 1)
    for k in range(ROOMS.steps):
        action = LEFT if k % 40 == 39 else FORWARD
        _, reward, terminated, truncated, info = env.step(action)
        step = plain.step([action])
        assert info["collisions.is_collision"] == step.infos["collision"][0]
        assert (terminated, truncated) == (False, k == ROOMS.steps - 1)
    assert info["collisions.count"] > 0
    assert info["is_success"] is False
    env.reset(options={"episode": 0})
    _, reward, terminated, _, info = env.step(STOP)
    assert terminated
    assert (info["success"], info["spl"]) == (0.0, 0.0)
    assert reward == pytest.approx(-ROOMS.slack)


@needs_habitat
def test_gymnasium_accepts_it_and_wrong_requests_are_refused(env: HabitatEnv) -> None:
    check_env(env, skip_render_check=True, skip_close_check=True)
    assert env.versions["habitat-lab"].startswith("0.3.")
    assert env.num_episodes == 2 * TRIPS
    env.reset(seed=1)
    with pytest.raises(ValueError, match=r"expected an action of Discrete\(4\), got 4"):
        env.step(4)
    for wrong in (99, -1, "nowhere"):
        with pytest.raises(LookupError, match=f"no episode {wrong!r}; the data set has 16"):
            env.reset(options={"episode": wrong})
    assert env.reset(seed=1)[1]["distance_to_goal"] > 0


@needs_habitat
def test_a_seed_decides_each_episode_comes_once_and_a_state_goes_on(env: HabitatEnv) -> None:
    names = [env.reset(seed=0 if k == 0 else None)[1]["episode_id"] for k in range(2 * TRIPS)]
    assert len(set(names)) == 2 * TRIPS
    env.reset(seed=0)
    for action in (FORWARD, LEFT, FORWARD):
        env.step(action)
    state = env.get_state()

    def go_on() -> list[Any]:
        result = [env.step(action) for action in (RIGHT, FORWARD, STOP)]
        return [*result, env.reset(), env.step(FORWARD)]

    expected = go_on()
    seen = env.set_state(state)
    assert seen.keys() == expected[0][0].keys()
    for now, then in zip(go_on(), expected, strict=True):
        assert same(now[0], then[0])
        assert now[1:] == then[1:]
    ended = env.get_state()
    env.reset(seed=5)
    env.set_state(ended)
    assert env.get_state()["over"] == ended["over"]


@needs_habitat
def test_a_batch_of_processes_is_single_environments_and_a_death_is_told() -> None:
    """As the catalog makes them."""
    batch, env = cast(HabitatBatch, make_vec("habitat:Rooms", 2, 6)), make("habitat:Rooms", seed=7)
    first = batch.reset()
    seen, _ = env.reset(seed=7)
    assert env.get_wrapper_attr("num_episodes") == len(SPLITS["train"]) * TRIPS
    assert same(seen, {name: value[1] for name, value in first.items()})
    state, rng = batch.get_state(), np.random.default_rng(0)
    taken = []
    for k in range(12):
        actions = np.array([LEFT, STOP if k == 6 else rng.integers(1, 4)])
        step = batch.step(actions)
        taken.append((actions, step))
        seen, reward, terminated, truncated, info = env.step(int(actions[1]))
        assert step.rewards[1] == np.float32(reward)
        assert (step.terminated[1], step.truncated[1]) == (terminated, truncated)
        assert step.infos["distance_to_goal"][1] == info["distance_to_goal"]
        if terminated:
            assert step.final_observations is not None
            assert same(seen, {name: value[1] for name, value in step.final_observations.items()})
            seen, _ = env.reset()
        assert same(seen, {name: value[1] for name, value in step.observations.items()})
    batch.set_state(state)
    for actions, step in taken:
        again = batch.step(actions)
        assert same(again.observations, step.observations)
        assert np.array_equal(again.rewards, step.rewards)
    with pytest.raises(ValueError, match="expected 2 actions"):
        batch.step(np.array([LEFT]))
    os.kill(batch.envs[1].process.number, signal.SIGKILL)
    with pytest.raises(HabitatProcessError, match="signal SIGKILL"):
        batch.step(np.array([LEFT, LEFT]))
    with pytest.raises(HabitatProcessError, match="was ended"):  # all of them: half a step was made
        batch.reset()
    batch.close()
    env.close()


@needs_habitat
def test_corrupt_files_of_episodes_are_named_and_hopeless_episodes_left_out(tmp_path: Path) -> None:
    """In one process of Habitat's Python, for its cost; the last one through the environment."""
    path = tmp_path / "good.json.gz"
    write_episodes(path, "validation", (0,))
    good = path.read_bytes()
    episode = json.loads(gzip.decompress(good))["episodes"][0]

    def packed(content: object) -> bytes:
        return gzip.compress(json.dumps(content).encode())

    def changed(**fields: object) -> bytes:
        return packed({"episodes": [{**episode, **fields}]})

    cases = {
        "cut": (good[: len(good) // 2], "no whole gzip file"),
        "plain": (b'{"episodes": []}', "no whole gzip file"),
        "flipped": (good[:60] + bytes(40) + good[100:], "no whole gzip file"),
        "prose": (gzip.compress(b"once upon a time"), "holds no JSON"),
        "other": (packed({"scenes": []}), "no PointNav-v1 data set (KeyError"),
        "list": (packed([1, 2]), "no PointNav-v1 data set"),
        "empty": (packed({"episodes": []}), "has no episodes"),
        "field": (changed(colour="red"), "no PointNav-v1 data set (TypeError"),
        "goalless": (changed(goals=[]), "episode 0 (validation-0-0): it has no goals"),
        "start": (changed(start_position=[1, 2]), "expected a start_position of 3 numbers, got [1, 2]"),
        "nan": (changed(start_position=[1, float("nan"), 2]), "expected a start_position of 3 numbers"),
        "turn": (changed(start_rotation=[0, 0, 0, 3]), "expected a start_rotation (x, y, z, w) of length 1"),
        "scene": (changed(scene_id="surefoot/indoor/moon/0"), "expected a scene_id such as"),
    }
    for name, (content, _) in cases.items():
        (tmp_path / f"{name}.json.gz").write_bytes(content)
    code = """
import sys, types
package = types.ModuleType("envs"); package.__path__ = [sys.argv[1]]; sys.modules["envs"] = package
from types import SimpleNamespace
from envs.habitat_lab import import_habitat, load_episodes
from envs.habitat_process import EpisodeFileError
import_habitat()
for path in sys.argv[2:]:
    try:
        load_episodes(SimpleNamespace(data_path=path, split="", scenes_dir="", content_scenes=["*"]), path)
        print("no error")
    except EpisodeFileError as error:
        print(str(error).replace(chr(10), " "))
"""
    folder = str(Path(write_episodes.__code__.co_filename).parent)
    files = [str(tmp_path / f"{name}.json.gz") for name in (*cases, "good")]
    ran = subprocess.run(
        [PYTHON, "-c", code, folder, *files], capture_output=True, text=True, timeout=600, check=True
    )
    *told, last = ran.stdout.splitlines()
    for name, line in zip(cases, told, strict=True):
        assert line.startswith(str(tmp_path / f"{name}.json.gz"))
        assert cases[name][1] in line
    assert last == "no error"
    goal = episode["goals"][0]["position"]
    inside = [
        {**episode, "start_position": to_habitat(0.0, 0.0)},
        {**episode, "start_position": goal, "episode_id": "here"},
        {**episode, "episode_id": "good"},
    ]
    path.write_bytes(packed({"episodes": inside}))
    env = HabitatEnv(HabitatConfig(replace(ROOMS, stop=False), episodes=str(path)))
    with pytest.raises(
        EpisodeFileError, match=r"validation-0-0: there is no room at its start \(0\.00, 0\.00\)"
    ):
        env.reset(options={"episode": 0})
    with pytest.raises(EpisodeFileError, match="here has no way to its goal, or begins there"):
        env.reset(options={"episode": 1})
    seed = next(k for k in range(100) if list(np_random(k)[0].permutation(3)) == [1, 2, 0])
    assert env.reset(seed=seed)[1]["episode_id"] == "good"  # the one without a way is left out
    assert env.unsolvable == {1}
    # And without an action to stop, being there is enough.
    assert env.action_space == Discrete(3, start=FORWARD)
    terminated = False
    while not terminated:
        _, _, terminated, truncated, info = env.step(env.expert())
        assert not truncated
    assert info["success"] == info["spl"] == 1.0
    env.close()


@pytest.fixture
def scenes() -> HabitatConfig:
    """Habitat's own test scenes; skips where they or habitat-sim are not."""
    if WHY:
        pytest.skip(WHY)
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('habitat_sim') is None)"
    if subprocess.run([PYTHON, "-c", code], timeout=600, check=False).returncode:
        pytest.skip(f"{PYTHON} has no habitat_sim: it must be built, PyPI has none")
    try:
        return habitat_test_scenes()
    except FileNotFoundError as error:
        pytest.skip(f"{error}: SUREFOOT_HABITAT_DATA names its folder")


def test_habitat_sims_own_scenes_are_driven_by_its_own_follower(scenes: HabitatConfig) -> None:
    env = HabitatEnv(scenes)
    first = env.reset(seed=3)
    ended = False
    while not ended:
        _, _, terminated, truncated, info = env.step(env.expert())
        ended = terminated or truncated
    assert info["success"] == 1.0
    assert info["spl"] > 0.85
    again = env.reset(seed=3)
    assert same(again[0], first[0])
    assert again[1] == first[1]
    env.close()


def test_the_catalog_knows_it_and_says_what_it_has_not() -> None:
    assert HABITAT == ("habitat:Rooms", "habitat:Scenes")
    with pytest.raises(UnknownEnvironmentError, match="did you mean habitat:Rooms"):
        make("habitat:rooms")
    with pytest.raises(ValueError, match="no preference variant"):
        make("habitat:Rooms", preferences=True)
    with pytest.raises(ValueError, match="only processes of its own"):
        make_vec("habitat:Rooms", 2, 0, backend="sync")
    with pytest.raises(ValueError, match="at least one copy"):
        make_vec("habitat:Rooms", 0, 0)
