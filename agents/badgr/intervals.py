"""How sure a rate or a ratio is: Wilson's interval, and paired bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

Z = 1.959964
"""of a normal distribution at 95 %"""
RESAMPLES = 4000


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a rate (Wilson 1927). Raises ValueError without trials."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"expected 0 <= successes <= trials and a trial, got {successes} of {trials}")
    share, z2 = successes / trials, Z * Z
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    # At the ends the formula gives 0 or 1 up to rounding.
    low = 0.0 if successes == 0 else middle - half
    return low, 1.0 if successes == trials else middle + half


def paired(
    left: Array, right: Array, statistic: Callable[[Array, Array], Array], seed: int = 0
) -> tuple[float, float, float]:
    """(value, lowest, highest at 95 %) of a statistic of pairs, by the percentile bootstrap over pairs.

    left, right: (n,), NaN where a pair has no value: then the pair is left out. statistic: of two (r, n)
    arrays, row by row. All three are NaN where no pair is left.
    """
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise ValueError(f"pairs need two lists of one length, got {left.shape} and {right.shape}")
    whole = np.isfinite(left) & np.isfinite(right)
    left, right = left[whole], right[whole]
    if not len(left):
        return math.nan, math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(len(left), size=(RESAMPLES, len(left)))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(left[None], right[None])[0])
        low, high = np.nanpercentile(statistic(left[drawn], right[drawn]), (2.5, 97.5))
    return value, float(low), float(high)


def ratio_of_means(left: Array, right: Array) -> Array:
    """(r,) mean of left over mean of right."""
    ratio: Array = left.mean(1) / right.mean(1)
    return ratio


def difference_of_means(left: Array, right: Array) -> Array:
    """(r,) mean of left less mean of right."""
    difference: Array = left.mean(1) - right.mean(1)
    return difference
