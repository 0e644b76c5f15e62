"""A run's folder says what was run, and its metrics survive kills without a repeated row."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from agents.configs import ConfigError
from agents.run_lock import RunError
from agents.runs import open_run, read_config, set_seeds, start_run, write_json


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (64, 64)
    pair: tuple[float, str] = (0.5, "x")
    rate: float | None = None


@dataclass(frozen=True)
class Outer:
    env: str
    inner: Inner = Inner()
    mode: Literal["a", "b"] = "a"
    path: Path | None = None
    rates: dict[str, float] = field(default_factory=dict)
    steps: int = 10

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


CONFIG = Outer("mujoco:Hopper", Inner((3,), (1.0, "y"), 0.1), "b", Path("x"), {"lr": 1e-3}, 20)


def test_the_configuration_comes_back_equal(tmp_path: Path) -> None:
    with start_run(tmp_path / "r", CONFIG, seed=0):
        pass
    assert read_config(tmp_path / "r", Outer) == CONFIG


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepss": 3}, "unknown key 'stepss', did you mean 'steps'"),
        ({"steps": "3"}, "steps: expected int, got '3'"),
        ({"steps": True}, "steps: expected int, got True"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"mode": "c"}, "mode: expected one of 'a', 'b', got 'c'"),
        ({"inner": {"pair": [1.0]}}, "inner: pair: expected 2 values"),
        ({"inner": {"rate": "x"}}, "inner: rate: expected float"),
        ({"inner": 3}, "inner: expected an object with the fields of Inner"),
    ],
)
def test_a_wrong_configuration_names_the_field(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    write_json(tmp_path / "config.json", {"env": "x", **change})
    with pytest.raises(ConfigError, match=message):
        read_config(tmp_path, Outer)


def test_a_missing_field_is_named_and_one_with_a_default_is_filled(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"env": "x"})
    assert read_config(tmp_path, Outer) == Outer("x")
    write_json(tmp_path / "config.json", {"steps": 3})
    with pytest.raises(ConfigError, match="missing env"):
        read_config(tmp_path, Outer)


def test_the_origin_is_written_down(tmp_path: Path) -> None:
    with start_run(tmp_path / "r", CONFIG, seed=5) as run:
        assert run.kind == "Outer"
    origin = json.loads((tmp_path / "r" / "run.json").read_text())
    assert origin["seed"] == 5
    assert origin["versions"]["torch"] == torch.__version__
    assert origin["command"] == sys.argv
    assert {"python", "platform", "started", "git"} <= set(origin)


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    start_run(tmp_path / "r", CONFIG, 0).close()
    with pytest.raises(RunError, match=r"already holds a run: add --resume .* or choose another --name"):
        start_run(tmp_path / "r", CONFIG, 0)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is no run, it has no run\.json"):
        open_run(tmp_path)


def test_two_processes_cannot_write_to_one_run(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom agents.runs import open_run\n"
        "run = open_run(sys.argv[1]); run.acquire(); print('taken', flush=True); sys.stdin.read()\n"
    )
    start_run(tmp_path / "r", CONFIG, 0).close()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "r")],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "taken\n"
        with open_run(tmp_path / "r") as run, pytest.raises(RunError, match=f"in use by process {other.pid}"):
            run.log(0, {"x": 1.0})
        other.kill()
    with open_run(tmp_path / "r") as run:
        run.log(0, {"x": 1.0})


def test_metrics_hold_no_clock_and_timing_does(tmp_path: Path) -> None:
    with start_run(tmp_path / "r", CONFIG, 0, tensorboard=False) as run:
        run.log(7, {"loss": np.float32(0.5), "count": 3, "time/fit": 0.25, "bad": math.nan})
        rows = run.metrics()
    assert rows[0]["step"] == 7
    assert rows[0]["loss"] == 0.5
    assert math.isnan(rows[0]["bad"])
    assert set(rows[0]) == {"step", "loss", "count", "bad"}
    timing = json.loads((tmp_path / "r" / "timing.jsonl").read_text())
    assert timing["time/fit"] == 0.25
    assert timing["seconds"] >= 0


def test_a_rewound_run_has_the_bytes_of_one_that_was_never_cut(tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        with start_run(tmp_path / name, CONFIG, 0, tensorboard=False) as run:
            run.log(1, {"x": 0.1})
            position = run.metrics_position()
            run.log(2, {"x": 0.2})
    with (tmp_path / "cut" / "metrics.jsonl").open("ab") as stream:
        stream.write(b'{"step": 3, "x"')
    with open_run(tmp_path / "cut", tensorboard=False) as run:
        assert [row["step"] for row in run.metrics()] == [1, 2]
        run.rewind(position, step=1)
        run.log(2, {"x": 0.2})
        assert [row["step"] for row in run.metrics()] == [1, 2]
    whole, cut = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


def test_metrics_shorter_than_the_checkpoint_knows_are_an_error(tmp_path: Path) -> None:
    with start_run(tmp_path / "r", CONFIG, 0) as run, pytest.raises(RunError, match=r"has 0 bytes.*knows 99"):
        run.rewind(99)


def test_tensorboard_gets_the_same_numbers_and_hides_what_was_undone(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with start_run(tmp_path / "r", CONFIG, 0) as run:
        run.log(1, {"x": 0.5})
        position = run.metrics_position()
        run.log(2, {"x": 9.0})
    with open_run(tmp_path / "r") as run:
        run.rewind(position, step=2)
        run.log(2, {"x": 0.75})
    events = EventAccumulator(str(tmp_path / "r" / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("x")] == [(1, 0.5), (2, 0.75)]


def test_tensorboard_can_be_left_out(tmp_path: Path) -> None:
    with start_run(tmp_path / "r", CONFIG, 0, tensorboard=False) as run:
        run.log(1, {"x": 0.5})
    assert not (tmp_path / "r" / "tensorboard").exists()


def test_the_same_seed_gives_the_same_draws() -> None:
    draws = []
    for _ in range(2):
        set_seeds(3)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))  # noqa: NPY002
    assert draws[0] == draws[1]


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    write_json(tmp_path / "a.json", {"x": (1, 2)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1, 2]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_disk_that_fills_loses_no_row_and_no_file(tmp_path: Path) -> None:
    """The file-size limit stands in for a full disk: the write fails in the middle, for real."""
    with start_run(tmp_path / "r", CONFIG, 0, tensorboard=False) as run:
        run.log(1, {"x": 1.0})
    code = (
        "import resource, sys\n"
        "from agents.runs import RunError, open_run, write_json\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
        "run = open_run(sys.argv[1], tensorboard=False)\n"
        "for act in (lambda: [run.log(2, {'x': 2.0}) for _ in range(99)], "
        "lambda: write_json(run.path / 'config.json', list(range(999)))):\n"
        "  try:\n    act()\n  except RunError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "r")],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("could not write" in line and "free some disk space" in line for line in lines)
    assert read_config(tmp_path / "r", Outer) == CONFIG
    with open_run(tmp_path / "r", tensorboard=False) as run:
        rows = run.metrics()
    assert rows[0] == {"step": 1, "x": 1.0}
    assert all(row == {"step": 2, "x": 2.0} for row in rows[1:])
    assert len(rows) > 5
    assert not list((tmp_path / "r").glob(".config*"))


def test_equal_configurations_compare_equal_after_a_change_and_back(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"env": "x", "steps": 30})
    assert replace(read_config(tmp_path, Outer), steps=10) == Outer("x")
