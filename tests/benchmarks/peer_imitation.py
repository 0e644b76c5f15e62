"""Trains one policy with the peer `imitation` 1.0.1, in the peer's own environment.

Called by bench_peer_imitation.py with that environment's Python; imports nothing of surefoot. The
settings are the peer's: its documentation's for Pendulum (with 60 iterations, which its issue
tracker found to learn), its `seals_hopper` ones for Hopper. CPU seconds leave evaluation out.
The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import warnings

import gymnasium as gym
import numpy as np
import torch
from imitation.algorithms import preference_comparisons as pc
from imitation.policies.base import FeedForward32Policy, NormalizeFeaturesExtractor
from imitation.rewards.reward_nets import BasicRewardNet
from imitation.util.networks import RunningNorm
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.ppo import MlpPolicy

warnings.filterwarnings("ignore")
COPIES = 8


class HopperWithoutEnd(gym.Wrapper):
    """The preference variant of Hopper: height bonus for termination, no control cost."""

    def step(self, action):
        observation, reward, _, truncated, info = self.env.step(action)
        height = self.env.unwrapped.data.qpos[1]
        reward = reward + (height - 1.0) + 1e-3 * float(np.square(action).sum())
        return observation, reward, False, truncated, info


def make_env(task):
    if task == "classic:Pendulum":
        return gym.make("Pendulum-v1")
    return HopperWithoutEnd(gym.make("Hopper-v4", terminate_when_unhealthy=False))


def make_venv(task, seed):
    from imitation.data.wrappers import RolloutInfoWrapper
    from stable_baselines3.common.monitor import Monitor

    venv = DummyVecEnv([lambda: RolloutInfoWrapper(Monitor(make_env(task))) for _ in range(COPIES)])
    venv.seed(seed)
    return venv


def make_learner(task, venv, seed):
    if task == "classic:Pendulum":
        return PPO(
            FeedForward32Policy,
            venv,
            policy_kwargs={
                "features_extractor_class": NormalizeFeaturesExtractor,
                "features_extractor_kwargs": {"normalize_class": RunningNorm},
            },
            seed=seed,
            n_steps=2048 // COPIES,
            batch_size=64,
            ent_coef=0.01,
            learning_rate=2e-3,
            clip_range=0.1,
            gae_lambda=0.95,
            gamma=0.97,
            n_epochs=10,
        )
    return PPO(
        MlpPolicy,
        venv,
        policy_kwargs={
            "activation_fn": torch.nn.ReLU,
            "net_arch": {"pi": [64, 64], "vf": [64, 64]},
            "features_extractor_class": NormalizeFeaturesExtractor,
            "features_extractor_kwargs": {"normalize_class": RunningNorm},
        },
        seed=seed,
        n_steps=2048 // COPIES,
        batch_size=512,
        clip_range=0.1,
        ent_coef=0.0010159833764878474,
        gae_lambda=0.98,
        gamma=0.995,
        learning_rate=0.0003904770450788824,
        max_grad_norm=0.9,
        n_epochs=20,
        vf_coef=0.20315938606555833,
    )


def evaluate(task, learner, episodes):
    """Mean true return of the deterministic policy."""
    env = make_env(task)
    returns = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=10_000 + episode)
        total, ended = 0.0, False
        while not ended:
            action, _ = learner.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, ended = total + float(reward), terminated or truncated
        returns.append(total)
    return float(np.mean(returns))


def train_on_preferences(task, venv, learner, args, rng):
    reward_net = BasicRewardNet(venv.observation_space, venv.action_space, normalize_input_layer=RunningNorm)
    trainer = pc.BasicRewardTrainer(
        preference_model=pc.PreferenceModel(reward_net), loss=pc.CrossEntropyRewardLoss(), epochs=3, rng=rng
    )
    generator = pc.AgentTrainer(
        algorithm=learner, reward_fn=reward_net, venv=venv, exploration_frac=0.05, rng=rng
    )
    method = pc.PreferenceComparisons(
        generator,
        reward_net,
        # each iteration trains for a whole number of rollouts of 2048 steps: one
        num_iterations=max(args.steps // 2048, 1),
        fragmenter=pc.RandomFragmenter(warning_threshold=0, rng=rng),
        preference_gatherer=pc.SyntheticGatherer(rng=rng, temperature=1.0),
        reward_trainer=trainer,
        fragment_length=100 if task == "classic:Pendulum" else 60,
        transition_oversampling=1,
        initial_comparison_frac=0.1,
        initial_epoch_multiplier=4,
        query_schedule="hyperbolic",
        allow_variable_horizon=False,
    )
    method.train(total_timesteps=args.steps, total_comparisons=args.labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=["classic:Pendulum", "mujoco:Hopper"], required=True)
    parser.add_argument("--labels", type=int, required=True, help="0 trains on the true reward")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=50)
    args = parser.parse_args()
    torch.set_num_threads(1)
    venv = make_venv(args.task, args.seed)
    learner = make_learner(args.task, venv, args.seed)
    started = time.process_time()
    if args.labels:
        train_on_preferences(args.task, venv, learner, args, np.random.default_rng(args.seed))
    else:
        learner.learn(args.steps)
    cpu = time.process_time() - started
    result = {
        "cpu_seconds": cpu,
        "learner_steps": int(learner.num_timesteps),
        "final_return": evaluate(args.task, learner, args.episodes),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
