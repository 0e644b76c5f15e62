"""A robot, simulated or real, as a gymnasium environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Array = NDArray[Any]
Observation = Mapping[str, Array]


@runtime_checkable
class Robot(Protocol):
    """A body that is driven: the simulated rover and the one behind ROS are the same from here.

    Everything is in SI units; the bounds of the spaces are the robot's own limits in them. `units`
    says which, by name: {"action": "m/s, rad/s", "image": "0-255", "speed": "m/s"}.
    """

    observation_space: spaces.Dict
    action_space: spaces.Box
    units: Mapping[str, str]
    dt: float
    """seconds that one action lasts"""

    def observe(self) -> Observation:
        """The newest observation, arrays of the robot's own that the caller may keep.

        Raises TimeoutError when a sensor has fallen silent: the message names it.
        """
        ...

    def act(self, action: Array) -> None:
        """Drives for dt seconds and returns when the next decision is due, still driving."""
        ...

    def stop(self) -> None:
        """Stands still now. Safe at any time, any number of times."""
        ...


RewardFunction = Callable[[Observation, Array, Observation], float]
"""(observation, action as executed, next observation) -> reward"""


class RobotEnv(gymnasium.Env[dict[str, Array], Array]):
    """One robot's world. Whatever goes wrong, the robot is stopped before the error is raised.

    reward: 0.0 at each step where none is given; has_failed: ends the episode ("terminated").
    prepare: brings the robot to a new start - a new simulated world, a reset manoeuvre; it gets the
    environment's random generator.
    Actions are clipped to the space; info holds "executed_action" and "time" (seconds in the episode).
    """

    def __init__(
        self,
        robot: Robot,
        *,
        reward: RewardFunction | None = None,
        has_failed: Callable[[Observation], bool] | None = None,
        prepare: Callable[[np.random.Generator], None] | None = None,
        episode_seconds: float = 60.0,
    ) -> None:
        missing = {"action", *robot.observation_space.spaces} - set(robot.units)
        if missing:
            raise ValueError(f"the robot gives no units for {', '.join(sorted(missing))}")
        if not (robot.dt > 0 and episode_seconds >= robot.dt):
            raise ValueError(
                f"an episode of {episode_seconds} s has no room for one action of {robot.dt} s: "
                f"both must be positive and the episode the longer"
            )
        self.robot = robot
        self.observation_space = robot.observation_space
        self.action_space = robot.action_space
        self.metadata = {"render_modes": [], "units": dict(robot.units)}
        self.dt = robot.dt  # recorders stamp steps with it
        self._reward = reward
        self._has_failed = has_failed
        self._prepare = prepare
        self._episode_steps = round(episode_seconds / robot.dt)
        self._step = 0
        self._last: dict[str, Array] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Stops the robot, prepares a new start, observes."""
        super().reset(seed=seed)
        self.robot.stop()
        try:
            if self._prepare is not None:
                self._prepare(self.np_random)
            self._last = self._observe()
        except BaseException:
            self.robot.stop()
            raise
        self._step = 0
        return dict(self._last), {"time": 0.0}

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Drives for dt seconds. The robot stands still when the episode has ended.

        Raises ValueError for an action of the wrong shape or with NaN, and for an observation that is not
        in the space; RuntimeError before the first reset.
        """
        try:
            if self._last is None:
                raise RuntimeError("call reset() before step(), and again after an episode has ended")
            executed = self._executed(action)
            self.robot.act(executed)
            before, after = self._last, self._observe()
            self._step += 1
            reward = float(self._reward(before, executed, after)) if self._reward else 0.0
            terminated = bool(self._has_failed(after)) if self._has_failed else False
        except BaseException:  # KeyboardInterrupt too: nobody is driving any more
            self.robot.stop()
            raise
        truncated = not terminated and self._step >= self._episode_steps
        self._last = after
        if terminated or truncated:
            self.robot.stop()
            self._last = None
        info = {"executed_action": executed, "time": self._step * self.robot.dt}
        return dict(after), reward, terminated, truncated, info

    def close(self) -> None:
        self.robot.stop()

    def _executed(self, action: Array) -> Array:
        space = self.robot.action_space
        wanted = np.asarray(action, dtype=space.dtype)
        if wanted.shape != space.shape:
            raise ValueError(f"the action has shape {wanted.shape}, the robot takes {space.shape}")
        if not np.isfinite(wanted).all():
            raise ValueError(f"the action {wanted} is not finite: the robot was stopped")
        clipped: Array = np.clip(wanted, space.low, space.high)
        return clipped

    def _observe(self) -> dict[str, Array]:
        seen = self.robot.observe()
        expected = self.robot.observation_space.spaces
        if set(seen) != set(expected):
            raise ValueError(f"the robot gives {sorted(seen)}, its space says {sorted(expected)}")
        for name, space in expected.items():
            value = seen[name]
            if value.shape != space.shape or value.dtype != space.dtype:
                raise ValueError(
                    f"the robot gives {name} {value.shape} {value.dtype}, "
                    f"its space says {space.shape} {space.dtype}"
                )
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise ValueError(f"the robot gives {name} with NaN or infinity: is the sensor sound?")
        return {name: seen[name] for name in expected}
