"""Spaces as JSON, and observations as flat named arrays: how storage and checkpoints see them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Array = NDArray[Any]
Space: TypeAlias = gymnasium.spaces.Space[Any]

PLAIN = "observation"
"""The name under which an observation that is not a dict is stored."""


def flatten_observation(observation: Any) -> dict[str, Array]:
    """{"camera": x, "state": {"pose": y}} as {"camera": x, "state/pose": y}; an array as {"observation": x}.

    The arrays are not copied. Raises TypeError for tuples.
    """
    if isinstance(observation, tuple):
        raise TypeError("tuple observations have no names to be stored under: use a Dict space")
    if not isinstance(observation, Mapping):
        return {PLAIN: np.asarray(observation)}
    return flatten_names(observation)


def flatten_names(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A nested dict as a flat one, names joined by "/"."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}/{inner}": leaf for inner, leaf in flatten_names(value).items()})
        else:
            flat[name] = value
    return flat


def nest_names(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten_names`."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split("/")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return tree


def leaf_spaces(space: Space) -> dict[str, Space]:
    """The spaces of the streams that `flatten_observation` makes of this space's observations."""
    if isinstance(space, spaces.Tuple):
        raise TypeError("tuple observations have no names to be stored under: use a Dict space")
    if not isinstance(space, spaces.Dict):
        return {PLAIN: space}
    flat: dict[str, Space] = {}
    for name, inner in space.spaces.items():
        for path, leaf in leaf_spaces(inner).items():
            flat[f"{name}/{path}" if isinstance(inner, spaces.Dict) else name] = leaf
    return flat


def space_to_json(space: Space) -> dict[str, Any]:
    """A Box, Discrete, MultiDiscrete, MultiBinary or a Dict of them as plain JSON; TypeError for others."""
    kind = type(space).__name__
    if isinstance(space, spaces.Dict):
        return {"type": kind, "spaces": {name: space_to_json(inner) for name, inner in space.items()}}
    if isinstance(space, spaces.Box):
        return {
            "type": kind,
            "shape": list(space.shape),
            "dtype": space.dtype.str,
            "low": _bound_to_json(space.low),
            "high": _bound_to_json(space.high),
        }
    if isinstance(space, spaces.Discrete):
        return {"type": kind, "n": int(space.n), "start": int(space.start), "dtype": space.dtype.str}
    if isinstance(space, spaces.MultiDiscrete):
        return {"type": kind, "nvec": space.nvec.tolist(), "dtype": space.dtype.str}
    if isinstance(space, spaces.MultiBinary):
        return {"type": kind, "n": list(space.shape)}
    raise TypeError(f"a {kind} space cannot be saved: use Box, Discrete, MultiDiscrete, MultiBinary or Dict")


def space_from_json(saved: Mapping[str, Any]) -> Space:
    """The inverse of `space_to_json`."""
    kind = saved["type"]
    if kind == "Dict":
        return spaces.Dict({name: space_from_json(inner) for name, inner in saved["spaces"].items()})
    if kind == "Box":
        shape, dtype = tuple(saved["shape"]), np.dtype(saved["dtype"])
        low, high = (_bound_from_json(saved[end], shape, dtype) for end in ("low", "high"))
        return spaces.Box(low, high, shape, dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(saved["n"], start=saved["start"], dtype=np.dtype(saved["dtype"]).type)
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(np.array(saved["nvec"]), dtype=np.dtype(saved["dtype"]).type)
    if kind == "MultiBinary":
        return spaces.MultiBinary(saved["n"])
    raise ValueError(f"unknown kind of space {kind!r}: it was saved by a newer surefoot?")


def space_difference(expected: Space, given: Space) -> str | None:
    """What differs between two spaces, in words; None when they agree."""
    ours, theirs = leaf_spaces(expected), leaf_spaces(given)
    if ours.keys() != theirs.keys():
        return f"expected the streams {sorted(ours)}, got {sorted(theirs)}"
    for name, space in ours.items():
        if space_to_json(space) != space_to_json(theirs[name]):
            return f"expected {name!r} to be {space}, got {theirs[name]}"
    return None


def _bound_to_json(bound: Array) -> Any:
    """One number where all elements agree: the usual case, and short. Infinities are not JSON: strings."""
    if bound.size and (bound == bound.flat[0]).all():
        return _number_to_json(bound.flat[0].item())
    return [_number_to_json(value) for value in bound.ravel().tolist()]


def _number_to_json(value: float | int) -> float | int | str:
    return value if math.isfinite(value) else str(value)


def _bound_from_json(saved: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if isinstance(saved, list):
        return np.array([dtype.type(value) for value in saved], dtype).reshape(shape)
    return np.full(shape, dtype.type(saved), dtype)
