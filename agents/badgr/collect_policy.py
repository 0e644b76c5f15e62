"""Gathering with a trained predictor: it drives to one random place after the other, with noise.

What it does wrong shows where its predictor is wrong, and that is what the next one learns from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.agent import BadgrAgent
from agents.badgr.walk import RandomWalk, WalkConfig

Array = NDArray[Any]

NOISE = WalkConfig(steering=0.25)
"""what is added to the plan's steering"""
NEAREST = 6.0
"""m from one goal to the next"""


class NoisyTrips:
    """An Agent around a BadgrAgent: goals within a box, and steering that is a little wrong.

    box: x0, y0, x1, y1 m east and north. Where the agent stands for any reason, it takes another goal, and
    drives a step of the noise's random walk.
    """

    def __init__(
        self,
        agent: BadgrAgent,
        box: tuple[float, float, float, float],
        generator: np.random.Generator,
        noise: WalkConfig = NOISE,
    ) -> None:
        self._agent, self._generator = agent, generator
        self._noise = RandomWalk(noise, generator)
        self._low, self._high = np.array(box[:2]), np.array(box[2:])

    def reset(self) -> None:
        """A new trip. The agent has no goal until it is first asked."""
        self._noise.reset()
        self._agent.reset()
        self._agent.goal = None

    def act(self, observation: Mapping[str, Any]) -> Array:
        """observation: what the BadgrAgent needs; its goal is chosen here."""
        if self._agent.goal is None:
            self._agent.goal = self._next_goal(np.asarray(observation["gps"]))
        wrong = self._noise.act(observation)
        action = self._agent.act(observation)
        if self._agent.halt is not None:
            self._agent.goal = None
            return wrong
        if action[1] > 0:  # an escape is left to itself
            limit = self._noise.config.most_steering
            action[0] = np.clip(action[0] + wrong[0], -limit, limit)
        return action

    def _next_goal(self, place: Array) -> Array:
        for _ in range(20):
            goal = self._generator.uniform(self._low, self._high)
            if float(np.linalg.norm(goal - place)) >= NEAREST:
                break
        return np.asarray(goal, np.float64)
