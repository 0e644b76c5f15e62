"""Worlds by layout, split and index: generated, checked, and always the same for the same three."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from envs.batch import Array
from envs.rover import indoor, offroad, urban
from envs.rover.feasible import DEEPEST, STRIDE, Passage, choose_trips, passage
from envs.rover.ground import heights
from envs.rover.light import indoor_light, outdoor_light
from envs.rover.terrain import COBBLE, DIRT, KINDS, LAWN, PAVEMENT, RUTS, THICK_GRASS, THIN_GRASS
from envs.rover.world import Solid, World

Layout = Literal["urban", "offroad", "indoor"]
Split = Literal["train", "validation", "test"]
LAYOUTS: tuple[Layout, ...] = ("urban", "offroad", "indoor")
SPLITS: dict[Split, range] = {"train": range(60), "validation": range(60, 80), "test": range(80, 100)}
"""Which of a layout's hundred worlds belong to which split"""
TRIPS = 8
"""pairs of start and goal that a world comes with"""
SWAPPED = {
    PAVEMENT: LAWN, LAWN: PAVEMENT, DIRT: RUTS, RUTS: DIRT, COBBLE: DIRT,
    THIN_GRASS: THICK_GRASS, THICK_GRASS: THIN_GRASS,
}  # fmt: skip
"""What each kind looks like in a colour-swapped world"""
_ATTEMPTS = 200


def make_world(layout: Layout, split: Split, index: int, *, swap_colours: bool = False) -> World:
    """World `index` of a split; index counts within it, from 0.

    swap_colours: smooth ground looks like bumpy ground and thin grass like thick: lidar and physics stay.
    Worlds without enough trips that a planner can make, or (but indoors) with a dead end deeper than
    1.5 m, are drawn again. Raises ValueError for a layout, split or index that there is not.
    """
    if layout not in LAYOUTS or split not in SPLITS:
        raise ValueError(f"there is no world {layout}/{split}: layouts {LAYOUTS}, splits {tuple(SPLITS)}")
    if not 0 <= index < len(SPLITS[split]):
        raise ValueError(f"the split {split!r} has worlds 0 to {len(SPLITS[split]) - 1}, not {index}")
    number = SPLITS[split][index]
    for attempt in range(_ATTEMPTS):
        seed = np.random.SeedSequence([LAYOUTS.index(layout), number, attempt])
        world = _draw(layout, f"{layout}/{split}/{index}", np.random.default_rng(seed))
        if world is not None:
            return (
                replace(world, looks=tuple(SWAPPED.get(k, k) for k in range(len(KINDS))))
                if swap_colours
                else world
            )
    raise RuntimeError(f"{layout}/{split}/{index}: no world of {_ATTEMPTS} could be driven")


def _draw(layout: Layout, name: str, generator: np.random.Generator) -> World | None:
    place = {"urban": urban, "offroad": offroad, "indoor": indoor}[layout]
    kinds, solids, fence = place.lay_out(generator)
    free = passage(kinds, tuple(solids), fence)
    if layout == "offroad":
        free = _overgrow(kinds, solids, fence)
    if layout != "indoor" and free.deepest_narrow() > DEEPEST:
        return None
    near, far = place.TRIP
    trips = choose_trips(free, generator, TRIPS, near, far, 4.0 if layout == "urban" else 0.0)
    if trips is None:
        return None
    ground = heights(kinds, generator, offroad.SWELL if layout == "offroad" else 0.0)
    if layout == "offroad":
        solids = offroad.put_on_ground(solids, ground)
    light = indoor_light(generator, indoor.ROOF) if layout == "indoor" else outdoor_light(generator)
    textures = [kind.texture for kind in KINDS]
    if layout == "urban":
        textures[PAVEMENT] = urban.PAVINGS[generator.choice(3, p=(0.6, 0.25, 0.15))]
    return World(name, ground, kinds, tuple(solids), fence, trips[0], trips[1], light, tuple(textures))


def _overgrow(kinds: Array, solids: list[Solid], fence: tuple[float, float, float, float]) -> Passage:
    """Lets thick grass fill the dead ends, in place; the planner's grid of what is left."""
    for _ in range(4):
        free = passage(kinds, tuple(solids), fence)
        deep = free.narrow_depth() > DEEPEST
        if not deep.any():
            break
        rows, columns = np.nonzero(np.kron(deep, np.ones((STRIDE, STRIDE), bool)))
        inside = (rows < kinds.shape[0]) & (columns < kinds.shape[1])
        kinds[rows[inside], columns[inside]] = THICK_GRASS
    return free
