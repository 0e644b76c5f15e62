"""For tests of bags: a drive whose every number says when it was measured, as ROS messages. No ROS."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from robot.bag import BagConfig, BagWriter, typestore
from robot.config import RobotConfig
from robot.record_queue import Heard
from robot.recorded import PICTURES, TWIST, Topic, recorded_topics
from robot.recorder import about

START = 1_700_000_000.0
"""s; when drives begin"""
RATES = {
    "camera": 30.0, "imu": 100.0, "odometry": 50.0, "lidar": 10.0, "position": 5.0, "velocity": 10.0,
    "wish": 20.0, "command": 20.0,
}  # fmt: skip
LATE = {"camera": 0.02, "imu": 0.001, "odometry": 0.002, "lidar": 0.01, "position": 0.05, "velocity": 0.01}
"""s that messages come after their stamps"""
ORIGIN = (47.0, 8.0)
CONFIG = RobotConfig.from_mapping({"camera.width": 128, "camera.height": 96})


def turn_rate(decision: int) -> float:
    """rad/s that the driver wishes for in a decision: another one each time."""
    return round(0.5 * math.sin(decision), 3)


@dataclass(frozen=True)
class Drive:
    """speed: m/s along x; the picture's pixels, the odometry's x and the IMU's gyro say the time.

    phase: s after START of the driver's first decision. without: names of streams that are not there.
    change: gets (name, seconds since START, message) and may give another message, or None for none.
    """

    seconds: float = 10.0
    speed: float = 1.0
    phase: float = 0.1
    size: tuple[int, int] = (96, 128)
    compressed: bool = False
    without: tuple[str, ...] = ()
    rates: dict[str, float] = field(default_factory=lambda: dict(RATES))
    armed: Callable[[float], bool] = lambda seconds: True
    change: Callable[[str, float, Any], Any] | None = None
    offset: dict[str, float] = field(default_factory=dict)
    """s that a stream's stamps are off"""


class Maker:
    """Makes messages."""

    def __init__(self, drive: Drive) -> None:
        self.drive, self.store = drive, typestore()

    def make(self, kind: str, **fields: Any) -> Any:
        """With zeros and empty texts for what is not given."""
        made = {}
        for name, (about_it, detail) in self.store.get_msgdef(kind).fields:
            made[name] = fields.pop(name) if name in fields else self._zero(int(about_it), detail)
        assert not fields, f"{kind} has no {', '.join(fields)}"
        return self.store.types[kind](**made)

    def _zero(self, node: int, detail: Any) -> Any:
        if node == 1:  # base type
            return "" if detail[0] == "string" else False if detail[0] == "bool" else 0
        if node == 2:  # another message
            return self.make(detail)
        (inner, inner_detail), count = detail
        dtypes = {"float64": np.float64, "float32": np.float32, "uint8": np.uint8, "int32": np.int32}
        if inner == 1 and inner_detail[0] in dtypes:
            return np.zeros(count, dtypes[inner_detail[0]])
        return [self._zero(int(inner), inner_detail) for _ in range(count)]

    def header(self, seconds: float, frame: str = "") -> Any:
        whole = math.floor(seconds)
        nanosec = min(round((seconds - whole) * 1e9), 999_999_999)
        stamp = self.make("builtin_interfaces/msg/Time", sec=whole, nanosec=nanosec)
        return self.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)

    def vector(self, x: float, y: float, z: float) -> Any:
        return self.make("geometry_msgs/msg/Vector3", x=float(x), y=float(y), z=float(z))

    def twist(self, speed: float, turn: float) -> Any:
        return self.make(TWIST, linear=self.vector(speed, 0, 0), angular=self.vector(0, 0, turn))

    def stamped(self, at: float, speed: float, turn: float, aside: float = 0.0) -> Any:
        twist = self.make(TWIST, linear=self.vector(speed, aside, 0), angular=self.vector(0, 0, turn))
        return self.make("geometry_msgs/msg/TwistStamped", header=self.header(at), twist=twist)

    def picture(self, at: float, since: float) -> Any:
        """Every pixel says the frame's number, modulo 251."""
        height, width = self.drive.size
        pixels = np.full((height, width, 3), frame_number(since, self.drive.rates["camera"]) % 251, np.uint8)
        if self.drive.compressed:
            import io

            from PIL import Image

            packed = io.BytesIO()
            Image.fromarray(pixels).save(packed, "PNG")
            data = np.frombuffer(packed.getvalue(), np.uint8)
            return self.make(PICTURES[1], header=self.header(at), format="png", data=data)
        return self.make(
            PICTURES[0], header=self.header(at), height=height, width=width, encoding="rgb8", step=3 * width,
            data=pixels.reshape(-1),
        )  # fmt: skip

    def message(self, name: str, since: float) -> Any:
        """since: s after START of its stamp."""
        drive, at = self.drive, START + since + self.drive.offset.get(name, 0.0)
        upright = self.make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
        if name == "camera":
            return self.picture(at, since)
        if name == "imu":
            return self.make(
                "sensor_msgs/msg/Imu", header=self.header(at), orientation=upright,
                angular_velocity=self.vector(0, 0, since), linear_acceleration=self.vector(since, 0, 9.81),
            )  # fmt: skip
        if name == "odometry":
            place = self.make("geometry_msgs/msg/Point", x=drive.speed * since, y=0.0, z=0.0)
            pose = self.make("geometry_msgs/msg/Pose", position=place, orientation=upright)
            pose = self.make("geometry_msgs/msg/PoseWithCovariance", pose=pose)
            twist = self.make("geometry_msgs/msg/TwistWithCovariance", twist=self.twist(drive.speed, 0.0))
            return self.make("nav_msgs/msg/Odometry", header=self.header(at), pose=pose, twist=twist)
        if name == "lidar":
            return self.make(
                "sensor_msgs/msg/LaserScan", header=self.header(at), angle_min=0.0, angle_max=2 * math.pi,
                angle_increment=2 * math.pi / 360, range_min=0.1, range_max=12.0,
                ranges=np.full(360, 2.0 + since / 100, np.float32),
            )  # fmt: skip
        if name == "position":
            status = self.make("sensor_msgs/msg/NavSatStatus", status=0)
            north = ORIGIN[0] + drive.speed * since / 111_195.0
            return self.make(
                "sensor_msgs/msg/NavSatFix", header=self.header(at), status=status, latitude=north,
                longitude=ORIGIN[1],
            )  # fmt: skip
        if name == "velocity":
            return self.stamped(at, 0.0, 0.0, drive.speed)
        decision = max(math.floor((since - drive.phase) / 0.25 + 1e-9), 0)
        if name == "wish":
            return self.stamped(at, drive.speed, turn_rate(decision))
        assert name == "command"
        return self.twist(drive.speed, turn_rate(decision))


def frame_number(since: float, rate: float) -> int:
    """Of the picture taken `since` s after the beginning."""
    return round(since * rate)


def heard(drive: Drive) -> Iterator[Heard]:
    """What a recorder hears, in the order in which it comes."""
    maker = Maker(drive)
    kinds = {topic.name: topic.kind for topic in topics(drive)}
    said: list[tuple[float, str, float]] = []
    for name, rate in drive.rates.items():
        if name in drive.without:
            continue
        # The driver's messages are in step with its decisions, the sensors' with the clock.
        first = drive.phase % (1 / rate) if name in ("wish", "command") else 0.0
        for k in range(int((drive.seconds - first) * rate) + 1):
            since = first + k / rate
            said.append((since + LATE.get(name, 0.0), name, since))
    if "guard" not in drive.without:
        states = [(k / 20, drive.armed(k / 20)) for k in range(int(drive.seconds * 20))]
        changes = [one for i, one in enumerate(states) if i == 0 or one[1] != states[i - 1][1]]
        said += [(at, "guard", at) for at, _ in changes]
    for come, name, since in sorted(said):
        if name == "guard":
            armed = drive.armed(since)
            text = json.dumps({"armed": armed, "reason": None if armed else "disarmed by an operator"})
            message = maker.make("std_msgs/msg/String", data=text)
        else:
            message = maker.message(name, since)
        if drive.change is not None:
            message = drive.change(name, since, message)
        if message is None:
            continue
        data = bytes(maker.store.serialize_cdr(message, kinds[name]))
        sent = round((START + since + drive.offset.get(name, 0.0)) * 1e9)
        yield Heard(name, data, round((START + come) * 1e9), sent, name == "camera")


def topics(drive: Drive) -> list[Topic]:
    """Of CONFIG, with their full names."""
    made = [replace(one, topic="/" + one.topic.lstrip("/")) for one in recorded_topics(CONFIG)]
    kind = PICTURES[1] if drive.compressed else PICTURES[0]
    return [replace(one, kind=kind) if one.name == "camera" else one for one in made]


def write(folder: Path, drive: Drive, config: BagConfig | None = None, flush_every: float = 1.0) -> Path:
    """A bag, as the recorder writes it."""
    names = topics(drive)
    bag = BagWriter(folder, names, about=about(CONFIG, names), config=config)
    due = START + flush_every
    for one in heard(drive):
        bag.write(one)
        if one.log_time * 1e-9 > due:
            bag.flush()
            due += flush_every
    bag.close()
    return folder
