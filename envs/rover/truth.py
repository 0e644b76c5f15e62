"""What really happened in a decision: what self-labels and plans are measured against."""

from __future__ import annotations

import numpy as np

from envs.batch import Array
from envs.rover.physics import DECISION, Motion
from envs.rover.terrain import KINDS
from envs.rover.world import World

STUCK_SECONDS = 1.5
STUCK_SPEED = 0.05
"""m/s, mean over STUCK_SECONDS below which a rover that is told to drive is stuck"""
TOLD_SPEED = 0.3
"""m/s, a command above which it is told to drive"""
TOUCH = 2.0
"""N of a solid on the body that count as a collision"""
GOAL_RADIUS = 2.0
"""m from the goal at which it is reached"""
HISTORY = round(STUCK_SECONDS / DECISION)

_BUMPY = np.array([kind.is_bumpy for kind in KINDS])


def told(
    motion: Motion, worlds: list[World], goals: Array, history: Array, commands: Array
) -> dict[str, Array]:
    """{name: (N,) or (N, 2)} of the decision just driven.

    goals: (N, 2) m. history: (N, HISTORY + 1, 2) m, where each rover was after the last decisions, newest
    last, NaN before the episode began; commands: (N, HISTORY) m/s that it was told meanwhile.
    """
    end = motion.pose[:, -1]
    place = end[:, :2].copy()
    w, x, y, z = end[:, 3:7].T
    moved = np.linalg.norm(history[:, -1] - history[:, 0], axis=1)
    stuck = (moved < STUCK_SPEED * STUCK_SECONDS) & (np.abs(commands) > TOLD_SPEED).all(1)
    bumpy_share = _BUMPY[motion.under].mean((1, 2))
    fences = np.array([world.fence for world in worlds])
    outside = (place < fences[:, :2]).any(1) | (place > fences[:, 2:]).any(1)
    return {
        "position": place,
        "heading": np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
        "speed": np.linalg.norm(motion.velocity, axis=2).mean(1),
        "distance": np.linalg.norm(history[:, -1] - history[:, -2], axis=1),
        "terrain": np.array([world.kind_at(*at) for world, at in zip(worlds, place, strict=True)]),
        "collision": motion.touched.max(1) > TOUCH,
        "bumpy": bumpy_share >= 0.5,
        "stuck": stuck,
        "roughness": np.hypot(motion.gyro[..., 0], motion.gyro[..., 1]).mean(1),
        "tilt": np.arccos(np.clip(1 - 2 * (x * x + y * y), -1, 1)),
        "outside": outside,
        "goal_distance": np.linalg.norm(goals - place, axis=1),
        "reached": np.linalg.norm(goals - place, axis=1) < GOAL_RADIUS,
    }
