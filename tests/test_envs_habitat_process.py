"""What is said when Habitat is not there, not right, or dies."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from envs.habitat_config import HabitatConfig, habitat_test_scenes
from envs.habitat_lab import LAB, check_installation
from envs.habitat_process import HabitatMissingError, HabitatProcess, HabitatProcessError, habitat_python
from envs.pointnav import PointNavConfig
from envs.pointnav_rooms import Shift

VARIABLE = "SUREFOOT_HABITAT_PYTHON"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Takes the place of Habitat's Python; a test writes what it does."""
    path = tmp_path / "python"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def write(program: Path, shell: str) -> None:
    program.write_text(f"#!/bin/sh\n{shell}\n")
    program.chmod(0o755)


def started(timeout: float = 600.0) -> HabitatProcess:
    return HabitatProcess(HabitatConfig().settings(), timeout)


def test_without_habitat_the_command_that_sets_it_up_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("envs.habitat_process._ENVS", tmp_path / "envs")
    with pytest.raises(HabitatMissingError, match="not set up: `make habitat`"):
        habitat_python()
    python = tmp_path / ".venv-habitat" / "bin" / "python"
    python.parent.mkdir(parents=True)
    write(python, "true")
    assert habitat_python() == python


def test_make_habitat_installs_the_version_that_is_expected() -> None:
    assert f"habitat-lab=={LAB}" in (Path(__file__).parent.parent / "Makefile").read_text()


def test_a_variable_that_names_no_program_is_an_error(program: Path) -> None:
    with pytest.raises(HabitatMissingError, match=f"{VARIABLE} is .*no program.*make habitat"):
        started()


def test_a_python_without_habitat_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, sys.executable)
    with pytest.raises(HabitatMissingError, match="has no habitat-lab: `make habitat`"):
        started().ready()


@pytest.mark.parametrize(
    ("lab", "numpy", "message"),
    [
        (LAB, "2.4.0", "has NumPy 2.4.0; Habitat needs 1.26 to 2.3: `make habitat`"),
        (LAB, "1.25.2", "has NumPy 1.25.2; Habitat needs 1.26 to 2.3: `make habitat`"),
        ("0.2.5", "1.26.4", f"has habitat-lab 0.2.5, expected {LAB}: `make habitat`"),
    ],
)
def test_the_wrong_numpy_or_habitat_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: str, numpy: str, message: str
) -> None:
    folder = tmp_path / f"habitat_lab-{lab}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: habitat-lab\nVersion: {lab}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(np, "__version__", numpy)
    with pytest.raises(HabitatMissingError, match=re.escape(message)):
        check_installation()


@pytest.mark.parametrize(
    ("shell", "how"),
    [
        ("echo unable to find CUDA device 0 >&2; exit 1", "exit status 1.*unable to find CUDA device 0"),
        ("echo no context; kill -ABRT $$", "signal SIGABRT.*no context"),
        ("exit 0", "exit status 0.*nothing"),
    ],
)
def test_a_process_that_dies_is_told_with_its_last_words(program: Path, shell: str, how: str) -> None:
    write(program, shell)
    with pytest.raises(HabitatProcessError, match=re.compile(how, re.DOTALL)):
        started().ready()


def test_a_process_that_hangs_is_ended_after_the_time_that_was_given(program: Path) -> None:
    write(program, "exec sleep 1000")
    process = started(timeout=0.2)
    with pytest.raises(HabitatProcessError, match=r"no answer for 0\.2 s.*timeout"):
        process.ready()
    with pytest.raises(HabitatProcessError, match="was ended"):
        process.ask("step", action=1)


def test_closing_twice_is_closing_and_nothing_stays_behind(program: Path, tmp_path: Path) -> None:
    says = tmp_path / "says"
    os.mkfifo(says)
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, socket, sys\n"
        f"with open({str(says)!r}, 'w') as file:\n"
        "    print(os.getcwd(), os.getpid(), file=file)\n"
        "wire = socket.socket(fileno=int(sys.argv[4]))\n"
        "while wire.recv(1000):\n"
        "    pass\n"
    )
    program.chmod(0o755)
    process = started()
    folder, number = says.read_text().split()
    assert Path(folder).is_dir()
    process.close()
    process.close()
    assert not Path(folder).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)


def test_our_packages_are_kept_out_of_its_python(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/opt/ros/somewhere")
    write(program, f"env > {tmp_path}/environment")
    with pytest.raises(HabitatProcessError):
        started().ready()
    lines = (tmp_path / "environment").read_text().splitlines()
    assert not [line for line in lines if line.startswith(("PYTHONPATH=", "VIRTUAL_ENV="))]
    assert {"PYTHONHASHSEED=0", "PYTHONNOUSERSITE=1"} <= set(lines)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sensors": ("sonar",)}, "the sensors are gps, compass, got sonar"),
        ({"nav": PointNavConfig(trail=True)}, "Habitat-Lab has no trail"),
        ({"nav": PointNavConfig(shift=Shift(field_of_view=90.5))}, "whole degrees, got 90.5"),
        ({"scenes": "."}, "scenes need episodes"),
        ({"timeout": 0.0}, "timeout must be positive"),
    ],
)
def test_settings_that_habitat_cannot_have_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HabitatConfig(**wrong)  # type: ignore[arg-type]


def test_data_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no .*episodes\.json\.gz"):
        HabitatConfig(episodes=str(tmp_path / "episodes.json.gz"))
    monkeypatch.setenv("SUREFOOT_HABITAT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"there is no .*scene_datasets"):
        habitat_test_scenes()
