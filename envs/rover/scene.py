"""A world as the ray caster takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.batch import Array
from envs.rover.compiled import load
from envs.rover.kernel_camera import AMBIENT, EXPOSURE, HAZE, ROOF, SUN, SUN_COLOUR, Scene
from envs.rover.kernel_ground import BLOCK, Field
from envs.rover.sky import panorama
from envs.rover.terrain import KINDS, blade_table, grass_map, lidar_blade_table
from envs.rover.textures import NAMES, atlas
from envs.rover.world import CELL, Light, World


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
    camera = build_field(world, looks, blade_table())
    lidar = build_field(world, world.kinds, lidar_blade_table())
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


def build_field(world: World, kinds: Array, blades: Array) -> Field:
    """What rays meet where the ground looks as `kinds` says."""
    grass = grass_map(kinds)
    tallest = blades[:, 1][grass].astype(np.float32)
    rows, columns = grass.shape
    share = np.random.default_rng(list(world.name.encode())).random((rows, columns), np.float32)
    grass = np.where(share < blades[:, 3][grass], grass, 0).astype(np.uint8)
    return Field(
        CELL, world.heights, _block_tops(world.heights, tallest), grass, blades,
        float((world.heights + tallest).max()) + 1e-3,
    )  # fmt: skip


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
