"""Training of a navigator: a run that resumes, ends with scores on unseen layouts and the robot's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as tensors_to_bytes

from agents.interrupts import StopSignal
from agents.runs import Run, read_config, write_json
from agents.sidetuning.accounting import count_parameters
from agents.sidetuning.config import SideError
from agents.sidetuning.demos import gather_demos
from agents.sidetuning.frozen import FrozenBase
from agents.sidetuning.imitate import Imitation
from agents.sidetuning.loop import Schedule, Spent, opened, run_job
from agents.sidetuning.navigate_evaluate import Decide, NavigationScores, evaluate_navigator
from agents.sidetuning.navigation_config import TRIPS_FILE, NavigationConfig
from agents.sidetuning.navigator import IMAGE, load_weights, logits, make_policy, prepared, side_model
from agents.sidetuning.policy_file import write_policy
from agents.sidetuning.visual_base import VisualBase, load_base
from envs.batch import Array
from envs.files import write_durably
from envs.habitat_nav import Simulator, make_nav
from envs.pointnav import PointNav, PointNavConfig
from envs.rover.worlds import Split

WEIGHTS, MODEL, SIDE = "policy.safetensors", "navigator.side", "side"
"""in the run's folder: all of the policy but the base, what a robot is given, the adapter for `SideModel`"""
SHOWN = 6
"""first trips of the test whose ways are kept, for the report"""
PARITY = 32
"""steps on which the robot's file must decide as the policy"""


def train_navigator(
    config: NavigationConfig,
    path: Path | str,
    resume: bool = False,
    quiet: bool = False,
    tensorboard: bool = True,
    *,
    demos: Path | None = None,
) -> dict[str, Any]:
    """Trains to the end, or goes on from the newest checkpoint; writes summary.json and what was learnt.

    demos: folder that demonstrations are kept in; by default beside the run, so that runs share them.
    Returns the summary. Raises RunStopped after Ctrl-C or SIGTERM, when all is saved, and HabitatMissingError
    where Habitat is asked for and is not there.
    """
    path = Path(path)
    network = load_base(config.base)
    if config.simulator == "habitat":  # whether it runs is seen before the run begins, not at its end
        make_nav(config.simulator, _rooms(config, network, "test"), 1).close()
    with opened(path, config, config.seed, resume, tensorboard) as run, StopSignal() as stop:
        base = FrozenBase(network)
        if _expected_base(path, base.sha256) != base.sha256:
            raise SideError(f"the base in {config.base} is not the one that {path} began with")
        if config.how == "ppo":
            return _reinforce(config, run, base, stop, quiet)
        return _imitate(config, run, base, stop, quiet, demos or path.parent / "demos")


def load_navigator(path: Path | str) -> tuple[NavigationConfig, Any]:
    """The configuration and the policy that a run ended with. Raises SideError when it has not ended."""
    path = Path(path)
    config = read_config(path, NavigationConfig)
    if not (path / WEIGHTS).exists():
        raise SideError(f"{path} is not done yet: go on with `surefoot resume {path}`")
    base = load_base(config.base)
    nav = PointNav(_rooms(config, base, "test"), 1)
    policy = make_policy(
        nav.observation_space, nav.action_space, FrozenBase(base), config.adapter, config.hidden, 1e-3
    )
    load_weights(policy, path / WEIGHTS)
    policy.set_training_mode(False)
    return config, policy


def evaluate_run(
    path: Path | str,
    episodes: int,
    seed: int = 0,
    world: str = "",
    split: Split = "test",
    simulator: Simulator | None = None,
) -> NavigationScores:
    """A finished run's navigator on trips of a world, in a simulator; both by default its own."""
    config, policy = load_navigator(path)
    rooms = _rooms(config, side_model(policy).base, split, world)
    return evaluate_navigator(decider(policy), rooms, episodes, seed, simulator=simulator or config.simulator)


def watched_trips(scores: NavigationScores) -> list[dict[str, Any]]:
    """World, trip, outcome and way, in whole centimetres, of each trip that was watched."""
    return [
        {
            "world": scores.trips[k][0],
            "trip": scores.trips[k][1],
            "success": bool(scores.success[k]),
            "spl": round(float(scores.spl[k]), 3),
            "track": np.round(track, 2).tolist(),
        }
        for k, track in enumerate(scores.tracks)
    ]


def decider(policy: Any) -> Decide:
    """The policy as `evaluate_navigator` takes it."""

    @torch.no_grad()
    def decide(observations: Mapping[str, Array]) -> Array:
        chances: Array = torch.softmax(logits(policy, prepared(observations)), 1).numpy()
        return chances

    return decide


def _imitate(
    config: NavigationConfig, run: Run, base: FrozenBase, stop: StopSignal, quiet: bool, folder: Path
) -> dict[str, Any]:
    rooms = _rooms(config, base.module, "train")
    demos = gather_demos(rooms, config.demos, config.demo_seed, config.demo_noise, folder, quiet)
    nav = PointNav(rooms, 1)
    job = Imitation(config, base, nav.observation_space, nav.action_space, demos)
    schedule = Schedule(
        f"{config.method}, {config.demos} demonstrations",
        *(config.updates, config.log_rows, config.evaluations, config.checkpoints),
    )
    spent = run_job(job, run, schedule, stop, quiet)
    job.choose()
    learnt = {
        "demos": config.demos,
        "demo_steps": job.steps,
        "updates": config.updates,
        "best_update": job.best_step,
        "holdout_loss": job.best_loss,
    }
    examples = {name: x[:PARITY] for name, x in demos.sensors.items()}
    return _finish(config, run, base, job.policy, learnt, examples, spent)


def _reinforce(
    config: NavigationConfig, run: Run, base: FrozenBase, stop: StopSignal, quiet: bool
) -> dict[str, Any]:
    from agents.sidetuning.reinforce import Reinforcement

    rooms = _rooms(config, base.module, "train")
    job = Reinforcement(config, base, rooms)
    if config.start_from:
        before = read_config(config.start_from, NavigationConfig)
        same = ("method", "hidden", "trail", "stop")
        if any(getattr(before, name) != getattr(config, name) for name in same):
            raise SideError(f"{config.start_from} has another policy: begin with a run of the same method")
        load_weights(job.policy, Path(config.start_from) / WEIGHTS)
    updates = config.ppo.updates
    schedule = Schedule(
        f"{config.method}, PPO", updates, config.log_rows, config.evaluations, config.checkpoints
    )
    with closing(job):
        spent = run_job(job, run, schedule, stop, quiet)
        job.choose()
        examples = {name: x[:PARITY] for name, x in job.inner.nav.observe().items()}
    return _finish(config, run, base, job.policy, {"steps": config.ppo.steps}, examples, spent)


def _finish(
    config: NavigationConfig,
    run: Run,
    base: FrozenBase,
    policy: Any,
    learnt: dict[str, Any],
    examples: Mapping[str, Array],
    spent: Spent,
) -> dict[str, Any]:
    from agents.sidetuning.sb3_export import export_sb3

    model = side_model(policy)
    unchanged = model.base_fingerprint() == base.sha256
    if not unchanged:
        raise SideError("the base was changed in training: something else has it in an optimiser")
    tensors = {name: x.detach().contiguous().clone() for name, x in policy.state_dict().items()}
    write_durably(run.path / WEIGHTS, tensors_to_bytes(tensors))
    model.save_pretrained(run.path / SIDE)
    policy_file, difference = export_sb3({config.name: _plain(config, base, policy)}, examples)
    write_policy(run.path / MODEL, policy_file)
    rooms = _rooms(config, base.module, "test")
    scores = evaluate_navigator(
        decider(policy), rooms, config.episodes, watched=SHOWN, simulator=config.simulator
    )
    write_json(run.path / TRIPS_FILE, watched_trips(scores))
    counted = count_parameters(model, "policy")
    last = {key: x for row in run.metrics() for key, x in row.items() if key.startswith("side/")}
    summary = {
        "kind": "sidetuning",
        "how": config.how,
        "method": config.method,
        "world": config.world,
        "simulator": config.simulator,
        "seed": config.seed,
        **learnt,
        "test": scores.summary(),
        "base_sha256": base.sha256,
        "parameters": {
            "base": counted.base, "side": counted.side, "merge": counted.merge,
            "head": sum(x.numel() for x in policy.parameters()) - counted.side - counted.merge,
            "share": counted.share, "bytes": counted.bytes,
        },
        **{key.replace("/", "_"): value for key, value in last.items()},
        "onnx_difference": difference,
        "cpu_seconds": spent.cpu,
        "wall_seconds": spent.wall,
    }  # fmt: skip
    write_json(run.path / "summary.json", summary)
    return summary


def _plain(config: NavigationConfig, base: FrozenBase, policy: Any) -> Any:
    """The policy on what sensors give alone, as the robot's file reads them."""
    nav = PointNav(_rooms(config, base.module, "test"), 1)
    plain = make_policy(nav.observation_space, nav.action_space, base, config.adapter, config.hidden, 1e-3)
    plain.load_state_dict(policy.state_dict())
    return plain


def _rooms(config: NavigationConfig, base: Any, split: Split, world: str = "") -> PointNavConfig:
    if not isinstance(base, VisualBase):
        raise SideError(f"expected the base of a base's folder, got a {type(base).__name__}")
    from dataclasses import replace

    config = replace(config, world=world) if world else config
    return config.rooms(split, base.config.height, base.config.width)


def _expected_base(path: Path, sha256: str) -> str:
    """Fingerprint of the base that the run began with; notes it in a new run."""
    file = path / "base.json"
    if file.exists():
        return str(json.loads(file.read_text(encoding="utf-8"))["sha256"])
    write_json(file, {"sha256": sha256, "sensor": IMAGE})
    return sha256
