"""Environment steps per second, ours beside stable-baselines3, gymnasium and EnvPool.

    python tests/benchmarks/bench_vec.py [--quick]

All contestants step the same number of copies with random actions in this process (and the workers of
some), in rounds A B C A B C, so that a busy neighbour hurts all of them. Wall time tells what a user
waits for, CPU time (workers included) what a step costs whoever else runs. Ratios are medians over
rounds of ours / theirs within the round, by wall time; above 1 ours is faster.

Atari: 84x84 grey, skip 4, maximum of 2, stack 4, clipped reward, a lost life ends an episode, no sticky
actions. MuJoCo: gymnasium's -v5 tasks; EnvPool brings MuJoCo 3.6.0 of its own.
End-to-end training speed is measured by bench_end_to_end.py beside this file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

TASKS = ("atari:Breakout", "atari:Pong", "mujoco:Hopper", "mujoco:HalfCheetah")
PEERS = {
    "sb3": ("SB3 Dummy", "SB3 Subproc"),
    "gymnasium": ("gymnasium Sync", "gymnasium Async"),
    "envpool": ("EnvPool",),
}
OURS = "ours"


@dataclass
class Contestant:
    """step: one step of all copies; steps come from `actions` in turn."""

    step: Callable[[np.ndarray], Any]
    close: Callable[[], None]
    children: Callable[[], list[int]] = lambda: []
    """process ids whose CPU time counts too"""


def make_ours(task: str, copies: int, threads: int) -> Contestant:
    from envs.atari_batch import AtariBatch
    from envs.catalog import make_vec

    family, _, name = task.partition(":")
    if family == "atari":
        batch: Any = AtariBatch(name, copies, 0, threads=threads, life_loss_terminates=True)
    else:
        batch = make_vec(task, copies, 0, threads=threads)
    batch.reset(0)
    return Contestant(batch.step, batch.close)


def make_plain(task: str, copies: int, threads: int) -> Contestant:
    """Our own fall-back."""
    from envs.atari import make_atari
    from envs.catalog import make
    from envs.sync_batch import SyncBatch

    family, _, name = task.partition(":")
    lives = {"life_loss_terminates": True}
    batch = SyncBatch(
        (lambda: make_atari(name, **lives)) if family == "atari" else (lambda: make(task)), copies
    )
    batch.reset(0)
    return Contestant(batch.step, batch.close)


def make_sb3(kind: str) -> Callable[[str, int, int], Contestant]:
    def build(task: str, copies: int, threads: int) -> Contestant:
        from stable_baselines3.common.env_util import make_atari_env, make_vec_env
        from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack

        family, _, name = task.partition(":")
        vec_class = DummyVecEnv if kind == "Dummy" else SubprocVecEnv
        options = {
            "vec_env_cls": vec_class,
            "vec_env_kwargs": {"start_method": "fork"} if kind == "Subproc" else {},
        }
        before = set(multiprocessing.active_children())
        if family == "atari":
            env: Any = VecFrameStack(make_atari_env(f"{name}NoFrameskip-v4", copies, seed=0, **options), 4)
        else:
            env = make_vec_env(f"{name}-v5", copies, seed=0, **options)
        env.reset()
        workers = [child.pid for child in set(multiprocessing.active_children()) - before if child.pid]
        return Contestant(env.step, env.close, lambda: workers)

    return build


def make_gymnasium(kind: str) -> Callable[[str, int, int], Contestant]:
    def build(task: str, copies: int, threads: int) -> Contestant:
        import gymnasium
        from gymnasium.wrappers import AtariPreprocessing, ClipReward, FrameStackObservation

        family, _, name = task.partition(":")

        def one() -> Any:
            if family != "atari":
                return gymnasium.make(f"{name}-v5")
            env = gymnasium.make(f"ALE/{name}-v5", frameskip=1, repeat_action_probability=0.0)
            env = AtariPreprocessing(env, terminal_on_life_loss=True)
            return FrameStackObservation(ClipReward(env, -1, 1), 4)

        before = set(multiprocessing.active_children())
        vector = gymnasium.vector
        env: Any = (
            vector.SyncVectorEnv([one] * copies) if kind == "Sync" else vector.AsyncVectorEnv([one] * copies)
        )
        env.reset(seed=0)
        workers = [child.pid for child in set(multiprocessing.active_children()) - before if child.pid]
        return Contestant(env.step, env.close, lambda: workers)

    return build


def make_envpool(task: str, copies: int, threads: int) -> Contestant:
    """EnvPool's own interface, without our adapter."""
    import envpool

    family, _, name = task.partition(":")
    options: dict[str, Any] = {"num_envs": copies, "num_threads": threads, "seed": 0}
    if family == "atari":
        options |= {"episodic_life": True, "reward_clip": True}
    env = envpool.make_gymnasium(f"{name}-v5", **options)
    env.reset()
    return Contestant(env.step, env.close)


def contestants() -> dict[str, Callable[[str, int, int], Contestant]]:
    found = {
        OURS: make_ours,
        "ours, sync": make_plain,
        "SB3 Dummy": make_sb3("Dummy"),
        "SB3 Subproc": make_sb3("Subproc"),
        "gymnasium Sync": make_gymnasium("Sync"),
        "gymnasium Async": make_gymnasium("Async"),
    }
    if find_spec("envpool") is not None:
        found["EnvPool"] = make_envpool
    else:
        print("EnvPool is not installed: its rows are missing (pip install 'surefoot[envpool]')")
    return found


def cpu_seconds(workers: list[int]) -> float:
    """CPU time of this process with its threads, and of the workers."""
    ticks = 0
    for worker in workers:
        fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def run_for(contestant: Contestant, actions: np.ndarray, seconds: float) -> tuple[float, float]:
    """Env-steps per second of wall time, and CPU microseconds per env-step. actions: (T, N, ...)."""
    workers, steps = contestant.children(), 0
    wall, cpu = time.perf_counter(), cpu_seconds(workers)
    while time.perf_counter() - wall < seconds:
        contestant.step(actions[steps % len(actions)])
        steps += 1
    wall, cpu = time.perf_counter() - wall, cpu_seconds(workers) - cpu
    count = steps * actions.shape[1]
    return count / wall, 1e6 * cpu / count


def measure(
    task: str, copies: int, threads: int, rounds: int, seconds: float
) -> dict[str, list[tuple[float, float]]]:
    """{contestant: one (wall rate, CPU us) a round}."""
    from envs.catalog import make

    space = make(task, seed=0).action_space
    actions = np.stack([[space.sample() for _ in range(copies)] for _ in range(64)])
    built = {name: build(task, copies, threads) for name, build in contestants().items()}
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in built}
    for contestant in built.values():
        run_for(contestant, actions, seconds / 4)
    for _ in range(rounds):
        for name, contestant in built.items():
            results[name].append(run_for(contestant, actions, seconds))
    for contestant in built.values():
        contestant.close()
    return results


def ratio(results: dict[str, list[tuple[float, float]]], peers: tuple[str, ...], column: int) -> float | None:
    """Median over rounds of ours against the best of the peers in that round."""
    present = [results[peer] for peer in peers if peer in results]
    if not present:
        return None
    ratios = []
    for index, ours in enumerate(results[OURS]):
        theirs = [peer[index][column] for peer in present]
        ratios.append(ours[0] / max(theirs) if column == 0 else min(theirs) / ours[1])
    return statistics.median(ratios)


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    names = ("mujoco", "ale-py", "gymnasium", "stable-baselines3", "envpool", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in names if find_spec(name.replace("-", "_")))
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, load {load:.1f}; Python {platform.python_version()}, {versions}"


def environment_speeds(
    tasks: Sequence[str], rounds: int, seconds: float, copies: int, threads: int
) -> dict[str, float]:
    """Prints a table a task; returns the ratios, {family}_ratio_to_{peer}: geometric mean of its tasks."""
    print(f"{copies} copies, {threads} threads of native back-ends, {rounds} rounds of {seconds} s each")
    gathered: dict[str, list[float]] = {}
    for task in tasks:
        results = measure(task, copies, threads, rounds, seconds)
        print(f"\n{task:<22}{'env-steps/s':>12}{'CPU us/step':>13}{'ours/theirs':>13}{'by CPU':>9}")
        for name, measured in results.items():
            rate, cpu = (statistics.median(column) for column in zip(*measured, strict=True))
            by_wall, by_cpu = (ratio(results, (name,), column) or 0.0 for column in (0, 1))
            print(f"  {name:<20}{rate:>12,.0f}{cpu:>13.1f}{by_wall:>13.2f}{by_cpu:>9.2f}", flush=True)
        for peer, names in PEERS.items():
            for suffix, column in (("", 0), ("_by_cpu", 1)):
                value = ratio(results, names, column)
                if value is not None:
                    gathered.setdefault(f"{task.partition(':')[0]}_ratio_to_{peer}{suffix}", []).append(value)
    return {key: round(statistics.geometric_mean(values), 2) for key, values in gathered.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="about a minute: fewer copies and rounds")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=TASKS, help="tasks to measure")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of the peers, about their own environments
    os.environ.setdefault("MUJOCO_GL", "disabled")  # before mujoco is imported: nothing is drawn
    import ale_py
    import gymnasium
    import mujoco

    mujoco.set_mju_user_warning(lambda text: None)  # once a copy, about gymnasium's HalfCheetah
    gymnasium.register_envs(ale_py)
    print(machine())
    threads = len(os.sched_getaffinity(0))
    rounds, seconds, copies = (3, 0.5, 8) if options.quick else (7, 2.0, 16)
    ratios = environment_speeds(options.only, rounds, seconds, copies, threads)
    print("\nratios are against the faster of a peer's two modes in each round; aim: 2 to sb3, 1 to envpool")
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
