"""Side-tuning inside stable-baselines3: features extractor, optimiser, log.

The base is in none of what a policy owns: not in its parameters, its state_dict or its files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.sidetuning.baked import baked_outputs, sensor_spaces, zeros
from agents.sidetuning.config import AnyConfig, SideError
from agents.sidetuning.frozen import FrozenBase
from agents.sidetuning.inputs import Inputs
from agents.sidetuning.model import SideModel
from envs.spaces import PLAIN


class SideTunedExtractor(BaseFeaturesExtractor):
    """Merged features of base and side, flattened, and after them every vector of the observation.

    base_input: the sensor that the base reads, where observations are a Dict. Where a `BakedBaseVecEnv` gives
    the base's outputs with the observations, the base is not run.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        base: FrozenBase,
        config: AnyConfig,
        base_input: str | None = None,
    ) -> None:
        if config.head:
            raise SideError("the policy is the head: leave config.head empty")
        known = sensor_spaces(observation_space)
        base_input = base_input or (PLAIN if PLAIN in known else None)
        if base_input not in known:
            raise SideError(f"which of {', '.join(known)} does the base read? Set base_input")
        read = {base_input, *getattr(config, "side_inputs", ())}
        example = {name: zeros(space) for name, space in known.items() if name in read}
        model = SideModel(base.module, example, base_input)
        model.add_adapter("policy", config)
        vectors = [
            name for name, space in known.items() if name != base_input and len(space.shape or ()) == 1
        ]
        size = math.prod(model.features) + sum(known[name].shape[0] for name in vectors)
        super().__init__(observation_space, size)
        self.model, self.vectors = model, vectors
        for parameter, multiplier in _multipliers(model):
            parameter.learning_rate_multiplier = multiplier

    def forward(self, observations: Inputs) -> Tensor:
        """(N, features_dim) of observations that the policy has preprocessed."""
        given = {PLAIN: observations} if isinstance(observations, Tensor) else observations
        features = self.model(given, baked_outputs(given)).flatten(1)
        return torch.cat([features, *(given[name] for name in self.vectors)], 1)

    def apply(self, function: Callable[[nn.Module], None]) -> SideTunedExtractor:
        """Does nothing: the policy would draw orthogonal weights over copies, zeros and distilled sides."""
        return self


class SideAdam(torch.optim.Adam):
    """Adam in which a side model's alpha keeps its own learning rate.

    As optimizer_class of a policy: stable-baselines3 gives all parameters at once, and sets one learning rate
    for all groups before every update. Alpha has no weight decay.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 1e-3, **options: Any) -> None:
        groups: dict[float, list[nn.Parameter]] = {}
        for parameter in params:
            groups.setdefault(getattr(parameter, "learning_rate_multiplier", 1.0), []).append(parameter)
        super().__init__(
            [{"params": members, "multiplier": by} for by, members in groups.items()], lr, **options
        )
        for group in self.param_groups:
            if group["multiplier"] != 1.0:
                group["weight_decay"] = 0.0

    def step(self, closure: Any = None) -> Any:
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] = group["lr"] * group["multiplier"]
        try:
            return super().step(closure)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate


class SideTuningCallback(BaseCallback):
    """Logs alpha and the ratio of norms at every rollout, and follows alpha's schedule: one update a rollout.

    Raises SideError at the end of training if the base was changed.
    """

    def _on_training_start(self) -> None:
        self._sha256 = self._model.base_fingerprint()

    def _on_rollout_start(self) -> None:
        # Not at a rollout's end: the policy that learns from a rollout must be the one that acted in it.
        if self.n_calls:
            self._model.advance()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        model = self._model
        alpha = model.alpha
        if alpha is not None:
            self.logger.record("side/alpha", alpha)
        encoder = model.task("policy").encoder
        if getattr(encoder, "side", None) is not None:
            policy = self.model.policy
            tensors = policy.obs_to_tensor(self.locals["new_obs"])[0]
            given = preprocess_obs(tensors, policy.observation_space)
            named = given if isinstance(given, dict) else {PLAIN: given}
            report = model.merge_report(named, baked_outputs(named))
            self.logger.record("side/norm_ratio", report["norm_ratio"])

    def _on_training_end(self) -> None:
        if self._model.base_fingerprint() != self._sha256:
            raise SideError("the base was changed in training: something else has it in an optimiser")

    @property
    def _model(self) -> SideModel:
        return self.model.policy.features_extractor.model


def _multipliers(model: SideModel) -> Iterator[tuple[nn.Parameter, float]]:
    groups = model.param_groups(1.0)
    for group in groups:
        for parameter in group["params"]:
            if group["lr"] != 1.0:
                yield parameter, group["lr"]
