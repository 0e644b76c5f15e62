"""What `pip install surefoot` brings, from the wheel itself."""

import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("envs", "agents", "robot")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, so that the working tree stays clean. setuptools only, no network: 2 s."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "README.md", "LICENSE", "surefoot.py"):
        shutil.copy(ROOT / name, source)
    ignore = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in (*PACKAGES, "tests", "launch"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    ran = subprocess.run(
        [*command, "--disable-pip-version-check", "--no-index", "--wheel-dir", str(built), str(source)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


def metadata(wheel: zipfile.ZipFile) -> dict[str, list[str]]:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    parsed = HeaderParser().parsestr(wheel.read(name).decode())
    return {key: parsed.get_all(key, []) for key in set(parsed.keys())}


def requirements(wheel: zipfile.ZipFile, extra: str = "") -> set[str]:
    """Names of what the base install, or one extra, asks for."""
    names = set()
    for line in metadata(wheel)["Requires-Dist"]:
        needed, _, marker = line.partition(";")
        of = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        if (of.group(1) if of else "") == extra:
            names.add(re.split(r"[^\w.-]", needed.strip())[0].lower())
    return names


def test_it_holds_every_file_of_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    code = {
        path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    }
    assert {name for name in inside if name.endswith(".py")} == {*code, "surefoot.py"}
    assert {f"{package}/py.typed" for package in PACKAGES} <= inside
    assert not [name for name in inside if name.startswith(("tests", "launch", "runs"))]


def test_it_holds_the_labelling_page_ready_built(wheel: zipfile.ZipFile) -> None:
    folder = "agents/preferences/labelling"
    pages = {
        path.relative_to(ROOT).as_posix()
        for kind in ("static", "templates")
        for path in (ROOT / folder / kind).iterdir()
    }
    assert {f"{folder}/static/label.js", f"{folder}/templates/label.html"} <= pages <= set(wheel.namelist())
    assert not [name for name in wheel.namelist() if name.startswith(f"{folder}/frontend")]
    assert {"fastapi", "sqlalchemy", "alembic", "psycopg"} <= requirements(wheel, "label")


def test_every_package_has_an_init_file(wheel: zipfile.ZipFile) -> None:
    folders = {name.rpartition("/")[0] for name in wheel.namelist() if name.endswith(".py") and "/" in name}
    assert {"envs", "agents", "agents/preferences", "robot"} <= folders
    assert [folder for folder in folders if f"{folder}/__init__.py" not in wheel.namelist()] == []


def test_the_command_and_the_licence_are_declared(wheel: zipfile.ZipFile) -> None:
    (entry,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "surefoot = surefoot:main" in wheel.read(entry).decode()
    said = metadata(wheel)
    assert said["License-Expression"] == ["Apache-2.0"]
    (licence,) = (name for name in wheel.namelist() if name.endswith("/LICENSE"))
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert "Apache License" in wheel.read(licence).decode()
    assert said["Requires-Python"] in (["<3.14,>=3.10"], [">=3.10,<3.14"])


def test_the_base_install_is_the_robots(wheel: zipfile.ZipFile) -> None:
    base = requirements(wheel)
    assert {"numpy", "gymnasium", "onnxruntime", "tyro", "pyyaml"} <= base
    heavy = {"torch", "stable-baselines3", "sb3-contrib", "mujoco", "ale-py", "opencv-python-headless"}
    assert not base & {*heavy, "matplotlib", "av", "tensorboard", "minari", "envpool", "pytest"}
    assert {"mujoco", "ale-py"} <= requirements(wheel, "sim")
    assert {"torch", "stable-baselines3", "sb3-contrib", "av"} <= requirements(wheel, "train")


def test_the_lock_names_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert not [line for line in lock.splitlines() if line.startswith("-") and "hash" not in line]


def test_ci_runs_the_linters_and_then_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o100, "executable"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    assert text.index("make lint") < text.index("make test")


def test_who_stops_reading_ends_a_command_without_a_traceback() -> None:
    command = f"{sys.executable} -m surefoot train preferences --help | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.startswith("usage: surefoot train preferences")
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # 0: all was written before the reader left
