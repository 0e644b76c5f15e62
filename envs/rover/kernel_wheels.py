"""What the four wheels stand on, for many rovers at once, between two calls of MuJoCo.

A ball rolling on a height field touches where its centre meets the field's envelope: the surface of all
places that the centre can reach, lowered by the radius. So under each wheel lies a plane, tangent to the
envelope and moved along with the wheel; that is the height field's own contact for a third of the time
that MuJoCo's collision with it takes (`tests/test_envs_rover_physics.py` compares the two).
"""

from __future__ import annotations

import math
from typing import Any


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
        damping[n, 5] = 1e-3 + 0.04 * drag / max(abs(qvel[n, 5]), 0.1)
