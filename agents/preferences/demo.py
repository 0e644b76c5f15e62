"""The demo: Hopper taught by 700 comparisons, beside the policy that knows the true reward; then a rover."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from agents.configs import config_to_json
from agents.preferences.bounds import write_bounds
from agents.preferences.config import PreferenceConfig
from agents.preferences.job import resume, start
from agents.preferences.presets import preference_config
from agents.presets import PPO_BALANCE
from agents.report import write_report

ENV = "mujoco:Hopper"
LABELS = 700
STEPS = 160_000
ROVER_SECONDS = 300
"""s that the rover's part may take, three times what it needs on two free cores; it is left out after that"""


def demo_config(seed: int, quick: bool) -> PreferenceConfig:
    """What `surefoot demo` trains; quick only shows that the parts work."""
    config = preference_config(
        ENV, labels=30 if quick else LABELS, steps=6_000 if quick else STEPS, seed=seed
    )
    # Like a person it also calls close pairs a tie, and skips pairs that show nothing.
    teacher = dataclasses.replace(config.teacher, equal_threshold=0.05, skip_threshold=0.05)
    # Slower than Hopper's own settings, and steadier: a demo has one seed.
    config = dataclasses.replace(config, teacher=teacher, learner=PPO_BALANCE)
    if quick:
        config = dataclasses.replace(config, evaluations=2, evaluation_episodes=2, final_episodes=2)
    return config


def run_demo(path: Path, *, seed: int = 0, quick: bool = False) -> Path:
    """Trains (or goes on), compares with the true reward, writes the report; gives its path.

    The bound runs beside it in a process of its own: two cores, one wait.
    """
    config = demo_config(seed, quick)
    bound = path / "true-reward"
    _say(f"{ENV}: {config.labels} comparisons (10 % wrong), {config.steps:,} steps, beside the true reward")
    process = _start_bound(bound, config, quick)
    try:
        summary = resume(path) if (path / "run.json").exists() else start(config, path)
        _say("waiting for the policy on the true reward, the bound of the curve")
        if process is not None and process.wait() != 0:
            raise RuntimeError(f"the policy on the true reward failed: see {bound}/log.txt")
    except BaseException:
        if process is not None:
            process.terminate()
        raise
    write_bounds(path, bound)
    if not quick:
        _add_rover(path / "rover")
    report = write_report(path)
    _tell(path, report, summary)
    return report


def _start_bound(bound: Path, config: PreferenceConfig, quick: bool) -> subprocess.Popen[bytes] | None:
    if (bound / "summary.json").exists():
        return None
    bound.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "surefoot"]
    if (bound / "run.json").exists():
        command += ["resume", str(bound)]
    else:
        command += ["train", "rl", "--env", config.env, "--steps", str(config.steps), "--run", str(bound)]
        command += ["--seed", str(config.seed)]
        command += ["--set", f"learner={json.dumps(config_to_json(config.learner))}"]  # the same learner
        if quick:
            command += [
                "--set",
                "final_episodes=2",
                "--set",
                "evaluation_episodes=2",
                "--set",
                "evaluations=2",
            ]
    with (bound / "log.txt").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _add_rover(folder: Path) -> None:
    """An extra in a process of its own: whatever becomes of it, the demo goes on."""
    if (folder / "summary.json").exists():
        return
    _say("and a rover that learns what its actions lead to: about a minute and a half")
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "agents.badgr.demo", str(folder)]
    try:
        with (folder / "log.txt").open("ab") as log:
            subprocess.run(command, stdout=log, stderr=log, timeout=ROVER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        _say(f"the rover's part is left out of the report ({error}): see {folder / 'log.txt'}")


def _tell(path: Path, report: Path, summary: dict[str, Any]) -> None:
    summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    bounds = json.loads((path / "bounds.json").read_text(encoding="utf-8"))
    _say(
        f"true return {summary['final_return']:.0f} on the learnt reward; "
        f"{bounds['true_reward_return']:.0f} on the true one; {bounds['random_return']:.0f} at random: "
        f"score {summary['score']:.2f}"
    )
    _say(f"report: {report}")
    _say(f"go on:  surefoot resume {path} --steps {2 * summary['steps']} --labels {2 * summary['labels']}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
