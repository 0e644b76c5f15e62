"""How fast the event predictor trains, against a plain loop, and what more hours of driving bring.

    python tests/benchmarks/bench_badgr_train.py [--quick] [--data DRIVES] [--runs RUN ...]

ours: agents.badgr.step, as `surefoot train badgr` runs it, one thread. plain: the same network, losses and
minibatches in eager float32 as one would write it, Adam, weight decay by autograd, torch's defaults. plain,
one thread: the same without torch's threads. Rounds are interleaved; windows a CPU second are what a shared
machine can compare. reading: share of the CPU time that cutting a minibatch out of --data takes.
--runs: finished runs on different hours of the same drives (`--hours-limit`), as a table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.badgr.config import BadgrConfig
from agents.badgr.experience import load_experience
from agents.badgr.job import label_thresholds
from agents.badgr.losses import event_losses, position_loss, weight_decay
from agents.badgr.network import EventPredictor
from agents.badgr.spec import ModelSpec
from agents.badgr.step import Optimisation
from agents.badgr.windows import Batch

SPEC = ModelSpec()
CONFIG = BadgrConfig(data=("none",), device="cpu", schedule="constant", learning_rate=1e-4)


def minibatch(size: int) -> Batch:
    """Random numbers of the shapes of a real one; their values change no time."""
    rng = np.random.default_rng(0)
    steps = (size, SPEC.horizon)
    return Batch(
        images=rng.integers(0, 256, (size, *SPEC.image), dtype=np.uint8),
        actions=rng.uniform(-1, 1, (*steps, 2)).astype(np.float32),
        labels=rng.random((*steps, len(SPEC.events))) < 0.3,
        mask=np.ones((*steps, len(SPEC.events)), np.bool_),
        position=rng.random((*steps, 2)).astype(np.float32),
        position_mask=np.ones(steps, np.bool_),
        drives=np.zeros(size, np.int64),
    )


def ours() -> Callable[[Batch], Any]:
    """One step of ours a call."""
    optimisation = Optimisation(CONFIG, drives=1)
    return lambda batch: optimisation.step(batch, 0)


def plain() -> Callable[[Batch], Any]:
    """One step of a plain loop a call."""
    torch.manual_seed(0)
    network = EventPredictor(SPEC)
    for part in network.modules():
        if isinstance(part, torch.nn.ReLU):
            part.inplace = False
    adam = torch.optim.Adam(network.parameters(), lr=CONFIG.learning_rate)
    weights = torch.tensor([2.0, 1.0, 1.0])

    def step(batch: Batch) -> None:
        parts = (batch.images, batch.actions, batch.labels, batch.mask, batch.position, batch.position_mask)
        images, actions, labels, mask, position, moved = (torch.from_numpy(part) for part in parts)
        logits, places = network(images, actions)
        events = event_losses(logits, labels, mask, torch.ones(3))
        loss = (weights * events).sum() + position_loss(places, position, moved)
        adam.zero_grad()
        (loss + CONFIG.weight_decay * weight_decay(network)).backward()
        adam.step()

    return step


def speeds(sizes: tuple[int, ...], windows: int, rounds: int) -> dict[tuple[int, str], dict[str, float]]:
    """Windows a second of CPU and of the clock: medians, by size and loop."""
    threads = torch.get_num_threads()
    loops = {"ours": (ours(), 1), "plain": (plain(), threads), "plain, one thread": (plain(), 1)}
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for size in sizes:
            batch, repeats = minibatch(size), max(windows // size, 1)
            for name, (step, count) in loops.items():
                torch.set_num_threads(count)
                step(batch)
                cpu, wall = time.process_time(), time.perf_counter()
                for _ in range(repeats):
                    step(batch)
                spent = time.process_time() - cpu, time.perf_counter() - wall
                done = size * repeats
                found.setdefault((size, name), []).append((done / spent[0], done / spent[1]))
    torch.set_num_threads(threads)
    return {
        key: {"cpu": statistics.median(a for a, _ in rates), "wall": statistics.median(b for _, b in rates)}
        for key, rates in found.items()
    }


def reading(folder: str, size: int, repeats: int) -> float:
    """Windows of real drives that are cut and read a CPU second."""
    config = BadgrConfig(data=(folder,), labels=label_thresholds((folder,)))
    windows = load_experience(config).training
    begun = time.process_time()
    for step in range(repeats):
        rng = np.random.default_rng([0, step])
        windows.batch(windows.draw(rng, size), rng)
    return size * repeats / (time.process_time() - begun)


def scaling(runs: list[Path]) -> list[dict[str, Any]]:
    """Of finished runs, in order of their hours: what the hold-out says."""
    rows = []
    for run in runs:
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        measured = summary["measured"]
        rows.append(
            {
                "run": run.name,
                "hours": summary["hours"],
                "steps": summary["steps"],
                "holdout_drives": summary["holdout_drives"],
                "loss": measured["loss"],
                "position_error": measured["position_error"][-1],
                **{f"auroc_{name}": score["auroc"] for name, score in measured["events"].items()},
            }
        )
    return sorted(rows, key=lambda row: (row["hours"], row["run"]))


def table(rows: list[dict[str, Any]]) -> None:
    columns = list(rows[0])
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for row in rows:
        cells = [f"{row[name]:.3f}" if isinstance(row[name], float) else str(row[name]) for name in columns]
        print(f"| {' | '.join(cells)} |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one size, few rounds")
    parser.add_argument("--data", help="folder of drives, to measure reading")
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="finished runs on different hours")
    chosen = parser.parse_args()
    sizes, windows, rounds = ((32,), 128, 3) if chosen.quick else ((32, 128), 256, 7)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}")
    print(f"images {SPEC.image}, H = {SPEC.horizon}, float32, torch's threads {torch.get_num_threads()}\n")
    result: dict[str, float] = {}
    found = speeds(sizes, windows, rounds)
    rows: list[dict[str, Any]] = []
    for (size, name), rate in found.items():
        reference = found[size, "plain"]["cpu"]
        rows.append(
            {
                "batch": size, "loop": name, "windows / CPU s": rate["cpu"],
                "windows / s": rate["wall"], "ratio (CPU)": rate["cpu"] / reference,
            }
        )  # fmt: skip
    table(rows)
    size = CONFIG.batch_size
    result["windows_per_cpu_s"] = found[size, "ours"]["cpu"]
    result["ratio_to_plain"] = found[size, "ours"]["cpu"] / found[size, "plain"]["cpu"]
    result["ratio_to_plain_one_thread"] = found[size, "ours"]["cpu"] / found[size, "plain, one thread"]["cpu"]
    if chosen.data:
        read = reading(chosen.data, size, 10 if chosen.quick else 50)
        result["reading_windows_per_cpu_s"] = read
        result["reading_share"] = (1 / read) / (1 / read + 1 / result["windows_per_cpu_s"])
        print(
            f"reading {read:,.0f} windows a CPU second, {100 * result['reading_share']:.1f} % of the time\n"
        )
    if chosen.runs:
        table(scaling(chosen.runs))
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


if __name__ == "__main__":
    main()
