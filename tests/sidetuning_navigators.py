"""Navigators that always do the same, as files that a robot is given. For tests."""

from __future__ import annotations

from pathlib import Path

import torch

from agents.sidetuning.base_config import BaseNetwork
from agents.sidetuning.frozen import FrozenBase
from agents.sidetuning.navigation_config import NAVIGATORS
from agents.sidetuning.navigator import make_policy
from agents.sidetuning.policy_file import write_policy
from agents.sidetuning.sb3_export import export_sb3
from agents.sidetuning.visual_base import VisualBase
from envs.pointnav import PointNav, PointNavConfig


def write_navigators(
    path: Path, actions: dict[str, int], size: tuple[int, int] = (24, 32), seed: int = 0
) -> Path:
    """One base; {adapter: what it always does}, 0 stop, 1 forward, 2 left, 3 right."""
    torch.manual_seed(seed)
    height, width = size
    base = FrozenBase(VisualBase(BaseNetwork(*size, (8, 8, 8), 8)))
    nav = PointNav(PointNavConfig("train", (0,), width, height, trail=True), 2, 0)
    policies = {}
    for name, action in actions.items():
        policy = make_policy(nav.observation_space, nav.action_space, base, NAVIGATORS["features"], 8, 1e-3)
        with torch.no_grad():
            policy.action_net.weight.zero_()
            policy.action_net.bias.copy_(torch.nn.functional.one_hot(torch.tensor(action), 4).float())
        policies[name] = policy
    write_policy(path, export_sb3(policies, nav.reset())[0])
    return path
