"""The rooms that PointNav happens in: the rover's indoor worlds under shifts of light and camera."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from envs.batch import Array
from envs.rover.feasible import SIDE, Passage, passage
from envs.rover.kernel_camera import Scene
from envs.rover.prepared import prepare
from envs.rover.scene import build_views
from envs.rover.world import World
from envs.rover.worlds import Split

UNREACHED = 1e8
TIGHT = 3.0
BEHIND = 0.16
"""m: cells nearer to a solid than that may lie on the other side of a thin wall"""
_AROUND = np.repeat((-1, 0, 1), 3), np.tile((-1, 0, 1), 3)


@dataclass(frozen=True)
class Shift:
    """What differs from the rooms that a base was trained in."""

    exposure: float = 1.0
    """factor on the light"""
    haze: float | None = None
    """share of the light lost a metre; None: the room's own"""
    invert: bool = False
    """colours as on a negative"""
    field_of_view: float = 90.0
    """degrees across"""
    camera_height: float = 0.45
    """m above the floor"""
    grain: float = 0.0
    """sensor noise, as envs.rover.camera"""

    def __post_init__(self) -> None:
        if not (0 < self.field_of_view < 170 and 0.05 <= self.camera_height <= 2.4 and self.exposure > 0):
            raise ValueError(
                "a shift needs exposure > 0, a field of view below 170 degrees and a camera 0.05 to 2.4 m "
                f"high, got {self}"
            )


WORLDS: Mapping[str, Shift] = MappingProxyType(
    {
        "plain": Shift(),
        "dim": Shift(exposure=0.4, grain=0.5),
        "fog": Shift(haze=0.3),
        "negative": Shift(invert=True),
        "wide": Shift(field_of_view=120.0),
        "tall": Shift(camera_height=1.2),
        "strange": Shift(haze=0.15, field_of_view=110.0, camera_height=0.8, grain=0.5),
    }
)
"""Kinds of rooms by name: a base is trained in plain ones"""


@dataclass(frozen=True)
class Room:
    """A world with the planner's grid and what the camera's rays meet."""

    world: World
    place: Passage
    scene: Scene


@functools.lru_cache(maxsize=256)
def get_room(split: Split, index: int, shift: Shift) -> Room:
    """World `index` of a split under a shift; kept, so nothing in it may be written to."""
    prepared = prepare("indoor", split, index)
    world, scene = prepared.world, prepared.views.scene
    if shift.exposure != 1.0 or shift.haze is not None:
        light = world.light
        haze = light.haze if shift.haze is None else shift.haze
        world = replace(world, light=replace(light, exposure=light.exposure * shift.exposure, haze=haze))
        scene = build_views(world).scene
    return Room(world, passage(world.kinds, world.solids, world.fence, world.heights), scene)


@functools.lru_cache(maxsize=1024)
def distances_to(split: Split, index: int, goal: tuple[float, float], shift: Shift) -> Array:
    """(r, c) m to a goal (x, y) m; places too narrow for the planner are left at TIGHT times the cost."""
    place = get_room(split, index, shift).place
    free = place.distances(*goal)
    # An agent is smaller than what the planner keeps clear for: it must know its way out from beside a wall.
    # Only out: a short cut through a gap that it then does not fit through would hold it there for ever.
    found: Array = np.where(free < UNREACHED, free, UNREACHED)
    cost = np.where(place.free, SIDE, TIGHT * SIDE)
    beside = (place.gap > BEHIND) & (free >= UNREACHED)
    while True:
        nearer = np.where(beside, np.minimum(found, _over_neighbours(found, cost)), found)
        if np.array_equal(nearer, found):
            return found
        found = nearer


def _over_neighbours(distances: Array, cost: Array) -> Array:
    """(r, c) the cheapest way over one of the eight cells around."""
    rows, columns = distances.shape
    far, dear = np.pad(distances, 1, constant_values=UNREACHED), np.pad(cost, 1)
    best: Array = np.full_like(distances, UNREACHED)
    for i, j in zip(*_AROUND, strict=True):
        if i or j:
            part = slice(1 + i, 1 + i + rows), slice(1 + j, 1 + j + columns)
            step = np.hypot(i, j) * 0.5 * (cost + dear[part])
            best = np.minimum(best, far[part] + step)
    return best


@functools.lru_cache(maxsize=1024)
def distances(split: Split, index: int, trip: int, shift: Shift) -> Array:
    """As `distances_to`, to the goal of a trip."""
    x, y = get_room(split, index, shift).world.goals[trip]
    return distances_to(split, index, (float(x), float(y)), shift)


def gap_at(place: Passage, x: Array, y: Array) -> Array:
    """m to the nearest solid at places of any shape, between the planner's cells."""
    gap = place.gap
    rows, columns = gap.shape
    u = np.clip(np.asarray(x) / SIDE, 0, columns - 1.001)
    v = np.clip(np.asarray(y) / SIDE, 0, rows - 1.001)
    j, i = u.astype(int), v.astype(int)
    a, b = u - j, v - i
    between: Array = (1 - b) * ((1 - a) * gap[i, j] + a * gap[i, j + 1]) + b * (
        (1 - a) * gap[i + 1, j] + a * gap[i + 1, j + 1]
    )
    return between


def distance_at(distances: Array, x: Array, y: Array) -> Array:
    """m to the goal from places of any shape between the grid's cells: over the best of the cells around."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    rows, columns = distances.shape
    i = np.rint(y / SIDE).astype(int)[..., None] + _AROUND[0]
    j = np.rint(x / SIDE).astype(int)[..., None] + _AROUND[1]
    away = np.hypot(i * SIDE - y[..., None], j * SIDE - x[..., None])
    inside = (i >= 0) & (i < rows) & (j >= 0) & (j < columns)
    over = distances[np.clip(i, 0, rows - 1), np.clip(j, 0, columns - 1)] + away
    best: Array = np.where(inside, over, UNREACHED).min(-1)
    return best
