"""From policies of stable-baselines3 beside one base to the file that a robot runs, behind the same gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import Tensor, nn

from agents.sidetuning.baked import sensor_spaces
from agents.sidetuning.base import run_base
from agents.sidetuning.config import SideError
from agents.sidetuning.extractor import SideTunedExtractor
from agents.sidetuning.graphs import Decider, assemble, compare
from agents.sidetuning.policy_file import FEATURES, PolicyFile, tap_name


class PolicyDecider(nn.Module):
    """A policy from the robot's own sensors and the base's outputs to action logits or means."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        extractor = policy.features_extractor
        if not isinstance(extractor, SideTunedExtractor):
            raise SideError(
                f"the policy has a {type(extractor).__name__}: train it with a SideTunedExtractor"
            )
        self.policy, self.vectors = policy, tuple(extractor.vectors)
        self.encoder = Decider(extractor.model, "policy")
        self.spaces = sensor_spaces(policy.observation_space)
        self.taps, self.reads_base = self.encoder.taps, self.encoder.reads_base
        self.inputs = (*self.spaces, *(name for name in self.encoder.inputs if name not in self.spaces))

    def forward(self, *tensors: Tensor) -> Tensor:
        given = dict(zip(self.inputs, tensors, strict=True))
        for name, space in self.spaces.items():
            given[name] = preprocess_obs(given[name], space)
        features = self.encoder(*(given[name] for name in self.encoder.inputs))
        features = torch.cat([features, *(given[name] for name in self.vectors)], 1)
        return self.policy.action_net(self.policy.mlp_extractor.forward_actor(features))


def export_sb3(
    policies: Mapping[str, ActorCriticPolicy], observations: Mapping[str, np.ndarray]
) -> tuple[PolicyFile, float]:
    """A policy file with an adapter a policy, the first of which begins, and how far it is from them.

    observations: (N, ...) of every sensor, raw, on which the gate compares. Raises ParityError, and SideError
    for policies of different bases or spaces.
    """
    if not policies:
        raise SideError("there is no policy to export")
    parts = {name: PolicyDecider(policy) for name, policy in policies.items()}
    first = next(iter(parts.values()))
    model = first.encoder.model
    for name, part in parts.items():
        _expect_alike(name, part, first)
    zeros = {
        name: torch.from_numpy(np.zeros((1, *space.shape), space.dtype))
        for name, space in first.spaces.items()
    }
    image = first.spaces[model.base_input]
    training = {name: policy.training for name, policy in policies.items()}
    try:
        policy_file = assemble(
            model.base,
            parts,
            zeros,
            model.base_input,
            first.policy.action_space,
            next(iter(parts)),
            lambda x: preprocess_obs(x, image),
        )
        for policy in policies.values():
            policy.set_training_mode(False)
        trained = {name: _outputs(part, observations) for name, part in parts.items()}
    finally:
        for name, policy in policies.items():
            policy.set_training_mode(training[name])
    return policy_file, compare(policy_file, trained, observations)


def _outputs(part: PolicyDecider, observations: Mapping[str, np.ndarray]) -> np.ndarray:
    """What the policy itself gives, by its own way of preparing and extracting."""
    policy, model = part.policy, part.encoder.model
    known: Any = policy.observation_space
    tensors: dict[str, Any] = {name: torch.from_numpy(x) for name, x in observations.items()}
    if FEATURES in getattr(known, "spaces", {}):
        image = preprocess_obs(tensors[model.base_input], part.spaces[model.base_input])
        taps = tuple(
            name.removeprefix(tap_name("")) for name in known.spaces if name.startswith(tap_name(""))
        )
        outputs = run_base(model.base, image, tuple(tap for tap in taps if tap_name(tap) != FEATURES))
        tensors |= {FEATURES: outputs.features, **{tap_name(tap): x for tap, x in outputs.taps.items()}}
    with torch.no_grad():
        given = tensors if hasattr(known, "spaces") else next(iter(tensors.values()))
        latent = policy.mlp_extractor.forward_actor(policy.extract_features(given))
        return policy.action_net(latent).numpy()


def _expect_alike(name: str, part: PolicyDecider, first: PolicyDecider) -> None:
    ours, theirs = part.encoder.model, first.encoder.model
    for what, mine, other in (
        ("sensors", part.spaces, first.spaces),
        ("actions", part.policy.action_space, first.policy.action_space),
        ("base", ours.base_fingerprint(), theirs.base_fingerprint()),
    ):
        if mine != other:
            raise SideError(
                f"policy {name!r} has other {what} ({mine}) than the first ({other}): export it alone"
            )
