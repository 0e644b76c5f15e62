"""The guard's decisions with an injected clock: no ROS, no waiting."""

import math
from dataclasses import replace

import numpy as np
import pytest

from robot.config import Body, RobotConfig
from robot.gate import Gate, Stream
from robot.messages import ImuReading, MessageError, OdometryReading
from robot.obstacles import clearances, echoes
from robot.safety import STOP, Command

CONFIG = RobotConfig()
PERIOD = 1 / CONFIG.rates.guard
WALL = 1.79e9
"""the wall clock is ahead of the steady one by this"""


class Robot:
    """A gate that hears sound messages of every stream until some are silent."""

    def __init__(self, config: RobotConfig = CONFIG) -> None:
        self.gate, self.now, self.jump = Gate(config), 100.0, 0.0
        self.silent: set[str] = set()
        self.frozen: set[str] = set()
        self.pose = np.zeros(3)
        self.speed = 0.0

    def tick(self, seconds: float = PERIOD) -> Command:
        self.now += seconds
        wall = WALL + self.now + self.jump
        gate = self.gate
        for name, stream in gate.streams.items():
            if name not in self.silent:
                stamp = stream.stamp if name in self.frozen else wall - 0.01
                stream.hear(stamp, self.now, wall)
        gate.hear_imu(ImuReading(np.zeros(3), np.zeros(3), (0.0, 0.0, 0.0)), "imu/data")
        gate.hear_odometry(OdometryReading(self.pose, self.speed, 0.0, 0.0, 0.0))
        self.decision = gate.decide(self.now, wall)
        return self.decision.command


@pytest.fixture
def driving() -> Robot:
    """Armed, at 0.5 m/s, five metres from a wall."""
    robot = Robot()
    robot.gate.ahead = robot.gate.behind = 5.0
    robot.gate.wish = Command(0.5, 0.1)
    robot.tick()
    assert robot.gate.arm(robot.now) is None
    for _ in range(20):
        robot.tick()
    assert robot.decision.command == Command(0.5, 0.1)
    return robot


def test_it_begins_disarmed_and_says_what_is_missing() -> None:
    gate = Gate(CONFIG)
    assert gate.decide(0.0, WALL).command == STOP
    assert gate.decide(0.05, WALL + 0.05).reason == "not armed yet"
    assert gate.arm(0.05) == "planner: nothing has come yet"
    assert not gate.armed


def test_arming_starts_at_the_allowed_acceleration() -> None:
    robot = Robot()
    robot.gate.ahead = robot.gate.behind = 9.0
    robot.gate.wish = Command(2.0, 0.0)
    assert robot.tick() == STOP
    assert robot.gate.arm(robot.now) is None
    gained = [robot.tick().speed for _ in range(10)]
    assert np.diff([0.0, *gained]) == pytest.approx(CONFIG.limits.acceleration * PERIOD)


@pytest.mark.parametrize("name", ["planner", "camera", "imu", "odometry", "lidar", "link"])
@pytest.mark.parametrize("how", ["silent", "frozen"])
def test_silence_and_a_repeated_message_stop_alike_and_stay_stopped(
    driving: Robot, name: str, how: str
) -> None:
    getattr(driving, how).add(name)
    stopped_after = 0.0
    while driving.tick(0.01) != STOP:
        stopped_after += 0.01
        assert stopped_after < 2.0
    timeout = getattr(CONFIG.timeouts, name)
    assert stopped_after == pytest.approx(timeout, abs=0.025)
    assert str(driving.decision.reason).startswith(f"{name}: the newest message is")
    why = driving.decision.reason
    driving.silent.clear()
    driving.frozen.clear()
    for _ in range(10):  # it comes back: that alone does not set the robot going
        assert driving.tick() == STOP
    assert driving.decision.reason == why
    assert driving.gate.arm(driving.now) is None
    assert driving.tick().speed > 0


def test_the_stop_is_zero_at_once_and_no_ramp(driving: Robot) -> None:
    driving.gate.estop = True
    assert driving.tick() == STOP
    assert "emergency" in str(driving.decision.reason)
    driving.gate.estop = False
    assert driving.tick() == STOP
    assert driving.gate.arm(driving.now) is None


def test_the_next_decision_is_due_when_a_stream_becomes_stale(driving: Robot) -> None:
    gate, now = driving.gate, driving.now
    gate.camera.time = now - CONFIG.timeouts.camera + 0.02
    assert gate.next_deadline(now) == pytest.approx(now + 0.021)
    gate.camera.time = now
    assert gate.next_deadline(now) == pytest.approx(now + PERIOD)


def test_stamps_of_another_clock_stop(driving: Robot) -> None:
    driving.silent.add("camera")
    wall = WALL + driving.now
    driving.gate.camera.hear(wall + 3.0, driving.now, wall)
    assert driving.tick() == STOP
    assert "camera: its time lies 2.95 s in the future" in str(driving.decision.reason)


def test_old_messages_that_arrive_now_are_old(driving: Robot) -> None:
    driving.silent.add("odometry")
    driving.tick(0.02)
    stream = Stream()
    assert stream.hear(WALL + driving.now - 0.5, driving.now, WALL + driving.now)
    driving.gate.odometry.time = stream.time
    assert driving.tick() == STOP
    assert "odometry: the newest message is 0.55 s old" in str(driving.decision.reason)


def test_a_sender_whose_clock_was_set_back_is_heard_again() -> None:
    stream = Stream()
    assert stream.hear(1000.0, 1.0, 1000.0)
    assert not stream.hear(999.9, 1.1, 1000.1)  # out of order
    assert not stream.hear(400.0, 1.2, 400.2)
    assert stream.hear(400.1, 1.3, 400.3)


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 0.5])
def test_a_jump_of_the_clock_stops(driving: Robot, jump: float) -> None:
    driving.jump = jump
    assert driving.tick() == STOP
    assert f"clock: it jumped by {jump:+.2f} s" in str(driving.decision.reason)
    for _ in range(3):
        driving.tick()
    assert driving.gate.arm(driving.now) is None


def test_a_guard_that_comes_late_itself_gives_up(driving: Robot) -> None:
    assert driving.tick(PERIOD + CONFIG.timeouts.guard + 0.01) == STOP
    assert "guard: it was 0.16 s late itself" in str(driving.decision.reason)


def test_one_broken_message_is_enough(driving: Robot) -> None:
    driving.gate.blame(driving.gate.imu, "imu/data: angular_velocity is [nan, 0.0, 0.0]")
    assert driving.tick() == STOP  # although a sound one came since
    assert "imu/data: angular_velocity" in str(driving.decision.reason)


def test_an_imu_without_orientation_is_refused() -> None:
    with pytest.raises(MessageError, match="nobody can tell how far the robot leans"):
        Gate(CONFIG).hear_imu(ImuReading(np.zeros(3), np.zeros(3), None), "imu/data")


def test_an_obstacle_holds_the_robot_and_lets_go(driving: Robot) -> None:
    driving.gate.ahead = 0.3
    assert driving.tick() == STOP
    assert driving.decision.armed
    assert "obstacle ahead: 0.30 m away" in str(driving.decision.reason)
    driving.gate.wish = Command(-0.3, 0.0)  # away from it
    assert driving.tick().speed < 0
    driving.gate.wish, driving.gate.ahead = Command(0.5, 0.0), 5.0
    for _ in range(20):
        driving.tick()
    assert driving.decision.command.speed == 0.5


def test_the_geofence_is_around_the_place_of_arming() -> None:
    robot = Robot()
    robot.gate.ahead = robot.gate.behind = 9.0
    robot.pose = np.array([500.0, 0.0, 0.0])
    robot.tick()
    assert robot.gate.arm(robot.now) is None
    robot.pose = np.array([599.0, 0.0, 0.0])
    robot.tick()
    assert robot.decision.reason is None
    robot.pose = np.array([601.0, 0.0, 0.0])
    robot.tick()
    assert "geofence: 101 m from where it was armed" in str(robot.decision.reason)
    assert not robot.decision.armed


def test_others_who_command_the_base_stop_it(driving: Robot) -> None:
    driving.gate.intruders = "cmd_vel has 2 publishers (guard, teleop)"
    assert driving.tick() == STOP
    assert driving.gate.arm(driving.now) == driving.gate.intruders


def test_a_person_takes_over_while_the_dead_man_button_is_held(driving: Robot) -> None:
    gate = driving.gate

    def hold(command: Command | None) -> Command:
        gate.joystick.hear(driving.now, driving.now, driving.now)
        gate.by_hand = command
        return driving.tick()

    driving.silent.add("planner")
    for _ in range(20):  # longer than the planner may be silent
        assert hold(Command(-0.2, 0.0)).speed <= 0.5
    assert driving.decision.command == Command(-0.2, 0.0)
    hold(None)  # let go, and no planner: it stands and stays armed
    for _ in range(10):
        hold(None)
    assert (driving.decision.command, driving.decision.armed) == (STOP, True)
    driving.silent.clear()
    for _ in range(20):
        hold(None)
    assert driving.decision.command == Command(0.5, 0.1)  # the planner again
    hold(Command(0.2, 0.0))
    for _ in range(8):  # the pad's link dies while the button is held
        driving.tick()
    assert driving.decision.command == STOP
    assert "joystick: it fell silent while its dead-man button was held" in str(driving.decision.reason)


def test_what_is_switched_off_is_not_waited_for() -> None:
    safety = replace(CONFIG.safety, use_lidar=False, use_link=False)
    robot = Robot(replace(CONFIG, safety=safety))
    assert set(robot.gate.streams) == {"planner", "camera", "imu", "odometry"}
    robot.tick()
    assert robot.gate.arm(robot.now) is None


def test_clearances_are_from_the_bumpers_and_only_in_the_way() -> None:
    body = Body(length=0.5, width=0.4, side_margin=0.05, lidar_forward=0.1)
    angles, ranges = np.radians([0.0, 180.0, 90.0, 20.0]), np.array([2.0, 1.0, 0.1, 1.0])
    ahead, behind = clearances(echoes(angles, ranges, body), body)
    assert ahead == pytest.approx(2.0 + 0.1 - 0.25)  # the echo at 20 degrees passes beside the robot
    assert behind == pytest.approx(1.0 - 0.1 - 0.25)
    assert not len(echoes(np.array([math.pi]), np.array([0.2]), body)), "its own mast"
    turned = replace(body, lidar_turn=math.pi)
    behind_it = echoes(np.array([0.0]), np.array([1.0]), turned)
    assert clearances(behind_it, turned) == (math.inf, pytest.approx(0.65))
