"""The geometric baseline: a lidar map, obstacles grown by the robot's size, A* and a path follower.

What stands is an obstacle and what does not stand is free: grass and bumps mean nothing to it. Where no
way is free it stands. NumPy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.bearing import Whereabouts
from agents.badgr.grid_way import cheapest_way
from agents.badgr.lidar_grid import GridConfig, LidarGrid, spread
from agents.badgr.pursuit import pursue
from agents.badgr.trip import STAND, Halt, Leg, Trip, TripConfig

Array = NDArray[Any]


@dataclass(frozen=True)
class LidarPlannerConfig:
    """Distances in metres."""

    grid: GridConfig = field(default_factory=GridConfig)
    trip: TripConfig = field(default_factory=TripConfig)
    radius: float = 0.42
    """kept by the robot's middle from every obstacle: half its diagonal and half a cell"""
    margin: float = 0.75
    """within which of an obstacle a way costs more"""
    margin_cost: float = 2.0
    """metres more for a metre there"""
    ahead: float = 0.8
    """of the place on the path that is steered to"""
    near_goal: float = 1.5
    """from the goal, that a way may end where the goal itself is not free"""
    plan_steps: int = 4
    """decisions after which a path is planned anew, or at once where it is blocked"""
    beams: int = 360
    fence_margin: float = 1.0
    """m inside the fence, where there is one, that no way may leave"""


class LidarPlanner:
    """An Agent. Actions: (2,) float32 rad/s to the left, m/s forward.

    After each `act`: `halt`, why it stands, else None; `path`, (L, 2) m in the frame of `grid`.
    """

    def __init__(
        self,
        config: LidarPlannerConfig | None = None,
        *,
        goal: Array | None = None,
        fence: tuple[float, float, float, float] | None = None,
    ) -> None:
        """fence: x0, y0, x1, y1 m east and north, that it may not leave; GPS tells where it is."""
        self.config, self._fence = config or LidarPlannerConfig(), fence
        self._trip = Trip(self.config.trip, {"lidar": (self.config.beams,)}, goal)
        self.grid = LidarGrid(self.config.grid)
        self.reset()

    def reset(self) -> None:
        """A new trip; the map is forgotten."""
        self._trip.reset()
        self.grid.reset()
        self.path: Array | None = None
        self.halt: Halt | None = None
        self._age = self.config.plan_steps

    def act(self, observation: Mapping[str, Any]) -> Array:
        """observation: lidar, and the streams of `bearing.STREAMS`; "goal" unless one was given."""
        leg = self._trip.look(observation)
        self.halt = self._trip.halt
        if leg is None:
            return STAND.copy()
        here = leg.here
        self.grid.update(here.reckoned, here.heading, observation["lidar"])
        closed = spread(self.grid.occupied, self.config.radius / self.config.grid.cell)
        closed |= self._beyond(here)
        self._age += 1
        if self._age >= self.config.plan_steps or self._is_cut(closed):
            self.path, self._age = self._plan(closed, leg), 0
        if self.path is None:
            self.halt = Halt(
                "blocked", f"no free way to the goal, {leg.distance:.1f} m away, on the lidar's map"
            )
            return STAND.copy()
        return pursue(_in_frame(self._ahead(here.reckoned), here.reckoned, here.heading))

    def _plan(self, closed: Array, leg: Leg) -> Array | None:
        """(L, 2) m, or None where there is no way."""
        c, side = self.config, self.config.grid.cells
        here = leg.here
        forward, left = leg.goal
        cosine, sine = np.cos(here.heading), np.sin(here.heading)
        goal = here.reckoned + np.array([cosine * forward - sine * left, sine * forward + cosine * left])
        rows, columns = np.mgrid[0:side, 0:side]
        row, column = self.grid.cell(goal)
        away = np.hypot(rows - row, columns - column)
        near = spread(self.grid.occupied, c.margin / c.grid.cell)
        cost = np.where(closed, np.inf, 1.0 + c.margin_cost * near)
        start = self.grid.cell(here.reckoned)
        # A robot that stands too close to something may leave, though not through it.
        around = np.hypot(rows - start[0], columns - start[1]) * c.grid.cell < c.radius
        cost[around & closed & ~self.grid.occupied] = 10.0
        cost[start] = 1.0
        finish = self._finish(
            away, np.isfinite(cost), inside=0 < min(row, column) <= max(row, column) < side - 1
        )
        cells = cheapest_way(cost, start, finish, away)
        return None if cells is None else self.grid.places(cells)

    def _beyond(self, here: Whereabouts) -> Array:
        """(R, C) bool: the cells beyond the fence; those around the robot never are, GPS may err."""
        side, margin = self.config.grid.cells, self.config.fence_margin
        if self._fence is None:
            return np.zeros((side, side), bool)
        numbers = np.arange(side)
        east, north = (self.grid.places(np.stack([numbers, numbers], 1)) + here.place - here.reckoned).T
        x0, y0, x1, y1 = self._fence
        beyond_x = (east < x0 + margin) | (east > x1 - margin)
        beyond_y = (north < y0 + margin) | (north > y1 - margin)
        beyond = beyond_y[:, None] | beyond_x[None]
        away = np.hypot(north[:, None] - here.place[1], east[None] - here.place[0])
        found: Array = beyond & (away > 1.5)
        return found

    def _finish(self, away: Array, free: Array, inside: bool) -> Array:
        """(R, C) what is left to pay where a way ends: by the goal, or at the map's border where it is
        beyond."""
        if not inside:
            border = np.ones_like(free)
            border[1:-1, 1:-1] = False
            return np.where(border & free, away, np.inf)
        reach = max(float(away[free].min(initial=np.inf)), 1.0)
        if reach * self.config.grid.cell > self.config.near_goal:
            return np.full(away.shape, np.inf)
        return np.where(free & (away <= reach + 1.0), away, np.inf)

    def _is_cut(self, closed: Array) -> bool:
        """Whether something stands on the path by now."""
        if self.path is None:
            return False
        side = self.config.grid.cells
        cells = np.array([self.grid.cell(place) for place in self.path[3:]]).reshape(-1, 2)
        inside = ((cells >= 0) & (cells < side)).all(1)
        return bool(closed[cells[inside, 0], cells[inside, 1]].any())

    def _ahead(self, place: Array) -> Array:
        """The place on the path to steer to."""
        assert self.path is not None
        away = np.linalg.norm(self.path - place, axis=1)
        nearest = int(away.argmin())
        beyond = np.flatnonzero(away[nearest:] >= self.config.ahead)
        target: Array = self.path[nearest + int(beyond[0])] if len(beyond) else self.path[-1]
        return target


def _in_frame(target: Array, place: Array, heading: float) -> Array:
    c, s = np.cos(heading), np.sin(heading)
    east, north = target - place
    return np.array([c * east + s * north, c * north - s * east])
