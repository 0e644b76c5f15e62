"""Whether a world can be driven at all: a planner that knows the true ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.batch import Array
from envs.rover.compiled import load
from envs.rover.kernel_solids import BOX, ELLIPSOID, LOG
from envs.rover.terrain import KINDS
from envs.rover.world import CELL, Solid

STRIDE = 3
"""grid points of the world to one cell of the planner: 0.225 m"""
SIDE = CELL * STRIDE
CLEARANCE = 0.36
"""m that the rover's middle keeps from a solid"""
WIDE = 0.85
"""m of clearance where one can turn around"""
DEEPEST = 1.5
"""m that a place too narrow to turn in may reach"""
_UNREACHED = 1e9


@dataclass(frozen=True)
class Passage:
    """The planner's grid."""

    gap: Array
    """(r, c) m to the nearest solid or ground that holds a rover, at most a few metres"""
    bumpy: Array
    """(r, c) bool"""

    @property
    def free(self) -> Array:
        free: Array = self.gap > CLEARANCE
        return free

    def cell(self, x: float, y: float) -> tuple[int, int]:
        rows, columns = self.gap.shape
        return min(max(round(y / SIDE), 0), rows - 1), min(max(round(x / SIDE), 0), columns - 1)

    def distances(self, x: float, y: float, bump_cost: float = 0.0) -> Array:
        """(r, c) m of the way to a place; 1e9 where there is none. bump_cost: extra metres a bumpy metre."""
        cost = np.where(self.free, SIDE * (1.0 + bump_cost * self.bumpy), np.inf)
        distance = np.full(cost.shape, _UNREACHED)
        distance[self.cell(x, y)] = 0.0
        load()["kernel_plan"].sweep(cost, distance)
        return distance

    def narrow_depth(self) -> Array:
        """(r, c) m from a place too narrow to turn in to one that is wide enough; 0 elsewhere."""
        wide = _spread(self.gap > WIDE) <= WIDE - CLEARANCE + SIDE
        distance = np.where(wide & self.free, 0.0, _UNREACHED)
        load()["kernel_plan"].sweep(np.where(self.free, SIDE, np.inf), distance)
        depth: Array = np.where(self.free & (distance < _UNREACHED), distance, 0.0)
        return depth

    def deepest_narrow(self) -> float:
        """m of the deepest dead end, or way too narrow to turn in."""
        return float(self.narrow_depth().max())


def passage(
    kinds: Array,
    solids: tuple[Solid, ...],
    fence: tuple[float, float, float, float],
    heights: Array | None = None,
) -> Passage:
    """The planner's grid of a world in the making; outside the fence one cannot go.

    heights: of the ground that the solids stand on; None while they stand on level ground.
    """
    coarse = kinds[::STRIDE, ::STRIDE]
    rows, columns = coarse.shape
    y, x = np.mgrid[0:rows, 0:columns] * SIDE
    gap = np.minimum.reduce([x - fence[0], fence[2] - x, y - fence[1], fence[3] - y])
    gap = np.minimum(gap, 4.0)
    for solid in solids:
        foot = 0.0
        if heights is not None:
            i, j = round(solid.centre[1] / CELL), round(solid.centre[0] / CELL)
            foot = float(heights[min(max(i, 0), len(heights) - 1), min(max(j, 0), heights.shape[1] - 1)])
        if solid.bottom - foot < 0.5 and solid.top - foot > 0.06:
            _lower(gap, solid)
    holds = np.array([kind.holds for kind in KINDS])[coarse]
    if holds.any():
        gap = np.minimum(gap, np.maximum(_spread(holds) - SIDE / 2, 0.0))
    return Passage(gap, np.array([kind.is_bumpy for kind in KINDS])[coarse])


def _lower(gap: Array, solid: Solid) -> None:
    """Lowers the gaps around one solid, in place."""
    reach = float(np.hypot(solid.half[0], solid.half[1])) + 4.0
    rows, columns = gap.shape
    i0, i1 = (int((solid.centre[1] + side * reach) / SIDE) for side in (-1, 1))
    j0, j1 = (int((solid.centre[0] + side * reach) / SIDE) for side in (-1, 1))
    i0, j0, i1, j1 = max(i0, 0), max(j0, 0), min(i1 + 2, rows), min(j1 + 2, columns)
    if i0 >= i1 or j0 >= j1:
        return
    y, x = np.mgrid[i0:i1, j0:j1] * SIDE
    dx, dy = x - solid.centre[0], y - solid.centre[1]
    c, s = np.cos(solid.yaw), np.sin(solid.yaw)
    along, across = dx * c + dy * s, dy * c - dx * s
    if solid.shape in (BOX, LOG):
        a, b = np.abs(along) - solid.half[0], np.abs(across) - solid.half[1]
        distance = np.hypot(np.maximum(a, 0), np.maximum(b, 0)) + np.minimum(np.maximum(a, b), 0)
    else:
        distance = np.hypot(dx, dy) - max(solid.half[:2]) * (0.9 if solid.shape == ELLIPSOID else 1.0)
    gap[i0:i1, j0:j1] = np.minimum(gap[i0:i1, j0:j1], distance)


def _spread(mask: Array) -> Array:
    """(r, c) m to the nearest cell that is set."""
    distance = np.where(mask, 0.0, _UNREACHED)
    load()["kernel_plan"].sweep(np.full(mask.shape, SIDE), distance)
    return distance


def choose_trips(
    place: Passage, generator: np.random.Generator, count: int, near: float, far: float,
    bump_cost: float = 0.0, tries: int = 60,
) -> tuple[Array, Array] | None:  # fmt: skip
    """(starts (count, 3) with headings towards their goals, goals (count, 2)); None where too few were found.

    near, far: m of the straight line between them; half of the lines are blocked where the world allows it.
    bump_cost: above 0, both ends lie on smooth ground and the way between them need hardly leave it.
    """
    free = np.argwhere((place.gap > WIDE) & ~(place.bumpy & (bump_cost > 0)))
    starts: list[tuple[float, float, float]] = []
    goals: list[tuple[float, float]] = []
    blocked = 0
    for _ in range(tries):
        if len(starts) == count or not len(free):
            break
        goal = free[generator.integers(len(free))]
        away = np.hypot(*(free - goal).T) * SIDE
        fitting = free[(away > near) & (away < far)]
        if not len(fitting):
            continue
        ways = place.distances(goal[1] * SIDE, goal[0] * SIDE, bump_cost)
        for start in fitting[generator.permutation(len(fitting))[:8]]:
            straight = float(np.hypot(*(start - goal)) * SIDE)
            if not ways[tuple(start)] < 1.9 * straight + 2.0:
                continue
            hit = line_blocked(place, start, goal)
            if hit == (blocked < (len(starts) + 1) / 2):
                heading = np.arctan2(goal[0] - start[0], goal[1] - start[1]) + generator.normal(0, 0.3)
                starts.append((start[1] * SIDE, start[0] * SIDE, heading))
                goals.append((goal[1] * SIDE, goal[0] * SIDE))
                blocked += hit
                break
    return (np.array(starts), np.array(goals)) if len(starts) == count else None


def line_blocked(place: Passage, start: Array, goal: Array) -> bool:
    """Whether the straight way between two cells meets something that one cannot drive over."""
    steps = int(np.hypot(*(np.asarray(goal) - start)) * 2) + 1
    way = np.linspace(start, goal, steps).round().astype(int)
    return bool((~place.free[way[:, 0], way[:, 1]]).any())
