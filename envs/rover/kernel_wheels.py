"""What the four wheels stand on and what is within reach, for many rovers, between two calls of MuJoCo.

A ball rolling on a height field touches where its centre meets the field's envelope: the surface of all
places that the centre can reach, lowered by the radius. So under each wheel lies a plane, tangent to the
envelope and moved along with the wheel; that is the height field's own contact for a third of the time
that MuJoCo's collision with it takes (`tests/test_envs_rover_physics.py` compares the two).
"""

from __future__ import annotations

import math
from typing import Any

from envs.rover.kernel_solids import BOX, CYLINDER, ELLIPSOID, LOG


def envelope(heights: Any, cell: float, radius: float, out: Any) -> None:
    """Fills out (R, C) float32: the height above which a ball's lowest point stays."""
    rows, columns = heights.shape
    reach = int(radius / cell)
    for i in range(rows):
        for j in range(columns):
            highest = heights[i, j]
            for di in range(max(-reach, -i), min(reach, rows - 1 - i) + 1):
                for dj in range(max(-reach, -j), min(reach, columns - 1 - j) + 1):
                    squared = (di * di + dj * dj) * cell * cell
                    if squared < radius * radius:
                        level = heights[i + di, j + dj] + math.sqrt(radius * radius - squared) - radius
                        highest = max(highest, level)
            out[i, j] = highest


def feel(
    qpos: Any, qvel: Any, surfaces: Any, kinds: Any, cell: float, wheels: Any, table: Any, first: int,
    geom_pos: Any, geom_quat: Any, pair_friction: Any, damping: Any, under: Any,
) -> None:  # fmt: skip
    """Puts the planes under the wheels and sets what grass holds back.

    surfaces: (N, R, C) envelopes; kinds: (N, R, C); wheels: (4, 3) in the body's frame m;
    table: (kinds, 2) friction and drag N; first: number of the first of four plane geoms;
    geom_pos (N, G, 3), geom_quat (N, G, 4), pair_friction (N, 4, 5), damping (N, nv): written;
    under: (N, 4) uint8, written: the kind under each wheel.
    """
    rows, columns = surfaces.shape[1], surfaces.shape[2]
    for n in range(len(qpos)):
        w, x, y, z = qpos[n, 3], qpos[n, 4], qpos[n, 5], qpos[n, 6]
        drag = 0.0
        for k in range(4):
            a, b, c = wheels[k, 0], wheels[k, 1], wheels[k, 2]
            px = (
                qpos[n, 0] + (1 - 2 * (y * y + z * z)) * a + 2 * (x * y - w * z) * b + 2 * (x * z + w * y) * c
            )
            py = (
                qpos[n, 1] + 2 * (x * y + w * z) * a + (1 - 2 * (x * x + z * z)) * b + 2 * (y * z - w * x) * c
            )
            u, v = px / cell, py / cell
            j, i = min(max(int(u), 0), columns - 2), min(max(int(v), 0), rows - 2)
            u, v = min(max(u - j, 0.0), 1.0), min(max(v - i, 0.0), 1.0)
            s00, s01 = surfaces[n, i, j], surfaces[n, i, j + 1]
            s10, s11 = surfaces[n, i + 1, j], surfaces[n, i + 1, j + 1]
            height = (1 - v) * ((1 - u) * s00 + u * s01) + v * ((1 - u) * s10 + u * s11)
            nx = -((1 - v) * (s01 - s00) + v * (s11 - s10)) / cell
            ny = -((1 - u) * (s10 - s00) + u * (s11 - s01)) / cell
            length = math.sqrt(1.0 + nx * nx + ny * ny)
            nx, ny, nz = nx / length, ny / length, 1.0 / length
            size = math.sqrt((1.0 + nz) * (1.0 + nz) + ny * ny + nx * nx)
            g = first + k
            geom_pos[n, g, 0], geom_pos[n, g, 1], geom_pos[n, g, 2] = px, py, height
            geom_quat[n, g, 0], geom_quat[n, g, 1] = (1.0 + nz) / size, -ny / size
            geom_quat[n, g, 2], geom_quat[n, g, 3] = nx / size, 0.0
            kind = kinds[n, i + (v > 0.5), j + (u > 0.5)]
            under[n, k] = kind
            pair_friction[n, k, 0] = pair_friction[n, k, 1] = table[kind, 0]
            drag += 0.25 * table[kind, 1]
        # A force against the motion, up to `drag`, as damping: MuJoCo then integrates it implicitly, and
        # grass that holds more than the wheels can pull stops the rover without shaking it.
        speed = math.sqrt(qvel[n, 0] * qvel[n, 0] + qvel[n, 1] * qvel[n, 1])
        held = drag / max(speed, 0.03)
        damping[n, 0] = damping[n, 1] = 1e-3 + held
        damping[n, 2] = 1e-3 + drag / max(abs(qvel[n, 2]), 0.03)
        damping[n, 3] = 1e-3 + 0.01 * drag / max(abs(qvel[n, 3]), 0.1)
        damping[n, 4] = 1e-3 + 0.01 * drag / max(abs(qvel[n, 4]), 0.1)
        damping[n, 5] = 1e-3 + 0.04 * drag / max(abs(qvel[n, 5]), 0.1)


def bring(
    places: Any, solids: Any, begins: Any, reach: float, parked: float, first: int, slots: Any,
    distances: Any, geom_pos: Any, geom_quat: Any, geom_size: Any, geom_rbound: Any, geom_aabb: Any,
) -> None:  # fmt: skip
    """Moves each rover's slots, geoms that stand for solids, to the solids that are nearest to it.

    places: (N, >= 3) m; solids: (S, 10), those of rover n are rows begins[n] to begins[n + 1]; reach: m
    beyond which none is brought; parked: m, height of idle slots; first: number of the first slot's geom;
    slots: (3,) how many are boxes, cylinders and ellipsoids, in this order; distances: (S,) scratch;
    geom_*: (N, G, ...) MuJoCo's fields, written. Solids wholly above the rover are left out.
    """
    for n in range(len(places)):
        for m in range(begins[n], begins[n + 1]):
            s = solids[m]
            tall = s[5] if int(s[0]) == LOG else s[6]
            distances[m] = _distance(s, places[n, 0], places[n, 1])
            if s[3] - tall >= places[n, 2] + 0.6:
                distances[m] = reach
        g = first
        for family in range(3):
            for _ in range(slots[family]):
                nearest, best = -1, reach
                for m in range(begins[n], begins[n + 1]):
                    if distances[m] < best and _family(int(solids[m, 0])) == family:
                        nearest, best = m, distances[m]
                if nearest < 0:
                    geom_pos[n, g, 2] = parked
                else:
                    distances[nearest] = reach
                    _stand_for(
                        solids[nearest], geom_pos[n, g], geom_quat[n, g], geom_size[n, g], geom_aabb[n, g]
                    )
                    geom_rbound[n, g] = solids[nearest, 9]
                g += 1


def _family(shape: int) -> int:
    return 0 if shape == BOX else 2 if shape == ELLIPSOID else 1


def _distance(s: Any, x: float, y: float) -> float:
    """m along the ground from a place to the box around a solid."""
    dx, dy = x - s[1], y - s[2]
    beside = max(abs(dx * s[7] + dy * s[8]) - s[4], 0.0)
    before = max(abs(dy * s[7] - dx * s[8]) - s[5], 0.0)
    return math.sqrt(beside * beside + before * before)


def _stand_for(s: Any, position: Any, quaternion: Any, size: Any, extent: Any) -> None:
    """Gives one geom a solid's place, rotation and size.

    extent: (6,) centre and half sizes of the box around the geom in its own frame. MuJoCo passes over pairs
    whose boxes are apart: with those of the model as it was compiled, rovers would drive into tall things.
    """
    shape = int(s[0])
    position[0], position[1], position[2] = s[1], s[2], s[3]
    half = 0.5 * math.atan2(s[8], s[7])
    c, n = math.cos(half), math.sin(half)
    quaternion[0], quaternion[1], quaternion[2], quaternion[3] = c, 0.0, 0.0, n
    size[0], size[1], size[2] = s[4], s[5], s[6]
    extent[3], extent[4], extent[5] = s[4], s[5], s[6]
    if shape == CYLINDER:
        size[1], size[2] = s[6], 0.0
        extent[4] = s[4]
    elif shape == LOG:  # its axis is z of the geom: turned about y, then by the yaw
        r = math.sqrt(0.5)
        quaternion[0], quaternion[1], quaternion[2], quaternion[3] = c * r, -n * r, c * r, n * r
        size[0], size[1], size[2] = s[5], s[4], 0.0
        extent[3], extent[4], extent[5] = s[5], s[5], s[4]
