"""A side-tuned navigator drives the robot: its steps and turns as speeds, its sensors the robot's streams.

Runs on the robot: no torch, no simulator. The policy was taught in `envs.pointnav`: it sees the camera's
picture, the goal's direction and where it has been, and answers with a quarter metre ahead, ten degrees to a
side, or that it is there. The robot's camera and inertia are not the taught ones: try it with `shadow` first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from agents.badgr.bearing import BearingConfig
from agents.badgr.trip import STAND, Halt, Leg, Trip, TripConfig
from agents.sidetuning.config import SideError
from agents.sidetuning.policy_agent import SideTunedAgent
from envs.pointnav_moves import FORWARD, LEFT, RIGHT, STOP, STRIDE, TURN
from envs.pointnav_trail import Trail

Array = NDArray[Any]
SENSORS = frozenset(("rgb", "goal", "trail"))


PATIENT = TripConfig(arrive=0.5, circle=0.0, stand_seconds=60.0, closer_seconds=180.0)
"""a whole turn on the spot takes 18 s, and ways indoors lead away from the goal at times"""


@dataclass(frozen=True)
class NavigatorConfig:
    """seconds: that a step lasts; at 0.5 s the robot drives at 0.5 m/s and turns at 0.35 rad/s."""

    seconds: float = 0.5
    trip: TripConfig = PATIENT

    def __post_init__(self) -> None:
        if not 0.05 <= self.seconds <= 5:
            raise ValueError(f"a step lasts 0.05 to 5 s, got {self.seconds}")
        bearing = replace(self.trip.bearing, dt=self.seconds)
        object.__setattr__(self, "trip", replace(self.trip, bearing=bearing))

    @property
    def bearing(self) -> BearingConfig:
        return self.trip.bearing


class NavigatorAgent:
    """An Agent. Actions: (2,) float32 rad/s to the left, m/s forward; observations those of `RosRobot`.

    After each `act`: `halt`, why it stands, else None; `leg`, where the goal is. `policy.set_adapter` may be
    called from another thread, also during an act. Raises SideError for a policy of another kind.
    """

    plan = None
    """nothing is planned: the policy answers at once"""

    def __init__(
        self, policy: SideTunedAgent, config: NavigatorConfig | None = None, *, goal: Array | None = None
    ) -> None:
        self.policy, self.config = policy, config or NavigatorConfig()
        sensors, actions = policy.policy.sensors, policy.policy.action_space
        fits = isinstance(actions, spaces.Discrete) and actions.start + actions.n == RIGHT + 1
        if not fits or "rgb" not in sensors or not SENSORS.issuperset(sensors):
            raise SideError(
                f"the policy reads {', '.join(sensors)} and gives {actions}: expected an indoor navigator, "
                "which reads rgb, goal and trail and gives steps and turns; `surefoot train sidetuning` "
                "makes one"
            )
        _, height, width = sensors["rgb"].shape
        self.image = int(height), int(width)
        """pixels of the picture that it wants"""
        self._trip = Trip(self.config.trip, {"image": (*self.image, 3)}, goal)
        self._trail = Trail(1)
        self.reset()

    def reset(self) -> None:
        """A new trip, from where the robot stands."""
        self._trip.reset()
        self._trail.forget(0)
        self._moved = False
        self.leg: Leg | None = None
        self.halt: Halt | None = None

    def act(self, observation: Mapping[str, Any]) -> Array:
        """observation: image, and the streams of `bearing.STREAMS`; "goal" unless one was given."""
        if self.halt is not None and self.halt.is_final:
            return STAND.copy()
        self.leg = leg = self._trip.look(observation)
        self.halt = self._trip.halt
        if leg is None:
            return STAND.copy()
        action = self.policy.act(self._seen(observation, leg))
        if action == STOP:
            words = (
                f"the navigator says that it is there, {leg.distance:.1f} m from the goal by my own estimate"
            )
            self.halt = Halt("arrived", words)
            return STAND.copy()
        turn_rate, speed = TURN / self.config.seconds, STRIDE / self.config.seconds
        told = {FORWARD: (0.0, speed), LEFT: (turn_rate, 0.0), RIGHT: (-turn_rate, 0.0)}
        return np.array(told[action], np.float32)

    def _seen(self, observation: Mapping[str, Any], leg: Leg) -> dict[str, Array]:
        """What `envs.pointnav.PointNav` observes, of the robot."""
        here, (forward, left) = leg.here, leg.goal
        far = max(float(np.hypot(forward, left)), 1e-6)
        goal = np.array((forward / far, left / far, far, np.exp(-far)), np.float32)
        if self._moved:
            self._trail.add(np.asarray(here.reckoned)[None])
        self._moved = True
        trail = self._trail.map(0, np.array((*here.reckoned, here.heading)))
        picture = np.ascontiguousarray(np.asarray(observation["image"]).transpose(2, 0, 1))
        seen = {"rgb": picture, "goal": goal, "trail": trail}
        return {name: seen[name] for name in self.policy.policy.sensors}
