"""Habitat-Lab over our rooms beside the same rooms plain: steps a second, and what the shortest way gets.

    python tests/benchmarks/bench_habitat.py            # minutes
    python tests/benchmarks/bench_habitat.py --quick

Both make the same moves from the same starts; rounds alternate. Wall time says what this machine gave, with
its other work: the best round counts. CPU time is of all rounds, Habitat's process and ours together.
Habitat draws depth, too, and takes its measures; the plain world draws the picture alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from envs.batch import usable_cores
from envs.habitat import HabitatEnv
from envs.habitat_batch import HabitatBatch
from envs.habitat_config import HabitatConfig
from envs.habitat_process import HabitatMissingError, habitat_python
from envs.pointnav import FORWARD, LEFT, RIGHT, STOP, PointNav, PointNavConfig
from envs.rover.worlds import TRIPS

ROOMS = PointNavConfig(split="test", indices=(0, 1, 2, 3))


def cpu_seconds(*processes: int) -> float:
    """Of this process and others, user and system."""
    used = time.process_time()
    for number in processes:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


class Timer:
    """Best steps a wall second of the rounds, and CPU milliseconds a step of all of them."""

    def __init__(self, name: str, work: Callable[[int], int], processes: tuple[int, ...] = ()) -> None:
        self.name, self.best, self._work, self._processes = name, 0.0, work, processes
        self._steps, self._used = 0, 0.0

    def warm_up(self) -> None:
        """Rooms are made and machine code is loaded."""
        for k in range(0, 32, TRIPS):
            self._work(k)

    def round(self, k: int) -> None:
        began, used = time.perf_counter(), cpu_seconds(*self._processes)
        steps = self._work(k)
        self.best = max(self.best, steps / (time.perf_counter() - began))
        self._used += cpu_seconds(*self._processes) - used
        self._steps += steps

    @property
    def cpu_ms(self) -> float:
        return 1e3 * self._used / self._steps


def moves(k: int, count: int) -> list[int]:
    """Of round k; never STOP."""
    return [int(a) for a in np.random.default_rng(k).choice((FORWARD, FORWARD, LEFT, RIGHT), count)]


def speeds(rounds: int, steps: int, copies: int) -> dict[str, float]:
    plain, env = PointNav(ROOMS, 1, 0, threads=1), HabitatEnv(HabitatConfig(ROOMS))
    batch = HabitatBatch(HabitatConfig(ROOMS), copies, 0)

    def step_plain(k: int) -> int:
        plain.start(0, *divmod(k % 32, TRIPS))
        for action in moves(k, steps):
            plain.step([action])
        return steps

    def step_habitat(k: int) -> int:
        env.reset(options={"episode": k % 32})
        for action in moves(k, steps):
            env.step(action)
        return steps

    def step_batch(k: int) -> int:
        for action in moves(k, steps):
            batch.step(np.full(copies, action))
        return steps * copies

    plain.reset()
    batch.reset()
    numbers = tuple(one.process.number for one in batch.envs)
    timers = (
        Timer("plain world", step_plain),
        Timer("Habitat-Lab", step_habitat, (env.process.number,)),
        Timer(f"Habitat-Lab, {copies} processes", step_batch, numbers),
    )
    for timer in timers:
        timer.warm_up()
    for k in range(rounds):
        for timer in timers:
            timer.round(k)
    for timer in timers:
        print(f"{timer.name:28} {timer.best:8.0f} steps/s  {timer.cpu_ms:6.2f} CPU ms a step")
    env.close()
    batch.close()
    plain_timer, one, many = timers
    return {
        "plain_steps_per_s": round(plain_timer.best, 1),
        "habitat_steps_per_s": round(one.best, 1),
        "ratio_to_plain": round(one.best / plain_timer.best, 3),
        "cpu_ratio_to_plain": round(plain_timer.cpu_ms / one.cpu_ms, 3),
        "processes_steps_per_s": round(many.best, 1),
    }


def oracle(episodes: int) -> dict[str, float]:
    """The shortest-path follower's success and SPL, each episode once."""
    env = HabitatEnv(HabitatConfig(ROOMS))
    success, spl = [], []
    for k in range(min(episodes, env.num_episodes)):
        env.reset(options={"episode": k})
        ended = False
        while not ended:
            action = env.expert()
            _, _, terminated, truncated, info = env.step(action)
            ended = terminated or truncated
        assert truncated or action == STOP
        success.append(info["success"])
        spl.append(info["spl"])
    env.close()
    found = {"oracle_success": float(np.mean(success)), "oracle_spl": round(float(np.mean(spl)), 4)}
    print(
        f"oracle, {len(spl)} episodes: success {found['oracle_success']:.3f}, SPL {found['oracle_spl']:.4f}"
    )
    print(f"the least SPL: {min(spl):.4f}")
    return {**found, "oracle_least_spl": round(min(spl), 4), "oracle_episodes": len(spl)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    cores = usable_cores()
    print(
        f"{platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.1f}; {ROOMS.width} x {ROOMS.height}"
    )
    try:
        habitat_python()
    except HabitatMissingError as error:
        print(f"nothing measured: {error}")
        print(json.dumps({"skipped": str(error)}))
        return
    result = speeds(3, 40, 2) if quick else speeds(8, 100, cores)
    result |= oracle(4 if quick else 32)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
