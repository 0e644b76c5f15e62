"""One navigator: base, world, method, data, training; torch-free, so that a command line can show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from agents.sidetuning.config import (
    METHODS,
    AdapterConfig,
    Alpha,
    AnyConfig,
    LoraConfig,
    SideConfig,
    SideError,
)
from envs.pointnav import PointNavConfig
from envs.pointnav_rooms import WORLDS
from envs.rover.worlds import Split

TRIPS_FILE = "trips.json"
"""in a run's folder: the ways of some test trips"""
SMALL = SideConfig(width=7)
"""3,600 parameters beside the default base's 44,360"""
NAVIGATORS: Mapping[str, AnyConfig] = MappingProxyType(
    {
        **{name: METHODS[name] for name in ("blind", "features", "scratch", "finetune")},
        "side": SMALL,
        "side-distilled": replace(SMALL, init="distilled"),
        "side-copy": SideConfig(side="base", init="copy"),
        "side-zero": replace(SMALL, init="zero", merge="sum"),
        "side-fixed": replace(SMALL, alpha=Alpha.fixed(0.5)),
        "side-scheduled": replace(SMALL, alpha=Alpha.hyperbolic(200)),
        "side-mlp": replace(SMALL, merge="mlp"),
        "side-film": replace(SMALL, merge="film"),
        "side-product": replace(SMALL, merge="product"),
        "side-only": replace(SMALL, merge="side_only"),
        "ladder": SideConfig(side="none", merge="ladder", width=8),
        "lora": LoraConfig(rank=4),
        "adapter": AdapterConfig(bottleneck=8),
    }
)
"""side-zero begins as the base exactly; side-copy has a side as large as the base"""


@dataclass(frozen=True)
class PpoConfig:
    """Reinforcement learning by stable-baselines3."""

    steps: int = 200_000
    """of all environments together"""
    environments: int = 8
    rollout: int = 128
    """steps of each environment between two updates"""
    epochs: int = 4
    batch_size: int = 128
    learning_rate: float = 1e-3
    gamma: float = 0.98
    entropy: float = 0.005
    value: float = 0.02
    """weight of the value's loss: arriving pays 10, and at the usual 0.5 its gradients drown the actor's"""
    clip: float = 0.2

    def __post_init__(self) -> None:
        if min(self.steps, self.environments, self.rollout, self.epochs, self.batch_size) < 1:
            raise SideError("PPO needs steps, environments, rollout, epochs and batch_size >= 1")

    @property
    def updates(self) -> int:
        return max(1, self.steps // (self.environments * self.rollout))


@dataclass(frozen=True)
class NavigationConfig:
    """A navigator beside a frozen base, by imitation ("bc") or reinforcement ("ppo")."""

    base: str
    """folder of `surefoot train base`"""
    world: str = "strange"
    """kind of rooms, of envs.pointnav_rooms.WORLDS"""
    method: str = "side"
    """of NAVIGATORS"""
    how: Literal["bc", "ppo"] = "bc"
    demos: int = 60
    """ways of the shortest-path expert to learn from"""
    demo_noise: float = 0.15
    """share of steps in which another action is taken than the expert says, to see what it then does"""
    demo_seed: int = 0
    """which ways; with fewer of them, the first"""
    seed: int = 0
    updates: int = 1_500
    batch_size: int = 64
    learning_rate: float = 2e-3
    """falls to 0 along a cosine"""
    weight_decay: float = 0.0
    holdout: float = 0.15
    """share of the demonstrations that is not learnt from but measured on"""
    keep: Literal["best", "last"] = "last"
    """which weights: the last, or those of the least hold-out loss at an evaluation. The loss grows with a
    policy's certainty long before it drives worse: the last arrived more often in every trial"""
    hidden: int = 64
    """units of the layer between features and actions"""
    ppo: PpoConfig = field(default_factory=PpoConfig)
    start_from: str = ""
    """ppo: a run by imitation to begin with"""
    trail: bool = True
    """whether the navigator sees where it has been"""
    stop: bool = True
    """whether the navigator must say that it is there; False: its episode ends at the goal by itself, as the
    authors' environment does"""
    simulator: Literal["plain", "habitat"] = "plain"
    """where PPO learns and the end is measured: our own world, or Habitat-Lab over it (`make habitat`).
    Demonstrations are always of our own world, which shows the same pictures: imitation is only measured in
    Habitat"""
    steps: int = 200
    """of an episode"""
    episodes: int = 40
    """trips in the test layouts that the end is measured on"""
    log_rows: int = 40
    evaluations: int = 10
    checkpoints: int = 4

    def __post_init__(self) -> None:
        if self.world not in WORLDS:
            raise SideError(f"there is no world {self.world!r}: choose from {', '.join(WORLDS)}")
        if self.method not in NAVIGATORS:
            raise SideError(f"there is no method {self.method!r}: choose from {', '.join(NAVIGATORS)}")
        if self.demos < 2 or not 0 < self.holdout < 1 or not 0 <= self.demo_noise < 1:
            raise SideError("imitation needs demos >= 2, holdout in (0, 1) and demo_noise in [0, 1)")
        if min(self.updates, self.batch_size, self.hidden, self.steps, self.episodes, self.evaluations) < 1:
            raise SideError("updates, batch_size, hidden, steps, episodes and evaluations must be >= 1")
        if not self.learning_rate > 0 or self.weight_decay < 0:
            raise SideError("learning_rate must be above 0 and weight_decay not below it")

    @property
    def name(self) -> str:
        """Of the adapter in the robot's file: several worlds' go into one robot."""
        return f"{self.world}-{self.method}"

    @property
    def adapter(self) -> AnyConfig:
        return NAVIGATORS[self.method]

    def rooms(self, split: Split, height: int, width: int) -> PointNavConfig:
        """The environment of a split, in images of this size."""
        shift = WORLDS[self.world]
        return PointNavConfig(
            split, width=width, height=height, shift=shift, stop=self.stop, trail=self.trail, steps=self.steps
        )
