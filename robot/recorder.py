"""`surefoot robot record`: everything that makes a drive training data, as a rosbag2 folder.

It only listens, in a process of its own: when it ends, falls behind or its disk fills, the robot drives on.
What it drops and why it stopped is on /diagnostics, and in the report at the end.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from robot import to_messages
from robot.bag import BagConfig, BagWriter, DiskFile, Sink, definitions
from robot.config import RobotConfig
from robot.node import RosNode, open_node, sensor_qos, state_qos
from robot.parameters import declare
from robot.record_queue import Heard
from robot.recorded import Topic, recorded_topics
from robot.recording import Recording, RecordingConfig, RecordingReport

log = logging.getLogger(__name__)

REPORT_SECONDS = 1.0


@dataclass(frozen=True)
class RecordOptions:
    """out: a new folder; None: recordings/<name>-<time>. also: further topics, of ROS's common types."""

    out: Path | None = None
    also: tuple[str, ...] = ()
    also_seconds: float = 10.0
    """how long to wait for somebody who says what these are"""
    seconds: float = float("inf")
    """after which it ends"""
    bag: BagConfig = field(default_factory=BagConfig)
    recording: RecordingConfig = field(default_factory=RecordingConfig)


class Recorder:
    """The node around a Recording."""

    def __init__(
        self,
        ros: RosNode,
        config: RobotConfig,
        options: RecordOptions,
        open_file: Callable[[Path], Sink] = DiskFile,
    ) -> None:
        from diagnostic_msgs.msg import DiagnosticArray

        self._ros, self._config = ros, config
        topics = [*recorded_topics(config), *further_topics(ros, options.also, options.also_seconds)]
        topics = [replace(one, topic=ros.node.resolve_topic_name(one.topic)) for one in topics]
        folder = (
            options.out or Path("recordings") / f"{config.name}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
        )
        bag = BagWriter(folder, topics, about=about(config, topics), config=options.bag, open_file=open_file)
        self._recording = Recording(bag, options.recording)
        self._dropped_before = 0
        self._next_report = 0.0
        self._diagnostics = ros.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        for topic in topics:
            self._listen(topic)
        log.info("recorder: ready, %d topics into %s", len(topics), folder)

    def run(self, seconds: float = float("inf")) -> RecordingReport:
        """Until the node is told to end, or so many seconds have passed."""
        end = time.monotonic() + seconds
        while not self._ros.ending.is_set() and time.monotonic() < end:
            self._ros.spin_in_turn(min(0.25, end - time.monotonic()))
            self._publish(time.monotonic())
        report = self._recording.close()
        log.info(
            "recorder: %d messages, %.1f MB in %s",
            sum(report.messages.values()),
            report.bytes / 1e6,
            report.folder,
        )
        return report

    def _listen(self, topic: Topic) -> None:
        name, is_picture, put = topic.name, topic.is_picture, self._recording.put

        def heard(data: bytes, info: dict[str, int]) -> None:
            came = info.get("received_timestamp") or time.time_ns()
            put(Heard(name, data, came, info.get("source_timestamp") or came, is_picture))

        self._ros.node.create_subscription(_class_of(topic.kind), topic.topic, heard, _qos(topic), raw=True)

    def _publish(self, now: float) -> None:
        from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

        if now < self._next_report:
            return
        self._next_report = now + REPORT_SECONDS
        report = self._recording.report()
        dropped = sum(report.dropped.values())
        level, message = DiagnosticStatus.OK, "records"
        if report.stopped:
            level, message = DiagnosticStatus.ERROR, report.stopped
        elif dropped > self._dropped_before:
            level = DiagnosticStatus.WARN
            message = f"the disk is too slow: {dropped} messages were dropped so far"
            log.warning("recorder: %s (%s)", message, report.dropped)
        self._dropped_before = dropped
        values = {
            "folder": report.folder,
            "seconds": f"{report.seconds:.0f}",
            "written MB": f"{report.bytes / 1e6:.1f}",
            "waiting MB": f"{report.waiting_bytes / 1e6:.1f}",
            "free GB": f"{report.free_bytes / 1e9:.1f}",
            "worst flush ms": f"{report.flush_ms_worst:.0f}",
            "dropped": json.dumps(report.dropped),
        }
        status = DiagnosticStatus(
            level=level,
            name="surefoot: recorder",
            message=message,
            hardware_id=self._config.name,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        self._diagnostics.publish(
            DiagnosticArray(header=to_messages.header(time.time(), ""), status=[status])
        )


def run_recorder(
    config: RobotConfig, options: RecordOptions, arguments: Sequence[str] = ()
) -> RecordingReport:
    """Until SIGINT or SIGTERM. arguments: ROS's own. Raises BagError where nothing can be recorded."""
    definitions([topic.kind for topic in recorded_topics(config)])
    with open_node("recorder", arguments) as ros:
        config = declare(ros.node, config)
        return Recorder(ros, config, options).run(options.seconds)


def about(config: RobotConfig, topics: Sequence[Topic]) -> dict[str, str]:
    """The robot's configuration and the full names of its topics, as the head of a bag keeps them."""
    names = {topic.name: topic.topic for topic in topics}
    return {"format": "1", "config": json.dumps(dict(config.parameters())), "topics": json.dumps(names)}


def further_topics(ros: RosNode, names: Sequence[str], seconds: float) -> list[Topic]:
    """What is published under these names. Raises TimeoutError where nobody says what it is."""
    topics = []
    for name in names:
        full = ros.node.resolve_topic_name(name)

        def kinds(full: str = full) -> list[str]:
            found: list[str] = dict(ros.node.get_topic_names_and_types()).get(full, [])
            return found

        ros.wait_for(lambda kinds=kinds: bool(kinds()), seconds, f"a publisher of {full}: is the name right?")  # type: ignore[misc]
        topics.append(Topic(name, full, kinds()[0], "sensor", 20))
    return topics


def _class_of(kind: str) -> type:
    import importlib

    package, _, name = kind.split("/")
    found: type = getattr(importlib.import_module(f"{package}.msg"), name)
    return found


def _qos(topic: Topic) -> Any:
    from rclpy.qos import QoSProfile

    if topic.heard == "sensor":
        return sensor_qos(topic.depth)
    if topic.heard == "state":
        profile = state_qos()
        profile.depth = topic.depth
        return profile
    return QoSProfile(depth=topic.depth)
