"""stable-baselines3 models from a LearnerConfig, and all of their state."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import NatureCNN
from torch import Tensor, nn

from agents.checkpoint import CheckpointError
from agents.presets import LearnerConfig
from agents.vec_env import BatchVecEnv

COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_num_timesteps_at_start",
    "_current_progress_remaining",
)
REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class Bf16NatureCNN(NatureCNN):
    """The network of Mnih 2015 computed in bfloat16; its weights and its output are float32."""

    def forward(self, observations: Tensor) -> Tensor:
        with torch.autocast(observations.device.type, torch.bfloat16):
            features = super().forward(observations)
        return features.float()


def make_model(config: LearnerConfig, env: BatchVecEnv, seed: int) -> BaseAlgorithm:
    """A new model. Raises ValueError for a device that is not there."""
    policy, policy_kwargs = _policy(config, env)
    learning_rate = config.learning_rate
    common: dict[str, Any] = {
        "policy": policy,
        "env": env,
        "learning_rate": (lambda left: left * learning_rate) if config.linear_decay else learning_rate,
        "gamma": config.gamma,
        "policy_kwargs": policy_kwargs,
        "seed": seed,
        "device": _device(config.device),
    }
    if config.algorithm == "sac":
        return SAC(
            **common,
            buffer_size=config.buffer_size,
            learning_starts=config.learning_starts,
            batch_size=config.batch_size,
            gradient_steps=config.gradient_steps,
        )
    common |= {"n_steps": config.n_steps, "gae_lambda": config.gae_lambda}
    if config.algorithm == "trpo":
        return TRPO(
            **common,
            batch_size=config.batch_size,
            n_critic_updates=config.n_epochs,
            target_kl=config.target_kl,
        )
    common |= {
        "ent_coef": config.entropy,
        "vf_coef": config.value_coefficient,
        "max_grad_norm": config.max_grad_norm,
    }
    if config.algorithm == "a2c":
        return A2C(**common)
    return PPO(**common, batch_size=config.batch_size, n_epochs=config.n_epochs, clip_range=config.clip_range)


def _policy(config: LearnerConfig, env: BatchVecEnv) -> tuple[str, dict[str, Any]]:
    if is_image_space(env.observation_space):
        extractor = Bf16NatureCNN if config.bf16_features else NatureCNN
        if config.bf16_features and _device(config.device) == "cpu" and not has_bfloat16():
            warnings.warn(
                "this processor has no instructions for bfloat16 (AVX-512 BF16 or AMX): bf16_features makes "
                "training several times slower here; leave it off",
                stacklevel=2,
            )
        kwargs: dict[str, Any] = {"features_extractor_class": extractor, "net_arch": []}
        name = "CnnPolicy"
    else:
        activation = {"tanh": nn.Tanh, "relu": nn.ReLU}[config.activation]
        kwargs = {"net_arch": list(config.hidden), "activation_fn": activation}
        name = "MlpPolicy"
    if config.algorithm == "sac":
        kwargs["optimizer_kwargs"] = {"fused": config.fused_optimizer}
        return name, kwargs
    kwargs["log_std_init"] = config.log_std_init
    if config.algorithm != "a2c":  # A2C brings RMSProp
        kwargs["optimizer_kwargs"] = {"eps": 1e-5, "fused": config.fused_optimizer}
    return name, kwargs


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; emulated, a network is about 8 times slower."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(
            f"device {name!r} was asked for, this machine has none that torch sees: use cpu or auto"
        )
    return name


def model_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Weights, optimisers, counters, replay buffer. Tensors are copies."""
    state: dict[str, Any] = {
        "policy": {name: tensor.clone() for name, tensor in model.policy.state_dict().items()},
        "optimizers": {name: _optimizer_state(optimizer) for name, optimizer in _optimizers(model).items()},
        "counters": {name: getattr(model, name) for name in COUNTERS},
    }
    if isinstance(model, SAC):
        log_ent_coef = model.log_ent_coef
        state["log_ent_coef"] = None if log_ent_coef is None else log_ent_coef.detach().clone()
        assert model.replay_buffer is not None
        state["replay"] = _replay_state(model.replay_buffer)
    return state


def load_model_state(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    """Raises CheckpointError where the networks differ."""
    try:
        model.policy.load_state_dict(state["policy"])
    except RuntimeError as error:
        raise CheckpointError(
            f"the checkpoint holds another network ({' '.join(str(error).split())}): "
            "use the learner configuration that the run was started with"
        ) from error
    for name, optimizer in _optimizers(model).items():
        saved = state["optimizers"][name]
        slots = {int(key): value for key, value in saved["state"].items()}
        optimizer.load_state_dict({"state": slots, "param_groups": saved["param_groups"]})
    for name in COUNTERS:
        setattr(model, name, state["counters"][name])
    if isinstance(model, SAC):
        if model.log_ent_coef is not None:
            model.log_ent_coef.data.copy_(state["log_ent_coef"])
        assert model.replay_buffer is not None
        _load_replay(model.replay_buffer, state["replay"])


def _optimizers(model: BaseAlgorithm) -> dict[str, torch.optim.Optimizer]:
    if not isinstance(model, SAC):
        return {"policy": model.policy.optimizer}
    found = {"actor": model.actor.optimizer, "critic": model.critic.optimizer}
    if model.ent_coef_optimizer is not None:
        found["entropy"] = model.ent_coef_optimizer
    return found


def _optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    saved = optimizer.state_dict()
    slots = {
        str(key): {
            name: value.clone() if isinstance(value, Tensor) else value for name, value in slot.items()
        }
        for key, slot in saved["state"].items()
    }
    return {"state": slots, "param_groups": [dict(group) for group in saved["param_groups"]]}


def _replay_state(buffer: ReplayBuffer) -> dict[str, Any]:
    """Only the filled part."""
    filled = buffer.buffer_size if buffer.full else buffer.pos
    arrays = {name: np.array(getattr(buffer, name)[:filled]) for name in REPLAY}
    return {"pos": buffer.pos, "full": buffer.full, "size": buffer.buffer_size, **arrays}


def _load_replay(buffer: ReplayBuffer, state: Mapping[str, Any]) -> None:
    if state["size"] != buffer.buffer_size:
        raise CheckpointError(
            f"the checkpoint's replay buffer has room for {state['size']} steps, this learner's for "
            f"{buffer.buffer_size}: use the learner configuration that the run was started with"
        )
    buffer.pos, buffer.full = int(state["pos"]), bool(state["full"])
    for name in REPLAY:
        getattr(buffer, name)[: len(state[name])] = state[name]
