"""Worlds made ready to drive in, kept while this process may need them again."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from envs.batch import Array
from envs.rover.physics import ground_surface
from envs.rover.scene import Views, build_views
from envs.rover.world import World
from envs.rover.worlds import Layout, Split, make_world

KEPT = 128
"""worlds; an off-road one takes 10 MB"""


@dataclass(frozen=True)
class Prepared:
    """A world with what physics and sensors make of it."""

    world: World
    views: Views
    surface: Array
    """see physics.ground_surface"""


@functools.lru_cache(maxsize=KEPT)
def prepare(layout: Layout, split: Split, index: int, swap_colours: bool = False) -> Prepared:
    """As `make_world`; all copies of a batch share it. Nothing in it may be written to."""
    world = make_world(layout, split, index, swap_colours=swap_colours)
    return Prepared(world, build_views(world), ground_surface(world))
