"""The launch files and the small ament package around them."""

import ast
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from robot.config import RobotConfig

LAUNCH = Path(__file__).parent.parent / "launch"
FILES = sorted(LAUNCH.glob("*.launch.py"))
OWN_COLCON = LAUNCH.parent / ".venv-colcon" / "bin" / "colcon"
COLCON = str(OWN_COLCON) if OWN_COLCON.exists() else shutil.which("colcon")


def test_launch_files_import_only_what_ros_has() -> None:
    """They run in ROS's own Python, which has neither our packages nor our virtual environment's."""
    assert [path.name for path in FILES] == ["collect.launch.py", "drive.launch.py", "sim.launch.py"]
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                top = str(module).partition(".")[0]
                assert top in ("launch", "launch_ros") or top in sys.stdlib_module_names, path


@pytest.mark.parametrize("name", ["robot.yaml", "sim.yaml"])
def test_every_parameter_file_is_one(name: str) -> None:
    RobotConfig.from_yaml(LAUNCH / "config" / name)


def test_the_package_has_one_name_and_version() -> None:
    manifest = ElementTree.parse(LAUNCH / "package.xml").getroot()
    setup = (LAUNCH / "setup.py").read_text()
    name, version = manifest.findtext("name"), manifest.findtext("version")
    assert name == "surefoot_bringup"
    assert f'version="{version}"' in setup
    assert (LAUNCH / "resource" / str(name)).read_bytes() == b""
    assert f"script_dir=$base/lib/{name}" in (LAUNCH / "setup.cfg").read_text()
    project = (LAUNCH.parent / "pyproject.toml").read_text()
    assert f'version = "{version}"' in project


def test_it_installs_every_file_beside_the_launch_files(tmp_path: Path) -> None:
    """What colcon runs: setup.py install, with a prefix."""
    copy = tmp_path / "launch"
    shutil.copytree(LAUNCH, copy, ignore=shutil.ignore_patterns("__pycache__"))
    ran = subprocess.run(
        [sys.executable, "setup.py", "-q", "install_data", "--install-dir", str(tmp_path / "prefix")],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    share = tmp_path / "prefix" / "share"
    installed = {path.relative_to(share).as_posix() for path in share.rglob("*") if path.is_file()}
    configs = {f"surefoot_bringup/launch/config/{path.name}" for path in (LAUNCH / "config").iterdir()}
    assert configs | {f"surefoot_bringup/launch/{path.name}" for path in FILES} <= installed
    assert "ament_index/resource_index/packages/surefoot_bringup" in installed
    assert "surefoot_bringup/package.xml" in installed


@pytest.mark.skipif(COLCON is None, reason="colcon is not installed: make colcon")
def test_colcon_builds_a_workspace_whose_command_is_surefoot(tmp_path: Path) -> None:
    assert COLCON is not None
    shutil.copytree(LAUNCH, tmp_path / "src" / "launch", ignore=shutil.ignore_patterns("__pycache__"))
    ran = subprocess.run(
        [COLCON, "build"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    prefix = tmp_path / "install" / "surefoot_bringup"
    assert (prefix / "share/ament_index/resource_index/packages/surefoot_bringup").is_file()
    built = {path.name for path in (prefix / "share/surefoot_bringup/launch").glob("*.py")}
    assert built == {path.name for path in FILES}
    # `ros2 run` begins this file, in the Python that surefoot is installed in; only that one has both here.
    packages = next(prefix.glob("lib/python3*/site-packages"))
    said = subprocess.run(
        [sys.executable, str(prefix / "lib/surefoot_bringup/surefoot"), "robot", "--help"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(LAUNCH.parent)])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert "guard" in said.stdout


def test_ros_loads_them() -> None:
    sources = pytest.importorskip("launch_ros", reason="launch comes with ROS only")
    assert sources
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    for path in FILES:
        assert get_launch_description_from_python_launch_file(str(path)).entities
