"""What every Robot must do, for the simulated rover and for one behind ROS 2 topics alike.

The second is three processes over real DDS: the simulated world, the guard, and this one as the driver.
"""

import runpy
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.dataset import EpisodeDataset
from envs.recording import rollout
from envs.robot_env import Robot, RobotEnv
from envs.rover.robot import SimulatedRover
from envs.rover.rovers import RoverConfig
from robot.config import RobotConfig

HELP = runpy.run_path(str(Path(__file__).with_name("robot_ros.py")))
Program, surefoot, PATIENCE = HELP["Program"], HELP["surefoot"], HELP["PATIENCE"]
STEADY = {"camera.width": 128, "camera.height": 96, **HELP["LAX"]}

Make = Callable[[], Robot]


def simulated() -> Robot:
    robot = SimulatedRover(RoverConfig(indices=(0,)), 0)
    robot.rovers.restart(trips=np.array([[0, 0]]))
    return robot


@pytest.fixture(scope="module")
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    if request.param == "simulated":
        yield simulated
        return
    pytest.importorskip("rclpy", reason="needs ROS 2: pip install 'surefoot[ros]' on Linux x86_64")
    from robot.bridge import RosRobot
    from robot.operator import arm

    folder = tmp_path_factory.mktemp("contract")
    config = str(HELP["write_config"](folder / "robot.yaml", STEADY))
    with ExitStack() as open_:
        env = open_.enter_context(HELP["in_domain"](HELP["own_domain"](), folder))
        for name, words in (("sim", ["--trip", "0"]), ("guard", [])):
            command = surefoot("robot", name, "--config", config, *words)
            open_.enter_context(Program(command, env, folder / f"{name}.log"))
        robot = RosRobot(RobotConfig.from_mapping(STEADY), start_seconds=2 * PATIENCE)
        open_.callback(robot.close)
        robot.observe()

        def armed() -> Robot:
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    arm()
                    return robot
                except RuntimeError:  # the guard's ears may still be opening
                    assert time.monotonic() < end, robot.guard
                    time.sleep(0.2)

        yield armed


pytestmark = pytest.mark.parametrize("make", ["simulated", "ros"], indirect=True)


def turned_left(seen: Any, before: Any) -> float:
    return float(seen["odometry"][2] - before["odometry"][2])


def test_it_keeps_the_protocol_and_its_own_bounds(make: Make) -> None:
    robot = make()
    assert isinstance(robot, Robot)
    assert set(robot.units) == {"action", *robot.observation_space.spaces}
    seen = robot.observe()
    assert list(seen) == list(robot.observation_space.spaces) or set(seen) == set(robot.observation_space)
    for name, space in robot.observation_space.spaces.items():
        assert seen[name].shape == space.shape
        assert seen[name].dtype == space.dtype
        assert np.isfinite(seen[name]).all()
        assert space.contains(seen[name]), name
    assert robot.action_space.contains(np.array([0.0, 0.5], np.float32))
    assert robot.dt == 0.25


def test_observations_are_the_callers_own(make: Make) -> None:
    robot = make()
    seen = robot.observe()
    for value in seen.values():
        value[...] = 0
    assert any(value.any() for value in robot.observe().values())


def acted(robot: Any, turn: float, speed: float, until: Callable[[Any], bool]) -> Any:
    """What it observes once that is so, in at most 60 actions: beside other work topics are slow."""
    for _ in range(60):
        robot.act(np.array([turn, speed], np.float32))
        seen = robot.observe()
        if until(seen):
            return seen
    raise AssertionError(f"60 actions of {turn} rad/s and {speed} m/s did not do: {seen['odometry']}")


def test_it_drives_forward_turns_left_and_stops(make: Make) -> None:
    robot = make()
    before = robot.observe()
    ahead = acted(robot, 0.0, 0.5, lambda seen: seen["odometry"][0] - before["odometry"][0] > 0.2)
    assert ahead["odometry"][0] - before["odometry"][0] < 1.2
    assert abs(ahead["odometry"][1] - before["odometry"][1]) < 0.3
    assert ahead["odometry_velocity"][0] > 0.2
    turned = acted(robot, 1.0, 0.0, lambda seen: turned_left(seen, ahead) > 0.3)
    assert turned["imu_angular_velocity"][:, 2].mean() > 0.2
    assert turned["imu_linear_acceleration"][:, 2].mean() == pytest.approx(9.8, abs=1.5)
    for _ in range(2):
        robot.stop()
    acted(robot, 0.0, 0.0, lambda seen: np.abs(seen["odometry_velocity"]).max() < 0.05)


def test_actions_last_dt(make: Make) -> None:
    robot = make()
    robot.act(np.zeros(2, np.float32))
    began = time.monotonic()
    for _ in range(4):
        robot.act(np.zeros(2, np.float32))
    took = time.monotonic() - began
    if isinstance(robot, SimulatedRover):
        assert took < 10.0  # its time is the simulation's
    else:
        assert 0.4 < took < 10.0  # a second, but for what a busy machine adds


def test_what_is_seen_changes_with_the_place(make: Make) -> None:
    robot = make()
    before = robot.observe()
    for _ in range(5):
        robot.act(np.array([0.8, 0.0], np.float32))
    after = robot.observe()
    assert (before["image"] != after["image"]).mean() > 0.1
    assert np.abs(before["lidar"] - after["lidar"]).max() > 0.1
    towards = robot.observe()["goal"] - after["gps"]
    assert 5 < np.linalg.norm(towards) < 60


def test_a_trip_is_recorded_like_any_robots(make: Make, tmp_path: Path) -> None:
    class Straight:
        def reset(self) -> None: ...

        def act(self, observation: object) -> np.ndarray:
            return np.array([0.0, 0.4], np.float32)

    env = RobotEnv(make(), episode_seconds=1.5)
    (episode,) = rollout(env, Straight(), 1, seed=3)
    assert len(episode) == 6
    assert episode.observations["image"].shape == (7, 96, 128, 3)
    with EpisodeDataset(tmp_path / "drives", observation_space=env.observation_space) as dataset:
        kept = dataset[dataset.append(episode)]
        np.testing.assert_array_equal(kept.observations["gps"], episode.observations["gps"])


def test_an_action_that_is_no_number_stops_it(make: Make) -> None:
    env = RobotEnv(make())
    env.reset(seed=0)
    env.step(np.array([0.0, 0.4], np.float32))
    with pytest.raises(ValueError, match="not finite"):
        env.step(np.array([np.nan, 0.4], np.float32))
    for _ in range(4):
        env.robot.act(np.zeros(2, np.float32))
    assert abs(env.robot.observe()["odometry_velocity"][0]) < 0.05
