"""Where the guard holds the robot before what the plan did not see, the robot gets itself free."""

import json
import runpy
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot.back_off import BackOff, BackOffConfig, freer_side
from robot.config import RobotConfig
from robot.safety import Command, SafetyState, reason_to_stop

HELP = runpy.run_path(str(Path(__file__).with_name("robot_ros.py")))
AHEAD, BEHIND = "obstacle ahead: 0.30 m away, 0.64 m must be free", "obstacle behind: 0.30 m away, 0.4 m"
WISH = np.array([0.2, 0.8], np.float32)
DT = 0.25


def seen(speed: float = 0.0, turn_rate: float = 0.0, room: float = 1.0) -> dict[str, Any]:
    """room: the side with more of it, 1 left, -1 right."""
    lidar = np.full(360, 3.0, np.float32)
    lidar[:180] += room
    return {
        "lidar": lidar,
        "odometry_velocity": np.array([speed, turn_rate], np.float32),
        "imu_angular_velocity": np.tile(np.array([0, 0, turn_rate], np.float32), (5, 1)),
    }


def begun(back_off: BackOff, room: float = 1.0) -> None:
    for _ in range(20):
        if back_off.step(WISH, AHEAD, seen(room=room)) is not None:
            return
    raise AssertionError("it never began")


def finished(back_off: BackOff, hold: str | None = None) -> list[Any]:
    """Does as it is told until it is over; the actions."""
    actions: list[Any] = [np.array([0.0, -back_off.config.back_speed])]
    while True:
        action = back_off.step(WISH, hold, seen(actions[-1][1], actions[-1][0]))
        if action is None:
            return actions
        actions.append(action)
        assert len(actions) < 100


def test_it_waits_then_backs_up_and_turns_to_the_freer_side() -> None:
    back_off = BackOff(DT)
    waited = [back_off.step(WISH, AHEAD, seen(room=-1)) for _ in range(9)]
    assert waited == [None] * 9, "2.25 s are not enough"
    first = back_off.step(WISH, AHEAD, seen(room=-1))
    assert first is not None
    np.testing.assert_allclose(first, [0.0, -0.3])
    actions = np.array(finished(back_off))
    back, turn = actions[actions[:, 1] < 0], actions[actions[:, 1] == 0]
    assert -back[:, 1].sum() * DT == pytest.approx(0.6, abs=0.08)
    assert set(turn[:, 0].round(3)) == {-0.8}, "the right side has more room"
    assert -turn[:, 0].sum() * DT == pytest.approx(1.05, abs=0.21)
    assert (back_off.count, back_off.phase) == (1, None)


@pytest.mark.parametrize(
    ("wish", "hold"),
    [
        (WISH, None),
        ((0.8, 0.0), AHEAD),
        ((0.0, -0.3), BEHIND),
        (WISH, "the emergency stop is pressed"),
        (WISH, "speed: the measured or the wished speed is not a number"),
    ],
    ids=["free", "it turns by itself", "it backs up by itself", "stopped", "a fault"],
)
def test_it_leaves_everything_else_alone(wish: Any, hold: str | None) -> None:
    back_off = BackOff(DT)
    assert [back_off.step(np.asarray(wish), hold, seen()) for _ in range(40)] == [None] * 40


def test_what_crosses_the_way_may_pass() -> None:
    back_off = BackOff(DT)
    for hold in ([AHEAD] * 9 + [None]) * 4:
        assert back_off.step(WISH, hold, seen()) is None


def test_held_behind_it_turns_at_once() -> None:
    back_off = BackOff(DT)
    begun(back_off)
    action = back_off.step(WISH, BEHIND, seen())
    assert action is not None
    np.testing.assert_allclose(action, [0.8, 0.0])


def test_wheels_that_do_not_turn_end_it_in_time() -> None:
    back_off, steps = BackOff(DT), 0
    begun(back_off)
    while back_off.step(WISH, None, seen()) is not None:
        steps += 1
    c = back_off.config
    assert steps * DT <= 2 * c.back_way / c.back_speed + 2 * c.turn_angle / c.turn_rate + 2 * DT


def test_held_again_soon_it_turns_on_to_the_same_side() -> None:
    back_off = BackOff(DT)
    begun(back_off, room=1)
    finished(back_off)
    begun(back_off, room=-1)
    assert finished(back_off)[-1][0] > 0, "not to and fro in a corner"
    for _ in range(round(back_off.config.again / DT) + 1):
        assert back_off.step(WISH, None, seen()) is None
    begun(back_off, room=-1)
    assert finished(back_off)[-1][0] < 0
    assert back_off.count == 3


def test_a_robot_that_was_stopped_begins_anew() -> None:
    back_off = BackOff(DT)
    begun(back_off)
    back_off.reset()
    assert back_off.phase is None
    assert back_off.step(WISH, AHEAD, seen()) is None


def test_a_size_that_is_no_size_is_refused() -> None:
    with pytest.raises(ValueError, match="back_way must be above 0, got 0"):
        BackOffConfig(back_way=0.0)


def test_the_side_with_more_room() -> None:
    lidar = np.full(360, 2.0)
    for beam, side in ((30, 1.0), (119, 1.0), (330, -1.0), (241, -1.0), (10, 1.0), (350, 1.0)):
        alone = lidar.copy()
        alone[beam] = 9.0
        assert freer_side(alone) == side, beam


def test_its_words_are_those_of_the_guard() -> None:
    now = 10.0
    state = SafetyState(
        armed=True, estop=False, wish=Command(0.5, 0.0), planner_time=now,
        camera_time=now, imu_time=now, odometry_time=now, lidar_time=now, link_time=now,
        obstacle_ahead=0.1,
    )  # fmt: skip
    reason = reason_to_stop(state, now, RobotConfig())
    back_off = BackOff(DT)
    assert any(back_off.step(WISH, reason, seen()) is not None for _ in range(20))


def test_over_dds_the_driver_backs_off_through_the_guard(tmp_path: Path) -> None:
    """A policy that always steps ahead, before a wall that it does not see."""
    pytest.importorskip("rclpy", reason="needs ROS 2: pip install 'surefoot[ros]' on Linux x86_64")
    pytest.importorskip("torch")
    from geometry_msgs.msg import PoseStamped
    from nav_msgs.msg import Path as RosPath

    from robot.node import command_qos

    write = runpy.run_path(str(Path(__file__).with_name("sidetuning_navigators.py")))["write_navigators"]
    policy, Program, surefoot = write(tmp_path / "n.side", {"ahead": 1}), HELP["Program"], HELP["surefoot"]
    settings = {"camera.width": 64, "camera.height": 48, **HELP["LAX"]}
    config = str(HELP["write_config"](tmp_path / "robot.yaml", settings))
    with (
        HELP["in_domain"](HELP["own_domain"](), tmp_path) as env,
        Program(surefoot("robot", "guard", "--config", config), env, tmp_path / "guard.log"),
        Program(
            surefoot("robot", "navigate", str(policy), "--config", config), env, tmp_path / "drive.log"
        ) as drive,
    ):
        rig = HELP["Rig"](RobotConfig.from_mapping(settings), 0)
        try:
            rig.ros.node.destroy_publisher(rig.publishers.pop("planner"))
            plan = rig.ros.node.create_publisher(RosPath, "plan", command_qos())
            path = RosPath(poses=[PoseStamped()])
            path.header.frame_id = "odom"
            path.poses[0].pose.position.x = 20.0

            def said(words: str) -> bool:
                plan.publish(path)
                rig.speed = rig.sent[0] if rig.commands else 0.0
                return words in drive.said()

            rig.pump(lambda: said("follows plan"), what="the driver")
            rig.arm()
            rig.pump(lambda: rig.sent[0] > 0.3, what="it to step ahead")
            rig.change["lidar"] = _wall_ahead
            rig.pump(lambda: said("held by the guard: obstacle ahead"), what="the wall")
            rig.pump(lambda: rig.sent[0] == pytest.approx(-0.3), what="it to back up")
            rig.pump(lambda: said("") and rig.sent[0] == 0.0 and rig.sent[1] > 0.7, what="it to turn")
            rig.change.clear()
            rig.pump(lambda: rig.sent[0] > 0.3, what="it to drive on")
            assert rig.state["armed"] is True
            assert drive.end(signal.SIGTERM, HELP["PATIENCE"]) == 0
            assert json.loads(drive.said().splitlines()[-1])["back_offs"] == 1
        finally:
            rig.close()


def _wall_ahead(message: Any) -> None:
    angles = message.angle_min + np.arange(len(message.ranges)) * message.angle_increment
    message.ranges = np.where(np.cos(angles) > 0.5, 0.45, np.asarray(message.ranges)).tolist()
