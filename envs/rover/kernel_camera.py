"""One camera frame: solids by their bounds on the screen, then ground and grass, then light and colour."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from envs.rover.kernel_ground import GRASS, GROUND, Field, march
from envs.rover.kernel_noise import hash3, unit
from envs.rover.kernel_solids import BOX, CYLINDER, LOG, MISS, balls, boxes, cylinders, solid_bounds

TEXTURE_SIZE = 256
TEXTURE_METRES = 4.0


class Scene(NamedTuple):
    """All that a frame of one world is made of."""

    field: Field
    solids: Any
    """(S, 10) float64, see kernel_solids"""
    paint: Any
    """(S, 5) float64: red, green, blue 0-1, texture, textures a metre"""
    looks: Any
    """(R, C) uint8 terrain kind of each grid point"""
    ground_paint: Any
    """(kinds, 4) float64: red, green, blue factor and texture of each kind"""
    blade_paint: Any
    """(kinds, 6) float64: colour of a blade's root and of its tip, 0-1"""
    shade: Any
    """(R, C) uint8, sunlight on each grid point; 170 is light on level ground"""
    textures: Any
    """(T, texels, 3) uint8, each texture's levels one after the other, largest first"""
    sky: Any
    """(SKY_ROWS, SKY_COLUMNS, 3) uint8 by direction, see `sky_place`"""
    light: Any
    """(12,) float64: see the places below"""


SUN, SUN_COLOUR, AMBIENT, HAZE, EXPOSURE, ROOF = 0, 3, 6, 9, 10, 11
"""Places in Scene.light."""
SKY_ROWS, SKY_COLUMNS = 96, 512


class Shot(NamedTuple):
    """Where a camera is and what it keeps."""

    origin: Any
    """(3,) float64 m"""
    axes: Any
    """(3, 3) float64, rows right, down and forward in the world"""
    across: Any
    """(W,) float64 slope of each column, right positive"""
    down: Any
    """(H,) float64 slope of each row, down positive"""
    inside: Any
    """(H, W) bool, false where the lens shows nothing"""
    seed: int
    grain: float
    """standard deviation of the sensor's noise, 0-255"""
    far: float
    """m beyond which depth is said to be this"""


def draw(scene: Scene, shot: Shot, image: Any, depth: Any, owner: Any, noise: Any) -> None:
    """Fills image (H, W, 3) uint8 and depth (H, W) float32 m along the optical axis.

    owner: (H, W) int32 and noise: (W,) float32 are scratch.
    """
    height, width = shot.inside.shape
    for i in range(height):
        for j in range(width):
            depth[i, j] = 0.5 * MISS  # float32 rounds MISS itself upwards
            owner[i, j] = -1
    _draw_solids(scene, shot, depth, owner)
    axes, origin = shot.axes, shot.origin
    ox, oy, oz = origin[0], origin[1], origin[2]
    rx, ry, rz = axes[0, 0], axes[0, 1], axes[0, 2]
    pixel = shot.across[1] - shot.across[0]
    gain = 255.0 * scene.light[EXPOSURE]
    haze = scene.light[HAZE]
    # The lowest row of the sky is the far horizon's one colour, whatever the direction.
    far_red, far_green, far_blue = _sky(scene, 1.0, 0.0, 0.0)
    for i in range(height):
        b = shot.down[i]
        fx, fy, fz = axes[2, 0] + b * axes[1, 0], axes[2, 1] + b * axes[1, 1], axes[2, 2] + b * axes[1, 2]
        _grain(i, shot, noise)
        for j in range(width):
            if not shot.inside[i, j]:
                image[i, j, 0] = image[i, j, 1] = image[i, j, 2] = 0
                depth[i, j] = 0.0
                continue
            a = shot.across[j]
            dx, dy, dz = fx + a * rx, fy + a * ry, fz + a * rz
            t, what, kind, bits, share = march(scene.field, ox, oy, oz, dx, dy, dz, min(depth[i, j], 400.0))
            if what == GROUND:
                x, y = ox + t * dx, oy + t * dy
                spread = pixel * t * math.sqrt(math.sqrt(a * a + b * b + 1.0) / max(abs(dz), 0.02))
                red, green, blue = _ground(scene, x, y, spread)
            elif what == GRASS:
                red, green, blue = _blade(scene, ox + t * dx, oy + t * dy, kind, bits, share)
            elif owner[i, j] >= 0:
                t = depth[i, j]
                red, green, blue = _solid(
                    scene, owner[i, j], ox + t * dx, oy + t * dy, oz + t * dz, pixel * t
                )
            else:
                t, red, green, blue = _beyond(scene, ox, oy, oz, dx, dy, dz, pixel)
            depth[i, j] = min(t, shot.far)
            mist = t * haze / (1.0 + t * haze) if t < 400.0 else 0.0
            red += mist * (far_red - red)
            green += mist * (far_green - green)
            blue += mist * (far_blue - blue)
            image[i, j, 0] = int(min(max(red * gain + noise[j], 0.0), 255.0))
            image[i, j, 1] = int(min(max(green * gain + noise[j], 0.0), 255.0))
            image[i, j, 2] = int(min(max(blue * gain + noise[j], 0.0), 255.0))


def _grain(i: int, shot: Shot, noise: Any) -> None:
    """Fills noise (W,) for a row: the sum of three uniform numbers has a deviation of a half."""
    for j in range(len(noise)):
        bits = hash3(i, j, shot.seed)
        noise[j] = 2.0 * shot.grain * (unit(bits) + unit(bits >> 10) + unit(bits >> 20) - 1.5)


def _draw_solids(scene: Scene, shot: Shot, depth: Any, owner: Any) -> None:
    height, width = shot.inside.shape
    axes, origin, across, down = shot.axes, shot.origin, shot.across, shot.down
    per_slope_x = 1.0 / (across[1] - across[0])
    per_slope_y = 1.0 / (down[1] - down[0])
    for k in range(len(scene.solids)):
        s = scene.solids[k]
        px, py, pz = s[1] - origin[0], s[2] - origin[1], s[3] - origin[2]
        forward = axes[2, 0] * px + axes[2, 1] * py + axes[2, 2] * pz
        if forward < -s[9] or forward - s[9] > 120.0:
            continue
        left, right, top, bottom = solid_bounds(s, origin[0], origin[1], origin[2], axes)
        if left > right:
            continue
        j0 = max(int((left - across[0]) * per_slope_x), 0)
        j1 = min(int((right - across[0]) * per_slope_x) + 2, width)
        i0 = max(int((top - down[0]) * per_slope_y), 0)
        i1 = min(int((bottom - down[0]) * per_slope_y) + 2, height)
        if j0 >= j1 or i0 >= i1:
            continue
        # Rays in the solid's own frame: from (lx, ly, lz), and linear in the column along a row.
        c, n, shape = s[7], s[8], int(s[0])
        lx, ly, lz = -px * c - py * n, px * n - py * c, -pz
        rx, ry, rz = axes[0, 0] * c + axes[0, 1] * n, axes[0, 1] * c - axes[0, 0] * n, axes[0, 2]
        for i in range(i0, i1):
            b = down[i]
            gx, gy = axes[2, 0] + b * axes[1, 0], axes[2, 1] + b * axes[1, 1]
            fx, fy, fz = gx * c + gy * n, gy * c - gx * n, axes[2, 2] + b * axes[1, 2]
            columns, row, mine = across[j0:j1], depth[i, j0:j1], owner[i, j0:j1]
            if shape == BOX:
                boxes(columns, lx, ly, lz, fx, fy, fz, rx, ry, rz, s[4], s[5], s[6], k, row, mine)
            elif shape == CYLINDER:
                cylinders(columns, lx, ly, lz, fx, fy, fz, rx, ry, rz, s[4], s[6], k, row, mine)
            elif shape == LOG:
                cylinders(columns, ly, lz, lx, fy, fz, fx, ry, rz, rx, s[5], s[4], k, row, mine)
            else:
                balls(
                    columns, lx / s[4], ly / s[5], lz / s[6], fx / s[4], fy / s[5], fz / s[6],
                    rx / s[4], ry / s[5], rz / s[6], k, row, mine,
                )  # fmt: skip


def _texel(textures: Any, which: int, u: float, v: float, spread: float) -> tuple[float, float, float]:
    """Colour 0-1 of a texture at (u, v) metres, averaged over about `spread` metres."""
    # The level whose texels are about as large as the spread: each has half as many along a side.
    texels = spread * (TEXTURE_SIZE / TEXTURE_METRES / 1.5)
    size = TEXTURE_SIZE >> (
        (texels > 1.0) + (texels > 2.0) + (texels > 4.0) + (texels > 8.0)
        + (texels > 16.0) + (texels > 32.0) + (texels > 64.0) + (texels > 128.0)
    )  # fmt: skip
    start = (TEXTURE_SIZE * TEXTURE_SIZE - size * size) * 4 // 3  # texels of all larger levels
    scale = size / TEXTURE_METRES
    column = math.floor(u * scale) & (size - 1)
    row = math.floor(v * scale) & (size - 1)
    place = start + row * size + column
    one = 1.0 / 255.0
    return textures[which, place, 0] * one, textures[which, place, 1] * one, textures[which, place, 2] * one


def _ground(scene: Scene, x: float, y: float, spread: float) -> tuple[float, float, float]:
    cell = scene.field.cell
    rows, columns = scene.looks.shape
    u, v = x / cell, y / cell
    ix, iy = min(max(int(u), 0), columns - 2), min(max(int(v), 0), rows - 2)
    u, v = u - ix, v - iy
    k00, k01 = scene.looks[iy, ix], scene.looks[iy, ix + 1]
    k10, k11 = scene.looks[iy + 1, ix], scene.looks[iy + 1, ix + 1]
    kind = k00
    if k01 != k00 or k10 != k00 or k11 != k00:  # the kind with the most weight: borders are lines, not stairs
        w00, w01, w10, w11 = (1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v
        best = 0.0
        for candidate in (k00, k01, k10, k11):
            weight = w00 * (k00 == candidate) + w01 * (k01 == candidate)
            weight += w10 * (k10 == candidate) + w11 * (k11 == candidate)
            if weight > best:
                best, kind = weight, candidate
    s = scene.shade
    light = (1 - v) * ((1 - u) * s[iy, ix] + u * s[iy, ix + 1]) + v * (
        (1 - u) * s[iy + 1, ix] + u * s[iy + 1, ix + 1]
    )
    light *= 1.0 / 170.0
    paint = scene.ground_paint
    red, green, blue = _texel(scene.textures, int(paint[kind, 3]), x, y, spread)
    sun, ambient = scene.light[SUN_COLOUR : SUN_COLOUR + 3], scene.light[AMBIENT : AMBIENT + 3]
    return (
        red * paint[kind, 0] * (ambient[0] + light * sun[0]),
        green * paint[kind, 1] * (ambient[1] + light * sun[1]),
        blue * paint[kind, 2] * (ambient[2] + light * sun[2]),
    )


def _blade(
    scene: Scene, x: float, y: float, kind: int, bits: int, share: float
) -> tuple[float, float, float]:
    cell = scene.field.cell
    rows, columns = scene.looks.shape
    ix, iy = min(max(int(x / cell), 0), columns - 1), min(max(int(y / cell), 0), rows - 1)
    paint = scene.blade_paint[kind]
    light = scene.shade[iy, ix] * (1.0 / 170.0) * (0.55 + 0.45 * share)
    tone = (0.45 + 0.55 * share) * (0.75 + 0.5 * unit(bits >> 5))
    base = scene.light
    red = (paint[0] + share * (paint[3] - paint[0])) * tone
    green = (paint[1] + share * (paint[4] - paint[1])) * tone
    blue = (paint[2] + share * (paint[5] - paint[2])) * tone
    return (
        red * (base[AMBIENT] + light * base[SUN_COLOUR]),
        green * (base[AMBIENT + 1] + light * base[SUN_COLOUR + 1]),
        blue * (base[AMBIENT + 2] + light * base[SUN_COLOUR + 2]),
    )


def _solid(
    scene: Scene, which: int, x: float, y: float, z: float, spread: float
) -> tuple[float, float, float]:
    s, paint = scene.solids[which], scene.paint[which]
    px, py, pz = x - s[1], y - s[2], z - s[3]
    lx, ly = px * s[7] + py * s[8], py * s[7] - px * s[8]
    shape = int(s[0])
    nx, ny, nz = 0.0, 0.0, 0.0
    if shape == BOX:
        fx, fy, fz = abs(lx) / s[4], abs(ly) / s[5], abs(pz) / s[6]
        if fz >= fx and fz >= fy:
            u, v, nz = lx, ly, 1.0 if pz > 0 else -1.0
        elif fx >= fy:
            u, v, nx = ly, pz, 1.0 if lx > 0 else -1.0
        else:
            u, v, ny = lx, pz, 1.0 if ly > 0 else -1.0
        v -= s[6]
    elif shape == CYLINDER:
        u, v = math.atan2(ly, lx) * s[4], pz - s[6]
        if pz > 0.999 * s[6]:
            nz = 1.0
        else:
            nx, ny = lx / s[4], ly / s[4]
    elif shape == LOG:
        u, v = lx, math.atan2(pz, ly) * s[5]
        if abs(lx) > 0.999 * s[4]:
            nx = 1.0 if lx > 0 else -1.0
        else:
            ny, nz = ly / s[5], pz / s[5]
    else:
        nx, ny, nz = lx / (s[4] * s[4]), ly / (s[5] * s[5]), pz / (s[6] * s[6])
        length = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
        nx, ny, nz = nx * length, ny * length, nz * length
        u, v = lx + 0.6 * pz, ly + 0.8 * pz
    base = scene.light
    facing = (
        (nx * s[7] - ny * s[8]) * base[SUN] + (nx * s[8] + ny * s[7]) * base[SUN + 1] + nz * base[SUN + 2]
    )
    light = max(facing, 0.0) / max(base[SUN + 2], 0.35)
    open_sky = 0.8 + 0.2 * nz
    red, green, blue = _texel(scene.textures, int(paint[3]), u * paint[4], v * paint[4], spread * paint[4])
    return (
        red * paint[0] * (open_sky * base[AMBIENT] + light * base[SUN_COLOUR]),
        green * paint[1] * (open_sky * base[AMBIENT + 1] + light * base[SUN_COLOUR + 1]),
        blue * paint[2] * (open_sky * base[AMBIENT + 2] + light * base[SUN_COLOUR + 2]),
    )


def _beyond(
    scene: Scene, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, pixel: float
) -> tuple[float, float, float, float]:
    """Distance and colour where nothing near was met: ceiling, sky, or ground outside the grid."""
    base = scene.light
    if base[ROOF] > 0.0 and dz > 1e-6:
        t = (base[ROOF] - oz) / dz
        red, green, blue = _texel(
            scene.textures, int(scene.ground_paint[0, 3]), ox + t * dx, oy + t * dy, 4.0
        )
        glow = 0.9 + 0.3 * ((int((ox + t * dx) / 2.0) + int((oy + t * dy) / 1.5)) % 3 == 0)
        return t, (0.5 + 0.2 * red) * glow, (0.5 + 0.2 * green) * glow, (0.5 + 0.2 * blue) * glow
    if dz < -0.003:
        flat = math.sqrt(dx * dx + dy * dy)
        t = -oz / dz
        red, green, blue = _texel(
            scene.textures, int(scene.ground_paint[1, 3]),
            ox + t * dx, oy + t * dy, pixel * t * math.sqrt(flat / -dz),
        )  # fmt: skip
        paint = scene.ground_paint[1]
        return (
            t,
            red * paint[0] * (base[AMBIENT] + base[SUN_COLOUR]),
            green * paint[1] * (base[AMBIENT + 1] + base[SUN_COLOUR + 1]),
            blue * paint[2] * (base[AMBIENT + 2] + base[SUN_COLOUR + 2]),
        )
    red, green, blue = _sky(scene, dx, dy, dz)
    return MISS, red, green, blue


def _sky(scene: Scene, dx: float, dy: float, dz: float) -> tuple[float, float, float]:
    row, column = sky_place(dx, dy, dz)
    sky, one = scene.sky, 1.0 / 255.0
    return sky[row, column, 0] * one, sky[row, column, 1] * one, sky[row, column, 2] * one


def sky_place(dx: float, dy: float, dz: float) -> tuple[int, int]:
    """Row and column of a direction: columns go around a diamond, rows up it, so no angle is needed."""
    around = abs(dx) + abs(dy) + 1e-9
    turn = dy / around
    column = (1.0 + turn) * 0.25 if dx >= 0.0 else 0.5 + (1.0 - turn) * 0.25
    up = max(dz, 0.0)
    return (
        min(int(up / (around + up) * SKY_ROWS), SKY_ROWS - 1),
        min(int(column * SKY_COLUMNS), SKY_COLUMNS - 1),
    )
