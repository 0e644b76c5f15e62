"""A floor of 16 x 16 m with rooms, doors and furniture, for navigation. Rooms are dead ends by nature."""

from __future__ import annotations

import itertools

import numpy as np

from envs.batch import Array
from envs.rover import furniture
from envs.rover.ground import Brush
from envs.rover.terrain import CARPET, FLOOR
from envs.rover.world import Solid

SIDE = 16.0
MARGIN = 0.6
FENCE = (MARGIN, MARGIN, SIDE - MARGIN, SIDE - MARGIN)
TRIP = (4.0, 16.0)
ROOF = 2.6


def lay_out(generator: np.random.Generator) -> tuple[Array, list[Solid], tuple[float, float, float, float]]:
    """(kinds, solids, fence) of a floor."""
    brush = Brush(SIDE, SIDE, FLOOR)
    plaster = furniture.tint(generator, (1.0, 0.98, 0.95), 0.06)
    low, high = MARGIN, SIDE - MARGIN
    corners = [(low, low), (high, low), (high, high), (low, high), (low, low)]
    solids: list[Solid] = []
    for (ax, ay), (bx, by) in itertools.pairwise(corners):
        solids += furniture.wall(ax, ay, bx, by, ROOF, "plaster", 0.1, plaster)
    xs = [low, *(low + (high - low) * (np.array((1, 2)) / 3 + generator.uniform(-0.05, 0.05, 2))), high]
    ys = [low, *(low + (high - low) * (np.array((1, 2)) / 3 + generator.uniform(-0.05, 0.05, 2))), high]
    for k in (1, 2):
        for n in range(3):
            solids += _with_door(generator, (xs[k], ys[n]), (xs[k], ys[n + 1]), plaster)
            solids += _with_door(generator, (xs[n], ys[k]), (xs[n + 1], ys[k]), plaster)
    for i in range(3):
        for j in range(3):
            if generator.random() < 0.35:
                brush.rectangle(xs[i] + 0.8, ys[j] + 0.8, xs[i + 1] - 0.8, ys[j + 1] - 0.8, CARPET)
            solids += _furnish(generator, (xs[i], ys[j], xs[i + 1], ys[j + 1]))
    return brush.kinds, solids, FENCE


def _with_door(
    generator: np.random.Generator, a: tuple[float, float], b: tuple[float, float],
    colour: tuple[float, float, float],
) -> list[Solid]:  # fmt: skip
    """A wall with a door in it; sometimes none at all."""
    if generator.random() < 0.2:
        return []
    p, q = np.array(a), np.array(b)
    length = float(np.hypot(*(q - p)))
    along = (q - p) / length
    middle, half = generator.uniform(1.3, length - 1.3), generator.uniform(0.6, 0.75)
    one, two = p + along * (middle - half), p + along * (middle + half)
    return [
        *furniture.wall(p[0], p[1], one[0], one[1], ROOF, "plaster", 0.07, colour),
        *furniture.wall(two[0], two[1], q[0], q[1], ROOF, "plaster", 0.07, colour),
    ]


def _furnish(generator: np.random.Generator, room: tuple[float, float, float, float]) -> list[Solid]:
    solids: list[Solid] = []
    x0, y0, x1, y1 = room
    makers = (furniture.table, furniture.cabinet, furniture.sofa)
    for corner in generator.permutation(4)[: generator.integers(1, 3)]:
        x = x0 + 1.15 if corner & 1 else x1 - 1.15
        y = y0 + 1.15 if corner & 2 else y1 - 1.15
        make = makers[generator.integers(len(makers))]
        solids += make(generator, x, y, generator.integers(4) * np.pi / 2)
    return solids
