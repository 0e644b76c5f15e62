"""The guard's mind: what it has heard, whether the robot is armed, which command goes out. No ROS, no clock.

Every function gets the time: `now` is the steady clock's, `wall` the clock that messages are stamped with.
How old a message is decides, nothing else: silence, a frozen picture that is sent again and again, and
a stamp from another clock all end in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot.config import RobotConfig
from robot.messages import ImuReading, MessageError, OdometryReading
from robot.obstacles import clearance_on_arc, clearances, echoes
from robot.safety import STOP, Command, SafetyState, limit, reason_to_stop, stopping_distance

Array = NDArray[Any]

CLOCK_JUMP = 0.1
"""s that the wall clock may move against the steady one between two decisions"""
SET_BACK = 1.0
"""s; a stamp that much older than the last one comes from a clock that was set back"""


@dataclass
class Stream:
    """What is known of one topic."""

    time: float | None = None
    """s of the steady clock at which its newest message was made"""
    stamp: float = -math.inf
    trouble: str = ""
    """why its newest message cannot be used"""

    def hear(self, stamp: float, now: float, wall: float) -> bool:
        """Whether the message is newer than the last one; one that is not does not count as heard."""
        if stamp <= self.stamp:
            if stamp < self.stamp - SET_BACK:
                self.stamp = stamp  # this one does not count, the next one may
            return False
        self.stamp, self.trouble = stamp, ""
        self.time = now + (stamp - wall)
        return True


@dataclass(frozen=True)
class Decision:
    """command: to be sent now. reason: why the robot stands, None while it may drive."""

    command: Command
    armed: bool
    reason: str | None


@dataclass
class Gate:
    """Begins disarmed. A latched reason disarms; an obstacle only holds the robot until it is gone."""

    config: RobotConfig
    planner: Stream = field(default_factory=Stream)
    camera: Stream = field(default_factory=Stream)
    imu: Stream = field(default_factory=Stream)
    odometry: Stream = field(default_factory=Stream)
    lidar: Stream = field(default_factory=Stream)
    link: Stream = field(default_factory=Stream)
    joystick: Stream = field(default_factory=Stream)
    estop: bool = False
    wish: Command = STOP
    by_hand: Command | None = None
    """what the joystick asks for; None while its dead-man button is not held"""
    intruders: str = ""
    """who else publishes where the guard must be alone"""
    armed: bool = False
    armed_at: float = math.nan
    """s of the steady clock"""
    latched: str = "not armed yet"
    """why it is not armed"""
    speed: float = 0.0
    place: tuple[float, float] = (math.nan, math.nan)
    roll: float = math.nan
    pitch: float = math.nan
    ahead: float = math.nan
    behind: float = math.nan
    echoes: Array = field(default_factory=lambda: np.zeros((0, 2)))
    """(n, 2) m forward and to the left, of the lidar"""
    _start: tuple[float, float] = (math.nan, math.nan)
    _sent: Command = STOP
    _sent_at: float = math.nan
    _clock_offset: float | None = None

    @property
    def streams(self) -> dict[str, Stream]:
        """Those that are watched, by name."""
        names = ["planner", "camera", "imu", "odometry"]
        names += ["lidar"] * self.config.safety.use_lidar + ["link"] * self.config.safety.use_link
        return {name: getattr(self, name) for name in names}

    def blame(self, stream: Stream, trouble: str) -> None:
        """The newest message of a stream cannot be used: one such message is enough to stop."""
        stream.trouble = trouble
        self.disarm(trouble)

    def hear_imu(self, reading: ImuReading, topic: str) -> None:
        if reading.orientation is None:
            raise MessageError(
                f"{topic}: orientation is missing, so nobody can tell how far the robot leans: "
                "let the IMU driver or a filter (imu_filter_madgwick) fill it in"
            )
        self.roll, self.pitch, _ = reading.orientation

    def hear_odometry(self, reading: OdometryReading) -> None:
        self.speed = reading.speed
        self.place = (float(reading.pose[0]), float(reading.pose[1]))

    def hear_scan(self, angles: Array, ranges: Array) -> None:
        """rad to the left of the lidar's x axis and m, of what gave an echo."""
        self.echoes = echoes(angles, ranges, self.config.body)
        self.ahead, self.behind = clearances(self.echoes, self.config.body)

    def arm(self, now: float) -> str | None:
        """Lets the robot drive from now on, or says why not."""
        state = replace(_without_obstacles(self._state(now)), armed=True, distance_from_start=0.0)
        wait = self._reason(state, now)
        if wait is not None:
            self.latched = wait
            return wait
        self.armed, self.latched, self._start = True, "", self.place
        self.armed_at = now
        return None

    def disarm(self, why: str) -> None:
        """Stops and stays so until `arm`. The first reason is kept: later ones follow from it."""
        if self.armed:
            self.armed, self.latched = False, why

    def decide(self, now: float, wall: float) -> Decision:
        """What to send now; called again and again, at the latest at `next_deadline`."""
        self._watch_itself(now, wall)
        state = self._state(now)
        if self.armed and (why := self._reason(_without_obstacles(state), now)) is not None:
            self.disarm(why)
        reason = self.latched if not self.armed else self._reason(state, now)
        since = now - self._sent_at if math.isfinite(self._sent_at) else 0.0
        # A stop is not a braking ramp: the base brakes as hard as it can.
        sent = limit(state.wish, self._sent, since, self.config.limits) if reason is None else STOP
        self._sent, self._sent_at = sent, now
        return Decision(sent, self.armed, reason)

    def next_deadline(self, now: float) -> float:
        """s of the steady clock: the next regular decision, or when a stream becomes stale before it."""
        regular = now + 1 / self.config.rates.guard
        if not self.armed:
            return regular
        timeouts = self.config.timeouts
        ends: list[float] = [
            stream.time + getattr(timeouts, name)
            for name, stream in self.streams.items()
            if stream.time is not None and (name != "planner" or self.by_hand is None)
        ]
        # A millisecond later, so that it is stale then and not just about to be.
        return min([regular, *(max(end, now) + 1e-3 for end in ends)])

    def ages(self, now: float) -> dict[str, float]:
        """s, of each watched stream; inf where nothing has come."""
        return {
            name: math.inf if stream.time is None else now - stream.time
            for name, stream in self.streams.items()
        }

    def _reason(self, state: SafetyState, now: float) -> str | None:
        if self.estop:
            return reason_to_stop(state, now, self.config)
        if self.by_hand is not None and not self._joystick_is_fresh(now):
            return "joystick: it fell silent while its dead-man button was held"
        broken = [stream.trouble for stream in self.streams.values() if stream.trouble]
        return next(iter(broken), None) or self.intruders or reason_to_stop(state, now, self.config)

    def _state(self, now: float) -> SafetyState:
        wish, time = self.wish, self.planner.time
        if self._joystick_is_fresh(now):
            planning = time is not None and now - time <= self.config.timeouts.planner
            if self.by_hand is not None:
                wish, time = self.by_hand, now  # how old it may be, the joystick's own time-out says
            elif not planning:  # a person is there who may want to drive
                wish, time = STOP, now
        return SafetyState(
            armed=self.armed,
            estop=self.estop,
            wish=wish,
            planner_time=time,
            camera_time=self.camera.time,
            imu_time=self.imu.time,
            odometry_time=self.odometry.time,
            lidar_time=self.lidar.time,
            link_time=self.link.time,
            speed=self.speed,
            roll=self.roll,
            pitch=self.pitch,
            distance_from_start=math.dist(self.place, self._start),
            obstacle_ahead=self._clearance(wish, self.ahead, 1.0),
            obstacle_behind=self._clearance(wish, self.behind, -1.0),
        )

    def _clearance(self, wish: Command, straight: float, direction: float) -> float:
        """m in a direction (1 or -1), straight on and on the arc that is wished for; NaN stays NaN."""
        limits = self.config.limits
        if not wish.speed * direction > 0:
            return straight
        speed = min(abs(wish.speed), limits.speed)
        turn_rate = max(min(wish.turn_rate, limits.turn_rate), -limits.turn_rate)
        reach = stopping_distance(max(speed, abs(self.speed)), limits, self.config.safety)
        arc = clearance_on_arc(self.echoes, direction * speed, turn_rate, self.config.body, reach)
        return arc if arc < straight else straight

    def _joystick_is_fresh(self, now: float) -> bool:
        time = self.joystick.time
        return time is not None and now - time <= self.config.timeouts.joystick

    def _watch_itself(self, now: float, wall: float) -> None:
        offset, before = wall - now, self._clock_offset
        self._clock_offset = offset
        if before is not None and abs(offset - before) > CLOCK_JUMP:
            self.disarm(f"clock: it jumped by {offset - before:+.2f} s; let it settle, then arm again")
        late, allowed = now - self._sent_at - 1 / self.config.rates.guard, self.config.timeouts.guard
        if late > allowed:
            self.disarm(f"guard: it was {late:.2f} s late itself, the limit is {allowed:g} s")


def _without_obstacles(state: SafetyState) -> SafetyState:
    return replace(state, obstacle_ahead=math.inf, obstacle_behind=math.inf)
