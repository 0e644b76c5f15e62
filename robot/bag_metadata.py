"""metadata.yaml of a rosbag2 folder, in version 5 of its format: Humble reads it, and all that came after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import yaml

from robot.recorded import Topic

if TYPE_CHECKING:
    from robot.bag import FileSummary

_FOR_EVER = {"sec": 9223372036, "nsec": 854775807}


def qos_yaml(topic: Topic) -> str:
    """How the topic was heard, as rosbag2 says it: numbers are those of rmw."""
    return yaml.safe_dump(
        [
            {
                "history": 1,
                "depth": topic.depth,
                "reliability": 2 if topic.heard == "sensor" else 1,
                "durability": 1 if topic.heard == "state" else 2,
                "deadline": dict(_FOR_EVER),
                "lifespan": dict(_FOR_EVER),
                "liveliness": 1,
                "liveliness_lease_duration": dict(_FOR_EVER),
                "avoid_ros_namespace_conventions": False,
            }
        ],
        sort_keys=False,
    )


def metadata_yaml(topics: Sequence[Topic], files: Sequence[FileSummary]) -> str:
    """Of all files so far; the last one may still grow."""
    heard = [one for one in files if one.counts]
    start = min((one.start for one in heard), default=0)
    stop = max((one.stop for one in heard), default=0)
    about: dict[str, Any] = {
        "version": 5,
        "storage_identifier": "mcap",
        "relative_file_paths": [one.name for one in files],
        "duration": {"nanoseconds": stop - start},
        "starting_time": {"nanoseconds_since_epoch": start},
        "message_count": sum(one.counts.total() for one in files),
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic.topic,
                    "type": topic.kind,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": qos_yaml(topic),
                },
                "message_count": sum(one.counts[topic.name] for one in files),
            }
            for topic in topics
        ],
        "compression_format": "",
        "compression_mode": "",
        "files": [
            {
                "path": one.name,
                "starting_time": {"nanoseconds_since_epoch": one.start},
                "duration": {"nanoseconds": one.stop - one.start},
                "message_count": one.counts.total(),
            }
            for one in files
        ],
    }
    return yaml.safe_dump({"rosbag2_bagfile_information": about}, sort_keys=False)
