"""PPO on indoor PointNav beside a frozen base: stable-baselines3's learner, the base's features baked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from agents.sidetuning.baked import BakedBaseVecEnv
from agents.sidetuning.base import default_taps
from agents.sidetuning.config import SideConfig
from agents.sidetuning.frozen import FrozenBase
from agents.sidetuning.loop import load_optimizer, optimizer_state
from agents.sidetuning.navigation_config import NavigationConfig
from agents.sidetuning.navigator import IMAGE, floats, merge_metrics, policy_options, side_model
from envs.batch import Array
from envs.habitat_nav import Simulator, make_nav
from envs.pointnav import PointNavConfig


class PointNavVecEnv(VecEnv):
    """Many PointNav agents, of our own world or in Habitat-Lab, as stable-baselines3 knows environments."""

    def __init__(self, config: PointNavConfig, n: int, seed: int, simulator: Simulator = "plain") -> None:
        self.nav = make_nav(simulator, config, n, seed)
        # The learner counts actions from 0, whether there is one to stop or not.
        super().__init__(n, self.nav.observation_space, spaces.Discrete(int(self.nav.action_space.n)))
        self.ended: list[dict[str, float]] = []
        """of episodes that ended since `take`"""
        self._returns = np.zeros(n)
        self._actions: Array = np.zeros(n, np.int64)

    def reset(self) -> dict[str, Array]:
        self._returns[:] = 0
        return self.nav.reset()

    def step_async(self, actions: Array) -> None:
        self._actions = actions + int(self.nav.action_space.start)

    def step_wait(self) -> Any:
        step = self.nav.step(self._actions)
        dones = step.terminated | step.truncated
        self._returns += step.rewards
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(dones):
            assert step.final_observations is not None
            infos[i]["terminal_observation"] = {name: x[i] for name, x in step.final_observations.items()}
            infos[i]["TimeLimit.truncated"] = bool(step.truncated[i])
            ended = {
                "return": self._returns[i],
                "success": step.infos["success"][i],
                "spl": step.infos["spl"][i],
            }
            self.ended.append({name: float(value) for name, value in ended.items()})
            self._returns[i] = 0
        return step.observations, step.rewards, dones, infos

    def take(self) -> dict[str, float]:
        """Means over episodes that ended since the last call."""
        ended, self.ended = self.ended, []
        names = ended[0] if ended else ()
        return {f"episode/{name}": float(np.mean([one[name] for one in ended])) for name in names}

    def get_state(self) -> dict[str, Any]:
        return {"nav": self.nav.get_state(), "returns": self._returns.copy(), "ended": list(self.ended)}

    def set_state(self, state: Mapping[str, Any]) -> dict[str, Array]:
        self._returns, self.ended = np.array(state["returns"]), list(state["ended"])
        return self.nav.set_state(state["nav"])

    def close(self) -> None:
        self.nav.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.nav, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("PointNav's settings are those of its configuration")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError("PointNav has no methods of single copies")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


class Reinforcement:
    """The job of `loop`: a step is a rollout of all environments and what is learnt from it."""

    def __init__(self, config: NavigationConfig, base: FrozenBase, rooms: PointNavConfig) -> None:
        self.config, ppo = config, config.ppo
        torch.manual_seed(config.seed)
        self.inner = PointNavVecEnv(rooms, ppo.environments, config.seed, config.simulator)
        self.env = BakedBaseVecEnv(self.inner, base, IMAGE, _taps(base, config))
        self.learner = PPO(
            "MultiInputPolicy",
            self.env,
            learning_rate=ppo.learning_rate,
            n_steps=ppo.rollout,
            batch_size=ppo.batch_size,
            n_epochs=ppo.epochs,
            gamma=ppo.gamma,
            ent_coef=ppo.entropy,
            vf_coef=ppo.value,
            clip_range=ppo.clip,
            policy_kwargs=policy_options(base, config.adapter, config.hidden),
            seed=config.seed,
            device="cpu",
        )
        self.learner.set_logger(Logger(None, []))
        self.policy: Any = self.learner.policy
        self.model = side_model(self.policy)
        self._started = False

    def train(self, step: int) -> dict[str, float]:
        learner = self.learner
        if not self._started:
            self._start()
        # Not after the rollout: the policy that learns from one must be the one that acted in it.
        if step:
            self.model.advance()
        learner.collect_rollouts(
            self.env, self._callback, learner.rollout_buffer, n_rollout_steps=learner.n_steps
        )
        learner._update_current_progress_remaining(
            learner.num_timesteps, self.config.ppo.updates * learner.n_steps * self.env.num_envs
        )
        learner.train()
        values = dict(learner.logger.name_to_value)
        learner.logger.name_to_value.clear()
        kept = ("train/entropy_loss", "train/value_loss", "train/approx_kl", "train/explained_variance")
        return {
            **self.inner.take(),
            **{name: float(values[name]) for name in kept if name in values},
        }

    def evaluate(self, step: int) -> dict[str, float]:
        tensors = self.policy.obs_to_tensor(self.learner._last_obs)[0]
        return merge_metrics(self.policy, floats(tensors))

    def choose(self) -> None:
        self.policy.set_training_mode(False)

    def state(self) -> dict[str, Any]:
        learner = self.learner
        return {
            "policy": {name: x.clone() for name, x in self.policy.state_dict().items()},
            "optimizer": optimizer_state(self.policy.optimizer),
            "counters": {"num_timesteps": learner.num_timesteps, "n_updates": learner._n_updates},
            "env": self.inner.get_state(),
            "observations": dict(learner._last_obs),
            "starts": np.array(learner._last_episode_starts),
            "torch": torch.get_rng_state(),
            "numpy": _numpy_state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        learner, counters = self.learner, state["counters"]
        self._start()
        self.inner.set_state(state["env"])
        # Those that were seen: a noisy camera would show others.
        learner._last_obs = dict(state["observations"])
        self.policy.load_state_dict(state["policy"])
        load_optimizer(self.policy.optimizer, state["optimizer"])
        learner.num_timesteps, learner._n_updates = counters["num_timesteps"], counters["n_updates"]
        learner._last_episode_starts = np.array(state["starts"])
        torch.set_rng_state(state["torch"])
        _set_numpy_state(state["numpy"])

    def close(self) -> None:
        self.env.close()

    def _start(self) -> None:
        _, self._callback = self.learner._setup_learn(self.config.ppo.steps, None)
        self._started = True


def _taps(base: FrozenBase, config: NavigationConfig) -> tuple[str, ...]:
    """The modules that a ladder reads."""
    if not isinstance(config.adapter, SideConfig) or config.adapter.merge != "ladder":
        return ()
    return config.adapter.taps or default_taps(base.module)


def _numpy_state() -> dict[str, Any]:
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 - what the learner draws from
    return {"name": name, "keys": keys, "position": position, "has_gauss": has_gauss, "gauss": gauss}


def _set_numpy_state(state: Mapping[str, Any]) -> None:
    parts = (state[key] for key in ("name", "keys", "position", "has_gauss", "gauss"))
    np.random.set_state(tuple(parts))  # noqa: NPY002
