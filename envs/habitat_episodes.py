"""The trips of our rooms as a Habitat-Lab data set, and the order in which episodes come.

Habitat's coordinates have y up and look along -z; ours have z up and look along x. So (x, y, z) here is
(x, z, -y) there, and a heading here is a turn about y less a quarter there.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from envs.batch import Array
from envs.files import write_durably
from envs.rover.worlds import SPLITS, TRIPS, Split, make_world

PREFIX = "surefoot/indoor"
"""scene_id of a room: "surefoot/indoor/train/12" """


def to_habitat(x: float, y: float, z: float = 0.0) -> list[float]:
    """Habitat's coordinates (m) of a place here."""
    return [float(x), float(z), -float(y)]


def from_habitat(position: Sequence[float] | Array) -> tuple[float, float]:
    """(x, y) m here of a place in Habitat's coordinates."""
    return float(position[0]), -float(position[2])


def quaternion_of(heading: float) -> list[float]:
    """(x, y, z, w) in Habitat of a heading (rad) here."""
    half = (heading - math.pi / 2) / 2
    return [0.0, math.sin(half), 0.0, math.cos(half)]


def heading_of(rotation: Sequence[float] | Array) -> float:
    """rad here, in (-pi, pi], of an (x, y, z, w) in Habitat."""
    heading = 2 * math.atan2(rotation[1], rotation[3]) + math.pi / 2
    return math.atan2(math.sin(heading), math.cos(heading))


def scene_name(split: Split, index: int) -> str:
    return f"{PREFIX}/{split}/{index}"


def parse_scene(name: str) -> tuple[Split, int]:
    """Split and index of a room's scene_id. Raises ValueError for others."""
    before, _, last = name.rpartition("/")
    for split, worlds in SPLITS.items():
        if before.endswith(f"{PREFIX}/{split}") and last.isdigit() and int(last) < len(worlds):
            return split, int(last)
    raise ValueError(f'expected a scene_id such as "{PREFIX}/train/0", got {name!r}')


def write_episodes(path: Path, split: Split, indices: Sequence[int] = ()) -> int:
    """Writes a PointNav-v1 data set of every trip of these rooms, or of all; says how many there are.

    Any Habitat-Lab program that knows our simulator can read it. path: ends in .json.gz.
    """
    episodes = []
    for index in indices or range(len(SPLITS[split])):
        world = make_world("indoor", split, index)
        for trip in range(TRIPS):
            x, y, heading = world.starts[trip]
            goal = to_habitat(*world.goals[trip])
            episodes.append(
                {
                    "episode_id": f"{split}-{index}-{trip}",
                    "scene_id": scene_name(split, index),
                    "start_position": to_habitat(x, y),
                    "start_rotation": quaternion_of(heading),
                    "goals": [{"position": goal, "radius": None}],
                    "info": {},
                }
            )
    text = json.dumps({"episodes": episodes})
    write_durably(path, gzip.compress(text.encode(), mtime=0))
    return len(episodes)


class EpisodeOrder:
    """Each episode once in a drawn order, then all again in another; those of a scene one after another.

    scenes: (E,) int, which scene an episode is in. grouped: whether a change of scene costs time.
    """

    def __init__(self, scenes: Array, grouped: bool) -> None:
        self._scenes, self._grouped = scenes, grouped
        self._order = np.arange(0)
        self._next = 0

    def forget(self) -> None:
        """What was drawn; the next episode begins a new order."""
        self._order, self._next = np.arange(0), 0

    def draw(self, generator: np.random.Generator) -> int:
        """The next episode."""
        if self._next == len(self._order):
            order = generator.permutation(len(self._scenes))
            if self._grouped:
                rank = generator.permutation(int(self._scenes.max()) + 1)
                order = order[np.argsort(rank[self._scenes[order]], kind="stable")]
            self._order, self._next = order, 0
        self._next += 1
        return int(self._order[self._next - 1])

    def get_state(self) -> dict[str, Any]:
        return {"order": self._order.copy(), "next": self._next}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError for the state of another data set."""
        order = np.array(state["order"], np.int64)
        if len(order) not in (0, len(self._scenes)):
            raise ValueError(f"the state is of {len(order)} episodes, this data set has {len(self._scenes)}")
        self._order, self._next = order, int(state["next"])
