"""What the guard hears: every topic that it watches, checked and put into its Gate."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from robot import messages
from robot.gate import Gate, Stream
from robot.messages import MessageError
from robot.node import command_qos, sensor_qos, silence, state_qos


class Ears:
    """Subscriptions of a node on behalf of a gate. urgent: called when a message may stop the robot."""

    def __init__(self, node: Any, gate: Gate, urgent: Callable[[], None]) -> None:
        from geometry_msgs.msg import TwistStamped
        from nav_msgs.msg import Odometry
        from sensor_msgs.msg import CompressedImage, Image, Imu, Joy, LaserScan
        from std_msgs.msg import Bool, Header

        self._node, self._gate, self._urgent = node, gate, urgent
        self._watched: dict[str, tuple[str, type, bool]] = {}
        topics, safety = gate.config.topics, gate.config.safety
        picture = CompressedImage if gate.config.camera.compressed else Image
        self._watch("planner", TwistStamped, topics.wish, self._wish, reliable=True)
        self._watch("imu", Imu, topics.imu, self._imu, depth=5)
        self._watch("odometry", Odometry, topics.odometry, self._odometry)
        self._listen("camera", picture, topics.camera, self._picture, raw=True)
        if safety.use_lidar:
            self._watch("lidar", LaserScan, topics.lidar, self._lidar)
        if safety.use_link:
            self._listen("link", Header, topics.link, self._link)
        node.create_subscription(Bool, topics.estop, self._estop, state_qos())
        node.create_subscription(Joy, topics.joystick, self._joystick, sensor_qos())

    def more_about(self, why: str) -> str:
        """Why nothing comes, where a reason to stop says that nothing has come."""
        name = why.partition(":")[0]
        if "nothing has come yet" not in why or name not in self._watched:
            return ""
        topic, kind, reliable = self._watched[name]
        package = kind.__module__.partition(".")[0]
        told = silence(self._node, topic, f"{package}/msg/{kind.__name__}", reliable=reliable)
        return f"; {told}"

    def _watch(
        self,
        name: str,
        kind: type,
        topic: str,
        take: Callable[[Any, str], None],
        *,
        depth: int = 1,
        reliable: bool = False,
    ) -> None:
        """A stream whose messages have a header: new ones go to `take`."""
        stream: Stream = getattr(self._gate, name)

        def heard(message: Any) -> None:
            try:
                if stream.hear(messages.stamp_seconds(message, topic), time.monotonic(), time.time()):
                    take(message, topic)
            except MessageError as error:
                self._blame(stream, error)

        self._listen(name, kind, topic, heard, depth=depth, reliable=reliable)

    def _listen(
        self,
        name: str,
        kind: type,
        topic: str,
        heard: Callable[[Any], None],
        *,
        depth: int = 1,
        reliable: bool = False,
        raw: bool = False,
    ) -> None:
        self._watched[name] = topic, kind, reliable
        qos = command_qos() if reliable else sensor_qos(depth)
        self._node.create_subscription(kind, topic, heard, qos, raw=raw)

    def _blame(self, stream: Stream, error: MessageError) -> None:
        self._gate.blame(stream, str(error))
        self._urgent()

    def _wish(self, message: Any, topic: str) -> None:
        self._gate.wish = messages.twist(message.twist, topic)

    def _imu(self, message: Any, topic: str) -> None:
        self._gate.hear_imu(messages.imu(message, topic), topic)

    def _odometry(self, message: Any, topic: str) -> None:
        self._gate.hear_odometry(messages.odometry(message, topic))

    def _lidar(self, message: Any, topic: str) -> None:
        self._gate.hear_scan(*messages.scan(message, topic))

    def _picture(self, serialized: bytes) -> None:
        """Only its stamp: unpacking pictures would cost the guard ten times as much."""
        camera = self._gate.camera
        try:
            seconds = messages.raw_stamp_seconds(serialized, self._gate.config.topics.camera)
            camera.hear(seconds, time.monotonic(), time.time())
        except MessageError as error:
            self._blame(camera, error)

    def _link(self, message: Any) -> None:
        # A stamp of another machine: it must advance, but its age says nothing here.
        seconds = message.stamp.sec + message.stamp.nanosec * 1e-9
        self._gate.link.hear(seconds, time.monotonic(), seconds)

    def _estop(self, message: Any) -> None:
        self._gate.estop = bool(message.data)
        self._urgent()

    def _joystick(self, message: Any) -> None:
        gate, now = self._gate, time.monotonic()
        try:
            gate.by_hand = messages.joystick(message, gate.config.topics.joystick, gate.config.joystick)
            gate.joystick.hear(now, now, now)
        except MessageError as error:
            self._blame(gate.joystick, error)
