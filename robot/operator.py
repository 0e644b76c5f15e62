"""What an operator tells the guard: arm, disarm, emergency stop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from robot.config import RobotConfig
from robot.node import RosNode, open_node, state_qos

ANSWER_SECONDS = 10.0
AGAIN_SECONDS = 2.0


class Refused(RuntimeError):
    """The guard does not arm; says why."""


def arm(arm: bool = True, arguments: Sequence[str] = ()) -> str:
    """Arms or disarms, and gives the guard's answer. Raises Refused, and TimeoutError without a guard.

    arguments: ROS's own, such as ("--ros-args", "-r", "__ns:=/rover").
    """
    with open_node("operator", arguments) as ros:
        return ask_guard(ros, arm)


def ask_guard(ros: RosNode, arm: bool, seconds: float = ANSWER_SECONDS) -> str:
    """As `arm`, from a node that there is."""
    from std_srvs.srv import SetBool

    client = ros.node.create_client(SetBool, "guard/arm")
    try:
        ros.wait_for(
            client.service_is_ready,
            seconds,
            "the guard (service guard/arm): start `surefoot robot guard`, in the same ROS_DOMAIN_ID",
        )
        answer = _answer(ros, client, SetBool.Request(data=arm), seconds)
    finally:
        ros.node.destroy_client(client)
    if not answer.success:
        raise Refused(f"the guard does not arm: {answer.message}")
    return str(answer.message)


def _answer(ros: RosNode, client: Any, request: Any, seconds: float) -> Any:
    """DDS may lose the first answer to a client that it has just met: asks again, which does no harm here."""
    end = time.monotonic() + seconds
    while True:
        answer = client.call_async(request)
        try:
            ros.wait_for(answer.done, AGAIN_SECONDS, "the guard's answer: is it overloaded?")
            return answer.result()
        except TimeoutError:
            if time.monotonic() > end:
                raise


def press_estop(
    config: RobotConfig, pressed: bool, arguments: Sequence[str] = (), seconds: float = ANSWER_SECONDS
) -> None:
    """Presses or releases the emergency stop, and waits until somebody has heard it."""
    from std_msgs.msg import Bool

    with open_node("operator", arguments) as ros:
        publisher = ros.node.create_publisher(Bool, config.topics.estop, state_qos())
        publisher.publish(Bool(data=pressed))
        ros.wait_for(
            lambda: publisher.get_subscription_count() > 0,
            seconds,
            f"somebody who listens to {config.topics.estop}: is the guard running?",
        )
        time.sleep(0.2)  # until it is on the wire
