"""A predictor that reads the true map: what planner and preferences are worth with a perfect network.

Simulation only. What it predicts is as coarse as the map: a robot that does as it is told, on a grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.prediction import Prediction
from agents.badgr.spec import ModelSpec
from envs.rover.body import TRACK
from envs.rover.feasible import SIDE, passage
from envs.rover.rovers import Rovers
from envs.rover.terrain import KINDS
from envs.rover.world import CELL

Array = NDArray[Any]

TOUCH = 0.34
"""m from a solid to the robot's middle, at which they touch"""
_BUMPY = np.array([kind.is_bumpy for kind in KINDS])
_HOLDS = np.array([kind.holds for kind in KINDS])


class TrueForesight:
    """A `Foresight` for rover i of a batch."""

    def __init__(self, rovers: Rovers, i: int, spec: ModelSpec | None = None) -> None:
        self.spec = spec or ModelSpec()
        self._rovers, self._i = rovers, i
        self._world = rovers.prepared(i).world
        bare = np.zeros_like(self._world.kinds)
        self._gap = passage(bare, self._world.solids, self._world.fence, self._world.heights).gap

    def look(self, image: Array) -> None:
        """The map needs no picture; it looks where the robot is."""
        pose = self._rovers.poses[self._i]
        self._pose = float(pose[0]), float(pose[1]), float(2 * np.arctan2(pose[6], pose[3]))

    def predict(self, actions: Array) -> Prediction:
        """Of actions (N, H, 2) rad/s and m/s."""
        dt = self.spec.step_seconds
        turned = np.cumsum(actions[..., 0], 1) * dt
        heading = turned - actions[..., 0] * dt / 2  # in the middle of each step
        way = actions[..., 1] * dt
        ahead = np.stack([np.cumsum(way * np.cos(heading), 1), np.cumsum(way * np.sin(heading), 1)], -1)
        x, y, facing = self._pose
        c, s = np.cos(facing), np.sin(facing)
        east = x + c * ahead[..., 0] - s * ahead[..., 1]
        north = y + s * ahead[..., 0] + c * ahead[..., 1]
        across = facing + turned + np.pi / 2
        sides = [
            self._kinds(east + k * np.cos(across) * TRACK / 2, north + k * np.sin(across) * TRACK / 2)
            for k in (-1, 1)
        ]
        hit = _at(self._gap, east, north, SIDE) < TOUCH
        events = {
            "collision": np.maximum.accumulate(hit, axis=1),
            "bumpy": np.mean([_BUMPY[side] for side in sides], axis=0),
            "stuck": np.maximum.accumulate(np.any([_HOLDS[side] for side in sides], axis=0), axis=1),
        }
        known = {name: value.astype(np.float64) for name, value in events.items() if name in self.spec.events}
        return Prediction(known, ahead)

    def _kinds(self, east: Array, north: Array) -> Array:
        return _at(self._world.kinds, east, north, CELL)


def _at(grid: Array, east: Array, north: Array, cell: float) -> Array:
    rows, columns = grid.shape
    i = np.clip(np.rint(north / cell).astype(int), 0, rows - 1)
    j = np.clip(np.rint(east / cell).astype(int), 0, columns - 1)
    found: Array = grid[i, j]
    return found
