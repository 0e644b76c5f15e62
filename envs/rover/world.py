"""One generated world: the ground's heights and kinds, what stands on it, where one drives, and its light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from envs.batch import Array
from envs.rover.kernel_solids import BOX, CYLINDER, ELLIPSOID, LOG

CELL = 0.075
"""m between the points of every grid"""


@dataclass(frozen=True)
class Solid:
    """A rigid thing, upright but for logs. `half`: half sizes m; of a cylinder (radius, radius, half height),
    of a log (half length, radius, radius)."""

    shape: int
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float = 0.0
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    texture: str = "concrete"
    texture_scale: float = 1.0
    """textures' metres a metre of surface"""
    name: str = ""

    def row(self) -> list[float]:
        """As the kernels take it."""
        c, s = float(np.cos(self.yaw)), float(np.sin(self.yaw))
        return [float(self.shape), *self.centre, *self.half, c, s, self.radius]

    @property
    def radius(self) -> float:
        """m, of a ball around it."""
        a, b, c = self.half
        if self.shape == BOX:
            return float(np.sqrt(a * a + b * b + c * c))
        if self.shape == ELLIPSOID:
            return max(a, b, c)
        return float(np.hypot(a, c))

    @property
    def bottom(self) -> float:
        return self.centre[2] - (self.half[1] if self.shape == LOG else self.half[2])

    @property
    def top(self) -> float:
        return self.centre[2] + (self.half[1] if self.shape == LOG else self.half[2])


def box(
    x: float, y: float, z: float, half: tuple[float, float, float], texture: str, yaw: float = 0.0,
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0), scale: float = 1.0, name: str = "",
) -> Solid:  # fmt: skip
    """z: of its foot."""
    return Solid(BOX, (x, y, z + half[2]), half, yaw, colour, texture, scale, name)


def pillar(
    x: float, y: float, z: float, radius: float, height: float, texture: str,
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0), scale: float = 1.0, name: str = "",
) -> Solid:  # fmt: skip
    """A standing cylinder; z: of its foot."""
    centre = (x, y, z + height / 2)
    return Solid(CYLINDER, centre, (radius, radius, height / 2), 0.0, colour, texture, scale, name)


@dataclass(frozen=True)
class Light:
    """What one day looks like."""

    sun: tuple[float, float, float] = (0.4, 0.3, 0.866)
    """unit vector towards it"""
    sun_colour: tuple[float, float, float] = (0.62, 0.60, 0.55)
    ambient: tuple[float, float, float] = (0.42, 0.45, 0.50)
    zenith: tuple[float, float, float] = (0.30, 0.48, 0.80)
    horizon: tuple[float, float, float] = (0.76, 0.83, 0.90)
    far: tuple[float, float, float] = (0.40, 0.47, 0.42)
    """colour of the far horizon's woods and houses"""
    haze: float = 0.006
    """share of the light lost a metre"""
    exposure: float = 1.0
    clouds: float = 0.5
    """0 for none, 1 for a covered sky"""
    cloud_shift: tuple[float, float] = (0.0, 0.0)
    ground_tint: tuple[tuple[float, float, float], ...] = ()
    """factor on each kind's colour; none: as drawn"""
    roof: float = 0.0
    """m above ground of a ceiling; 0 for the open sky"""


@dataclass(frozen=True)
class World:
    """What the simulator builds bodies, pictures and sensors from; deterministic in (layout, split, index).

    heights, kinds: (R, C), rows along y, columns along x; point (0, 0) is the corner at x = y = 0.
    """

    name: str
    """such as "urban/train/17" """
    heights: Array
    kinds: Array
    solids: tuple[Solid, ...]
    fence: tuple[float, float, float, float]
    """x0, y0, x1, y1 of the place that is driven in, m: the geofence"""
    starts: Array
    """(n, 3) x m, y m, heading rad"""
    goals: Array
    """(n, 2) m, one for each start"""
    light: Light = field(default_factory=Light)
    textures: Sequence[str] = ()
    """texture of each kind, where it is not the kind's own"""
    looks: Sequence[int] = ()
    """the kind that each kind looks like, where colours are swapped; lidar and physics stay"""

    @property
    def size(self) -> tuple[float, float]:
        """m along x and y."""
        rows, columns = self.heights.shape
        return (columns - 1) * CELL, (rows - 1) * CELL

    def kind_at(self, x: float, y: float) -> int:
        """Kind of ground at a place."""
        rows, columns = self.kinds.shape
        i = min(max(round(y / CELL), 0), rows - 1)
        j = min(max(round(x / CELL), 0), columns - 1)
        return int(self.kinds[i, j])

    def height_at(self, x: float, y: float) -> float:
        """m, the nearest grid point's."""
        rows, columns = self.heights.shape
        i = min(max(round(y / CELL), 0), rows - 1)
        j = min(max(round(x / CELL), 0), columns - 1)
        return float(self.heights[i, j])
