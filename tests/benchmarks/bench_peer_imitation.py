"""Ours against `imitation` 1.0.1: CPU seconds, labels and final true return on the same tasks.

    python tests/benchmarks/bench_peer_imitation.py [--quick] [--seeds 3] [--tasks classic:Pendulum]

The peer runs in an environment of its own (.venv-peer, made on first use: its pins fit no current
gymnasium). Runs are interleaved, ours and the peer's in turn, each a process on one core; CPU
seconds leave evaluation out on both sides. Ours is given the peer's labels and half of them.
Finished runs are kept in runs/bench-peer/ under all their settings, and not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from one_run import run_config

from agents.configs import config_to_json

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / ".venv-peer"
KEPT = ROOT / "runs" / "bench-peer"
TASKS = {"classic:Pendulum": (200, 122_880), "mujoco:Hopper": (700, 163_840)}


def peer_python() -> Path:
    python = PEER / "bin" / "python"
    if not python.exists():
        print("making the peer's environment in .venv-peer (minutes)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
        for packages in (["torch==2.13.0"], ["imitation==1.0.1", "mujoco", "imageio"]):
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def last_json(command: list[str]) -> dict[str, float]:
    """The JSON object on the last line of a command's output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def kept(identity: object, command: list[str]) -> dict[str, float]:
    """What a command gave, also when it gave it in an earlier run of this benchmark."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    path = KEPT / f"{digest}.json"
    if not path.exists():
        result = last_json(command)
        KEPT.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"identity": identity, "result": result}))
    return json.loads(path.read_text())["result"]


def run_peer(task: str, labels: int, steps: int, seed: int) -> dict[str, float]:
    script = ROOT / "tests" / "benchmarks" / "peer_imitation.py"
    arguments = ["--task", task, "--labels", str(labels), "--steps", str(steps), "--seed", str(seed)]
    identity = [hashlib.sha256(script.read_bytes()).hexdigest(), *arguments]
    return kept(identity, [str(peer_python()), str(script), *arguments])


# The peer's synthetic teacher: Boltzmann-rational with temperature 1.
TEACHER = ["teacher.kind=rational", "teacher.error_rate=null"]


def run_ours(task: str, labels: int, steps: int, seed: int) -> dict[str, float]:
    config = run_config(task, labels, steps, seed, "auto", TEACHER)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "tests" / "benchmarks" / "one_run.py"), "--env", task]
        command += ["--labels", str(labels), "--steps", str(steps), "--seed", str(seed)]
        for setting in TEACHER:
            command += ["--set", setting]
        return kept(config_to_json(config), [*command, "--run", f"{folder}/run"])


def compare(task: str, seeds: int, quick: bool) -> dict[str, float]:
    labels, steps = TASKS[task]
    if quick:
        steps //= 8
    rows: dict[str, list[dict[str, float]]] = {"peer": [], "ours": [], "ours, half the labels": []}
    for seed in range(seeds):
        rows["peer"].append(run_peer(task, labels, steps, seed))
        rows["ours"].append(run_ours(task, labels, steps, seed))
        rows["ours, half the labels"].append(run_ours(task, labels // 2, steps, seed))
        for who, results in rows.items():
            print(f"{task} seed {seed}, {who}: {results[-1]}", file=sys.stderr, flush=True)
    print(f"\n{task}, {labels} labels, {steps:,} learner steps, {seeds} seeds: median (lowest to highest)")
    print("| who | labels | CPU s | learner steps | true return |\n|---|---|---|---|---|")
    for who, results in rows.items():
        asked = labels // 2 if "half" in who else labels
        cells = [
            spread([row[key] for row in results]) for key in ("cpu_seconds", "learner_steps", "final_return")
        ]
        print(f"| {who} | {asked} | {' | '.join(cells)} |", flush=True)
    per_step = {
        who: [row["cpu_seconds"] / row["learner_steps"] for row in results] for who, results in rows.items()
    }
    ratios = [peer / ours for peer, ours in zip(per_step["peer"], per_step["ours"], strict=True)]
    worst = {who: min(row["final_return"] for row in results) for who, results in rows.items()}
    return {
        "cpu_ratio": statistics.median(ratios),
        "peer_worst_return": worst["peer"],
        "our_worst_return": worst["ours"],
        "our_worst_return_at_half": worst["ours, half the labels"],
        "peer_median_return": statistics.median(row["final_return"] for row in rows["peer"]),
        "our_median_return": statistics.median(row["final_return"] for row in rows["ours"]),
        "our_median_return_at_half": statistics.median(
            row["final_return"] for row in rows["ours, half the labels"]
        ),
    }


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="an eighth of the steps, one seed, Pendulum only"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    options = parser.parse_args()
    tasks, seeds = (["classic:Pendulum"], 1) if options.quick else (options.tasks, options.seeds)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    results = {task: compare(task, seeds, options.quick) for task in tasks}
    print(
        json.dumps({"cpu_ratio": min(result["cpu_ratio"] for result in results.values()), "tasks": results})
    )


if __name__ == "__main__":
    main()
