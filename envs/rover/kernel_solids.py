"""Where a ray meets a box, a cylinder or an ellipsoid, and which pixels a solid can cover at most."""

from __future__ import annotations

import math
from typing import Any

# A solid is a row: shape, x, y, z, half sizes a, b, c, cos and sin of its yaw, bounding radius.
BOX, CYLINDER, ELLIPSOID, LOG = 0, 1, 2, 3
"""CYLINDER stands (radius a, half height c); LOG lies along its own x axis (half length a, radius b)."""

MISS = 1e30
_NEAR = 0.05


def ray_solid(s: Any, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> float:
    """Distance, in lengths of the direction, to the first point of a solid; MISS where there is none."""
    px, py, pz = ox - s[1], oy - s[2], oz - s[3]
    c, n = s[7], s[8]
    lx, ly = px * c + py * n, py * c - px * n
    ex, ey = dx * c + dy * n, dy * c - dx * n
    shape = int(s[0])
    if shape == BOX:
        return _ray_box(lx, ly, pz, ex, ey, dz, s[4], s[5], s[6])
    if shape == CYLINDER:
        return _ray_cylinder(lx, ly, pz, ex, ey, dz, s[4], s[6])
    if shape == LOG:
        return _ray_cylinder(ly, pz, lx, ey, dz, ex, s[5], s[4])
    return _ray_ball(lx / s[4], ly / s[5], pz / s[6], ex / s[4], ey / s[5], dz / s[6])


def _ray_box(
    px: float, py: float, pz: float, dx: float, dy: float, dz: float, a: float, b: float, c: float
) -> float:
    near, far = -MISS, MISS
    for p, d, half in ((px, dx, a), (py, dy, b), (pz, dz, c)):
        if abs(d) < 1e-12:
            if abs(p) > half:
                return MISS
            continue
        inverse = 1.0 / d
        t0, t1 = (-half - p) * inverse, (half - p) * inverse
        if t0 > t1:
            t0, t1 = t1, t0
        near, far = max(near, t0), min(far, t1)
    if near > far or far <= 0.0:
        return MISS
    return near if near > 0.0 else far


def _ray_cylinder(
    px: float, py: float, pz: float, dx: float, dy: float, dz: float, radius: float, half: float
) -> float:
    """Axis along z."""
    a = dx * dx + dy * dy
    b = px * dx + py * dy
    c = px * px + py * py - radius * radius
    near, far = -MISS, MISS
    if a > 1e-12:
        root = b * b - a * c
        if root < 0.0:
            return MISS
        root = math.sqrt(root)
        near, far = (-b - root) / a, (-b + root) / a
    elif c > 0.0:
        return MISS
    if abs(dz) > 1e-12:
        t0, t1 = (-half - pz) / dz, (half - pz) / dz
        if t0 > t1:
            t0, t1 = t1, t0
        near, far = max(near, t0), min(far, t1)
    elif abs(pz) > half:
        return MISS
    if near > far or far <= 0.0:
        return MISS
    return near if near > 0.0 else far


def _ray_ball(px: float, py: float, pz: float, dx: float, dy: float, dz: float) -> float:
    a = dx * dx + dy * dy + dz * dz
    b = px * dx + py * dy + pz * dz
    root = b * b - a * (px * px + py * py + pz * pz - 1.0)
    if root < 0.0:
        return MISS
    root = math.sqrt(root)
    if root < b:  # behind
        return MISS
    return (-b - root) / a if -b > root else (-b + root) / a


def boxes(
    across: Any, px: float, py: float, pz: float, fx: float, fy: float, fz: float,
    rx: float, ry: float, rz: float, a: float, b: float, c: float, number: int, depth: Any, owner: Any,
) -> None:  # fmt: skip
    """Meets a box with a row of rays, from (px, py, pz) along f + across r in its frame, without branches.

    across: (W,); depth, owner: (W,), set to the distance and `number` where the box is nearer. The three
    shapes' loops are one instruction for several rays once compiled.
    """
    for j in range(len(across)):
        dx, dy, dz = fx + across[j] * rx, fy + across[j] * ry, fz + across[j] * rz
        inverse_x = 1.0 / (dx if abs(dx) > 1e-9 else 1e-9)
        inverse_y = 1.0 / (dy if abs(dy) > 1e-9 else 1e-9)
        inverse_z = 1.0 / (dz if abs(dz) > 1e-9 else 1e-9)
        x, y, z = -px * inverse_x, -py * inverse_y, -pz * inverse_z
        wide, deep, high = a * abs(inverse_x), b * abs(inverse_y), c * abs(inverse_z)
        near = max(max(x - wide, y - deep), z - high)
        far = min(min(x + wide, y + deep), z + high)
        t = near if near > 0.0 else far
        hit = (near <= far) & (far > 0.0) & (t < depth[j])
        depth[j] = t if hit else depth[j]
        owner[j] = number if hit else owner[j]


def cylinders(
    across: Any, px: float, py: float, pz: float, fx: float, fy: float, fz: float,
    rx: float, ry: float, rz: float, radius: float, half: float, number: int, depth: Any, owner: Any,
) -> None:  # fmt: skip
    """As `boxes`; the cylinder's axis is z."""
    outside = px * px + py * py - radius * radius
    for j in range(len(across)):
        dx, dy, dz = fx + across[j] * rx, fy + across[j] * ry, fz + across[j] * rz
        inverse = 1.0 / (dx * dx + dy * dy + 1e-12)
        inverse_z = 1.0 / (dz if abs(dz) > 1e-9 else 1e-9)
        b = (px * dx + py * dy) * inverse
        square = b * b - outside * inverse
        root = math.sqrt(max(square, 0.0))
        z, high = -pz * inverse_z, half * abs(inverse_z)
        near, far = max(-b - root, z - high), min(-b + root, z + high)
        t = near if near > 0.0 else far
        hit = (square >= 0.0) & (near <= far) & (far > 0.0) & (t < depth[j])
        depth[j] = t if hit else depth[j]
        owner[j] = number if hit else owner[j]


def balls(
    across: Any, px: float, py: float, pz: float, fx: float, fy: float, fz: float,
    rx: float, ry: float, rz: float, number: int, depth: Any, owner: Any,
) -> None:  # fmt: skip
    """As `boxes`; of radius 1, in a frame that is stretched to make it so."""
    outside = px * px + py * py + pz * pz - 1.0
    for j in range(len(across)):
        dx, dy, dz = fx + across[j] * rx, fy + across[j] * ry, fz + across[j] * rz
        inverse = 1.0 / (dx * dx + dy * dy + dz * dz)
        b = (px * dx + py * dy + pz * dz) * inverse
        square = b * b - outside * inverse
        root = math.sqrt(max(square, 0.0))
        t = -b - root if b + root < 0.0 else root - b
        hit = (square >= 0.0) & (root > b) & (t < depth[j])
        depth[j] = t if hit else depth[j]
        owner[j] = number if hit else owner[j]


def solid_bounds(s: Any, ox: float, oy: float, oz: float, axes: Any) -> tuple[float, float, float, float]:
    """Slopes (left, right, top, bottom) that hold a solid's picture; left > right where it is out of view.

    axes: (3, 3) of the camera, rows right, down, forward. The box around the solid is cut at a plane just
    before the camera, so that a wall passing beside it still has bounds.
    """
    left, right, top, bottom = MISS, -MISS, MISS, -MISS
    a, b, c = s[4], s[5], s[6]
    if int(s[0]) == LOG:
        c = s[5]
    elif int(s[0]) == CYLINDER:
        b = s[4]
    px, py, pz = s[1] - ox, s[2] - oy, s[3] - oz
    mx = axes[0, 0] * px + axes[0, 1] * py + axes[0, 2] * pz
    my = axes[1, 0] * px + axes[1, 1] * py + axes[1, 2] * pz
    mz = axes[2, 0] * px + axes[2, 1] * py + axes[2, 2] * pz
    ux, uy = s[7] * a, s[8] * a
    vx, vy = -s[8] * b, s[7] * b
    ax = axes[0, 0] * ux + axes[0, 1] * uy
    ay = axes[1, 0] * ux + axes[1, 1] * uy
    az = axes[2, 0] * ux + axes[2, 1] * uy
    bx = axes[0, 0] * vx + axes[0, 1] * vy
    by = axes[1, 0] * vx + axes[1, 1] * vy
    bz = axes[2, 0] * vx + axes[2, 1] * vy
    cx, cy, cz = axes[0, 2] * c, axes[1, 2] * c, axes[2, 2] * c
    for corner in range(8):
        i = 1.0 if corner & 1 else -1.0
        j = 1.0 if corner & 2 else -1.0
        k = 1.0 if corner & 4 else -1.0
        x, y, z = mx + i * ax + j * bx + k * cx, my + i * ay + j * by + k * cy, mz + i * az + j * bz + k * cz
        if z > _NEAR:
            left, right = min(left, x / z), max(right, x / z)
            top, bottom = min(top, y / z), max(bottom, y / z)
        for axis in range(3):  # the edges that start here and cross the plane
            if corner & (1 << axis):
                continue
            ex = 2.0 * (ax if axis == 0 else bx if axis == 1 else cx)
            ey = 2.0 * (ay if axis == 0 else by if axis == 1 else cy)
            ez = 2.0 * (az if axis == 0 else bz if axis == 1 else cz)
            if (z > _NEAR) != (z + ez > _NEAR):
                f = (_NEAR - z) / ez
                sx, sy = (x + f * ex) / _NEAR, (y + f * ey) / _NEAR
                left, right, top, bottom = min(left, sx), max(right, sx), min(top, sy), max(bottom, sy)
    return left, right, top, bottom
