"""A ray through height field and grass: two-level traversal, exact on the field's triangles."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from envs.rover.kernel_noise import hash3, unit
from envs.rover.kernel_solids import MISS

BLOCK = 8
"""cells along the side of a block, whose highest point lets rays pass over it in one step"""
REGION_BITS = 3
REGION = 1 << REGION_BITS
"""blocks along the side of a region, which rays pass over in one step too"""
NOTHING, GROUND, GRASS, SOLID = 0, 1, 2, 3


class Field(NamedTuple):
    """What rays meet that is not a solid. Grids are (rows along y, columns along x), corner at (0, 0)."""

    cell: float
    """m between neighbouring points"""
    heights: Any
    """(R, C) float32 m"""
    tops: Any
    """(R / 8, C / 8) float32 m, the highest ground or grass of a block"""
    grass: Any
    """(R, C) uint8, 0 for none, else row of `blades` for the cell from this point on"""
    blades: Any
    """(kinds, 5) float64: lowest and highest blade m, half width m, share of cells with any, blades a cell"""
    ceiling: float
    """m that nothing of the field rises above"""
    soils: Any
    """(R / 8, C / 8) float32 m, the highest ground of a block"""
    covers: Any
    """(R / 8, C / 8) uint8, kind of grass that most of a block has, or 0"""
    thickness: Any
    """(R / 8, C / 8) float32, blades that a ray meets on a metre through a block"""
    detail: float
    """m beyond which blades are met by chance, not one by one: they are far smaller than a pixel there"""
    regions: Any
    """(R / 64, C / 64) float32 m, the highest `tops` of REGION x REGION blocks"""


def march(
    field: Field, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, limit: float
) -> tuple[float, int, int, int, float]:
    """(distance in lengths of the direction, what was met; of a blade: kind, hash, share of its height)."""
    cell = field.cell
    rows, columns = field.heights.shape
    dx = dx if abs(dx) > 1e-9 else 1e-9
    dy = dy if abs(dy) > 1e-9 else 1e-9
    inverse_x, inverse_y = 1.0 / dx, 1.0 / dy
    t, end = 1e-4, limit
    t0, t1 = -ox * inverse_x, ((columns - 1) * cell - ox) * inverse_x
    t, end = max(t, min(t0, t1)), min(end, max(t0, t1))
    t0, t1 = -oy * inverse_y, ((rows - 1) * cell - oy) * inverse_y
    t, end = max(t, min(t0, t1)), min(end, max(t0, t1))
    inverse_z = 1.0 / (dz if abs(dz) > 1e-9 else -1e-9)
    over = (field.ceiling - oz) * inverse_z
    if dz > 0.0:
        end = min(end, over)
    else:
        t = max(t, over)
    if t >= end:
        return MISS, NOTHING, 0, 0, 0.0
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    side = cell * BLOCK
    per_side = 1.0 / side
    blocks_x, blocks_y = field.tops.shape[1], field.tops.shape[0]
    bx = min(max(int((ox + t * dx) * per_side), 0), blocks_x - 1)
    by = min(max(int((oy + t * dy) * per_side), 0), blocks_y - 1)
    step_x = 1 if dx > 0 else -1
    step_y = 1 if dy > 0 else -1
    next_x = ((bx + (dx > 0)) * side - ox) * inverse_x
    next_y = ((by + (dy > 0)) * side - oy) * inverse_y
    delta_x, delta_y = abs(side * inverse_x), abs(side * inverse_y)
    while t < end:
        leave = min(min(next_x, next_y), end)
        # The part of the way below the block's highest point: nothing can be met above it.
        under = (field.tops[by, bx] - oz) * inverse_z
        if dz > 0.0:
            first, last = t, min(leave, under)
        else:
            first, last = max(t, under), leave
        if first < last:
            near = first * length < field.detail
            blade, kind, bits, share = MISS, 0, 0, 0.0
            if not near and field.covers[by, bx] > 0:
                blade, kind, bits, share = _meet_stand(
                    field, bx, by, ox, oy, oz, dx, dy, dz, length, first, last
                )
            if near or min(oz + first * dz, oz + last * dz) <= field.soils[by, bx]:
                found, what, fine_kind, fine_bits, fine_share = _march_block(
                    field, ox, oy, oz, dx, dy, dz, inverse_x, inverse_y, first, last, near
                )
                if what != NOTHING and found < blade:
                    return found, what, fine_kind, fine_bits, fine_share
            if blade < MISS:
                return blade, GRASS, kind, bits, share
        else:
            # Above this block: perhaps above all that is left of its region, too.
            rx, ry = bx >> REGION_BITS, by >> REGION_BITS
            out_x = ((rx + (dx > 0)) * REGION * side - ox) * inverse_x
            out_y = ((ry + (dy > 0)) * REGION * side - oy) * inverse_y
            out = min(out_x, out_y)
            if out > leave and oz + (leave if dz > 0.0 else out) * dz > field.regions[ry, rx]:
                t = out
                if out_x < out_y:
                    bx = (rx + 1) * REGION if dx > 0 else rx * REGION - 1
                    by = int((oy + t * dy) * per_side)
                    by = min(max(by, ry * REGION), ry * REGION + REGION - 1)
                else:
                    by = (ry + 1) * REGION if dy > 0 else ry * REGION - 1
                    bx = int((ox + t * dx) * per_side)
                    bx = min(max(bx, rx * REGION), rx * REGION + REGION - 1)
                if bx < 0 or by < 0 or bx >= blocks_x or by >= blocks_y:
                    break
                next_x = ((bx + (dx > 0)) * side - ox) * inverse_x
                next_y = ((by + (dy > 0)) * side - oy) * inverse_y
                continue
        t = leave
        if next_x < next_y:
            bx += step_x
            next_x += delta_x
            if bx < 0 or bx >= blocks_x:
                break
        else:
            by += step_y
            next_y += delta_y
            if by < 0 or by >= blocks_y:
                break
    return MISS, NOTHING, 0, 0, 0.0


def _march_block(
    field: Field, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float,
    inverse_x: float, inverse_y: float, t: float, end: float, blades: bool,
) -> tuple[float, int, int, int, float]:  # fmt: skip
    cell = field.cell
    per_cell = 1.0 / cell
    heights = field.heights
    rows, columns = heights.shape
    flat = dx * dx + dy * dy
    middle = t + 1e-7
    ix = min(max(int((ox + middle * dx) * per_cell), 0), columns - 2)
    iy = min(max(int((oy + middle * dy) * per_cell), 0), rows - 2)
    step_x = 1 if dx > 0 else -1
    step_y = 1 if dy > 0 else -1
    next_x = ((ix + (dx > 0)) * cell - ox) * inverse_x
    next_y = ((iy + (dy > 0)) * cell - oy) * inverse_y
    delta_x, delta_y = abs(cell * inverse_x), abs(cell * inverse_y)
    while t < end:
        leave = min(min(next_x, next_y), end)
        h00, h01 = heights[iy, ix], heights[iy, ix + 1]
        h10, h11 = heights[iy + 1, ix], heights[iy + 1, ix + 1]
        low = min(oz + t * dz, oz + leave * dz)
        best = MISS
        if low <= max(max(h00, h01), max(h10, h11)):
            u, v = (ox + t * dx) * per_cell - ix, (oy + t * dy) * per_cell - iy
            best = _meet_cell(
                h00, h01, h10, h11, u, v, oz + t * dz, dx * per_cell, dy * per_cell, dz, leave - t
            )
            if best != MISS:
                best += t
        kind = field.grass[iy, ix]
        if blades and kind > 0 and low <= h00 + field.blades[kind, 1]:
            for blade in range(int(field.blades[kind, 4])):
                found, bits, share = _meet_blade(field, kind, blade, ix, iy, ox, oy, oz, dx, dy, dz, flat)
                if t - 0.05 < found < best and found < leave + 0.05:
                    return found, GRASS, kind, bits, share
        if best != MISS:
            return best, GROUND, 0, 0, 0.0
        t = leave
        if next_x < next_y:
            ix += step_x
            next_x += delta_x
            if ix < 0 or ix >= columns - 1:
                break
        else:
            iy += step_y
            next_y += delta_y
            if iy < 0 or iy >= rows - 1:
                break
    return MISS, NOTHING, 0, 0, 0.0


def _meet_stand(
    field: Field, bx: int, by: int, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float,
    length: float, t: float, end: float,
) -> tuple[float, int, int, float]:  # fmt: skip
    """Grass far away: after how much of a block a ray meets a blade, by chance, but always the same."""
    cell = field.cell
    bits = hash3(int((ox + t * dx) / cell), int((oy + t * dy) / cell), int((oz + t * dz) * 16.0))
    way = -math.log(unit(bits) + 1e-4) / field.thickness[by, bx]
    t += way / length
    if t >= end:
        return MISS, 0, 0, 0.0
    j = min(max(int((ox + t * dx) / cell), 0), field.heights.shape[1] - 1)
    i = min(max(int((oy + t * dy) / cell), 0), field.heights.shape[0] - 1)
    kind = field.covers[by, bx]
    low, high = field.blades[kind, 0], field.blades[kind, 1]
    share = (oz + t * dz - field.heights[i, j]) / (low + unit(bits >> 10) * (high - low))
    if share < 0.0 or share > 1.0:
        return MISS, 0, 0, 0.0
    return t, kind, bits, share


def _meet_cell(
    h00: float, h01: float, h10: float, h11: float, u: float, v: float, z: float,
    du: float, dv: float, dz: float, length: float,
) -> float:  # fmt: skip
    """Distance within a cell to its two triangles, which share the edge from (1, 0) to (0, 1)."""
    # Above the first triangle's plane the ray is z + s dz; past the edge the second is `twist` steeper.
    twist = h00 + h11 - h01 - h10
    over, past = u + v - 1.0, du + dv
    z -= h00 + u * (h01 - h00) + v * (h10 - h00)
    dz -= du * (h01 - h00) + dv * (h10 - h00)
    start = z - max(over, 0.0) * twist
    if start <= 0.0:
        return 0.0
    edge = min(max(-over / (past if abs(past) > 1e-12 else 1e-12), 0.0), length)
    middle = z + edge * dz - max(over + edge * past, 0.0) * twist
    if middle <= 0.0:
        return edge * start / (start - middle)
    last = z + length * dz - max(over + length * past, 0.0) * twist
    if last <= 0.0:
        return edge + (length - edge) * middle / (middle - last)
    return MISS


def _meet_blade(
    field: Field, kind: int, blade: int, ix: int, iy: int,
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, flat: float,
) -> tuple[float, int, float]:  # fmt: skip
    """Where the ray meets a leaning blade, with its hash and the share of its height; MISS beside it.

    flat: dx dx + dy dy.
    """
    more = hash3(ix, iy, blade * 7 + 2)
    cell = field.cell
    bx, by = (ix + unit(more)) * cell - ox, (iy + unit(more >> 10)) * cell - oy
    bits = (more * 40503 + 977) & 0xFFFFFFFF
    height = field.blades[kind, 0] + unit(bits >> 10) * (field.blades[kind, 1] - field.blades[kind, 0])
    half = field.blades[kind, 2]
    beside = bx * dy - by * dx
    reach = half + 0.25 * height  # a blade leans 0.35 of its height at most, from the middle either way
    if beside * beside > reach * reach * flat:
        return MISS, 0, 0.0
    t = (bx * dx + by * dy) / flat
    z = oz + t * dz - field.heights[iy, ix]
    if z < 0.0 or z > height:
        return MISS, 0, 0.0
    share = z / height
    lean = 0.35 * height * share * share
    beside += lean * ((unit(more >> 20) - 0.5) * dy - (unit(bits >> 20) - 0.5) * dx)
    half *= 1.0 - 0.75 * share
    if beside * beside > half * half * flat:
        return MISS, 0, 0.0
    return t, bits, share
