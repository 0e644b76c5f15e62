"""The command line as a user has it: every command in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def surefoot(*arguments, folder, check=True):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-m", "surefoot", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
@pytest.mark.gl
def test_the_demo_leaves_a_report_and_can_be_made_longer(tmp_path, gl):
    if gl == "none":
        pytest.skip("no OpenGL library: apt-get install libegl1 libgl1-mesa-dri")
    surefoot("demo", "--quick", folder=tmp_path)
    run = tmp_path / "runs" / "demo"
    page = (run / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") >= 2, "before and after"
    assert "surefoot resume runs/demo" in page
    summary = json.loads((run / "summary.json").read_text())
    assert summary["labels"] == 30
    assert summary["steps"] >= 6_000
    assert set(json.loads((run / "bounds.json").read_text())) >= {"random_return", "true_reward_return"}

    before, after = (run / "videos" / f"{name}.mp4" for name in ("before", "after"))
    untrained, trained = before.stat().st_mtime_ns, after.stat().st_mtime_ns
    surefoot("resume", "runs/demo", "--steps", 9_000, "--labels", 40, folder=tmp_path)
    assert before.stat().st_mtime_ns == untrained
    assert after.stat().st_mtime_ns > trained, "a video of the policy as it is now"
    longer = json.loads((run / "summary.json").read_text())
    assert longer["steps"] >= 9_000
    assert longer["labels"] == 40
    assert "score" in longer, "the bound of the first part still counts"

    measured = json.loads(surefoot("evaluate", "last", "--episodes", 2, folder=tmp_path).stdout)
    assert measured["episodes"] == 2
    assert measured["lowest"] <= measured["mean"] <= measured["highest"]
    assert surefoot("report", "last", folder=tmp_path).stdout.strip().endswith("report.html")


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "surefoot", "train", "preferences", "--env", "classic:Pendulum"]
    command += ["--labels", "40", "--steps", "1000000", "--no-videos", "--run", "runs/long"]
    run = tmp_path / "runs" / "long"
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(run.glob("checkpoints/step_*")):
        assert process.poll() is None
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "surefoot resume runs/long" in errors
    assert "Traceback" not in errors
    stopped = max(int(path.name.removeprefix("step_")) for path in run.glob("checkpoints/step_*"))
    surefoot("resume", "runs/long", "--steps", stopped + 2048, folder=tmp_path)
    assert json.loads((run / "summary.json").read_text())["steps"] >= stopped + 2048


def test_help_teaches_and_imports_nothing_heavy(tmp_path):
    script = (
        "import sys, surefoot\n"
        "try:\n    surefoot.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'stable_baselines3', 'mujoco', 'matplotlib', 'ale_py'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in ("demo", "train", "resume", "evaluate", "report", "envs", "doctor"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "preferences", "--env", "mujoco:Hoper"], "mujoco:Hopper"),
        (["train", "rl", "--env", "mujoco:Hopper", "--algorithm", "a2c"], "ppo, trpo, sac"),
        (["train", "preferences", "--set", "learner.n_stepz=3"], "n_steps"),
        (["train", "preferences", "--labels", "0"], "labels must be at least 1"),
        (["resume", "runs/none"], "no run"),
        (["report", "last"], "surefoot demo"),
    ],
)
def test_what_a_user_gets_wrong_is_answered_in_one_line(tmp_path, arguments, message):
    done = surefoot(*arguments, folder=tmp_path, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/*/run.json")), "nothing was started"


def test_the_environments_are_listed(tmp_path):
    listed = surefoot("envs", folder=tmp_path).stdout
    for name in ("mujoco:Hopper", "atari:Pong", "classic:Pendulum"):
        assert name in listed
