"""The learnt reward: its loss under people's answers, and the ensemble that predicts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from agents.preferences.folded import FoldedReward
from agents.preferences.inputs import Preprocess, RewardInputs
from agents.preferences.networks import SLOPE, PixelEnsemble, StateEnsemble
from agents.preferences.reward_config import RewardConfig
from envs.episode import Episode

__all__ = ["RewardConfig", "RewardEnsemble", "answer_loss", "preference_loss"]

Array = NDArray[Any]

LOGIT_LIMIT = 50.0
"""Differences of two clips' returns are clipped here: beyond it the answer is certain anyway."""


def preference_loss(left: Tensor, right: Tensor, target: Tensor, error_rate: float = 0.1) -> Tensor:
    """Cross-entropy of the answers under the predicted rewards (Christiano 2017, 2.2.3).

    left, right: predicted reward per step, (batch, steps).
    target: probability that the left clip is better, (batch,); 0.5 for a tie.
    error_rate: share of answers taken to be uniformly random.
    Returns the mean loss, ().
    """
    return answer_loss(left.sum(-1) - right.sum(-1), target, error_rate).mean()


def answer_loss(difference: Tensor, target: Tensor, error_rate: float | Tensor) -> Tensor:
    """Cross-entropy of each answer given the difference of the clips' returns, in the shape of `difference`.

    P(left) = (1 - error_rate) * sigmoid(difference) + error_rate / 2, in logarithms. With an error
    rate the gradient fades for answers the model firmly disbelieves, so that wrong ones do little harm.
    error_rate: of all answers, or (pairs,) of whoever gave each, every one above 0.
    """
    d = difference.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    log_left, log_right = F.logsigmoid(d), F.logsigmoid(-d)
    if isinstance(error_rate, Tensor):
        keep, chance = torch.log1p(-error_rate), torch.log(error_rate / 2)
        log_left = torch.logaddexp(log_left + keep, chance)
        log_right = torch.logaddexp(log_right + keep, chance)
    elif error_rate > 0:
        keep, chance = np.log1p(-error_rate), torch.full_like(d, np.log(error_rate / 2))
        log_left, log_right = (
            torch.logaddexp(log_left + keep, chance),
            torch.logaddexp(log_right + keep, chance),
        )
    return -(target * log_left + (1 - target) * log_right)


class RewardEnsemble:
    """K networks that predict a reward per step; what the policy gets is their normalised mean.

    observation_space, action_space: of one environment. seed: of the first weights and of the
    bootstrap. preprocess: the policy's own observation normaliser, if it has one.
    `version` counts the finished fits.
    """

    def __init__(
        self,
        observation_space: gymnasium.spaces.Space[Any],
        action_space: gymnasium.spaces.Space[Any],
        config: RewardConfig | None = None,
        seed: int = 0,
        preprocess: Preprocess | None = None,
    ) -> None:
        self.config = config = config or RewardConfig()
        self.inputs = RewardInputs(observation_space, action_space, preprocess)
        self.seed = seed
        self.version = 0
        self.device = _resolve_device(config.device)
        self.network = self._build_network().to(self.device).eval()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, fused=True)
        self.l2: Array = np.full(config.members, config.initial_l2)
        self.mean: Array = np.zeros(config.members)
        self.std: Array = np.ones(config.members)
        self._folded: FoldedReward | None = None

    def _build_network(self) -> StateEnsemble | PixelEnsemble:
        config, inputs = self.config, self.inputs
        generator = torch.Generator().manual_seed(self.seed)
        if inputs.pixels:
            return PixelEnsemble(inputs.observation_shape, config.members, config.dropout, generator)
        return StateEnsemble(inputs.size, config.members, config.hidden, generator)

    def reward(self, observations: Array, actions: Array) -> Array:
        """Rewards (N,) float32 for the policy: mean over members of their normalised outputs.

        observations: (N, ...), actions: (N, ...). Raises ValueError when a reward is not finite.
        """
        if self.inputs.pixels:
            scale, offset = self._normalisation()
            raw = self.member_rewards(observations, actions)
            rewards = (raw * scale[:, None] + offset[:, None]).mean(0).astype(np.float32)
        else:
            if self._folded is None:
                self._folded = self._fold()
            rewards = self._folded(self.inputs(observations, actions))
        if not np.isfinite(rewards).all():
            raise ValueError(
                "the reward ensemble gave a reward that is not finite: "
                "look for NaN in the environment's observations or actions"
            )
        return rewards

    def member_rewards(self, observations: Array, actions: Array) -> Array:
        """Each member's own output (K, N) float32, on the scale that the answers were fitted on."""
        rows = _rows_at_once(self.inputs.pixels)
        self.network.eval()
        parts = []
        with torch.no_grad():
            for start in range(0, len(observations), rows):
                part = slice(start, start + rows)
                inputs = torch.from_numpy(self.inputs(observations[part], actions[part]))
                parts.append(self.network(inputs.to(self.device)).cpu().numpy())
        return np.concatenate(parts, axis=1) if parts else np.zeros((self.config.members, 0), np.float32)

    def clip_returns(self, observations: Array, actions: Array) -> Array:
        """Each member's summed reward of each clip, (K, C).

        observations: (C, steps, ...), actions: (C, steps, ...).
        """
        clips, steps = observations.shape[:2]
        returns = np.zeros((self.config.members, clips), np.float32)
        at_once = max(1, _rows_at_once(self.inputs.pixels) // steps)
        for start in range(0, clips, at_once):
            # Reshaping copies stacked frames, so only a few clips at a time.
            obs, act = observations[start : start + at_once], actions[start : start + at_once]
            raw = self.member_rewards(obs.reshape(-1, *obs.shape[2:]), act.reshape(-1, *act.shape[2:]))
            returns[:, start : start + at_once] = raw.reshape(len(raw), -1, steps).sum(-1)
        return returns

    def predict_clips(self, clips: Sequence[Episode]) -> Array:
        """`clip_returns` of C clips of one length, (K, C)."""
        if not clips:
            return np.zeros((self.config.members, 0), np.float32)
        returns = [
            self.clip_returns(
                np.stack([clip.observations["observation"][: len(clip)] for clip in part]),
                np.stack([clip.actions for clip in part]),
            )
            for part in (clips[start : start + 64] for start in range(0, len(clips), 64))
        ]
        return np.concatenate(returns, axis=1)

    def set_reference(self, observations: Array, actions: Array) -> None:
        """Normalises every member to mean 0 and standard deviation config.output_std on these steps.

        Called after a fit with the steps visited last, and frozen until the next call. Members
        differ by an arbitrary scale and offset, so each is normalised before the mean is taken.
        """
        if len(observations) < 2:
            raise ValueError(f"normalising needs at least 2 steps, got {len(observations)}")
        raw = self.member_rewards(observations, actions).astype(np.float64)
        std = raw.std(1)
        self.mean, self.std = raw.mean(1), np.where(std > 1e-6, std, 1.0)
        self._folded = None

    def _normalisation(self) -> tuple[Array, Array]:
        scale = self.config.output_std / self.std
        return scale, -self.mean * scale

    def _fold(self) -> FoldedReward:
        scale, offset = self._normalisation()
        weights = [weight.detach().cpu().numpy() for weight in self.network.weights]
        biases = [bias.detach().cpu().numpy() for bias in self.network.biases]
        return FoldedReward(weights, biases, scale, offset, SLOPE)

    def finish_update(self) -> None:
        """Marks the weights as changed: called at the end of every fit."""
        self.version += 1
        self._folded = None

    def state_dict(self) -> dict[str, Any]:
        """Everything training and rewards depend on, as nested arrays and numbers."""
        moments = [self.optimizer.state.get(p, {}) for p in self.network.parameters()]
        return {
            "seed": self.seed,
            "version": self.version,
            "l2": self.l2.copy(),
            "mean": self.mean.copy(),
            "std": self.std.copy(),
            "network": {name: value.cpu().clone() for name, value in self.network.state_dict().items()},
            "optimizer": {
                str(index): {name: value.cpu().clone() for name, value in moment.items()}
                for index, moment in enumerate(moments)
                if moment
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes back to a state exactly. Raises ValueError when it belongs to other spaces or sizes."""
        ours = {name: tuple(value.shape) for name, value in self.network.state_dict().items()}
        theirs = {name: tuple(value.shape) for name, value in state["network"].items()}
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                raise ValueError(
                    f"the saved reward has {name} {theirs.get(name)}, this one needs {ours.get(name)}: "
                    "it was trained for other observation or action spaces, or another RewardConfig"
                )
        self.network.load_state_dict({name: _tensor(value) for name, value in state["network"].items()})
        self.optimizer.state.clear()
        for index, parameter in enumerate(self.network.parameters()):
            saved = state["optimizer"].get(str(index))
            if saved is not None:
                self.optimizer.state[parameter] = {k: _tensor(v).to(self.device) for k, v in saved.items()}
        self.seed, self.version = int(state["seed"]), int(state["version"])
        self.l2 = np.array(state["l2"], np.float64)
        self.mean, self.std = np.array(state["mean"], np.float64), np.array(state["std"], np.float64)
        self._folded = None


def _tensor(value: Any) -> Tensor:
    return torch.as_tensor(value).detach().clone()


def _rows_at_once(pixels: bool) -> int:
    """Rows a forward pass takes at once: few enough to stay in the processor's cache."""
    return 128 if pixels else 4096


def _resolve_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for and is absent: use device cpu or auto")
    return device
