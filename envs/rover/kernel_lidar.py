"""One turn of a flat lidar."""

from __future__ import annotations

import math
from typing import Any

from envs.rover.kernel_ground import NOTHING, Field, march
from envs.rover.kernel_solids import ray_solid


def scan(
    field: Field, solids: Any, origin: Any, axes: Any, nearest: float, farthest: float, ranges: Any
) -> None:
    """Fills ranges (B,) float32 m; beam i leaves at i / B of a turn to the left of forward; inf: no echo.

    axes: (3, 3), rows forward, left and up in the world. Echoes nearer than `nearest` are not heard.
    """
    beams = len(ranges)
    turn = 2.0 * math.pi / beams
    for i in range(beams):
        ranges[i] = farthest
    for k in range(len(solids)):
        s = solids[k]
        px, py, pz = s[1] - origin[0], s[2] - origin[1], s[3] - origin[2]
        ahead = axes[0, 0] * px + axes[0, 1] * py + axes[0, 2] * pz
        left = axes[1, 0] * px + axes[1, 1] * py + axes[1, 2] * pz
        above = axes[2, 0] * px + axes[2, 1] * py + axes[2, 2] * pz
        flat = math.sqrt(ahead * ahead + left * left)
        if flat - s[9] > farthest or abs(above) > s[9]:
            continue
        first, count = 0, beams
        if flat > s[9]:
            half = math.asin(s[9] / flat)
            first = math.floor((math.atan2(left, ahead) - half) / turn)
            count = int(2.0 * half / turn) + 3
        for n in range(min(count, beams)):
            i = (first + n) % beams
            c, d = math.cos(i * turn), math.sin(i * turn)
            dx = c * axes[0, 0] + d * axes[1, 0]
            dy = c * axes[0, 1] + d * axes[1, 1]
            dz = c * axes[0, 2] + d * axes[1, 2]
            t = ray_solid(s, origin[0], origin[1], origin[2], dx, dy, dz)
            if t < ranges[i]:
                ranges[i] = t
    for i in range(beams):
        c, d = math.cos(i * turn), math.sin(i * turn)
        dx = c * axes[0, 0] + d * axes[1, 0]
        dy = c * axes[0, 1] + d * axes[1, 1]
        dz = c * axes[0, 2] + d * axes[1, 2]
        t, what, _, _, _ = march(field, origin[0], origin[1], origin[2], dx, dy, dz, ranges[i])
        if what != NOTHING:
            ranges[i] = t
        if ranges[i] >= farthest or ranges[i] < nearest:
            ranges[i] = math.inf
