"""How policies are trained: one configuration, and tuned values for every task.

Free of torch, so that the command line starts fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from envs.tasks import task_info

Algorithm = Literal["ppo", "a2c", "trpo", "sac"]


@dataclass(frozen=True)
class LearnerConfig:
    """A policy and how it is trained. On-policy: ppo, a2c, trpo; off-policy: sac."""

    algorithm: Algorithm = "ppo"
    n_envs: int = 8
    """copies of the environment stepped together"""
    n_steps: int = 256
    """steps of each copy between two updates (on-policy)"""
    batch_size: int = 256
    """samples of a gradient step (PPO, SAC; TRPO's value function)"""
    n_epochs: int = 10
    """passes over a rollout (PPO); over it for the value function (TRPO)"""
    learning_rate: float = 3e-4
    linear_decay: bool = False
    """the learning rate falls to 0 over the run"""
    gamma: float = 0.99
    """discount of a step"""
    gae_lambda: float = 0.95
    """bias against variance in the advantages (on-policy)"""
    clip_range: float = 0.2
    """PPO's limit to the change of an action's probability"""
    entropy: float = 0.0
    """bonus for randomness (PPO, A2C); SAC tunes its own, sb3-contrib's TRPO has none"""
    value_coefficient: float = 0.5
    """weight of the value loss (PPO, A2C)"""
    max_grad_norm: float = 0.5
    """limit to the gradient's length (PPO, A2C)"""
    target_kl: float = 0.01
    """TRPO's trust region"""
    hidden: tuple[int, ...] = (64, 64)
    """units of the hidden layers; images go through the network of Mnih 2015 instead"""
    activation: Literal["tanh", "relu"] = "tanh"
    log_std_init: float = 0.0
    """log of the initial standard deviation of continuous actions (on-policy)"""
    normalize_observation: bool = True
    """observations to mean 0 and std 1 by running statistics (on-policy, no images)"""
    normalize_reward: bool = False
    """rewards divided by the running std of the discounted return (on-policy)"""
    clip_reward: bool = False
    """rewards to [-1, 1], as is usual on Atari"""
    buffer_size: int = 300_000
    """transitions in the replay buffer (SAC)"""
    learning_starts: int = 5_000
    """random steps before the first update (SAC)"""
    gradient_steps: int = 1
    """updates for each step of all copies together; -1 is one for every copy (SAC)"""
    iteration_steps: int = 1_000
    """environment steps of one `Learner.iterate` (SAC)"""
    bf16_features: bool = False
    """the image network in bfloat16 (heads and loss stay float32): faster on CPUs that know it, far slower on
    others"""
    fused_optimizer: bool = True
    """torch's fused Adam: the same mathematics in fewer calls"""
    torch_threads: int = 1
    """threads of torch; more are slower for small networks, and far slower on a busy machine"""
    env_threads: int | None = None
    """threads that step the environments; None is one for each core"""
    device: str = "cpu"
    """"cpu", "cuda", or "auto" """

    def __post_init__(self) -> None:
        for name in ("n_envs", "n_steps", "batch_size", "n_epochs", "buffer_size", "iteration_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must lie in (0, 1], got {self.gamma}")
        if self.algorithm == "sac" and (self.normalize_observation or self.normalize_reward):
            raise ValueError(
                "sac keeps old transitions, so its inputs must not change scale: "
                "set normalize_observation and normalize_reward to false"
            )
        if self.algorithm == "ppo" and self.n_envs * self.n_steps < 2:
            raise ValueError("ppo needs at least 2 samples in a rollout, raise n_steps")


@dataclass(frozen=True)
class RlConfig:
    """One run of `surefoot train rl`: a policy on the true reward."""

    env: str = "mujoco:Hopper"
    """environment, as `surefoot envs` lists them"""
    steps: int = 160_000
    """environment steps of the learner, over all copies"""
    seed: int = 0
    preferences: bool = True
    """the preference variant with its hidden reward shown: the bound for a learnt reward"""
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    evaluations: int = 10
    """evaluations of the policy over the run"""
    evaluation_episodes: int = 10
    final_episodes: int = 50
    """episodes of the evaluation that the result is quoted from"""
    checkpoints: int = 8
    """checkpoints over the run"""
    log_rows: int = 200
    """rows of training metrics over the run, at the most"""

    def __post_init__(self) -> None:
        for name in ("steps", "evaluation_episodes", "final_episodes", "log_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("evaluations", "checkpoints", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")


PPO_CONTROL = LearnerConfig(learning_rate=1e-3, linear_decay=True, normalize_reward=True)
"""MuJoCo tasks. Minibatches of 256 instead of 64; bench_end_to_end.py shows speed and learning curves."""

PPO_BALANCE = LearnerConfig(
    batch_size=512,
    n_epochs=20,
    learning_rate=4e-4,
    gamma=0.995,
    gae_lambda=0.98,
    clip_range=0.1,
    entropy=0.001,
    value_coefficient=0.2,
    max_grad_norm=0.9,
    activation="relu",
    normalize_reward=True,
)
"""Tasks that punish haste: smaller steps, more passes, a longer horizon."""

PPO_HOPPER = replace(PPO_CONTROL, linear_decay=False, activation="relu")

PPO_CHEETAH = replace(
    PPO_CONTROL, learning_rate=7e-4, gamma=0.98, gae_lambda=0.92, activation="relu", log_std_init=-1.0
)
"""Little noise from the start, a short horizon."""

PPO_PENDULUM = replace(PPO_CONTROL, gamma=0.95, linear_decay=False, entropy=0.01)
"""The bonus keeps exploring while the learnt reward still moves (Christiano 2017, A.1): four seeds that
failed on 100 labels without it did not with it. Others still do."""

SAC_CONTROL = LearnerConfig(
    algorithm="sac",
    n_envs=4,
    batch_size=256,
    hidden=(256, 256),
    activation="relu",
    learning_starts=4_000,
    gradient_steps=2,
    normalize_observation=False,
)

TRPO_CONTROL = LearnerConfig(
    algorithm="trpo", n_envs=8, n_steps=256, batch_size=256, gamma=0.995, gae_lambda=0.97, learning_rate=1e-3
)
"""Discount and lambda of Christiano 2017, A.1; its entropy bonus has no counterpart in sb3-contrib."""

A2C_ATARI = LearnerConfig(
    algorithm="a2c",
    n_envs=16,
    n_steps=5,
    learning_rate=7e-4,
    linear_decay=True,
    gae_lambda=1.0,
    entropy=0.01,
    normalize_observation=False,
    clip_reward=True,
)
"""Christiano 2017, A.2: synchronous A3C with 16 workers and RMSProp."""

PPO_REACHER = replace(PPO_CONTROL, gamma=0.95, log_std_init=-2.0)
"""Hardly any noise from the start: an arm that is thrown about learns to spin, and stays with it. Better
than PPO_BALANCE on 350 labels, worse on 700 and on the true reward."""

A2C_PIXEL = replace(A2C_ATARI, n_steps=10, learning_rate=1.4e-3, gamma=0.95, clip_reward=False)
"""Small tasks seen as pictures: what an action does shows within a second."""

PPO_ATARI = LearnerConfig(
    n_steps=128,
    batch_size=256,
    n_epochs=4,
    learning_rate=2.5e-4,
    linear_decay=True,
    clip_range=0.1,
    entropy=0.01,
    normalize_observation=False,
    clip_reward=True,
)

_TASKS: dict[tuple[str, Algorithm], LearnerConfig] = {
    ("classic:Pendulum", "ppo"): PPO_PENDULUM,
    ("mujoco:HalfCheetah", "ppo"): PPO_CHEETAH,
    ("mujoco:Hopper", "ppo"): PPO_HOPPER,
    ("mujoco:HopperBackflip", "ppo"): PPO_BALANCE,
    ("mujoco:Walker2d", "ppo"): PPO_HOPPER,
    ("mujoco:Reacher", "ppo"): PPO_REACHER,
}
"""what differs from the family's values"""

_FAMILIES: dict[str, dict[Algorithm, LearnerConfig]] = {
    "mujoco": {"ppo": PPO_CONTROL, "trpo": TRPO_CONTROL, "sac": SAC_CONTROL},
    "classic": {"ppo": PPO_CONTROL, "trpo": TRPO_CONTROL, "sac": SAC_CONTROL},
    "pixel": {"a2c": A2C_PIXEL, "ppo": replace(PPO_ATARI, clip_reward=False)},
    "atari": {"a2c": A2C_ATARI, "ppo": PPO_ATARI},
}
"""the first is what "auto" takes"""


def default_learner(env_name: str, algorithm: Algorithm | Literal["auto"] = "auto") -> LearnerConfig:
    """Values that learn on an environment. Raises ValueError for an algorithm that does not fit it."""
    choices = _FAMILIES[task_info(env_name).family]
    chosen = next(iter(choices)) if algorithm == "auto" else algorithm
    if chosen not in choices:
        raise ValueError(f"{env_name} is trained with {', '.join(choices)} or auto, not {algorithm!r}")
    return _TASKS.get((env_name, chosen), choices[chosen])


_STEPS: dict[str, int] = {
    "classic:Pendulum": 122_880,
    "pixel:MovingDot": 100_000,
    "mujoco:Reacher": 200_000,
    "mujoco:HalfCheetah": 500_000,
    "mujoco:HopperBackflip": 600_000,
}
_FAMILY_STEPS = {"mujoco": 160_000, "classic": 100_000, "pixel": 100_000, "atari": 10_000_000}


def default_steps(env_name: str) -> int:
    """Environment steps after which a policy has learnt something worth looking at."""
    return _STEPS.get(env_name, _FAMILY_STEPS[task_info(env_name).family])
