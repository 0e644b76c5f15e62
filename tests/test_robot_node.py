"""A node hears all of its topics, also beside one that never pauses."""

import runpy
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from std_msgs.msg import String

from robot.node import RosNode, open_node

HELP = runpy.run_path(str(Path(__file__).with_name("robot_ros.py")))


@pytest.mark.parametrize("spin", ["spin_some", "spin_until"])
def test_a_topic_that_never_pauses_does_not_silence_those_declared_after_it(
    spin: str, tmp_path: Path
) -> None:
    heard: list[str] = []
    with HELP["in_domain"](HELP["own_domain"](), tmp_path), open_node("listener") as ros:
        busy = ros.node.create_publisher(String, "busy", 1)
        late = ros.node.create_publisher(String, "late", 1)

        def again(message: Any) -> None:
            busy.publish(message)  # the next one is there before the callback ends

        ros.node.create_subscription(String, "busy", again, 1)
        ros.node.create_subscription(String, "late", lambda message: heard.append(message.data), 1)
        busy.publish(String(data="on and on"))
        end = time.monotonic() + 30
        while not heard and time.monotonic() < end:
            late.publish(String(data="hello"))
            _turns(ros, spin)
    assert heard


def _turns(ros: RosNode, spin: str) -> None:
    due = time.monotonic() + 0.2
    if spin == "spin_until":
        ros.spin_until(due)
        return
    while time.monotonic() < due:
        ros.spin_some(due)
