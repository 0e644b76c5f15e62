"""A run: it learns what a toy world is about, resumes bit for bit, and ends with the robot's file."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.badgr.config import BadgrConfig
from agents.badgr.experience import holdout_ids, load_experience
from agents.badgr.predictor import Predictor
from agents.badgr.reward import Preferences, plan_cost
from agents.badgr.spec import ModelSpec, SpecError
from agents.badgr.train import MODEL_FILE, TrainingError, train_badgr
from agents.badgr.windows import WindowConfig, WindowError
from agents.configs import config_from_json, config_to_json
from agents.interrupts import RunStopped
from agents.run_lock import RunError
from agents.runs import open_run, read_config
from envs.dataset import EpisodeDataset

toy = runpy.run_path(str(Path(__file__).with_name("badgr_drives.py")))
SPEC, record_toy, toy_drive = toy["SPEC"], toy["record_toy"], toy["toy_drive"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(record_toy(tmp_path_factory.mktemp("toy") / "drives", 240))


def config(data: str, **changes: Any) -> BadgrConfig:
    small: dict[str, Any] = {"steps": 24, "batch_size": 8, "holdout_windows": 64, "evaluations": 4}
    small |= {"log_rows": 8, "checkpoints": 4, "holdout": 0.2, "device": "cpu"}
    return BadgrConfig(data=(data,), spec=SPEC, **{**small, **changes})


def run(config: BadgrConfig, path: Path, **options: Any) -> dict[str, Any]:
    return train_badgr(config, path, quiet=True, tensorboard=False, **options)


@pytest.fixture(scope="module")
def learnt(data: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, float]:
    """A run that has learnt the toy world; its CPU seconds."""
    path = tmp_path_factory.mktemp("runs") / "toy"
    begun = time.process_time()
    summary = run(
        config(data, steps=450, batch_size=32, learning_rate=1e-3, holdout_windows=400, evaluations=3), path
    )
    return summary, path, time.process_time() - begun


def test_it_learns_in_seconds_which_patches_one_collides_with(
    learnt: tuple[dict[str, Any], Path, float],
) -> None:
    summary, _, seconds = learnt
    events = summary["measured"]["events"]
    assert events["collision"]["auroc"] > 0.9
    assert events["bumpy"]["auroc"] > 0.98
    assert max(summary["measured"]["position_error"]) < 0.15
    assert summary["holdout_drives"] > 20
    assert seconds < 20


def test_what_was_exported_avoids_the_disc_and_its_goal_is_where_it_should_be(
    learnt: tuple[dict[str, Any], Path, float],
) -> None:
    """Through the robot's own predictor: straight on is dangerous where a disc is ahead, turning is not."""
    summary, path, _ = learnt
    assert summary["parity"]["agreement"] == 1.0
    assert summary["parity"]["probability"] < 1e-4
    predictor = Predictor(path / MODEL_FILE, providers=("CPUExecutionProvider",))
    assert predictor.spec == SPEC
    candidates = np.zeros((3, SPEC.horizon, 2), np.float32)
    candidates[:, :, 0], candidates[..., 1] = np.array([[1.0], [0.0], [-1.0]]), 0.9
    chances = {True: [], False: []}
    for seed in range(1000, 1060):
        drive = toy_drive(seed)
        hit_straight = drive.terminated and abs(drive.actions[:, 0]).mean() < 0.5
        free = not (drive.observations["image"][0][..., 0] > 200).any()
        if not (hit_straight or free):
            continue
        last = 0 if free else max(len(drive) - 2, 0)
        predictor.look(drive.observations["image"][last])
        prediction = predictor.predict(candidates)
        chances[hit_straight].append(prediction.events["collision"][1, -1])
        cost = plan_cost(prediction, candidates[..., 0], Preferences(events={}), np.array([0.0, 1.0]))
        if free:
            assert cost.argmin() == 0  # the goal is to the left
    assert min(len(each) for each in chances.values()) >= 5
    assert np.mean(chances[True]) > 0.7
    assert np.mean(chances[False]) < 0.2


def test_a_run_is_all_that_a_run_should_be(data: str, tmp_path: Path) -> None:
    summary = run(config(data), tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert saved["measured"] == summary["measured"]
    assert read_config(tmp_path / "run", BadgrConfig) == config(data)
    rows = open_run(tmp_path / "run").metrics()
    trained = [row for row in rows if "train/loss" in row]
    measured = [row for row in rows if "holdout/loss" in row]
    assert [row["step"] for row in trained] == list(range(3, 25, 3))
    assert [row["step"] for row in measured] == [6, 12, 18, 24]
    assert {"train/collision", "train/bumpy", "train/position", "train/weight_decay"} <= trained[0].keys()
    assert {"holdout/auroc_collision", "holdout/ece_bumpy", "holdout/position_error"} <= measured[0].keys()
    best = min(measured, key=lambda row: row["holdout/loss"])
    assert summary["exported_step"] == best["step"]
    assert summary["labels"] == config(data).labels.digest()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(data: str, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(config(data, seed=seed), tmp_path / name)
    metrics = {name: (tmp_path / name / "metrics.jsonl").read_bytes() for name in "abc"}
    models = {name: (tmp_path / name / MODEL_FILE).read_bytes() for name in "abc"}
    assert metrics["a"] == metrics["b"] != metrics["c"]
    assert models["a"] == models["b"] != models["c"]


class StopAt:
    """Raises KeyboardInterrupt in the middle of a step, as a kill would come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
        from agents.badgr.train import BadgrTraining

        original = BadgrTraining._train

        def train(training: Any, batch: Any) -> dict[str, float]:
            if training.step == step:
                raise KeyboardInterrupt
            return original(training, batch)

        monkeypatch.setattr(BadgrTraining, "_train", train)


def test_a_resumed_run_is_the_run_that_was_never_interrupted(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config(data), tmp_path / "whole")
    with monkeypatch.context() as patch:
        StopAt(patch, 15)  # the newest checkpoint is at 12, three rows of metrics are too many
        with pytest.raises(KeyboardInterrupt):
            run(config(data), tmp_path / "resumed")
    run(config(data), tmp_path / "resumed", resume=True)
    for name in ("metrics.jsonl", MODEL_FILE, "checkpoints/step_000000024/state.safetensors"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_finished_run_that_is_resumed_adds_nothing(data: str, tmp_path: Path) -> None:
    run(config(data), tmp_path / "run")
    before = {n: (tmp_path / "run" / n).read_bytes() for n in ("metrics.jsonl", MODEL_FILE)}
    run(config(data), tmp_path / "run", resume=True)
    assert {n: (tmp_path / "run" / n).read_bytes() for n in before} == before
    with pytest.raises(RunError, match="already holds a run"):
        run(config(data), tmp_path / "run")


def test_drives_that_came_since_change_nothing_for_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(record_toy(tmp_path / "drives", 40))
    run(config(data), tmp_path / "whole")
    with monkeypatch.context() as patch:
        StopAt(patch, 15)
        with pytest.raises(KeyboardInterrupt):
            run(config(data), tmp_path / "resumed")
    record_toy(Path(data), 10, first_seed=500)
    summary = run(config(data), tmp_path / "resumed", resume=True)
    assert summary["drives"] + summary["holdout_drives"] == 40
    assert (tmp_path / "resumed/metrics.jsonl").read_bytes() == (
        tmp_path / "whole/metrics.jsonl"
    ).read_bytes()
    other = str(record_toy(tmp_path / "others", 5, first_seed=900))
    with pytest.raises(WindowError, match="40 of the drives that this run began with are gone"):
        run(config(other), tmp_path / "resumed", resume=True)


KILLED = """
import sys
from pathlib import Path
from agents.badgr.config import BadgrConfig
from agents.badgr.train import train_badgr
from agents.interrupts import RunStopped
from agents.runs import read_config
try:
    train_badgr(read_config(sys.argv[1], BadgrConfig), sys.argv[2], quiet=True, tensorboard=False)
except RunStopped as stopped:
    print(stopped)
"""


@pytest.fixture(scope="module")
def undisturbed(data: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[BadgrConfig, Path]:
    settings = config(data, steps=90, checkpoints=15, evaluations=2, log_rows=30)
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    run(settings, path)
    return settings, path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_loses_nothing_but_time(
    undisturbed: tuple[BadgrConfig, Path], tmp_path: Path, number: signal.Signals
) -> None:
    settings, whole = undisturbed
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "config.json").write_text(json.dumps(config_to_json(settings)))
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "settings"), str(tmp_path / "run")]
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(arguments, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "run").glob("checkpoints/step_*")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        said = process.communicate(timeout=60)[0]
    assert not (tmp_path / "run" / "summary.json").exists(), "it was done before the kill came"
    if number == signal.SIGTERM:
        assert "all is saved; go on with: surefoot resume" in said
    run(settings, tmp_path / "run", resume=True)
    for name in ("metrics.jsonl", MODEL_FILE):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_stop_saves_and_says_how_to_go_on(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.interrupts import StopSignal

    monkeypatch.setattr(StopSignal, "__enter__", lambda self: setattr(self, "asked", True) or self)
    with pytest.raises(
        RunStopped, match=r"stopped at step 1 of 24, all is saved; go on with: surefoot resume"
    ):
        run(config(data), tmp_path / "run")
    assert (tmp_path / "run/checkpoints/step_000000001").is_dir()


# -- what does not serve ----------------------------------------------------------------------------


def test_training_and_measuring_share_no_drive_and_a_drive_keeps_its_side(data: str) -> None:
    experience = load_experience(config(data))
    assert not set(experience.training_ids) & set(experience.holdout_ids)
    ids = [*experience.training_ids, *experience.holdout_ids]
    assert len(ids) == 240
    assert 0.1 < len(experience.holdout_ids) / 240 < 0.3
    fewer = holdout_ids(ids[::2], 0.2)
    assert fewer == set(experience.holdout_ids) & set(ids[::2])
    assert len(holdout_ids(ids[:2], 0.01)) == 1
    with pytest.raises(WindowError, match="1 drive cannot be both trained on and measured on"):
        holdout_ids(ids[:1], 0.5)


def test_drives_to_measure_on_can_be_given(data: str, tmp_path: Path) -> None:
    other = str(record_toy(tmp_path / "other", 6, first_seed=700))
    experience = load_experience(config(data, holdout_data=(other,)))
    assert (len(experience.training_ids), len(experience.holdout_ids)) == (240, 6)
    with pytest.raises(WindowError, match="240 drives are in data and in holdout_data"):
        load_experience(config(data, holdout_data=(data,)))


def test_an_event_without_data_is_an_error_before_anything_is_trained(tmp_path: Path) -> None:
    with EpisodeDataset(tmp_path / "quiet", durable=False) as dataset:
        for speed in (0.7, 0.8, 0.9):
            dataset.append(toy["quiet_drive"](speed=speed))
    with pytest.raises(WindowError, match=r"collision happens in none of the .* leave it out of the events"):
        run(config(str(tmp_path / "quiet")), tmp_path / "run")


def test_a_model_for_another_camera_is_refused(data: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"expects images \(96, 128, 3\), got \(24, 32, 3\)"):
        run(replace(config(data), spec=ModelSpec()), tmp_path / "run")


def test_an_event_that_no_rule_knows_is_named(data: str, tmp_path: Path) -> None:
    spec = replace(SPEC, events=("collision", "bumpy", "puddle"))
    with pytest.raises(WindowError, match="the labels lack puddle, they have collision, bumpy, stuck"):
        run(replace(config(data), spec=spec), tmp_path / "run")


def test_no_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no dataset at"):
        run(config(str(tmp_path / "nowhere")), tmp_path / "run")


def test_a_loss_that_runs_away_stops_the_run(data: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in step .*: lower learning_rate"):
        run(config(data, learning_rate=1e12), tmp_path / "run")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"precision": "bfloat16"}, "precision bfloat16 needs a GPU, the device is cpu"),
        pytest.param(
            {"device": "cuda"},
            "device cuda was asked for, and there is no GPU here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_an_absent_device_is_never_replaced_in_silence(
    data: str, tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(config(data, **wrong), tmp_path / "run")


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": ()},
        {"holdout": 1.0},
        {"steps": 0},
        {"learning_rate": 0.0},
        {"event_weights": {"bumpy": -1.0}},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).replace("event_", "")):
        BadgrConfig(**{"data": ("x",), **wrong})


def test_a_configuration_comes_back_from_its_file() -> None:
    whole = BadgrConfig(data=("a", "b"), windows=WindowConfig(balance={"bumpy": 0.3}), spec=SPEC)
    assert config_from_json(json.loads(json.dumps(config_to_json(whole))), BadgrConfig) == whole
