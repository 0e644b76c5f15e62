"""The commands: train, fine-tune, resume, report; and what they say to wrong wishes."""

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from agents.badgr.config import BadgrConfig
from agents.badgr.events import OFF_ROAD, URBAN
from agents.badgr.examples import read_examples
from agents.badgr.experience import load_experience
from agents.badgr.job import is_badgr, label_thresholds, resume, start
from agents.badgr.network import EventPredictor, NetworkConfig
from agents.badgr.report import write_report
from agents.badgr.spec import SpecError
from agents.badgr.step import Optimisation, rate
from agents.badgr.weights import WEIGHTS_FILE, load_weights, save_weights
from agents.badgr.windows import WindowError
from agents.runs import read_config
from surefoot import main

toy = runpy.run_path(str(Path(__file__).with_name("badgr_drives.py")))
SPEC = toy["SPEC"]
SMALL = ("steps=12", "batch_size=8", "holdout_windows=64", "evaluations=2", "log_rows=4", "holdout=0.2",
         "spec.horizon=4", "spec.image=[24,32,3]", 'spec.events=["collision","bumpy"]',
         'spec.lasting=["collision"]', "spec.actions=" + json.dumps([
             {"name": one.name, "low": one.low, "high": one.high} for one in SPEC.actions]))  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = toy["record_toy"](tmp_path_factory.mktemp("toy") / "drives", 80)
    return folder


def config(data: Path, **changes: Any) -> BadgrConfig:
    small: dict[str, Any] = {"steps": 6, "batch_size": 8, "holdout_windows": 32, "evaluations": 1}
    small |= {"log_rows": 2, "checkpoints": 2, "holdout": 0.2, "device": "cpu"}
    return BadgrConfig(data=(str(data),), spec=SPEC, **{**small, **changes})


def command(*words: object) -> None:
    settings = [part for setting in SMALL for part in ("--set", setting)]
    main(["train", "badgr", *(str(word) for word in words), "--device", "cpu", *settings])


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "first"
    command("--data", data, "--run", run)
    return run


# -- the commands -----------------------------------------------------------------------------------


def test_one_command_trains_and_reports(trained: Path, data: Path) -> None:
    assert is_badgr(trained)
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["steps"] == 12
    assert read_config(trained, BadgrConfig).data == (str(data),)
    html = (trained / "report.html").read_text()
    for title in ("Learning", "Events", "Where it will be", "Seen and foretold", "Experience", "Go on"):
        assert f"<h2>{title}</h2>" in html
    assert f"{summary['measured']['events']['bumpy']['auroc']:.3f}" in html
    assert "http" not in html.replace("http-equiv", "")
    assert f"surefoot train badgr --data {data} --from {trained}" in html


def test_examples_hold_every_event_and_the_worst_are_worse_than_the_others(trained: Path) -> None:
    examples = read_examples(trained / "examples.npz")
    assert examples is not None
    assert len(examples) == 12
    assert (examples.labels & examples.mask).any((0, 1)).all()
    right = np.where(examples.labels, examples.probability, 1 - examples.probability)
    surprise = (-np.log(right) * examples.mask).sum((1, 2))
    assert examples.worst.sum() == 3
    assert surprise[examples.worst].min() > np.median(surprise[~examples.worst])
    assert (trained / "report.html").read_text().count("data:image/png;base64,") == 12


def test_resume_makes_a_run_longer_and_report_is_written_again(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(config(data), tmp_path / "run", quiet=True)
    main(["resume", str(tmp_path / "run"), "--steps", "8"])
    assert json.loads((tmp_path / "run/summary.json").read_text())["steps"] == 8
    (tmp_path / "run/report.html").unlink()
    main(["report", str(tmp_path / "run")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "run/report.html")
    assert (tmp_path / "run/report.html").is_file()


def test_an_unfinished_run_has_a_report_that_says_so(tmp_path: Path, data: Path) -> None:
    from agents.runs import start_run

    start_run(tmp_path / "run", config(data), 0, tensorboard=False).close()
    html = write_report(tmp_path / "run").read_text()
    assert "Not finished: nothing is measured" in html
    assert f"surefoot resume {tmp_path / 'run'}" in html


# -- from other weights -----------------------------------------------------------------------------


def test_fine_tuning_begins_with_the_other_runs_exported_network(
    trained: Path, data: Path, tmp_path: Path
) -> None:
    settings = config(data, learning_rate=1e-12, start_from=str(trained), weight_decay=0.0)
    summary = start(settings, tmp_path / "tuned", quiet=True)
    assert summary["start_from"] == str(trained)
    before, after = (load_file(run / WEIGHTS_FILE) for run in (trained, tmp_path / "tuned"))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    again = resume(tmp_path / "tuned", quiet=True)  # needs the other run no more
    assert again["measured"] == summary["measured"]
    file = start(replace(settings, start_from=str(trained / WEIGHTS_FILE)), tmp_path / "file", quiet=True)
    assert file["measured"] == summary["measured"]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_weights(EventPredictor(SPEC), tmp_path / WEIGHTS_FILE)
    other = EventPredictor(replace(SPEC, events=("collision", "puddle")))
    with pytest.raises(
        SpecError, match=r"is of a model with events \('collision', 'bumpy'\), this run's has"
    ):
        load_weights(other, tmp_path)
    with pytest.raises(SpecError, match=r"other layers .* take the same members and released_code"):
        load_weights(EventPredictor(SPEC, NetworkConfig(members=2)), tmp_path)
    with pytest.raises(SpecError, match=r"has no network\.safetensors to begin with: give a finished run"):
        load_weights(EventPredictor(SPEC), tmp_path / "nowhere")
    (tmp_path / WEIGHTS_FILE).write_bytes((tmp_path / WEIGHTS_FILE).read_bytes()[:1000])
    with pytest.raises(SpecError, match="is no whole file of weights"):
        load_weights(EventPredictor(SPEC), tmp_path)


# -- less data --------------------------------------------------------------------------------------


def test_fewer_hours_are_a_part_of_more_and_the_holdout_stays(data: Path) -> None:
    whole = load_experience(config(data))
    some, fewer = (load_experience(config(data, hours=part * whole.hours)) for part in (0.6, 0.2))
    assert set(fewer.training_ids) < set(some.training_ids) < set(whole.training_ids)
    assert fewer.holdout_ids == some.holdout_ids == whole.holdout_ids
    assert fewer.hours == pytest.approx(0.2 * whole.hours, abs=3 / 3600)  # a drive lasts 2.5 s at most
    with pytest.raises(WindowError, match=r"9 hours were asked for, the drives to train on last 0\.0"):
        load_experience(config(data, hours=9))


# -- thresholds -------------------------------------------------------------------------------------


def test_the_world_of_the_drives_chooses_what_tells_a_collision(tmp_path: Path) -> None:
    folders = {}
    for world in ("urban", "off-road", "moon"):
        folders[world] = tmp_path / world
        folders[world].mkdir()
        (folders[world] / "collect.json").write_text(json.dumps({"world": world}))
    assert label_thresholds([str(folders["off-road"])]) == OFF_ROAD
    assert label_thresholds([str(folders["urban"]), str(tmp_path / "robot")]) == URBAN
    both = [str(folders["urban"]), str(folders["off-road"])]
    with pytest.raises(ValueError, match=r"drives are of off-road and urban worlds, .* choose with --labels"):
        label_thresholds(both)
    assert label_thresholds(both, "off-road") == OFF_ROAD
    with pytest.raises(ValueError, match="is of the world 'moon', known are urban"):
        label_thresholds([str(folders["moon"])])


# -- the step ---------------------------------------------------------------------------------------


def test_the_fast_step_learns_what_the_plain_one_does(data: Path) -> None:
    """Channels last, in place, fused, decay by hand: the same parameters as autograd and Adam give."""
    from agents.badgr.losses import event_losses, position_loss, weight_decay

    settings = config(data, schedule="constant", learning_rate=1e-3)
    experience = load_experience(settings)
    ours = Optimisation(settings, len(experience.training_ids))
    torch.manual_seed(settings.seed)
    plain = EventPredictor(SPEC)
    adam = torch.optim.Adam(plain.parameters(), lr=1e-3)
    for number in range(3):
        rng = np.random.default_rng(number)
        batch = experience.training.batch(experience.training.draw(rng, 8), rng)
        ours.step(batch, number)
        images, actions, labels, mask, place, moved = (
            torch.from_numpy(getattr(batch, name))
            for name in ("images", "actions", "labels", "mask", "position", "position_mask")
        )
        logits, places = plain(images, actions)
        events = event_losses(logits, labels, mask, torch.ones(2))
        loss = (torch.tensor([2.0, 1.0]) * events).sum() + position_loss(places, place, moved)
        adam.zero_grad()
        (loss + settings.weight_decay * weight_decay(plain)).backward()
        adam.step()
    for (name, one), two in zip(ours.network.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-4), name  # three steps of Adam moved each by up to 3e-3


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    settings = BadgrConfig(data=("x",), steps=1000, warmup=0.1)
    rates = [rate(settings, number) for number in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert np.argmax(rates) in range(90, 105)
    assert rates[500] == pytest.approx(0.5, abs=0.01)
    assert rates[-1] < 1e-4
    assert rate(replace(settings, schedule="constant"), 999) == 1.0


def test_a_member_of_an_ensemble_leaves_out_some_drives_and_no_drive_is_left_out_by_all(data: Path) -> None:
    seen = Optimisation(config(data, members=3, member_share=0.7), 200)._seen
    assert seen.shape == (3, 200)
    assert seen.any(0).all()
    assert 0.6 < seen.mean() < 0.9
    assert not np.array_equal(seen[0], seen[1])
    again = Optimisation(config(data, members=3, member_share=0.7), 200)._seen
    assert np.array_equal(seen, again)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hours": 0.0}, "hours must be above 0"),
        ({"members": 0}, "members must be at least 1"),
        ({"member_share": 0.0}, "member_share must be above 0"),
        ({"warmup": 1.0}, "warmup must be a share of the steps below 1"),
        ({"threads": 0}, "threads must be at least 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BadgrConfig(**{"data": ("x",), **wrong})
