"""What the guard decides: how fast, and whether to stop at all. Pure functions, no clock, no ROS.

Times are seconds of one steady clock (`time.monotonic`), never of a wall clock that jumps: they are
taken when a message arrives. Whatever cannot be compared (NaN, a time from the future) stops the
robot: every test here is written so that a doubtful value fails it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from robot.config import Limits, RobotConfig, Safety

CLOCK_SLACK = 0.05
"""s; a message may be this much younger than `now`, which was read before it came in"""
STANDSTILL = 0.05
"""m/s; below this measured speed is noise of the odometry"""
AHEAD, BEHIND = "obstacle ahead", "obstacle behind"
"""how the reasons begin for which an armed robot is held"""


@dataclass(frozen=True)
class Command:
    """speed: m/s, positive is forwards; turn_rate: rad/s, positive is to the left."""

    speed: float
    turn_rate: float


STOP = Command(0.0, 0.0)


@dataclass(frozen=True)
class SafetyState:
    """What the guard knows at one moment. None as a time: nothing has come yet.

    The defaults are those of a robot that has heard nothing: it stands still.
    """

    armed: bool = False
    estop: bool = False
    wish: Command = STOP
    """what the planner wants"""
    planner_time: float | None = None
    camera_time: float | None = None
    imu_time: float | None = None
    odometry_time: float | None = None
    lidar_time: float | None = None
    link_time: float | None = None
    speed: float = 0.0
    """m/s, measured"""
    roll: float = 0.0
    """rad"""
    pitch: float = 0.0
    """rad"""
    distance_from_start: float = 0.0
    """m, from where it was armed"""
    obstacle_ahead: float = math.inf
    """m from the front bumper to the nearest return in the robot's way; inf where there is none"""
    obstacle_behind: float = math.inf
    """m from the rear bumper"""


def limit(command: Command, previous: Command, dt: float, limits: Limits) -> Command:
    """The command that may be sent, `dt` seconds after `previous` was.

    Speed and turn rate are clipped, then change by no more than acceleration (away from zero) or
    braking (towards it) allows; a change of direction spends one step at zero. A command, previous
    command or dt that is not a finite number, or a negative dt, gives STOP at once.
    """
    values = (command.speed, command.turn_rate, previous.speed, previous.turn_rate, dt)
    if not all(math.isfinite(value) for value in values) or dt < 0:
        return STOP

    def speed_in_range(speed: float) -> float:
        return min(max(speed, -limits.reverse_speed), limits.speed)

    def turn_in_range(rate: float) -> float:
        return min(max(rate, -limits.turn_rate), limits.turn_rate)

    turn_step = limits.turn_acceleration * dt
    return Command(
        _approach(
            speed_in_range(previous.speed),
            speed_in_range(command.speed),
            limits.acceleration * dt,
            limits.braking * dt,
        ),
        _approach(turn_in_range(previous.turn_rate), turn_in_range(command.turn_rate), turn_step, turn_step),
    )


def stopping_distance(speed: float, limits: Limits, safety: Safety) -> float:
    """m that must be free in front of the bumper at this speed (m/s, either direction).

    margin + way during the reaction + v^2 / (2 braking).
    """
    return safety.margin + abs(speed) * safety.reaction_seconds + speed * speed / (2 * limits.braking)


def reason_to_stop(state: SafetyState, now: float, config: RobotConfig) -> str | None:
    """Why the robot must stand still at time `now`, in words for the operator; None: it may drive.

    The first reason in the order of urgency: emergency stop, not armed, stale messages, tilt, geofence,
    obstacle. An obstacle only counts in the direction in which the robot moves or wants to move, so that
    it can back away from one.
    """
    if state.estop is not False:
        return "the emergency stop is pressed"
    if state.armed is not True:
        return "not armed"
    return (
        _stale(state, now, config)
        or _leaning(state, config.safety)
        or _outside(state, config.safety)
        or _blocked(state, config)
    )


def _approach(current: float, target: float, faster: float, slower: float) -> float:
    """`target`, or as near to it as one step from `current` may get."""
    if current == 0 or current * target > 0:
        sign = math.copysign(1.0, target if current == 0 else current)
        speed = min(max(abs(target), abs(current) - slower), abs(current) + faster)
        return sign * speed if speed else 0.0
    left = abs(current) - slower  # the other direction, or none: to zero first
    return math.copysign(left, current) if left > 0 else 0.0


def _stale(state: SafetyState, now: float, config: RobotConfig) -> str | None:
    timeouts, safety = config.timeouts, config.safety
    watched = [
        ("planner", state.planner_time, timeouts.planner, True),
        ("odometry", state.odometry_time, timeouts.odometry, True),
        ("camera", state.camera_time, timeouts.camera, True),
        ("imu", state.imu_time, timeouts.imu, True),
        ("lidar", state.lidar_time, timeouts.lidar, safety.use_lidar),
        ("link", state.link_time, timeouts.link, safety.use_link),
    ]
    for name, time, timeout, needed in watched:
        if not needed:
            continue
        if time is None:
            return f"{name}: nothing has come yet"
        age = now - time
        if not age >= -CLOCK_SLACK:
            return f"{name}: its time lies {-age:.2f} s in the future, is it from another clock?"
        if not age <= timeout:
            return f"{name}: the newest message is {age:.2f} s old, the limit is {timeout:g} s"
    return None


def _leaning(state: SafetyState, safety: Safety) -> str | None:
    for name, angle in (("roll", state.roll), ("pitch", state.pitch)):
        if not abs(angle) <= safety.tilt:
            return (
                f"tilt: {name} is {math.degrees(angle):.0f}°, the limit is {math.degrees(safety.tilt):.0f}°"
            )
    return None


def _outside(state: SafetyState, safety: Safety) -> str | None:
    if state.distance_from_start <= safety.geofence_radius:
        return None
    return (
        f"geofence: {state.distance_from_start:.0f} m from where it was armed, "
        f"the limit is {safety.geofence_radius:g} m"
    )


def _blocked(state: SafetyState, config: RobotConfig) -> str | None:
    if not (math.isfinite(state.speed) and math.isfinite(state.wish.speed)):
        return "speed: the measured or the wished speed is not a number"
    if not config.safety.use_lidar:
        return None
    # While this decision takes effect the base still follows the last command, which may be the wish.
    gain = config.limits.acceleration * config.safety.reaction_seconds
    speed = max(abs(state.speed), min(abs(state.speed) + gain, abs(state.wish.speed)))
    needed = stopping_distance(speed, config.limits, config.safety)
    forwards = state.wish.speed > 0 or state.speed > STANDSTILL
    backwards = state.wish.speed < 0 or state.speed < -STANDSTILL
    for side, moving, distance in (
        (AHEAD, forwards, state.obstacle_ahead),
        (BEHIND, backwards, state.obstacle_behind),
    ):
        if moving and not distance > needed:
            return f"{side}: {distance:.2f} m away, {needed:.2f} m must be free"
    return None
