"""Windows of experience, cut when they are loaded: an image, the actions after it, and what came of them.

Horizon and step are the model's, not the recording's. Images stay in the memory-mapped episodes; all the
rest is small and kept at hand. After the end of what a window can tell (badgr specification, 1.4 and 1.5)
masks say so, and the actions are those of another drive: what is done after a crash changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.events import EventLabels
from agents.badgr.spec import ModelSpec, SpecError
from envs.episode import Episode

Array = NDArray[Any]

CHUNK = 1 << 16
DONORS = 64
"""drives looked at for one whose actions join the end of a window"""


class WindowError(ValueError):
    """The recordings hold nothing to learn an event from, or do not fit the model."""


@dataclass(frozen=True)
class WindowConfig:
    """How windows are cut and drawn. Shares: of the drawn windows, see `Windows.draw`."""

    image: str = "image"
    """the observation that the model sees"""
    actions: tuple[str, ...] = ("angular_velocity", "linear_velocity")
    """names of the recorded columns; the model takes its own by name"""
    stride: int = 1
    """recorded steps between the starts of two windows"""
    ends: tuple[str, ...] = ("collision", "stuck")
    """events after which a window tells nothing more, and in which none begins"""
    reset: str = "resetting"
    """info stream, where there is one: steps that were driven to get free and are no experience"""
    tolerance: float = 0.02
    """of an action's range, by which a step may leave the model's limits and still count"""
    balance: Mapping[str, float] = field(
        default_factory=lambda: {"collision": 0.5, "bumpy": 0.5, "stuck": 0.5}
    )
    """{event: share of windows in which it happens}, drawn for each event in turn"""
    balance_all: tuple[str, ...] = ()
    """events of `balance` that must fill the window to count, for those that are the rule (the released
    code's bumpy)"""
    natural: float = 0.25
    """share of the draws that are not balanced at all"""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1, got {self.stride}")
        wrong = {name: share for name, share in self.balance.items() if not 0 < share < 1}
        if wrong:
            raise ValueError(f"shares of balance must lie between 0 and 1, got {wrong}")
        if not 0 <= self.natural <= 1 or not self.tolerance >= 0:
            raise ValueError(f"natural {self.natural} and tolerance {self.tolerance} must be shares")


@dataclass(frozen=True)
class Batch:
    """B windows. images (B, height, width, C) uint8; actions (B, H, A) in [-1, 1]; labels (B, H, K) bool;
    mask (B, H, K) bool, where labels are known; position (B, H, 2) m in the robot's frame at the image;
    position_mask (B, H); drives (B,) numbers of the drives that they are from.
    """

    images: Array
    actions: Array
    labels: Array
    mask: Array
    position: Array
    position_mask: Array
    drives: Array


@dataclass(frozen=True)
class Outcome:
    """What windows tell beside their images; see Batch. valid: (B, H), their actions were driven."""

    actions: Array
    labels: Array
    mask: Array
    position: Array
    position_mask: Array
    valid: Array


class Windows:
    """All windows of some labelled drives. `dropped`: steps that begin none, by reason."""

    def __init__(
        self,
        drives: Sequence[tuple[Episode, EventLabels]],
        spec: ModelSpec,
        config: WindowConfig | None = None,
    ) -> None:
        """Raises SpecError for images, actions or steps other than the model's, WindowError without any."""
        self.spec, self.config = spec, config or WindowConfig()
        if not drives:
            raise WindowError("there is no drive to cut windows from: record some, or check their labels")
        self._every = _recorded_steps(drives, spec)
        self.dropped = {"gap, or an action that is not finite": 0, "reset": 0, "action outside limits": 0}
        self.dropped["begins in what ends a window"] = 0
        parts = [self._take(episode, labels) for episode, labels in drives]
        self._images = [np.asarray(episode.observations[self.config.image]) for episode, _ in drives]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        self._actions, self._events, self._known = joined["actions"], joined["events"], joined["known"]
        self._pose, self._moved, self._intact = joined["pose"], joined["moved"], joined["intact"]
        frames = np.array([len(part["intact"]) for part in parts])
        self._first = np.concatenate([[0], np.cumsum(frames)[:-1]])
        self._last = np.repeat(np.cumsum(frames) - 1, frames)  # of the episode that a frame belongs to
        self._drive = np.repeat(np.arange(len(parts)), frames)
        at = np.arange(len(self._last)) - self._first[self._drive]
        self._refuse_foreign_actions()
        self._starts = np.flatnonzero(self._intact & ~joined["already"] & (at % self.config.stride == 0))
        self._happens = self._fills = np.zeros((0, len(spec.events)), np.bool_)
        self._balanced: dict[str, tuple[Array, Array]] = {}
        self._survey()

    def __len__(self) -> int:
        return len(self._starts)

    def share(self, event: str) -> float:
        """Of windows in which an event happens."""
        return float(self._happens[:, self.spec.event(event)].mean())

    def expect_events(self) -> None:
        """Raises WindowError when an event of the model never happens, or always: nothing teaches it then."""
        for name in self.spec.events:
            column = self.spec.event(name)
            if not self._happens[:, column].any():
                reason = f"{name} happens in none of the {len(self)} windows: gather more, "
            elif self._fills[:, column].all():
                reason = f"{name} happens in every step of the {len(self)} windows: gather other experience, "
            else:
                continue
            raise WindowError(reason + "check its threshold and its sensors, or leave it out of the events")

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """(count,) numbers of windows, rebalanced on both sides of each event as the configuration says."""
        numbers = rng.integers(len(self), size=count)
        rules = [name for name in self.config.balance if name in self.spec.events]
        if not rules:
            return numbers
        rule = rng.integers(len(rules), size=count)
        balanced = rng.random(count) >= self.config.natural
        side = rng.random(count)
        for index, name in enumerate(rules):
            sides = self._sides(name)
            share = self.config.balance[name]
            for happens in (True, False):
                rows = np.flatnonzero(balanced & (rule == index) & ((side < share) == happens))
                chosen = sides[0 if happens else 1]
                numbers[rows] = chosen[rng.integers(len(chosen), size=len(rows))]
        return numbers

    def batch(self, numbers: Array, rng: np.random.Generator, images: slice = slice(None)) -> Batch:
        """Windows by number. rng: of the actions after their end; images: of which windows they are read."""
        starts = self._starts[np.asarray(numbers)]
        outcome = self._outcome(starts)
        actions = self._driven_on(outcome, rng)
        drives = self._drive[starts]
        frames = starts - self._first[drives]
        seen = np.empty((len(starts[images]), *self.spec.image), np.uint8)
        for row, (drive, frame) in enumerate(zip(drives[images], frames[images], strict=True)):
            seen[row] = self._images[drive][frame]
        known = (outcome.labels, outcome.mask, outcome.position, outcome.position_mask)
        return Batch(seen, actions, *known, drives)

    def _driven_on(self, outcome: Outcome, rng: np.random.Generator) -> Array:
        """Actions (B, H, A): what was driven, and after a window's end a piece of another drive that joins
        it. Uniform samples there, as in the original, would tell the network of the end by their jumps."""
        actions, valid = outcome.actions.copy(), outcome.valid
        rows = np.flatnonzero(~valid.all(1))
        if not len(rows):
            return actions
        last = np.maximum(valid[rows].sum(1) - 1, 0)  # the step that ended it
        joint = actions[rows, last]
        tails = np.broadcast_to(joint[:, None], (len(rows), *actions.shape[1:]))
        if len(self._whole):
            donors = self._whole[rng.integers(len(self._whole), size=(len(rows), DONORS))]
            frames = donors[..., None] + np.arange(self._every)
            apart = np.square(self._actions[frames].mean(2) - joint[:, None]).sum(-1)
            nearest = donors[np.arange(len(rows)), apart.argmin(1)]
            tails = self._outcome(nearest).actions
        step = np.arange(actions.shape[1])
        after = np.clip(step - last[:, None], 0, actions.shape[1] - 1)
        joined = np.take_along_axis(tails, after[..., None], axis=1)
        actions[rows] = np.where(valid[rows][..., None], actions[rows], joined)
        return actions

    def _sides(self, name: str) -> tuple[Array, Array]:
        """Numbers of the windows with an event and of those without."""
        if name in self._balanced:
            return self._balanced[name]
        column = self.spec.event(name)
        met = self._fills if name in self.config.balance_all else self._happens
        sides = np.flatnonzero(met[:, column]), np.flatnonzero(~met[:, column])
        for numbers, word in zip(sides, ("no", "every"), strict=True):
            if not len(numbers):
                raise WindowError(
                    f"{word} window of {len(self)} has {name}, nothing can be balanced: gather more, "
                    "or take it out of `balance` and of the events"
                )
        self._balanced[name] = sides
        return sides

    def _survey(self) -> None:
        """Which events happen in, and fill, each window; those that tell nothing are left out."""
        happens, fills, useful, whole = [], [], [], []
        for start in range(0, len(self._starts), CHUNK):
            outcome = self._outcome(self._starts[start : start + CHUNK])
            happens.append((outcome.labels & outcome.mask).any(1))
            fills.append((outcome.labels | ~outcome.mask).all(1) & outcome.mask.any(1))
            useful.append(outcome.mask.any((1, 2)))
            whole.append(outcome.valid.all(1))
        if not useful or not np.concatenate(useful).any():
            reasons = ", ".join(f"{count} {name}" for name, count in self.dropped.items() if count)
            raise WindowError(f"no window is left to learn from; steps dropped: {reasons or 'none'}")
        keep = np.concatenate(useful)
        self._whole = self._starts[np.concatenate(whole)]
        self._starts = self._starts[keep]
        self._happens, self._fills = np.concatenate(happens)[keep], np.concatenate(fills)[keep]

    def _outcome(self, starts: Array) -> Outcome:
        """Of windows that begin at these frames, of all drives one after the other."""
        spec, every = self.spec, self._every
        fine = starts[:, None] + np.arange(spec.horizon * every)
        last = self._last[starts][:, None]
        frames = np.minimum(fine, last).reshape(len(starts), spec.horizon, every)
        # The last frame of a drive begins no step: it is not intact, and ends each window that reaches it.
        intact = np.logical_and.accumulate(self._intact[frames].all(2), axis=1)
        happened = self._events[frames].any(2)  # (B, H, K)
        known = self._known[frames].all(2) | happened
        ends = [spec.event(name) for name in self.config.ends if name in spec.events]
        ended = np.logical_or.accumulate(happened[..., ends].any(2), axis=1)
        valid = intact.copy()
        valid[:, 1:] &= ~ended[:, :-1]  # the step that ends it still counts
        labels, mask = happened & valid[..., None], known & valid[..., None]
        for name in spec.lasting:
            column = spec.event(name)
            labels[..., column] = np.logical_or.accumulate(labels[..., column], axis=1)
            sure = np.logical_and.accumulate(mask[..., column], axis=1)
            mask[..., column] = sure | labels[..., column]
        after = np.minimum(starts[:, None] + every * np.arange(1, spec.horizon + 1), last)
        return Outcome(
            actions=self._actions[frames].mean(2),
            labels=labels,
            mask=mask,
            position=_relative(self._pose[after], self._pose[starts]),
            position_mask=valid & np.logical_and.accumulate(self._moved[frames].all(2), axis=1),
            valid=valid,
        )

    def _take(self, episode: Episode, labels: EventLabels) -> dict[str, Array]:
        """The small streams of a drive, (T + 1, ...): a row more than steps, that belongs to none."""
        spec, config = self.spec, self.config
        image = _observation(episode, config.image)
        spec.expect_image(image.shape[1:])
        if image.dtype != np.uint8:
            raise SpecError(f"the model expects uint8 images, {config.image} is {image.dtype}")
        if len(labels) != len(episode):
            raise WindowError(f"labels of {len(labels)} steps do not belong to a drive of {len(episode)}")
        missing = [name for name in spec.events if name not in labels.events]
        if missing:
            raise WindowError(f"the labels lack {', '.join(missing)}, they have {', '.join(labels.events)}")
        recorded = np.asarray(episode.actions)
        if recorded.ndim != 2 or recorded.shape[1] != len(config.actions):
            raise SpecError(f"actions are {recorded.shape[1:]} a step, expected {', '.join(config.actions)}")
        columns = [_column(config.actions, one.name) for one in spec.actions]
        actions = spec.normalised(recorded[:, columns])
        inside = (np.abs(np.nan_to_num(actions)) <= 1 + 2 * config.tolerance).all(1)
        resetting = np.asarray(episode.info.get(config.reset, np.zeros(len(episode))))[: len(episode)] > 0
        intact = labels.whole & ~resetting & inside
        names = spec.events
        # A robot that stands against the wall already teaches nothing of what a picture foretells.
        already = np.zeros(len(episode), np.bool_)
        for name in set(config.ends) & set(names):
            already[1:] |= labels.events[name][:-1] & intact[:-1]
        resets, foreign = labels.whole & resetting, labels.whole & ~resetting & ~inside
        reasons = (~labels.whole, resets, foreign, intact & already)
        for name, lost in zip(self.dropped, reasons, strict=True):
            self.dropped[name] += int(lost.sum())
        return {
            "actions": _padded(np.clip(np.where(intact[:, None], actions, 0), -1, 1)),
            "events": _padded(np.stack([labels.events[name] for name in names], 1)),
            "known": _padded(np.stack([labels.known[name] for name in names], 1)),
            "moved": _padded(labels.moved),
            "intact": _padded(intact),
            "already": _padded(already),
            "pose": labels.pose,
        }

    def _refuse_foreign_actions(self) -> None:
        """Raises SpecError where most actions lie outside the limits: then they are not what they seem."""
        lost = self.dropped["action outside limits"]
        if lost > 0.8 * (lost + int(self._intact.sum())):
            limits = ", ".join(f"{one.name} {one.low} to {one.high}" for one in self.spec.actions)
            raise SpecError(
                f"{lost} of {lost + int(self._intact.sum())} actions lie outside the model's limits "
                f"({limits}): are the columns {', '.join(self.config.actions)}, in rad/s and m/s?"
            )


def _recorded_steps(drives: Sequence[tuple[Episode, EventLabels]], spec: ModelSpec) -> int:
    """Recorded steps in one of the model's. Raises SpecError when the model's is no multiple of them."""
    found = set()
    for episode, _ in drives:
        usual = float(np.median(np.diff(episode.times)))
        ratio = spec.step_seconds / usual
        if round(ratio) < 1 or abs(ratio - round(ratio)) > 0.1 * round(ratio):
            raise SpecError(
                f"the model's step of {spec.step_seconds} s is no multiple of the recorded {usual:.4g} s"
            )
        found.add(round(ratio))
    if len(found) > 1:
        raise SpecError(f"drives of several rates cannot be mixed: {sorted(found)} recorded steps in one")
    return found.pop()


def _relative(pose: Array, start: Array) -> Array:
    """Places (B, H, 2) of poses (B, H, 3) in the frames of their starts (B, 3)."""
    dx, dy = np.moveaxis(pose[..., :2] - start[:, None, :2], -1, 0)
    cos, sin = np.cos(start[:, None, 2]), np.sin(start[:, None, 2])
    return np.stack([dx * cos + dy * sin, dy * cos - dx * sin], -1).astype(np.float32)


def _observation(episode: Episode, name: str) -> Array:
    if name not in episode.observations:
        raise SpecError(f"the drive has no image {name!r}, it has {', '.join(sorted(episode.observations))}")
    return np.asarray(episode.observations[name])


def _column(names: tuple[str, ...], wanted: str) -> int:
    if wanted not in names:
        raise SpecError(f"the model needs the action {wanted}, the recording has {', '.join(names)}")
    return names.index(wanted)


def _padded(values: Array) -> Array:
    return np.concatenate([values, np.zeros((1, *values.shape[1:]), values.dtype)])
