"""How well policies learn from comparisons, scored between random and the true reward.

    python tests/benchmarks/bench_preferences.py [--quick] [--seeds 3] [--jobs 2] [--only Pendulum Ablations]

s = (R_preferences - R_random) / (R_true - R_random), where R_true is the same learner with the same
steps on the true reward (median over seeds), and R_random the better of random actions and the
untrained policy. 50 deterministic episodes each; the teacher answers wrongly in 10 % unless a row
says otherwise. Finished runs are kept in runs/bench/ under all their settings, and not run again
before a setting changes: stop and go on at will.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from one_run import run_config

from agents.configs import config_to_json

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "runs" / "bench"


@dataclass(frozen=True)
class Row:
    """One line of a table: a setting that is run with several seeds."""

    table: str
    name: str
    env: str
    labels: int
    steps: int
    settings: tuple[str, ...] = ()
    algorithm: str = "auto"
    target: float | None = None
    """median score that counts as reproduced"""
    seeds: int = 5

    @property
    def bound(self) -> Row:
        """The same learner on the true reward."""
        kept = tuple(setting for setting in self.settings if setting.startswith("learner."))
        return replace(self, name="true reward", labels=0, settings=kept, target=None)


Results = dict[str, dict[str, float]]
"""what each run gave, by the name it is kept under"""

PAPER = ("reward.members=3", "reward.crop=1.0")


def rows() -> list[Row]:
    pendulum = Row("Pendulum", "200 labels", "classic:Pendulum", 200, 122_880, target=0.9)
    reacher = Row("Reacher", "350 labels", "mujoco:Reacher", 350, 200_000, target=0.7)
    cheetah = Row("HalfCheetah", "700 labels", "mujoco:HalfCheetah", 700, 300_000, target=0.8)
    ablation = replace(
        pendulum, table="Ablations", name="online, clips, information gain", labels=100, target=None
    )
    flips = replace(ablation, table="Flips")
    flipped = ("teacher.error_rate=0.2",)  # a uniform error of 0.4: half of those are right by chance
    return [
        pendulum,
        replace(pendulum, name="700 labels", labels=700, target=0.95),
        replace(pendulum, name="100 labels", labels=100, target=None),
        Row("Hopper", "700 labels", "mujoco:Hopper", 700, 163_840, target=0.9),
        reacher,
        replace(reacher, name="700 labels", labels=700, target=0.9),
        cheetah,
        replace(cheetah, name="1400 labels", labels=1400, target=None),
        Row("Backflip", "900 labels", "mujoco:HopperBackflip", 900, 600_000, seeds=3),
        Row("MovingDot (pixels)", "300 labels", "pixel:MovingDot", 300, 60_000, seeds=3),
        ablation,
        replace(ablation, name="3 members, whole clips (as the paper)", settings=PAPER),
        replace(ablation, name="random queries", settings=("selector=random",)),
        replace(ablation, name="variance queries", settings=("selector=variance",)),
        replace(ablation, name="offline: all labels first", settings=("schedule=offline",)),
        replace(ablation, name="single steps instead of clips", settings=("clip_steps=1",)),
        replace(flips, name="error model", settings=(*flipped, "reward.error_rate=0.4")),
        replace(flips, name="no error model", settings=(*flipped, "reward.error_rate=0.0")),
    ]


def kept_at(row: Row, seed: int) -> Path:
    """Where a run's result is kept: a name made of all its settings, presets included."""
    config = run_config(row.env, row.labels, row.steps, seed, row.algorithm, list(row.settings))
    settings = json.dumps(config_to_json(config), sort_keys=True)
    return KEPT / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}.json"


def run(row: Row, seed: int) -> dict[str, float]:
    """One training run, or what it gave when it was run before."""
    kept = kept_at(row, seed)
    if kept.exists():
        return json.loads(kept.read_text())
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "tests" / "benchmarks" / "one_run.py"), "--env", row.env]
        command += ["--labels", str(row.labels), "--steps", str(row.steps), "--seed", str(seed)]
        command += ["--algorithm", row.algorithm, "--run", f"{folder}/run"]
        for setting in row.settings:
            command += ["--set", setting]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{row.table}, {row.name}, seed {seed} failed:\n{done.stderr[-3000:]}")
    result = {
        "env": row.env,
        "name": row.name,
        "seed": seed,
        **json.loads(done.stdout.strip().splitlines()[-1]),
    }
    KEPT.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(result))
    print(f"{row.env} {row.name} seed {seed}: {result['final_return']:.1f}", file=sys.stderr, flush=True)
    return result


def zero(env: str) -> float:
    """The better of random actions and the untrained policy, which hardly moves: zero actions."""
    from agents.evaluate import evaluate, random_policy
    from envs.catalog import make_vec

    space = make_vec(env, 1, 0, preferences=True).action_space
    policies = [random_policy(env, 0)]
    if space.shape:
        policies.append(lambda observations: np.zeros((len(observations), *space.shape), dtype=space.dtype))
    return max(float(np.mean(evaluate(env, policy, 50, 20_000).returns)) for policy in policies)


def key(row: Row, seed: int) -> str:
    return kept_at(row, seed).stem


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def verdict(row: Row, score: float) -> str:
    if row.target is None:
        return ""
    return f"{'met' if score >= row.target else 'MISSED'} (at least {row.target})"


def table(name: str, chosen: list[Row], results: Results) -> dict[str, float]:
    first = chosen[0]
    bound = replace(first.bound, seeds=max(row.seeds for row in chosen))
    floor, digits = zero(first.env), 1 if "Reacher" in first.env or "Pendulum" in first.env else 0
    top = statistics.median(results[key(bound, seed)]["final_return"] for seed in range(bound.seeds))
    print(f"\n**{name}** ({first.env}, {first.steps:,} steps; zero of the score: {floor:.1f})\n")
    columns = ("run", "seeds", "true return, median (range)", "score s, median (range)")
    columns += ("reward accuracy", "episodes that succeed, %", "target")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    found = {}
    for row in [bound, *chosen]:
        mine = [results[key(row, seed)] for seed in range(row.seeds)]
        scores = [(one["final_return"] - floor) / (top - floor) for one in mine]
        accuracies = [one["held_out_accuracy"] for one in mine if one.get("held_out_accuracy") is not None]
        accuracy = f"{statistics.median(accuracies):.2f}" if accuracies else ""
        successes = [one["success_rate"] for one in mine if one.get("success_rate") is not None]
        success = spread([100 * rate for rate in successes], 0) if successes else ""
        returns = spread([one["final_return"] for one in mine], digits)
        met = verdict(row, statistics.median(scores))
        print(
            f"| {row.name} | {row.seeds} | {returns} | {spread(scores, 2)} | {accuracy} | {success} | {met} |"
        )
        found[f"{name}: {row.name}"] = round(statistics.median(scores), 4)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="Pendulum with 200 labels, one seed, a quarter of the steps"
    )
    parser.add_argument("--seeds", type=int, default=99, help="at the most; each row has its own number")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("--only", nargs="+", default=[], help="tables to make")
    options = parser.parse_args()
    chosen = [
        replace(row, seeds=min(row.seeds, options.seeds))
        for row in rows()
        if not options.only or any(row.table.startswith(name) for name in options.only)
    ]
    if options.quick:
        chosen = [replace(chosen[0], steps=chosen[0].steps // 4, target=None, seeds=1)]
    jobs = {
        key(job, seed): (job, seed)
        for seed in range(max(row.seeds for row in chosen))
        for row in chosen
        for job in (row.bound, row)
        if seed < row.seeds
    }
    with ThreadPoolExecutor(options.jobs) as pool:
        results = dict(zip(jobs, pool.map(lambda job: run(*job), jobs.values()), strict=True))
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
    found: dict[str, float] = {}
    for name in dict.fromkeys(row.table for row in chosen):
        found |= table(name, [row for row in chosen if row.table == name], results)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
