"""Where a learnt reward stands between doing nothing and knowing the true reward."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from agents.evaluate import evaluate, random_policy
from agents.runs import write_json
from envs.catalog import make_vec

_SAME_RESULT = ("torch_threads", "env_threads", "device", "fused_optimizer")
"""settings of a learner that change how fast it is, not what it learns"""


def score(preferences: float, random: float, true_reward: float) -> float:
    """s = (R_pref - R_random) / (R_true - R_random): 0 is the random policy, 1 the true reward.

    nan where the true-reward policy is no better than the random one: nothing can be said.
    """
    span = true_reward - random
    return (preferences - random) / span if span > 0 else math.nan


def baseline_returns(env: str, seed: int, episodes: int) -> dict[str, float]:
    """Mean true return of random actions, and of zero actions, as an untrained policy hardly moves.

    The better of the two is the honest zero of the score: on Reacher standing still beats random actions.
    """
    copy = make_vec(env, 1, seed, preferences=True)
    space = copy.action_space
    copy.close()
    returns = {"random_return": evaluate(env, random_policy(env, seed), episodes, seed).mean}
    if space.shape:
        still = np.zeros(space.shape, dtype=space.dtype)
        still_policy = evaluate(
            env, lambda raw: np.broadcast_to(still, (len(raw), *still.shape)), episodes, seed
        )
        returns["untrained_return"] = still_policy.mean
    return returns


def write_bounds(
    run: Path, true_reward_run: Path | None, *, seed: int = 20_000, episodes: int = 50
) -> dict[str, Any]:
    """bounds.json of a run, and its score in summary.json.

    true_reward_run: folder of `surefoot train rl` on the same environment with the same learner.
    Raises ValueError when that run is of another environment or was trained by another learner.
    """
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    known = run / "bounds.json"
    bounds: dict[str, Any] = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}
    if "random_return" not in bounds:
        bounds = dict(baseline_returns(summary["env"], seed, episodes))
    if true_reward_run is not None:
        best = json.loads((true_reward_run / "summary.json").read_text(encoding="utf-8"))
        if best["env"] != summary["env"]:
            raise ValueError(
                f"{true_reward_run} was trained on {best['env']}, {run} on {summary['env']}: "
                "a bound must come from the same environment"
            )
        _expect_same_learner(run, true_reward_run)
        bounds["true_reward_return"] = best["final_return"]
        bounds["true_reward_curve"] = _curve(true_reward_run)
    if "true_reward_return" in bounds:  # also known from before, when a run was made longer
        zero = max(bounds["random_return"], bounds.get("untrained_return", -math.inf))
        summary["score"] = score(summary["final_return"], zero, bounds["true_reward_return"])
        write_json(run / "summary.json", summary)
    write_json(run / "bounds.json", bounds)
    return bounds


def _expect_same_learner(run: Path, true_reward_run: Path) -> None:
    """A bound by another learner would measure the learners, not the rewards."""
    ours, theirs = (
        json.loads((path / "config.json").read_text(encoding="utf-8"))["learner"]
        for path in (run, true_reward_run)
    )
    different = [name for name in ours if name not in _SAME_RESULT and ours[name] != theirs.get(name)]
    if different:
        name = different[0]
        raise ValueError(
            f"{true_reward_run} has learner.{name} = {theirs.get(name)}, {run} has {ours[name]}: "
            "a bound must come from the same learner"
        )


def _curve(run: Path) -> list[list[float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [[row["step"], row["true_return"]] for row in rows if row.get("true_return") is not None]
