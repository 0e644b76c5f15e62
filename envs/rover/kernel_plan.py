"""Shortest ways over a grid, by sweeping it until nothing changes."""

from __future__ import annotations

from typing import Any


def sweep(cost: Any, distance: Any) -> int:
    """Lowers distance (R, C) to the cheapest way from its zeros; returns the number of rounds.

    cost: (R, C) of a step onto a cell, a diagonal one 1.41 times as much; inf where one cannot go.
    """
    rows, columns = cost.shape
    for turn in range(10000):
        changed = False
        for order in range(4):
            down, right = order & 1 == 0, order & 2 == 0
            for m in range(rows):
                i = m if down else rows - 1 - m
                for n in range(columns):
                    j = n if right else columns - 1 - n
                    if cost[i, j] > 1e20:
                        continue
                    best = distance[i, j]
                    for di in range(-1, 2):
                        for dj in range(-1, 2):
                            y, x = i + di, j + dj
                            if y < 0 or x < 0 or y >= rows or x >= columns or (di == 0 and dj == 0):
                                continue
                            far = 1.41421356 if di != 0 and dj != 0 else 1.0
                            best = min(best, distance[y, x] + far * 0.5 * (cost[i, j] + min(cost[y, x], 1e9)))
                    if best < distance[i, j] - 1e-9:
                        distance[i, j] = best
                        changed = True
        if not changed:
            return turn
    return -1
