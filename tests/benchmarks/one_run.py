"""One training run, for benchmarks that start many: settings in, one JSON object out.

CPU seconds leave evaluation out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
from pathlib import Path

from agents.preferences.presets import preference_config
from agents.preferences.train import PreferenceTrainer
from agents.presets import RlConfig, default_learner
from agents.rl import train_rl
from agents.runs import start_run
from agents.settings import with_settings


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
    options.set.append("learner.env_threads=1")  # runs stand side by side: one core each
    if options.labels:
        config = preference_config(
            options.env,
            labels=options.labels,
            steps=options.steps,
            seed=options.seed,
            algorithm=options.algorithm,
        )
        config = with_settings(dataclasses.replace(config, evaluations=0, checkpoints=0), options.set)
        with start_run(options.run, config, config.seed, tensorboard=False) as run:
            PreferenceTrainer(config, run, quiet=True).run()
    else:
        rl = RlConfig(
            env=options.env,
            steps=options.steps,
            seed=options.seed,
            learner=default_learner(options.env, options.algorithm),
            evaluations=0,
            checkpoints=0,
        )
        train_rl(with_settings(rl, options.set), options.run, quiet=True, tensorboard=False)
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
