"""One on-policy rollout, with as little python and torch a step as it can be.

Gives what stable-baselines3's `collect_rollouts` gives. While acting, only what acting needs is
computed; values, time-limit bootstraps and a learnt reward follow in one batch each.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from agents.vec_env import BatchVecEnv
from envs.batch import Array, BatchStep

VALUE_BATCH = 512
"""observations in one pass of the value function after a rollout"""


class NumpyGaussianActor:
    """A small Gaussian MLP policy, frozen for one rollout: at 8 observations torch is mostly overhead."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        modules = [*policy.mlp_extractor.policy_net, policy.action_net]
        self._layers: list[Any] = []
        for module in modules:
            if isinstance(module, nn.Linear):
                weight = np.ascontiguousarray(module.weight.detach().cpu().numpy().T)
                self._layers.append((weight, module.bias.detach().cpu().numpy().copy()))
            else:
                self._layers.append(np.tanh if isinstance(module, nn.Tanh) else _relu)
        log_std = policy.log_std.detach().cpu().numpy()
        self._std = np.exp(log_std)
        self._log_norm = float(log_std.sum()) + 0.5 * len(log_std) * math.log(2 * math.pi)

    @staticmethod
    def fits(policy: ActorCriticPolicy) -> bool:
        hidden = list(getattr(policy.mlp_extractor, "policy_net", []))
        return (
            isinstance(policy.features_extractor, FlattenExtractor)
            and isinstance(policy.action_dist, DiagGaussianDistribution)
            and all(isinstance(module, (nn.Linear, nn.Tanh, nn.ReLU)) for module in hidden)
        )

    def __call__(self, observations: Array, noise: Array) -> tuple[Array, Array]:
        """observations (N, ...), standard normal noise (N, A): actions (N, A), log probabilities (N,)."""
        x = observations.reshape(len(observations), -1)
        for layer in self._layers:
            x = x @ layer[0] + layer[1] if isinstance(layer, tuple) else layer(x)
        return x + self._std * noise, -0.5 * np.square(noise).sum(axis=1) - self._log_norm


def collect(model: OnPolicyAlgorithm, env: BatchVecEnv) -> float:
    """Fills `model.rollout_buffer` with `model.n_steps` steps of every copy; gives their mean reward."""
    policy, buffer = model.policy, model.rollout_buffer
    policy.set_training_mode(False)
    buffer.reset()
    count, steps = env.num_envs, model.n_steps
    actor = NumpyGaussianActor(policy) if NumpyGaussianActor.fits(policy) else None
    noise = torch.randn(steps, *buffer.actions.shape[1:]).numpy() if actor else None
    learnt = callable(env.reward)
    raw: list[Array] = []
    executed: list[Array] = []
    ended = np.zeros((steps, count), dtype=bool)
    cut: list[tuple[int, BatchStep]] = []
    box = model.action_space if isinstance(model.action_space, spaces.Box) else None
    for index in range(steps):
        observations = model._last_obs
        if actor is not None and noise is not None:
            actions, buffer.log_probs[index] = actor(observations, noise[index])
            actions = actions.reshape(count, *model.action_space.shape)
        else:
            actions = _act(model, buffer, index)
        buffer.observations[index] = observations
        buffer.actions[index] = actions.reshape(count, -1)
        buffer.episode_starts[index] = model._last_episode_starts
        # np.clip with arrays for limits is three times the cost of these two
        clipped = actions if box is None else np.minimum(np.maximum(actions, box.low), box.high)
        if learnt:
            raw.append(env.raw)
            executed.append(clipped)
        step = env.advance(clipped)
        if not learnt:
            buffer.rewards[index] = env.given_reward(step)
        ended[index] = step.ended
        if step.final_observations is not None and (step.truncated & ~step.terminated).any():
            cut.append((index, step))
        model._last_obs, model._last_episode_starts = env.view(env.raw), ended[index].astype(np.float32)
    if learnt:
        buffer.rewards[:] = env.computed_reward(np.concatenate(raw), np.concatenate(executed)).reshape(
            steps, count
        )
    for index in range(steps):
        buffer.rewards[index] = env.shape_reward(buffer.rewards[index], ended[index])
    mean_reward = float(buffer.rewards.mean())
    model.num_timesteps += steps * count
    buffer.pos, buffer.full = steps, True
    if actor is not None:
        flat = buffer.observations.reshape(steps * count, *buffer.obs_shape)
        buffer.values[:] = _values(model, flat).reshape(steps, count)
    _bootstrap_time_limits(model, env, cut)
    last_values = torch.from_numpy(_values(model, model._last_obs))
    buffer.compute_returns_and_advantage(last_values=last_values, dones=ended[-1])
    return mean_reward


def _act(model: OnPolicyAlgorithm, buffer: RolloutBuffer, index: int) -> Array:
    """Any policy: through torch, its value in the same pass."""
    with torch.no_grad():
        observations = torch.as_tensor(model._last_obs, device=model.device)
        actions, values, log_probs = model.policy(observations)
    buffer.values[index] = values.cpu().numpy().reshape(-1)
    buffer.log_probs[index] = log_probs.cpu().numpy()
    return actions.cpu().numpy()


def _bootstrap_time_limits(
    model: OnPolicyAlgorithm, env: BatchVecEnv, cut: list[tuple[int, BatchStep]]
) -> None:
    """A time limit is no end of the task: what would have followed is added as its value."""
    rows, columns, finals = [], [], []
    for index, step in cut:
        assert step.final_observations is not None
        for column in np.flatnonzero(step.truncated & ~step.terminated):
            rows.append(index)
            columns.append(column)
            finals.append(step.final_observations[column])
    if finals:
        values = _values(model, env.view(np.stack(finals)))
        model.rollout_buffer.rewards[rows, columns] += model.gamma * values


def _values(model: OnPolicyAlgorithm, observations: Array) -> Array:
    """Observations (B, ...) as the learner sees them; values (B,)."""
    with torch.no_grad():
        batches = [
            model.policy.predict_values(
                torch.as_tensor(observations[start : start + VALUE_BATCH], device=model.device)
            )
            for start in range(0, len(observations), VALUE_BATCH)
        ]
        return torch.cat(batches).cpu().numpy().reshape(-1)


def _relu(x: Array) -> Array:
    return np.maximum(x, 0.0)
