import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agents.checkpoint import latest_checkpoint, load_checkpoint
from agents.preferences.comparison import Comparison
from agents.preferences.config import PreferenceConfig
from agents.preferences.labels import LabelLog
from agents.preferences.presets import preference_config
from agents.preferences.reward_config import RewardConfig
from agents.preferences.teachers import TeacherConfig
from agents.preferences.train import PreferenceTrainer
from agents.presets import LearnerConfig
from agents.runs import start_run
from agents.settings import with_settings
from envs.batch import BatchEnv
from envs.catalog import make_vec
from envs.dataset import EpisodeDataset

ROOT = Path(__file__).resolve().parent.parent


def small(algorithm="ppo", **changes) -> PreferenceConfig:
    config = preference_config("classic:Pendulum", labels=24, steps=2048, seed=3, algorithm=algorithm)
    learner = dataclasses.replace(config.learner, n_steps=32, batch_size=64, n_epochs=2)
    if algorithm == "sac":
        learner = dataclasses.replace(
            learner, learning_starts=200, hidden=(32,), gradient_steps=1, iteration_steps=100, n_envs=4
        )
    return dataclasses.replace(
        config,
        learner=learner,
        reward=RewardConfig(hidden=(16,), initial_minibatches=20, update_minibatches=5),
        label_batch=4,
        clip_steps=10,
        evaluations=4,
        evaluation_episodes=2,
        final_episodes=4,
        checkpoints=8,
        **changes,
    )


def train(config, folder, teacher=None, env=None):
    with start_run(folder, config, config.seed, tensorboard=False) as record:
        trainer = PreferenceTrainer(config, record, teacher, quiet=True, env=env)
        try:
            summary = trainer.run()
        finally:
            trainer.close()
    return summary, trainer


def weights(folder):
    """Everything but clock readings of a run's newest checkpoint, flattened by name."""
    state = load_checkpoint(latest_checkpoint(folder / "checkpoints"))
    flat = {}

    def walk(name, value):
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}/{key}", inner)
        elif isinstance(value, (list, tuple)):
            for index, inner in enumerate(value):
                walk(f"{name}/{index}", inner)
        else:
            flat[name] = np.asarray(value)

    walk("", {name: value for name, value in state.items() if name not in ("cpu_seconds", "wall_seconds")})
    return flat


def assert_equal_runs(one, other):
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    different = [
        name for name in first if not np.array_equal(first[name], second[name], equal_nan=_real(first[name]))
    ]
    assert different == []
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()


def _real(array):
    return array.dtype.kind == "f"


RESUMED = """
import sys, json
from pathlib import Path
from agents.configs import config_from_json
from agents.preferences.config import PreferenceConfig
from agents.preferences.train import PreferenceTrainer
from agents.runs import open_run, start_run, set_seeds

path, config = Path(sys.argv[1]), config_from_json(json.loads(sys.argv[2]), PreferenceConfig)
begun = (path / "run.json").exists()
if begun:
    set_seeds(12345)  # what a resumed process starts with must not matter
record = open_run(path, False) if begun else start_run(path, config, config.seed, False)
with record:
    trainer = PreferenceTrainer(config, record, quiet=True)
    print("started", flush=True)
    trainer.run()
    trainer.close()
"""


def run_in_process(config, folder):
    from agents.configs import config_to_json

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", RESUMED, str(folder), json.dumps(config_to_json(config))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_run_killed_at_random_moments_ends_like_one_that_was_not(tmp_path, algorithm):
    config = small(algorithm)
    whole = run_in_process(config, tmp_path / "whole")
    whole.stdout.readline()
    started = time.monotonic()
    _, errors = whole.communicate()
    assert whole.returncode == 0, errors.decode()
    seconds = time.monotonic() - started
    chance = random.Random(7)
    kills = 0
    for _ in range(3):
        process = run_in_process(config, tmp_path / "killed")
        process.stdout.readline()
        try:
            process.communicate(timeout=chance.uniform(0.1, 0.7) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
    assert kills, "no kill came before the end"
    last = run_in_process(config, tmp_path / "killed")
    _, errors = last.communicate()
    assert last.returncode == 0, errors.decode()
    assert_equal_runs(tmp_path / "whole", tmp_path / "killed")
    assert (tmp_path / "whole" / "labels.jsonl").read_bytes() == (
        tmp_path / "killed" / "labels.jsonl"
    ).read_bytes()


def test_the_same_seed_gives_the_same_run(tmp_path):
    train(small(), tmp_path / "one")
    train(small(), tmp_path / "two")
    assert_equal_runs(tmp_path / "one", tmp_path / "two")


class OtherTruth:
    """The same environments under another true reward."""

    def __init__(self, env: BatchEnv) -> None:
        self._env = env

    def __getattr__(self, name):
        return getattr(self._env, name)

    def step(self, actions):
        step = self._env.step(actions)
        return dataclasses.replace(
            step, infos={**step.infos, "true_reward": (7 - 3 * step.infos["true_reward"]).astype(np.float32)}
        )


class AnswersInOrder:
    """What another run's teacher answered, in the order of the questions."""

    def __init__(self, log):
        self.answers = [comparison.answer for comparison in log]

    def answer(self, query, left, right):
        return Comparison(query, self.answers[query.index])


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_the_learner_never_sees_the_true_reward(tmp_path, algorithm):
    config = small(algorithm)
    _, first = train(config, tmp_path / "truth")
    teacher = AnswersInOrder(LabelLog(tmp_path / "truth" / "labels.jsonl"))
    other = OtherTruth(make_vec(config.env, config.learner.n_envs, config.seed, preferences=True))
    _, second = train(config, tmp_path / "other", teacher, other)
    ours, theirs = (trainer.learner.model.policy.state_dict() for trainer in (first, second))
    assert all((ours[name] == theirs[name]).all() for name in ours)
    with EpisodeDataset(tmp_path / "other" / "clips", read_only=True) as clips:
        assert clips[clips.ids[0]].info["true_reward"].min() > 7, "the other truth was in force"


def test_labels_that_come_late_are_all_used(tmp_path):
    summary, trainer = train(small(asynchronous=True, seconds_per_label=0.002), tmp_path / "run")
    assert summary["labels"] == len(list(LabelLog(tmp_path / "run" / "labels.jsonl")))
    assert summary["labels"] >= 6, "at least those asked before training"
    assert trainer.session.asked == 24


def test_a_teacher_who_skips_everything_ends_with_a_clear_error(tmp_path):
    class Skips:
        def answer(self, query, left, right):
            return Comparison(query, "skip")

    with pytest.raises(RuntimeError, match="first answers were skips"):
        train(small(), tmp_path / "run", Skips())


def test_exploration_without_labels_comes_first_when_asked_for(tmp_path):
    summary, _ = train(small("sac", unsupervised_steps=600), tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["step"] >= 600
    assert summary["initial_steps"] == 0
    assert summary["labels"] == 24


def test_single_steps_can_be_compared(tmp_path):
    summary, _ = train(dataclasses.replace(small(), clip_steps=1), tmp_path / "run")
    assert summary["labels"] == 24


def test_pixels_are_learnt_from_with_the_convolutional_ensemble(tmp_path):
    config = preference_config("pixel:MovingDot", labels=8, steps=512, seed=0)
    config = with_settings(
        config,
        [
            *("learner.n_envs=4", "learner.n_steps=32", "learner.batch_size=64"),
            *("learner.n_epochs=1", "clip_steps=4", "label_batch=4"),
            *("reward.initial_minibatches=2", "reward.update_minibatches=1"),
            *("evaluations=0", "final_episodes=2"),
        ],
    )
    summary, trainer = train(config, tmp_path / "run")
    assert summary["labels"] == 8
    assert trainer.ensemble.inputs.pixels


@pytest.mark.slow
def test_pendulum_is_learnt_from_200_labels_with_one_in_ten_wrong(tmp_path):
    """Two seeds of three must do: reinforcement learning has unlucky ones."""
    returns = []
    for seed in range(3):
        config = dataclasses.replace(
            preference_config("classic:Pendulum", labels=200, steps=80_000, seed=seed),
            evaluations=0,
            checkpoints=0,
        )
        assert config.teacher == TeacherConfig("mistake", error_rate=0.1)
        returns.append(train(config, tmp_path / str(seed))[0]["final_return"])
        if sum(value > -300 for value in returns) == 2:
            return
    pytest.fail(f"true returns {returns}; random actions give about -1200")


def test_a_config_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match="labels must be at least 1"):
        PreferenceConfig(labels=0)
    with pytest.raises(ValueError, match="off-policy"):
        PreferenceConfig(unsupervised_steps=10, learner=LearnerConfig())
