"""Pixel observations in memory: each frame once, as uint8; the network's stacks are made on reading.

A stack of S frames shares S - 1 of them with the stack before. Storing observations and next observations
as they come keeps every frame 2 S times.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from envs.batch import BatchStep

Array = NDArray[Any]


def stack_frames(frames: Array, stack: int) -> Array:
    """Single frames (T + S - 1, ...) as the T stacks of S they form, (T, S, ...): a view."""
    if len(frames) < stack:
        raise ValueError(f"a stack of {stack} needs at least as many frames, got {len(frames)}")
    return np.moveaxis(sliding_window_view(frames, stack, axis=0), -1, 1)


def pack_clip(observations: Array) -> Array:
    """Stacked observations of one clip, (T, S, ...), as T + S - 1 single frames.

    T is the number of observations: 25 steps have 25, and 26 with the final one.
    Raises ValueError if they are not consecutive stacks of one episode: then nothing can be shared.
    """
    if not np.array_equal(observations[1:, :-1], observations[:-1, 1:]):
        raise ValueError("these observations are not consecutive frame stacks of one episode")
    return np.concatenate([observations[0], observations[1:, -1]])


def unpack_clip(frames: Array, stack: int) -> Array:
    """The inverse of `pack_clip`: observations (T, S, ...) that own their memory."""
    # Picking by index copies whole frames at once: faster than copying the strided view.
    steps = len(frames) - stack + 1
    return frames[np.arange(steps)[:, None] + np.arange(stack)]


@dataclass(frozen=True)
class Transitions:
    """A batch of B steps.

    observations, next_observations: (B, S, *frame) uint8; actions: (B, ...); rewards: (B,) float32;
    dones: (B,) bool, true only where the episode terminated: a truncated one has a value after it.
    """

    observations: Array
    actions: Array
    rewards: Array
    next_observations: Array
    dones: Array


def expected_bytes(
    capacity: int,
    frame_shape: tuple[int, ...] = (84, 84),
    action_shape: tuple[int, ...] = (),
    action_dtype: Any = np.int64,
) -> int:
    """Bytes that a FrameReplay of this many frames will take once it is full."""
    frame = math.prod(frame_shape)
    action = math.prod(action_shape) * np.dtype(action_dtype).itemsize
    return capacity * (frame + action + 4 + 2)  # reward float32, two flags


class FrameReplay:
    """The last `capacity` frames of N copies of an environment with stacked-frame observations (S, *frame).

    Every copy has a ring of capacity // N rows. Row i: the newest frame of observation i, and the action
    and reward that followed it. An episode begins with the S frames of its first observation, whatever the
    environment padded them with, and ends with the frame of its final observation, which has no action.
    An episode therefore costs S frames more than it has steps.

    path: a file for the frames, mapped into memory, where RAM is too small; its room is reserved at once.
    Raises MemoryError or OSError at construction when it cannot fit: not hours later, when it is full.
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        observation_shape: tuple[int, ...],
        action_shape: tuple[int, ...] = (),
        action_dtype: Any = np.int64,
        path: str | Path | None = None,
    ) -> None:
        self.stack, *frame = observation_shape
        self.rows, self.num_envs = capacity // num_envs, num_envs
        if self.rows < self.stack + 2:
            raise ValueError(
                f"capacity {capacity} is too small: {num_envs} copies with stacks of {self.stack} need "
                f"{num_envs * (self.stack + 2)}"
            )
        shape = (num_envs, self.rows)
        _expect_room(expected_bytes(capacity, tuple(frame), action_shape, action_dtype), path)
        self.frames = _allocate((*shape, *frame), path)
        self.actions = np.zeros((*shape, *action_shape), action_dtype)
        self.rewards = np.zeros(shape, np.float32)
        self.terminated = np.zeros(shape, bool)
        self.usable = np.zeros(shape, bool)
        """Rows whose action, next frame and whole stack are still there."""
        self.newest = np.full(num_envs, -1)
        """Of each copy: the row of the observation to be acted on; -1 before the first reset."""
        self.filled = np.zeros(num_envs, np.int64)
        self._copies = np.arange(num_envs)

    def __len__(self) -> int:
        """Number of steps that can be sampled."""
        return int(self.usable.sum())

    def reset(self, observations: Array) -> None:
        """Every copy begins a new episode with observations[i], (N, S, *frame) uint8."""
        self._expect_frames(observations)
        for copy in self._copies:
            self._begin(copy, observations[copy])

    def add(self, actions: Array, step: BatchStep) -> None:
        """One step of every copy. Raises ValueError where an observation does not continue the one before."""
        if (self.newest < 0).any():
            raise RuntimeError("call reset(observations) before the first add")
        ended = step.ended
        following = step.observations
        if ended.any():
            if step.final_observations is None:
                raise ValueError("episodes ended, but the step has no final_observations")
            final = step.final_observations
            following = np.where(ended.reshape(-1, *[1] * (final.ndim - 1)), final, step.observations)
        self._expect_frames(following)
        if not np.array_equal(following[:, :-1], self._stacks(self._copies, self.newest)[:, 1:]):
            raise ValueError(
                "an observation does not continue the one before by one frame: was reset() forgotten?"
            )
        rows = self.newest.copy()
        self.actions[self._copies, rows] = actions
        self.rewards[self._copies, rows] = step.rewards
        self.terminated[self._copies, rows] = step.terminated
        self._push(self._copies, following[:, -1])
        self.usable[self._copies, rows] = True
        for copy in np.flatnonzero(ended):
            self._begin(copy, step.observations[copy])

    def sample(self, batch: int, rng: np.random.Generator) -> Transitions:
        """Steps drawn uniformly, with replacement, from all that are stored."""
        if not self.usable.any():
            raise ValueError("there is no step to sample yet")
        copies, rows = self._draw(batch, rng)
        return Transitions(
            observations=self._stacks(copies, rows),
            actions=self.actions[copies, rows],
            rewards=self.rewards[copies, rows],
            next_observations=self._stacks(copies, (rows + 1) % self.rows),
            dones=self.terminated[copies, rows],
        )

    def state_dict(self) -> dict[str, Array]:
        """Everything stored, not copied: save it before the next add."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Goes on from a `state_dict` of a replay of the same size."""
        for name in _STATE:
            here = getattr(self, name)
            if here.shape != state[name].shape:
                raise ValueError(f"the saved replay has {name} {state[name].shape}, this one {here.shape}")
        for name in _STATE:
            getattr(self, name)[:] = state[name]

    def _begin(self, copy: Any, observation: Array) -> None:
        for frame in observation:
            self._push(self._copies[copy : copy + 1], frame[None])

    def _push(self, copies: Array, frames: Array) -> None:
        """Overwrites the oldest row of each of these copies, and gives up the stacks that reach into it."""
        rows = (self.newest[copies] + 1) % self.rows
        self.frames[copies, rows] = frames
        for offset in range(self.stack):
            self.usable[copies, (rows + offset) % self.rows] = False
        self.newest[copies] = rows
        self.filled[copies] = np.minimum(self.filled[copies] + 1, self.rows)

    def _draw(self, batch: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Uniform over usable rows by drawing again for the others: they are few, a list of all is long."""
        limit = int(self.filled.max())
        drawn = np.empty(0, np.int64)
        while len(drawn) < batch:
            tries = rng.integers(self.num_envs * limit, size=2 * (batch - len(drawn)) + 8)
            drawn = np.concatenate([drawn, tries[self.usable[tries // limit, tries % limit]]])
        return drawn[:batch] // limit, drawn[:batch] % limit

    def _stacks(self, copies: Array, rows: Array) -> Array:
        """(B, S, *frame): the rows and the S - 1 before each, across the end of the ring."""
        indices = (rows[:, None] + np.arange(1 - self.stack, 1)) % self.rows
        return self.frames[copies[:, None], indices]

    def _expect_frames(self, observations: Array) -> None:
        expected = (self.num_envs, self.stack, *self.frames.shape[2:])
        if observations.shape != expected or observations.dtype != np.uint8:
            raise ValueError(
                f"expected observations {expected} uint8, got {observations.shape} {observations.dtype}"
            )


_STATE = ("frames", "actions", "rewards", "terminated", "usable", "newest", "filled")


def _allocate(shape: tuple[int, ...], path: str | Path | None) -> Array:
    if path is None:
        return np.zeros(shape, np.uint8)
    size, free = math.prod(shape), shutil.disk_usage(Path(path).parent).free
    if size > free:
        raise OSError(
            errno.ENOSPC,
            f"the frames will take {size / 2**30:.1f} GiB, "
            f"{free / 2**30:.1f} GiB are free on the disk of {path}",
        )
    with Path(path).open("w+b") as file:
        # A sparse file on a disk that fills kills the process with SIGBUS: take the room now.
        os.posix_fallocate(file.fileno(), 0, size)
    return np.memmap(path, np.uint8, "r+", shape=shape)


def _expect_room(needed: int, path: str | Path | None) -> None:
    """RAM is given lazily, so a replay that is too large would only fail when it fills."""
    if path is not None:
        return  # reserving the file says it
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
        available = int(fields["MemAvailable"].split()[0]) * 1024
    if needed > available:
        raise MemoryError(
            f"this replay will take {needed / 2**30:.1f} GiB, {available / 2**30:.1f} GiB are available: "
            "lower the capacity, or give path= to keep the frames in a file"
        )
