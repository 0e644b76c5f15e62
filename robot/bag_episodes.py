"""From a bag's streams to episodes: what the driver would have seen at each decision, and what was done then.

The observation is made by the code that makes it on the robot (`streams`), fed by stamps in place of a
clock. The action of a step is what the guard let through to the base, on average over the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.episode import Episode
from envs.recording import EpisodeRecorder
from robot.bag import BagError, typestore
from robot.bag_reader import Bag
from robot.bag_tracks import Stamps, Track, unpack_picture
from robot.config import RobotConfig
from robot.streams import Streams

Array = NDArray[Any]

WATCHED = ("camera", "imu", "odometry", "lidar")
"""streams without which nothing is decided"""
FINE = 25
"""looks at the command in each step"""


@dataclass(frozen=True)
class ImportConfig:
    """How drives are cut out of a bag."""

    image: tuple[int, int] = (96, 128)
    """(height, width) of the pictures that are kept: what the model sees"""
    step_seconds: float = 0.25
    episode_seconds: float = 60.0
    """longest; a part of the drives is kept out to measure on, so there must be several"""
    shortest: int = 8
    """steps"""
    longest_gap: float = 0.5
    """s that a sensor may be silent; beyond it the drive is cut"""
    stamps: Stamps = "header"
    """header: the senders' own; arrival: when the recorder heard them"""

    def __post_init__(self) -> None:
        if min(self.image) < 1 or self.shortest < 1:
            raise ValueError(f"image {self.image} and shortest {self.shortest} must be above 0")
        if not (self.step_seconds > 0 and self.longest_gap > 0 and self.episode_seconds >= self.step_seconds):
            raise ValueError(
                "step_seconds, longest_gap and episode_seconds must be above 0, the last the longest"
            )


@dataclass(frozen=True)
class Plan:
    """What is to be made of a bag. ticks: (N,) s since 1970; spans: [first, last] tick of each episode.

    why: {reason: (N,) bool} ticks at which nothing is recorded. phase_spread: s, of the driver's decisions
    around the ticks; NaN where nothing was decided.
    """

    ticks: Array
    spans: list[tuple[int, int]]
    why: Mapping[str, Array]
    phase_spread: float


def plan_episodes(tracks: Mapping[str, Track], config: ImportConfig) -> Plan:
    """Ticks in step with the driver's decisions, cut where a sensor is silent or the robot disarmed."""
    watched = [tracks[name] for name in WATCHED if name in tracks]
    needed = [*watched, tracks["position"], tracks["command"]]
    start = max(track.stamps[0] for track in needed)
    stop = min(track.stamps[-1] for track in watched)
    step = config.step_seconds
    phase, spread = _phase(tracks.get("wish"), step, start)
    first = start + (phase - start) % step
    if stop - first < step:
        raise BagError(
            f"the streams have {max(stop - start, 0):.1f} s in common: is one of them from another drive? "
            + ", ".join(f"{one.source.name} {one.stamps[-1] - one.stamps[0]:.1f} s" for one in needed)
        )
    ticks = first + step * np.arange(int((stop - first) / step) + 1)
    why = {f"{track.source.name} silent": ~(ages(track, ticks) <= config.longest_gap) for track in watched}
    if "guard" in tracks and tracks["guard"].stamps:
        why["disarmed"] = _disarmed(tracks["guard"], ticks, step)
    bad = np.logical_or.reduce(list(why.values()))
    return Plan(ticks, _spans(~bad, config), why, spread)


def episodes(
    bag: Bag,
    tracks: Mapping[str, Track],
    plan: Plan,
    robot: RobotConfig,
    config: ImportConfig,
    report: Callable[[int], None] | None = None,
) -> Iterator[Episode]:
    """Reads the bag once more, for its pictures. report: called with the number of ticks done.

    Raises MessageError for a picture that cannot be used.
    """
    streams = Streams(robot, config.image, config.step_seconds)
    feed = _Feed(streams, tracks)
    pictures = _Pictures(bag, tracks["camera"])
    done = executed(tracks["command"], plan.ticks, config.step_seconds, robot.base.timeout)
    wished = (
        executed(tracks["wish"], plan.ticks, config.step_seconds, robot.timeouts.planner)
        if "wish" in tracks
        else np.zeros_like(done)
    )
    held = held_back(tracks.get("guard"), plan.ticks)
    camera_age = ages(tracks["camera"], plan.ticks).astype(np.float32)

    def look(tick: int, *, fresh: bool) -> tuple[dict[str, Array], dict[str, Any]]:
        now = float(plan.ticks[tick])
        feed.until(now)
        if fresh:
            streams.restart()
        picture = pictures.newest(now)
        streams.hear_picture(lambda: picture)
        return streams.observation(now), {"stamp": np.float64(now), "picture_age": camera_age[tick]}

    for first, last in plan.spans:
        seen, info = look(first, fresh=True)
        recorder = EpisodeRecorder(seen, info, config.step_seconds, np.float32)
        for tick in range(first, last):
            seen, info = look(tick + 1, fresh=False)
            about = {**info, "wish": wished[tick], "held": held[tick]}
            recorder.add(done[tick], seen, 0.0, (False, False), about)
            if report is not None:
                report(tick + 1)
        yield recorder.episode()


def executed(track: Track, ticks: Array, step: float, timeout: float) -> Array:
    """(N, 2) float32 rad/s and m/s of the step after each tick: the mean of what was commanded.

    A command holds until the next, and no longer than the base's own timeout.
    """
    stamps = track.times()
    values = np.array([(one.turn_rate, one.speed) for one in track.values], np.float64)
    when = ticks[:, None] + step * (np.arange(FINE) + 0.5) / FINE
    index = np.searchsorted(stamps, when, "right") - 1
    known = (index >= 0) & (when - stamps[np.maximum(index, 0)] <= timeout)
    mean: Array = np.where(known[..., None], values[np.maximum(index, 0)], 0.0).mean(1)
    return mean.astype(np.float32)


def held_back(guard: Track | None, ticks: Array) -> Array:
    """(N,) bool: the guard had a reason to let the robot stand, such as something in the way."""
    if guard is None or not guard.stamps:
        return np.zeros(len(ticks), np.bool_)
    index = np.searchsorted(guard.times(), ticks, "right") - 1
    return np.array([at >= 0 and guard.values[at].held for at in index], np.bool_)


def ages(track: Track, ticks: Array) -> Array:
    """(N,) s, of the newest message at each tick; inf before the first."""
    stamps = track.times()
    index = np.searchsorted(stamps, ticks, "right") - 1
    return np.where(index >= 0, ticks - stamps[np.maximum(index, 0)], np.inf)


class _Feed:
    """Hands the small messages to the streams, in the order of their stamps."""

    def __init__(self, streams: Streams, tracks: Mapping[str, Track]) -> None:
        self._streams, self._at = streams, dict.fromkeys(tracks, 0)
        self._tracks = tracks
        self._hear: dict[str, Callable[[Any, float, str], None]] = {
            "imu": lambda value, stamp, topic: streams.hear_imu(value, stamp, topic),
            "odometry": lambda value, stamp, topic: streams.hear_odometry(value, stamp),
            "lidar": lambda value, stamp, topic: streams.hear_scan(*value),
            "position": lambda value, stamp, topic: streams.hear_fix(value),
            "velocity": lambda value, stamp, topic: streams.hear_velocity(value[0], value[1], stamp),
            "goal": lambda value, stamp, topic: setattr(streams, "goal", value),
        }

    def until(self, now: float) -> None:
        for name, hear in self._hear.items():
            track = self._tracks.get(name)
            if track is None:
                continue
            at = self._at[name]
            while at < len(track.stamps) and track.stamps[at] <= now:
                stamp = track.stamps[at]
                if name in self._streams.streams:
                    self._streams.streams[name].hear(stamp, stamp, stamp)
                hear(track.values[at], stamp, track.source.topic)
                at += 1
            self._at[name] = at


class _Pictures:
    """The camera's frames, unpacked only when one is asked for; must be asked in the order of time."""

    def __init__(self, bag: Bag, track: Track) -> None:
        self._track, self._stamps = track, track.times()
        topic = track.source.topic
        self._records = enumerate(record for record in bag.messages() if record.topic == topic)
        self._store = typestore()
        self._number, self._picture = -1, np.zeros((0, 0, 3), np.uint8)
        self._size: tuple[int, int] | None = None

    def newest(self, now: float) -> Array:
        """(H, W, 3) uint8. Raises MessageError, also for a picture of another size than the first."""
        wanted = self._track.values[int(np.searchsorted(self._stamps, now, "right")) - 1]
        if wanted != self._number:
            record = next(record for number, record in self._records if number == wanted)
            self._picture = unpack_picture(record, self._store, self._size)
            self._number, self._size = wanted, self._picture.shape[:2]
        return self._picture


def _phase(wish: Track | None, step: float, start: float) -> tuple[float, float]:
    """When within a step the driver decides, and the spread of that in s: its wish changes then."""
    if wish is None or len(wish.stamps) < 2:
        return start, float("nan")
    values = np.array([(one.turn_rate, one.speed) for one in wish.values])
    changed = wish.times()[1:][(np.diff(values, axis=0) != 0).any(1)]
    if not len(changed):
        return start, float("nan")
    # In s after the start: since 1970 there are too many for the precision of an angle.
    turn = np.exp(2j * np.pi * (changed - start) / step).mean()
    spread = step / (2 * np.pi) * float(np.sqrt(max(-2 * np.log(max(abs(turn), 1e-12)), 0.0)))
    return start + float(np.angle(turn)) / (2 * np.pi) * step, spread


def _disarmed(guard: Track, ticks: Array, step: float) -> Array:
    """(N,) bool: not armed at the tick, or at some moment of the step before it."""
    stamps = guard.times()
    armed = np.array([one.armed for one in guard.values])
    index = np.searchsorted(stamps, ticks, "right") - 1
    off = ~np.where(index >= 0, armed[np.maximum(index, 0)], False)
    went_off = np.histogram(stamps[~armed], np.append(ticks[0] - step, ticks))[0] > 0
    return np.asarray(off | went_off)


def _spans(good: Array, config: ImportConfig) -> list[tuple[int, int]]:
    """[first, last] ticks of the episodes: all ticks between are good."""
    most = round(config.episode_seconds / config.step_seconds)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], good.astype(int), [0]])))
    spans = []
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        for start in range(first, end - 1, most):
            last = min(start + most, end - 1)
            if last - start >= config.shortest:
                spans.append((start, last))
    return spans
