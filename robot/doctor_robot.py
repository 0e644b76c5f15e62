"""`surefoot doctor --robot`: whether this robot's drivers, clocks, network and disk let it drive."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from robot import messages
from robot.config import RobotConfig
from robot.doctor import run_checks
from robot.messages import MessageError
from robot.node import NoRosError, RosNode
from robot.probes import Check
from robot.topics import Wanted, look_at_commands, look_at_topic, wanted

MACHINE = ("Python", "cores", "disk", "ONNX Runtime", "ROS 2")
"""lines of the usual table that matter on a robot"""
LISTENED = ("camera", "imu", "odometry", "lidar", "position")
FOUND_SECONDS = 3.5
"""so long nobody new was found: DDS has found the others. A lost announcement is repeated after 3 s"""
FOUND_AT_MOST = 15.0
"""s that are waited for it: on a busy computer they are found one by one"""
FUTURE = 0.05
"""s that a stamp may lie ahead"""
WRITTEN = 64 * 2**20
"""bytes that the disk's rate is measured with"""
SMALL_SHARED_MEMORY = 512 * 1024
"""bytes of a message from which on Fast DDS's default loses some"""


@dataclass
class Heard:
    """What came of a topic while it was listened to."""

    ages: list[float] = field(default_factory=list)
    """s between stamp and arrival"""
    first: float = 0.0
    last: float = 0.0
    bytes: int = 0
    trouble: str = ""

    def hear(self, age: float, now: float) -> None:
        self.first = self.first if self.ages else now
        self.last = now
        self.ages.append(age)

    @property
    def rate(self) -> float:
        """Hz; 0 where fewer than two came."""
        return (len(self.ages) - 1) / (self.last - self.first) if self.last > self.first else 0.0


def robot_checks(config: RobotConfig, runs: str | Path = "runs", seconds: float = 5.0) -> Iterator[Check]:
    """One Check after the other. seconds: how long the sensors are listened to."""
    for check in run_checks(quick=True, runs=runs, only=MACHINE):
        if check.name == "ROS 2" and check.status == "absent":
            check = replace(check, status="fail", found=check.found.partition(": not needed")[0])
        yield check
    yield look_at_disk_rate(config, Path(runs))
    try:
        ros = RosNode("doctor")
    except NoRosError:
        return
    try:
        needs = wanted(config)
        wait_for_others(ros, [one.topic for one in needs])
        heard = listen(ros, config, [one for one in needs if one.name in LISTENED], seconds)
        for one in needs:
            yield look_at_topic(ros.node, one)
        yield from look_at_commands(ros.node, config)
        for name, what in heard.items():
            if what.ages or what.trouble:
                yield look_at_rate(name, what, config)
                if what.ages:
                    yield look_at_clock(name, what, config)
        if heard["camera"].bytes > SMALL_SHARED_MEMORY:
            yield look_at_shared_memory(heard["camera"].bytes)
    finally:
        ros.close()


def wait_for_others(ros: RosNode, topics: list[str]) -> None:
    """Until DDS has told of no new publisher of these topics for a while."""
    start = changed = time.monotonic()
    known: list[int] = []
    while changed + FOUND_SECONDS > time.monotonic() and start + FOUND_AT_MOST > time.monotonic():
        ros.spin_for(0.1)
        found = [ros.node.count_publishers(topic) for topic in topics]
        if found != known:
            known, changed = found, time.monotonic()


def listen(ros: RosNode, config: RobotConfig, topics: list[Wanted], seconds: float) -> dict[str, Heard]:
    """What came of each topic in so many seconds."""
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    found = {one.name: Heard() for one in topics}
    size = config.camera.height, config.camera.width
    unpack = messages.compressed_image if config.camera.compressed else messages.image

    def subscribe(one: Wanted) -> None:
        what = found[one.name]

        def hear(message: Any) -> None:
            try:
                what.hear(time.time() - messages.stamp_seconds(message, one.topic), time.monotonic())
                if one.name == "camera":
                    what.bytes = len(message.data)
                    unpack(message, one.topic, size)
            except MessageError as error:
                what.trouble = str(error)

        # Best effort hears both kinds; deep, so that none is lost to this node's own slowness.
        qos = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
        package, _, name = one.kind.partition("/msg/")
        kind = getattr(import_module(f"{package}.msg"), name)
        ros.node.create_subscription(kind, one.topic, hear, qos)

    for one in topics:
        subscribe(one)
    ros.spin_for(seconds)
    return found


def look_at_rate(name: str, heard: Heard, config: RobotConfig) -> Check:
    """Whether messages come often enough for the time-outs, and as configured."""
    line, rate = f"{name} rate", heard.rate
    found = f"{rate:.1f} Hz"
    if heard.trouble:
        return Check(line, "fail", heard.trouble, "correct the driver or the configuration, as it says")
    timeout = getattr(config.timeouts, name)
    if rate * timeout < 1:
        fix = f"raise the driver's rate, or timeouts.{name} if the robot may drive on old ones"
        return Check(line, "fail", f"{found}, timeouts.{name} is {timeout:g} s: it would stop", fix)
    if name == "camera" and rate < 0.8 * config.rates.camera:
        fix = "set rates.camera to what the driver gives, or raise the driver's: is USB or the CPU too slow?"
        return Check(line, "warn", f"{found}, rates.camera is {config.rates.camera:g} Hz", fix)
    if rate * timeout < 2:
        fix = f"raise the driver's rate, or timeouts.{name}"
        return Check(line, "warn", f"{found}: one late message stops the robot ({timeout:g} s)", fix)
    return Check(line, "ok", found)


def look_at_clock(name: str, heard: Heard, config: RobotConfig) -> Check:
    """Whether its stamps are of this machine's clock."""
    line, age = f"{name} clock", median(heard.ages)
    timeout = getattr(config.timeouts, name)
    fix = "synchronise the clocks (chrony; a camera or lidar: its driver's use of host time, or PTP)"
    if min(heard.ages) < -FUTURE:
        return Check(line, "fail", f"stamps lie up to {-min(heard.ages):.2f} s in the future", fix)
    if age > timeout:
        found = f"stamps are {age:.2f} s old on arrival, timeouts.{name} is {timeout:g} s"
        return Check(line, "fail", found, fix)
    found = f"stamps are {age * 1e3:.0f} ms old on arrival"
    if age > timeout / 2:
        slow = "the driver or the network is slow: fewer pixels, or compressed"
        return Check(line, "warn", found, slow)
    return Check(line, "ok", found)


def look_at_shared_memory(size: int) -> Check:
    """Whether frames of so many bytes all arrive."""
    found = f"camera frames of {size / 1024:.0f} KiB"
    if os.environ.get("FASTRTPS_DEFAULT_PROFILES_FILE") or os.environ.get("FASTDDS_DEFAULT_PROFILES_FILE"):
        return Check("shared memory", "ok", f"{found}, with a profile of Fast DDS")
    if "fastrtps" not in os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"):
        return Check("shared memory", "ok", f"{found}, not by Fast DDS")
    fix = "export FASTRTPS_DEFAULT_PROFILES_FILE=<surefoot>/launch/config/fastdds.xml, for every node"
    return Check("shared memory", "fail", f"{found}: Fast DDS's default loses some, in silence", fix)


def look_at_disk_rate(config: RobotConfig, folder: Path) -> Check:
    """Whether the disk keeps up with a recording, raw and as JPEG."""
    line = "disk rate"
    raw = config.camera.width * config.camera.height * 3 * config.rates.camera / 1e6
    place = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
    path, block = place / f".surefoot-doctor-{os.getpid()}", os.urandom(2**20)
    try:
        began = time.monotonic()
        with path.open("wb", buffering=0) as file:
            for _ in range(WRITTEN // len(block)):
                file.write(block)
            os.fsync(file.fileno())
        rate = WRITTEN / (time.monotonic() - began) / 1e6
    except OSError as error:
        return Check(line, "fail", f"{place}: {error.strerror}", "make room, or record elsewhere")
    finally:
        path.unlink(missing_ok=True)
    found = f"{rate:.0f} MB/s in {place}; raw pictures are {raw:.1f} MB/s, as JPEG about {raw / 15:.1f} MB/s"
    if rate < 2 * raw / 15:
        return Check(line, "fail", found, "record to another disk: an SD card is too slow, an SSD is not")
    if rate < 1.5 * raw:
        return Check(line, "warn", found, "record compressed pictures, or to an SSD")
    return Check(line, "ok", found)
