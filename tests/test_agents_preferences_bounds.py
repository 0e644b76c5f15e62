"""What a learnt reward is measured against."""

import json
import math
from pathlib import Path

import pytest

from agents.preferences.bounds import score, write_bounds

LEARNER = {"algorithm": "ppo", "learning_rate": 1e-3, "env_threads": None}


def run(folder: Path, final: float, env: str = "classic:Pendulum", **learner: object) -> Path:
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({"env": env, "final_return": final}))
    (folder / "config.json").write_text(json.dumps({"env": env, "learner": {**LEARNER, **learner}}))
    (folder / "metrics.jsonl").write_text('{"step": 5, "true_return": -7.0}\n{"step": 6, "loss": 1.0}\n')
    return folder


def test_a_run_is_scored_between_the_better_of_doing_nothing_and_the_true_reward(tmp_path: Path) -> None:
    ours = run(tmp_path / "ours", -400.0)
    (ours / "bounds.json").write_text('{"random_return": -1300.0, "untrained_return": -1200.0}')
    bounds = write_bounds(ours, run(tmp_path / "true", -200.0, env_threads=1))
    assert json.loads((ours / "summary.json").read_text())["score"] == pytest.approx(0.8)
    assert bounds["true_reward_curve"] == [[5, -7.0]]
    assert write_bounds(ours, None)["true_reward_return"] == -200.0, "it is kept for a run made longer"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": "mujoco:Hopper"}, "a bound must come from the same environment"),
        ({"learning_rate": 3e-4}, r"learner\.learning_rate = 0\.0003, .* has 0\.001: a bound must come from"),
    ],
)
def test_a_bound_that_does_not_fit_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    ours = run(tmp_path / "ours", -400.0)
    (ours / "bounds.json").write_text('{"random_return": -1300.0}')
    with pytest.raises(ValueError, match=message):
        write_bounds(ours, run(tmp_path / "true", -200.0, **changes))


def test_nothing_is_said_where_the_true_reward_teaches_nothing() -> None:
    assert math.isnan(score(-100.0, -50.0, -60.0))
