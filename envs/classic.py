"""Pendulum: gymnasium's swing-up task, alone or in a batch, and pictures of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from gymnasium.utils import seeding
from numpy.typing import NDArray

from envs.batch import BatchStep
from envs.tasks import task_info

Array = NDArray[Any]

_GRAVITY, _MASS, _LENGTH = 10.0, 1.0, 1.0
_SECONDS = 0.05
_MAX_SPEED, _MAX_TORQUE = 8.0, 2.0
_START = np.array([np.pi, 1.0])  # a new episode's angle and velocity are uniform within plus and minus this
_EPISODE_STEPS = task_info("classic:Pendulum").episode_steps


def make_pendulum(preferences: bool = False, render_mode: str | None = None) -> PendulumTask:
    """gymnasium's Pendulum-v1 in episodes of 200 steps; the true reward is in info["true_reward"].

    preferences: the returned reward is 0, so that nothing of the task leaks to a learner.
    render_mode: None or "rgb_array".
    """
    return PendulumTask(preferences, render_mode)


class PendulumTask(PendulumEnv):
    """Pendulum-v1 with its time limit, its reward also in info or only there, drawn without pygame."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 - gymnasium's own form

    def __init__(self, preferences: bool = False, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f'render_mode of Pendulum is None or "rgb_array", got {render_mode!r}')
        super().__init__(render_mode)
        self._preferences = preferences
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        self._steps = 0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        observation, reward, _, _, info = super().step(action)
        self._steps += 1
        true_reward = float(reward)
        info = {**info, "true_reward": true_reward}
        return (
            observation,
            0.0 if self._preferences else true_reward,
            False,
            self._steps >= _EPISODE_STEPS,
            info,
        )

    def physics(self) -> Array:
        """(2,): angle rad from upright, velocity rad/s, as `render_physics` draws it."""
        return np.array(self.state)

    def render(self) -> Array | None:
        if self.render_mode is None:
            return None
        return draw_pendulum(self.physics()[None], 256, 256)[0]


class PendulumBatch:
    """N pendulums as arrays; a `BatchEnv`, equal to Pendulum-v1 step for step (a test compares)."""

    dt = _SECONDS

    def __init__(self, num_envs: int, seed: int | None = None, *, preferences: bool = False) -> None:
        if num_envs < 1:
            raise ValueError(f"a batch needs at least one copy, got {num_envs}")
        high = np.array([1.0, 1.0, _MAX_SPEED], np.float32)
        self.num_envs = num_envs
        self.observation_space = gymnasium.spaces.Box(-high, high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Box(-_MAX_TORQUE, _MAX_TORQUE, (1,), np.float32)
        self._preferences = preferences
        self._generators = _generators(num_envs, seed)
        self._state = np.full((num_envs, 2), np.nan)  # angle and velocity; nan before the first reset
        self._steps = np.zeros(num_envs, np.int64)

    def reset(self, seed: int | None = None) -> Array:
        if seed is not None:
            self._generators = _generators(self.num_envs, seed)
        self._start_anew(np.ones(self.num_envs, bool))
        return self._observe()

    def step(self, actions: Array) -> BatchStep:
        """actions: (N, 1) N m; beyond the limits of 2 they are cut off."""
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs, 1):
            raise ValueError(f"Pendulum expects actions of shape ({self.num_envs}, 1), got {actions.shape}")
        angle, velocity = self._state.T
        torque = np.clip(actions[:, 0], -_MAX_TORQUE, _MAX_TORQUE)
        from_upright = (angle + np.pi) % (2 * np.pi) - np.pi
        true_rewards = -(from_upright**2 + 0.1 * velocity**2 + 0.001 * torque**2).astype(np.float32)
        # Bit for bit gymnasium's arithmetic: keep the order of the operations.
        pull = 3 * _GRAVITY / (2 * _LENGTH) * np.sin(angle)
        velocity = velocity + (pull + 3.0 / (_MASS * _LENGTH**2) * torque) * _SECONDS
        velocity = np.clip(velocity, -_MAX_SPEED, _MAX_SPEED)
        self._state = np.stack([angle + velocity * _SECONDS, velocity], axis=1)
        self._steps += 1

        observations = self._observe()
        truncated = self._steps >= _EPISODE_STEPS
        final_observations = None
        if truncated.any():
            final_observations = observations
            self._start_anew(truncated)
            observations = self._observe()
        return BatchStep(
            observations=observations,
            rewards=np.zeros_like(true_rewards) if self._preferences else true_rewards,
            terminated=np.zeros(self.num_envs, bool),
            truncated=truncated,
            final_observations=final_observations,
            infos={"true_reward": true_rewards.copy()},
        )

    def physics(self) -> Array:
        """(N, 2): angle rad from upright, velocity rad/s."""
        return self._state.copy()

    def get_state(self) -> dict[str, Any]:
        return {
            "state": self._state.copy(),
            "steps": self._steps.copy(),
            "generators": [generator.bit_generator.state for generator in self._generators],
        }

    def set_state(self, state: Mapping[str, Any]) -> Array:
        if np.shape(state["state"]) != self._state.shape:
            raise ValueError(
                f"the state is of {len(state['state'])} pendulums, this batch has {self.num_envs}"
            )
        self._state = np.array(state["state"], np.float64)
        self._steps = np.array(state["steps"], np.int64)
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = saved
        return self._observe()

    def close(self) -> None:
        """Nothing to release."""

    def _start_anew(self, which: Array) -> None:
        for index in np.flatnonzero(which):
            self._state[index] = self._generators[index].uniform(low=-_START, high=_START)
        self._steps[which] = 0

    def _observe(self) -> Array:
        angle, velocity = self._state.T
        return np.stack([np.cos(angle), np.sin(angle), velocity], axis=1).astype(np.float32)


def draw_pendulum(physics: Array, height: int, width: int) -> Array:
    """Frames (T, height, width, 3) uint8 of states (T, >=2): angle rad from upright, then velocity."""
    from PIL import Image, ImageDraw

    if physics.shape[1] < 2:
        raise ValueError(
            f"a state of the pendulum is (angle, velocity), the rows have {physics.shape[1]} number"
        )
    fine = 4  # drawn larger and reduced: Pillow itself draws hard edges
    frames = np.empty((len(physics), height, width, 3), np.uint8)
    x, y = width * fine / 2, height * fine / 2
    reach = min(x, y) * 0.8
    rod = reach * 0.18

    def disc(radius: float, at: tuple[float, float]) -> tuple[float, float, float, float]:
        return (at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius)

    for angle, frame in zip(physics[:, 0], frames, strict=True):
        image = Image.new("RGB", (width * fine, height * fine), (236, 240, 243))
        pen = ImageDraw.Draw(image)
        pen.line([(x, y), (x, y - reach)], fill=(205, 212, 218), width=fine)  # where the tip should be
        # Positive angles turn anticlockwise, as in gymnasium's pictures.
        tip = (x - reach * float(np.sin(angle)), y - reach * float(np.cos(angle)))
        pen.line([(x, y), tip], fill=(200, 85, 75), width=round(rod))
        for at in ((x, y), tip):
            pen.ellipse(disc(rod / 2, at), fill=(200, 85, 75))
        pen.ellipse(disc(rod / 5, (x, y)), fill=(45, 50, 55))
        frame[:] = np.asarray(image.reduce(fine))
    return frames


def _generators(count: int, seed: int | None) -> list[np.random.Generator]:
    return [seeding.np_random(None if seed is None else seed + index)[0] for index in range(count)]
