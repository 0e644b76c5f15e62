"""Messages are made and read by ROS's own classes; what cannot be right is refused in clear words."""

import math
from typing import Any

import numpy as np
import pytest

from robot import to_messages
from robot.local_frame import LocalFrame
from robot.messages import (
    MessageError,
    beams,
    compressed_image,
    fix,
    image,
    imu,
    odometry,
    raw_stamp_seconds,
    scan,
    stamp_seconds,
    twist,
)
from robot.safety import Command

pytest.importorskip("sensor_msgs.msg", reason="needs ROS 2: pip install 'surefoot[ros]' on Linux x86_64")

TOPIC = "camera/image_raw"
NOW = 1_790_000_000.25


def colours(height: int = 6, width: int = 8) -> np.ndarray:
    """Every byte tells where it is from."""
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def test_a_picture_comes_back_as_it_was() -> None:
    message = to_messages.image(colours(), NOW)
    np.testing.assert_array_equal(image(message, TOPIC, (6, 8)), colours())
    assert stamp_seconds(message, TOPIC) == pytest.approx(NOW, abs=1e-6)


@pytest.mark.parametrize(
    ("encoding", "order"), [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 3])]
)
def test_encodings_and_padded_rows_give_the_same_picture(encoding: str, order: list[int]) -> None:
    pixels = np.concatenate([colours(), np.full((6, 8, 1), 255, np.uint8)], -1)[..., order]
    padded = np.concatenate([pixels.reshape(6, -1), np.zeros((6, 5), np.uint8)], 1)
    message = to_messages.image(colours(), NOW)
    message.encoding, message.step, message.data = encoding, padded.shape[1], padded.tobytes()
    np.testing.assert_array_equal(image(message, TOPIC), colours())


def test_grey_becomes_three_channels() -> None:
    message = to_messages.image(colours(), NOW)
    message.encoding, message.step = "mono8", 8
    message.data = colours()[..., 0].tobytes()
    np.testing.assert_array_equal(image(message, TOPIC), np.repeat(colours()[..., :1], 3, -1))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("encoding", "16UC1", r"camera/image_raw: encoding is '16UC1', .* set the camera driver to rgb8"),
        ("data", b"\0" * 100, "data has 100 bytes and step is 24, expected 6 rows of at least 24 bytes"),
        ("step", 20, "the frame is torn"),
        ("width", 9, r"9 x 6 pixels, expected 8 x 6: set camera\.width and camera\.height"),
    ],
)
def test_a_picture_that_cannot_be_right_is_refused(field: str, value: Any, words: str) -> None:
    message = to_messages.image(colours(), NOW)
    setattr(message, field, value)
    with pytest.raises(MessageError, match=words):
        image(message, TOPIC, (6, 8))


def test_jpeg_is_unpacked_and_half_a_jpeg_refused() -> None:
    smooth = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[:, None, None], (1, 48, 3))
    message = to_messages.compressed_image(smooth, NOW, quality=95)
    seen = compressed_image(message, TOPIC, (64, 48))
    assert np.abs(seen.astype(int) - smooth).max() < 12
    with pytest.raises(MessageError, match="48 x 64 pixels, expected 10 x 10"):
        compressed_image(message, TOPIC, (10, 10))
    for damaged in (bytes(message.data[:200]), b"", b"GIF89a" + bytes(100)):
        message.data = damaged
        with pytest.raises(MessageError, match="data is no whole JPEG or PNG"):
            compressed_image(message, TOPIC, (64, 48))


def test_the_stamp_of_a_serialized_message_is_read_without_unpacking_it() -> None:
    serialization = pytest.importorskip("rclpy.serialization")
    packed = bytes(serialization.serialize_message(to_messages.image(colours(), NOW)))
    assert raw_stamp_seconds(packed, TOPIC) == pytest.approx(NOW, abs=1e-6)
    with pytest.raises(MessageError, match=r"header\.stamp is zero"):
        raw_stamp_seconds(bytes(serialization.serialize_message(to_messages.image(colours(), 0.0))), TOPIC)
    with pytest.raises(MessageError, match="3 bytes"):
        raw_stamp_seconds(packed[:3], TOPIC)


def test_imu_round_trip_and_its_angles() -> None:
    quarter = np.array([0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5)])
    seen = imu(to_messages.imu(np.array([1.0, 2, 3]), np.array([4.0, 5, 9.8]), quarter, NOW), "imu/data")
    np.testing.assert_array_equal(seen.angular_velocity, [1, 2, 3])
    np.testing.assert_array_equal(seen.linear_acceleration, [4, 5, 9.8])
    assert seen.orientation == pytest.approx((0.0, 0.0, math.pi / 2))
    lifted = np.array([0.0, -math.sin(0.1), 0.0, math.cos(0.1)])  # nose up: negative about left
    seen = imu(to_messages.imu(np.zeros(3), np.zeros(3), lifted, NOW), "imu/data")
    assert seen.orientation == pytest.approx((0.0, -0.2, 0.0))
    assert imu(to_messages.imu(np.zeros(3), np.zeros(3), None, NOW), "imu/data").orientation is None


def test_an_imu_that_is_broken_is_refused() -> None:
    message = to_messages.imu(np.array([0.0, math.nan, 0.0]), np.zeros(3), None, NOW)
    with pytest.raises(MessageError, match=r"imu/data: angular_velocity is \[0\.0, nan, 0\.0\]"):
        imu(message, "imu/data")
    message = to_messages.imu(np.zeros(3), np.zeros(3), np.array([0.0, 0.0, 0.0, 0.5]), NOW)
    with pytest.raises(MessageError, match=r"orientation has length 0\.5, a rotation has 1"):
        imu(message, "imu/data")
    message = to_messages.imu(np.zeros(3), np.zeros(3), None, NOW)
    message.linear_acceleration_covariance[0] = -1.0
    with pytest.raises(MessageError, match="linear_acceleration_covariance says"):
        imu(message, "imu/data")


def test_odometry_round_trip() -> None:
    seen = odometry(to_messages.odometry(np.array([1.0, -2.0, 0.5]), 0.8, -0.3, NOW), "odometry")
    np.testing.assert_allclose(seen.pose, [1.0, -2.0, 0.5])
    assert (seen.speed, seen.turn_rate, seen.roll, seen.pitch) == (0.8, -0.3, 0.0, 0.0)
    message = to_messages.odometry(np.zeros(3), math.inf, 0.0, NOW)
    with pytest.raises(MessageError, match=r"odometry: twist\.twist\.linear is \[inf"):
        odometry(message, "odometry")


def test_a_fix_is_degrees_or_none() -> None:
    assert fix(to_messages.fix(47.4, 8.5, NOW), "gps/fix") == (47.4, 8.5)
    assert fix(to_messages.fix(47.4, 8.5, NOW, found=False), "gps/fix") is None
    assert fix(to_messages.fix(math.nan, 8.5, NOW), "gps/fix") is None
    with pytest.raises(MessageError, match="are they swapped"):
        fix(to_messages.fix(118.5, 47.4, NOW), "gps/fix")


def test_a_scan_keeps_echoes_where_they_are() -> None:
    said = np.full(360, np.inf, np.float32)
    said[[0, 90, 180]] = 1.0, 2.0, 3.0
    said[[1, 2, 3, 4]] = np.nan, 0.0, 99.0, 0.05  # no echo, no echo, beyond, nearer than it can measure
    said[5] = -np.inf  # REP 117: something is too close
    angles, ranges = scan(to_messages.scan(said, 0.1, 12.0, NOW), "scan")
    np.testing.assert_allclose(ranges, [1.0, 0.1, 2.0, 3.0])
    np.testing.assert_allclose(np.degrees(angles), [0, 5, 90, 180], atol=1e-4)
    around = beams(angles, ranges, 360, 12.0)
    assert around[[0, 5, 90, 180]] == pytest.approx([1.0, 0.1, 2.0, 3.0])
    assert (np.delete(around, [0, 5, 90, 180]) == 12.0).all()


def test_a_scan_that_starts_behind_and_turns_the_other_way_means_the_same() -> None:
    message = to_messages.scan(np.arange(1.0, 5.0), 0.1, 12.0, NOW)
    message.angle_min, message.angle_increment = math.pi, -math.pi / 2  # behind, left, ahead, right
    assert beams(*scan(message, "scan"), 4, 12.0) == pytest.approx([3.0, 2.0, 1.0, 4.0])


def test_a_lidar_that_says_nothing_is_refused() -> None:
    for ranges in (np.full(8, np.nan), np.zeros(0)):
        message = to_messages.scan(np.ones(8), 0.1, 12.0, NOW)
        message.ranges = ranges.tolist()
        with pytest.raises(MessageError, match="is the lidar turning"):
            scan(message, "scan")
    message = to_messages.scan(np.ones(8), 0.1, 12.0, NOW)
    message.range_max = 0.0
    with pytest.raises(MessageError, match="the driver has left them out"):
        scan(message, "scan")


def test_a_twist_is_speed_and_turn_rate() -> None:
    assert twist(to_messages.twist(Command(0.8, -0.2)), "cmd_vel") == Command(0.8, -0.2)
    message = to_messages.twist_stamped(Command(math.nan, 0.0), NOW)
    with pytest.raises(MessageError, match=r"cmd_vel_raw: linear is \[nan, 0\.0, 0\.0\], expected numbers"):
        twist(message.twist, "cmd_vel_raw")


@pytest.mark.parametrize(
    ("place", "other", "metres"),
    [
        # Lengths of a thousandth of a degree, from tables of the WGS 84 ellipsoid.
        ((0.0, 0.0), (0.0, 0.001), (111.319, 0.0)),
        ((0.0, 0.0), (0.001, 0.0), (0.0, 110.574)),
        ((60.0, 10.0), (60.001, 10.0), (0.0, 111.412)),
        ((0.0, 179.9995), (0.0, -179.9995), (111.319, 0.0)),
    ],
)
def test_degrees_become_metres(
    place: tuple[float, float], other: tuple[float, float], metres: tuple[float, float]
) -> None:
    frame = LocalFrame(*place)
    assert frame.metres(*other) == pytest.approx(metres, abs=0.002)
    assert frame.degrees(*frame.metres(*other)) == pytest.approx(other, abs=1e-9)
