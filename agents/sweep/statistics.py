"""What a few seeds can tell: interquartile means, and bootstrap intervals that keep tasks apart.

After Agarwal et al. 2021 (Deep RL at the edge of the statistical precipice): a median of few runs jumps, a
mean follows outliers; the mean of the middle half of all runs does neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Statistic = Callable[[Array], Array]
RESAMPLES = 2000


def iqm(values: Array) -> Array:
    """(...,) mean of the middle half of the last axis, (..., n); of fewer than four values, of all."""
    ordered = np.sort(values, axis=-1)
    cut = values.shape[-1] // 4
    middle: Array = ordered[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return middle


def interval(
    strata: Sequence[Sequence[float]], statistic: Statistic = iqm, seed: int = 0, share: float = 0.95
) -> tuple[float, float, float]:
    """(value, lowest, highest) of a statistic of all runs, by the percentile bootstrap.

    strata: the runs of each task; seeds are drawn anew within each, so that every task keeps its weight.
    From fewer than three runs nothing can be told: lowest and highest are NaN. Raises ValueError for none.
    """
    arrays = [np.asarray(runs, np.float64) for runs in strata if len(runs)]
    if not arrays:
        raise ValueError("there is no run to tell anything from")
    value = float(statistic(np.concatenate(arrays)))
    if min(len(runs) for runs in arrays) < 3:
        return value, math.nan, math.nan
    rng = np.random.default_rng(seed)
    drawn = [runs[rng.integers(len(runs), size=(RESAMPLES, len(runs)))] for runs in arrays]
    rest = 50 * (1 - share)
    low, high = np.percentile(statistic(np.concatenate(drawn, axis=1)), (rest, 100 - rest))
    return value, float(low), float(high)


def band(curves: Array, seed: int = 0) -> tuple[Array, Array, Array]:
    """IQM of some runs' curves, (runs, steps), and its 95 % interval at each step; each (steps,).

    Whole runs are drawn anew, the same at all steps. The interval of fewer than three is the IQM itself.
    """
    middle = iqm(curves.T)
    if len(curves) < 3:
        return middle, middle, middle
    chosen = np.random.default_rng(seed).integers(len(curves), size=(RESAMPLES, len(curves)))
    drawn = np.stack([iqm(column[chosen]) for column in curves.T])  # (steps, resamples)
    low, high = np.percentile(drawn, (2.5, 97.5), axis=1)
    return middle, low, high
