"""The drivers that are compared, by name; all obey the same speed cap of 0.8 m/s."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from agents.badgr.agent import BadgrAgent, DriveConfig, Foresight
from agents.badgr.lidar_planner import LidarPlanner
from agents.badgr.oracle import OracleAgent
from agents.badgr.pursuit import SPEED
from agents.badgr.reward import Preferences
from agents.badgr.straight import StraightAgent
from agents.badgr.trials import MakeAgent
from agents.badgr.walk import RandomWalk, WalkConfig

Method = Literal["badgr", "straight", "lidar", "oracle", "random"]
METHODS: tuple[Method, ...] = get_args(Method)
BLIND: tuple[Method, ...] = ("straight", "lidar", "oracle", "random")
"""They do not look at the camera's picture"""


def agent_maker(
    method: Method, foresight: Foresight | None = None, preferences: Preferences | None = None,
    config: DriveConfig | None = None,
) -> MakeAgent:  # fmt: skip
    """foresight, preferences, config: of "badgr". Raises ValueError for a name that there is not, and for
    "badgr" without foresight."""
    if method == "straight":
        return lambda rovers, i, number: StraightAgent()
    if method == "lidar":
        return lambda rovers, i, number: LidarPlanner(fence=rovers.prepared(i).world.fence)
    if method == "oracle":
        return lambda rovers, i, number: OracleAgent(rovers, i)
    if method == "random":
        walk = WalkConfig(slowest=SPEED, fastest=SPEED)
        return lambda rovers, i, number: RandomWalk(walk, np.random.default_rng([number]))
    if method != "badgr":
        raise ValueError(f"there is no method {method!r}: give some of {', '.join(METHODS)}")
    if foresight is None:
        raise ValueError("the method badgr needs a trained model: give a run, or a model file")
    return lambda rovers, i, number: BadgrAgent(foresight, preferences, config, seed=number)
