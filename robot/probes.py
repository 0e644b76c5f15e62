"""The looks that `surefoot doctor` takes, one function each.

Every heavy import happens inside the look that needs it, by name: this file belongs to the base
install. A look may raise; `robot.doctor` makes a line of the error.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np

ROS_PYTHON = {"humble": (3, 10), "jazzy": (3, 12), "kilted": (3, 12)}
"""The Python that a distribution's Debian packages are built for."""
GIB = 1024**3

# y = x + x for one float32, as an ONNX file: a provider that is listed may still fail to run.
_ONNX_ADD = base64.b64decode(
    "CAg6NQoOCgF4CgF4EgF5IgNBZGQSAWdaDwoBeBIKCggIARIECgIIAWIPCgF5EgoKCAgBEgQKAggBQgQKABAN"
)


Status = Literal["ok", "warn", "fail", "absent"]
"""absent: not here, and not needed for what most people do"""


@dataclass(frozen=True)
class Check:
    """One line of the table. fix: a command or a sentence, empty where nothing is to be done."""

    name: str
    status: Status
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Probe:
    """look(name, runs) -> Check; `fix` and `why` are said when a module is missing or does not work."""

    name: str
    look: Callable[[str, Path], Check]
    fix: str = ""
    when_missing: Status = "fail"
    why: str = ""


def look_at_python(name: str, runs: Path) -> Check:
    version = sys.version_info[:2]
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    if not (3, 10) <= version <= (3, 13):
        return Check(name, "fail", found, "use Python 3.10 to 3.13: PYTHON=python3.11 make test")
    if version == (3, 10):
        return Check(name, "warn", f"{found}: MuJoCo 4.0 needs 3.11, without it steps are slower")
    return Check(name, "ok", found)


def look_at_cores(name: str, runs: Path) -> Check:
    """Cores of the machine, those this process may use, and how busy they are."""
    everywhere = os.cpu_count() or 1
    usable: float = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else everywhere
    usable = min(usable, _container_cores())
    load = os.getloadavg()[0]
    found = f"{everywhere} cores, {usable:g} usable, load {load:.1f}"
    if load > 1.5 * usable:
        return Check(name, "warn", found, "others are computing here: measurements will be slow and noisy")
    return Check(name, "ok", found)


def look_at_disk(name: str, runs: Path) -> Check:
    folder = _existing(runs)
    free = shutil.disk_usage(folder).free / GIB
    found = f"{free:.1f} GiB free for {runs}"
    if not os.access(folder, os.W_OK):
        return Check(
            name, "fail", f"{folder.resolve()} cannot be written to", "choose another folder for runs"
        )
    if free < 5:
        fix = "free some space: a run with videos takes about 1 GiB"
        return Check(name, "fail" if free < 1 else "warn", found, fix)
    return Check(name, "ok", found)


def look_at_gymnasium(name: str, runs: Path) -> Check:
    return Check(name, "ok", f"{import_module('gymnasium').__version__}, NumPy {np.__version__}")


def look_at_torch(name: str, runs: Path) -> Check:
    torch = import_module("torch")
    found = f"{torch.__version__}, {torch.get_num_threads()} threads by default (surefoot sets 1)"
    if not torch.cuda.is_available():
        return Check(name, "ok", f"{found}, device cpu")
    device = f"device cuda: {torch.cuda.get_device_name()}"
    # A build for another card lists the device and fails at the first kernel.
    total = (torch.ones(8, device="cuda") * 2).sum().item()
    if total != 16:
        return Check(name, "fail", f"{found}, {device} computes {total}, not 16", "use --device cpu")
    return Check(name, "ok", f"{found}, {device}")


def look_at_sb3(name: str, runs: Path) -> Check:
    ours, contrib = import_module("stable_baselines3"), import_module("sb3_contrib")
    return Check(name, "ok", f"{ours.__version__}, contrib {contrib.__version__}")


def look_at_gl(name: str, runs: Path) -> Check:
    """Must come before anything imports mujoco, which reads MUJOCO_GL then."""
    if importlib.util.find_spec("mujoco") is None:
        raise ModuleNotFoundError("mujoco", name="mujoco")
    from envs.rendering import GL_FIX, choose_gl

    wish = os.environ.get("MUJOCO_GL", "")
    backend = choose_gl()
    if backend != "none":
        return Check(name, "ok", f"{backend} drew a frame")
    if wish and wish not in ("egl", "osmesa"):
        return Check(name, "fail", f"MUJOCO_GL={wish}: switched off", "unset MUJOCO_GL")
    return Check(name, "fail", "neither egl nor osmesa drew a frame", GL_FIX)


def look_at_mujoco(name: str, runs: Path) -> Check:
    mujoco = import_module("mujoco")
    if importlib.util.find_spec("mujoco.batch") is None:
        fix = "pip install 'surefoot[sim]' with Python 3.11 or newer"
        return Check(name, "warn", f"{mujoco.__version__} without native batch simulation: slower", fix)
    import_module("mujoco.batch")
    return Check(name, "ok", f"{mujoco.__version__} with native batch simulation")


def look_at_atari(name: str, runs: Path) -> Check:
    ale_py = import_module("ale_py")
    rom = Path(import_module("ale_py.roms").get_rom_path("pong"))
    if not rom.is_file():
        return Check(name, "fail", f"{ale_py.__version__} without games", "pip install 'surefoot[sim]'")
    return Check(name, "ok", f"{ale_py.__version__}, games included")


def look_at_video(name: str, runs: Path) -> Check:
    """Encodes two frames with the function that writes every video."""
    version = import_module("av").__version__
    from envs.video import write_video

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "two.mp4"
        try:
            write_video(path, np.zeros((2, 64, 64, 3), np.uint8), 10)
        except LookupError as error:
            fix = "pip install --force-reinstall av"
            return Check(name, "fail", f"PyAV {version} has no H.264 encoder: {error}", fix)
        size = path.stat().st_size
    return Check(name, "ok", f"PyAV {version} encoded 2 frames as H.264 ({size} bytes)")


def look_at_onnxruntime(name: str, runs: Path) -> Check:
    """The providers that ran a model, not those that are listed."""
    runtime = import_module("onnxruntime")
    runtime.set_default_logger_severity(4)
    listed = set(runtime.get_available_providers())
    works: list[str] = []
    broken: list[str] = []
    for short in ("Tensorrt", "CUDA", "CPU"):
        provider = f"{short}ExecutionProvider"
        if provider in listed:
            (works if _provider_runs(runtime, provider) else broken).append(short)
    found = f"{runtime.__version__}: {', '.join(works) or 'nothing'} ran a model"
    if broken:
        found += f"; {', '.join(broken)} is listed but did not run"
        fix = "install the onnxruntime build for this card and CUDA; until then the CPU is used"
        return Check(name, "warn" if works else "fail", found, fix)
    return Check(name, "ok", found)


def look_at_database(name: str, runs: Path) -> Check:
    """SQLite's write-ahead log needs shared memory, which network file systems do not give."""
    folder = tempfile.TemporaryDirectory(dir=_existing(runs))
    try:
        with folder, closing(sqlite3.connect(Path(folder.name) / "probe.sqlite")) as database:
            mode = database.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            database.execute("CREATE TABLE probe (x)")
    except sqlite3.Error as error:
        return Check(name, "fail", f"SQLite {sqlite3.sqlite_version}: {error}", "keep runs on a local disk")
    found = f"SQLite {sqlite3.sqlite_version}, journal mode {mode}"
    if mode != "wal":
        return Check(
            name, "warn", found, "keep runs on a local disk: several labellers would wait for each other"
        )
    return Check(name, "ok", found)


def look_at_postgresql(name: str, runs: Path) -> Check:
    psycopg = import_module("psycopg")
    servers = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    server = f"server {servers[-1].parts[-3]} installed" if servers else "no server on this machine"
    return Check(name, "ok", f"psycopg {psycopg.__version__}, {server}")


def look_at_ros(name: str, runs: Path) -> Check:
    distribution = os.environ.get("ROS_DISTRO", "")
    installed = sorted(path.name for path in Path("/opt/ros").glob("*") if path.is_dir())
    wanted = ROS_PYTHON.get(distribution)
    if wanted and sys.version_info[:2] != wanted:
        found = (
            f"{distribution} is built for Python {wanted[0]}.{wanted[1]}, this is {platform.python_version()}"
        )
        return Check(name, "fail", found, f"PYTHON=python{wanted[0]}.{wanted[1]} and a venv of its own")
    if not distribution and installed and importlib.util.find_spec("rclpy") is None:
        fix = f"source /opt/ros/{installed[-1]}/setup.bash"
        return Check(name, "warn", f"{', '.join(installed)} in /opt/ros, but not sourced", fix)
    # Asks the middleware itself: rclpy also imports where none can be loaded.
    middleware = import_module("rclpy.utilities").get_rmw_implementation_identifier()
    found = f"{distribution or 'jazzy from wheels'}, {middleware}"
    if "fastrtps" in middleware and not os.environ.get("FASTRTPS_DEFAULT_PROFILES_FILE"):
        found += "; default shared memory: camera frames above 512 KiB get lost"
        fix = "for them: export FASTRTPS_DEFAULT_PROFILES_FILE=$PWD/launch/config/fastdds.xml"
        return Check(name, "ok", found, fix)
    return Check(name, "ok", found)


def look_at_habitat(name: str, runs: Path) -> Check:
    """In an environment of its own: asks its Python, which need not be ours."""
    from envs.habitat_process import HabitatMissingError, habitat_python

    try:
        python = habitat_python()
    except HabitatMissingError as error:
        return Check(
            name, "absent", f"{str(error).partition(':')[0]}: not needed for our own rooms", _HABITAT
        )
    code = (
        "from importlib.metadata import version as v; from importlib.util import find_spec as f\n"
        "print(v('habitat-lab'), 'NumPy', v('numpy'), 'with' + 'out' * (not f('habitat_sim')), 'habitat-sim')"
    )
    ran = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    if ran.returncode:
        words = ran.stderr.strip().rpartition("\n")[2]
        return Check(name, "warn", f"{python} has no whole Habitat-Lab: {words}", _HABITAT)
    return Check(name, "ok", f"Habitat-Lab {ran.stdout.strip()}, in {python}")


def look_at_vector_modes(name: str, runs: Path) -> Check:
    """Steps per second of each back-end, the fastest first."""
    from envs.catalog import measure_backends

    parts = []
    for environment, package in (("mujoco:Hopper", "mujoco"), ("atari:Pong", "ale_py")):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(package, name=package)
        ranked = sorted(measure_backends(environment).items(), key=lambda item: -item[1])
        speeds = ", ".join(f"{mode} {speed:,.0f}" for mode, speed in ranked)
        parts.append(f"{environment} {speeds} steps/s")
    return Check(name, "ok", "\n".join(parts))


def _provider_runs(runtime: Any, provider: str) -> bool:
    try:
        session = runtime.InferenceSession(_ONNX_ADD, providers=[provider])
        if session.get_providers()[0] != provider:  # it fell back to another
            return False
        return float(session.run(None, {"x": np.array([3.0], np.float32)})[0][0]) == 6.0
    except (RuntimeError, ValueError, OSError):
        return False


def _container_cores() -> float:
    """What the control group allows, in cores; infinite outside of one."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return float("inf")
    return float("inf") if quota == "max" else int(quota) / int(period)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


_HABITAT = "make habitat"
_SIM, _TRAIN = "pip install 'surefoot[sim]'", "pip install 'surefoot[train]'"

# gl before mujoco: see look_at_gl.
PROBES = (
    Probe("Python", look_at_python),
    Probe("cores", look_at_cores),
    Probe("disk", look_at_disk),
    Probe("gymnasium", look_at_gymnasium, "pip install surefoot"),
    Probe("ONNX Runtime", look_at_onnxruntime, "pip install surefoot", why=": no predictor runs without it"),
    Probe("torch", look_at_torch, _TRAIN, why=": needed for training, not on the robot"),
    Probe("stable-baselines3", look_at_sb3, _TRAIN, why=": needed for training, not on the robot"),
    Probe("OpenGL", look_at_gl, _SIM, why=": needed for videos of the simulation"),
    Probe("MuJoCo", look_at_mujoco, _SIM, why=": needed for simulation, not on the robot"),
    Probe("Atari", look_at_atari, _SIM, why=": needed for the games, not on the robot"),
    Probe("video", look_at_video, _TRAIN, why=": needed for videos"),
    Probe("database", look_at_database, "keep runs on a local disk that can be written to"),
    Probe(
        "PostgreSQL",
        look_at_postgresql,
        "for many labellers: pip install 'psycopg[binary]'",
        when_missing="absent",
        why=": not needed for labelling on one machine, SQLite does it",
    ),
    Probe(
        "ROS 2",
        look_at_ros,
        "pip install 'surefoot[ros]' on a Linux desk; on a robot, ROS 2 Jazzy (Ubuntu 24.04, JetPack 7) "
        "and source /opt/ros/jazzy/setup.bash",
        when_missing="absent",
        why=": not needed for training and labelling",
    ),
    Probe(
        "Habitat",
        look_at_habitat,
        _HABITAT,
        when_missing="absent",
        why=": not needed for our own rooms",
    ),
)
SLOW_PROBES = (Probe("vector modes", look_at_vector_modes, _SIM, why=": nothing to measure"),)
