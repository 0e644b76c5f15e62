"""The upper bound: a driver that knows the true map and where it truly is. Simulation only (numba)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.lidar_grid import spread
from agents.badgr.pursuit import pursue
from agents.badgr.trip import Halt
from envs.rover.compiled import load
from envs.rover.feasible import SIDE, passage
from envs.rover.rovers import Rovers

Array = NDArray[Any]

NEAR, NEAR_COST = 0.6, 2.0
"""m from what cannot be driven over, within which a metre costs so many more"""
BUMP_COST = 4.0
"""metres more for a bumpy one: what the worlds' own trips are drawn with"""
HALF_WIDTH = 0.3
"""m beside the way in which nothing may be bumpy: the wheels are there"""
AHEAD = 0.7
"""m along the way, of the place that is steered to"""


class OracleAgent:
    """An Agent for rover i of a batch; looks at the simulator, not at observations.

    bump_cost: extra metres a bumpy metre. `halt`: why it stands, else None.
    """

    def __init__(self, rovers: Rovers, i: int, bump_cost: float = BUMP_COST) -> None:
        self._rovers, self._i, self._bump_cost = rovers, i, bump_cost
        self.halt: Halt | None = None

    def reset(self) -> None:
        """The way to the goal of the trip that the rover is on, from everywhere in its world."""
        self.halt = None
        world = self._rovers.prepared(self._i).world
        free = passage(world.kinds, world.solids, world.fence, world.heights)
        bumpy = spread(free.bumpy, HALF_WIDTH / SIDE)
        cost = SIDE * (1.0 + self._bump_cost * bumpy + NEAR_COST * (free.gap < NEAR))
        cost = np.where(free.free, cost, np.inf)
        self._left = np.full(cost.shape, 1e9)
        self._left[free.cell(*world.goals[self._rovers.trip(self._i)[1]])] = 0.0
        load()["kernel_plan"].sweep(cost, self._left)
        self._free = free

    def act(self, observation: Any) -> Array:
        pose = self._rovers.poses[self._i]
        x, y = float(pose[0]), float(pose[1])
        heading = float(2 * np.arctan2(pose[6], pose[3]))
        away = self._target(x, y) - (x, y)
        c, s = np.cos(heading), np.sin(heading)
        return pursue(np.array([c * away[0] + s * away[1], c * away[1] - s * away[0]]))

    def _target(self, x: float, y: float) -> Array:
        """The place AHEAD metres down the way from here."""
        row, column = self._free.cell(x, y)
        rows, columns = self._free.gap.shape
        for _ in range(20):
            around = [
                (i, j)
                for i in range(max(row - 1, 0), min(row + 2, rows))
                for j in range(max(column - 1, 0), min(column + 2, columns))
            ]
            row, column = min(around, key=lambda cell: self._left[cell])
            if self._left[row, column] == 0.0 or np.hypot(column * SIDE - x, row * SIDE - y) >= AHEAD:
                break
        return np.array([column * SIDE, row * SIDE])
