"""Which topic of a bag is which sensor, and what its messages say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from robot import messages
from robot.bag import BagError
from robot.config import RobotConfig
from robot.recorded import PICTURES, TWIST
from robot.safety import Command

STAMPED = "geometry_msgs/msg/TwistStamped"


@dataclass(frozen=True)
class Source:
    """A stream of a drive in a bag. guessed: no name said so, it is the only one of its kind."""

    name: str
    topic: str
    kind: str
    guessed: bool = False


@dataclass(frozen=True)
class GuardWords:
    """What the guard said."""

    armed: bool
    held: bool


def _guard(message: Any, topic: str) -> GuardWords:
    try:
        said = json.loads(message.data)
        return GuardWords(bool(said["armed"]), said["reason"] is not None)
    except (ValueError, KeyError, TypeError) as error:
        raise messages.MessageError(f"{topic}: {message.data[:80]!r} is not what a guard says") from error


def _velocity(message: Any, topic: str) -> tuple[float, float]:
    x, y, _ = messages.vector(message.twist.linear, topic, "twist.linear")
    return float(x), float(y)


def _command(message: Any, topic: str) -> Command:
    stamped = hasattr(message, "header")
    return messages.twist(message.twist if stamped else message, topic)


def _dropped(message: Any, topic: str) -> dict[str, int] | None:
    """By our recorder's own count."""
    for status in message.status:
        if status.name == "surefoot: recorder":
            values = {one.key: one.value for one in status.values}
            found: dict[str, int] = json.loads(values.get("dropped", "{}"))
            return found
    return None


@dataclass(frozen=True)
class _Kind:
    kinds: tuple[str, ...]
    decode: Callable[[Any, str], Any] | None
    """None: pictures, which are unpacked only when one is needed"""
    needed: bool = True


KINDS: Mapping[str, _Kind] = {
    "camera": _Kind(PICTURES, None),
    "imu": _Kind(("sensor_msgs/msg/Imu",), messages.imu),
    "odometry": _Kind(("nav_msgs/msg/Odometry",), messages.odometry),
    "lidar": _Kind(("sensor_msgs/msg/LaserScan",), messages.scan),
    "position": _Kind(("sensor_msgs/msg/NavSatFix",), messages.fix),
    "command": _Kind((TWIST, STAMPED), _command),
    "velocity": _Kind((STAMPED,), _velocity, needed=False),
    "goal": _Kind(("sensor_msgs/msg/NavSatFix",), messages.fix, needed=False),
    "wish": _Kind((STAMPED,), _command, needed=False),
    "guard": _Kind(("std_msgs/msg/String",), _guard, needed=False),
    "diagnostics": _Kind(("diagnostic_msgs/msg/DiagnosticArray",), _dropped, needed=False),
}
"""What is made of a bag; the others are for people to look at"""


def bag_config(about: Mapping[str, str]) -> RobotConfig:
    """The robot's, as our recorder saved it; the defaults for others' bags."""
    saved = json.loads(about.get("config", "{}"))
    known = dict(RobotConfig().parameters())  # another version may have had others
    return RobotConfig.from_mapping({name: value for name, value in saved.items() if name in known})


def find_sources(
    there: Mapping[str, str], about: Mapping[str, str], config: RobotConfig
) -> dict[str, Source]:
    """{name: where it is}. there: {topic: kind} of the bag.

    Raises BagError for a topic that is missing or of another kind.
    """
    saved: dict[str, str] = json.loads(about.get("topics", "{}"))
    ours = {"topics.guard": "guard/state", "topics.diagnostics": "/diagnostics"}
    configured = {**dict(config.parameters()), **ours}
    names = {name: saved.get(name) or _full(str(configured[f"topics.{name}"])) for name in KINDS}
    found: dict[str, Source] = {}
    for name, about_it in KINDS.items():
        topic = names[name]
        if topic in there:
            if there[topic] not in about_it.kinds:
                raise BagError(
                    f"{topic} is {there[topic]}, expected {' or '.join(about_it.kinds)}: name the "
                    f"right topic in --config as topics.{name}"
                )
            found[name] = Source(name, topic, there[topic])
        elif about_it.needed and not (name == "lidar" and not config.safety.use_lidar):
            found[name] = _only_one(name, topic, there, set(names.values()))
    return found


def _only_one(name: str, topic: str, there: Mapping[str, str], taken: set[str]) -> Source:
    kinds = KINDS[name].kinds
    others = [other for other, kind in there.items() if kind in kinds and other not in taken]
    if len(others) == 1 and name != "command":
        return Source(name, others[0], there[others[0]], guessed=True)
    if others:
        known = ", ".join(sorted(others))
        fix = f"of this kind there is {known}: name the right one in --config as topics.{name}"
    elif name == "lidar":
        fix = "record it, or set safety.use_lidar: false in --config"
    else:
        fix = f"the bag has {', '.join(sorted(there)) or 'no messages'}: record it too"
    raise BagError(f"the bag has no {name}: no topic {topic} ({' or '.join(kinds)}); {fix}")


def _full(topic: str) -> str:
    return topic if topic.startswith("/") else f"/{topic}"
