import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from robot.doctor import Check, checks, failures, print_table, run_checks, to_json
from robot.probes import PROBES, SLOW_PROBES

ROOT = Path(__file__).parent.parent


def doctor_without(*modules: str, setup: str = "", **environment: str) -> dict[str, dict[str, str]]:
    """The quick checks of a fresh process in which these modules cannot be imported, by name."""
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({list(modules)!r}))\n"
        f"{setup}\n"
        "from robot.doctor import checks, to_json\n"
        "print(to_json(checks(quick=True)))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    return {check["name"]: check for check in json.loads(ran.stdout)["checks"]}


@pytest.fixture(scope="module")
def here() -> dict[str, Check]:
    return {check.name: check for check in checks(quick=True)}


def test_this_machine_has_what_the_tests_need(here: dict[str, Check]) -> None:
    assert list(here) == [probe.name for probe in PROBES]
    for name in (
        "Python",
        "gymnasium",
        "ONNX Runtime",
        "torch",
        "stable-baselines3",
        "MuJoCo",
        "Atari",
        "video",
    ):
        assert here[name].status in ("ok", "warn"), here[name]
    assert "CPU ran a model" in here["ONNX Runtime"].found
    assert "H.264" in here["video"].found


def test_what_most_people_do_not_need_is_never_red(here: dict[str, Check]) -> None:
    for probe in PROBES:
        if probe.when_missing == "absent":
            assert "not needed for" in probe.why
    without = doctor_without("rclpy", "psycopg", ROS_DISTRO="")
    for name in ("ROS 2", "PostgreSQL"):
        assert without[name]["status"] in ("absent", "warn")


def test_habitat_is_asked_in_its_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> Check:
        return next(run_checks(quick=True, only=("Habitat",)))

    python = tmp_path / "python"
    monkeypatch.setenv("SUREFOOT_HABITAT_PYTHON", str(python))
    assert found().status == "absent"
    assert found().fix == "make habitat"
    for shell, status, words in (
        ("echo 0.3.3 NumPy 1.26.4 without habitat-sim", "ok", "Habitat-Lab 0.3.3 NumPy 1.26.4 without"),
        ("echo No package metadata >&2; exit 1", "warn", "has no whole Habitat-Lab: No package metadata"),
    ):
        python.write_text(f"#!/bin/sh\n{shell}\n")
        python.chmod(0o755)
        assert found().status == status
        assert words in found().found


def test_the_base_install_gets_a_pip_line_for_everything_that_is_missing() -> None:
    found = doctor_without("torch", "stable_baselines3", "sb3_contrib", "mujoco", "ale_py", "av", "rclpy")
    for name, extra, module in (
        ("torch", "train", "torch"),
        ("stable-baselines3", "train", "stable_baselines3"),
        ("video", "train", "av"),
        ("OpenGL", "sim", "mujoco"),
        ("MuJoCo", "sim", "mujoco"),
        ("Atari", "sim", "ale_py"),
    ):
        assert found[name]["status"] == "fail"
        assert found[name]["fix"] == f"pip install 'surefoot[{extra}]'"
        assert found[name]["found"].startswith(f"{module} is not installed: needed for")
    assert found["ONNX Runtime"]["status"] == "ok"
    assert found["database"]["status"] == "ok"


def test_an_installed_library_that_does_not_load_says_why() -> None:
    # A package whose shared library is missing: this is what it raises.
    broken = (
        "class Broken:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ale_py': raise ImportError('libGL.so.1: cannot open shared object file')\n"
        "        if name == 'torch': raise OSError('libcublas.so.12: cannot open shared object file')\n"
        "sys.meta_path.insert(0, Broken())"
    )
    found = doctor_without(setup=broken)
    assert found["Atari"]["found"] == "ImportError: libGL.so.1: cannot open shared object file"
    assert found["torch"]["found"] == "OSError: libcublas.so.12: cannot open shared object file"
    assert found["torch"]["status"] == found["Atari"]["status"] == "fail"


def test_rendering_that_is_switched_off_names_the_variable() -> None:
    found = doctor_without(MUJOCO_GL="disabled")
    assert found["OpenGL"]["status"] == "fail"
    assert found["OpenGL"]["fix"] == "unset MUJOCO_GL"


def test_a_ros_for_another_python_says_which() -> None:
    other = "jazzy" if sys.version_info[:2] != (3, 12) else "humble"
    found = doctor_without(ROS_DISTRO=other)
    assert found["ROS 2"]["status"] == "fail"
    assert f"{other} is built for Python 3." in found["ROS 2"]["found"]


def test_every_red_line_can_have_a_fix() -> None:
    for probe in (*PROBES, *SLOW_PROBES):
        assert probe.fix or probe.name in ("Python", "cores", "disk"), probe.name


def test_a_runs_folder_that_does_not_exist_is_looked_for_above(tmp_path: Path) -> None:
    found = {check.name: check for check in run_checks(quick=True, runs=tmp_path / "not" / "yet")}
    assert "GiB free" in found["disk"].found
    assert "journal mode" in found["database"].found
    assert list(tmp_path.iterdir()) == []


def test_table_and_json_say_the_same() -> None:
    found = [
        Check("OpenGL", "fail", "neither egl nor osmesa drew a frame", "sudo apt-get install libegl1"),
        Check("ROS 2", "absent", "rclpy is not installed: not needed for training [labelling]"),
        Check("torch", "ok", "2.13.0"),
    ]
    page = StringIO()
    print_table(found, page)
    for check in found:
        assert check.name in page.getvalue()
        assert check.found in page.getvalue(), "brackets are text, not markup"
    assert "→ sudo apt-get install libegl1" in page.getvalue()
    assert "1 to fix" in page.getvalue()
    assert failures(found) == 1
    report = json.loads(to_json(found))
    assert report["ok"] is False
    assert report["checks"][0] == {
        "name": "OpenGL",
        "status": "fail",
        "found": "neither egl nor osmesa drew a frame",
        "fix": "sudo apt-get install libegl1",
    }
    assert json.loads(to_json(found[2:]))["ok"] is True


@pytest.mark.slow
def test_the_fastest_vector_mode_is_measured_for_both_families() -> None:
    found = {check.name: check for check in run_checks(quick=False)}["vector modes"]
    assert found.status == "ok", found
    assert "mujoco:Hopper " in found.found
    assert "atari:Pong " in found.found
    assert "steps/s" in found.found
