"""The settings of a run of preference-based training; free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from agents.preferences.labelling.config import PeopleConfig
from agents.preferences.reward_config import RewardConfig
from agents.preferences.teachers import TeacherConfig
from agents.presets import LearnerConfig

Selector = Literal["random", "variance", "information_gain"]
Candidates = Literal["policy_aligned", "diverse", "mixed"]
Schedule = Literal["scaled", "paper", "linear", "offline"]


@dataclass(frozen=True)
class PreferenceConfig:
    """One run of `surefoot train preferences`."""

    env: str = "mujoco:Hopper"
    """environment, as `surefoot envs` lists them"""
    labels: int = 700
    """comparisons in the whole run, those it begins with among them"""
    recorded_labels: int = 0
    """answers of another run that this one begins with"""
    steps: int = 160_000
    """environment steps of the learner (steps of the random start come on top)"""
    seed: int = 0
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    people: PeopleConfig = field(default_factory=PeopleConfig)
    """used where the teacher is "people" """
    clip_steps: int = 0
    """steps of a clip; 0 takes the task's own (about 1.5 s of viewing)"""
    selector: Selector = "information_gain"
    """what scores candidate pairs"""
    candidates: Candidates = "mixed"
    """clips that pairs are drawn from: the newest, all, or half and half"""
    candidate_factor: int = 10
    """candidate pairs looked at for each pair asked"""
    schedule: Schedule = "scaled"
    """when labels are asked for: the paper's rates, their shape scaled to this run, evenly, or all first"""
    initial_share: float = 0.25
    """share of the labels asked before training, about clips of the random policy"""
    label_batch: int = 25
    """a fit waits for this many new answers (or the last ones)"""
    clip_capacity: int = 1_000
    """newest clips kept to choose from"""
    reference_steps: int = 10_000
    """newest steps over which each member's output is normalised"""
    asynchronous: bool = False
    """answers arrive while the policy trains; not bit-for-bit repeatable"""
    seconds_per_label: float = 0.0
    """how long the simulated teacher thinks, when asynchronous"""
    keep_last: int = 0
    """only the newest so many answers are trained on (the paper's ring of 3000 on Atari); 0 keeps all"""
    unsupervised_steps: int = 0
    """steps of state-entropy exploration before the first labels (PEBBLE; off-policy learners only)"""
    critic_updates: int = 100
    """updates of the fresh critic after the first labels, when there was such an exploration"""
    evaluations: int = 10
    """evaluations of the policy on the hidden true reward over the run"""
    evaluation_episodes: int = 10
    final_episodes: int = 50
    """episodes of the evaluation that the result is quoted from"""
    checkpoints: int = 8
    """checkpoints over the run"""
    log_rows: int = 100
    """rows of metrics over the run"""

    def __post_init__(self) -> None:
        if self.labels < 1:
            raise ValueError(
                f"labels must be at least 1, got {self.labels}: without answers no reward can be learnt"
            )
        if not 0 <= self.recorded_labels <= self.labels:
            raise ValueError(
                f"recorded_labels must lie between 0 and labels ({self.labels}), got {self.recorded_labels}"
            )
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not 0 < self.initial_share <= 1:
            raise ValueError(f"initial_share must lie in (0, 1], got {self.initial_share}")
        if self.teacher.kind == "people" and self.people.lead < self.label_batch:
            raise ValueError(
                f"people.lead ({self.people.lead}) must be at least label_batch ({self.label_batch}), "
                "or the policy would wait for answers that are not asked for yet"
            )
        if self.unsupervised_steps and self.learner.algorithm != "sac":
            raise ValueError("unsupervised_steps needs an off-policy learner: set learner.algorithm to sac")

    @property
    def answers_later(self) -> bool:
        """Whether the policy goes on while it waits for answers."""
        return self.asynchronous or self.teacher.kind == "people"
