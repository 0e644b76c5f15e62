"""One decision of a drive, with all that is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.overlay import Ways

Array = NDArray[Any]
Marks = Mapping[str, tuple[Array, Array]]
"""{event: happened and whether that is known, (K,) bool of the latest steps, newest last}"""

STEP = 0.25
"""s of a decision"""
PAST = 40
"""steps that are shown of what happened: 10 s"""


@dataclass(frozen=True)
class Moment:
    """What a robot sees, expects and has lived through when it decides.

    image: (height, width, 3) uint8; pose: x m, y m, heading rad on the map; goal: (2,) m on the map; body:
    (7,) m and quaternion in the simulator; ways: candidates in the robot's frame; foretold: {event: (H,)}
    probabilities of the chosen plan; happened: {"truth" or "sensors": marks}; words: what it is doing.
    """

    seconds: float
    image: Array
    pose: tuple[float, float, float]
    goal: Array | None = None
    body: Array | None = None
    ways: Ways | None = None
    foretold: Mapping[str, Array] = field(default_factory=dict)
    happened: Mapping[str, Marks] = field(default_factory=dict)
    words: str = ""
    speed: float = 0.0
    """m/s that it is told"""


def latest(happened: Mapping[str, Array], known: Mapping[str, Array] | None, steps: int) -> Marks:
    """Marks of at most PAST steps up to `steps`, of (T,) bool each; known: None where all is."""
    part = slice(max(steps - PAST, 0), steps)
    return {
        name: (np.asarray(values[part], bool), np.ones(len(values[part]), bool))
        if known is None
        else (np.asarray(values[part], bool), np.asarray(known[name][part], bool))
        for name, values in happened.items()
    }


def to_map(points: Array, pose: tuple[float, float, float]) -> Array:
    """Points (T, 2) m of the robot's frame on the map."""
    x, y, heading = pose
    c, s = np.cos(heading), np.sin(heading)
    turned: Array = points @ np.array([[c, s], [-s, c]]) + np.array([x, y])
    return turned
