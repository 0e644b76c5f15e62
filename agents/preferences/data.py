"""The answered pairs of clips, in arrays that training reads without copying."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.preferences.bootstrap import fold_key
from agents.preferences.comparison import Comparison
from envs.episode import Episode

Array = NDArray[Any]

FIRST_ROWS = 64


class ComparisonSet:
    """Comparisons to train on, with their own copy of both clips; row i, side 0 is the left clip.

    The first pair fixes the shapes. keep_last: only the last so many labels are kept (the paper's
    3,000 for Atari); None keeps all. Stacked frames, uint8 (stack, H, W), are stored once:
    `observations` then holds (rows, 2, steps + stack - 1, H, W) single frames, else
    (rows, 2, steps, D) as the environment gave them.
    """

    def __init__(self, keep_last: int | None = None) -> None:
        if keep_last is not None and keep_last < 1:
            raise ValueError(f"keep_last must be at least 1, got {keep_last}")
        self.keep_last = keep_last
        self.skipped = 0
        """answers that were not trained on: neither clip could be preferred"""
        self.added = 0
        """comparisons ever added, those that left the ring among them"""
        self.labellers: list[str] = []
        """everybody who answered; `labeller` counts in this order"""
        self._arrays: dict[str, Array] = {}

    def __len__(self) -> int:
        """Comparisons that can be trained on now."""
        return min(self.added, self.keep_last or self.added)

    def add(self, comparison: Comparison, left: Episode, right: Episode) -> bool:
        """Adds an answered pair; False when the answer is a skip, which is never trained on.

        Raises ValueError when a clip has another length or shape, or holds values that are not finite.
        """
        if comparison.target is None:
            self.skipped += 1
            return False
        query = comparison.query
        clips = [
            _checked(clip, f"the {side} clip of query {query.id}")
            for side, clip in (("left", left), ("right", right))
        ]
        self._expect_shapes(clips, query.id)
        row = self.added % self.keep_last if self.keep_last else self.added
        self._make_room(row + 1)
        for side, clip in enumerate(clips):
            for name, stream in clip.items():
                self._arrays[name][row, side] = stream
        self._arrays["targets"][row] = comparison.target
        self._arrays["keys"][row] = fold_key(*clips)
        self._arrays["labels"][row] = self.added
        if comparison.labeller not in self.labellers:
            self.labellers.append(comparison.labeller)
        self._arrays["labeller"][row] = self.labellers.index(comparison.labeller)
        self.added += 1
        return True

    def clear(self) -> None:
        """Forgets all rows, as before the first was added."""
        self.skipped = self.added = 0
        self.labellers, self._arrays = [], {}

    def _expect_shapes(self, clips: list[dict[str, Array]], query: str) -> None:
        """Against the clips that are there, or of the first pair against each other."""
        for name in ("observations", "actions"):
            expected = self._arrays[name][0, 0] if self._arrays else clips[0][name]
            for clip in clips:
                if clip[name].shape != expected.shape or clip[name].dtype != expected.dtype:
                    raise ValueError(
                        f"a clip of query {query} has {name} {clip[name].shape} {clip[name].dtype}, "
                        f"the others have {expected.shape} {expected.dtype}: all clips of a run are alike"
                    )
        if not self._arrays:
            self._arrays = {
                **{name: np.empty((0, 2, *stream.shape), stream.dtype) for name, stream in clips[0].items()},
                "targets": np.empty(0, np.float32),
                "keys": np.empty(0, np.uint64),
                "labels": np.empty(0, np.int64),
                "labeller": np.empty(0, np.int32),
            }

    def _make_room(self, rows: int) -> None:
        capacity = len(self._arrays["targets"])
        if rows <= capacity:
            return
        capacity = max(FIRST_ROWS, 2 * capacity)
        if self.keep_last:
            capacity = min(capacity, self.keep_last)
        for name, array in self._arrays.items():
            grown = np.empty((capacity, *array.shape[1:]), array.dtype)
            grown[: len(array)] = array
            self._arrays[name] = grown

    @property
    def steps(self) -> int:
        """Length of every clip; 0 while there is none."""
        return self._arrays["actions"].shape[2] if self._arrays else 0

    @property
    def observations(self) -> Array:
        """A view; see the class for its shape."""
        return self._arrays["observations"][: len(self)]

    @property
    def actions(self) -> Array:
        """(rows, 2, steps, ...), a view."""
        return self._arrays["actions"][: len(self)]

    @property
    def targets(self) -> Array:
        """(rows,) float32, a view: probability that the left clip is better."""
        return self._arrays["targets"][: len(self)]

    @property
    def keys(self) -> Array:
        """(rows,) uint64, a view: what `bootstrap_weights` takes."""
        return self._arrays["keys"][: len(self)]

    @property
    def labels(self) -> Array:
        """(rows,) int64, a view: which label, counted from 0 since the first, each row holds."""
        return self._arrays["labels"][: len(self)]

    @property
    def labeller(self) -> Array:
        """(rows,) int32, a view: who answered, as an index into `labellers`."""
        return self._arrays["labeller"][: len(self)]

    def state_dict(self) -> dict[str, Any]:
        """All rows and counters."""
        arrays = {name: array[: len(self)].copy() for name, array in self._arrays.items()}
        counters = {"added": self.added, "skipped": self.skipped, "labellers": list(self.labellers)}
        return {**counters, "arrays": arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to a state."""
        self._arrays = {name: np.array(array) for name, array in state["arrays"].items()}
        self.added, self.skipped = int(state["added"]), int(state["skipped"])
        self.labellers = [str(name) for name in state["labellers"]]


def _checked(clip: Episode, where: str) -> dict[str, Array]:
    """The clip's observations acted on and its actions, as they are stored."""
    if "observation" not in clip.observations:
        raise ValueError(f"{where} has no stream 'observation', only {', '.join(clip.observations)}")
    observations, actions = clip.observations["observation"][: len(clip)], np.asarray(clip.actions)
    if not (np.isfinite(observations).all() and np.isfinite(actions).all()):
        raise ValueError(f"{where} holds NaN or infinity and cannot be trained on")
    if observations.dtype == np.uint8 and observations.ndim == 4:
        observations = single_frames(observations, where)
    elif observations.dtype != np.uint8:
        observations = observations.astype(np.float32, copy=False)
    kind = np.int64 if np.issubdtype(actions.dtype, np.integer) else np.float32
    return {"observations": observations, "actions": actions.astype(kind, copy=False)}


def single_frames(stacks: Array, where: str = "the clip") -> Array:
    """Frames (T + stack - 1, H, W), each once, of T stacks (T, stack, H, W) that follow one another.

    Raises ValueError when they do not: a reset inside a clip.
    """
    if not np.array_equal(stacks[1:, :-1], stacks[:-1, 1:]):
        raise ValueError(f"{where} has frame stacks that do not follow one another")
    return np.concatenate([stacks[0], stacks[1:, -1]])


def frame_stacks(frames: Array, stack: int) -> Array:
    """Stacks (..., T, stack, H, W) of single frames (..., T + stack - 1, H, W), as a view."""
    axis = frames.ndim - 3
    windows = np.lib.stride_tricks.sliding_window_view(frames, stack, axis=axis)
    stacks: Array = np.moveaxis(windows, -1, axis + 1)
    return stacks
