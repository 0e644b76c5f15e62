"""What each MuJoCo task observes and rewards: one set of formulas for one copy and for many.

The standard rewards are those of gymnasium's -v5 tasks; the preference rewards are those of rl-teacher
for Christiano et al. (2017): no torque penalty, and a height term in place of termination.
Every function takes and gives arrays with the copies in front, (N, ...).
"""

from __future__ import annotations

import numpy as np

from envs.batch import Array
from envs.mujoco_spec import Fields, Motion, MujocoTask, draw_reacher, normal_speed_noise, uniform_noise


def _effort(actions: Array) -> Array:
    return np.sum(np.square(actions), axis=1)


def _root_x(fields: Fields) -> Array:
    return fields["qpos"][:, 0].copy()


def _flat(array: Array) -> Array:
    return array.reshape(len(array), -1)


# Hopper and Walker2d: qpos = x, z, pitch, joints.
def _observe_legged(fields: Fields) -> Array:
    return np.concatenate((fields["qpos"][:, 1:], np.clip(fields["qvel"], -10, 10)), axis=1)


def _hopper_healthy(fields: Fields) -> Array:
    qpos, qvel = fields["qpos"], fields["qvel"]
    bounded = (np.abs(qpos[:, 2:]) < 100).all(axis=1) & (np.abs(qvel) < 100).all(axis=1)
    return bounded & (qpos[:, 1] > 0.7) & (np.abs(qpos[:, 2]) < 0.2)


def _walker_healthy(fields: Fields) -> Array:
    z, pitch = fields["qpos"][:, 1], fields["qpos"][:, 2]
    return (z > 0.8) & (z < 2.0) & (np.abs(pitch) < 1.0)


_HOPPER = MujocoTask(
    "Hopper-v5",
    _observe_legged,
    reward=lambda m: m.velocity + _hopper_healthy(m.fields) * 1.0 - 1e-3 * _effort(m.actions),
    preference_reward=lambda m: m.velocity + _hopper_healthy(m.fields) * 1.0 + (m.height(1) - 1.0),
    draw=uniform_noise(5e-3),
    healthy=_hopper_healthy,
    position=_root_x,
)
_WALKER2D = MujocoTask(
    "Walker2d-v5",
    _observe_legged,
    reward=lambda m: m.velocity + _walker_healthy(m.fields) * 1.0 - 1e-3 * _effort(m.actions),
    preference_reward=lambda m: m.velocity + _walker_healthy(m.fields) * 1.0 + (m.height(1) - 2.0),
    draw=uniform_noise(5e-3),
    healthy=_walker_healthy,
    position=_root_x,
)


def _observe_backflip(fields: Fields) -> Array:
    """Hopper's observation with (sin, cos) for the pitch, which else grows with every flip."""
    qpos, pitch = fields["qpos"], fields["qpos"][:, 2:3]
    speed = np.clip(fields["qvel"], -10, 10)
    return np.concatenate((qpos[:, 1:2], np.sin(pitch), np.cos(pitch), qpos[:, 3:], speed), axis=1)


def _backflip_teacher(motion: Motion) -> Array:
    """The hand-made reward that OpenAI published beside the paper, as a scripted teacher.

    The backward pitch rate (rad/s) pays, the more the higher the body is, the more work the joints do
    and the faster the body slides backwards. Christiano et al. 2017, 3.2, used people instead.
    """
    spin, slide = -motion.qvel[:, 2], -motion.qvel[:, 0]
    work = np.sum(motion.actions * np.clip(motion.qvel[:, 3:], -10.0, 10.0), axis=1)
    return spin * (1.0 + 0.3 * motion.height(1) + 0.1 * work + 0.05 * slide)


def full_rotations(qpos: Array) -> Array:
    """(N,) full backward turns of Hopper's torso, 0 unless it is upright now.

    Upright is what gymnasium calls healthy: 0.7 m high and within 0.2 rad. The pitch is unwrapped.
    """
    pitch = qpos[:, 2]
    turns = np.round(-pitch / (2 * np.pi))
    upright = (np.abs(pitch + 2 * np.pi * turns) < 0.2) & (qpos[:, 1] > 0.7)
    return np.where(upright, np.maximum(turns, 0.0), 0.0)


_HOPPER_BACKFLIP = MujocoTask(
    "Hopper-v5",
    _observe_backflip,
    reward=_backflip_teacher,
    preference_reward=_backflip_teacher,
    draw=uniform_noise(5e-3),
    position=_root_x,
    own_observation=True,
    count_rotations=True,
)


_HALF_CHEETAH = MujocoTask(
    "HalfCheetah-v5",
    observe=lambda f: np.concatenate((f["qpos"][:, 1:], f["qvel"]), axis=1),
    reward=lambda m: m.velocity - 0.1 * _effort(m.actions),
    preference_reward=lambda m: m.velocity,
    draw=normal_speed_noise(0.1),
    position=_root_x,
)


_SWIMMER = MujocoTask(
    "Swimmer-v5",
    observe=lambda f: np.concatenate((f["qpos"][:, 2:], f["qvel"]), axis=1),
    reward=lambda m: m.velocity - 1e-4 * _effort(m.actions),
    preference_reward=lambda m: m.velocity,
    draw=uniform_noise(0.1),
    position=_root_x,
)


def _ant_healthy(fields: Fields) -> Array:
    qpos, z = fields["qpos"], fields["qpos"][:, 2]
    finite = np.isfinite(qpos).all(axis=1) & np.isfinite(fields["qvel"]).all(axis=1)
    return finite & (z >= 0.2) & (z <= 1.0)


def _ant_contact(fields: Fields) -> Array:
    return np.clip(fields["cfrc_ext"], -1.0, 1.0)


def _ant_reward(motion: Motion) -> Array:
    contact_cost = 5e-4 * np.sum(np.square(_flat(_ant_contact(motion.fields))), axis=1)
    gain = motion.velocity + _ant_healthy(motion.fields) * 1.0
    return gain - (0.5 * _effort(motion.actions) + contact_cost)


_ANT = MujocoTask(
    "Ant-v5",
    observe=lambda f: np.concatenate((f["qpos"][:, 2:], f["qvel"], _flat(_ant_contact(f)[:, 1:])), axis=1),
    reward=_ant_reward,
    preference_reward=lambda m: m.velocity + (m.height(2) - 1.2),
    draw=normal_speed_noise(0.1),
    healthy=_ant_healthy,
    position=lambda f: f["xpos"][:, 1, 0].copy(),
    fields=("xpos", "cfrc_ext"),
    contact_wrenches=True,
)


# Humanoid: the velocity is that of the centre of mass, which is the world body's subtree.
def _humanoid_healthy(fields: Fields) -> Array:
    return (fields["qpos"][:, 2] > 1.0) & (fields["qpos"][:, 2] < 2.0)


def _observe_humanoid(fields: Fields) -> Array:
    bodies = [_flat(fields[name][:, 1:]) for name in ("cinert", "cvel")]
    forces = (fields["qfrc_actuator"][:, 6:], _flat(fields["cfrc_ext"][:, 1:]))
    return np.concatenate((fields["qpos"][:, 2:], fields["qvel"], *bodies, *forces), axis=1)


def _humanoid_reward(motion: Motion) -> Array:
    contact_cost = 5e-7 * np.sum(np.square(_flat(motion.fields["cfrc_ext"])), axis=1)
    # Here gymnasium squares MjData's ctrl, float64, instead of the float32 action.
    effort = 0.1 * _effort(motion.actions.astype(np.float64))
    gain = 1.25 * motion.velocity + _humanoid_healthy(motion.fields) * 5.0
    return gain - (effort + np.minimum(contact_cost, 10.0))


_HUMANOID = MujocoTask(
    "Humanoid-v5",
    _observe_humanoid,
    reward=_humanoid_reward,
    preference_reward=lambda m: 1.25 * m.velocity + 5.0 * (m.height(2) - 1.0),
    draw=uniform_noise(1e-2),
    healthy=_humanoid_healthy,
    position=lambda f: f["subtree_com"][:, 0, 0].copy(),
    fields=("subtree_com", "cinert", "cvel", "qfrc_actuator", "cfrc_ext"),
    contact_wrenches=True,
)


# Reacher: qpos = two joints, the target's x and y; bodies 3 and 4 are fingertip and target.
def _tip_to_target(fields: Fields) -> Array:
    return fields["xpos"][:, 3] - fields["xpos"][:, 4]


def _observe_reacher(fields: Fields) -> Array:
    qpos, joints = fields["qpos"], fields["qpos"][:, :2]
    reach = _tip_to_target(fields)[:, :2]
    return np.concatenate((np.cos(joints), np.sin(joints), qpos[:, 2:], fields["qvel"][:, :2], reach), axis=1)


def _closeness(motion: Motion) -> Array:
    return -np.linalg.norm(_tip_to_target(motion.fields), axis=1)


_REACHER = MujocoTask(
    "Reacher-v5",
    _observe_reacher,
    reward=lambda m: _closeness(m) - _effort(m.actions),
    preference_reward=_closeness,
    draw=draw_reacher,
    fields=("xpos",),
)


def _pendulum_healthy(fields: Fields) -> Array:
    return np.abs(fields["qpos"][:, 1]) <= 0.2


_INVERTED_PENDULUM = MujocoTask(
    "InvertedPendulum-v5",
    observe=lambda f: np.concatenate((f["qpos"], f["qvel"]), axis=1),
    reward=lambda m: _pendulum_healthy(m.fields) * 1.0,
    preference_reward=lambda m: _pendulum_healthy(m.fields) * 1.0 - np.square(m.qpos[:, 1]),
    draw=uniform_noise(0.01),
    healthy=_pendulum_healthy,
)


def _double_pendulum_healthy(fields: Fields) -> Array:
    return fields["site_xpos"][:, 0, 2] > 1


def _observe_double_pendulum(fields: Fields) -> Array:
    qpos, angles = fields["qpos"], fields["qpos"][:, 1:]
    speed = np.clip(fields["qvel"], -10, 10)
    force = np.clip(fields["qfrc_constraint"][:, :1], -10, 10)
    return np.concatenate((qpos[:, :1], np.sin(angles), np.cos(angles), speed, force), axis=1)


def _double_pendulum_reward(motion: Motion) -> Array:
    tip, speed = motion.fields["site_xpos"][:, 0], motion.qvel
    distance = 0.01 * np.square(tip[:, 0]) + np.square(tip[:, 2] - 2)
    swing = 1e-3 * np.square(speed[:, 1]) + 5e-3 * np.square(speed[:, 2])
    return _double_pendulum_healthy(motion.fields) * 10.0 - distance - swing


_INVERTED_DOUBLE_PENDULUM = MujocoTask(
    "InvertedDoublePendulum-v5",
    _observe_double_pendulum,
    reward=_double_pendulum_reward,
    preference_reward=lambda m: _double_pendulum_reward(m) + 10.0 * (m.fields["site_xpos"][:, 0, 2] - 1),
    draw=normal_speed_noise(0.1),
    healthy=_double_pendulum_healthy,
    fields=("site_xpos", "qfrc_constraint"),
)

TASKS: dict[str, MujocoTask] = {
    "Hopper": _HOPPER,
    "Walker2d": _WALKER2D,
    "HalfCheetah": _HALF_CHEETAH,
    "Swimmer": _SWIMMER,
    "Ant": _ANT,
    "Humanoid": _HUMANOID,
    "Reacher": _REACHER,
    "InvertedPendulum": _INVERTED_PENDULUM,
    "InvertedDoublePendulum": _INVERTED_DOUBLE_PENDULUM,
    "HopperBackflip": _HOPPER_BACKFLIP,
}
"""Every task by its name without the family."""
