"""What a rover is and may do: topics, rates, limits, timeouts, camera, safety.

Every number has a unit and a range that is checked when the object is made. A value outside it, a
wrong type or an unknown key is a ConfigError: ROS itself ignores a misspelt parameter in silence.
The field names are the names of the ROS parameters, `limits.speed` and so on.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml


class ConfigError(ValueError):
    """A robot configuration that cannot be used; the message names the key and the remedy."""


def _number(default: float, unit: str, low: float, high: float) -> Any:
    return field(default=default, metadata={"unit": unit, "low": low, "high": high})


@dataclass(frozen=True)
class Topics:
    """ROS topic names, relative to the robot's namespace."""

    camera: str = "camera/image_raw"
    """sensor_msgs/Image"""
    imu: str = "imu/data"
    """sensor_msgs/Imu"""
    odometry: str = "odometry/filtered"
    """nav_msgs/Odometry"""
    position: str = "gps/fix"
    """sensor_msgs/NavSatFix"""
    velocity: str = "gps/vel"
    """geometry_msgs/TwistStamped, m/s east and north by Doppler"""
    goal: str = "goal"
    """sensor_msgs/NavSatFix: where to drive"""
    path: str = "plan"
    """nav_msgs/Path: where to drive along, such as nav2's; the newest of goal and path counts"""
    lidar: str = "scan"
    """sensor_msgs/LaserScan"""
    wish: str = "cmd_vel_raw"
    """geometry_msgs/TwistStamped: what the planner wants"""
    command: str = "cmd_vel"
    """what the base gets; the guard is its only publisher"""
    estop: str = "estop"
    """std_msgs/Bool, true stops"""
    link: str = "link"
    """std_msgs/Header: heartbeat of the operator's station, each with a later stamp"""
    joystick: str = "joy"
    """sensor_msgs/Joy: while its dead-man button is held, a person drives"""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Rates:
    """How often things happen, Hz."""

    guard: float = _number(20.0, "Hz", 5.0, 200.0)
    """commands to the base"""
    plan: float = _number(4.0, "Hz", 0.5, 50.0)
    """decisions; BADGR takes one each 0.25 s"""
    camera: float = _number(15.0, "Hz", 1.0, 120.0)

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Limits:
    """The fastest the guard lets the base go."""

    speed: float = _number(2.0, "m/s", 0.05, 5.0)
    """forwards; a Jackal's top speed"""
    reverse_speed: float = _number(0.5, "m/s", 0.0, 2.0)
    """backwards, where no camera looks"""
    turn_rate: float = _number(1.5, "rad/s", 0.05, 4.0)
    """to either side"""
    acceleration: float = _number(1.0, "m/s^2", 0.05, 10.0)
    """when getting faster"""
    braking: float = _number(2.0, "m/s^2", 0.1, 10.0)
    """when getting slower; the stopping distance reckons with it, so measure it on the ground"""
    turn_acceleration: float = _number(4.0, "rad/s^2", 0.1, 20.0)

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Timeouts:
    """Age at which a message no longer counts, s."""

    planner: float = _number(0.2, "s", 0.05, 2.0)
    """the wished command; the planner repeats its plan's next action at the guard's rate"""
    camera: float = _number(0.2, "s", 0.05, 2.0)
    odometry: float = _number(0.2, "s", 0.05, 2.0)
    imu: float = _number(0.2, "s", 0.05, 2.0)
    lidar: float = _number(0.4, "s", 0.05, 2.0)
    position: float = _number(2.5, "s", 0.2, 30.0)
    """the GPS fix; the guard does not watch it, the planner does"""
    link: float = _number(1.0, "s", 0.1, 10.0)
    joystick: float = _number(0.25, "s", 0.05, 1.0)
    guard: float = _number(0.15, "s", 0.05, 1.0)
    """how late the guard itself may be before it gives up"""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Camera:
    """What the driver publishes."""

    width: int = _number(640, "pixels", 32, 4096)
    height: int = _number(480, "pixels", 24, 4096)
    compressed: bool = False
    """true: topics.camera is a sensor_msgs/CompressedImage (JPEG or PNG)"""
    view_across: float = _number(2.336, "rad", 0.1, 3.0)
    """angle from the left to the right edge of the picture; where the live view draws the planned ways"""
    view_down: float = _number(2.129, "rad", 0.1, 3.0)
    """from the upper to the lower edge"""
    forward: float = _number(0.15, "m", -3.0, 3.0)
    """of the lens, ahead of the turning centre"""
    up: float = _number(0.35, "m", 0.02, 3.0)
    """of the lens, above the ground"""
    tilt: float = _number(0.0, "rad", -1.5, 1.5)
    """of the lens, downward"""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Body:
    """The robot's outline, a rectangle around its turning centre, and where the lidar sits on it."""

    length: float = _number(0.508, "m", 0.1, 3.0)
    width: float = _number(0.43, "m", 0.1, 3.0)
    side_margin: float = _number(0.05, "m", 0.0, 1.0)
    """to either side, what counts as in the way"""
    lidar_forward: float = _number(0.1, "m", -2.0, 2.0)
    """ahead of the turning centre"""
    lidar_turn: float = _number(0.0, "rad", -3.15, 3.15)
    """to the left, of the lidar's x axis against ahead"""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Joystick:
    """How a person drives: axes and buttons by their numbers in sensor_msgs/Joy."""

    dead_man: int = _number(4, "button", 0, 64)
    """must be held; the left shoulder of most pads"""
    speed_axis: int = _number(1, "axis", 0, 64)
    turn_axis: int = _number(0, "axis", 0, 64)
    speed: float = _number(0.8, "m/s", 0.05, 5.0)
    """at full deflection"""
    turn_rate: float = _number(1.0, "rad/s", 0.05, 4.0)

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Base:
    """The motor controller that `topics.command` goes to."""

    stamped: bool = False
    """true: it takes geometry_msgs/TwistStamped, false: Twist"""
    timeout: float = _number(0.2, "s", 0.05, 2.0)
    """after which it stops by itself when no command comes: the last line, for when the guard dies. The
    simulated base obeys it; set the same in the real one and try it"""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Safety:
    """When to stop."""

    use_lidar: bool = True
    """false off road: to a lidar, grass that can be driven through is a wall"""
    use_link: bool = True
    """false where no operator's station sends a heartbeat"""
    margin: float = _number(0.25, "m", 0.05, 5.0)
    """left between bumper and obstacle after a stop"""
    reaction_seconds: float = _number(0.3, "s", 0.05, 2.0)
    """from an obstacle's appearance until the wheels brake: sensor, guard, base"""
    tilt: float = _number(0.61, "rad", 0.1, 1.4)
    """roll or pitch; 35 degrees"""
    geofence_radius: float = _number(100.0, "m", 1.0, 100_000.0)
    """around the place where the robot was armed"""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class RobotConfig:
    """Everything about one rover. The defaults are those of a Jackal-like one of 17 kg."""

    name: str = "rover"
    topics: Topics = field(default_factory=Topics)
    rates: Rates = field(default_factory=Rates)
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    camera: Camera = field(default_factory=Camera)
    body: Body = field(default_factory=Body)
    base: Base = field(default_factory=Base)
    joystick: Joystick = field(default_factory=Joystick)
    safety: Safety = field(default_factory=Safety)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError(f"name must be text that is not empty, got {self.name!r}")
        for part in fields(self)[1:]:
            value, section = getattr(self, part.name), _SECTIONS[part.name]
            if not isinstance(value, section):
                raise ConfigError(f"{part.name} must be a {section.__name__}, got {value!r}")
        for timeout, rate in (("planner", "guard"), ("camera", "camera")):
            seconds, two_periods = getattr(self.timeouts, timeout), 2 / getattr(self.rates, rate)
            if seconds < two_periods:
                raise ConfigError(
                    f"timeouts.{timeout} is {seconds:g} s, less than two periods of rates.{rate} "
                    f"({two_periods:g} s): one late message would stop the robot. Raise one of them"
                )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> RobotConfig:
        """From {"limits": {"speed": 1.0}} or {"limits.speed": 1.0}; what is not named keeps its default.

        Raises ConfigError for unknown keys (with the nearest name), wrong types and ranges.
        """
        known = dict(cls().parameters())
        given: dict[str, dict[str, Any]] = {}
        for name, value in _flat(values):
            if name not in known:
                raise ConfigError(_unknown(name, list(known)))
            section, _, key = name.rpartition(".")
            if key in given.get(section, {}):
                raise ConfigError(f"{name} is given twice")
            given.setdefault(section, {})[key] = value
        top = given.pop("", {})
        return cls(**top, **{section: _SECTIONS[section](**part) for section, part in given.items()})

    @classmethod
    def from_yaml(cls, path: str | Path) -> RobotConfig:
        """From a ROS parameter file (`/**: ros__parameters: …`) or the same without these two keys.

        Raises ConfigError, with the file's name in front; FileNotFoundError.
        """
        try:
            loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
            return cls.from_mapping(_without_node(loaded))
        except (ConfigError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from error

    def parameters(self) -> Iterator[tuple[str, bool | int | float | str]]:
        """Every value under its ROS name, ("limits.speed", 2.0), in the order of the fields."""
        yield "name", self.name
        for section in _SECTIONS:
            part = getattr(self, section)
            for entry in fields(part):
                yield f"{section}.{entry.name}", getattr(part, entry.name)


_SECTIONS: dict[str, Any] = {
    "topics": Topics,
    "rates": Rates,
    "limits": Limits,
    "timeouts": Timeouts,
    "camera": Camera,
    "body": Body,
    "base": Base,
    "joystick": Joystick,
    "safety": Safety,
}


def _check(part: Any) -> None:
    """Types and ranges of one section; an int where a float is meant becomes one."""
    for entry in fields(part):
        name, value = f"{type(part).__name__.lower()}.{entry.name}", getattr(part, entry.name)
        if isinstance(entry.default, bool | str):
            kind = "true or false" if isinstance(entry.default, bool) else "text that is not empty"
            if type(value) is not type(entry.default) or value == "":
                raise ConfigError(f"{name} must be {kind}, got {value!r}")
            continue
        unit, low, high = (entry.metadata[key] for key in ("unit", "low", "high"))
        whole = isinstance(entry.default, int)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ConfigError(f"{name} must be a {'whole ' * whole}number ({unit}), got {value!r}")
        if not (math.isfinite(value) and low <= value <= high):
            raise ConfigError(f"{name} must lie between {low:g} and {high:g} {unit}, got {value:g}")
        if not whole:
            object.__setattr__(part, entry.name, float(value))


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if name not in _SECTIONS:
            yield str(name), value
        elif isinstance(value, Mapping):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        elif value is not None:  # an empty section in YAML is None
            raise ConfigError(f"{name} must be a table of keys and values, got {value!r}")


def _without_node(loaded: Any) -> Mapping[str, Any]:
    """The parameters below `node: ros__parameters:`; one node only."""
    if loaded is None:
        return {}
    if not isinstance(loaded, Mapping):
        raise ConfigError(f"expected a table of keys and values, got {type(loaded).__name__}")
    nodes = [value for value in loaded.values() if isinstance(value, Mapping) and "ros__parameters" in value]
    if not nodes:
        return loaded
    if len(loaded) > 1 or len(nodes[0]) > 1:
        raise ConfigError("expected one node with nothing but ros__parameters in it")
    return _without_node(nodes[0]["ros__parameters"])


def _unknown(name: str, known: list[str]) -> str:
    # A key may also stand in the wrong section, and several sections may have one of its name.
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    words = {key.rpartition(".")[2] for key in known}
    alike = difflib.get_close_matches(name.rpartition(".")[2], sorted(words), n=1, cutoff=0.8)
    near += [key for key in known if key.rpartition(".")[2] in alike]
    if near:
        return f"unknown key {name}; did you mean {' or '.join(dict.fromkeys(near))}?"
    return f"unknown key {name}; there are: name, {', '.join(_SECTIONS)}"
