"""The kinds of ground. How a kind looks, what a lidar sees of it and how it drives are separate columns:

that nothing but experience ties them together is what the event predictor is measured on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.batch import Array


@dataclass(frozen=True)
class Kind:
    """One kind of ground: look, lidar, physics."""

    name: str
    texture: str
    """name of a texture in `textures`"""
    rms: float = 0.002
    """m, height of the bumps (root mean square)"""
    wavelengths: tuple[float, float] = (0.3, 0.8)
    """m, shortest and longest of the bumps"""
    friction: float = 0.9
    """of rubber on it"""
    drag: float = 0.0
    """N that it holds a moving rover back with"""
    blades: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    """what a camera sees standing: lowest, highest m; half width m; share of cells that have them; a cell"""
    seen_by_lidar: bool = False
    """an echo where blades stand: the same for every kind that has any"""
    root: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tip: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """colours of a blade, 0-1"""

    @property
    def is_bumpy(self) -> bool:
        return self.rms >= 0.010

    @property
    def holds(self) -> bool:
        """Whether a rover that drives in gets stuck: more drag than its wheels have grip for."""
        return self.drag >= 140.0


PAVEMENT, LAWN, DIRT, RUTS, COBBLE, THIN_GRASS, THICK_GRASS, FLOOR, CARPET = range(9)

KINDS = (
    Kind("pavement", "slabs", 0.0015, friction=0.9),
    Kind("bumpy lawn", "lawn", 0.013, (0.35, 0.7), friction=0.8),
    Kind("packed dirt", "dirt", 0.003, (0.4, 1.0), friction=0.75),
    Kind("ruts", "ruts", 0.016, (0.35, 0.7), friction=0.75),
    Kind("cobble", "cobble", 0.012, (0.25, 0.45), friction=0.85),
    Kind(
        "thin tall grass", "straw", 0.004, (0.4, 1.0), 0.7, 12.0, (0.45, 0.85, 0.008, 0.40, 1), True,
        (0.42, 0.40, 0.18), (0.86, 0.80, 0.50),
    ),
    Kind(
        "thick grass", "undergrowth", 0.006, (0.4, 1.0), 0.7, 260.0, (0.50, 0.90, 0.020, 0.75, 2), True,
        (0.05, 0.13, 0.04), (0.24, 0.42, 0.13),
    ),
    Kind("floor", "tiles", 0.0005, friction=0.9),
    Kind("carpet", "carpet", 0.001, friction=0.95),
)  # fmt: skip
"""By the numbers that maps of terrain hold."""

LIDAR_BLADE = (0.50, 0.90, 0.020, 0.5, 1.0)
"""What a lidar meets where grass stands, thin or thick: see Kind.blades."""


def blade_table() -> Array:
    """(kinds, 5) float64 of Kind.blades, for cameras."""
    return np.array([kind.blades for kind in KINDS])


def lidar_blade_table() -> Array:
    """(kinds, 5) float64: one row for all grass."""
    return np.array([LIDAR_BLADE if kind.seen_by_lidar else (0.0,) * 5 for kind in KINDS])


def grass_map(kinds: Array) -> Array:
    """uint8: the kind where something stands, 0 elsewhere."""
    stands = np.array([index if kind.blades[1] > 0 else 0 for index, kind in enumerate(KINDS)], np.uint8)
    grass: Array = stands[kinds]
    return grass
