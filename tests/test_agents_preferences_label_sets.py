"""A finished label set trains a new run."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from agents.preferences.comparison import Retraction
from agents.preferences.config import PreferenceConfig
from agents.preferences.job import resume, start
from agents.preferences.label_sets import copy_label_set, read_label_set
from agents.preferences.labels import LabelLog
from agents.preferences.presets import preference_config
from agents.preferences.reward_config import RewardConfig
from agents.preferences.teachers import ScriptedTeacher, TeacherConfig
from agents.run_lock import RunError
from agents.runs import read_config


def small(env: str = "classic:Pendulum", labels: int = 12, **changes) -> PreferenceConfig:
    config = preference_config(env, labels=labels, steps=1024, seed=3)
    return dataclasses.replace(
        config,
        learner=dataclasses.replace(config.learner, n_steps=32, batch_size=64, n_epochs=1),
        reward=RewardConfig(hidden=(16,), initial_minibatches=10, update_minibatches=5),
        label_batch=3,
        clip_steps=10,
        evaluations=1,
        evaluation_episodes=1,
        final_episodes=1,
        **changes,
    )


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "labelled"
    start(small(), run, videos=False, quiet=True)
    return run


class Asked(ScriptedTeacher):
    def __init__(self) -> None:
        super().__init__(TeacherConfig("perfect"))
        self.count = 0

    def answer(self, query, left, right):
        self.count += 1
        return super().answer(query, left, right)


def test_a_run_begins_with_the_answers_of_another_and_asks_for_no_more(
    labelled: Path, tmp_path: Path
) -> None:
    teacher = Asked()
    config = dataclasses.replace(small(), seed=7, recorded_labels=12)
    summary = start(config, tmp_path / "new", labels_from=labelled, videos=False, quiet=True, teacher=teacher)
    assert (summary["labels"], teacher.count) == (12, 0)
    lines = [(folder / "labels.jsonl").read_text() for folder in (labelled, tmp_path / "new")]
    assert lines[0] == lines[1]


def test_a_run_asks_for_the_labels_that_are_missing(labelled: Path, tmp_path: Path) -> None:
    teacher = Asked()
    config = dataclasses.replace(small(labels=15), seed=7, recorded_labels=10)
    summary = start(config, tmp_path / "new", labels_from=labelled, videos=False, quiet=True, teacher=teacher)
    assert (summary["labels"], teacher.count) == (15, 5)
    assert read_config(tmp_path / "new", PreferenceConfig).recorded_labels == 10
    indices = [
        json.loads(line)["index"] for line in (tmp_path / "new" / "labels.jsonl").read_text().splitlines()
    ]
    assert len(set(indices)) == 15, "own queries are counted on from the recorded ones"


def test_a_start_killed_while_it_copied_goes_on(labelled: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(small(), recorded_labels=12)
    whole = start(config, tmp_path / "whole", labels_from=labelled, videos=False, quiet=True)
    start(config, tmp_path / "cut", labels_from=labelled, videos=False, quiet=True)
    shutil.rmtree(tmp_path / "cut" / "checkpoints")
    (tmp_path / "cut" / "checkpoints").mkdir()
    log = tmp_path / "cut" / "labels.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:5]) + '{"torn')
    summary = resume(tmp_path / "cut", quiet=True)
    assert summary["final_return"] == whole["final_return"]
    assert len(log.read_text().splitlines()) == 12


def test_an_answer_that_was_taken_back_is_not_used(labelled: Path, tmp_path: Path) -> None:
    comparisons = read_label_set(labelled, "classic:Pendulum")
    copy_label_set(labelled, tmp_path, comparisons)
    (tmp_path / "config.json").write_text(json.dumps({"env": "classic:Pendulum"}))
    log = LabelLog(tmp_path / "labels.jsonl")
    log.retract(Retraction(comparisons[3].id))
    log.close()
    assert read_label_set(tmp_path, "classic:Pendulum") == comparisons[:3] + comparisons[4:]


def test_reading_a_label_set_changes_nothing_of_it(labelled: Path, tmp_path: Path) -> None:
    log = labelled / "labels.jsonl"
    before = log.read_bytes()
    log.write_bytes(before + b'{"half a li')
    try:
        assert len(read_label_set(labelled, "classic:Pendulum")) == 12
        assert log.read_bytes() == before + b'{"half a li', "its run may be writing that line"
    finally:
        log.write_bytes(before)


@pytest.mark.parametrize(
    ("env", "folder", "message"),
    [
        ("mujoco:Hopper", "labelled", "are about classic:Pendulum, this run is about mujoco:Hopper"),
        ("classic:Pendulum", "nowhere", "is not a run with labels"),
    ],
)
def test_a_label_set_that_does_not_fit_is_refused(
    labelled: Path, env: str, folder: str, message: str
) -> None:
    with pytest.raises(RunError, match=message):
        read_label_set(labelled.parent / folder, env)


def test_a_set_of_skips_is_refused(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"env": "classic:Pendulum"}))
    rows = [json.loads(line) for line in (labelled / "labels.jsonl").read_text().splitlines()]
    skips = [json.dumps({**row, "answer": "skip"}) + "\n" for row in rows]
    (tmp_path / "labels.jsonl").write_text("".join(skips))
    with pytest.raises(RunError, match="no answer to learn from yet"):
        read_label_set(tmp_path, "classic:Pendulum")


def test_recorded_labels_beyond_the_budget_are_refused() -> None:
    with pytest.raises(ValueError, match=r"recorded_labels must lie between 0 and labels \(12\), got 13"):
        small(recorded_labels=13)
    assert np.isfinite(small(recorded_labels=12).labels)
