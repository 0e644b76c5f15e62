"""For tests of ROS nodes: a domain of their own, processes, and a robot's sensors that fail on demand.

python tests/robot_ros.py plan SPEED TURN [PRIORITY]    # wishes for this at 20 Hz until it is killed
python tests/robot_ros.py flood                         # joystick messages, up to 5000 a second
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).parent.parent
PATIENCE = 60.0
"""s to wait for what should take one: the machine may be busy"""
LAX = {
    "timeouts.planner": 2.0, "timeouts.camera": 2.0, "timeouts.odometry": 2.0, "timeouts.imu": 2.0,
    "timeouts.lidar": 2.0, "timeouts.link": 4.0, "timeouts.guard": 1.0,
}  # fmt: skip
"""limits that a busy machine keeps"""


def own_domain() -> int:
    """A ROS domain that no other test process of this machine uses; kept until this process ends."""
    for number in range(1, 102):  # above that the ports meet those that Linux gives to anybody
        path = Path(tempfile.gettempdir(), f"surefoot-ros-domain-{number}")
        handle = path.open("w")  # open until this process ends: that is the lock
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            continue
        _locks.append(handle)
        return number
    raise RuntimeError("all 101 ROS domains are in use: are old test processes still running?")


_locks: list[Any] = []


def environment(domain: int, logs: Path) -> dict[str, str]:
    """Of processes that talk to each other on this machine only."""
    return {
        **os.environ,
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(logs),
        "PYTHONPATH": str(ROOT),
    }


def write_config(path: Path, values: dict[str, object]) -> Path:
    """A parameter file."""
    path.write_text(yaml.safe_dump(values))
    return path


class Program:
    """A process of ours, with what it said in a file."""

    def __init__(self, words: Sequence[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(words, env=env, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self, number: int, seconds: float = PATIENCE) -> int:
        """Sends a signal, and gives the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)


def surefoot(*words: str) -> list[str]:
    return [sys.executable, "-m", "surefoot", *words]


class Rig:
    """Sensors, planner and base of a robot that stands somewhere; nothing happens outside of `pump`.

    silent: streams that say nothing; frozen: those that repeat their last stamp. commands: (s of the
    steady clock, speed, turn rate) of everything that went to the base; states: of the guard.
    """

    STREAMS = ("planner", "camera", "imu", "odometry", "lidar", "link")
    PERIOD = 0.04

    def __init__(self, config: Any, domain: int) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import Twist, TwistStamped
        from nav_msgs.msg import Odometry
        from sensor_msgs.msg import Image, Imu, LaserScan
        from std_msgs.msg import Bool, Header, String

        from robot.node import RosNode, command_qos, sensor_qos, state_qos

        self.ros = RosNode("rig")
        node, topics = self.ros.node, config.topics
        self.silent: set[str] = set()
        self.frozen: set[str] = set()
        self.wish = (0.5, 0.0)
        self.speed, self.roll, self.position = 0.0, 0.0, np.zeros(3)
        self.wall = 6.0
        self.skew = dict.fromkeys(self.STREAMS, 0.0)
        self.change: dict[str, Callable[[Any], None]] = {}
        self.commands: list[tuple[float, float, float]] = []
        self.states: list[dict[str, Any]] = []
        self.diagnostics: list[Any] = []
        self._stamps = dict.fromkeys(self.STREAMS, 0.0)
        self._next = 0.0
        kinds = {
            "planner": (TwistStamped, topics.wish, command_qos()),
            "camera": (Image, topics.camera, sensor_qos()),
            "imu": (Imu, topics.imu, sensor_qos(5)),
            "odometry": (Odometry, topics.odometry, sensor_qos()),
            "lidar": (LaserScan, topics.lidar, sensor_qos()),
            "link": (Header, topics.link, sensor_qos()),
        }
        self.publishers = {name: node.create_publisher(*kind) for name, kind in kinds.items()}
        self.estop = node.create_publisher(Bool, topics.estop, state_qos())
        node.create_subscription(Twist, topics.command, self._command, command_qos())
        node.create_subscription(
            String, "guard/state", lambda m: self.states.append(json.loads(m.data)), state_qos()
        )
        node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, 10)

    def pump(self, ready: Callable[[], bool] | float, seconds: float = PATIENCE, what: str = "") -> None:
        """Lets the robot live until `ready`, or for so many seconds."""
        end = time.monotonic() + (seconds if callable(ready) else ready)
        while not (callable(ready) and ready()):
            now = time.monotonic()
            if now >= end:
                if callable(ready):
                    raise AssertionError(f"waited {seconds:g} s for {what or ready}; {self.states[-1:]}")
                return
            if now >= self._next:
                self._next = max(self._next + self.PERIOD, now)
                self.publish()
            self.ros.spin_some(min(self._next, end))

    def publish(self) -> None:
        """One message of every stream that speaks."""
        for name in self.STREAMS:
            if name in self.silent or name not in self.publishers:
                continue
            if name not in self.frozen:
                self._stamps[name] = time.time() + self.skew[name]
            message = self.message(name, self._stamps[name])
            if name in self.change:
                self.change[name](message)
            self.publishers[name].publish(message)

    def message(self, name: str, seconds: float) -> Any:
        from robot import to_messages
        from robot.safety import Command

        if name == "planner":
            return to_messages.twist_stamped(Command(*self.wish), seconds)
        if name == "camera":
            return to_messages.image(np.zeros((48, 64, 3), np.uint8), seconds)
        if name == "imu":
            leaning = np.array([np.sin(self.roll / 2), 0.0, 0.0, np.cos(self.roll / 2)])
            return to_messages.imu(np.zeros(3), np.array([0.0, 0.0, 9.81]), leaning, seconds)
        if name == "odometry":
            return to_messages.odometry(self.position, self.speed, 0.0, seconds)
        if name == "lidar":
            return to_messages.scan(np.full(360, self.wall), 0.1, 12.0, seconds)
        return to_messages.header(seconds, "station")

    @property
    def state(self) -> dict[str, Any]:
        """The guard's newest words; None where it has said nothing."""
        return self.states[-1] if self.states else {"armed": None, "reason": None}

    @property
    def sent(self) -> tuple[float, float]:
        """The newest command."""
        return self.commands[-1][1:] if self.commands else (float("nan"), float("nan"))

    def ask(self, arm: bool = True) -> tuple[bool, str]:
        """Arms or disarms; the guard's answer."""
        from std_srvs.srv import SetBool

        client = self.ros.node.create_client(SetBool, "guard/arm")
        self.pump(client.service_is_ready, what="the service guard/arm")
        end = time.monotonic() + PATIENCE
        while True:
            answer = client.call_async(SetBool.Request(data=arm))
            try:
                self.pump(answer.done, 5.0, "the guard's answer")
                break
            except AssertionError:  # DDS may lose the first answer to a client that it has just met
                if time.monotonic() > end:
                    raise
        self.ros.node.destroy_client(client)
        return answer.result().success, answer.result().message

    def arm(self, seconds: float = PATIENCE) -> None:
        """Until the guard agrees: its ears may still be opening."""
        end = time.monotonic() + seconds
        while not (answer := self.ask())[0]:
            assert time.monotonic() < end, answer[1]
            self.pump(0.1)

    def drive(self, seconds: float = PATIENCE) -> None:
        """Arms and waits until it drives as wished; what was wrong a moment ago may stop it once more."""
        end = time.monotonic() + seconds
        while True:
            self.states.clear()
            self.arm(seconds)
            self.pump(lambda: self.sent == self.wish or self.state["armed"] is False, what="it to drive")
            if self.sent == self.wish and self.state["armed"] is not False:
                return
            assert time.monotonic() < end, self.state

    def close(self) -> None:
        self.ros.close()

    def _command(self, message: Any) -> None:
        self.commands.append((time.monotonic(), message.linear.x, message.angular.z))


@contextmanager
def in_domain(domain: int, logs: Path) -> Iterator[dict[str, str]]:
    """This process talks in that domain too; gives the environment for others."""
    env = environment(domain, logs)
    before = dict(os.environ)
    os.environ.update({name: env[name] for name in env if name.startswith("ROS_")})
    try:
        yield env
    finally:
        for name in env:
            if name.startswith("ROS_"):
                os.environ.pop(name, None)
                os.environ.update({name: before[name]} if name in before else {})


def _plan(speed: float, turn: float, priority: float = 0) -> None:
    from geometry_msgs.msg import TwistStamped

    from robot import to_messages
    from robot.config import RobotConfig
    from robot.node import RosNode, command_qos
    from robot.safety import Command

    if priority:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(int(priority)))
    ros = RosNode("planner")
    wishes = ros.node.create_publisher(TwistStamped, RobotConfig().topics.wish, command_qos())
    while True:
        wishes.publish(to_messages.twist_stamped(Command(speed, turn), time.time()))
        ros.spin_for(0.05)


def _flood() -> None:
    from sensor_msgs.msg import Joy

    from robot.config import RobotConfig
    from robot.node import RosNode, sensor_qos

    ros = RosNode("flood")
    sticks = ros.node.create_publisher(Joy, RobotConfig().topics.joystick, sensor_qos())
    message = Joy(axes=[0.0] * 8, buttons=[0] * 12)
    while True:
        sticks.publish(message)
        time.sleep(1e-4)


if __name__ == "__main__":
    if sys.argv[1] == "flood":
        _flood()
    _plan(*map(float, sys.argv[2:]))
