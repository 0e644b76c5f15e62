"""The streams of a recorded drive, checked: presence, shape, unit, stamps. Silence is marked, not used.

A frame t + 1 of an IMU stream holds the K samples of step t, (T + 1, K, 3); of a lidar the last scan,
(T + 1, B), beam i at i / B of a turn to the left of forward; of the others the value at the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs.episode import Episode

Array = NDArray[Any]


class LabelError(ValueError):
    """A drive cannot be labelled: a stream is missing or is not what it should be."""


@dataclass(frozen=True)
class Streams:
    """Which observation is which sensor."""

    gyro: str = "imu_angular_velocity"
    """rad/s about forward, left and up"""
    acceleration: str = "imu_linear_acceleration"
    """m/s^2 along forward, left and up, gravity's reaction included"""
    lidar: str = "lidar"
    """m; NaN, 0, inf or the lidar's range: no echo"""
    odometry: str = "odometry"
    """x m, y m, heading rad of the wheels' reckoning, and whatever follows them"""
    wheels: str = "odometry_velocity"
    """m/s forward by the wheels, and whatever follows it"""
    velocity: str = "gps_velocity"
    """m/s along two axes of the ground, by GPS or a camera"""
    actions: tuple[str, ...] = ("angular_velocity", "linear_velocity")
    """rad/s, m/s: the columns of the recorded actions"""


def stream(episode: Episode, name: str) -> Array:
    """An observation. Raises LabelError with the names there are."""
    if name not in episode.observations:
        raise LabelError(
            f"the drive has no stream {name!r}, it has {', '.join(sorted(episode.observations))}: "
            "name yours in LabelConfig.streams, or leave out the events that need it"
        )
    return np.asarray(episode.observations[name])


def late_steps(episode: Episode, gap: float) -> Array:
    """(T,) bool: steps that took more than `gap` usual ones, or whose action is not finite.

    Raises LabelError when stamps run backwards, stand still or are not finite.
    """
    took = np.diff(episode.times)
    wrong = np.flatnonzero(~(took > 0))
    if len(wrong):
        before, after = episode.times[wrong[0]], episode.times[wrong[0] + 1]
        raise LabelError(
            f"stamps do not run forwards: frame {wrong[0] + 1} is at {after} s after one at {before} s; "
            "sort the recording by its sensors' own stamps, or cut it there"
        )
    usual = np.median(took) if len(took) else 1.0
    finite = np.isfinite(np.asarray(episode.actions, np.float64)).reshape(len(episode), -1).all(1)
    late: Array = (took > gap * usual) | ~finite
    return late


def commands(episode: Episode, streams: Streams) -> tuple[Array, Array]:
    """(T,) m/s and (T,) rad/s asked for; what is not finite is 0."""
    actions = np.asarray(episode.actions, np.float64)
    if actions.ndim != 2 or actions.shape[1] != len(streams.actions):
        raise LabelError(f"actions are {actions.shape}, expected {' and '.join(streams.actions)} a step")
    missing = {"linear_velocity", "angular_velocity"} - set(streams.actions)
    if missing:
        raise LabelError(f"the actions lack {', '.join(sorted(missing))}: name their columns in Streams")
    actions = np.where(np.isfinite(actions), actions, 0.0)
    columns = [streams.actions.index(name) for name in ("linear_velocity", "angular_velocity")]
    return actions[:, columns[0]], actions[:, columns[1]]


def samples(episode: Episode, name: str, unit: Literal["m/s^2", "rad/s"]) -> tuple[Array, float, Array]:
    """An IMU's samples in each step, (T, K, 3), their spacing in s, and (T,) bool: all samples were there.

    What is not finite is given as 0. Raises LabelError where the numbers are in another unit.
    """
    values = stream(episode, name)[1:].astype(np.float64)
    if values.ndim == 2:
        values = values[:, None]
    if values.ndim != 3 or values.shape[2] != 3:
        raise LabelError(f"{name} has frames of {values.shape[1:]}, expected (samples, 3)")
    felt = np.isfinite(values).all(axis=(1, 2))
    if felt.any():
        # Blows average out over a drive, gravity does not; simulated contacts can hide it, but not as 1 g.
        pull = float(np.linalg.norm(values[felt].mean((0, 1))))
        usual = float(np.median(np.linalg.norm(values[felt], axis=-1)))
        if unit == "m/s^2" and ((0.8 < pull < 1.25 and 0.8 < usual < 1.25) or pull > 60.0):
            raise LabelError(f"{name} is {pull:.3g} on average, expected gravity's 9.8 m/s^2: is it in g?")
        if unit == "rad/s" and usual > 10.0:
            raise LabelError(f"{name} is {usual:.3g} rad/s half of the time: is it in degrees a second?")
    step = float(np.median(np.diff(episode.times))) if len(episode) else 1.0
    finite = np.where(np.isfinite(values), values, 0.0)
    return finite, step / values.shape[1], np.asarray(felt)


def scans(episode: Episode, streams: Streams) -> tuple[Array, Array]:
    """Ranges in m after each step, (T, B), inf where there is no echo, and (T,) bool: the lidar spoke."""
    ranges = stream(episode, streams.lidar)[1:].astype(np.float64)
    if ranges.ndim != 2 or ranges.shape[1] < 8:
        raise LabelError(f"{streams.lidar} has frames of {ranges.shape[1:]}, expected the ranges of a turn")
    echo = np.isfinite(ranges) & (ranges > 0)
    if echo.any() and float(np.median(ranges[echo])) > 200.0:
        raise LabelError(f"{streams.lidar} has a median of {np.median(ranges[echo]):.3g} m: is it in mm?")
    # A turn without any echo is the open field; one of NaN or 0 alone is a lidar that has fallen silent.
    spoke = np.asarray((echo | np.isposinf(ranges)).any(1))
    return np.where(echo, ranges, np.inf), spoke


def hardest_blow(acceleration: Array, speed: Array, dt: float, span: float) -> tuple[Array, Array]:
    """m/s lost within `span` s against the direction of driving, and the peak deceleration in m/s^2, (T,).

    acceleration: (T, K, 3) m/s^2, a sample each `dt` s; speed: (T,) m/s that the robot was told.
    """
    along = acceleration[..., 0] * np.sign(speed)[:, None]
    along = along - np.median(along, axis=1, keepdims=True)  # gravity on a slope, and the sensor's bias
    width = max(round(span / dt), 1)
    flat = np.concatenate([np.zeros(width), (along * dt).ravel()]).cumsum()
    lost = (flat[:-width] - flat[width:]).reshape(along.shape)  # of the windows that end in the step
    return lost.max(axis=1), -along.min(axis=1)


def wheel_speed(episode: Episode, streams: Streams) -> tuple[Array, Array]:
    """(T,) m/s forward by the wheels, 0 where it is not known, and (T,) bool: it is."""
    values, seen = _speeds(episode, streams.wheels, 1)
    return values[:, 0], seen


def ground_velocity(episode: Episode, streams: Streams) -> tuple[Array, Array]:
    """(T, 2) m/s over the ground, 0 where it is not known, and (T,) bool: it is."""
    return _speeds(episode, streams.velocity, 2)


def _speeds(episode: Episode, name: str, columns: int) -> tuple[Array, Array]:
    values = stream(episode, name)[1:].astype(np.float64)
    if values.ndim != 2 or values.shape[1] < columns:
        raise LabelError(f"{name} has frames of {values.shape[1:]}, expected m/s along its axes")
    values = values[:, :columns]
    seen = np.asarray(np.isfinite(values).all(1))
    if seen.any() and float(np.median(np.linalg.norm(values[seen], axis=1))) > 15.0:
        raise LabelError(f"{name} is above 15 m/s half of the time: is it in another unit?")
    return np.where(seen[:, None], values, 0.0), seen


def odometry(episode: Episode, streams: Streams, heading: Literal["gyro", "odometry"]) -> tuple[Array, Array]:
    """Pose (T + 1, 3) from the first frame on, and (T,) bool: the way of the step is known.

    heading "gyro": the wheels give the way along the robot, the gyro gives how far it turned.
    """
    reckoned = stream(episode, streams.odometry).astype(np.float64)
    if reckoned.ndim != 2 or reckoned.shape[1] < 3:
        raise LabelError(f"{streams.odometry} has frames of {reckoned.shape[1:]}, expected x, y, heading")
    reckoned = reckoned[:, :3]
    took = np.diff(episode.times)
    steps = np.diff(reckoned, axis=0)
    known = np.isfinite(steps).all(1)
    speed = np.hypot(steps[:, 0], steps[:, 1]) / took
    if known.any() and np.median(speed[known]) > 15.0:
        raise LabelError(
            f"{streams.odometry} moves {np.median(speed[known]):.3g} m/s half of the time: is it in m?"
        )
    known &= np.where(known, speed, np.inf) < 15.0  # a jump is a reset of the odometry, no drive
    steps = np.where(known[:, None], steps, 0.0)
    facing = np.where(np.isfinite(reckoned[:-1, 2]), reckoned[:-1, 2], 0.0)
    turned = (steps[:, 2] + np.pi) % (2 * np.pi) - np.pi
    # In the robot's frame in mid-step: the way is an arc, and its chord points half-way round.
    middle = facing + turned / 2
    along = steps[:, 0] * np.cos(middle) + steps[:, 1] * np.sin(middle)
    aside = steps[:, 1] * np.cos(middle) - steps[:, 0] * np.sin(middle)
    if heading == "gyro":
        rates, _, felt = samples(episode, streams.gyro, "rad/s")
        turned, known = rates[..., 2].mean(1) * took, known & felt
    pose = np.zeros((len(episode) + 1, 3))
    pose[1:, 2] = np.cumsum(turned)
    middle = pose[:-1, 2] + turned / 2
    pose[1:, 0] = np.cumsum(along * np.cos(middle) - aside * np.sin(middle))
    pose[1:, 1] = np.cumsum(along * np.sin(middle) + aside * np.cos(middle))
    return pose, known
