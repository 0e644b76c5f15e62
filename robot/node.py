"""A ROS node with an executor of its own that ends when it is told to, so that the last word is zero speed.

ROS's own signal handlers shut the context down first: then the last command can no longer be sent.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)

ROS_FIX = (
    "pip install 'surefoot[ros]' on Linux x86_64; on a robot, install ROS 2 and source "
    "/opt/ros/<distribution>/setup.bash before you start"
)

TURN = 0.05
"""s that `spin_in_turn` waits for a message"""
HEAR = 0.01
"""s that `spin_until` and `spin_some` wait for one, as long as so much is left"""


class NoRosError(RuntimeError):
    """ROS 2 is not here."""


class RosNode:
    """A node, the executor that alone runs its callbacks, and the wish to end."""

    def __init__(self, name: str, arguments: Sequence[str] = ()) -> None:
        """arguments: ROS's own, such as ("--ros-args", "-r", "__ns:=/rover")."""
        try:
            import rclpy
            from rclpy.context import Context
            from rclpy.executors import SingleThreadedExecutor
            from rclpy.signals import SignalHandlerOptions
        except ImportError as error:
            raise NoRosError(f"rclpy cannot be imported ({error}): {ROS_FIX}") from error
        self.context = Context()
        options = SignalHandlerOptions.NO
        rclpy.init(args=list(arguments), context=self.context, signal_handler_options=options)
        # Every parameter that is given becomes one, so that a misspelt one is found.
        self.node: Any = rclpy.create_node(
            name,
            context=self.context,
            allow_undeclared_parameters=True,
            automatically_declare_parameters_from_overrides=True,
        )
        # EventsExecutor takes less time but is experimental: it breaks at callbacks that want the message's
        # info. With several threads rclpy loses messages.
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self.ending = threading.Event()

    def spin_until(self, deadline: float) -> None:
        """Runs callbacks until the steady clock says `deadline`; always at least what is already waiting.

        An exception of a callback is the caller's.
        """
        while not self.ending.is_set():
            if self._spin_once(deadline) <= 0:
                return

    def spin_some(self, deadline: float) -> None:
        """Waits a moment for the next callback and runs it, or returns at `deadline` at the latest."""
        self._spin_once(deadline)

    def _spin_once(self, deadline: float) -> float:
        """One callback, or a moment without any; returns the s that were left. The time-out is the same one
        but just before the deadline, so that topics have their turns; see `spin_in_turn`."""
        left = deadline - time.monotonic()
        self._executor.spin_once(timeout_sec=HEAR if left >= HEAR else max(left, 0.0))
        return left

    def spin_for(self, seconds: float) -> None:
        self.spin_until(time.monotonic() + seconds)

    def spin_in_turn(self, seconds: float) -> None:
        """Runs callbacks for about so long, each topic in its turn.

        After a callback rclpy goes on with the others that are ready only when it is asked with the same
        timeout again. With another one it begins with the first topic anew: where that is busy, the last ones
        are never heard.
        """
        end = time.monotonic() + seconds
        while not self.ending.is_set() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=TURN)

    def wait_for(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Runs callbacks until `ready`. Raises TimeoutError, which says what was waited for."""
        end = time.monotonic() + seconds
        while not ready():
            if self.ending.is_set():
                raise KeyboardInterrupt
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds:g} s for {what}")
            self.spin_for(0.02)

    def close(self) -> None:
        """Any number of times."""
        import rclpy

        if self.context.ok():
            self._executor.shutdown(timeout_sec=1.0)
            self.node.destroy_node()
            rclpy.try_shutdown(context=self.context)


@contextmanager
def open_node(name: str, arguments: Sequence[str] = ()) -> Iterator[RosNode]:
    """A node whose `ending` is set by SIGINT and SIGTERM; for the main thread of a program."""
    ros = RosNode(name, arguments)

    def end(number: int, frame: object) -> None:
        log.info("%s: %s, stopping", name, signal.Signals(number).name)
        ros.ending.set()

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ros
    finally:
        ros.close()
        for number, handler in previous.items():
            signal.signal(number, handler)


def take_priority(priority: int) -> None:
    """Before all that is not real-time. Raises PermissionError, which says what is missing."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError as error:
        raise PermissionError(
            f"real-time priority {priority} is not allowed: run as root, or give the user "
            "`rtprio 99` in /etc/security/limits.conf, or CPUSchedulingPolicy=fifo in the systemd unit"
        ) from error


def sensor_qos(depth: int = 1) -> Any:
    """Of topics that come from sensors: the newest counts, a lost one is not sent again."""
    from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)


def command_qos() -> Any:
    """Of commands: sent again when lost, only the newest."""
    from rclpy.qos import QoSProfile

    return QoSProfile(depth=1)


def state_qos() -> Any:
    """Of what holds until it changes: who comes late hears the last one."""
    from rclpy.qos import DurabilityPolicy, QoSProfile

    return QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def silence(node: Any, topic: str, kind: str, *, reliable: bool = False) -> str:
    """Why nothing may be coming on a topic, in words; kind: "sensor_msgs/msg/Image"."""
    from rclpy.qos import ReliabilityPolicy

    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return f"nobody publishes {topic} ({kind}): is the driver running, in ROS_DOMAIN_ID {domain()}?"
    other = [one for one in publishers if one.topic_type != kind]
    if other:
        return f"{topic} is published as {other[0].topic_type} by {other[0].node_name}, expected {kind}"
    unreliable = [one for one in publishers if one.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT]
    if reliable and unreliable:
        return (
            f"{topic}: {unreliable[0].node_name} sends it best effort, it must be reliable: "
            "change the QoS of that publisher"
        )
    names = ", ".join(sorted(one.node_name for one in publishers))
    return f"{topic} has a publisher ({names}) but no message comes: is the sensor sound?"


def domain() -> str:
    """Nodes hear each other within one domain."""
    return os.environ.get("ROS_DOMAIN_ID", "0")


def split_arguments(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(ours, ROS's): what `ros2 launch` appends begins with --ros-args."""
    words = list(words)
    at = words.index("--ros-args") if "--ros-args" in words else len(words)
    return words[:at], words[at:]
