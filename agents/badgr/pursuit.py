"""Steering towards a place ahead: pure pursuit (Coulter 1992), turning on the spot where it lies aside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SPEED = 0.8
"""m/s, the cap of every method that is compared"""
MOST_TURN = 1.0
"""rad/s"""
ASIDE = 1.0
"""rad, from which on it turns on the spot"""


def pursue(target: Array, speed: float = SPEED) -> Array:
    """(2,) float32 rad/s, m/s. target: (2,) m forward and to the left."""
    x, y = (float(part) for part in target)
    angle = float(np.arctan2(y, x))
    if abs(angle) > ASIDE:
        return np.array([np.sign(angle) * MOST_TURN, 0.0], np.float32)
    curvature = 2 * y / max(x * x + y * y, 1e-6)
    # Slower where the robot cannot turn as sharply as the arc at full speed.
    speed = min(speed, MOST_TURN / max(abs(curvature), 1e-6))
    return np.array([np.clip(speed * curvature, -MOST_TURN, MOST_TURN), speed], np.float32)
