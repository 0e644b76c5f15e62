"""Plots with a house, paths around it, lawn between them, and what stands on and along the paths.

A plot is 22 x 35 m, as the one of BADGR's experiment; start and goal lie on its paths.
"""

from __future__ import annotations

import itertools

import numpy as np

from envs.batch import Array
from envs.rover import furniture
from envs.rover.ground import Brush
from envs.rover.terrain import COBBLE, DIRT, LAWN, PAVEMENT, RUTS
from envs.rover.world import Solid, box

WIDTH, DEPTH = 22.0, 35.0
MARGIN = 3.0
"""m around the plot, seen but not driven on"""
FENCE = (MARGIN, MARGIN, MARGIN + WIDTH, MARGIN + DEPTH)
TRIP = (20.0, 31.0)
"""m from start to goal"""
PAVINGS = ("slabs", "asphalt", "gravel")


def lay_out(generator: np.random.Generator) -> tuple[Array, list[Solid], tuple[float, float, float, float]]:
    """(kinds, solids, fence) of a plot."""
    x0, y0, x1, y1 = FENCE
    brush = Brush(WIDTH + 2 * MARGIN, DEPTH + 2 * MARGIN, LAWN)
    house = _House(generator)
    solids = house.solids(generator)
    ways = _paths(brush, house, generator)
    _yards(brush, house, generator)
    for places, width in ways:  # last, so that nothing interrupts them
        brush.line(places, width, PAVEMENT)
    solids += _border(generator)
    solids += _kerbs(brush, ways, generator)
    spots = _Spots(brush.kinds, house)
    for _ in range(generator.integers(5, 9)):
        if (place := spots.find(generator, (LAWN,), 1.3)) is not None:
            solids += (
                furniture.tree(generator, *place)
                if generator.random() < 0.7
                else furniture.conifer(generator, *place)
            )
    for _ in range(generator.integers(2, 5)):
        if (place := spots.find(generator, (LAWN, DIRT, COBBLE), 1.3)) is not None:
            solids += furniture.bench(generator, *place, generator.uniform(0, 2 * np.pi))
    for _ in range(generator.integers(1, 3)):
        if (place := spots.find(generator, (LAWN, COBBLE, DIRT), 3.0)) is not None:
            solids += furniture.car(generator, *place, generator.uniform(0, 2 * np.pi))
    for _ in range(generator.integers(4, 8)):
        if (place := spots.find(generator, (PAVEMENT, LAWN, DIRT), 1.3)) is not None:
            chosen = generator.random()
            if chosen < 0.6:
                solids += furniture.post(generator, *place)
            elif chosen < 0.8:
                solids += furniture.bin_(generator, *place)
            else:
                solids += furniture.lamp(*place)
    return brush.kinds, solids, (x0, y0, x1, y1)


class _House:
    """Where the building stands."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.half = (generator.uniform(2.6, 3.8), generator.uniform(3.6, 5.2))
        x0, y0, x1, y1 = FENCE
        self.x = (x0 + x1) / 2 + generator.uniform(-2.5, 2.5)
        self.y = (y0 + y1) / 2 + generator.uniform(-3.5, 3.5)

    def solids(self, generator: np.random.Generator) -> list[Solid]:
        texture = ("facade", "brick", "facade", "plaster")[generator.integers(4)]
        height = generator.uniform(1.6, 2.4)
        half = (self.half[0], self.half[1], height)
        colour = furniture.tint(generator, spread=0.1)
        parts = [box(self.x, self.y, -0.1, half, texture, 0.0, colour, 1.0, "house")]
        roof = (self.half[0] + 0.25, self.half[1] + 0.25, 0.12)
        return [
            *parts,
            box(self.x, self.y, 2 * height - 0.1, roof, "concrete", 0.0, (0.5, 0.42, 0.4), 1.0, "roof"),
        ]

    def around(self, away: float) -> Array:
        a, b = self.half[0] + away, self.half[1] + away
        return np.array(
            [(self.x + i * a, self.y + j * b) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))]
        )


def _paths(brush: Brush, house: _House, generator: np.random.Generator) -> list[tuple[Array, float]]:
    """A ring around the house and ways from it to the four sides of the plot."""
    x0, y0, x1, y1 = FENCE
    width = generator.uniform(1.7, 2.2)
    ring = house.around(generator.uniform(1.3, 1.9))
    ways: list[tuple[Array, float]] = [(ring, width)]
    ends = {
        "south": (generator.uniform(x0 + 2, x1 - 2), y0 + 1.2, 0, 1),
        "north": (generator.uniform(x0 + 2, x1 - 2), y1 - 1.2, 3, 2),
        "west": (x0 + 1.2, generator.uniform(y0 + 4, y1 - 4), 0, 3),
        "east": (x1 - 1.2, generator.uniform(y0 + 4, y1 - 4), 1, 2),
    }
    for name, (x, y, first, second) in ends.items():
        if name in ("west", "east") and generator.random() < 0.4:
            continue
        corner = ring[first if generator.random() < 0.5 else second]
        bend = np.array((x, corner[1])) if name in ("south", "north") else np.array((corner[0], y))
        if name in ("south", "north"):
            bend = np.array((x, corner[1] + np.sign(y - corner[1]) * generator.uniform(0.0, 3.0)))
        ways.append((np.array([(x, y), bend, corner]), width))
    for y, reach in ((y0 + 1.2, 0.5), (y1 - 1.2, 0.5)):  # along the street
        if generator.random() < reach:
            ways.append((np.array([(x0 + 1.2, y), (x1 - 1.2, y)]), width))
    return ways


def _yards(brush: Brush, house: _House, generator: np.random.Generator) -> None:
    """Patches of other ground: cobble and ruts to keep off, packed dirt that is as good as a path."""
    x0, y0, x1, y1 = FENCE
    for kind in (COBBLE, DIRT, RUTS, DIRT):
        if generator.random() < 0.75:
            w, h = generator.uniform(2.5, 6.0, 2)
            x, y = generator.uniform(x0, x1 - w), generator.uniform(y0, y1 - h)
            brush.rectangle(x, y, x + w, y + h, kind)


def _border(generator: np.random.Generator) -> list[Solid]:
    x0, y0, x1, y1 = FENCE
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    solids: list[Solid] = []
    for (ax, ay), (bx, by) in itertools.pairwise(corners):
        texture = ("hedge", "brick", "planks", "hedge")[generator.integers(4)]
        height, thick = generator.uniform(0.9, 1.6), 0.3 if texture == "hedge" else 0.1
        solids += furniture.wall(
            ax, ay, bx, by, height, texture, thick, furniture.tint(generator, spread=0.08)
        )
    return solids


def _kerbs(brush: Brush, ways: list[tuple[Array, float]], generator: np.random.Generator) -> list[Solid]:
    """Along one side of some stretches of path, away from where paths meet."""
    solids: list[Solid] = []
    for places, width in ways:
        for a, b in itertools.pairwise(places):
            length = float(np.hypot(*(b - a)))
            if length < 7.0 or generator.random() < 0.45:
                continue
            along = (b - a) / length
            side = np.array((-along[1], along[0])) * (1 if generator.random() < 0.5 else -1)
            begin = generator.uniform(2.0, length - 4.5)
            end = min(begin + generator.uniform(2.0, 4.0), length - 2.0)
            p, q = (a + along * s + side * (width / 2 + 0.12) for s in (begin, end))
            middle = ((p + q) / 2 / 0.075).round().astype(int)
            if brush.kinds[middle[1], middle[0]] != PAVEMENT:
                solids += furniture.kerb(p[0], p[1], q[0], q[1])
    return solids


class _Spots:
    """Places for things, apart from each other and from the house."""

    def __init__(self, kinds: Array, house: _House) -> None:
        self.kinds, self.house = kinds, house
        self.taken: list[tuple[float, float, float]] = []

    def find(
        self, generator: np.random.Generator, wanted: tuple[int, ...], room: float
    ) -> tuple[float, float] | None:
        x0, y0, x1, y1 = FENCE
        for _ in range(30):
            x, y = generator.uniform(x0 + room, x1 - room), generator.uniform(y0 + room, y1 - room)
            if self.kinds[round(y / 0.075), round(x / 0.075)] not in wanted:
                continue
            away = max(abs(x - self.house.x) - self.house.half[0], abs(y - self.house.y) - self.house.half[1])
            if away > room and all(np.hypot(x - u, y - v) > room + r for u, v, r in self.taken):
                self.taken.append((x, y, room))
                return x, y
        return None
