"""What an agent lived through: whole episodes, and references to short clips of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Episode:
    """One episode, or a piece of one, of T steps.

    observations: {name: (T+1, ...)}; a plain array observation has the name "observation".
    actions: (T, A) or (T,) for discrete actions, as executed.
    rewards: (T,), as the learner saw them; the hidden true reward is `info["true_reward"]`.
    times: (T+1,) seconds.
    info: {name: (T, ...) or (T+1, ...)} further streams, such as "true_reward" (T,)
    and "physics" (T+1, S), the simulator state from which a frame can be rendered.
    Raises ValueError when the lengths do not agree.
    """

    observations: Mapping[str, Array]
    actions: Array
    rewards: Array
    times: Array
    terminated: bool = False
    truncated: bool = False
    info: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps = len(self.actions)
        if not self.observations:
            raise ValueError("an Episode needs at least one observation stream, none came")
        for name, stream in self.observations.items():
            _expect_length(f"observations[{name!r}]", stream, (steps + 1,))
        _expect_length("rewards", self.rewards, (steps,))
        _expect_length("times", self.times, (steps + 1,))
        for name, stream in self.info.items():
            _expect_length(f"info[{name!r}]", stream, (steps, steps + 1))

    def __len__(self) -> int:
        """Number of steps T."""
        return len(self.actions)

    def slice(self, start: int, length: int) -> Episode:
        """Steps [start, start + length) as an Episode that owns its memory.

        A copy on purpose: a view would keep the whole episode alive.
        """
        if start < 0 or length < 1 or start + length > len(self):
            raise ValueError(f"steps [{start}, {start + length}) lie outside an episode of {len(self)} steps")
        stop, at_end = start + length, start + length == len(self)

        def cut(stream: Array) -> Array:
            frames = len(stream) == len(self) + 1
            return np.array(stream[start : stop + frames])

        return Episode(
            observations={name: cut(stream) for name, stream in self.observations.items()},
            actions=cut(self.actions),
            rewards=cut(self.rewards),
            times=cut(self.times),
            terminated=self.terminated and at_end,
            truncated=self.truncated or not at_end,
            info={name: cut(stream) for name, stream in self.info.items()},
        )

    def digest(self) -> str:
        """sha256 (hex) of everything in the episode: its id in a dataset."""
        sha = hashlib.sha256(f"{self.terminated:d}{self.truncated:d}".encode())
        for name, stream in self.streams().items():
            sha.update(f"{name}|{stream.dtype.str}|{stream.shape}|".encode())
            sha.update(np.ascontiguousarray(stream).tobytes())
        return sha.hexdigest()

    def streams(self) -> dict[str, Array]:
        """Every array under a flat name, sorted: "action", "info/x", "observation/x", "reward", "time"."""
        flat: dict[str, Array] = {
            "action": self.actions,
            "reward": self.rewards,
            "time": self.times,
        }
        flat.update({f"observation/{name}": stream for name, stream in self.observations.items()})
        flat.update({f"info/{name}": stream for name, stream in self.info.items()})
        return {name: np.asarray(flat[name]) for name in sorted(flat)}


@dataclass(frozen=True)
class Clip:
    """A reference to `length` steps of an episode; `dataset[clip]` gives the Episode.

    The paper calls it a trajectory segment (Christiano et al. 2017, 2.1).
    """

    episode: str
    start: int
    length: int

    def __post_init__(self) -> None:
        if self.start < 0 or self.length < 1:
            raise ValueError(f"a clip needs start >= 0 and length >= 1, got {self.start} and {self.length}")


def _expect_length(name: str, stream: Array, allowed: tuple[int, ...]) -> None:
    if len(stream) not in allowed:
        wanted = " or ".join(str(length) for length in allowed)
        raise ValueError(f"{name} has length {len(stream)}, expected {wanted}")
