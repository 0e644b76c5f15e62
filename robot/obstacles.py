"""How far it is to what the lidar sees in the robot's way, straight on and on the arc that it drives. Pure
functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot.config import Body

Array = NDArray[Any]

STEP = 0.04
"""m between two places on an arc at which the outline is laid over the echoes"""
WIDEST_TURN = 1.0
"""rad of an arc that are looked at: slower, it is nearly a turn on the spot, which needs no way"""


def echoes(angles: Array, ranges: Array, body: Body) -> Array:
    """(n, 2) m forward and to the left of the turning centre, without those of the robot itself.

    angles: rad to the left of the lidar's x axis, ranges: m, of the echoes.
    """
    turned = np.asarray(angles) + body.lidar_turn
    points = np.stack([body.lidar_forward + ranges * np.cos(turned), ranges * np.sin(turned)], axis=-1)
    outside: Array = points[~_covers(points, body.length / 2, body.width / 2)]
    return outside


def clearances(points: Array, body: Body) -> tuple[float, float]:
    """(ahead, behind) m from the bumpers to the nearest echo straight in the robot's way; inf where there is
    none. points: of `echoes`. An echo at the bumper gives 0."""
    x, y = points[:, 0], points[:, 1]
    beyond = np.abs(x) - body.length / 2
    in_way = (np.abs(y) <= body.width / 2 + body.side_margin) & (beyond >= 0)
    return _nearest(beyond[in_way & (x > 0)]), _nearest(beyond[in_way & (x < 0)])


def clearance_on_arc(points: Array, speed: float, turn_rate: float, body: Body, reach: float) -> float:
    """m that the robot may drive at this speed (m/s) and turn rate (rad/s) until its outline meets an echo.

    inf: none within `reach` m, or within `WIDEST_TURN`. The outline sweeps outwards at its corners, which a
    look straight ahead does not see. What lies beside the robot already counts without the side margin:
    along a wall it may drive on.
    """
    if not len(points) or speed == 0 or turn_rate == 0:
        return math.inf
    half_length, half_width = body.length / 2, body.width / 2
    bend = turn_rate / speed  # 1/m, of the arc on which both directions lie
    near = _beside_arc(points, bend, half_length, half_width + body.side_margin)
    near = near[np.hypot(near[:, 0], near[:, 1]) <= reach + STEP + half_length + half_width]
    if not len(near):
        return math.inf
    way = np.arange(STEP, min(reach, WIDEST_TURN / abs(bend)) + STEP, STEP)
    turned = bend * math.copysign(1.0, speed) * way
    places = np.stack([np.sin(turned), 1 - np.cos(turned)], axis=-1) / bend
    margin = np.where(_covers(near, half_length, half_width + body.side_margin), 0.0, body.side_margin)
    offset = near - places[:, None]
    cos, sin = np.cos(turned)[:, None], np.sin(turned)[:, None]
    seen = np.stack(
        [cos * offset[..., 0] + sin * offset[..., 1], cos * offset[..., 1] - sin * offset[..., 0]], axis=-1
    )
    meets = _covers(seen, half_length, half_width + margin).any(1)
    return float(way[meets.argmax()] - STEP) if meets.any() else math.inf


def _beside_arc(points: Array, bend: float, half_length: float, half_width: float) -> Array:
    """Those that an outline on a circle can meet at all, by their distance from its centre."""
    radius = abs(1 / bend)
    distance = np.hypot(points[:, 0], points[:, 1] - 1 / bend)
    inner, outer = radius - half_width, math.hypot(radius + half_width, half_length)
    within: Array = points[(distance >= inner) & (distance <= outer)]
    return within


def _covers(points: Array, half_length: float, half_width: Array | float) -> Array:
    covered: Array = (np.abs(points[..., 0]) < half_length) & (np.abs(points[..., 1]) < half_width)
    return covered


def _nearest(distances: Array) -> float:
    return float(distances.min()) if len(distances) else float("inf")
