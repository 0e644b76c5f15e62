"""Heights of the ground from its kinds, and shapes drawn into the map of kinds."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from envs.batch import Array
from envs.rover.terrain import KINDS
from envs.rover.textures import noise
from envs.rover.world import CELL

_TILE = 320
"""points after which bumps repeat: 24 m"""


@functools.cache
def _bumps(kind: int) -> Array:
    """(tile, tile) of deviation 1, with the wavelengths of a kind."""
    short, long = KINDS[kind].wavelengths
    return noise(1000 + kind, long / CELL, short / CELL, size=_TILE).astype(np.float32)


def heights(kinds: Array, generator: np.random.Generator, swell: float = 0.0) -> Array:
    """(R, C) float32 m. swell: deviation in m of hills some 12 m long."""
    rows, columns = kinds.shape
    repeat = (-(-rows // _TILE), -(-columns // _TILE))
    ground = np.zeros((rows, columns), np.float32)
    for kind in np.unique(kinds):
        shift = generator.integers(_TILE, size=2)
        bumps = np.tile(np.roll(_bumps(int(kind)), shift, (0, 1)), repeat)[:rows, :columns]
        ground += bumps * _soft(kinds == kind) * KINDS[kind].rms
    if swell:
        ground += swell * smooth_field(generator, (rows, columns), 12.0)
    return ground


def _soft(mask: Array) -> Array:
    """0 to 1 over some 0.4 m, so that no kind begins with a step."""
    weight = mask.astype(np.float32)
    for axis in (0, 1):
        wide = np.pad(weight, [(2, 2) if a == axis else (0, 0) for a in (0, 1)], "edge")
        parts = [np.take(wide, range(k, k + weight.shape[axis]), axis) for k in range(5)]
        weight = sum(parts[1:], parts[0]) / np.float32(5)
    return weight


def smooth_field(generator: np.random.Generator, shape: tuple[int, int], metres: float) -> Array:
    """(R, C) float32 of mean 0 and deviation about 1, varying over `metres`."""
    step = max(int(metres / CELL / 4), 1)
    coarse = generator.standard_normal((shape[0] // step + 4, shape[1] // step + 4))
    for axis in (0, 1):
        coarse = (np.roll(coarse, 1, axis) + 2 * coarse + np.roll(coarse, -1, axis)) / 4
    coarse /= coarse.std()
    fine = coarse
    for axis in (0, 1):
        place = np.arange(shape[axis]) / step + 1
        first = place.astype(int)
        share = place - first
        share = share * share * (3 - 2 * share)
        low, high = np.take(fine, first, axis), np.take(fine, first + 1, axis)
        share = share[:, None] if axis == 0 else share[None]
        fine = low + share * (high - low)
    field: Array = fine.astype(np.float32)
    return field


class Brush:
    """Draws kinds into a map; places in metres."""

    def __init__(self, width: float, depth: float, kind: int) -> None:
        shape = (round(depth / CELL) + 1, round(width / CELL) + 1)
        self.kinds = np.full(shape, kind, np.uint8)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, kind: int) -> None:
        rows = slice(max(round(y0 / CELL), 0), max(round(y1 / CELL) + 1, 0))
        columns = slice(max(round(x0 / CELL), 0), max(round(x1 / CELL) + 1, 0))
        self.kinds[rows, columns] = kind

    def line(self, places: Array, width: float, kind: int) -> None:
        """A way along (n, 2) m."""
        for a, b in itertools.pairwise(places):
            low, high = np.minimum(a, b) - width, np.maximum(a, b) + width
            i0, j0 = max(int(low[1] / CELL), 0), max(int(low[0] / CELL), 0)
            i1, j1 = int(high[1] / CELL) + 2, int(high[0] / CELL) + 2
            part = self.kinds[i0:i1, j0:j1]
            y, x = (np.mgrid[0 : part.shape[0], 0 : part.shape[1]] + np.array([i0, j0])[:, None, None]) * CELL
            along = np.asarray(b) - a
            length = max(float(along @ along), 1e-9)
            share = np.clip(((x - a[0]) * along[0] + (y - a[1]) * along[1]) / length, 0, 1)
            away = np.hypot(x - a[0] - share * along[0], y - a[1] - share * along[1])
            part[away <= width / 2] = kind

    def where(self, mask: Array, kind: int) -> None:
        self.kinds[mask] = kind
