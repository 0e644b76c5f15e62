"""The cheapest way over a grid: A* (Hart, Nilsson and Raphael 1968), eight neighbours."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_DIAGONAL = float(np.sqrt(2.0))


def cheapest_way(cost: Array, start: tuple[int, int], finish: Array, guess: Array) -> Array | None:
    """(L, 2) cells (row, column) from start to the best finish, both included; None where no way leads there.

    cost: (R, C) of one cell's length on a cell, at least 1, inf where one cannot go. finish: (R, C) what is
    still to pay when the way ends in a cell, inf where it may not. guess: (R, C) of what is left to pay at
    the least from a cell, never more than it is: the closer, the fewer cells are looked at.
    """
    if not np.isfinite(finish).any():
        return None
    columns = cost.shape[1]
    # A border that cannot be entered spares the check of the edges; lists are quicker than arrays here.
    width = columns + 2
    price = np.pad(cost, 1, constant_values=np.inf).ravel().tolist()
    ends = np.pad(finish, 1, constant_values=np.inf).ravel().tolist()
    left = np.pad(guess, 1, constant_values=np.inf).ravel().tolist()
    steps = [(d, 1.0) for d in (-width, -1, 1, width)]
    steps += [(d, _DIAGONAL) for d in (-width - 1, -width + 1, width - 1, width + 1)]
    first = (start[0] + 1) * width + start[1] + 1
    paid, came = {first: 0.0}, {first: first}
    queue, done = [(left[first], first)], set()
    best, last = np.inf, -1
    while queue:
        total, cell = heapq.heappop(queue)
        if total >= best:
            break
        if cell in done:
            continue
        done.add(cell)
        here = paid[cell]
        if here + ends[cell] < best:
            best, last = here + ends[cell], cell
        for step, length in steps:
            other = cell + step
            there = here + length * price[other]
            if there < paid.get(other, np.inf):
                paid[other], came[other] = there, cell
                heapq.heappush(queue, (there + left[other], other))
    if last < 0:
        return None
    way = [last]
    while way[-1] != first:
        way.append(came[way[-1]])
    cells = np.array(way[::-1])
    return np.stack([cells // width - 1, cells % width - 1], axis=1)
