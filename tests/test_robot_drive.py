"""The whole robot over real DDS: simulated world, guard and driver, each its own process."""

import json
import runpy
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HELP = runpy.run_path(str(Path(__file__).with_name("robot_ros.py")))
Program, surefoot, PATIENCE = HELP["Program"], HELP["surefoot"], HELP["PATIENCE"]
SETTINGS = {"camera.width": 128, "camera.height": 96, **HELP["LAX"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network, exported: it drives somewhere."""
    torch = pytest.importorskip("torch")
    from agents.badgr.export import export_model
    from agents.badgr.model_file import write_model
    from agents.badgr.spec import ModelSpec

    calm_network = runpy.run_path(str(Path(__file__).with_name("badgr_calm.py")))["calm_network"]
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "predictor.model"
    write_model(path, export_model(calm_network(ModelSpec())))
    return path


class Ear:
    """What the nodes tell each other."""

    def __init__(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import Twist, TwistStamped
        from std_msgs.msg import String

        from robot.node import RosNode, command_qos, state_qos

        self.ros = RosNode("ear")
        self.commands: list[tuple[float, float]] = []
        self.wishes: list[tuple[float, float]] = []
        self.truth: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.driver: list[Any] = []
        node = self.ros.node
        node.create_subscription(Twist, "cmd_vel", self._command, command_qos())
        node.create_subscription(TwistStamped, "cmd_vel_raw", self._wish, command_qos())
        node.create_subscription(String, "sim/truth", lambda m: self.truth.append(json.loads(m.data)), 10)
        node.create_subscription(
            String, "guard/state", lambda m: self.states.append(json.loads(m.data)), state_qos()
        )
        node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, 10)

    def wait(self, ready: Any, what: str, seconds: float = 2 * PATIENCE) -> None:
        self.ros.wait_for(ready, seconds, what)

    def arm(self, seconds: float = 2 * PATIENCE) -> None:
        from robot.operator import Refused, ask_guard

        end = time.monotonic() + seconds
        while True:
            try:
                ask_guard(self.ros, True, seconds)
                return
            except Refused:
                assert time.monotonic() < end, self.states[-1:]
                self.ros.spin_for(0.3)

    def _command(self, message: Any) -> None:
        self.commands.append((message.linear.x, message.angular.z))

    def _wish(self, message: Any) -> None:
        self.wishes.append((message.twist.linear.x, message.twist.angular.z))

    def _diagnostics(self, message: Any) -> None:
        self.driver += [status for status in message.status if status.name == "surefoot: driver"]


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ear, dict[str, str], str, Path]]:
    """World and guard; the ear, the environment, the parameter file and a folder."""
    pytest.importorskip("rclpy", reason="needs ROS 2: pip install 'surefoot[ros]' on Linux x86_64")
    folder = tmp_path_factory.mktemp("drive")
    config = str(HELP["write_config"](folder / "robot.yaml", SETTINGS))
    with ExitStack() as open_:
        env = open_.enter_context(HELP["in_domain"](HELP["own_domain"](), folder))
        for name, words in (("sim", ["--trip", "0"]), ("guard", [])):
            command = surefoot("robot", name, "--config", config, *words)
            open_.enter_context(Program(command, env, folder / f"{name}.log"))
        ear = Ear()
        open_.callback(ear.ros.close)
        ear.wait(lambda: ear.truth and ear.commands, "the simulated world and the guard")
        yield ear, env, config, folder


def test_it_waits_to_be_armed_drives_obeys_new_weights_and_is_stopped_when_killed(
    robot: tuple[Ear, dict[str, str], str, Path], model: Path
) -> None:
    ear, env, config, folder = robot
    command = surefoot("drive", str(model), "--config", config, "--candidates", "64")
    with Program(command, env, folder / "drive.log") as drive:
        ear.wait(lambda: len(ear.wishes) > 5, "the driver's zero wishes")
        assert set(ear.wishes) == {(0.0, 0.0)}
        ear.wait(lambda: any("surefoot robot arm" in one.message for one in ear.driver), "its question")
        ear.arm()
        ear.wait(lambda: any(abs(command[1]) > 0.1 or command[0] > 0.1 for command in ear.commands), "motion")
        ear.wait(lambda: any(one.message == "drives" for one in ear.driver), "the driver's diagnostics")
        values = {value.key: value.value for value in ear.driver[-1].values}
        assert values["provider"] == "CPUExecutionProvider"
        assert float(values["tick_ms_p50"]) > 0

        assert put(ear, "preferences.bumpy", 0.0).successful
        refused = put(ear, "preferences.goal", -1.0).reason
        assert "preferences.goal out of range Min: 0.0, Max: 1000.0, value: -1.0" in refused
        refused = put(ear, "preferences.bumby", 1.0).reason
        assert "driver has no parameter preferences.bumby; did you mean preferences.bumpy" in refused
        assert "cannot be changed while the node runs" in put(ear, "rates.plan", 2.0).reason

        drive.process.kill()
        ear.wait(lambda: not ear.states[-1]["armed"], "the guard to notice")
        assert ear.states[-1]["reason"].startswith("planner: the newest message is")
        ear.wait(lambda: ear.commands[-1] == (0.0, 0.0), "zero")
    assert "bumpy': 0.0" in drive.said()


def test_in_the_shadow_it_plans_and_wishes_nothing(
    robot: tuple[Ear, dict[str, str], str, Path], model: Path
) -> None:
    ear, env, config, folder = robot
    command = surefoot("drive", str(model), "--config", config, "--candidates", "64", "--shadow")
    with Program(command, env, folder / "shadow.log") as drive:
        ear.driver.clear()
        ear.wishes.clear()

        def planned() -> bool:
            ticks = [value.value for one in ear.driver for value in one.values if value.key == "ticks"]
            return any(int(tick) > 2 for tick in ticks)

        ear.wait(planned, "plans")
        assert drive.end(signal.SIGTERM, 2 * PATIENCE) == 0
        report = json.loads(drive.said().splitlines()[-1])
        assert report["ticks"] > 2
        assert report["ended"] == "told to end"
        assert report["provider"] == "CPUExecutionProvider"
    assert set(ear.wishes) == {(0.0, 0.0)}


def test_a_side_tuned_policy_drives_and_its_adapter_is_changed_on_the_way(
    robot: tuple[Ear, dict[str, str], str, Path],
) -> None:
    """One that always steps ahead, then one that always turns; an unknown one changes nothing."""
    pytest.importorskip("torch")
    write = runpy.run_path(str(Path(__file__).with_name("sidetuning_navigators.py")))["write_navigators"]
    ear, env, config, folder = robot
    policy = write(folder / "navigator.side", {"ahead": 1, "left": 2})
    command = surefoot("robot", "navigate", str(policy), "--config", config)
    ear.wait(lambda: ear.states and not ear.states[-1]["armed"], "the guard to miss the driver before")
    with Program(command, env, folder / "navigate.log") as drive:
        ear.wait(lambda: "surefoot robot arm" in drive.said(), "its question")
        ear.arm()
        ear.wait(lambda: ear.wishes[-1] == pytest.approx((0.5, 0.0)), "steps ahead")
        refused = put(ear, "adapter", "garden").reason
        assert refused == "there is no adapter 'garden': this policy has ahead, left; ahead goes on"
        ear.wishes.clear()
        ear.wait(lambda: ear.wishes[-1:] == [pytest.approx((0.5, 0.0))], "more steps")
        assert put(ear, "adapter", "left").successful
        ear.wait(lambda: ear.wishes[-1] == pytest.approx((0.0, np.deg2rad(20))), "turns")
        assert drive.end(signal.SIGTERM, 2 * PATIENCE) == 0
        assert "'left' in place of 'ahead'" in drive.said()
        assert json.loads(drive.said().splitlines()[-1])["ended"] == "told to end"


def test_steps_that_are_too_quick_for_the_limits_are_refused(tmp_path: Path) -> None:
    from robot.config import ConfigError, RobotConfig
    from robot.navigate import _check_limits

    slow = RobotConfig.from_mapping({"limits.speed": 0.3})
    with pytest.raises(ConfigError, match=r"limits\.speed is 0\.3: .* give --step-seconds 0\.84 or more"):
        _check_limits(slow, 0.5)
    _check_limits(slow, 0.84)


def test_goals_are_driven_to_in_order_and_one_beyond_the_fence_is_refused(
    robot: tuple[Ear, dict[str, str], str, Path], model: Path
) -> None:
    """The first lies where the robot stands, the second 24 km away."""
    ear, env, config, folder = robot
    goals = [f"--goal={latitude},8.0002" for latitude in (47.0001, 47.2)]
    command = surefoot("drive", str(model), "--config", config, "--candidates", "64", "--shadow", *goals)
    with Program(command, env, folder / "goals.log") as drive:
        ear.wait(lambda: "goal 2 of 2 (47.2000000, 8.0002000) lies 22," in drive.said(), "the refusal")
        assert "the guard's geofence is 100 m" in drive.said()


def test_a_planners_path_is_followed_by_odometry_to_its_end(
    robot: tuple[Ear, dict[str, str], str, Path], model: Path
) -> None:
    from geometry_msgs.msg import PoseStamped
    from nav_msgs.msg import Odometry
    from nav_msgs.msg import Path as RosPath

    from robot.node import command_qos, sensor_qos

    ear, env, config, folder = robot
    places: list[tuple[float, float]] = []
    node = ear.ros.node

    def hear(message: Any) -> None:
        places.append((message.pose.pose.position.x, message.pose.pose.position.y))

    node.create_subscription(Odometry, "odometry/filtered", hear, sensor_qos())
    planner = node.create_publisher(RosPath, "plan", command_qos())

    def say(frame: str, ways: list[tuple[float, float]]) -> None:
        message = RosPath(poses=[PoseStamped() for _ in ways])
        message.header.frame_id = frame
        for pose, (x, y) in zip(message.poses, ways, strict=True):
            pose.pose.position.x, pose.pose.position.y = x, y
        planner.publish(message)

    command = surefoot("drive", str(model), "--config", config, "--candidates", "64", "--shadow")
    with Program(command, env, folder / "path.log") as drive:
        ear.wait(lambda: planner.get_subscription_count() > 0 and places, "the driver and odometry")

        def told(words: str, frame: str, ways: list[tuple[float, float]]) -> None:
            def heard() -> bool:
                say(frame, ways)
                return words in drive.said()

            ear.wait(heard, words)

        told("plan: frame_id is 'map', odometry is in 'odom'", "map", [(0.0, 0.0)])
        told("plan: the path is empty", "odom", [])
        told("pose 0 lies at [nan, 0.0]", "odom", [(float("nan"), 0.0)])
        x, y = places[-1]
        told("follows plan, 2 poses in odom", "odom", [(x, y), (x + 0.3, y)])
        ear.wait(lambda: drive.process.poll() is not None, "its end")
        report = json.loads(drive.said().splitlines()[-1])
        assert report["ended"] == "the end of the path of plan is reached"
        assert report["goals"] == [1, 1]


def test_it_gathers_experience_through_the_guard(
    robot: tuple[Ear, dict[str, str], str, Path],
) -> None:
    from agents.badgr.events import URBAN
    from agents.badgr.label_store import label_dataset
    from envs.dataset import EpisodeDataset

    ear, env, config, folder = robot
    out = folder / "drives"
    words = ["--out", str(out), "--minutes", "0.1", "--episode-seconds", "5", "--fence", "12"]
    with Program(surefoot("robot", "collect", "--config", config, *words), env, folder / "c.log") as collect:
        ear.wait(lambda: "surefoot robot arm" in collect.said() or collect.process.poll(), "its question")
        ear.arm()
        ear.wait(lambda: collect.process.poll() is not None, "six seconds of driving", 10 * PATIENCE)
        report = json.loads(collect.said().splitlines()[-1])
    assert collect.process.returncode == 0, collect.said()
    assert report["steps"] >= 24
    assert report["ended"] == "0.1 minutes are recorded"
    with EpisodeDataset(out, read_only=True) as dataset:
        drives = [dataset[id] for id in dataset]
        assert len(drives) == report["drives"] >= 1
        whole = max(drives, key=len)
        assert whole.observations["image"].shape[1:] == (96, 128, 3)
        assert np.abs(whole.actions[:, 1]).max() > 0.3, "what the guard sent"
        assert whole.info["resetting"].shape == (len(whole),)
        assert len(label_dataset(dataset, URBAN).labels) == len(drives), "its own sensors label it"
    ear.wait(lambda: ear.commands[-1] == (0.0, 0.0), "zero")


def test_a_full_disk_stops_it_in_words(robot: tuple[Ear, dict[str, str], str, Path]) -> None:
    """The kernel lets its files grow to 100 kB."""
    ear, env, config, folder = robot
    words = ["--out", str(folder / "full"), "--episode-seconds", "5", "--fence", "12"]
    command = ["prlimit", "--fsize=100000", *surefoot("robot", "collect", "--config", config, *words)]
    with Program(command, env, folder / "full.log") as collect:
        ear.wait(lambda: "surefoot robot arm" in collect.said() or collect.process.poll(), "its question")
        ear.arm()
        ear.wait(lambda: collect.process.poll() is not None, "a drive", 10 * PATIENCE)
    assert collect.process.returncode == 1
    assert "could not be saved (File too large)" in collect.said()
    assert "the robot was stopped, and the last 5 s are lost" in collect.said()
    assert "Traceback" not in collect.said()
    ear.wait(lambda: ear.commands[-1] == (0.0, 0.0), "zero")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no model"])
def test_a_model_that_cannot_be_used_ends_it_before_it_joins_the_robot(
    robot: tuple[Ear, dict[str, str], str, Path], content: bytes
) -> None:
    _, env, config, folder = robot
    (folder / "broken.model").write_bytes(content)
    command = surefoot("drive", str(folder / "broken.model"), "--config", config)
    with Program(command, env, folder / "broken.log") as drive:
        assert drive.process.wait(2 * PATIENCE) == 1
    assert "surefoot: " in drive.said()
    assert "broken.model" in drive.said()
    assert "Traceback" not in drive.said()


def put(ear: Ear, name: str, value: float | str) -> Any:
    from rcl_interfaces.msg import Parameter, ParameterValue
    from rcl_interfaces.srv import SetParameters

    client = ear.ros.node.create_client(SetParameters, "driver/set_parameters")
    ear.wait(client.service_is_ready, "the driver's parameters")
    typed = (
        ParameterValue(type=4, string_value=value)
        if isinstance(value, str)
        else ParameterValue(type=3, double_value=value)
    )
    parameter = Parameter(name=name, value=typed)
    answer = client.call_async(SetParameters.Request(parameters=[parameter]))
    ear.wait(answer.done, "the driver's answer")
    ear.ros.node.destroy_client(client)
    return answer.result().results[0]
