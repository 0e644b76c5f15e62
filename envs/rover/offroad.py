"""Open land of 60 x 60 m: dirt, ruts and lawn under a mosaic of thin and thick grass, trees, rocks, logs."""

from __future__ import annotations

import numpy as np

from envs.batch import Array
from envs.rover import furniture
from envs.rover.ground import Brush, smooth_field
from envs.rover.terrain import DIRT, LAWN, RUTS, THICK_GRASS, THIN_GRASS
from envs.rover.world import CELL, Solid

SIDE = 60.0
MARGIN = 3.0
FENCE = (MARGIN, MARGIN, SIDE - MARGIN, SIDE - MARGIN)
TRIP = (20.0, 40.0)
SWELL = 0.12
"""m, deviation of the hills"""


def lay_out(generator: np.random.Generator) -> tuple[Array, list[Solid], tuple[float, float, float, float]]:
    """(kinds, solids, fence) of a piece of land."""
    brush = Brush(SIDE, SIDE, DIRT)
    shape = (brush.kinds.shape[0], brush.kinds.shape[1])
    soil = smooth_field(generator, shape, 9.0)
    brush.where(soil > 0.75, LAWN)
    brush.where(soil < -0.95, RUTS)
    # Grass in belts: what looks like a wall to a lidar is there to be driven through, or not.
    grass = smooth_field(generator, shape, 7.0) + 0.25 * smooth_field(generator, shape, 1.5)
    brush.where(grass > 0.35, THIN_GRASS)
    dense = smooth_field(generator, shape, 4.0) + 0.2 * smooth_field(generator, shape, 1.0)
    brush.where((grass > 0.10) & (dense > 1.05), THICK_GRASS)
    for _ in range(2):  # tracks of a tractor, packed by it
        start, end = generator.uniform(4, SIDE - 4, 2), generator.uniform(4, SIDE - 4, 2)
        bend = (start + end) / 2 + generator.normal(0, 6, 2)
        brush.line(np.clip(np.array([start, bend, end]), 3, SIDE - 3), 1.6, DIRT)
    return brush.kinds, _things(generator), FENCE


def _things(generator: np.random.Generator) -> list[Solid]:
    solids: list[Solid] = []
    taken: list[tuple[float, float]] = []
    counts = (
        (furniture.tree, 26),
        (furniture.conifer, 14),
        (furniture.rock, 16),
        (furniture.log, 12),
        (furniture.post, 5),
    )
    for make, count in counts:
        for _ in range(int(count * generator.uniform(0.7, 1.3))):
            for _ in range(20):
                x, y = generator.uniform(1.5, SIDE - 1.5, 2)
                if all(np.hypot(x - u, y - v) > 2.4 for u, v in taken):
                    taken.append((x, y))
                    solids += make(generator, x, y, 0.0)
                    break
    return solids


def put_on_ground(solids: list[Solid], heights: Array) -> list[Solid]:
    """The same solids, lifted by the ground's height where they stand."""
    from dataclasses import replace

    lifted = []
    for solid in solids:
        x, y, z = solid.centre
        i = min(max(round(y / CELL), 0), heights.shape[0] - 1)
        j = min(max(round(x / CELL), 0), heights.shape[1] - 1)
        lifted.append(replace(solid, centre=(x, y, z + float(heights[i, j]))))
    return lifted
