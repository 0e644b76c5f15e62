"""Which topics of a robot are recorded, and how each is heard; nothing here needs ROS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robot.config import RobotConfig

Heard = Literal["sensor", "reliable", "state"]
"""sensor: best effort; reliable: sent again when lost; state: who comes late hears the last one"""


@dataclass(frozen=True)
class Topic:
    """One topic. name: what it is to surefoot; kind: "sensor_msgs/msg/Image"; depth: of DDS's own queue."""

    name: str
    topic: str
    kind: str
    heard: Heard
    depth: int

    @property
    def is_picture(self) -> bool:
        """Pictures are large and many: when the disk is slow, they go first."""
        return self.kind in PICTURES


PICTURES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


def recorded_topics(config: RobotConfig) -> list[Topic]:
    """What makes a drive training data, and what tells later why the robot stood."""
    topics = config.topics
    picture = PICTURES[1] if config.camera.compressed else PICTURES[0]
    twist = "geometry_msgs/msg/TwistStamped"
    return [
        Topic("camera", topics.camera, picture, "sensor", 5),
        Topic("imu", topics.imu, "sensor_msgs/msg/Imu", "sensor", 100),
        Topic("odometry", topics.odometry, "nav_msgs/msg/Odometry", "sensor", 50),
        Topic("lidar", topics.lidar, "sensor_msgs/msg/LaserScan", "sensor", 10),
        Topic("position", topics.position, "sensor_msgs/msg/NavSatFix", "sensor", 10),
        Topic("velocity", topics.velocity, twist, "sensor", 20),
        Topic("goal", topics.goal, "sensor_msgs/msg/NavSatFix", "state", 1),
        Topic("wish", topics.wish, twist, "reliable", 50),
        Topic("command", topics.command, twist if config.base.stamped else TWIST, "reliable", 50),
        Topic("estop", topics.estop, "std_msgs/msg/Bool", "state", 1),
        Topic("joystick", topics.joystick, "sensor_msgs/msg/Joy", "sensor", 20),
        Topic("guard", "guard/state", "std_msgs/msg/String", "state", 10),
        Topic("diagnostics", "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", "reliable", 20),
    ]


TWIST = "geometry_msgs/msg/Twist"
