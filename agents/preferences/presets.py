"""Settings of preference training that learn on a laptop, for each task."""

from __future__ import annotations

from typing import Literal

from agents.preferences.config import PreferenceConfig
from agents.preferences.reward_config import RewardConfig
from agents.preferences.teachers import TeacherConfig
from agents.presets import Algorithm, default_learner, default_steps
from envs.tasks import task_info


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
    # The paper scales the reward of Atari to 0.05, so that A2C's settings for clipped scores carry over.
    reward = RewardConfig(output_std=0.05) if family == "atari" else RewardConfig()
    return PreferenceConfig(
        env=env,
        labels=labels,
        steps=steps or default_steps(env),
        seed=seed,
        learner=default_learner(env, algorithm),
        reward=reward,
        teacher=TeacherConfig("mistake", error_rate=0.1),
        clip_capacity=3_000 if family in ("atari", "pixel") else 1_000,
    )
