"""The rover's part of the demo, and its section of the report: honest, and never in the way."""

import json
from pathlib import Path

import pytest
from PIL import Image

from agents.report_rover import rover_section

SUMMARY = {
    "minutes": 24.0,
    "drives": 24,
    "worlds": 24,
    "steps": 400,
    "holdout_drives": 6,
    "auroc": {"collision": 0.8123, "bumpy": None},
    "position_error": 0.456,
    "trips": {
        "badgr": {"outcome": "reached", "seconds": 31.0, "path": 24.2},
        "straight": {"outcome": "collision", "seconds": 8.0, "path": 6.0},
    },
}


def written(folder: Path, summary: object = SUMMARY) -> Path:
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_the_section_says_what_was_measured_and_shows_the_pictures(tmp_path: Path) -> None:
    folder = written(tmp_path / "rover")
    Image.new("RGB", (8, 8)).save(folder / "drive.png")
    page = str(rover_section(folder))
    for words in ("24 minutes", "400 steps", "0.81", "0.46 m", "reached", "collision", "after 31 s and 24 m"):
        assert words in page
    assert "on 6 drives it was not trained on" in page
    assert ">unknown<" in page, "an event that never happened has no AUROC"
    assert page.count("data:image/png;base64,") == 1
    assert "the video drive.mp4 was not recorded" in page.lower()
    assert f"surefoot watch {folder}/run" in page


def test_no_rover_no_section_and_damage_is_named(tmp_path: Path) -> None:
    assert rover_section(tmp_path) is None
    for number, damaged in enumerate(([], {"auroc": {}}, {**SUMMARY, "trips": None})):
        page = str(rover_section(written(tmp_path / str(number), damaged)))
        assert "summary.json is damaged" in page


def test_a_rover_that_fails_leaves_the_demo_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from agents.preferences.demo import _add_rover

    (tmp_path / "drives").write_text("not a folder")
    _add_rover(tmp_path)
    assert "left out of the report" in capsys.readouterr().err
    assert "drives is a file" in (tmp_path / "log.txt").read_text()
    assert rover_section(tmp_path) is None


@pytest.mark.slow
def test_the_rover_gathers_learns_and_drives(tmp_path: Path) -> None:
    """In small: too little to learn anything."""
    from agents.badgr.demo import rover_demo

    summary = rover_demo(tmp_path, seconds=2.0)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert summary["minutes"] == 3.0
    assert set(summary["auroc"]) == {"collision", "bumpy"}
    assert set(summary["trips"]) == {"badgr", "straight"}
    assert summary["trips"]["badgr"]["seconds"] <= 4.0
    for name in ("drive.mp4", "drive.png", "ways.png", "run/predictor.model"):
        assert (tmp_path / name).stat().st_size > 1000, name
    page = str(rover_section(tmp_path))
    assert page.count("data:image/png;base64,") == 2
    assert page.count("data:video/mp4;base64,") == 1
    with pytest.raises(ValueError, match="seconds must be above 0"):
        rover_demo(tmp_path, seconds=0.0)
