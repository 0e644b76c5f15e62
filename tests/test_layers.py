"""Who may import what, and what importing may do."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("envs", "agents", "robot", "surefoot")
"""Each may import itself and what stands before it."""

TRAINING = (
    "agents/sb3.py",
    "agents/vec_env.py",
    "agents/models.py",
    "agents/rollouts.py",
    "agents/preferences/pebble.py",
    "agents/sidetuning/baked.py",
    "agents/sidetuning/extractor.py",
    "agents/sidetuning/navigator.py",
    "agents/sidetuning/reinforce.py",
    "agents/sidetuning/sb3_export.py",
)
LABELLING = ("agents/preferences/labelling/*",)
NODES = ("robot/*.py",)
LIVE_VIEW = ("robot/view*.py",)
MESSAGES = (
    "builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "nav_msgs", "rcl_interfaces", "sensor_msgs",
    "std_msgs", "std_srvs", "visualization_msgs",
)  # fmt: skip
HOMES = {
    "stable_baselines3": TRAINING,
    "sb3_contrib": TRAINING,
    "torch": ("agents/*",),
    "matplotlib": ("agents/*",),
    "rclpy": NODES,
    **dict.fromkeys(MESSAGES, NODES),
    "mujoco": ("envs/mujoco*.py", "envs/scene.py", "envs/rover/*"),
    "numba": ("envs/rover/compiled.py",),
    "ale_py": ("envs/atari*.py",),
    "envpool": ("envs/atari*.py", "envs/envpool*.py"),
    **dict.fromkeys(("habitat", "gym", "quaternion"), ("envs/habitat_*.py",)),
    "cv2": ("envs/atari*.py",),
    "minari": ("envs/minari*.py", "envs/dataset*.py"),
    "av": ("envs/video.py",),
    "mcap": ("robot/*.py",),
    "rosbags": ("robot/*.py",),
    "rerun": ("agents/badgr/watch_rerun.py",),
    "fastapi": LABELLING + LIVE_VIEW,
    "starlette": LABELLING + LIVE_VIEW,
    "uvicorn": LABELLING + LIVE_VIEW,
    "jinja2": LABELLING,
    "sqlalchemy": LABELLING,
    "alembic": LABELLING,
    "fsspec": (*LABELLING, "agents/sweep/shards.py"),
    "ray": ("agents/sweep/ray_cluster.py",),
    "submitit": ("agents/sweep/slurm.py",),
    "optuna": ("agents/sweep/search.py",),
    "pyarrow": (*LABELLING, "envs/lerobot*.py"),
}
"""The files that may import a heavy package at all."""
INSIDE_FUNCTIONS = (
    "mujoco", "ale_py", "envpool", "habitat", "cv2", "minari", "av", "rerun", "rclpy", "numba",
    "mcap", "rosbags", "ray", "submitit", "optuna", *MESSAGES,
)  # fmt: skip
"""Never at the top of a file, so that importing the file costs nothing and works without them."""
EXTRAS = (*HOMES, "imageio", "safetensors", "tensorboard", "h5py", "psycopg", "s3fs", "onnx")
"""What the base install, which is the robot's, does not have."""


class Import(NamedTuple):
    file: str
    line: int
    module: str
    at_top: bool

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def source_files() -> list[str]:
    folders = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
    return [path.relative_to(ROOT).as_posix() for path in (*folders, ROOT / "surefoot.py")]


def module_name(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports_in(file: str, text: str) -> Iterator[Import]:
    """Every import that can be executed, and whether it is when the file is imported."""

    def visit(node: ast.AST, at_top: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                yield from visit(child, at_top)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, at_top)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                parents = module_name(file).split(".") + ["x"] * file.endswith("__init__.py")
                module = ".".join([*parents[: -node.level], *([module] if module else [])])
            for alias in node.names:  # the name may be a module of that package
                yield Import(file, node.lineno, f"{module}.{alias.name}", at_top)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_top and not inside)

    yield from visit(ast.parse(text), True)


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return [found for file in source_files() for found in imports_in(file, (ROOT / file).read_text())]


def test_the_reader_of_imports_sees_all_of_them() -> None:
    text = (
        "from typing import TYPE_CHECKING\n"
        "import a.b, c\n"
        "from . import d\n"
        "from .e import f\n"
        "try:\n    import g\nexcept ImportError:\n    pass\n"
        "if TYPE_CHECKING:\n    import unseen\n"
        "class H:\n    import i\n    def j(self):\n        from k import l\n"
    )
    seen = [(found.module, found.at_top) for found in imports_in("agents/preferences/x.py", text)]
    assert seen == [
        ("typing.TYPE_CHECKING", True),
        ("a.b", True),
        ("c", True),
        ("agents.preferences.d", True),
        ("agents.preferences.e.f", True),
        ("g", True),
        ("i", True),
        ("k.l", False),
    ]


def test_each_layer_imports_only_itself_and_those_below(imports: list[Import]) -> None:
    def rank(name: str) -> int:
        return LAYERS.index(name.partition("/")[0].removesuffix(".py"))

    wrong = [found for found in imports if found.package in LAYERS and rank(found.package) > rank(found.file)]
    assert not wrong, "\n".join(map(str, wrong))
    tests = [found for found in imports if found.package in ("tests", "launch")]
    assert not tests, "\n".join(map(str, tests))


def test_heavy_packages_stay_in_their_own_files(imports: list[Import]) -> None:
    wrong = [
        found
        for found in imports
        if found.package in HOMES and not any(fnmatch(found.file, home) for home in HOMES[found.package])
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_simulators_and_codecs_are_imported_inside_functions(imports: list[Import]) -> None:
    wrong = [found for found in imports if found.package in INSIDE_FUNCTIONS and found.at_top]
    assert not wrong, "\n".join(map(str, wrong))


def test_nothing_of_ours_hides_another_package() -> None:
    # launch/__init__.py would hide ROS's launch, tests/envs/__init__.py our own envs.
    found = [path for folder in ("launch", "tests") for path in (ROOT / folder).rglob("__init__.py")]
    assert [path for path in found if path.parent.name != "surefoot_bringup"] == []
    assert not [path for path in (ROOT / "tests").rglob("test_*.py") if path.parent != ROOT / "tests"]


def python(code: str, *arguments: str, folder: Path = ROOT) -> str:
    """Standard output of a fresh process that can import our packages; writes no .pyc files."""
    ran = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_all_of_envs_and_robot_imports_in_the_base_install(tmp_path: Path) -> None:
    code = """
import importlib, json, sys
extras, modules = json.loads(sys.argv[1])
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in extras:
            raise ModuleNotFoundError(f"{name} is not in the base install", name=name)
sys.meta_path.insert(0, Blocked())
for module in modules:
    importlib.import_module(module)
"""
    modules = [module_name(file) for file in source_files() if not file.startswith("agents/")]
    assert {"envs.robot_env", "envs.episode", "robot.config", "robot.safety", "surefoot"} <= set(modules)
    python(code, json.dumps([EXTRAS, modules]), folder=tmp_path)


def test_importing_starts_nothing(imports: list[Import], tmp_path: Path) -> None:
    """No variable, thread, file, process, handler or random state: others' packages come first."""
    code = """
import importlib, json, logging, os, random, signal, sys, threading
others, modules = json.loads(sys.argv[1])
for name in others:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:  # the last part is a function or class
        importlib.import_module(name.rpartition(".")[0])
import numpy, torch

def world():
    return {
        "environment": dict(os.environ), "folder": os.getcwd(), "path": list(sys.path),
        "threads": [thread.name for thread in threading.enumerate()],
        "handlers": [str(handler) for handler in logging.root.handlers],
        "log level": logging.root.level,
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "torch": [torch.get_num_threads(), torch.initial_seed(), str(torch.get_default_dtype())],
        "random": str(random.getstate()), "numpy": str(numpy.random.get_state()),
    }

happened, watching = [], False
def watch(event, arguments):
    if not watching:
        return
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        happened.append(f"opened {arguments[0]} to write")
    elif event in ("subprocess.Popen", "os.mkdir", "os.putenv", "socket.connect", "socket.bind", "os.fork"):
        happened.append(f"{event} {arguments[0]!r}")
sys.addaudithook(watch)

before = world()
for module in modules:
    happened.clear()
    watching = True
    importlib.import_module(module)
    watching = False
    after = world()
    changed = [name for name in before if before[name] != after[name]]
    assert not changed and not happened, f"importing {module} changed {changed}: {happened}"
"""
    ours = {*LAYERS, "__future__"}
    others = sorted({found.module for found in imports if found.at_top and found.package not in ours})
    # Alembic runs its environment and migrations as scripts; nobody imports them.
    modules = [module_name(file) for file in source_files() if "/migrations/" not in file]
    python(code, json.dumps([others, modules]), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_help_loads_nothing_heavy() -> None:
    code = """
import runpy, sys
sys.argv = ["surefoot.py", *sys.argv[2:]]
try:
    runpy.run_path("surefoot.py", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print("LOADED", *loaded)
"""
    for words in (["--help"], ["train", "preferences", "--help"], ["doctor", "--help"]):
        *page, last = python(code, "surefoot.py", *words).splitlines()
        loaded = set(last.split()[1:])
        assert "tyro" in loaded
        assert not loaded & {*EXTRAS, "onnxruntime", "gymnasium"}, words
        assert any("usage" in line for line in page)
