"""Settings of preference training that learn on a laptop, for each task."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from agents.preferences.config import PreferenceConfig
from agents.preferences.reward_config import RewardConfig
from agents.preferences.teachers import TeacherConfig
from agents.presets import Algorithm, default_learner, default_steps
from envs.tasks import task_info

REWARD_OF_STATES = RewardConfig(members=5, learning_rate=1e-3, max_epochs=200, crop=0.7)
"""Five members on random windows of the clips: see the ablations for the paper's three on whole ones."""

REWARD_OF_PENDULUM = replace(REWARD_OF_STATES, error_rate=0.2)
"""The 10 % of answers that the simulated teacher flips are a uniform error of 20 %; the other tasks on
states keep the paper's 10 %, with which they were measured."""

REWARD_OF_PIXELS = RewardConfig(
    learning_rate=1e-3,
    batch_size=16,
    initial_minibatches=60,
    update_minibatches=5,
    crop=0.5,
    output_std=0.05,
)
"""The paper's scale of 0.05 lets A2C's settings for clipped scores carry over; few and small minibatches,
for each costs seconds on a CPU."""

REWARD_OF_MOVING_DOT = replace(REWARD_OF_PIXELS, output_std=0.2, error_rate=0.2)
"""output_std: about the spread of its true reward, which the learner's entropy bonus is tuned to.
error_rate: of the simulated teacher, as for Pendulum."""


def preference_config(
    env: str,
    *,
    labels: int = 700,
    steps: int = 0,
    seed: int = 0,
    algorithm: Algorithm | Literal["auto"] = "auto",
) -> PreferenceConfig:
    """The tuned configuration of a task; steps 0 takes the task's own. Raises UnknownEnvironmentError."""
    family = task_info(env).family
    rewards = {"classic": REWARD_OF_PENDULUM, "atari": REWARD_OF_PIXELS, "pixel": REWARD_OF_MOVING_DOT}
    return PreferenceConfig(
        env=env,
        labels=labels,
        steps=steps or default_steps(env),
        seed=seed,
        learner=default_learner(env, algorithm),
        reward=rewards.get(family, REWARD_OF_STATES),
        teacher=TeacherConfig("mistake", error_rate=0.1),
        label_batch=min(25, max(1, labels // 20)),
        clip_capacity=3_000 if family in ("atari", "pixel") else 1_000,
    )
