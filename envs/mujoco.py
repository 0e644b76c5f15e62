"""MuJoCo tasks one at a time: gymnasium's -v5 simulation under our reward and episode rules."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np

from envs.batch import Array
from envs.mujoco_spec import Fields, Motion, MujocoTask
from envs.mujoco_tasks import TASKS, full_rotations
from envs.tasks import task_info

_log = logging.getLogger(__name__)

BAD_NAMES = ("qpos", "qvel", "qacc", "ctrl (the action)")


class MujocoEnv(gymnasium.Env):
    """One MuJoCo task.

    The standard variant is gymnasium's -v5 task. The preference variant never terminates, has
    episodes of `task_info(...).episode_steps`, returns reward 0.0 and keeps the hidden reward in
    info["true_reward"], which both variants have.
    Raises FloatingPointError when the simulation diverges.
    """

    def __init__(self, task: str, *, preferences: bool = False, render_mode: str | None = None) -> None:
        self.task = TASKS[task]
        self.preferences = preferences
        self.inner, limit = load_gymnasium(self.task, render_mode)
        self.episode_steps = limit
        if preferences:
            self.episode_steps = task_info(f"mujoco:{task}").episode_steps
        self.dt: float = float(self.inner.dt)
        self.render_mode = render_mode
        self.metadata = self.inner.metadata
        self.action_space = self.inner.action_space
        self.observation_space = observation_space(self.task, self.inner)
        self._elapsed = 0
        self._rotations = 0.0
        self._bad = bad_warnings()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        observation, info = self.inner.reset(seed=seed, options=options)
        self._elapsed, self._rotations = 0, 0.0
        if self.task.own_observation:
            observation = self.task.observe(self._fields())[0]
        return observation, dict(info)

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        before = self.task.position(self._fields())
        observation, reward, terminated, _, info = self.inner.step(action)
        self._elapsed += 1
        self._expect_stable()
        fields = self._fields()
        if self.preferences or self.task.own_observation:
            velocity = (self.task.position(fields) - before) / self.dt
            motion = Motion(fields, np.asarray(action)[None], velocity)
            formula = self.task.preference_reward if self.preferences else self.task.reward
            reward, terminated = formula(motion)[0], False
        if self.task.own_observation:
            observation = self.task.observe(fields)[0]
        if self.task.count_rotations:
            self._rotations = max(self._rotations, float(full_rotations(fields["qpos"])[0]))
            info["rotations"], info["is_success"] = self._rotations, self._rotations >= 1
        info["true_reward"] = float(reward)
        returned = 0.0 if self.preferences else float(reward)
        return observation, returned, bool(terminated), self._elapsed >= self.episode_steps, info

    def physics(self) -> Array:
        """(nq + nv,) joint positions and velocities, from which a frame can be drawn."""
        return np.concatenate((self.inner.data.qpos, self.inner.data.qvel))

    def render(self) -> Any:
        return self.inner.render()

    def close(self) -> None:
        self.inner.close()

    def _fields(self) -> Fields:
        data = self.inner.data
        names = ("qpos", "qvel", *self.task.fields)
        return {name: np.asarray(getattr(data, name))[None] for name in names}

    def _expect_stable(self) -> None:
        # Zeroed by every reset, so what is not zero came with this episode.
        counts = np.asarray(self.inner.data.warning.number)[self._bad]
        if counts.any():
            raise diverged(self.task, 0, self._elapsed, counts)


def make_mujoco(task: str, *, preferences: bool = False, render_mode: str | None = None) -> MujocoEnv:
    """One MuJoCo task by its name in `TASKS`. With a render_mode, MUJOCO_GL must have been chosen."""
    return MujocoEnv(task, preferences=preferences, render_mode=render_mode)


def load_gymnasium(task: MujocoTask, render_mode: str | None = None) -> tuple[Any, int]:
    """gymnasium's bare environment of a task, and the step limit that a wrapper would hold it to."""
    spec = gymnasium.spec(task.gymnasium_id)
    if spec.max_episode_steps is None:
        raise ValueError(f"gymnasium gives {task.gymnasium_id} no step limit")
    with _quiet_loading():
        wrapped = gymnasium.make(spec, render_mode=render_mode, disable_env_checker=True)
    return wrapped.unwrapped, spec.max_episode_steps


def observation_space(task: MujocoTask, inner: Any) -> gymnasium.spaces.Space[Any]:
    """Of one copy: gymnasium's, unless the task has its own."""
    if not task.own_observation:
        return inner.observation_space
    names = ("qpos", "qvel", *task.fields)
    size = task.observe({name: np.asarray(getattr(inner.data, name))[None] for name in names}).shape[1]
    return gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float64)


def bad_warnings() -> slice:
    """Where MuJoCo counts NaN and huge values, by BAD_NAMES.

    It then resets the simulation in silence, which would look like a jump to the start.
    """
    import mujoco

    first = int(mujoco.mjtWarning.mjWARN_BADQPOS)  # its number depends on the version
    return slice(first, first + len(BAD_NAMES))


def diverged(task: MujocoTask, copy: int, step: int, counts: Array) -> FloatingPointError:
    """The error for a simulation that MuJoCo had to give up. counts: (4,) of BAD_NAMES."""
    what = " and ".join(name for name, count in zip(BAD_NAMES, counts, strict=True) if count)
    return FloatingPointError(
        f"{task.gymnasium_id}, copy {copy}: NaN, infinite or huge value in {what} at step {step} of its "
        "episode; check that the policy's actions are finite and within the action space"
    )


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Sends MuJoCo's warnings about gymnasium's model files to the log.

    By default it prints them and leaves a MUJOCO_LOG.TXT in the current folder.
    """
    import mujoco

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda text: _log.debug("mujoco: %s", text))
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)
