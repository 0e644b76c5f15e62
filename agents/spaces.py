"""Spaces as JSON: stored in every checkpoint, compared when it is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from agents.checkpoint import CheckpointError


def describe_space(space: spaces.Space[Any]) -> dict[str, Any]:
    """A Box, Discrete, MultiDiscrete, MultiBinary or Dict of them, with everything that makes two differ."""
    if isinstance(space, spaces.Box):
        limits = {"low": _bounds(space.low), "high": _bounds(space.high)}
        return {"kind": "Box", "shape": list(space.shape), "dtype": str(space.dtype), **limits}
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"kind": "MultiDiscrete", "n": np.asarray(space.nvec).tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "shape": list(space.shape)}
    if isinstance(space, spaces.Dict):
        return {"kind": "Dict", "spaces": {name: describe_space(part) for name, part in space.spaces.items()}}
    raise TypeError(f"a checkpoint cannot describe a {type(space).__name__} space")


def expect_space(name: str, saved: Any, space: spaces.Space[Any], source: str) -> None:
    """Raises CheckpointError when the space is not the one in the checkpoint. name: such as "observation"."""
    present = describe_space(space)
    if saved != present:
        raise CheckpointError(
            f"{source} expects {name}s {_words(saved)}, the environment gives {_words(present)}: "
            "make the environment it was trained on, with the same variant and settings, or start a new run"
        )


def _bounds(values: np.ndarray) -> float | str | list[Any]:
    """One number where all are equal; text for infinity, which JSON lacks."""
    if values.size and (values == values.flat[0]).all():
        bound = float(values.flat[0])
        return bound if np.isfinite(bound) else str(bound)
    return [_bounds(value) for value in values]


def _words(description: Any) -> str:
    if not isinstance(description, dict):
        return repr(description)
    if description.get("kind") == "Box":
        shape = tuple(description["shape"])
        return f"{shape} {description['dtype']} in [{description['low']}, {description['high']}]"
    return ", ".join(f"{key} {value}" for key, value in description.items())
