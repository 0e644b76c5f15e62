"""One training run, for benchmarks that start many: settings in, one JSON object out.

CPU seconds leave evaluation out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
from pathlib import Path

from agents.preferences.config import PreferenceConfig
from agents.preferences.presets import preference_config
from agents.presets import RlConfig, default_learner
from agents.settings import with_settings


def run_config(
    env: str, labels: int, steps: int, seed: int, algorithm: str, settings: list[str]
) -> PreferenceConfig | RlConfig:
    """All settings of a run, the presets' among them; labels 0 is the true reward."""
    settings = [*settings, "learner.env_threads=1"]  # runs stand side by side: one core each
    if labels:
        config = preference_config(env, labels=labels, steps=steps, seed=seed, algorithm=algorithm)
        return with_settings(dataclasses.replace(config, evaluations=0, checkpoints=0), settings)
    learner = default_learner(env, algorithm)
    rl = RlConfig(env=env, steps=steps, seed=seed, learner=learner, evaluations=0, checkpoints=0)
    return with_settings(rl, settings)


def train(config: PreferenceConfig | RlConfig, path: Path) -> None:
    """Imports torch, which a benchmark that only asks for the settings does without."""
    if isinstance(config, RlConfig):
        from agents.rl import train_rl

        train_rl(config, path, quiet=True, tensorboard=False)
        return
    from agents.preferences.train import PreferenceTrainer
    from agents.runs import start_run

    with start_run(path, config, config.seed, tensorboard=False) as run:
        PreferenceTrainer(config, run, quiet=True).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", required=True)
    parser.add_argument("--labels", type=int, required=True, help="0 trains on the true reward")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--algorithm", default="auto")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    config = run_config(
        options.env, options.labels, options.steps, options.seed, options.algorithm, options.set
    )
    train(config, options.run)
    summary = json.loads((options.run / "summary.json").read_text(encoding="utf-8"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "cpu_seconds": summary["cpu_seconds"],
                "learner_steps": summary["steps"],
                "final_return": summary["final_return"],
                "success_rate": summary["success_rate"],
                "held_out_accuracy": summary.get("held_out_accuracy"),
                "peak_mib": peak,
            }
        )
    )


if __name__ == "__main__":
    main()
