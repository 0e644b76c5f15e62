"""Where an agent has been lately, as it sees it: a small map that turns and moves with it.

A policy without memory goes in circles indoors; the authors' navigators had such a map too.
"""

from __future__ import annotations

import numpy as np

from envs.batch import Array

SIDE, CELL = 5, 0.75
"""cells along a side of the map; m of a cell"""
KEPT = 128
"""last places that are remembered"""
FULL = 8.0
"""visits that make a cell 1"""


class Trail:
    """The last places of N agents."""

    def __init__(self, n: int) -> None:
        self._places = np.full((n, KEPT, 2), np.nan)
        self._next = np.zeros(n, np.int64)

    def forget(self, i: int) -> None:
        self._places[i], self._next[i] = np.nan, 0

    def add(self, places: Array) -> None:
        """places: (N, 2) m, where everyone is now."""
        everyone = np.arange(len(places))
        self._places[everyone, self._next % KEPT] = places
        self._next += 1

    def map(self, i: int, pose: Array) -> Array:
        """(SIDE * SIDE,) float32: visits of the cells around agent i, ahead first, left first; 1 at most."""
        x, y, heading = pose
        away = self._places[i] - (x, y)
        c, s = np.cos(heading), np.sin(heading)
        ahead, left = away @ (c, s), away @ (-s, c)
        with np.errstate(invalid="ignore"):
            rows = np.floor(SIDE / 2 - ahead / CELL)
            columns = np.floor(SIDE / 2 - left / CELL)
            inside = (rows >= 0) & (rows < SIDE) & (columns >= 0) & (columns < SIDE)
        cells = (rows[inside] * SIDE + columns[inside]).astype(np.int64)
        visits = np.bincount(cells, minlength=SIDE * SIDE)
        return np.minimum(visits / FULL, 1.0).astype(np.float32)

    def get_state(self) -> dict[str, Array]:
        return {"places": self._places.copy(), "next": self._next.copy()}

    def set_state(self, state: dict[str, Array]) -> None:
        self._places, self._next = np.array(state["places"]), np.array(state["next"])
