"""What happened to the robot, told from its own sensors alone: collision, bumpy, stuck, and where it went.

One rule an event, all thresholds in LabelConfig. A step whose sensors were silent has an unknown label:
no window learns from it. Torch-free: the robot's own recordings are labelled where they are.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.badgr.signals import (
    Streams,
    commands,
    ground_velocity,
    hardest_blow,
    late_steps,
    odometry,
    samples,
    scans,
    wheel_speed,
)
from envs.episode import Episode

Array = NDArray[Any]

VERSION = 2
"""of the rules: raised whenever the same streams and thresholds would give other labels"""
SLOWEST = 0.3
"""m/s: slower than that, ground is not felt any less"""


@dataclass(frozen=True)
class LabelConfig:
    """Thresholds of the labels. Sources: badgr specification 2.1 and 8.3; where it knows none, measured on
    the simulated rover. Raises ValueError for values that mean nothing."""

    streams: Streams = field(default_factory=Streams)
    collision: Literal["lidar", "imu", "either"] = "either"
    """lidar: an obstacle at the hull, the paper's urban rule; passable grass is one too, a kerb below the
    lidar's plane never. imu: a blow, and the robot is held back from then on. either: what stands at the
    hull or struck it, and holds it back"""
    clearance: float = 0.05
    """m between the robot's outline and the nearest echo, below which it has hit something"""
    sector: float = 200.0
    """degrees around forward in which echoes count"""
    echoes: int = 2
    """so many of them must be that near: a single one may be noise"""
    half_length: float = 0.254
    half_width: float = 0.215
    """m, half the outline"""
    lidar_forward: float = 0.10
    """m from the robot's origin to the lidar"""
    blow: float = 0.35
    """m/s lost within blow_seconds, against the direction of driving"""
    blow_seconds: float = 0.04
    blow_peak: float = 15.0
    """m/s^2 that the deceleration must reach"""
    motion: Literal["velocity", "wheels"] = "velocity"
    """what tells how fast it really is. velocity: the stream of that name, of GPS or a camera; wheels: where
    there is none, the wheels' speed, which sinks when they strain and lies when they spin"""
    held: float = 0.75
    """share of the commanded speed over ground below which something holds the robot"""
    held_wheels: float = 0.95
    """the same of the wheels' speed"""
    bumpy: float = 0.35
    """rad/s at 1 m/s, root mean square of the roll and pitch rates in a step; yaw is steering. It is taken
    to grow with the square root of the speed"""
    bumpy_seconds: float = 1.25
    """the median over so long counts: a single jolt does not make a lawn"""
    settle_seconds: float = 0.5
    """bumpiness is unknown so long after the beginning, when the robot may have been put down"""
    stuck_command: float = 0.3
    """m/s asked for at least"""
    stuck_seconds: float = 1.5
    """of standing still, or by wheels of being held back without a pause"""
    stuck_speed: float = 0.06
    """m/s, of the mean velocity over so long, below which it stands still: 0.05, and the sensor's noise"""
    heading: Literal["gyro", "odometry"] = "gyro"
    """where the position's heading comes from: skidding wheels turn less than they think"""
    gap: float = 1.5
    """steps longer than this many usual ones had a gap in their streams"""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, (int, float)) and not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be finite and above 0, got {value}")
        if self.gap <= 1:
            raise ValueError(f"gap must be above 1, a usual step, got {self.gap}")

    def digest(self) -> str:
        """Of the rules' version and all thresholds: labels with the same digest can be put together."""
        content = json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


URBAN = LabelConfig()
"""Also where kerbs are below the lidar's plane"""
OFF_ROAD = LabelConfig(collision="imu", bumpy=0.42)
"""Grass is at the hull all the time, and smooth ground is not as smooth as pavement"""


@dataclass(frozen=True)
class EventLabels:
    """Labels of an episode of T steps; step t is what happened between observations t and t + 1.

    events, known: {name: (T,) bool}; a label whose `known` is False says nothing. pose: (T + 1, 3) x m,
    y m, heading rad by the robot's own reckoning, from where it began; moved: (T,) bool, False where the
    way from pose t to t + 1 is not known; whole: (T,) bool, False where the stamps have a gap or the action
    is not finite.
    """

    events: Mapping[str, Array]
    known: Mapping[str, Array]
    pose: Array
    moved: Array
    whole: Array

    def __len__(self) -> int:
        return len(self.moved)

    @property
    def position(self) -> Array:
        """(T, 2) m after each step, in the frame of the first observation."""
        there: Array = self.pose[1:, :2]
        return there


Detector = Callable[[Episode, LabelConfig], tuple[Array, Array]]
"""Of an episode: label and whether it is known, (T,) bool each. Raises LabelError without its streams."""


def label_episode(
    episode: Episode, config: LabelConfig = URBAN, detectors: Mapping[str, Detector] | None = None
) -> EventLabels:
    """All events of an episode. detectors: by default DETECTORS; add your own events to a copy of it.

    Raises LabelError when a needed stream is missing, of another shape or unit, or when stamps run back.
    """
    late = late_steps(episode, config.gap)
    events, known = {}, {}
    for name, detect in (DETECTORS if detectors is None else detectors).items():
        happened, sure = detect(episode, config)
        known[name] = sure & ~late
        events[name] = happened & known[name]
    pose, moved = odometry(episode, config.streams, config.heading)
    return EventLabels(events, known, pose, moved & ~late, ~late)


def collision(episode: Episode, config: LabelConfig) -> tuple[Array, Array]:
    """By the rule that the configuration names."""
    if config.collision == "lidar":
        return near_by_lidar(episode, config)
    met, felt = blows(episode, config)
    if config.collision == "either":
        near, heard = near_by_lidar(episode, config)
        met, felt = met | near, felt & heard
    held, seen = held_back(episode, config)
    return _lasting(met, held, commands(episode, config.streams)[0]), felt & seen


def near_by_lidar(episode: Episode, config: LabelConfig) -> tuple[Array, Array]:
    """Something stands at the robot's outline at the end of the step."""
    ranges, heard = scans(episode, config.streams)  # (T, B)
    return (ranges < outline_reach(config, ranges.shape[1])).sum(1) >= config.echoes, heard


@functools.lru_cache(maxsize=16)
def outline_reach(config: LabelConfig, beams: int) -> Array:
    """(B,) m: an echo nearer than this stands at the robot's outline; 0 for beams outside of the sector."""
    angle = (np.arange(beams) * (2 * np.pi / beams) + np.pi) % (2 * np.pi) - np.pi
    reach = np.linspace(0, 2, 2001)[:, None]  # the outline is convex around the lidar: one border a beam
    outside_x = np.abs(config.lidar_forward + reach * np.cos(angle)) - config.half_length
    outside_y = np.abs(reach * np.sin(angle)) - config.half_width
    within = np.hypot(np.maximum(outside_x, 0), np.maximum(outside_y, 0)) < config.clearance
    in_sector = np.abs(angle) <= np.deg2rad(config.sector) / 2
    border: Array = np.where(in_sector, (reach * within).max(0), 0.0)
    border.setflags(write=False)
    return border


def blows(episode: Episode, config: LabelConfig) -> tuple[Array, Array]:
    """Speed is lost at one blow. Braking and thick grass take it more slowly; ruts strike as hard."""
    speed, _ = commands(episode, config.streams)
    acceleration, dt, felt = samples(episode, config.streams.acceleration, "m/s^2")  # (T, K, 3)
    lost, peak = hardest_blow(acceleration, speed, dt, config.blow_seconds)
    return (lost >= config.blow) & (peak >= config.blow_peak), felt


def held_back(episode: Episode, config: LabelConfig) -> tuple[Array, Array]:
    """(T,) bool: it is told to drive and does not reach its speed; and whether that is known."""
    told, _ = commands(episode, config.streams)
    if config.motion == "wheels":
        reached, seen = wheel_speed(episode, config.streams)
        # Wheels are asked for their direction too; the velocity over ground has another frame.
        slow = reached * np.sign(told) < config.held_wheels * np.abs(told)
    else:
        velocity, seen = ground_velocity(episode, config.streams)
        slow = np.hypot(velocity[:, 0], velocity[:, 1]) < config.held * np.abs(told)
    return (np.abs(told) > 0.05) & slow, seen


def bumpy(episode: Episode, config: LabelConfig) -> tuple[Array, Array]:
    """The body rolls and pitches fast. Unknown while it is held back: who stands does not feel the ground."""
    shaking, felt = _shaking(episode, config)
    half = _steps_of(config.bumpy_seconds, episode) // 2
    # The unknown must not count as still: it takes no part in the median.
    around = np.pad(np.where(felt, shaking, np.nan), half, constant_values=np.nan)
    views = np.lib.stride_tricks.sliding_window_view(around, 2 * half + 1)
    middle = np.zeros(len(episode))
    middle[felt] = np.nanmedian(views[felt], axis=1)
    settled = episode.times[:-1] - episode.times[0] >= config.settle_seconds - 1e-9
    held, seen = held_back(episode, config)
    return middle > config.bumpy, felt & settled & seen & ~held


def stuck(episode: Episode, config: LabelConfig) -> tuple[Array, Array]:
    """Asked to drive, it stays where it is. Unknown while it has collided: that is why, then."""
    speed, _ = commands(episode, config.streams)
    held, seen = held_back(episode, config)
    asked = np.abs(speed) > config.stuck_command
    steps = _steps_of(config.stuck_seconds, episode)
    happened = np.zeros(len(episode), np.bool_)
    if len(episode) >= steps:
        windows = np.lib.stride_tricks.sliding_window_view
        throughout = windows(asked & seen, steps).all(-1)
        if config.motion == "wheels":
            throughout &= windows(held, steps).all(-1)
        else:
            velocity, _ = ground_velocity(episode, config.streams)
            mean = windows(velocity, steps, axis=0).mean(-1)  # its noise averages out, a speed's would not
            throughout &= np.hypot(mean[:, 0], mean[:, 1]) < config.stuck_speed
        for start in np.flatnonzero(throughout):
            happened[start : start + steps] = True
    hit, _ = collision(episode, config)
    return happened, seen & ~hit


DETECTORS: Mapping[str, Detector] = MappingProxyType({"collision": collision, "bumpy": bumpy, "stuck": stuck})
"""The events that come with surefoot, by name."""


def bumpy_threshold(smooth: list[Episode], config: LabelConfig = URBAN, margin: float = 1.25) -> float:
    """rad/s for LabelConfig.bumpy, from drives over ground that counts as smooth: margin x their 80th
    percentile (specification 8.3)."""
    rms = []
    for episode in smooth:
        shaking, felt = _shaking(episode, config)
        rms.append(shaking[felt])
    return float(margin * np.percentile(np.concatenate(rms), 80))


def _shaking(episode: Episode, config: LabelConfig) -> tuple[Array, Array]:
    """(T,) rad/s at 1 m/s, and (T,) bool: the gyro spoke."""
    rates, _, felt = samples(episode, config.streams.gyro, "rad/s")  # (T, K, 3)
    if config.motion == "wheels":
        speed = np.abs(wheel_speed(episode, config.streams)[0])
    else:
        speed = np.linalg.norm(ground_velocity(episode, config.streams)[0], axis=1)
    rms = np.sqrt(np.square(rates[..., :2]).sum(-1).mean(1))
    return rms / np.sqrt(np.maximum(speed, SLOWEST)), felt


def _lasting(met: Array, held: Array, speed: Array) -> Array:
    """(T,) bool: what was met holds the robot now or in the next step, and from then on until it no longer
    does, or the robot drives another way. A single step between two that are held is held too: who scrapes
    along a wall comes loose for moments."""
    soon = held | np.append(held[1:], False)
    on = held | (np.append(False, held[:-1]) & np.append(held[1:], False))
    same_way = np.append(False, speed[1:] * speed[:-1] > 0)
    happened = np.zeros(len(met), np.bool_)
    lasts = False
    for step in range(len(met)):
        lasts = bool((met[step] and soon[step]) or (lasts and on[step] and same_way[step]))
        happened[step] = lasts
    return happened


def _steps_of(seconds: float, episode: Episode) -> int:
    usual = float(np.median(np.diff(episode.times))) if len(episode) else 1.0
    return max(int(np.ceil(seconds / usual - 1e-6)), 1)
