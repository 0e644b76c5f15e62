"""How far it is to what the lidar sees in the robot's way. Pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot.config import Body

Array = NDArray[Any]


def clearances(angles: Array, ranges: Array, body: Body) -> tuple[float, float]:
    """(ahead, behind) m from the bumpers to the nearest echo in the robot's way; inf where there is none.

    angles: rad to the left of the lidar's x axis, ranges: m, of the echoes. What lies within the outline is
    the robot itself. An echo at the bumper gives 0.
    """
    turned = np.asarray(angles) + body.lidar_turn
    x = body.lidar_forward + ranges * np.cos(turned)
    y = ranges * np.sin(turned)
    beyond = np.abs(x) - body.length / 2
    in_way = (np.abs(y) <= body.width / 2 + body.side_margin) & (beyond >= 0)
    return _nearest(beyond[in_way & (x > 0)]), _nearest(beyond[in_way & (x < 0)])


def _nearest(distances: Array) -> float:
    return float(distances.min()) if len(distances) else float("inf")
