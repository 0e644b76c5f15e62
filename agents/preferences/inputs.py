"""What the reward networks see of an environment step, and the only way to make it.

The two-month bug of Rahtz (2018) was a policy that saw normalised observations beside a reward
network that did not. So training, rewards, query scores and relabelling all come through here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Preprocess = Callable[[Array], Array]


class RewardInputs:
    """Turns observations and actions into network inputs.

    State observations, Box (D,): preprocess(observation) joined with the action, float32; a
    discrete action is one-hot. Pixel observations, uint8 Box (stack, height, width): the stack as
    it is, without the action (Christiano et al. 2017, appendix A.2).
    preprocess: maps (N, D) observations to (N, D), such as the policy's own normaliser.
    Raises ValueError for spaces the networks have no form for.
    """

    def __init__(
        self,
        observation_space: gymnasium.spaces.Space[Any],
        action_space: gymnasium.spaces.Space[Any],
        preprocess: Preprocess | None = None,
    ) -> None:
        if not isinstance(observation_space, gymnasium.spaces.Box):
            raise ValueError(f"a reward needs a Box observation space, got {observation_space}")
        self.observation_shape = tuple(observation_space.shape)
        self.pixels = len(self.observation_shape) == 3 and observation_space.dtype == np.uint8
        if not self.pixels and len(self.observation_shape) != 1:
            raise ValueError(
                "a reward needs observations (D,) or uint8 (stack, height, width), "
                f"got {self.observation_shape} {observation_space.dtype}"
            )
        if self.pixels and self.observation_shape[0] > min(self.observation_shape[1:]):
            raise ValueError(
                f"pixel observations are (stack, height, width), got {self.observation_shape}: "
                "move the channel axis first"
            )
        if self.pixels and preprocess is not None:
            raise ValueError("preprocess is for state observations; pixels are only scaled to [0, 1]")
        self.preprocess = preprocess
        self._describe_actions(action_space)

    def _describe_actions(self, space: gymnasium.spaces.Space[Any]) -> None:
        self.choices = 0
        self.first_choice = 0
        if isinstance(space, gymnasium.spaces.Discrete):
            self.choices, self.first_choice = int(space.n), int(space.start)
            self.action_shape: tuple[int, ...] = ()
        elif isinstance(space, gymnasium.spaces.Box):
            self.action_shape = tuple(space.shape)
        else:
            raise ValueError(f"a reward needs a Box or Discrete action space, got {space}")

    @property
    def size(self) -> int:
        """Length of a state input; for pixels the number of stacked frames."""
        if self.pixels:
            return self.observation_shape[0]
        return self.observation_shape[0] + (self.choices or int(np.prod(self.action_shape)))

    def __call__(self, observations: Array, actions: Array) -> Array:
        """Network inputs (..., size) float32 for states, (..., stack, height, width) uint8 for pixels.

        observations: (..., *observation_shape); actions: (..., *action_shape).
        """
        lead = observations.shape[: observations.ndim - len(self.observation_shape)]
        if observations.shape[len(lead) :] != self.observation_shape:
            raise ValueError(
                f"expected observations (..., {self.observation_shape}), got {observations.shape}"
            )
        if self.pixels:
            return observations
        flat = observations.reshape(-1, *self.observation_shape)
        inputs = np.empty((len(flat), self.size), np.float32)
        width = self.observation_shape[0]
        inputs[:, :width] = flat if self.preprocess is None else self.preprocess(flat)
        if self.choices:
            chosen = np.asarray(actions).reshape(-1) - self.first_choice
            inputs[:, width:] = 0.0
            inputs[np.arange(len(flat)), width + chosen] = 1.0
        else:
            inputs[:, width:] = np.asarray(actions).reshape(len(flat), -1)
        return inputs.reshape(*lead, self.size)
