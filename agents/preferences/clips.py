"""Cuts clips from the steps that the learner takes anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.preferences.data import frame_stacks
from envs.batch import BatchStep
from envs.episode import Episode

Array = NDArray[Any]


class ClipRecorder:
    """The newest clips of N environment copies, cut one after the other, never across a reset.

    num_envs: copies. length: steps of a clip. capacity: clips kept, the newest. dt: seconds a step
    takes. Stacked frames, uint8 observations (stack, H, W), are stored once.
    No environment step is spent on clips alone: call `on_step` with every step of the learner.
    """

    def __init__(self, num_envs: int, length: int, capacity: int, dt: float = 1.0) -> None:
        if min(num_envs, length, capacity) < 1:
            raise ValueError(
                f"num_envs, length and capacity must be at least 1, got {num_envs}, {length}, {capacity}"
            )
        self.num_envs, self.length, self.capacity, self.dt = num_envs, length, capacity, dt
        self.recorded = 0
        """clips ever cut; the newest min(recorded, capacity) are kept"""
        self.initial_steps = 0
        """environment steps before the last `restart`"""
        self._steps = 0
        self._stack = 0  # of the frames in an observation; 0 for observations that are not stacked
        self._filled = np.zeros(num_envs, np.int64)  # steps of the clip that each copy is on
        self._open: dict[str, Array] = {}  # those clips, time first: (length or more, N, ...)
        self._pool: dict[str, Array] = {}  # finished clips, (capacity, length or more, ...)

    def __len__(self) -> int:
        """Clips that are kept."""
        return min(self.recorded, self.capacity)

    def on_step(
        self, observations: Array, actions: Array, step: BatchStep, physics: Array | None = None
    ) -> None:
        """Takes in one step of all copies.

        observations: (N, ...) that were acted on; actions: (N, ...) as executed; step: what came of
        it; physics: (N, S) simulator states that belong to `observations`, before the step.
        """
        streams = {"actions": actions, "true_reward": step.infos["true_reward"]}
        if physics is not None:
            streams["physics"] = physics
        if not self._open:
            self._allocate(observations, streams)
        if ("physics" in streams) != ("physics" in self._open):
            raise ValueError("physics must come with every step or with none")
        copies = np.arange(self.num_envs)
        for name, stream in streams.items():
            self._open[name][self._filled, copies] = stream
        self._write_observations(self._filled, copies, observations)
        self._filled += 1
        self._steps += self.num_envs
        done = np.flatnonzero(self._filled == self.length)
        if len(done):
            last = step.observations[done]
            if step.final_observations is not None:
                ended = step.ended[done]
                last = np.where(
                    ended.reshape(-1, *[1] * (last.ndim - 1)), step.final_observations[done], last
                )
            self._write_observations(self._filled[done], done, last)
            self._keep(done)
        # A copy that was reset starts a new clip; what it had of an unfinished one is dropped.
        self._filled[(self._filled == self.length) | step.ended] = 0

    def _allocate(self, observations: Array, streams: Mapping[str, Array]) -> None:
        stacked = observations.dtype == np.uint8 and observations.ndim == 4
        self._stack = observations.shape[1] if stacked else 0
        shape = observations.shape[2:] if stacked else observations.shape[1:]
        frames = self.length + max(1, self._stack)
        streams = {name: np.asarray(stream) for name, stream in streams.items()}
        self._open = {
            name: np.zeros((self.length, *stream.shape), stream.dtype) for name, stream in streams.items()
        }
        self._open["observations"] = np.zeros((frames, self.num_envs, *shape), observations.dtype)
        self._pool = {
            # Empty pages cost nothing until clips fill them.
            name: np.empty((self.capacity, len(stream), *stream.shape[2:]), stream.dtype)
            for name, stream in self._open.items()
        }

    def _write_observations(self, time: Array, copies: Array, observations: Array) -> None:
        buffer = self._open["observations"]
        if not self._stack:
            buffer[time, copies] = observations
            return
        buffer[time + self._stack - 1, copies] = observations[:, -1]
        for copy in np.flatnonzero(time == 0):  # the older frames of a clip's first stack
            buffer[: self._stack, copies[copy]] = observations[copy]

    def _keep(self, copies: Array) -> None:
        for copy in copies[-self.capacity :]:
            row = self.recorded % self.capacity
            for name, stream in self._open.items():
                self._pool[name][row] = stream[:, copy]
            self.recorded += 1

    def _rows(self) -> Array:
        """Rows of the pool from the oldest clip to the newest."""
        return np.arange(self.recorded - len(self), self.recorded) % self.capacity

    def clips(self) -> list[Episode]:
        """All kept clips from old to new, as Episodes that later steps do not change.

        Stacked observations are views of each clip's single frames.
        """
        return [self._episode(row) for row in self._rows()]

    def clip(self, index: int) -> Episode:
        """One of `clips()`."""
        return self._episode(self._rows()[index])

    def _episode(self, row: int) -> Episode:
        stream = {name: self._pool[name][row].copy() for name in self._pool}
        observations = stream.pop("observations")
        if self._stack:
            observations = frame_stacks(observations, self._stack)
        actions = stream.pop("actions")
        return Episode(
            observations={"observation": observations},
            actions=actions,
            # What the learner saw is the learnt reward of that moment, which means nothing later.
            rewards=np.zeros(self.length, np.float32),
            times=np.arange(self.length + 1) * self.dt,
            truncated=True,
            info=stream,
        )

    def recent_steps(self, count: int) -> tuple[Array, Array]:
        """Observations (M, ...) and actions (M, ...) of the newest clips, M <= count steps.

        What each member's output is normalised on.
        """
        if not len(self):
            raise ValueError(f"no clip is finished yet: they take {self.length} steps of each copy")
        rows = self._rows()[-max(1, count // self.length) :]
        observations = self._pool["observations"][rows]
        if self._stack:
            observations = frame_stacks(observations, self._stack)
        observations = observations[:, : self.length]
        actions = self._pool["actions"][rows]
        flat = observations.reshape(-1, *observations.shape[2:]), actions.reshape(-1, *actions.shape[2:])
        return flat[0][-count:], flat[1][-count:]

    def restart(self) -> None:
        """Drops unfinished clips: the environments were reset from outside, or the start has ended."""
        self._filled[:] = 0
        self.initial_steps = self._steps

    def state_dict(self) -> dict[str, Any]:
        """All clips, finished and not, and counters."""
        return {
            "recorded": self.recorded,
            "initial_steps": self.initial_steps,
            "steps": self._steps,
            "stack": self._stack,
            "filled": self._filled.copy(),
            "open": {name: stream.copy() for name, stream in self._open.items()},
            "pool": {name: stream[: len(self)].copy() for name, stream in self._pool.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to a state. Raises ValueError when it is of a recorder of other sizes."""
        opened = {name: np.array(stream) for name, stream in state["open"].items()}
        if opened and opened["actions"].shape[:2] != (self.length, self.num_envs):
            raise ValueError(
                f"saved clips have (steps, copies) {opened['actions'].shape[:2]}, "
                f"expected {(self.length, self.num_envs)}"
            )
        kept = min(int(state["recorded"]), self.capacity)
        self._pool = {}
        for name, stream in state["pool"].items():
            if len(stream) != kept:
                raise ValueError(f"{len(stream)} saved clips do not fit a capacity of {self.capacity}")
            self._pool[name] = np.empty((self.capacity, *stream.shape[1:]), stream.dtype)
            self._pool[name][:kept] = stream
        self._open, self._filled = opened, np.array(state["filled"])
        self._stack, self._steps = int(state["stack"]), int(state["steps"])
        self.recorded, self.initial_steps = int(state["recorded"]), int(state["initial_steps"])
