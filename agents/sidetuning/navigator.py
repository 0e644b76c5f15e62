"""A navigator: stable-baselines3's policy over base and side, the same for imitation and reinforcement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from safetensors.torch import load_file
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy
from torch import Tensor, nn

from agents.sidetuning.baked import baked_outputs
from agents.sidetuning.base import BaseOutputs
from agents.sidetuning.config import AnyConfig, SideError
from agents.sidetuning.extractor import SideAdam, SideTunedExtractor
from agents.sidetuning.frozen import FrozenBase
from agents.sidetuning.model import SideModel
from agents.sidetuning.policy_file import FEATURES, tap_name
from agents.sidetuning.visual_base import images_to_float
from envs.batch import Array

IMAGE = "rgb"
"""the sensor that the base reads"""


def policy_options(base: FrozenBase, adapter: AnyConfig, hidden: int) -> dict[str, Any]:
    """Of stable-baselines3's policies: one extractor for actor and critic, a layer each, alpha's own rate."""
    return {
        "features_extractor_class": SideTunedExtractor,
        "features_extractor_kwargs": {"base": base, "config": adapter, "base_input": IMAGE},
        "optimizer_class": SideAdam,
        "net_arch": {"pi": [hidden], "vf": [hidden]},
        "activation_fn": nn.ReLU,
    }


def make_policy(
    space: spaces.Dict,
    actions: spaces.Space[Any],
    base: FrozenBase,
    adapter: AnyConfig,
    hidden: int,
    learning_rate: float,
) -> ActorCriticPolicy:
    """A new policy; weights are drawn from torch's global generator."""
    options = policy_options(base, adapter, hidden)
    return MultiInputActorCriticPolicy(space, actions, lambda _: learning_rate, **options)


def side_model(policy: ActorCriticPolicy) -> SideModel:
    """The base with the policy's adapter. Raises SideError for policies of another kind."""
    extractor = policy.features_extractor
    if not isinstance(extractor, SideTunedExtractor):
        raise SideError(f"the policy has a {type(extractor).__name__}, expected a SideTunedExtractor")
    return extractor.model


def prepared(sensors: Mapping[str, Array]) -> dict[str, Tensor]:
    """Observations as the policy takes them: images in [0, 1]."""
    return floats({name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in sensors.items()})


def floats(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same of tensors."""
    return {
        name: images_to_float(x) if x.dtype == torch.uint8 else x.to(torch.float32)
        for name, x in tensors.items()
    }


def logits(policy: ActorCriticPolicy, given: Mapping[str, Tensor]) -> Tensor:
    """(N, actions) of prepared observations; the base's outputs may be among them."""
    features = policy.features_extractor(given)
    return policy.action_net(policy.mlp_extractor.forward_actor(features))


@torch.no_grad()
def bake(policy: ActorCriticPolicy, images: Array, batch: int = 256) -> dict[str, Array]:
    """The base's outputs for all images, once; empty where the method does not use them as they are."""
    model = side_model(policy)
    encoder = model.task("policy").encoder
    if not (encoder.needs_base or encoder.taps):
        return {}
    parts: list[BaseOutputs] = []
    for first in range(0, len(images), batch):
        pictures = images_to_float(torch.from_numpy(images[first : first + batch]))
        parts.append(model._run_base({IMAGE: pictures}, encoder.taps))
    named = {FEATURES: [part.features for part in parts]}
    named |= {tap_name(tap): [part.taps[tap] for part in parts] for tap in encoder.taps}
    return {name: torch.cat(values).numpy() for name, values in named.items()}


@torch.no_grad()
def merge_metrics(policy: ActorCriticPolicy, given: Mapping[str, Tensor]) -> dict[str, float]:
    """alpha and the ratio of norms of side and base, where there are both."""
    model = side_model(policy)
    encoder = model.task("policy").encoder
    if getattr(encoder, "side", None) is None or not getattr(encoder, "needs_base", False):
        return {}
    report = model.merge_report(given, baked_outputs(given))
    return {f"side/{name}": value for name, value in report.items()}


def load_weights(policy: ActorCriticPolicy, file: Any) -> None:
    """Raises SideError for weights of another policy."""
    try:
        policy.load_state_dict(load_file(file))
    except (OSError, RuntimeError) as error:
        raise SideError(f"{file} does not hold this policy's weights: {error}") from error
