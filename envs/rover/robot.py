"""The simulated rover behind the same protocol as the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from envs.batch import Array
from envs.robot_env import Observation, RobotEnv
from envs.rover.rovers import UNITS, RoverConfig, Rovers
from envs.rover.truth import GOAL_RADIUS

BACKWARD, FORWARD, TURN = -0.5, 1.25, 1.5
"""m/s and rad/s that the body takes; collecting drives within 0.75 to 1.25 m/s and 1 rad/s"""
TIPPED = 0.61
"""rad, 35 degrees"""


class SimulatedRover:
    """A `Robot`: one rover in one generated world after the other. Actions: (rad/s to the left, m/s)."""

    def __init__(self, config: RoverConfig | None = None, seed: int | None = None) -> None:
        self._rovers = Rovers(config or RoverConfig(), 1, seed, threads=1)
        self.observation_space = self._rovers.observation_space
        low, high = (-TURN, BACKWARD), (TURN, FORWARD)
        self.action_space = spaces.Box(
            np.array(low, np.float32), np.array(high, np.float32), dtype=np.float32
        )
        self.units: Mapping[str, str] = {
            "action": UNITS["action"],
            **{name: UNITS[name] for name in self.observation_space.spaces},
        }
        self.dt = self._rovers.dt
        self._rovers.restart()

    def observe(self) -> Observation:
        return {name: seen[0] for name, seen in self._rovers.observe().items()}

    def act(self, action: Array) -> None:
        self._rovers.drive(np.clip(action, self.action_space.low, self.action_space.high)[None])

    def stop(self) -> None:
        """Time passes only in `act`: a rover that is not told to drive stands."""

    def start_anew(self, generator: np.random.Generator) -> None:
        """Puts the rover at the start of a trip in another world: RobotEnv's `prepare`."""
        self._rovers.seed(int(generator.integers(2**31)))
        self._rovers.restart()

    @property
    def truth(self) -> dict[str, Any]:
        """What really happened in the last action, see `truth.told`; empty before the first."""
        return {name: value[0] for name, value in self._rovers.truth.items()}

    @property
    def rovers(self) -> Rovers:
        """The batch of one that this is."""
        return self._rovers

    def failed(self) -> bool:
        """Collided, stuck, tipped over or out of the fence in the last action."""
        truth = self.truth
        if not truth:
            return False
        events = ("collision", "stuck", "outside")
        return any(bool(truth[name]) for name in events) or bool(truth["tilt"] > TIPPED)


def make_rover_env(
    config: RoverConfig | None = None,
    seed: int | None = None,
    *,
    episode_seconds: float = 180.0,
    ends: Callable[[SimulatedRover], bool] | None = None,
) -> RobotEnv:
    """A trip to a goal as RobotEnv: ends when it is reached (reward 1 there) or after a failure.

    ends: when else, in place of `SimulatedRover.failed`; the truth is in `env.robot.truth`.
    """
    robot = SimulatedRover(config, seed)

    def reward(before: Observation, action: Array, after: Observation) -> float:
        return float(robot.truth["goal_distance"] < GOAL_RADIUS)

    def over(seen: Observation) -> bool:
        return bool(robot.truth["reached"]) or (robot.failed() if ends is None else ends(robot))

    return RobotEnv(
        robot, reward=reward, has_failed=over, prepare=robot.start_anew, episode_seconds=episode_seconds
    )
