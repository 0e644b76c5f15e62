"""Kernels: plain Python loops over arrays that numba turns into machine code when they are first needed.

The kernel files (`kernel_*.py`) import without numba, so the base install can read them, and run as they
are, slowly. `load()` compiles all of them; the machine code is cached on disk under a digest of their
sources, so that a changed file never meets the code of an older one.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
from pathlib import Path
from types import FunctionType, ModuleType

FILES = (
    "kernel_noise", "kernel_solids", "kernel_ground", "kernel_light", "kernel_camera", "kernel_lidar",
    "kernel_wheels", "kernel_plan",
)  # fmt: skip

# Without _nrt numba counts the references of every array in every inner call: half of a frame's time.
# The kernels make no arrays, so there is nothing to count.
# Laid into their callers, because a tuple of arrays is costly to hand over.
_OPTIONS = {
    "nogil": True, "error_model": "numpy", "_nrt": False, "inline": "always",
    "fastmath": {"contract", "nnan", "nsz", "arcp", "reassoc"},
}  # fmt: skip


@functools.cache
def load() -> dict[str, ModuleType]:
    """The kernel modules by name, each function in them compiled at its first call.

    Raises ImportError, named "numba", where numba is not installed.
    """
    import numba
    from numba.core import config

    modules = {name: importlib.import_module(f"envs.rover.{name}") for name in FILES}
    own = {
        value
        for module in modules.values()
        for value in vars(module).values()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__
    }
    folder = _cache_folder()
    options = {**_OPTIONS, "cache": folder is not None}
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder or before)  # read when a function is wrapped, not when it compiles
    try:
        compiled = {plain: numba.njit(**options)(plain) for plain in own}
    finally:
        config.CACHE_DIR = before
    # A kernel finds the others by its module's names, imported ones too: replace them everywhere.
    for module in modules.values():
        for key, value in list(vars(module).items()):
            if isinstance(value, FunctionType) and value in compiled:
                setattr(module, key, compiled[value])
    return modules


def _cache_folder() -> Path | None:
    """None where nothing can be written: then every process compiles anew."""
    folder = Path(__file__).parent
    sources = b"".join((folder / f"{name}.py").read_bytes() for name in (*FILES, "compiled"))
    digest = hashlib.sha256(sources).hexdigest()[:16]
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(base) / "surefoot" / "kernels" / digest
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return cache if os.access(cache, os.W_OK) else None
