"""The spaces in a checkpoint, compared when it is loaded."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

from agents.checkpoint import CheckpointError
from envs.spaces import space_difference, space_from_json


def expect_space(name: str, saved: Any, space: spaces.Space[Any], source: str) -> None:
    """Raises CheckpointError when the space is not the saved one. name: such as "observation"."""
    expected = space_from_json(saved)
    if space_difference(expected, space) is not None:
        raise CheckpointError(
            f"{source} expects {name}s {_words(expected)}, the environment gives {_words(space)}: "
            "make the environment it was trained on, with the same variant and settings, or start a new run"
        )


def _words(space: spaces.Space[Any]) -> str:
    if isinstance(space, spaces.Box):
        return f"{space.shape} {space.dtype} in [{space.low_repr}, {space.high_repr}]"
    return repr(space)
