"""Processor time of fitting the reward ensemble, and of the reward at every environment step.

    python tests/benchmarks/bench_reward_fit.py [--quick]

The peer, imitation 1.0.1, takes 0.9 to 1.2 ms per pair and pass for one network and clips of 25 to
100 steps (one forward pass a clip); the aim is at most 0.2 ms per pair, member and pass at 60 steps.
A pass here is all of `fit`: training, scoring every label, adapting the regularisation.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import gymnasium
import numpy as np
import torch

from agents.preferences.comparison import Comparison, Query
from agents.preferences.data import ComparisonSet
from agents.preferences.fit import fit
from agents.preferences.reward import RewardConfig, RewardEnsemble
from envs.episode import Clip, Episode

OBSERVATION, ACTION = 17, 6  # HalfCheetah's sizes
PEER_MS = 1.0
"""imitation 1.0.1, CPU milliseconds a pair and pass of one network (0.9 to 1.2)"""


def make_comparisons(pairs: int, steps: int, pixels: bool = False) -> ComparisonSet:
    rng = np.random.default_rng(0)
    data = ComparisonSet()
    for index in range(pairs):
        clips = []
        for _ in range(2):
            if pixels:
                frames = rng.integers(0, 256, (steps + 4, 84, 84), np.uint8)
                stacks = np.lib.stride_tricks.sliding_window_view(frames, 4, axis=0)
                observations = np.moveaxis(stacks, -1, 1)
            else:
                observations = rng.normal(size=(steps + 1, OBSERVATION)).astype(np.float32)
            actions = rng.uniform(-1, 1, (steps, ACTION)).astype(np.float32)
            clips.append(
                Episode({"observation": observations}, actions, np.zeros(steps), np.arange(steps + 1.0))
            )
        query = Query(index, Clip(f"{2 * index}", 0, steps), Clip(f"{2 * index + 1}", 0, steps))
        data.add(Comparison(query, "left" if rng.random() < 0.5 else "right"), *clips)
    return data


def fit_ms(data: ComparisonSet, ensemble: RewardEnsemble, epochs: int, repeats: int) -> float:
    """CPU milliseconds per pair, member and pass: the least of several fits."""
    best = float("inf")
    for _ in range(repeats):
        started = time.process_time()
        fit(ensemble, data, np.random.default_rng(0), max_epochs=epochs, patience=epochs)
        best = min(best, time.process_time() - started)
    return 1e3 * best / (len(data) * ensemble.config.members * epochs)


def reward_us(ensemble: RewardEnsemble, copies: int) -> float:
    """CPU microseconds of `reward` for one step of `copies` environments."""
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(copies, OBSERVATION)).astype(np.float32)
    actions = rng.uniform(-1, 1, (copies, ACTION)).astype(np.float32)
    best = float("inf")
    for _ in range(10):
        started = time.process_time()
        for _ in range(100):
            ensemble.reward(observations, actions)
        best = min(best, (time.process_time() - started) / 100)
    return 1e6 * best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    states = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATION,), np.float32)
    forces = gymnasium.spaces.Box(-1.0, 1.0, (ACTION,), np.float32)
    result: dict[str, float] = {}
    print("steps a clip   ms per pair, member and pass   peer / ours")
    for steps in (15, 60, 100):
        ensemble = RewardEnsemble(states, forces)
        data = make_comparisons(192 if quick else 704, steps)
        cost = fit_ms(data, ensemble, 2 if quick else 5, 3)
        result[f"fit_ms_{steps}"] = round(cost, 4)
        result[f"peer_ratio_{steps}"] = round(PEER_MS / cost, 1)
        print(f"{steps:12d}   {cost:28.3f}   {PEER_MS / cost:11.1f}")
    for copies in (8, 16):
        result[f"reward_us_{copies}"] = round(reward_us(RewardEnsemble(states, forces), copies), 1)
        print(f"reward of {copies} copies at every step: {result[f'reward_us_{copies}']:.0f} us")
    frames = gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    config = RewardConfig(batch_size=16)
    ensemble = RewardEnsemble(frames, forces, config)
    cost = fit_ms(make_comparisons(16 if quick else 48, 25, pixels=True), ensemble, 1, 1 if quick else 2)
    result["pixel_fit_ms_25"] = round(cost, 1)
    print(f"pixels, 25 steps a clip: {cost:.1f} ms per pair, member and pass")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
