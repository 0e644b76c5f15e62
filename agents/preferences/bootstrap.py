"""Which labels train a member of the ensemble, and which validate it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_POISSON = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(12)])


def fold_key(left: Mapping[str, Array], right: Mapping[str, Array]) -> int:
    """64 bits that stand for a pair of clips, {stream: array}, in whatever order.

    A pair asked again, or answered by several people, thus never trains a member and validates it
    too. It is made of what the ensemble sees alone: a clip's id covers the hidden true reward as well.
    """
    first, second = sorted((_content(left), _content(right)))
    return int.from_bytes(hashlib.sha256(first + b"|" + second).digest()[:8], "little")


def _content(clip: Mapping[str, Array]) -> bytes:
    return b"".join(np.ascontiguousarray(clip[name]).tobytes() for name in sorted(clip))


def bootstrap_weights(seed: int, members: int, keys: Array) -> Array:
    """How often each member trains on each label, (members, labels) float32, Poisson(1) distributed.

    The online form of drawing |D| labels from D with replacement (Christiano et al. 2017, 2.2.3): 1/e of
    the weights are 0, and those labels validate the member. A weight depends on (seed, member, key)
    alone, so labels that come later and resumed runs change none.
    keys: (labels,) uint64 from `fold_key`.
    """
    member = np.arange(1, members + 1, dtype=np.uint64)[:, None]
    with np.errstate(over="ignore"):
        mixed = _splitmix(keys[None, :] ^ _splitmix(member + (np.uint64(seed % 2**56) << np.uint64(8))))
    uniform = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
    return np.searchsorted(_POISSON, uniform, side="right").astype(np.float32)


def _splitmix(bits: Array) -> Array:
    """Steele, Lea and Flood's SplitMix64 finaliser: 64 bits to 64 well mixed bits."""
    z = bits + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = z ^ (z >> np.uint64(31))
    return mixed
