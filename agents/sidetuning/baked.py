"""The base's outputs baked into observations, so that learning epochs never run the base."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import (
    is_image_space,
    is_image_space_channels_first,
    preprocess_obs,
)
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from torch import Tensor

from agents.sidetuning.base import BaseOutputs, run_base
from agents.sidetuning.config import SideError
from agents.sidetuning.frozen import FrozenBase
from agents.sidetuning.policy_file import FEATURES, tap_name
from envs.batch import Array
from envs.spaces import PLAIN


class BakedBaseVecEnv(VecEnvWrapper):
    """Adds the base's outputs to every observation: one run of the base a frame, however often it is learnt.

    base_input: the sensor that the base reads, where observations are a Dict. taps: modules that a ladder
    reads. dtype: of what is kept; float16 halves the memory and rounds to 3 digits. Images come channels
    first.
    """

    def __init__(
        self,
        venv: VecEnv,
        base: FrozenBase,
        base_input: str = PLAIN,
        taps: tuple[str, ...] = (),
        dtype: type[np.floating[Any]] = np.float32,
    ) -> None:
        self.base, self.base_input, self.taps, self.dtype = base, base_input, taps, dtype
        self._plain = not isinstance(venv.observation_space, spaces.Dict)
        known = sensor_spaces(venv.observation_space)
        if base_input not in known:
            raise SideError(f"no sensor {base_input!r} for the base: there are {', '.join(known)}")
        self._image = known[base_input]
        if is_image_space(self._image) and not is_image_space_channels_first(self._image):
            raise SideError(f"images must come channels first, {base_input} is {self._image.shape}")
        outputs = self._bake(np.zeros((1, *self._image.shape), self._image.dtype))
        baked = {name: spaces.Box(-np.inf, np.inf, x.shape[1:], dtype) for name, x in outputs.items()}
        super().__init__(venv, spaces.Dict({**known, **baked}))

    def reset(self) -> Any:
        return self._with_base(self.venv.reset())

    def step_wait(self) -> Any:
        observations, rewards, dones, infos = self.venv.step_wait()
        ended = [info for info in infos if info.get("terminal_observation") is not None]
        if ended:
            last = [info["terminal_observation"] for info in ended]
            outputs = self._bake(np.stack([self._named(one)[self.base_input] for one in last]))
            for row, (info, one) in enumerate(zip(ended, last, strict=True)):
                info["terminal_observation"] = {
                    **self._named(one),
                    **{name: x[row] for name, x in outputs.items()},
                }
        return self._with_base(observations), rewards, dones, infos

    def _with_base(self, observations: Any) -> dict[str, Array]:
        named = self._named(observations)
        return {**named, **self._bake(named[self.base_input])}

    def _named(self, observations: Any) -> dict[str, Array]:
        return {PLAIN: observations} if self._plain else dict(observations)

    def _bake(self, images: Array) -> dict[str, Array]:
        module = self.base.module
        inputs = prepared(self._image, images).to(next(module.parameters()).device)
        outputs = run_base(module, inputs, self.taps)
        named = {FEATURES: outputs.features, **{tap_name(tap): x for tap, x in outputs.taps.items()}}
        return {name: x.cpu().numpy().astype(self.dtype) for name, x in named.items()}


def baked_outputs(observations: Any) -> BaseOutputs | None:
    """The base's outputs among observations, if they are there."""
    if FEATURES not in observations:
        return None
    prefix = tap_name("")
    taps = {name[len(prefix) :]: x for name, x in observations.items() if name.startswith(prefix)}
    return BaseOutputs(observations[FEATURES], taps)


def sensor_spaces(space: spaces.Space[Any]) -> dict[str, spaces.Space[Any]]:
    """Of an observation space, without what was baked."""
    if not isinstance(space, spaces.Dict):
        return {PLAIN: space}
    baked = tap_name("")
    return {name: inner for name, inner in space.spaces.items() if not name.startswith(baked)}


def zeros(space: spaces.Space[Any]) -> Tensor:
    """One row, prepared."""
    return prepared(space, np.zeros((1, *(space.shape or ())), space.dtype))


def prepared(space: spaces.Space[Any], values: Array) -> Tensor:
    """As a policy prepares observations: images to [0, 1], all else to floats."""
    tensor = preprocess_obs(torch.as_tensor(values), space)
    assert isinstance(tensor, Tensor)
    return tensor
