"""Sunlight on the ground, worked out once for a world: slopes and the shadows of what stands on it."""

from __future__ import annotations

import math
from typing import Any

from envs.rover.kernel_solids import MISS, ray_solid

LEVEL = 170.0
"""the value of light on level ground"""


def bake(heights: Any, cell: float, solids: Any, sun: Any, shade: Any) -> None:
    """Fills shade (R, C) uint8; solids: rows of those that throw a shadow; sun: unit vector towards it."""
    rows, columns = heights.shape
    for i in range(rows):
        for j in range(columns):
            gx = (heights[i, min(j + 1, columns - 1)] - heights[i, max(j - 1, 0)]) / (2.0 * cell)
            gy = (heights[min(i + 1, rows - 1), j] - heights[max(i - 1, 0), j]) / (2.0 * cell)
            facing = (sun[2] - gx * sun[0] - gy * sun[1]) / math.sqrt(1.0 + gx * gx + gy * gy)
            shade[i, j] = int(min(max(facing / sun[2] * LEVEL, 20.0), 255.0))
    for k in range(len(solids)):
        s = solids[k]
        # The ball around a solid throws an ellipse: longest away from the sun.
        reach = s[9] / sun[2]
        along = (s[3]) / sun[2]
        x0 = min(s[1], s[1] - along * sun[0]) - reach
        x1 = max(s[1], s[1] - along * sun[0]) + reach
        y0 = min(s[2], s[2] - along * sun[1]) - reach
        y1 = max(s[2], s[2] - along * sun[1]) + reach
        for i in range(max(int(y0 / cell), 0), min(int(y1 / cell) + 2, rows)):
            for j in range(max(int(x0 / cell), 0), min(int(x1 / cell) + 2, columns)):
                if shade[i, j] <= 30:
                    continue
                t = ray_solid(s, j * cell, i * cell, heights[i, j] + 0.01, sun[0], sun[1], sun[2])
                if t < MISS:
                    shade[i, j] = 24
