"""Training steps per second, ours beside plain stable-baselines3: A2C on Atari, PPO and TRPO on Hopper.

    python tests/benchmarks/bench_end_to_end.py            # about ten minutes
    python tests/benchmarks/bench_end_to_end.py --quick    # about one
    python tests/benchmarks/bench_end_to_end.py --curves ppo    # Hopper, ours and SB3's: JSON and PNG
    python tests/benchmarks/bench_end_to_end.py --curves bf16   # A2C on pixels, float32 and bfloat16

Everything runs in this process, one after the other in rounds (A B C A B C …), so that other work on the
machine hits all alike. The peer has stable-baselines3's own wrappers and defaults, once with one thread of
torch and once with torch's default; the ratios compare with whichever of the two is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_atari_env, make_vec_env
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

from agents.evaluate import play
from agents.models import has_bfloat16
from agents.presets import A2C_ATARI, LearnerConfig, default_learner
from agents.sb3 import Learner, learner_env
from envs.catalog import make_vec

DEFAULT_THREADS = torch.get_num_threads()
PPO_MATCHED = LearnerConfig(learning_rate=6e-4, normalize_reward=True)
"""SB3's own but for scaled inputs, minibatches of 256, not 64, and twice the learning rate for them"""


@dataclass
class Contestant:
    """Something that trains: `advance(steps)` gives the steps it really took."""

    name: str
    advance: Callable[[int], int]
    threads: int
    wall: list[float] = field(default_factory=list)
    """seconds a step, one entry a round"""
    cpu: list[float] = field(default_factory=list)

    def round(self, steps: int) -> None:
        torch.set_num_threads(self.threads)
        wall, cpu = time.perf_counter(), time.process_time()
        taken = self.advance(steps)
        self.wall.append((time.perf_counter() - wall) / taken)
        self.cpu.append((time.process_time() - cpu) / taken)


def ours(name: str, env_name: str, config: LearnerConfig) -> Contestant:
    env = make_vec(env_name, config.n_envs, 0, threads=config.env_threads)
    learner = Learner(config, learner_env(config, env), 0, 10_000_000)

    def advance(steps: int) -> int:
        before = learner.steps
        while learner.steps < before + steps:
            learner.iterate()
        return learner.steps - before

    return Contestant(name, advance, config.torch_threads)


def peer(name: str, model: BaseAlgorithm, threads: int) -> Contestant:
    model.set_logger(Logger(None, []))

    def advance(steps: int) -> int:
        before = model.num_timesteps
        model.learn(steps, reset_num_timesteps=before == 0, log_interval=10_000)
        return model.num_timesteps - before

    return Contestant(name, advance, threads)


def atari_peer(name: str, threads: int) -> Contestant:
    env = VecFrameStack(make_atari_env("BreakoutNoFrameskip-v4", n_envs=16, seed=0), 4)
    return peer(name, A2C("CnnPolicy", env, ent_coef=0.01, seed=0, device="cpu"), threads)


def hopper_peer(name: str, algorithm: str, threads: int) -> Contestant:
    env = make_vec_env("Hopper-v5", n_envs=8, seed=0)
    options: dict[str, Any] = {"n_steps": 256, "seed": 0, "device": "cpu"}
    model = PPO("MlpPolicy", env, **options) if algorithm == "ppo" else TRPO("MlpPolicy", env, **options)
    return peer(name, model, threads)


def contests() -> dict[str, Callable[[], list[Contestant]]]:
    trpo = default_learner("mujoco:Hopper", "trpo")
    return {
        "a2c": lambda: [
            atari_peer("SB3 A2C, 1 torch thread", 1),
            atari_peer(f"SB3 A2C, {DEFAULT_THREADS} torch threads (default)", DEFAULT_THREADS),
            ours("ours A2C", "atari:Breakout", replace(A2C_ATARI, bf16_features=False)),
            *(
                [ours("ours A2C, bf16 features", "atari:Breakout", replace(A2C_ATARI, bf16_features=True))]
                if has_bfloat16()
                else []
            ),
        ],
        "ppo": lambda: [
            hopper_peer("SB3 PPO, 1 torch thread", "ppo", 1),
            hopper_peer(f"SB3 PPO, {DEFAULT_THREADS} torch threads (default)", "ppo", DEFAULT_THREADS),
            ours("ours PPO, batch 64 as SB3", "mujoco:Hopper", replace(PPO_MATCHED, batch_size=64)),
            ours("ours PPO, batch 256", "mujoco:Hopper", PPO_MATCHED),
        ],
        "trpo": lambda: [
            hopper_peer("SB3 TRPO, 1 torch thread", "trpo", 1),
            hopper_peer(f"SB3 TRPO, {DEFAULT_THREADS} torch threads (default)", "trpo", DEFAULT_THREADS),
            ours("ours TRPO", "mujoco:Hopper", trpo),
        ],
    }


def compare(
    name: str, build: Callable[[], list[Contestant]], rounds: int, seconds: float
) -> dict[str, float]:
    """Prints a table; ratios of ours (the last) to the faster of the two peers, medians over rounds."""
    contestants = build()
    for contestant in contestants:  # first rollout, first update, first allocation
        contestant.round(2048 if name != "a2c" else 160)
    first = {contestant.name: contestant.wall.pop() for contestant in contestants}
    for contestant in contestants:
        contestant.cpu.clear()
    for _ in range(rounds):
        for contestant in contestants:
            contestant.round(max(int(seconds / first[contestant.name]), 160))
    print(f"\n{name}: median of {rounds} rounds")
    print(f"{'':44}{'steps/s':>9}{'cpu us/step':>13}{'ratio':>8}{'cpu ratio':>11}")
    best = min(contestants[:2], key=lambda one: statistics.median(one.wall))
    cheapest = min(contestants[:2], key=lambda one: statistics.median(one.cpu))
    for one in contestants:
        ratio = statistics.median(b / a for a, b in zip(one.wall, best.wall, strict=True))
        cpu_ratio = statistics.median(b / a for a, b in zip(one.cpu, cheapest.cpu, strict=True))
        rate, cost = 1 / statistics.median(one.wall), statistics.median(one.cpu) * 1e6
        print(f"{one.name:44}{rate:9.0f}{cost:13.0f}{ratio:8.2f}{cpu_ratio:11.2f}")
    return {f"{name}_ratio_to_sb3": round(ratio, 3), f"{name}_cpu_ratio_to_sb3": round(cpu_ratio, 3)}


POINTS = 10
"""evaluations of a learning curve"""
Curve = Callable[[int, int], list[float]]


def curves(kind: str, seeds: int, steps: int, folder: Path) -> dict[str, float]:
    """True return at equal steps: medians over seeds at the end and over the whole curve."""
    pairs: dict[str, tuple[str, dict[str, Curve]]] = {
        "ppo": ("PPO on Hopper-v5", {"ours": _our_hopper, "sb3": _peer_hopper}),
        "bf16": ("A2C on MovingDot", {"float32": _dot(False), "bfloat16": _dot(True)}),
    }
    title, makers = pairs[kind]
    results: dict[str, list[list[float]]] = {name: [] for name in makers}
    for seed in range(seeds):
        for name, make in makers.items():
            results[name].append(make(seed, steps))
            print(f"seed {seed}, {name}: {[round(value) for value in results[name][-1]]}", flush=True)
    at = [steps * (k + 1) // POINTS for k in range(POINTS)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{kind}_curves.json").write_text(json.dumps({"steps": at, **results}), encoding="utf-8")
    _plot(title, at, results, folder / f"{kind}_curves.png")
    finals = {
        f"{kind}_final_{name}": float(np.median([row[-1] for row in rows])) for name, rows in results.items()
    }
    areas = {
        f"{kind}_mean_{name}": float(np.median([np.mean(row) for row in rows]))
        for name, rows in results.items()
    }
    return finals | areas


def _our_hopper(seed: int, steps: int) -> list[float]:
    return _our_curve("mujoco:Hopper", PPO_MATCHED, seed, steps)


def _dot(bf16: bool) -> Curve:
    config = replace(default_learner("pixel:MovingDot", "a2c"), bf16_features=bf16)
    return lambda seed, steps: _our_curve("pixel:MovingDot", config, seed, steps)


def _our_curve(name: str, config: LearnerConfig, seed: int, steps: int) -> list[float]:
    env = make_vec(name, config.n_envs, seed)
    learner = Learner(config, learner_env(config, env), seed, steps)
    curve: list[float] = []
    while learner.steps < steps:
        learner.iterate()
        while len(curve) < POINTS and learner.steps >= steps * (len(curve) + 1) // POINTS:
            curve.append(_score(name, learner.predict))
    return curve


def _peer_hopper(seed: int, steps: int) -> list[float]:
    env = VecNormalize(make_vec_env("Hopper-v5", n_envs=8, seed=seed), gamma=0.99)
    model = PPO("MlpPolicy", env, n_steps=256, seed=seed, device="cpu")
    contestant = peer("", model, 1)
    curve = []
    for point in range(POINTS):
        contestant.advance(steps * (point + 1) // POINTS - model.num_timesteps)
        act = partial(model.predict, deterministic=True)
        curve.append(_score("mujoco:Hopper", lambda raw, act=act: act(env.normalize_obs(raw))[0]))
    return curve


def _score(name: str, predict: Callable[[np.ndarray], np.ndarray]) -> float:
    env = make_vec(name, 10, 77)
    scores = play(env, predict, 20, 77)
    env.close()
    return scores.mean


def _plot(title: str, at: list[int], results: dict[str, list[list[float]]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for (name, rows), colour in zip(results.items(), ("tab:blue", "tab:orange"), strict=True):
        for row in rows:
            axes.plot(at, row, color=colour, alpha=0.25)
        axes.plot(at, np.median(rows, axis=0), color=colour, label=f"{name}, median of {len(rows)} seeds")
    axes.set(xlabel="environment steps", ylabel="true return", title=title)
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only", choices=("a2c", "ppo", "trpo"), help="one of the three")
    parser.add_argument("--curves", choices=("ppo", "bf16"), help="learning curves instead of speed")
    parser.add_argument("--seeds", type=int, default=3, help="of the learning curves")
    parser.add_argument("--steps", type=int, default=200_000, help="of the learning curves")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="folder for the curves")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="gymnasium")
    import ale_py

    gymnasium.register_envs(ale_py)
    cores = len(os.sched_getaffinity(0))
    print(
        f"{platform.processor() or platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.1f}, ",
        end="",
    )
    print(f"python {platform.python_version()}, torch {torch.__version__}")
    torch.set_num_threads(1)
    if options.curves:
        result = curves(
            options.curves, options.seeds, 20_000 if options.quick else options.steps, options.out
        )
    else:
        result = {}
        rounds, seconds = (2, 2.0) if options.quick else (5, 8.0)
        for name, build in contests().items():
            if options.only in (None, name):
                result |= compare(name, build, rounds, seconds)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
