"""A map of what a 2-D lidar met around the robot, gathered over its way; it moves along with the robot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class GridConfig:
    """Sizes, and the inverse sensor model of occupancy grids (Elfes 1989) as log-odds."""

    cell: float = 0.15
    """m"""
    cells: int = 160
    """of a side"""
    hit: float = 0.9
    miss: float = -0.35
    lowest: float = -1.5
    highest: float = 3.0
    occupied: float = 0.8
    """log-odds from which on a cell counts as an obstacle: one echo is enough where none was missed before"""
    farthest: float = 11.5
    """m; beyond it a beam without an echo is not told from one with"""
    lidar_forward: float = 0.10
    """m from the robot's origin to the lidar"""


class LidarGrid:
    """Rows run north, columns east, in the frame of the places that `update` is given."""

    def __init__(self, config: GridConfig | None = None) -> None:
        self.config = config or GridConfig()
        self.reset()

    def reset(self) -> None:
        self.odds = np.zeros((self.config.cells, self.config.cells))
        self._corner = np.zeros(2, np.int64)  # (column, row) of cell (0, 0), counted from the frame's origin

    def update(self, place: Array, heading: float, ranges: Array) -> None:
        """Takes in one turn of the lidar. place: (2,) m; ranges: (B,) m, anticlockwise from ahead."""
        c = self.config
        self._follow(place)
        ranges = np.asarray(ranges, np.float64)
        angles = heading + np.arange(len(ranges)) * 2 * np.pi / len(ranges)
        rays = np.stack([np.cos(angles), np.sin(angles)], -1)
        eye = place + c.lidar_forward * np.array([np.cos(heading), np.sin(heading)])
        echo = (ranges > 0) & (ranges < c.farthest)
        hits = self._mask(eye + ranges[echo, None] * rays[echo])
        # Every place of a beam up to a cell before its echo.
        along = np.arange(0.0, c.farthest, 0.7 * c.cell)
        before = along[None] < np.minimum(ranges, c.farthest)[:, None] - c.cell
        clear = self._mask((eye + along[None, :, None] * rays[:, None])[before])
        self.odds += np.where(hits, c.hit, np.where(clear, c.miss, 0.0))
        np.clip(self.odds, c.lowest, c.highest, out=self.odds)

    @property
    def occupied(self) -> Array:
        """(R, C) bool."""
        found: Array = self.odds >= self.config.occupied
        return found

    def cell(self, place: Array) -> tuple[int, int]:
        """(row, column) of a place, which may lie outside."""
        column, row = np.floor(np.asarray(place) / self.config.cell).astype(int) - self._corner
        return int(row), int(column)

    def places(self, cells: Array) -> Array:
        """(L, 2) m of the middles of cells (L, 2)."""
        middles: Array = (cells[:, ::-1] + self._corner + 0.5) * self.config.cell
        return middles

    def _mask(self, places: Array) -> Array:
        """(R, C) bool: the cells that some of the places lie in."""
        side = self.config.cells
        columns, rows = (np.floor(places / self.config.cell).astype(np.int64) - self._corner).T
        inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
        mask = np.zeros(side * side, bool)
        mask[rows[inside] * side + columns[inside]] = True
        return mask.reshape(side, side)

    def _follow(self, place: Array) -> None:
        """Keeps the robot within a few cells of the middle."""
        side = self.config.cells
        corner = np.floor(place / self.config.cell).astype(np.int64) - side // 2
        shift = corner - self._corner
        if np.abs(shift).max() < 8:
            return
        moved = np.zeros_like(self.odds)
        dx, dy = (int(part) for part in shift)
        if max(abs(dx), abs(dy)) < side:
            kept = self.odds[max(dy, 0) : side + min(dy, 0), max(dx, 0) : side + min(dx, 0)]
            moved[max(-dy, 0) : side - max(dy, 0), max(-dx, 0) : side - max(dx, 0)] = kept
        self.odds, self._corner = moved, corner


def spread(mask: Array, radius: float) -> Array:
    """(R, C) bool: cells within `radius` cells of one that is set."""
    reach = int(radius)
    rows, columns = mask.shape
    wide = np.pad(mask, reach)
    found = np.zeros_like(mask)
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            if i * i + j * j <= radius * radius:
                found |= wide[reach + i : reach + i + rows, reach + j : reach + j + columns]
    return found
