"""A world as the ray caster takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.batch import Array
from envs.rover.compiled import load
from envs.rover.kernel_camera import AMBIENT, EXPOSURE, HAZE, ROOF, SUN, SUN_COLOUR, Scene
from envs.rover.kernel_ground import BLOCK, REGION, Field
from envs.rover.sky import panorama
from envs.rover.terrain import KINDS, blade_table, grass_map, lidar_blade_table
from envs.rover.textures import NAMES, atlas
from envs.rover.world import CELL, Light, World

DETAIL = 5.0
"""m up to which a camera sees single blades of grass"""


@dataclass(frozen=True)
class Views:
    """What the camera's and the lidar's rays meet: the two differ in grass."""

    scene: Scene
    lidar: Field

    @property
    def solids(self) -> Array:
        """(S, 10), see kernel_solids."""
        solids: Array = self.scene.solids
        return solids


def build_views(world: World) -> Views:
    """Takes some 20 ms for an off-road world: worth keeping while the world is used."""
    solids = np.array([solid.row() for solid in world.solids], np.float64).reshape(-1, 10)
    looks = np.array(world.looks or range(len(KINDS)), np.uint8)[world.kinds]
    camera = build_field(world, looks, blade_table(), DETAIL)
    lidar = build_field(world, world.kinds, lidar_blade_table(), np.inf)
    shade = np.empty(world.heights.shape, np.uint8)
    light = lighting(world.light)
    if world.light.roof > 0:
        shade[:] = 170
        load()["kernel_light"].bake(world.heights, CELL, solids[:0], light[SUN : SUN + 3], shade)
    else:
        load()["kernel_light"].bake(world.heights, CELL, solids, light[SUN : SUN + 3], shade)
    scene = Scene(
        camera, solids, _paint(world), looks, _ground_paint(world), _blade_paint(), shade, atlas(),
        panorama(world.light, world.name), light,
    )  # fmt: skip
    return Views(scene, lidar)


def build_field(world: World, kinds: Array, blades: Array, detail: float) -> Field:
    """What rays meet where the ground looks as `kinds` says."""
    grass = grass_map(kinds)
    tallest = blades[:, 1][grass].astype(np.float32)
    covers, thickness = _stands(grass, blades)
    share = np.random.default_rng(list(world.name.encode())).random(grass.shape, np.float32)
    grass = np.where(share < blades[:, 3][grass], grass, 0).astype(np.uint8)
    heights = world.heights
    tops = _block_tops(heights, tallest)
    return Field(
        CELL, heights, tops, grass, blades, float((heights + tallest).max()) + 1e-3,
        _block_tops(heights, np.zeros_like(heights)), covers, thickness, detail,
        _region_tops(tops),
    )  # fmt: skip


def _stands(grass: Array, blades: Array) -> tuple[Array, Array]:
    """(kind that most of each block has or 0, blades that a ray meets there on a metre)."""
    rows, columns = (-(-(size - 1) // BLOCK) for size in grass.shape)
    below, beside = rows * BLOCK - grass.shape[0], columns * BLOCK - grass.shape[1]
    cut = np.pad(grass, ((0, max(below, 0)), (0, max(beside, 0))), "edge")[: rows * BLOCK, : columns * BLOCK]
    covers, most = np.zeros((rows, columns), np.uint8), np.zeros((rows, columns))
    for kind in np.unique(grass[grass > 0]):
        share = (cut == kind).reshape(rows, BLOCK, columns, BLOCK).mean((1, 3))
        covers = np.where(share > most, kind, covers).astype(np.uint8)
        most = np.maximum(share, most)
    # A blade tapers to a quarter: 1.25 half widths in the mean. Those per square metre make the density.
    each = 1.25 * blades[:, 2] * blades[:, 3] * blades[:, 4] / CELL**2
    return covers, np.maximum(most * each[covers], 1e-3).astype(np.float32)


def _block_tops(heights: Array, tallest: Array) -> Array:
    """A block has BLOCK cells along each side, so it also touches the first points of the next ones."""
    standing = heights + tallest
    rows, columns = (-(-(size - 1) // BLOCK) for size in heights.shape)
    padded = np.pad(
        standing, ((0, rows * BLOCK + 1 - len(heights)), (0, columns * BLOCK + 1 - heights.shape[1])), "edge"
    )
    tops = padded[:-1, :-1].reshape(rows, BLOCK, columns, BLOCK).max((1, 3))
    right = padded[:-1, BLOCK::BLOCK].reshape(rows, BLOCK, columns).max(1)
    below = padded[BLOCK::BLOCK, :-1].reshape(rows, columns, BLOCK).max(2)
    corner = padded[BLOCK::BLOCK, BLOCK::BLOCK]
    highest: Array = np.maximum(np.maximum(tops, right), np.maximum(below, corner))
    return highest.astype(np.float32)


def _region_tops(tops: Array) -> Array:
    """The highest of each REGION x REGION blocks."""
    rows, columns = (-(-size // REGION) * REGION for size in tops.shape)
    padded = np.pad(tops, ((0, rows - tops.shape[0]), (0, columns - tops.shape[1])), "edge")
    highest: Array = padded.reshape(rows // REGION, REGION, columns // REGION, REGION).max((1, 3))
    return highest


def lighting(light: Light) -> Array:
    """(12,) float64 in the order of the places named in kernel_camera."""
    values = np.zeros(12)
    for place, colour in ((SUN, light.sun), (SUN_COLOUR, light.sun_colour), (AMBIENT, light.ambient)):
        values[place : place + 3] = colour
    values[HAZE], values[EXPOSURE], values[ROOF] = light.haze, light.exposure, light.roof
    return values


def _paint(world: World) -> Array:
    rows = [(*solid.colour, NAMES.index(solid.texture), solid.texture_scale) for solid in world.solids]
    return np.array(rows, np.float64).reshape(-1, 5)


def _ground_paint(world: World) -> Array:
    textures = world.textures or [kind.texture for kind in KINDS]
    tints = world.light.ground_tint or ((1.0, 1.0, 1.0),) * len(KINDS)
    return np.array([(*tint, NAMES.index(name)) for tint, name in zip(tints, textures, strict=True)])


def _blade_paint() -> Array:
    return np.array([(*kind.root, *kind.tip) for kind in KINDS])
