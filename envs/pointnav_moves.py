"""What a PointNav agent does in a step; apart, so that a robot knows it without the world."""

from __future__ import annotations

import math

STOP, FORWARD, LEFT, RIGHT = range(4)
STRIDE = 0.25
"""m of a step forward"""
TURN = math.radians(10.0)
