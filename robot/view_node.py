"""The live view's ears and hands in ROS: hears camera, guard and driver; presses the emergency stop, arms.

A thread of its own runs the callbacks. The emergency stop does not need it: it is published at once.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from typing import Any

from robot import messages, to_messages
from robot.config import RobotConfig
from robot.messages import MessageError
from robot.node import RosNode, sensor_qos, state_qos
from robot.thought import TOPIC, from_json
from robot.view_board import Board

log = logging.getLogger(__name__)

HEARTBEAT = 0.2
"""s between two beats"""
PAGE_SECONDS = 0.8
"""s after which a page that has not asked for the state is gone"""
ARM_SECONDS = 5.0


class ViewNode:
    """heartbeat: beats for the operator's station as long as a page looks on; the guard then stops the
    robot when the laptop is closed or out of reach."""

    def __init__(self, ros: RosNode, config: RobotConfig, *, heartbeat: bool = False) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from nav_msgs.msg import Odometry
        from sensor_msgs.msg import CompressedImage, Image
        from std_msgs.msg import Bool, Header, String
        from std_srvs.srv import SetBool

        self.board = Board(config)
        self._ros, self._config = ros, config
        node, topics = ros.node, config.topics
        self._estop = node.create_publisher(Bool, topics.estop, state_qos())
        self._client = node.create_client(SetBool, "guard/arm")
        self._link = node.create_publisher(Header, topics.link, sensor_qos()) if heartbeat else None
        picture = CompressedImage if config.camera.compressed else Image
        node.create_subscription(picture, topics.camera, self._picture, sensor_qos())
        node.create_subscription(Odometry, topics.odometry, self._odometry, sensor_qos())
        node.create_subscription(String, "guard/state", self._guard, state_qos())
        node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, 10)
        node.create_subscription(String, TOPIC, self._thought, sensor_qos())
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._live, name="ViewNode", daemon=True)
        self._thread.start()

    def press(self, pressed: bool) -> int:
        """Presses or releases the emergency stop; gives how many nodes listen to it."""
        from std_msgs.msg import Bool

        self._estop.publish(Bool(data=pressed))
        log.warning("view: emergency stop %s", "pressed" if pressed else "released")
        return int(self._estop.get_subscription_count())

    def arm(self, arm: bool) -> tuple[bool, str]:
        """Asks the guard, and gives its answer. Takes up to ARM_SECONDS."""
        from std_srvs.srv import SetBool

        if not self._client.service_is_ready():
            return False, "no guard answers: is `surefoot robot guard` running, in the same ROS_DOMAIN_ID?"
        came = threading.Event()
        answer = self._client.call_async(SetBool.Request(data=arm))
        answer.add_done_callback(lambda _: came.set())
        if not came.wait(ARM_SECONDS):
            return False, f"the guard has not answered in {ARM_SECONDS:g} s: is it overloaded?"
        result = answer.result()
        return bool(result.success), str(result.message)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._ros.close()

    def _live(self) -> None:
        due = time.monotonic()
        while not self._closing.is_set():
            self._ros.spin_some(due)
            now = time.monotonic()
            if now >= due:
                due = now + HEARTBEAT
                if self._link is not None and now - self.board.asked < PAGE_SECONDS:
                    self._link.publish(to_messages.header(time.time(), "station"))

    def _picture(self, message: Any) -> None:
        topic, camera = self._config.topics.camera, self._config.camera
        if not camera.compressed:
            self.board.hear_picture(lambda: messages.image(message, topic))
        elif "png" in message.format:
            self.board.hear_picture(lambda: messages.compressed_image(message, topic))
        else:
            self.board.hear_picture(lambda: bytes(message.data))

    def _odometry(self, message: Any) -> None:
        try:
            reading = messages.odometry(message, self._config.topics.odometry)
            self.board.speed = round(reading.speed, 3), round(reading.turn_rate, 3)
        except MessageError as error:
            self.board.speed, self.board.trouble = None, str(error)

    def _guard(self, message: Any) -> None:
        self.board.hear_guard(state=json.loads(message.data))

    def _diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name == "surefoot: guard":
                said = {value.key: value.value for value in status.values}
                ages = {
                    key.removesuffix(" age s"): _number(said[key]) for key in said if key.endswith(" age s")
                }
                self.board.hear_guard(ages=ages)

    def _thought(self, message: Any) -> None:
        try:
            self.board.hear_thought(from_json(message.data))
        except MessageError as error:
            self.board.trouble = str(error)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf
