"""The topics that a robot needs, and whether what is published fits: for `surefoot doctor --robot`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from robot.config import RobotConfig
from robot.node import command_qos, domain, sensor_qos, state_qos
from robot.probes import Check


@dataclass(frozen=True)
class Wanted:
    """A topic that our nodes listen to. without: what does not work where nobody publishes it; empty where
    it is not needed."""

    name: str
    topic: str
    kind: str
    qos: Callable[[], Any]
    without: str = ""


def wanted(config: RobotConfig) -> list[Wanted]:
    """All that guard and driver listen to, with this configuration."""
    topics, safety = config.topics, config.safety
    picture = "CompressedImage" if config.camera.compressed else "Image"
    stop = "the guard lets nothing drive"
    found = [
        Wanted("camera", topics.camera, f"sensor_msgs/msg/{picture}", sensor_qos, stop),
        Wanted("imu", topics.imu, "sensor_msgs/msg/Imu", sensor_qos, stop),
        Wanted("odometry", topics.odometry, "nav_msgs/msg/Odometry", sensor_qos, stop),
        Wanted("position", topics.position, "sensor_msgs/msg/NavSatFix", sensor_qos, "no goals by GPS"),
        Wanted("velocity", topics.velocity, "geometry_msgs/msg/TwistStamped", sensor_qos),
        Wanted("goal", topics.goal, "sensor_msgs/msg/NavSatFix", state_qos),
        Wanted("path", topics.path, "nav_msgs/msg/Path", command_qos),
        Wanted("joystick", topics.joystick, "sensor_msgs/msg/Joy", sensor_qos),
        Wanted("estop", topics.estop, "std_msgs/msg/Bool", state_qos),
    ]
    if safety.use_lidar:
        found.insert(3, Wanted("lidar", topics.lidar, "sensor_msgs/msg/LaserScan", sensor_qos, stop))
    if safety.use_link:
        found.append(Wanted("link", topics.link, "std_msgs/msg/Header", sensor_qos, stop))
    return found


def look_at_topic(node: Any, one: Wanted) -> Check:
    """Whether somebody publishes it, as what, and whether its QoS reaches a listener like ours."""
    from rclpy.qos import QoSCompatibility, qos_check_compatible

    name, asked = f"{one.name} topic", one.qos()
    publishers = node.get_publishers_info_by_topic(one.topic)
    if not publishers:
        found = f"nobody publishes {one.topic} ({one.kind})"
        if not one.without:
            return Check(name, "absent", f"{found}: not needed")
        fix = f"start its driver, in ROS_DOMAIN_ID {domain()}, or name its topic in topics.{one.name}"
        if one.name in ("lidar", "link"):
            fix += f"; a robot without one: safety.use_{one.name}: false"
        return Check(name, "fail", f"{found}: {one.without}", fix)
    for publisher in publishers:
        said = f"{one.topic}: {publisher.node_name} offers {words(publisher.qos_profile)}"
        if publisher.topic_type != one.kind:
            found = f"{one.topic}: {publisher.node_name} sends {publisher.topic_type}, expected {one.kind}"
            fix = "set that driver's message type, or name another topic"
            if {publisher.topic_type, one.kind} == set(_PICTURES):
                fix = f"set camera.compressed: {str(publisher.topic_type == _PICTURES[1]).lower()}"
            return Check(name, "fail", found, fix)
        fits, _ = qos_check_compatible(publisher.qos_profile, asked)
        if fits == QoSCompatibility.ERROR:
            fix = f"set the QoS of {publisher.node_name} to {words(asked)}: nothing of it arrives here"
            return Check(name, "fail", f"{said}; we ask for {words(asked)}", fix)
    return Check(name, "ok", f"{said}; we ask for {words(asked)}")


_PICTURES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


def words(qos: Any) -> str:
    """ "best effort, volatile" of a QoS profile."""
    reliability = qos.reliability.name.lower().replace("_", " ")
    return f"{reliability}, {qos.durability.name.lower().replace('_', ' ')}"


def look_at_commands(node: Any, config: RobotConfig) -> Iterator[Check]:
    """Who commands the base, and who wishes: one of each at most, and the guard alone the first."""
    topics = config.topics
    for topic, who, alone in ((topics.command, "guard", True), (topics.wish, "driver", False)):
        name = f"who publishes {topic}"
        names = sorted(one.node_name for one in node.get_publishers_info_by_topic(topic))
        others = [one for one in names if one != who] if alone else []
        if len(names) > 1 or others:
            fix = f"end all but the {who}: the robot obeys whoever speaks last, past the guard"
            yield Check(name, "fail", ", ".join(names), fix)
        elif not names:
            run = "surefoot robot guard" if alone else "surefoot drive MODEL"
            yield Check(name, "warn" if alone else "absent", f"nobody: start {run}")
        else:
            yield Check(name, "ok", f"{names[0]} alone")
