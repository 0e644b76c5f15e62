"""ROS messages as NumPy: pure functions that look at every field before anything believes it.

They need no ROS to be imported: a message is whatever has the fields. Each takes the topic for its errors,
which name topic, field and fix. The other way round stands in `to_messages`.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from robot.config import Joystick
from robot.safety import Command

Array = NDArray[Any]

CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1}
"""of the encodings that are understood"""


class MessageError(ValueError):
    """A message that cannot be used; says topic, field, what was expected, what came and the remedy."""


@dataclass(frozen=True)
class ImuReading:
    """angular_velocity: (3,) rad/s and linear_acceleration: (3,) m/s^2 about and along forward, left, up.

    orientation: (roll, pitch, heading) rad, heading anticlockwise from east; None where the IMU has none.
    """

    angular_velocity: Array
    linear_acceleration: Array
    orientation: tuple[float, float, float] | None


@dataclass(frozen=True)
class OdometryReading:
    """pose: (3,) x m, y m, heading rad from its own start; speed: m/s; turn_rate: rad/s to the left."""

    pose: Array
    speed: float
    turn_rate: float
    roll: float
    pitch: float


def stamp_seconds(message: Any, topic: str) -> float:
    """s of the sender's clock. Raises MessageError for a stamp that was never set."""
    return _seconds(message.header.stamp.sec, message.header.stamp.nanosec, topic)


def raw_stamp_seconds(serialized: bytes, topic: str) -> float:
    """As `stamp_seconds`, of a serialized message that begins with a header: cheap for pictures."""
    if len(serialized) < 12:
        raise MessageError(f"{topic}: {len(serialized)} bytes are no message with a header")
    # CDR: the second byte says little or big endian, the content begins after four.
    seconds, nanoseconds = struct.unpack_from("<iI" if serialized[1] & 1 else ">iI", serialized, 4)
    return _seconds(seconds, nanoseconds, topic)


def image(message: Any, topic: str, size: tuple[int, int] | None = None) -> Array:
    """(height, width, 3) uint8 red green blue of a sensor_msgs/Image. size: (height, width) expected."""
    channels = CHANNELS.get(message.encoding)
    if channels is None:
        raise MessageError(
            f"{topic}: encoding is {message.encoding!r}, expected one of {', '.join(CHANNELS)}: "
            "set the camera driver to rgb8"
        )
    height, width, step = int(message.height), int(message.width), int(message.step)
    _expect_size(topic, (height, width), size)
    if height < 1 or step < width * channels or len(message.data) != step * height:
        raise MessageError(
            f"{topic}: data has {len(message.data)} bytes and step is {step}, expected {height} rows of at "
            f"least {width * channels} bytes: the frame is torn"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)
    pixels: Array = rows[:, : width * channels].reshape(height, width, channels)
    if message.encoding.startswith("bgr"):
        pixels = pixels[..., 2::-1]
    return np.repeat(pixels, 3, -1) if channels == 1 else np.ascontiguousarray(pixels[..., :3])


def compressed_image(message: Any, topic: str, size: tuple[int, int] | None = None) -> Array:
    """As `image`, of a sensor_msgs/CompressedImage with a JPEG or PNG in it."""
    try:
        picture = Pillow.open(io.BytesIO(bytes(message.data)), formats=("JPEG", "PNG"))
        _expect_size(topic, (picture.height, picture.width), size)  # before anything is unpacked
        return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, MessageError):
            raise
        raise MessageError(
            f"{topic}: data is no whole JPEG or PNG (format says {message.format!r}): {error}"
        ) from error


def imu(message: Any, topic: str) -> ImuReading:
    """Of a sensor_msgs/Imu in the robot's own axes."""
    gyro = vector(message.angular_velocity, topic, "angular_velocity")
    acceleration = vector(message.linear_acceleration, topic, "linear_acceleration")
    for field in ("angular_velocity", "linear_acceleration"):
        if getattr(message, f"{field}_covariance")[0] == -1:
            raise MessageError(f"{topic}: {field}_covariance says that the IMU does not measure it")
    absent = message.orientation_covariance[0] == -1 or not any(_quaternion(message.orientation))
    orientation = None if absent else euler(_checked(message.orientation, topic, "orientation"))
    return ImuReading(gyro, acceleration, orientation)


def odometry(message: Any, topic: str) -> OdometryReading:
    """Of a nav_msgs/Odometry whose twist is in the robot's frame, as REP 105 has it."""
    position = vector(message.pose.pose.position, topic, "pose.pose.position")
    angles = euler(_checked(message.pose.pose.orientation, topic, "pose.pose.orientation"))
    linear = vector(message.twist.twist.linear, topic, "twist.twist.linear")
    angular = vector(message.twist.twist.angular, topic, "twist.twist.angular")
    pose = np.array([position[0], position[1], angles[2]])
    return OdometryReading(pose, float(linear[0]), float(angular[2]), angles[0], angles[1])


def fix(message: Any, topic: str) -> tuple[float, float] | None:
    """(latitude, longitude) degrees of a sensor_msgs/NavSatFix; None while the receiver has no fix."""
    latitude, longitude = float(message.latitude), float(message.longitude)
    if message.status.status < 0 or math.isnan(latitude) or math.isnan(longitude):
        return None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise MessageError(
            f"{topic}: latitude {latitude:g}, longitude {longitude:g} are no place on earth, "
            "expected degrees: are they swapped, or in 1e-7 degrees?"
        )
    return latitude, longitude


def path(message: Any, topic: str, frame: str) -> Array:
    """(K, 2) m of a nav_msgs/Path that is given in `frame`, the name of odometry's own."""
    given = str(message.header.frame_id)
    if given.lstrip("/") != frame.lstrip("/"):
        raise MessageError(
            f"{topic}: frame_id is {given!r}, odometry is in {frame!r}, and how they lie to each other is "
            "not known here: let the planner give its path in odometry's frame (nav2: global_frame), or set "
            f"topics.odometry to one in {given!r}"
        )
    if not message.poses:
        raise MessageError(f"{topic}: the path is empty: its planner has found no way; the robot stands")
    points = [[pose.pose.position.x, pose.pose.position.y] for pose in message.poses]
    places = np.array(points, np.float64)
    if not np.isfinite(places).all():
        number = int(np.flatnonzero(~np.isfinite(places).all(1))[0])
        raise MessageError(f"{topic}: pose {number} lies at {points[number]}, expected finite metres")
    return places


def scan(message: Any, topic: str) -> tuple[Array, Array]:
    """(angles, ranges) of the echoes of a sensor_msgs/LaserScan: rad to the left of its own x axis, and m.

    As REP 117: NaN and +inf are no echo, -inf is something nearer than it can measure. 0 is no echo
    either: many drivers say it so.
    """
    ranges = np.asarray(message.ranges, np.float32)
    if not len(ranges) or np.isnan(ranges).all():
        raise MessageError(f"{topic}: none of {len(ranges)} ranges is a number: is the lidar turning?")
    if not (math.isfinite(message.angle_min) and math.isfinite(message.angle_increment)):
        raise MessageError(
            f"{topic}: angle_min {message.angle_min}, angle_increment {message.angle_increment}"
        )
    if message.angle_increment == 0 or not 0 <= message.range_min < message.range_max:
        raise MessageError(
            f"{topic}: angle_increment is {message.angle_increment:g} and ranges go from "
            f"{message.range_min:g} to {message.range_max:g} m: the driver has left them out"
        )
    angles = message.angle_min + np.arange(len(ranges)) * message.angle_increment
    ranges = np.where(np.isneginf(ranges), message.range_min, ranges)
    echo = (ranges >= message.range_min) & (ranges <= message.range_max) & (ranges > 0)
    return angles[echo], ranges[echo]


def beams(angles: Array, ranges: Array, count: int, farthest: float) -> Array:
    """(count,) float32 m, beam i at i / count of a turn to the left of ahead: nearest echo or farthest."""
    heard = np.full(count, farthest, np.float32)
    index = np.round(np.asarray(angles) * (count / (2 * np.pi))).astype(np.intp) % count
    np.minimum.at(heard, index, np.asarray(ranges, np.float32))
    return heard


def twist(message: Any, topic: str) -> Command:
    """Of a geometry_msgs/Twist; of a TwistStamped hand over its twist."""
    linear, angular = vector(message.linear, topic, "linear"), vector(message.angular, topic, "angular")
    return Command(float(linear[0]), float(angular[2]))


def joystick(message: Any, topic: str, stick: Joystick) -> Command | None:
    """What a sensor_msgs/Joy asks for; None while the dead-man button is not held."""
    axes, buttons = message.axes, message.buttons
    if len(buttons) <= stick.dead_man or len(axes) <= max(stick.speed_axis, stick.turn_axis):
        raise MessageError(
            f"{topic}: {len(axes)} axes and {len(buttons)} buttons are fewer than joystick.dead_man, "
            "joystick.speed_axis and joystick.turn_axis need: set these for your pad"
        )
    if not buttons[stick.dead_man]:
        return None
    speed, turn = float(axes[stick.speed_axis]), float(axes[stick.turn_axis])
    if not (math.isfinite(speed) and math.isfinite(turn)):
        raise MessageError(f"{topic}: axes are {speed}, {turn}, expected numbers: is the pad sound?")
    return Command(speed * stick.speed, turn * stick.turn_rate)


def euler(quaternion: tuple[float, float, float, float]) -> tuple[float, float, float]:
    """(roll, pitch, heading) rad of a unit quaternion x y z w."""
    x, y, z, w = quaternion
    roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x))))
    return roll, pitch, math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def _seconds(seconds: int, nanoseconds: int, topic: str) -> float:
    if seconds == 0 and nanoseconds == 0:
        raise MessageError(
            f"{topic}: header.stamp is zero, so nobody can tell how old it is: let the driver set it"
        )
    return seconds + nanoseconds * 1e-9


def vector(value: Any, topic: str, field: str) -> Array:
    """(3,) of a geometry_msgs/Vector3 or Point whose numbers are finite."""
    vector = np.array([value.x, value.y, value.z], np.float64)
    if not np.isfinite(vector).all():
        raise MessageError(f"{topic}: {field} is {vector.tolist()}, expected numbers: is the sender sound?")
    return vector


def _quaternion(value: Any) -> tuple[float, float, float, float]:
    return value.x, value.y, value.z, value.w


def _checked(value: Any, topic: str, field: str) -> tuple[float, float, float, float]:
    quaternion = _quaternion(value)
    length = math.sqrt(sum(part * part for part in quaternion))
    if not 0.9 < length < 1.1:
        raise MessageError(
            f"{topic}: {field} has length {length:g}, a rotation has 1: {list(quaternion)} (x, y, z, w)"
        )
    x, y, z, w = (part / length for part in quaternion)
    return x, y, z, w


def _expect_size(topic: str, size: tuple[int, int], expected: tuple[int, int] | None) -> None:
    if expected is not None and size != expected:
        raise MessageError(
            f"{topic}: the frame is {size[1]} x {size[0]} pixels, expected {expected[1]} x {expected[0]}: "
            "set camera.width and camera.height to what the driver gives"
        )
