"""What describes a MuJoCo task, and how its episodes start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from envs.batch import Array

Fields = Mapping[str, Array]
"""MjData's fields by name, each (N, ...): "qpos", "qvel" and the task's own `fields`."""
Draw = Callable[[np.random.Generator, Array, Array], "tuple[Array, Array]"]
"""(generator, initial qpos, initial qvel) -> the (qpos, qvel) that an episode starts from."""


@dataclass(frozen=True)
class Motion:
    """One step of N copies, as rewards see it."""

    fields: Fields
    """after the step; what is not qpos or qvel belongs to the last stage of the last substep"""
    actions: Array
    """(N, A) as given, not clipped"""
    velocity: Array
    """(N,) m/s, mean forward velocity over the step"""

    @property
    def qpos(self) -> Array:
        return self.fields["qpos"]

    @property
    def qvel(self) -> Array:
        return self.fields["qvel"]

    def height(self, index: int) -> Array:
        """(N,) m; `index` is the place of z in qpos."""
        return self.fields["qpos"][:, index]


def _no_position(fields: Fields) -> Array:
    return np.zeros(len(fields["qpos"]))


@dataclass(frozen=True)
class MujocoTask:
    """A task on one of gymnasium's models."""

    gymnasium_id: str
    observe: Callable[[Fields], Array]
    """(N, O) float64"""
    reward: Callable[[Motion], Array]
    """(N,) of the standard variant"""
    preference_reward: Callable[[Motion], Array]
    """(N,) hidden reward of the preference variant"""
    draw: Draw
    healthy: Callable[[Fields], Array] | None = None
    """(N,) bool; the standard variant terminates where it is false. None: it never does"""
    position: Callable[[Fields], Array] = _no_position
    """(N,) m whose difference over a step is the forward velocity"""
    fields: tuple[str, ...] = ()
    """derived fields of MjData that the functions above read"""
    contact_wrenches: bool = False
    """whether they read cfrc_ext, which needs mj_rnePostConstraint after the step"""
    own_observation: bool = False
    """whether `observe` departs from gymnasium's"""
    count_rotations: bool = False

    @property
    def travels(self) -> bool:
        """Whether qpos[0] is a place that the task is about, reported as infos["x_position"]."""
        return self.position is not _no_position


def uniform_noise(scale: float) -> Draw:
    """Starts near the model's own pose and speed: both off by up to `scale`."""

    def draw(generator: np.random.Generator, qpos: Array, qvel: Array) -> tuple[Array, Array]:
        # The order of the draws is gymnasium's: positions first.
        start = qpos + generator.uniform(low=-scale, high=scale, size=len(qpos))
        return start, qvel + generator.uniform(low=-scale, high=scale, size=len(qvel))

    return draw


def normal_speed_noise(scale: float) -> Draw:
    """As `uniform_noise`, but the speed is off by a normal number of deviation `scale`."""

    def draw(generator: np.random.Generator, qpos: Array, qvel: Array) -> tuple[Array, Array]:
        start = qpos + generator.uniform(low=-scale, high=scale, size=len(qpos))
        return start, qvel + scale * generator.standard_normal(len(qvel))

    return draw


def draw_reacher(generator: np.random.Generator, qpos: Array, qvel: Array) -> tuple[Array, Array]:
    """Starts Reacher's arm near straight and its target anywhere in a disc of 0.2 m."""
    start = generator.uniform(low=-0.1, high=0.1, size=len(qpos)) + qpos
    goal = generator.uniform(low=-0.2, high=0.2, size=2)
    while not np.linalg.norm(goal) < 0.2:
        goal = generator.uniform(low=-0.2, high=0.2, size=2)
    start[-2:] = goal
    speed = qvel + generator.uniform(low=-0.005, high=0.005, size=len(qvel))
    speed[-2:] = 0
    return start, speed
