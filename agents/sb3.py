"""The only bridge to stable-baselines3: a learner that goes on bit for bit from its state."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from agents.checkpoint import CheckpointError
from agents.models import load_model_state, make_model, model_state
from agents.normalizer import ObservationNormalizer
from agents.presets import LearnerConfig
from agents.rollouts import collect
from agents.spaces import expect_space
from agents.vec_env import BatchVecEnv, EnvironmentFault, OnStep, RewardFunction
from envs.batch import Array, BatchEnv, StateUnavailableError
from envs.spaces import space_to_json

__all__ = ["BatchVecEnv", "EnvironmentFault", "Learner", "learner_env"]


def learner_env(
    config: LearnerConfig,
    env: BatchEnv,
    reward: Literal["env", "true"] | RewardFunction = "env",
    on_step: OnStep | None = None,
) -> BatchVecEnv:
    """The environments as a learner of this configuration wants to see them."""
    floating = isinstance(env.observation_space, spaces.Box) and env.observation_space.dtype.kind == "f"
    normalizer = None
    if config.normalize_observation and floating:
        normalizer = ObservationNormalizer(env.observation_space.shape or ())
    return BatchVecEnv(
        env,
        reward,
        normalizer,
        scale_reward=config.normalize_reward,
        on_step=on_step,
        gamma=config.gamma,
        clip_reward=config.clip_reward,
    )


class Learner:
    """A policy in training. `iterate` until `steps` reaches the total; `state_dict` whenever it pauses.

    Sets torch's number of threads and the global seeds (stable-baselines3 draws from them).
    """

    def __init__(self, config: LearnerConfig, env: BatchVecEnv, seed: int, total_steps: int) -> None:
        torch.set_num_threads(config.torch_threads)
        if env.normalizer is not None and config.algorithm == "sac":
            raise ValueError("sac keeps old transitions: give it an environment without a normaliser")
        self.config, self.env, self.seed, self.total_steps = config, env, seed, total_steps
        self.model = make_model(config, env, seed)
        if self.model.get_env() is not env:
            raise ValueError("images must come channels first, as (channels, height, width)")
        self.model.set_logger(Logger(None, []))
        self._callback: BaseCallback = CallbackList([])
        self._started = False
        self._env_seed: int | None = None

    @property
    def steps(self) -> int:
        """Environment steps taken, over all copies."""
        return int(self.model.num_timesteps)

    @property
    def is_on_policy(self) -> bool:
        return isinstance(self.model, OnPolicyAlgorithm)

    def start(self) -> None:
        """Begins the episodes. `iterate` does it when nobody did."""
        if not self._started:
            self._set_up()
            self.model._last_obs = self.env.restart(self.seed)

    def iterate(self) -> dict[str, float]:
        """One rollout and its update (SAC: about `iteration_steps` steps and theirs). Gives what happened."""
        self.start()
        reward = self._iterate_on_policy() if self.is_on_policy else self._iterate_off_policy()
        metrics = {name: float(value) for name, value in self.model.logger.name_to_value.items()}
        self.model.logger.dump()
        if "train/entropy_loss" in metrics:
            metrics["policy/entropy"] = -metrics.pop("train/entropy_loss")
        metrics["rollout/reward"] = reward
        episodes = self.env.take_episodes()
        metrics["rollout/episodes"] = float(len(episodes))
        if episodes:
            metrics["rollout/true_return"] = float(np.mean([value for value, _ in episodes]))
            metrics["rollout/length"] = float(np.mean([length for _, length in episodes]))
        return metrics

    def predict(self, raw: Array, deterministic: bool = True) -> Array:
        """Actions (N, ...) for raw observations (N, ...). Draws no random number when deterministic."""
        actions, _ = self.model.predict(self.env.view(raw), deterministic=deterministic)
        return np.asarray(actions)

    # -- off-policy -----------------------------------------------------------------------------

    def update(self, gradient_steps: int) -> None:
        """Updates from the replay buffer alone (SAC)."""
        if gradient_steps > 0:
            self._sac().train(gradient_steps=gradient_steps, batch_size=self.config.batch_size)

    def relabel(self, reward: Callable[[Array, Array], Array], batch: int = 8192) -> None:
        """Replaces all stored rewards by a function of observations and executed actions (SAC, PEBBLE)."""
        buffer = self._sac().replay_buffer
        assert buffer is not None
        filled = buffer.buffer_size if buffer.full else buffer.pos
        count = filled * self.env.num_envs
        observations = buffer.observations[:filled].reshape(count, *buffer.obs_shape)
        actions = self.model.policy.unscale_action(buffer.actions[:filled].reshape(count, -1))
        actions = actions.reshape(count, *self.env.action_space.shape)
        rewards = buffer.rewards[:filled].reshape(count)
        for start in range(0, count, batch):
            part = slice(start, start + batch)
            rewards[part] = reward(observations[part], actions[part])

    def reset_critic(self) -> None:
        """New critics and their optimiser, the actor kept (after unsupervised pre-training, PEBBLE)."""
        model, policy = self._sac(), self._sac().policy
        fresh = policy.make_critic(features_extractor=None)
        with torch.no_grad():
            for old, new in zip(model.critic.parameters(), fresh.parameters(), strict=True):
                old.copy_(new)
        model.critic_target.load_state_dict(model.critic.state_dict())
        model.critic.optimizer.state.clear()

    # -- state ----------------------------------------------------------------------------------

    def prepare_checkpoint(self) -> bool:
        """To be called before every checkpoint, by runs that were interrupted and by those that were not.

        Where the simulator cannot give its state, episodes begin anew here, from a seed made of the run's
        seed and the step, so that a resumed run still equals an uninterrupted one. True if that was done.
        """
        self.start()
        try:
            self.env.env.get_state()
            return False
        except StateUnavailableError:
            self._env_seed = int(np.random.SeedSequence([self.seed, self.steps]).generate_state(1)[0] >> 2)
            self.model._last_obs = self.env.restart(self._env_seed)
            self.model._last_episode_starts = np.ones(self.env.num_envs, dtype=np.float32)
            return True

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, as `save_checkpoint` takes it. Call `prepare_checkpoint` first."""
        try:
            env_state: dict[str, Any] | None = self.env.env.get_state()
        except StateUnavailableError:
            if self._env_seed is None:
                raise
            env_state = None
        return {
            "algorithm": self.config.algorithm,
            "spaces": {
                "observation": space_to_json(self.env.env.observation_space),
                "action": space_to_json(self.env.env.action_space),
            },
            "num_envs": self.env.num_envs,
            "model": model_state(self.model),
            "episode_starts": np.array(self.model._last_episode_starts),
            "env": {"state": env_state, "seed": self._env_seed, "view": self.env.state_dict()},
            "rng": _random_state(self.env.action_space),
        }

    def load_state_dict(self, state: Mapping[str, Any], source: str = "the checkpoint") -> None:
        """Goes back to a state. Raises CheckpointError when it is of other spaces or of another network."""
        here = {"algorithm": self.config.algorithm, "num_envs": self.env.num_envs}
        expect_space("observation", state["spaces"]["observation"], self.env.env.observation_space, source)
        expect_space("action", state["spaces"]["action"], self.env.env.action_space, source)
        for name, value in here.items():
            if state[name] != value:
                raise CheckpointError(
                    f"{source} has {name} {state[name]}, this learner {value}: use the run's own"
                )
        self._set_up()
        load_model_state(self.model, state["model"])
        saved = state["env"]
        self._env_seed = saved["seed"]
        if saved["state"] is None:
            raw = self.env.env.reset(self._env_seed)
        else:
            raw = self.env.env.set_state(saved["state"])
        self.env.load_state_dict(saved["view"], raw)
        self.model._last_obs = self.env.view(self.env.raw)
        self.model._last_episode_starts = np.array(state["episode_starts"])
        _set_random_state(state["rng"], self.env.action_space)

    # -- inside ---------------------------------------------------------------------------------

    def _set_up(self) -> None:
        """What stable-baselines3's `learn` does once, without its reset of the environments."""
        self.model._last_obs = np.zeros(0)
        self.model._last_episode_starts = np.ones(self.env.num_envs, dtype=np.float32)
        _, self._callback = self.model._setup_learn(self.total_steps, None, reset_num_timesteps=False)
        self._started = True

    def _iterate_on_policy(self) -> float:
        model = self.model
        reward = collect(model, self.env)
        model._update_current_progress_remaining(model.num_timesteps, self.total_steps)
        model.train()
        self.env.update_normalizer()
        model._last_obs = self.env.view(self.env.raw)
        return reward

    def _iterate_off_policy(self) -> float:
        model, goal = self._sac(), self.steps + self.config.iteration_steps
        buffer = model.replay_buffer
        assert buffer is not None
        rewards: list[float] = []
        while model.num_timesteps < goal:
            rollout = model.collect_rollouts(
                self.env,
                callback=self._callback,
                train_freq=model.train_freq,
                replay_buffer=buffer,
                learning_starts=model.learning_starts,
            )
            rewards.append(float(buffer.rewards[buffer.pos - 1].mean()))
            if model.num_timesteps > model.learning_starts:
                wanted = self.config.gradient_steps
                self.update(wanted if wanted >= 0 else rollout.episode_timesteps)
        return float(np.mean(rewards))

    def _sac(self) -> SAC:
        if not isinstance(self.model, SAC):
            raise TypeError(f"only sac has a replay buffer, this learner is {self.config.algorithm}")
        return self.model


def _random_state(action_space: spaces.Space[Any]) -> dict[str, Any]:
    """Every generator that training draws from."""
    state = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002
        "torch": torch.get_rng_state(),
        "actions": action_space.np_random.bit_generator.state,
    }
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def _set_random_state(state: Mapping[str, Any], action_space: spaces.Space[Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    action_space.np_random.bit_generator.state = state["actions"]
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
