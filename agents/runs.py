"""A run's folder: its configuration, where it came from, its metrics, its checkpoints.

runs/<name>/config.json     written before anything else happens
            run.json        kind, seed, versions, git commit, command line
            metrics.jsonl   {"step": …, name: value, …}; the same run gives the same bytes
            timing.jsonl    {"step": …, "seconds": …}; what depends on the machine stays out of metrics.jsonl
            tensorboard/  checkpoints/
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from agents.configs import ConfigError, config_from_json, config_to_json
from agents.run_lock import RunError, lock_run
from envs.files import write_durably

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Config = TypeVar("Config")
PACKAGES = (
    *("surefoot", "numpy", "torch", "gymnasium", "stable-baselines3", "sb3-contrib"),
    *("mujoco", "ale-py", "envpool", "safetensors", "onnxruntime"),
)
"""those whose version can change a result"""
_FREE_SPACE = "what was saved before is untouched: free some disk space and resume the run"


class Run:
    """An open run. Only one process at a time may write to it."""

    def __init__(self, path: Path, tensorboard: bool = True) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._tensorboard = tensorboard
        self._writer: SummaryWriter | None = None
        self._purge_step: int | None = None
        self._lock: IO[str] | None = None
        self._metrics: IO[bytes] | None = None
        self._timing: IO[bytes] | None = None
        self._begun = time.monotonic()

    @property
    def kind(self) -> str:
        """Class name of the configuration it was started with, such as "RlConfig"."""
        return str(json.loads((self.path / "run.json").read_text(encoding="utf-8"))["kind"])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Appends a row; names under "time/" go to timing.jsonl, no other may depend on the clock."""
        self.acquire()
        assert self._metrics is not None
        assert self._timing is not None
        numbers = {name: _number(value) for name, value in values.items()}
        timing = {name: value for name, value in numbers.items() if name.startswith("time/")}
        metrics = {name: value for name, value in numbers.items() if name not in timing}
        seconds = round(time.monotonic() - self._begun, 3)
        _append(self._metrics, {"step": step, **metrics})
        _append(self._timing, {"step": step, "seconds": seconds, **timing})
        if self._tensorboard:
            for name, value in numbers.items():
                if value is not None:
                    self._summary().add_scalar(name, value, step)

    def metrics(self) -> list[dict[str, Any]]:
        """Every row logged so far; a torn last line is left out. What was nan or infinite is nan."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        whole = path.read_bytes().rpartition(b"\n")[0].splitlines()
        rows = [json.loads(line) for line in whole]
        return [{name: math.nan if value is None else value for name, value in row.items()} for row in rows]

    def metrics_position(self) -> int:
        """Bytes of metrics.jsonl, made durable: a checkpoint keeps it for `rewind`."""
        self.acquire()
        assert self._metrics is not None
        os.fsync(self._metrics.fileno())
        return self._metrics.tell()

    def rewind(self, position: int, step: int | None = None) -> None:
        """Cuts metrics.jsonl back to a position, so that a resumed run repeats no row.

        step: TensorBoard hides what it was told beyond it. Raises RunError when the file is shorter.
        """
        self.acquire()
        assert self._metrics is not None
        size = self._metrics.tell()
        if position > size:
            raise RunError(
                f"{self.path / 'metrics.jsonl'} has {size} bytes, its checkpoint knows {position}: "
                "it was cut or replaced; restore it, or start a new run"
            )
        self._metrics.truncate(position)
        self._metrics.seek(position)
        self._purge_step = step

    def acquire(self) -> None:
        """Takes the run for this process, at the first write. Raises RunError when another process has it."""
        if self._lock is not None:
            return
        self._lock = lock_run(self.path)
        self._metrics = (self.path / "metrics.jsonl").open("ab", buffering=0)
        self._timing = (self.path / "timing.jsonl").open("ab", buffering=0)

    def close(self) -> None:
        for stream in (self._writer, self._metrics, self._timing, self._lock):
            if stream is not None:
                stream.close()
        self._writer = self._metrics = self._timing = self._lock = None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _summary(self) -> SummaryWriter:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.path / "tensorboard"), purge_step=self._purge_step)
        return self._writer


def start_run(path: Path | str, config: Any, seed: int, tensorboard: bool = True) -> Run:
    """Makes the folder, writes the configuration and the origin, and sets the global seeds.

    config: a dataclass instance. Raises RunError when there is a run already. run.json is the last to be
    written: a start that was killed before it counts as none.
    """
    path = Path(path)
    if (path / "run.json").exists():
        raise RunError(f"{path} already holds a run: add --resume to go on with it, or choose another --name")
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "config.json", config_to_json(config))
    write_json(path / "run.json", {"kind": type(config).__name__, "seed": seed, **origin()})
    set_seeds(seed)
    run = Run(path, tensorboard)
    run.acquire()
    return run


def open_run(path: Path | str, tensorboard: bool = True) -> Run:
    """An existing run, to read or to go on with. Raises RunError when there is none."""
    path = Path(path)
    if not (path / "run.json").exists():
        raise RunError(f"{path} is no run, it has no run.json: give the folder of a run, such as runs/demo")
    return Run(path, tensorboard)


def read_config(path: Path | str, cls: type[Config]) -> Config:
    """The configuration in a run's folder. Raises ConfigError for unknown, missing or wrong values."""
    file = Path(path) / "config.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    return config_from_json(content, cls, str(file))


def write_json(path: Path | str, content: Any) -> None:
    """Atomic: temporary name, fsync, rename. Raises RunError, the old file untouched, on a full disk."""
    path = Path(path)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    try:
        write_durably(path, text.encode())
    except OSError as error:
        raise RunError(f"could not write {path}: {error}; {_FREE_SPACE}") from error


def set_seeds(seed: int) -> None:
    """Seeds python's, numpy's legacy and torch's global generators, which stable-baselines3 draws from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


def origin() -> dict[str, Any]:
    """Where results come from: versions, machine, commit, command line."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch_threads": torch.get_num_threads(),
        "versions": versions,
        "git": git_commit(),
    }


def git_commit() -> dict[str, Any] | None:
    """Commit of this source tree, and whether it was changed since; None outside a git checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    answers = []
    for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        answers.append(done.stdout.strip())
    return {"commit": answers[0], "dirty": bool(answers[1])}


def _number(value: Any) -> int | float | None:
    """JSON has no nan or infinity: null, which `Run.metrics` reads as nan."""
    number = value if isinstance(value, int) else float(value)
    return number if math.isfinite(number) else None


def _append(stream: IO[bytes], row: Mapping[str, Any]) -> None:
    """One unbuffered write a row: a kill cannot tear it, and nothing waits in memory."""
    line = json.dumps(row).encode() + b"\n"
    try:
        written = stream.write(line)
    except OSError as error:
        raise RunError(f"could not write {stream.name}: {error}; {_FREE_SPACE}") from error
    if written != len(line):
        raise RunError(f"could not write {stream.name}: the disk is full; {_FREE_SPACE}")
