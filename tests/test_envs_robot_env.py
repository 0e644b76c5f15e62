import math
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from envs.robot_env import Observation, Robot, RobotEnv

Array = NDArray[Any]


class UnicycleRobot:
    """A point that drives without inertia: the smallest body that keeps the protocol."""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            {
                "pose": spaces.Box(-100.0, 100.0, (3,), np.float32),
                "speed": spaces.Box(-0.5, 2.0, (1,), np.float32),
            }
        )
        self.action_space = spaces.Box(
            np.array([-0.5, -1.5], np.float32), np.array([2.0, 1.5], np.float32), dtype=np.float32
        )
        self.units = {"action": "m/s, rad/s", "pose": "m, m, rad", "speed": "m/s"}
        self.dt = 0.25
        self.place(0.0)

    def place(self, x: float) -> None:
        self.pose = np.array([x, 0.0, 0.0])
        self.speed, self.stops = 0.0, 0

    def observe(self) -> Observation:
        return {"pose": self.pose.astype(np.float32), "speed": np.array([self.speed], np.float32)}

    def act(self, action: Array) -> None:
        self.speed = float(action[0])
        heading = self.pose[2]
        way = np.array([math.cos(heading), math.sin(heading)]) * self.speed * self.dt
        self.pose = np.array([*(self.pose[:2] + way), heading + float(action[1]) * self.dt])

    def stop(self) -> None:
        self.speed = 0.0
        self.stops += 1


class SilentCamera(UnicycleRobot):
    """Its sensor falls silent while it drives."""

    def observe(self) -> Observation:
        if self.speed > 0:
            raise TimeoutError("camera: no frame for 0.30 s")
        return super().observe()


class WrongSize(UnicycleRobot):
    def observe(self) -> Observation:
        return {**super().observe(), "pose": np.zeros(2, np.float32)}


class BrokenSensor(UnicycleRobot):
    def observe(self) -> Observation:
        return {**super().observe(), "speed": np.array([math.nan], np.float32)}


class LosesASensor(UnicycleRobot):
    def observe(self) -> Observation:
        return {"pose": super().observe()["pose"]}


def test_it_passes_gymnasiums_own_checks() -> None:
    robot = UnicycleRobot()
    env = RobotEnv(robot, prepare=lambda random: robot.place(random.uniform(-1, 1)))
    # Physical units on purpose: the one piece of its advice that is not taken.
    with pytest.warns(UserWarning, match="symmetric and normalized"):
        check_env(env, skip_render_check=True)


def test_the_toy_keeps_the_protocol() -> None:
    assert isinstance(UnicycleRobot(), Robot)


def test_units_are_metres_and_seconds() -> None:
    env = RobotEnv(UnicycleRobot())
    assert env.metadata["units"]["action"] == "m/s, rad/s"
    env.reset(seed=0)
    observation, _, _, _, info = env.step(np.array([1.0, 0.0], np.float32))
    assert observation["pose"][0] == pytest.approx(0.25)  # 1 m/s for 0.25 s
    assert info["time"] == 0.25


def test_prepare_gets_the_seeded_generator() -> None:
    robot = UnicycleRobot()
    env = RobotEnv(robot, prepare=lambda random: robot.place(random.uniform(-1, 1)))
    places = [float(env.reset(seed=seed)[0]["pose"][0]) for seed in (3, 4, 3)]
    assert places[0] == places[2] != places[1]


def test_actions_are_clipped_and_told_as_executed() -> None:
    env = RobotEnv(UnicycleRobot())
    env.reset(seed=0)
    info = env.step(np.array([9.0, -9.0], np.float32))[4]
    np.testing.assert_array_equal(info["executed_action"], np.array([2.0, -1.5], np.float32))


def test_reward_sees_before_action_and_after() -> None:
    env = RobotEnv(
        UnicycleRobot(),
        reward=lambda before, action, after: float(after["pose"][0] - before["pose"][0]) + float(action[1]),
    )
    env.reset(seed=0)
    assert env.step(np.array([1.0, 0.5], np.float32))[1] == pytest.approx(0.75)


def test_the_episode_ends_in_time_and_the_robot_stands() -> None:
    robot = UnicycleRobot()
    env = RobotEnv(robot, episode_seconds=1.0)
    env.reset(seed=0)
    ends = [env.step(np.array([1.0, 0.0], np.float32))[2:4] for _ in range(4)]
    assert ends == [(False, False)] * 3 + [(False, True)]
    assert robot.speed == 0.0
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.array([1.0, 0.0], np.float32))


def test_failure_terminates_and_the_robot_stands() -> None:
    robot = UnicycleRobot()
    env = RobotEnv(robot, has_failed=lambda seen: bool(seen["pose"][0] > 0.3))
    env.reset(seed=0)
    assert env.step(np.array([1.0, 0.0], np.float32))[2] is False
    assert env.step(np.array([1.0, 0.0], np.float32))[2] is True
    assert robot.speed == 0.0


@pytest.mark.parametrize(
    ("robot", "error", "message"),
    [
        (SilentCamera(), TimeoutError, "camera: no frame"),
        (WrongSize(), ValueError, r"gives pose \(2,\) float32, its space says \(3,\) float32"),
        (BrokenSensor(), ValueError, "gives speed with NaN"),
        (LosesASensor(), ValueError, r"gives \['pose'\], its space says \['pose', 'speed'\]"),
    ],
)
def test_a_failing_robot_is_stopped_before_the_error(
    robot: UnicycleRobot, error: type[Exception], message: str
) -> None:
    env = RobotEnv(robot)
    with pytest.raises(error, match=message):  # noqa: PT012  (the silent camera only fails under way)
        env.reset(seed=0)
        env.step(np.array([1.0, 0.0], np.float32))
    assert robot.speed == 0.0
    assert robot.stops >= 2


@pytest.mark.parametrize(
    ("action", "message"),
    [(np.array([math.nan, 0.0]), "not finite"), (np.array([1.0]), r"shape \(1,\), the robot takes \(2,\)")],
)
def test_a_bad_action_stops_the_robot(action: Array, message: str) -> None:
    robot = UnicycleRobot()
    env = RobotEnv(robot)
    env.reset(seed=0)
    env.step(np.array([1.0, 0.0], np.float32))
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert robot.speed == 0.0


def test_ctrl_c_under_way_stops_the_robot() -> None:
    def interrupted(before: Observation, action: Array, after: Observation) -> float:
        raise KeyboardInterrupt

    robot = UnicycleRobot()
    env = RobotEnv(robot, reward=interrupted)
    env.reset(seed=0)
    with pytest.raises(KeyboardInterrupt):
        env.step(np.array([1.0, 0.0], np.float32))
    assert robot.speed == 0.0


def test_a_robot_without_units_or_time_is_refused() -> None:
    robot = UnicycleRobot()
    with pytest.raises(ValueError, match=r"episode of 0\.1 s has no room for one action of 0\.25 s"):
        RobotEnv(robot, episode_seconds=0.1)
    robot.units = {"action": "m/s"}
    with pytest.raises(ValueError, match="no units for pose, speed"):
        RobotEnv(robot)


def test_close_stops_the_robot() -> None:
    robot = UnicycleRobot()
    robot.act(np.array([1.0, 0.0]))
    RobotEnv(robot).close()
    assert robot.speed == 0.0
