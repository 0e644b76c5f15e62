"""Training steps a second on an accelerator against one core of this machine, and how busy the device is.

    python tests/benchmarks/bench_cluster_gpu.py [--quick]

predictor: steps of the event predictor (agents.badgr.step, as `surefoot train badgr` takes them) on
minibatches of random numbers in its real shapes, float32 and, on a GPU, bfloat16. preferences: `surefoot
train preferences` on Hopper with simulated answers, environment steps a second of the whole run; networks of
64 units: a GPU is not expected to help. busy: percent of the time, by nvidia-smi, about five times a second.
Without a GPU only the rows of one core are measured, and that is said.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from bench_badgr_train import CONFIG, minibatch

from agents.badgr.step import Optimisation
from agents.preferences.job import start
from agents.preferences.presets import preference_config
from agents.settings import with_settings


@contextmanager
def busy() -> Iterator[list[float]]:
    """Percent of utilisation of the first GPU, one number a look; none without nvidia-smi."""
    seen: list[float] = []
    stop = threading.Event()
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]

    def look() -> None:
        while not stop.wait(0.2):
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
            seen.extend(float(word) for word in said[:1])

    thread = threading.Thread(target=look, daemon=True)
    if shutil.which("nvidia-smi"):
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join()


def timed(step: Callable[[], Any], seconds: float, wait: Callable[[], None]) -> tuple[float, float]:
    """(steps a second, percent busy), after a few that are not counted."""
    for _ in range(3):
        step()
    wait()
    count, began = 0, time.perf_counter()
    with busy() as seen:
        while time.perf_counter() - began < seconds:
            step()
            count += 1
        wait()
        took = time.perf_counter() - began
    return count / took, statistics.mean(seen) if seen else float("nan")


def predictor(device: str, precision: str, size: int, seconds: float) -> tuple[float, float]:
    config = dataclasses.replace(CONFIG, device=device, precision=precision, batch_size=size)
    optimisation, batch = Optimisation(config, drives=1), minibatch(size)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    return timed(lambda: optimisation.step(batch, 0), seconds, wait)


def preferences(device: str, steps: int) -> tuple[float, float]:
    """Environment steps a second of a whole training, fits among them."""
    config = preference_config("mujoco:Hopper", labels=max(40, steps // 400), steps=steps, seed=0)
    settings = (f"learner.device={device}", f"reward.device={device}", "evaluations=1", "final_episodes=1")
    with tempfile.TemporaryDirectory() as folder, busy() as seen:
        summary = start(with_settings(config, settings), Path(folder) / "run", quiet=True)
    rate = summary["steps"] / summary["wall_seconds"]
    return rate, statistics.mean(seen) if seen else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter")
    quick = parser.parse_args().quick
    seconds, steps = (3.0, 8192) if quick else (30.0, 81_920)
    torch.set_num_threads(1)
    gpu = torch.cuda.is_available()
    name = torch.cuda.get_device_name(0) if gpu else "no GPU: the rows of one core alone"
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine}, torch {torch.__version__}, {name}")
    print(f"(load before: {os.getloadavg()[0]:.1f})\n")
    print("| training | device | precision | batch | steps/s | times one core | busy % |")
    print("|---|---|---|--:|--:|--:|--:|", flush=True)
    devices = [("cpu", "float32"), *([("cuda", "float32"), ("cuda", "bfloat16")] if gpu else [])]
    result: dict[str, float] = {}
    for size in (32,) if quick else (32, 256):
        for device, precision in devices:
            rate, share = predictor(device, precision, size, seconds)
            row(
                result, f"predictor_{device}_{precision}_{size}", rate, share, f"predictor_cpu_float32_{size}"
            )
    for device in ("cpu", "cuda") if gpu else ("cpu",):
        rate, share = preferences(device, steps)
        row(result, f"preferences_{device}_float32_-", rate, share, "preferences_cpu_float32_-")
    print(json.dumps({"gpu": gpu, **result}))


def row(result: dict[str, float], key: str, rate: float, share: float, core: str) -> None:
    result[key] = round(rate, 2)
    told = "" if share != share else f"{share:.0f}"
    print(f"| {' | '.join(key.split('_'))} | {rate:.2f} | {rate / result[core]:.2f} | {told} |", flush=True)


if __name__ == "__main__":
    main()
