"""The settings of the learnt reward; free of torch so that the command line starts fast."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RewardConfig:
    """The learnt reward and how it is fitted (Christiano et al. 2017, 2.2.3 and A)."""

    members: int = 3
    """networks in the ensemble"""
    hidden: tuple[int, ...] = (64, 64)
    """units of each hidden layer (states; the pixel network is the paper's)"""
    dropout: float = 0.5
    """share of units dropped after each convolution while training (pixels only)"""
    error_rate: float = 0.1
    """probability that an answer is uniformly random (2.2.3); 0 switches the error model off"""
    output_std: float = 1.0
    """standard deviation of the reward given to the policy (0.05 on Atari)"""
    learning_rate: float = 3e-4
    """Adam's step size (not in the paper)"""
    batch_size: int = 64
    """pairs in a minibatch (not in the paper)"""
    max_epochs: int = 50
    """passes over the labels in one fit, at the most"""
    initial_minibatches: int = 400
    """minibatches of the first fit, at the most"""
    update_minibatches: int = 60
    """minibatches of every later fit, at the most"""
    initial_l2: float = 1e-4
    """where each member's adaptive L2 coefficient starts (not in the paper)"""
    crop: float = 1.0
    """smallest share of a clip that a training step sees, cut at random (SURF); 1 is the whole clip"""
    device: str = "cpu"
    """where the networks run: cpu, cuda, or auto for cuda where there is one"""

    def __post_init__(self) -> None:
        for name in ("members", "batch_size", "max_epochs", "initial_minibatches", "update_minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"reward.{name} must be at least 1, got {getattr(self, name)}")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"reward.hidden must name layers of at least one unit, got {self.hidden}")
        for name in ("error_rate", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"reward.{name} must lie in [0, 1), got {getattr(self, name)}")
        for name in ("output_std", "learning_rate", "initial_l2"):
            if not getattr(self, name) > 0:
                raise ValueError(f"reward.{name} must be above 0, got {getattr(self, name)}")
        if not 0 < self.crop <= 1:
            raise ValueError(f"reward.crop must lie in (0, 1], got {self.crop}")
