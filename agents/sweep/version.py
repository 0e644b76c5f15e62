"""Which version of this package runs here: its number, and a digest of its sources."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from pathlib import Path


class VersionMismatchError(RuntimeError):
    """A machine runs other code than the driver."""

    def __init__(self, node: str, theirs: str, ours: str) -> None:
        super().__init__(node, theirs, ours)  # all that pickling needs
        self.node, self.theirs, self.ours = node, theirs, ours

    def __str__(self) -> str:
        return (
            f"node {self.node} has surefoot {self.theirs}, this machine has {self.ours}: results would mix "
            "two versions; install the same on both and start its Ray again"
        )


@functools.cache
def our_version() -> str:
    """Such as "0.1.0+3f2a9c01d4e5": two checkouts that differ by a line differ here too."""
    try:
        number = importlib.metadata.version("surefoot")
    except importlib.metadata.PackageNotFoundError:
        number = "not installed"
    root = Path(__file__).resolve().parent.parent.parent
    found = hashlib.sha256()
    paths = [path for layer in ("envs", "agents", "robot") for path in (root / layer).rglob("*.py")]
    for path in sorted([*paths, root / "surefoot.py"]):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{number}+{found.hexdigest()[:12]}"
