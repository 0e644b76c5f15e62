"""`surefoot train base`, `surefoot train sidetuning`, and what other commands do with such runs."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from agents.sidetuning.base_config import PretrainConfig
from agents.sidetuning.config import SideError
from agents.sidetuning.navigation_config import NavigationConfig
from envs.habitat_nav import Simulator
from envs.rover.worlds import Split

KINDS = (PretrainConfig.__name__, NavigationConfig.__name__)
"""of these runs, in run.json"""


def is_sidetuning(run: Path) -> bool:
    """Whether a folder holds a run of a base or of a navigator."""
    return _kind(run) in KINDS


def start(config: PretrainConfig | NavigationConfig, path: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Trains from the beginning and returns the summary."""
    return _train(config, path, resume=False, quiet=quiet)


def resume(path: Path, *, steps: int | None = None, quiet: bool = False) -> dict[str, Any]:
    """Goes on from the newest checkpoint. steps: a new total, of updates where there is imitation."""
    from agents.configs import config_to_json
    from agents.run_lock import lock_run
    from agents.runs import read_config, write_json

    config: Any = read_config(path, PretrainConfig if _kind(path) == KINDS[0] else NavigationConfig)
    if steps is not None:
        changed = with_steps(config, steps)
        with lock_run(path):  # another process may be training
            write_json(path / "config.json", config_to_json(changed))
        config = changed
    return _train(config, path, resume=True, quiet=quiet)


def with_steps(config: Any, steps: int) -> Any:
    """The configuration with another length."""
    if isinstance(config, PretrainConfig):
        return dataclasses.replace(config, steps=steps)
    if config.how == "ppo":
        return dataclasses.replace(config, ppo=dataclasses.replace(config.ppo, steps=steps))
    return dataclasses.replace(config, updates=steps)


def evaluate(
    path: Path,
    episodes: int,
    seed: int,
    world: str = "",
    split: Split = "test",
    simulator: Simulator | None = None,
) -> dict[str, Any]:
    """What `surefoot evaluate` prints of a run: of a navigator its scores, of a base how well it sees.

    simulator: a navigator's; None: the run's own. Raises SideError where it is given for anything else.
    """
    if simulator is not None and _kind(path) != KINDS[1]:
        raise SideError(
            f"--simulator {simulator} is for navigators, the runs of `surefoot train sidetuning`: "
            f"{path} is none, evaluate it without --simulator"
        )
    if _kind(path) == KINDS[0]:
        from agents.sidetuning.visual_base import read_about

        about = read_about(path)
        return {"base_sha256": about["sha256"], **about["measured"]}
    from agents.sidetuning.navigate import evaluate_run

    return evaluate_run(path, episodes, seed, world, split, simulator).summary()


def _train(config: Any, path: Path, *, resume: bool, quiet: bool) -> dict[str, Any]:
    if isinstance(config, PretrainConfig):
        from agents.sidetuning.pretrain import train_base

        summary = train_base(config, path, resume=resume, quiet=quiet)
        said = ", ".join(f"{name.partition('/')[2]} {x:.3f}" for name, x in summary["measured"].items())
    else:
        from agents.sidetuning.navigate import train_navigator

        summary = train_navigator(config, path, resume=resume, quiet=quiet)
        test = summary["test"]
        said = ", ".join(f"{name} {test[name]:.3f}" for name in ("success", "spl", "collisions"))
    from agents.sidetuning.report import write_report

    print(f"{write_report(path)}: {said}", file=sys.stderr)
    return summary


def _kind(run: Path) -> str:
    about = run / "run.json"
    if not about.exists():
        return ""
    return str(json.loads(about.read_text(encoding="utf-8")).get("kind"))
