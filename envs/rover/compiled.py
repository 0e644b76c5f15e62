"""Kernels: plain Python loops over arrays that numba turns into machine code when they are first needed.

The kernel files (`kernel_*.py`) import without numba, so the base install can read them, and run as they
are, slowly. `load()` compiles all of them; the machine code is cached on disk under a digest of their
sources, so that a changed file never meets the code of an older one.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import os
from pathlib import Path
from types import FunctionType, ModuleType

ENTRIES = ("draw", "scan", "bake", "march", "feel", "envelope", "sweep")
"""What is called from Python or is too large to be laid into its caller."""
FILES = (
    "kernel_noise", "kernel_solids", "kernel_ground", "kernel_light", "kernel_camera", "kernel_lidar",
    "kernel_wheels", "kernel_plan",
)  # fmt: skip

# Without _nrt numba counts the references of every array in every inner call: half of a frame's time.
# The kernels make no arrays, so there is nothing to count.
_ENTRY = {
    "cache": True, "nogil": True, "error_model": "numpy", "_nrt": False,
    "fastmath": {"contract", "nnan", "nsz", "arcp", "reassoc"},
}  # fmt: skip
_INNER = {**_ENTRY, "inline": "always"}


@functools.cache
def load() -> dict[str, ModuleType]:
    """The kernel modules by name, each function in them compiled at its first call.

    Raises ImportError, named "numba", where numba is not installed.
    """
    import numba
    from numba.core import config

    modules = {name: importlib.import_module(f"envs.rover.{name}") for name in FILES}
    own = {
        value: name
        for name, module in modules.items()
        for value in vars(module).values()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__
    }
    before = config.CACHE_DIR
    config.CACHE_DIR = str(_cache_folder())  # read when a function is wrapped, not when it compiles
    try:
        compiled = {
            plain: numba.njit(**(_ENTRY if own[plain] in ENTRIES else _INNER))(plain) for plain in own
        }
    finally:
        config.CACHE_DIR = before
    # A kernel finds the others by its module's names, imported ones too: replace them everywhere.
    for module in modules.values():
        for key, value in list(vars(module).items()):
            if isinstance(value, FunctionType) and value in compiled:
                setattr(module, key, compiled[value])
    return modules


def _cache_folder() -> Path:
    folder = Path(__file__).parent
    sources = b"".join((folder / f"{name}.py").read_bytes() for name in FILES)
    digest = hashlib.sha256(sources + inspect.getsource(load).encode()).hexdigest()[:16]
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "surefoot" / "kernels" / digest
