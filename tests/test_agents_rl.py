"""Training on the true reward: it learns, it stops on request, and a kill -9 changes nothing."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.checkpoint import CheckpointError, latest_checkpoint, load_checkpoint
from agents.configs import config_to_json
from agents.interrupts import RunStopped
from agents.presets import LearnerConfig, RlConfig, default_learner
from agents.rl import RunningMeans, crossed, load_learner, train_rl
from agents.run_lock import RunError
from agents.runs import read_config

ROOT = Path(__file__).parent.parent
PPO = LearnerConfig(n_envs=4, n_steps=64, batch_size=64, n_epochs=2, normalize_reward=True, env_threads=1)
SAC = LearnerConfig(
    algorithm="sac",
    n_envs=2,
    hidden=(32, 32),
    activation="relu",
    learning_starts=100,
    batch_size=32,
    buffer_size=1_000,
    iteration_steps=100,
    normalize_observation=False,
)
BRIEF = RlConfig(
    env="classic:Pendulum",
    steps=2_048,
    learner=PPO,
    evaluations=3,
    evaluation_episodes=2,
    final_episodes=4,
    checkpoints=6,
)
KILLED = {
    "ppo-pendulum": replace(BRIEF, steps=8_192, checkpoints=10),
    "ppo-hopper": replace(BRIEF, env="mujoco:Hopper", steps=8_192, checkpoints=10, evaluations=1),
    "sac-pendulum": replace(BRIEF, steps=1_500, learner=SAC, checkpoints=7),
}
SCRIPT = """
import json, sys
from agents.configs import config_from_json
from agents.presets import RlConfig
from agents.rl import train_rl
config = config_from_json(json.load(open(sys.argv[1])), RlConfig)
train_rl(config, sys.argv[2], resume=True, quiet=True, tensorboard=False)
"""


def outcome(path: Path) -> dict[str, bytes]:
    """Everything that must not depend on kills: metrics, weights, optimisers, generators, replay."""
    checkpoint = latest_checkpoint(path / "checkpoints")
    assert checkpoint is not None
    state = json.loads((checkpoint / "state.json").read_text())["state"]["learner"]
    return {
        "metrics": (path / "metrics.jsonl").read_bytes(),
        "tensors": (checkpoint / "state.safetensors").read_bytes(),
        "state": json.dumps(state, sort_keys=True).encode(),
        "name": checkpoint.name.encode(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", list(KILLED))
def test_a_run_killed_at_random_moments_ends_as_one_that_was_not(tmp_path: Path, name: str) -> None:
    config = KILLED[name]
    settings = tmp_path / "config.json"
    settings.write_text(json.dumps(config_to_json(config)))
    train_rl(config, tmp_path / "whole", quiet=True, tensorboard=False)
    command = [sys.executable, "-c", SCRIPT, str(settings), str(tmp_path / "killed")]
    rng, moments = np.random.default_rng(), []
    for _ in range(40):
        with subprocess.Popen(command, cwd=ROOT) as process:
            if len(moments) < 3:
                _wait_for_progress(process, tmp_path / "killed")
                moments.append(rng.uniform(0.0, 0.4))
                time.sleep(moments[-1])
                process.kill()
            code = process.wait(timeout=300)
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert code == 0
    assert moments
    whole, killed = outcome(tmp_path / "whole"), outcome(tmp_path / "killed")
    assert [part for part in whole if whole[part] != killed[part]] == [], moments


def _wait_for_progress(process: subprocess.Popen[bytes], run: Path) -> None:
    """Until training has begun in this process: a kill while python still imports would test nothing."""
    timing = run / "timing.jsonl"
    before = timing.stat().st_size if timing.exists() else 0
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if timing.exists() and timing.stat().st_size > before:
            return
        time.sleep(0.01)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_rl(replace(BRIEF, seed=seed), tmp_path / name, quiet=True, tensorboard=False)
    a, b, c = (outcome(tmp_path / name) for name in "abc")
    assert a == b
    assert a["metrics"] != c["metrics"]


def test_a_run_leaves_its_configuration_curve_and_summary(tmp_path: Path) -> None:
    scores = train_rl(BRIEF, tmp_path / "r", quiet=True)
    assert scores.returns.shape == (4,)
    assert read_config(tmp_path / "r", RlConfig) == BRIEF
    summary = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert summary["final_return"] == pytest.approx(scores.returns.mean())
    assert summary["steps"] == 2_048
    rows = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "true_return" in row] == [0, 768, 1536, 2048]
    assert list((tmp_path / "r" / "tensorboard").iterdir())


def test_a_finished_run_that_is_resumed_stays_as_it_was(tmp_path: Path) -> None:
    train_rl(BRIEF, tmp_path / "r", quiet=True, tensorboard=False)
    before = outcome(tmp_path / "r")
    train_rl(BRIEF, tmp_path / "r", resume=True, quiet=True, tensorboard=False)
    assert outcome(tmp_path / "r") == before
    with pytest.raises(RunError, match="add --resume"):
        train_rl(BRIEF, tmp_path / "r", quiet=True)


def test_a_run_can_be_made_longer(tmp_path: Path) -> None:
    train_rl(BRIEF, tmp_path / "r", quiet=True, tensorboard=False)
    train_rl(replace(BRIEF, steps=3_072), tmp_path / "r", resume=True, quiet=True, tensorboard=False)
    newest = latest_checkpoint(tmp_path / "r" / "checkpoints")
    assert newest is not None
    assert newest.name == "step_000003072"


def test_ctrl_c_saves_everything_and_says_how_to_go_on(tmp_path: Path) -> None:
    settings = tmp_path / "config.json"
    settings.write_text(json.dumps(config_to_json(replace(BRIEF, steps=500_000, checkpoints=0))))
    script = SCRIPT + "\n"
    script = script.replace(
        "train_rl(config,", "from agents.interrupts import RunStopped\ntry:\n  train_rl(config,"
    )
    script += "except RunStopped as stopped:\n  print(stopped)\n  sys.exit(130)\n"
    command = [sys.executable, "-c", script, str(settings), str(tmp_path / "r")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        _wait_for_progress(process, tmp_path / "r")
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"go on with: surefoot resume {tmp_path / 'r'}" in output
    newest = latest_checkpoint(tmp_path / "r" / "checkpoints")
    assert newest is not None
    assert 0 < load_checkpoint(newest)["learner"]["model"]["counters"]["num_timesteps"] < 500_000
    assert issubclass(RunStopped, Exception)


def test_a_trained_policy_is_loaded_for_use(tmp_path: Path) -> None:
    train_rl(BRIEF, tmp_path / "r", quiet=True, tensorboard=False)
    learner = load_learner(tmp_path / "r")
    assert learner.steps == 2_048
    actions = learner.predict(np.zeros((7, 3), np.float32))
    assert actions.shape == (7, 1)
    learner.env.close()
    for checkpoint in (tmp_path / "r" / "checkpoints").iterdir():
        (checkpoint / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        load_learner(tmp_path / "r")


def test_a_damaged_newest_checkpoint_costs_only_the_steps_since_the_one_before(tmp_path: Path) -> None:
    train_rl(BRIEF, tmp_path / "r", quiet=True, tensorboard=False)
    before = outcome(tmp_path / "r")
    newest = latest_checkpoint(tmp_path / "r" / "checkpoints")
    assert newest is not None
    (newest / "state.safetensors").write_bytes(b"torn")
    train_rl(BRIEF, tmp_path / "r", resume=True, quiet=True, tensorboard=False)
    assert outcome(tmp_path / "r") == before


@pytest.mark.slow
def test_pendulum_is_learnt() -> None:
    """Median of three seeds; an untrained policy has -1200."""
    finals = []
    for seed in range(3):
        config = RlConfig(
            "classic:Pendulum", 60_000, seed, learner=default_learner("classic:Pendulum"), evaluations=0
        )
        with tempfile.TemporaryDirectory() as folder:
            finals.append(train_rl(config, Path(folder) / "r", quiet=True, tensorboard=False).mean)
    assert np.median(finals) > -220


def test_means_are_over_the_rows_between_two_takes() -> None:
    means = RunningMeans()
    means.add({"b": 1.0, "a": 3.0})
    means.add({"b": 2.0})
    other = RunningMeans()
    other.load_state_dict(means.state_dict())
    for one in (means, other):
        assert list(one.take().items()) == [("a", 3.0), ("b", 1.5)]
        assert one.take() == {}


def test_marks_are_crossed_once_each() -> None:
    steps = [*range(0, 1_001, 70), 1_000]
    marks = sum(crossed(a, b, 1_000, 8) for a, b in itertools.pairwise(steps))
    assert marks == 8
    assert not crossed(0, 1_000, 1_000, 0)


def test_nonsense_settings_are_named() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        RlConfig(steps=0)
    with pytest.raises(ValueError, match="n_envs must be at least 1"):
        LearnerConfig(n_envs=0)
    assert torch.get_num_threads() >= 1
