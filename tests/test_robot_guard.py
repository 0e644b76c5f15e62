"""The guard as its own process, over real DDS."""

import re
import runpy
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot.config import RobotConfig

pytest.importorskip("rclpy", reason="needs ROS 2: pip install 'surefoot[ros]' on Linux x86_64")

HELP = runpy.run_path(str(Path(__file__).with_name("robot_ros.py")))
Program, Rig, surefoot = HELP["Program"], HELP["Rig"], HELP["surefoot"]
CONFIG = RobotConfig.from_mapping(HELP["LAX"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """A guard with time-outs that a busy machine keeps, and the rig around it."""
    folder = tmp_path_factory.mktemp("guard")
    config = HELP["write_config"](folder / "robot.yaml", HELP["LAX"])
    with (
        HELP["in_domain"](HELP["own_domain"](), folder) as env,
        Program(surefoot("robot", "guard", "--config", str(config)), env, folder / "log") as guard,
    ):
        rig = Rig(CONFIG, 0)
        try:
            yield guard, rig
        finally:
            rig.close()


@pytest.fixture
def rig(world: tuple[Any, Any]) -> Iterator[Any]:
    """Driving at 0.5 m/s."""
    _, rig = world
    rig.drive()
    yield rig
    rig.silent.clear()
    rig.frozen.clear()
    rig.change.clear()
    rig.skew.update(dict.fromkeys(rig.skew, 0.0))
    rig.wish, rig.wall, rig.roll, rig.position = (0.5, 0.0), 6.0, 0.0, np.zeros(3)


def disarmed(rig: Any, words: str) -> None:
    """Waits for zero and the reason; afterwards nothing but zero comes."""
    rig.pump(lambda: rig.state.get("armed") is False, what="the guard to disarm")
    assert re.search(words, rig.state["reason"]), rig.state
    rig.pump(lambda: rig.sent == (0.0, 0.0), what="zero")
    count = len(rig.commands)
    rig.pump(lambda: len(rig.commands) > count + 5, what="more commands")
    assert {command[1:] for command in rig.commands[count:]} == {(0.0, 0.0)}


def test_zero_is_sent_from_the_first_moment(world: tuple[Any, Any]) -> None:
    _, rig = world
    rig.pump(lambda: len(rig.commands) >= 5, what="the guard's first commands")
    assert {command[1:] for command in rig.commands[:5]} == {(0.0, 0.0)}
    assert rig.state["armed"] is False


def test_each_silence_stops_it(rig: Any) -> None:
    for name in ("planner", "camera", "odometry"):
        rig.silent.add(name)
        disarmed(rig, f"^{name}: the newest message is")
        rig.silent.clear()
        rig.arm()
        rig.pump(lambda: rig.sent[0] > 0.1, what="it to drive again")


def nan_in(path: str) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        *parts, last = path.split(".")
        for part in parts:
            message = getattr(message, part)
        setattr(message, last, float("nan"))

    return change


@pytest.mark.parametrize(
    ("stream", "field", "words"),
    [
        ("planner", "twist.linear.x", r"cmd_vel_raw: linear is \[nan"),
        ("imu", "angular_velocity.z", r"imu/data: angular_velocity is \[0\.0, 0\.0, nan\]"),
        ("odometry", "pose.pose.position.x", r"odometry/filtered: pose\.pose\.position is \[nan"),
    ],
)
def test_a_nan_stops_it(rig: Any, stream: str, field: str, words: str) -> None:
    rig.change[stream] = nan_in(field)
    disarmed(rig, words)


def test_a_camera_that_repeats_itself_stops_it(rig: Any) -> None:
    rig.frozen.add("camera")
    disarmed(rig, "^camera: the newest message is")


def test_stamps_from_the_future_stop_it(rig: Any) -> None:
    rig.skew["imu"] = 30.0
    disarmed(rig, "^imu: its time lies .* in the future")


def test_leaning_stops_it(rig: Any) -> None:
    rig.roll = 0.8
    disarmed(rig, "tilt: roll is 46")


def test_the_geofence_stops_it(rig: Any) -> None:
    rig.position = np.array([150.0, 0.0, 0.0])
    disarmed(rig, "geofence: 150 m")


def test_the_emergency_stop_stops_it_and_keeps_it_from_being_armed(rig: Any) -> None:
    from std_msgs.msg import Bool

    rig.estop.publish(Bool(data=True))
    disarmed(rig, "emergency stop")
    assert rig.ask() == (False, "the emergency stop is pressed")
    rig.estop.publish(Bool(data=False))
    rig.arm()


def test_an_obstacle_holds_it_only_as_long_as_it_is_there(rig: Any) -> None:
    rig.wall = 0.45
    rig.pump(lambda: "obstacle ahead" in (rig.state["reason"] or ""), what="the obstacle")
    assert rig.state["armed"] is True
    rig.pump(lambda: rig.sent == (0.0, 0.0), what="zero")
    rig.wall = 6.0
    rig.pump(lambda: rig.sent[0] == 0.5, what="it to drive on")


def test_who_turns_towards_a_post_beside_the_way_is_held(rig: Any) -> None:
    """0.35 m ahead of the lidar and 0.40 m to the left: straight on leads past it."""

    def post(message: Any) -> None:
        message.ranges[round(np.degrees(np.arctan2(0.4, 0.35)))] = float(np.hypot(0.4, 0.35))

    rig.change["lidar"] = post
    rig.pump(0.5)
    assert rig.sent == (0.5, 0.0)
    rig.wish = (0.5, 0.8)
    rig.pump(lambda: "obstacle ahead" in (rig.state["reason"] or ""), what="the post")
    rig.pump(lambda: rig.sent == (0.0, 0.0), what="zero")
    rig.wish = (0.5, -0.8)
    rig.pump(lambda: rig.sent == pytest.approx((0.5, -0.8)), what="it to turn away")


def test_a_second_publisher_of_commands_stops_it(rig: Any) -> None:
    from geometry_msgs.msg import Twist

    intruder = rig.ros.node.create_publisher(Twist, "cmd_vel", 1)
    disarmed(rig, r"cmd_vel has 2 publishers \(guard, rig\), the guard must be the only one")
    rig.ros.node.destroy_publisher(intruder)


def test_wishes_are_limited_and_the_cap_can_be_changed_while_it_drives(rig: Any) -> None:
    from rcl_interfaces.msg import Parameter, ParameterValue
    from rcl_interfaces.srv import SetParameters

    client = rig.ros.node.create_client(SetParameters, "guard/set_parameters")
    rig.pump(client.service_is_ready)

    def put(name: str, value: float) -> Any:
        parameter = Parameter(name=name, value=ParameterValue(type=3, double_value=value))
        answer = client.call_async(SetParameters.Request(parameters=[parameter]))
        rig.pump(answer.done)
        return answer.result().results[0]

    rig.wish = (9.0, 0.0)
    rig.pump(lambda: rig.sent[0] == CONFIG.limits.speed, what="the speed cap")
    before = [command[1] for command in rig.commands[-60:]]
    assert max(before) == CONFIG.limits.speed
    assert put("limits.speed", 0.3).successful
    rig.pump(lambda: rig.sent[0] == 0.3, what="the new cap")
    refused = put("limits.speed", 50.0)
    assert not refused.successful
    assert "range" in refused.reason
    refused = put("timeouts.camera", 1.0)
    assert "timeouts.camera cannot be changed while the node runs" in refused.reason
    assert put("limits.speed", CONFIG.limits.speed).successful
    rig.ros.node.destroy_client(client)


def test_diagnostics_say_why(rig: Any) -> None:
    rig.roll = 0.8
    disarmed(rig, "tilt")
    rig.diagnostics.clear()
    rig.pump(lambda: rig.diagnostics, what="diagnostics")
    (status,) = rig.diagnostics[-1].status
    assert status.name == "surefoot: guard"
    assert status.level == b"\x02"
    assert "tilt: roll is 46" in status.message
    values = {value.key: value.value for value in status.values}
    assert values["armed"] == "false"
    assert float(values["camera age s"]) < 5


def test_a_silent_topic_is_explained_when_arming(rig: Any) -> None:
    rig.ask(False)
    rig.pump(lambda: rig.state["armed"] is False)
    assert "disarmed by an operator" in rig.state["reason"]


def test_sigterm_says_zero_last_and_ends_well(world: tuple[Any, Any]) -> None:
    guard, rig = world
    rig.arm()
    rig.pump(lambda: rig.sent[0] == 0.5)
    assert guard.end(signal.SIGTERM) == 0
    rig.pump(lambda: rig.sent == (0.0, 0.0), what="a last zero")
    assert "SIGTERM, stopping" in guard.said()


def test_a_command_that_was_held_up_before_it_was_sent_becomes_zero(tmp_path: Path) -> None:
    """As when the process is stopped between deciding and sending, and goes on a minute later."""
    from geometry_msgs.msg import Twist

    from robot.guard import Guard
    from robot.node import RosNode, command_qos
    from robot.safety import Command

    with HELP["in_domain"](HELP["own_domain"](), tmp_path):
        ros, heard = RosNode("guard"), []
        try:
            guard = Guard(ros, CONFIG)
            ros.node.create_subscription(Twist, "cmd_vel", lambda m: heard.append(m.linear.x), command_qos())
            ros.wait_for(lambda: ros.node.count_subscribers("cmd_vel") == 1, 60.0, "the topic")
            for decided, sent in ((time.monotonic(), 0.5), (time.monotonic() - 60.0, 0.0)):
                heard.clear()
                guard._publish(Command(0.5, 0.0), decided)
                ros.wait_for(lambda: heard, 60.0, "the command")
                assert heard == [sent]
        finally:
            ros.close()


def test_without_any_sensor_it_says_which_topic_is_missing(tmp_path: Path) -> None:
    with (
        HELP["in_domain"](HELP["own_domain"](), tmp_path) as env,
        Program(surefoot("robot", "guard"), env, tmp_path / "log") as guard,
    ):
        rig = Rig(RobotConfig(), 0)
        rig.silent.update(rig.STREAMS)
        rig.pump(lambda: rig.commands, what="the guard")
        for name in ("camera", "planner"):
            rig.ros.node.destroy_publisher(rig.publishers[name])
        time.sleep(0)
        rig.pump(lambda: "nobody publishes cmd_vel_raw" in rig.ask()[1], what="the reason")
        assert "ROS_DOMAIN_ID" in rig.ask()[1]
        rig.close()
        assert guard.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"limits": {"spead": 1.0}}, "unknown key limits.spead; did you mean limits.speed"),
        ({"limits": {"speed": 99.0}}, "limits.speed must lie between 0.05 and 5 m/s, got 99"),
    ],
)
def test_a_bad_file_ends_it_before_anything_moves(
    tmp_path: Path, values: dict[str, object], words: str
) -> None:
    config = HELP["write_config"](tmp_path / "robot.yaml", values)
    env = HELP["environment"](101, tmp_path)
    program = Program(surefoot("robot", "guard", "--config", str(config)), env, tmp_path / "log")
    with program:
        assert program.process.wait(HELP["PATIENCE"]) == 1
    assert words in program.said()
    assert "Traceback" not in program.said()
