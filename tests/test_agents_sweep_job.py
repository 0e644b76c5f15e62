"""`surefoot sweep` as a person runs it: killed and gone on with, told what failed, nothing run twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.run_lock import RunError
from agents.sweep.job import is_sweep, read_trials, sweep
from agents.sweep.local import LocalExecutor
from agents.sweep.spec import SweepConfig, sweep_from_json
from agents.sweep.task import TaskError
from agents.sweep.trial import read_result, run_trial

ROOT = Path(__file__).parent.parent
SMALL = "train rl --env classic:Pendulum --steps 2048 --set final_episodes=1 --set evaluation_episodes=1"


def start(out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "surefoot", "sweep", "--command", SMALL, "--out", str(out), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=out.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_sweep_whose_driver_is_killed_goes_on_and_runs_nothing_twice(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    driver = start(out, "--seeds", "2")
    deadline = time.monotonic() + 900
    while not (begun := list(out.glob("trials/*/run/metrics.jsonl"))):
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    first = begun[0].parent.parent
    ended = start(out, "--seeds", "2")
    said, told = ended.communicate(timeout=900)
    assert ended.returncode == 0, told
    assert json.loads(said)["done"] == 2
    runs = read_trials(out)
    assert len(runs) == 2
    rows = [list(map(json.loads, (run / "metrics.jsonl").read_text().splitlines())) for run in runs]
    for one in rows:  # neither lost nor doubled
        steps = [row["step"] for row in one if "true_return" in row]
        assert steps == sorted(steps)
        assert steps[0] == 0
        assert steps[-1] == 2048
    assert len(rows[0]) == len(rows[1])
    result = read_result(first)
    assert result is not None
    assert result["summary"]["steps"] == 2048
    log = (first / "log.txt").read_text()
    assert log.count("$ surefoot ") == 2  # it was begun, and begun again or resumed
    # All is done: the same sweep starts no process.
    executor = LocalExecutor(1)
    again = sweep(SweepConfig((SMALL,), seeds=(0, 1)), out, executor, quiet=True)
    assert (again["done"], again["failed"]) == (2, 0)
    assert (first / "log.txt").read_text() == log
    config = {"commands": SMALL, "search": {"parameters": {"x": {"low": 1, "high": 2}}}}
    with pytest.raises(RunError, match="holds another search"):
        sweep(sweep_from_json(config, "x"), out, executor, quiet=True)


def test_failed_trials_are_told_with_the_end_of_their_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = sweep_from_json({"commands": "evaluate nowhere", "seeds": 2}, "x")
    done = sweep(config, tmp_path / "sweep", LocalExecutor(2), quiet=True)
    assert (done["trials"], done["done"], done["failed"]) == (2, 0, 2)
    for row in done["rows"]:
        assert "`surefoot evaluate nowhere --seed" in row["error"]
        assert "the end of " in row["error"]
        assert "nowhere" in row["error"].splitlines()[-1]  # what the command itself said
    assert is_sweep(tmp_path / "sweep")
    assert json.loads((tmp_path / "sweep" / "results.json").read_text()) == done
    assert "failed: `surefoot evaluate nowhere" in caplog.text


def test_a_trial_that_was_asked_to_stop_is_pruned(tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    words = ["envs"]  # any command: it is ended before it begins, or just after
    result = run_trial(str(tmp_path), words, {"seed": 0}, str(tmp_path))
    assert result["state"] in ("pruned", "done")
    assert run_trial(str(tmp_path), ["never run"], {}, str(tmp_path)) == result


def test_what_a_command_prints_is_its_result(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"ended with 2; the end of .*log.txt:"):
        run_trial(str(tmp_path / "bad"), ["evaluate", "--no-such-option"], {}, str(tmp_path))
    assert read_result(tmp_path / "bad") is None
