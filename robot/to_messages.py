"""NumPy as ROS messages. The message packages are imported inside: only nodes call these."""

from __future__ import annotations

import array
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot.safety import Command

Array = NDArray[Any]


def stamp(seconds: float) -> Any:
    """builtin_interfaces/Time"""
    from builtin_interfaces.msg import Time

    whole = math.floor(seconds)
    return Time(sec=whole, nanosec=min(int((seconds - whole) * 1e9), 999_999_999))


def header(seconds: float, frame: str) -> Any:
    """std_msgs/Header"""
    from std_msgs.msg import Header

    return Header(stamp=stamp(seconds), frame_id=frame)


def image(pixels: Array, seconds: float, frame: str = "camera") -> Any:
    """sensor_msgs/Image of (height, width, 3) uint8 red green blue."""
    from sensor_msgs.msg import Image

    height, width, channels = pixels.shape
    # Anything but array.array is checked element by element: 50 ms for a frame, not 0.05.
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    return Image(
        header=header(seconds, frame),
        height=height,
        width=width,
        encoding="rgb8",
        step=width * channels,
        data=data,
    )


def compressed_image(pixels: Array, seconds: float, frame: str = "camera", quality: int = 85) -> Any:
    """sensor_msgs/CompressedImage, JPEG, of (height, width, 3) uint8 red green blue."""
    import io

    from PIL import Image as Pillow
    from sensor_msgs.msg import CompressedImage

    packed = io.BytesIO()
    Pillow.fromarray(pixels).save(packed, "JPEG", quality=quality)
    data = array.array("B")
    data.frombytes(packed.getbuffer())
    return CompressedImage(header=header(seconds, frame), format="jpeg", data=data)


def imu(
    gyro: Array, acceleration: Array, orientation: Array | None, seconds: float, frame: str = "imu"
) -> Any:
    """sensor_msgs/Imu. gyro: (3,) rad/s; acceleration: (3,) m/s^2; orientation: (4,) x y z w."""
    from sensor_msgs.msg import Imu

    message = Imu(
        header=header(seconds, frame), angular_velocity=vector(gyro), linear_acceleration=vector(acceleration)
    )
    if orientation is None:
        message.orientation_covariance[0] = -1.0
    else:
        message.orientation = quaternion(orientation)
    return message


def odometry(pose: Array, speed: float, turn_rate: float, seconds: float, frame: str = "odom") -> Any:
    """nav_msgs/Odometry. pose: (3,) x m, y m, heading rad; speed: m/s, turn_rate: rad/s."""
    from nav_msgs.msg import Odometry

    message = Odometry(header=header(seconds, frame), child_frame_id="base_link")
    message.pose.pose.position.x, message.pose.pose.position.y = float(pose[0]), float(pose[1])
    half = float(pose[2]) / 2
    message.pose.pose.orientation = quaternion(np.array([0.0, 0.0, math.sin(half), math.cos(half)]))
    message.twist.twist = twist(Command(speed, turn_rate))
    return message


def fix(latitude: float, longitude: float, seconds: float, frame: str = "gps", *, found: bool = True) -> Any:
    """sensor_msgs/NavSatFix; found: whether the receiver has a fix."""
    from sensor_msgs.msg import NavSatFix

    message = NavSatFix(header=header(seconds, frame), latitude=latitude, longitude=longitude)
    message.status.status = 0 if found else -1
    return message


def scan(ranges: Array, nearest: float, farthest: float, seconds: float, frame: str = "lidar") -> Any:
    """sensor_msgs/LaserScan of a whole turn, (beams,) m anticlockwise from ahead; no echo: inf."""
    from sensor_msgs.msg import LaserScan

    step = 2 * math.pi / len(ranges)
    return LaserScan(
        header=header(seconds, frame),
        angle_min=0.0,
        angle_max=2 * math.pi - step,
        angle_increment=step,
        range_min=nearest,
        range_max=farthest,
        ranges=array.array("f", np.asarray(ranges, np.float32).tobytes()),
    )


def twist(command: Command) -> Any:
    """geometry_msgs/Twist"""
    from geometry_msgs.msg import Twist

    message = Twist()
    message.linear.x, message.angular.z = float(command.speed), float(command.turn_rate)
    return message


def twist_stamped(command: Command, seconds: float, frame: str = "base_link") -> Any:
    """geometry_msgs/TwistStamped"""
    from geometry_msgs.msg import TwistStamped

    return TwistStamped(header=header(seconds, frame), twist=twist(command))


def vector(values: Array) -> Any:
    """geometry_msgs/Vector3 of (3,)"""
    from geometry_msgs.msg import Vector3

    x, y, z = (float(value) for value in values)
    return Vector3(x=x, y=y, z=z)


def quaternion(values: Array) -> Any:
    """geometry_msgs/Quaternion of (4,) x y z w"""
    from geometry_msgs.msg import Quaternion

    x, y, z, w = (float(value) for value in values)
    return Quaternion(x=x, y=y, z=z, w=w)
