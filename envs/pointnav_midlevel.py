"""What a picture of a room holds for a navigator: depth, surface normals, edges; and such pictures.

All three follow from the ray caster's depth and the lens, so they are exact but at silhouettes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.batch import Array
from envs.pointnav import RADIUS, PointNav, PointNavConfig
from envs.pointnav_rooms import gap_at
from envs.rover.camera import Lens
from envs.rover.feasible import SIDE

NEAREST = 0.1
"""m below which depth is cut"""
STEP, BEND = 0.12, 0.35
"""an edge: a neighbour off the pixel's plane by this share of its depth, or normals that differ by so much"""


@dataclass(frozen=True)
class Frames:
    """Pictures with what is to be read from them.

    rgb: (N, 3, H, W) uint8. depth: (N, H, W) float32 m along the optical axis. normals: (N, 3, H, W) float32
    in the camera's frame (right, down, forward), towards the camera. edges: (N, H, W) bool.
    """

    rgb: Array
    depth: Array
    normals: Array
    edges: Array


def take_frames(config: PointNavConfig, count: int, seed: int) -> Frames:
    """Pictures from random free places in the configuration's worlds, all headings alike likely."""
    if count < 1:
        raise ValueError(f"at least one frame is to be taken, got {count}")
    rng = np.random.default_rng([seed, 0xF4A3E])
    nav = PointNav(config, 1, seed, threads=1)
    indices = config.indices or nav.worlds
    rgb = np.empty((count, 3, config.height, config.width), np.uint8)
    depth = np.empty((count, config.height, config.width), np.float32)
    # In order of worlds, so that few are held in memory.
    for k, index in enumerate(np.sort(rng.choice(indices, count))):
        nav.start(0, int(index), 0)
        nav.poses[0] = _free_pose(nav, int(index), rng)
        rgb[k], depth[k] = nav.look(0)
    nav.close()
    normals = surface_normals(depth, nav.lens)
    shuffled = rng.permutation(count)
    return Frames(*(part[shuffled] for part in (rgb, depth, normals, edges_of(depth, normals, nav.lens))))


def surface_normals(depth: Array, lens: Lens) -> Array:
    """(N, 3, H, W) unit normals of the surfaces whose depth (N, H, W) is given.

    Across each pixel the neighbour that is nearer in depth is taken, so that silhouettes do not bend it.
    """
    across, down = lens.slopes()
    z = np.maximum(depth.astype(np.float64), NEAREST)
    points = np.stack([z * across, z * down[:, None], z])  # (3, N, H, W)
    along_x, along_y = (_steps(points, z, axis) for axis in (3, 2))
    normal = np.cross(along_x, along_y, axis=0)
    normal /= np.maximum(np.linalg.norm(normal, axis=0), 1e-9)
    normal *= -np.sign((normal * points).sum(0) + 1e-12)  # towards the camera
    turned: Array = normal.transpose(1, 0, 2, 3).astype(np.float32)
    return turned


def edges_of(depth: Array, normals: Array, lens: Lens) -> Array:
    """(N, H, W) bool: where depth leaves the plane of a pixel, or the plane bends, to the right or below."""
    found = np.zeros(depth.shape, bool)
    across, down = lens.slopes()
    rays = np.stack([*np.meshgrid(across, down), np.ones((len(down), len(across)))])[:, None]
    normal = normals.transpose(1, 0, 2, 3)  # (3, N, H, W), rays (3, 1, H, W)
    z = np.maximum(depth.astype(np.float64), NEAREST)
    away = z * (normal * rays).sum(0)
    every = slice(None)
    for axis in (1, 2):
        one, two = _neighbours(axis, 3)
        # Along the plane of one pixel, the depth at the other: depth alone jumps on what is seen aslant.
        with np.errstate(divide="ignore", invalid="ignore"):  # planes that the other's ray never meets
            expected = [
                away[here] / (normal[(every, *here)] * rays[(every, *there)]).sum(0)
                for here, there in ((one, two), (two, one))
            ]
        jumps = [_apart(expected[0], z[two]), _apart(expected[1], z[one])]
        bend = np.linalg.norm(np.diff(normals, axis=axis + 1), axis=1) > BEND
        found[one] |= (np.minimum(*jumps) > STEP) | bend
    return found


def _neighbours(axis: int, dimensions: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All but the last along an axis, and all but the first."""
    whole = [slice(None)] * dimensions
    one, two = list(whole), list(whole)
    one[axis], two[axis] = slice(0, -1), slice(1, None)
    return tuple(one), tuple(two)


def _apart(expected: Array, z: Array) -> Array:
    """How far two depths are apart as a share; far where the plane is never met."""
    met = expected > NEAREST / 2
    apart: Array = np.abs(np.log(np.where(met, expected, z) / z)) + np.where(met, 0.0, 10.0)
    return apart


def _steps(points: Array, z: Array, axis: int) -> Array:
    """From one neighbour to the pixel, or from the pixel to the other: whichever differs less in depth."""
    forward = np.diff(points, axis=axis, append=np.take(points, [-1], axis))
    backward = np.diff(points, axis=axis, prepend=np.take(points, [0], axis))
    last = np.abs(np.diff(z, axis=axis - 1, append=np.take(z, [-1], axis - 1) + 1e6))
    first = np.abs(np.diff(z, axis=axis - 1, prepend=np.take(z, [0], axis - 1) + 1e6))
    nearer: Array = np.where(last <= first, forward, backward)
    return nearer


def _free_pose(nav: PointNav, index: int, rng: np.random.Generator) -> Array:
    place = nav.room(index).place
    rows, columns = np.nonzero(place.gap > RADIUS)
    for _ in range(1000):
        pick = rng.integers(len(rows))
        x, y = (SIDE * (np.array((columns[pick], rows[pick])) + rng.uniform(-0.5, 0.5, 2))).tolist()
        inside = nav.room(index).world.fence
        if not (inside[0] < x < inside[2] and inside[1] < y < inside[3]):
            continue
        if gap_at(place, np.array(x), np.array(y)) > RADIUS:
            return np.array((x, y, rng.uniform(-np.pi, np.pi)))
    raise RuntimeError(f"{nav.room(index).world.name} has no free place")
