"""Textures, drawn by formulas: what ground and solids look like from close by.

Each is a square of 4 m that repeats; levels of half the size follow for what is further away.
"""

from __future__ import annotations

import functools

import numpy as np

from envs.batch import Array
from envs.rover.kernel_camera import TEXTURE_METRES, TEXTURE_SIZE

_N = TEXTURE_SIZE
NAMES = (
    "clouds", "slabs", "lawn", "dirt", "ruts", "cobble", "straw", "undergrowth", "tiles", "carpet",
    "asphalt", "gravel", "brick", "plaster", "concrete", "bark", "leaves", "planks", "metal", "facade",
    "hedge",
)  # fmt: skip
"""Places in the atlas; clouds come first, where the sky looks for them."""


@functools.cache
def atlas() -> Array:
    """(textures, texels, 3) uint8: every level of every texture, largest first."""
    return np.stack([_levels(_TEXTURES[name]()) for name in NAMES])


def _levels(picture: Array) -> Array:
    rows, level = [], np.clip(picture, 0, 255)
    while True:
        rows.append(level.reshape(-1, 3))
        if len(level) == 1:
            return np.concatenate(rows).round().astype(np.uint8)
        level = level.reshape(len(level) // 2, 2, len(level) // 2, 2, 3).mean((1, 3))


def noise(seed: int, coarse: float, fine: float, stretch: float = 1.0, size: int = _N) -> Array:
    """(size, size) of mean 0 and deviation 1 that repeats; wavelengths in texels, `stretch` along x."""
    generator = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(generator.standard_normal((size, size)))
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None] * stretch
    frequency = np.hypot(fx, fy)
    band = (frequency > 1.0 / coarse) & (frequency < 1.0 / fine)
    amplitude = np.where(band, 1.0 / np.maximum(frequency, 1e-6), 0.0)
    field = np.fft.irfft2(spectrum * amplitude, (size, size))
    smooth: Array = field / max(float(field.std()), 1e-12)
    return smooth


def _tint(value: Array, colour: tuple[float, float, float]) -> Array:
    """Brightness (N, N), 1.0 for the colour itself."""
    return value[..., None] * np.array(colour) * 1.0


def _strokes(seed: int, count: int, length: int, colours: Array, ground: Array, upright: float) -> Array:
    """Short lines strewn over a picture, wrapping around its edges: blades of grass from above."""
    from PIL import Image, ImageDraw

    generator = np.random.default_rng(seed)
    picture = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    places = generator.uniform(0, _N, (count, 2))
    angles = generator.normal(np.pi / 2, upright, count)
    reach = generator.uniform(0.4, 1.0, count) * length
    chosen = colours[generator.integers(len(colours), size=count)] * generator.uniform(0.8, 1.2, (count, 1))
    for (x, y), angle, far, colour in zip(places, angles, reach, chosen, strict=True):
        dx, dy = np.cos(angle) * far, np.sin(angle) * far
        fill = tuple(int(min(max(part, 0), 255)) for part in colour)
        for sx in (0, -_N, _N):
            for sy in (0, -_N, _N):
                if -length < x + sx < _N + length and -length < y + sy < _N + length:
                    pen.line((x + sx, y + sy, x + sx + dx, y + sy + dy), fill=fill)
    return np.asarray(picture, np.float64)


def _grid(metres: float) -> tuple[Array, Array, Array]:
    """Of square slabs: each texel's distance to the nearest joint in texels, and a number for each slab."""
    side = metres / TEXTURE_METRES * _N
    along = (np.arange(_N) + 0.5) % side
    joint = np.minimum(along, side - along)
    index = ((np.arange(_N) + 0.5) // side).astype(int)
    return np.minimum(joint[:, None], joint[None]), index[:, None], index[None]


def _tones(seed: int, rows: Array, columns: Array, spread: float) -> Array:
    table = np.random.default_rng(seed).normal(1.0, spread, (64, 64))
    tones: Array = table[rows % 64, columns % 64]
    return tones


def _slabs() -> Array:
    joint, rows, columns = _grid(0.5)
    value = _tones(1, rows, columns, 0.07) + 0.03 * noise(2, 6, 2) + 0.03 * noise(3, 90, 12)
    value = np.where(joint < 1.1, 0.45, value)
    return _tint(value, (172, 170, 165))


def _tiles() -> Array:
    joint, rows, columns = _grid(0.5)
    value = np.where((rows + columns) % 2, 0.86, 1.0) * _tones(4, rows, columns, 0.02) + 0.01 * noise(
        5, 60, 8
    )
    return _tint(np.where(joint < 0.9, 0.7, value), (205, 198, 186))


def _lawn() -> Array:
    ground = _tint(0.75 + 0.18 * noise(10, 60, 10) + 0.06 * noise(12, 6, 2), (72, 118, 42))
    greens = np.array([(88, 142, 48), (112, 164, 62), (66, 112, 38), (134, 168, 74), (54, 96, 34)])
    return _strokes(11, 5200, 7, greens, ground, 0.7)


def _dirt() -> Array:
    value = 1.0 + 0.07 * noise(20, 120, 16) + 0.05 * noise(21, 8, 2)
    pebbles = noise(22, 7, 3) > 2.3
    return _tint(np.where(pebbles, 1.22, value), (172, 138, 100))


def _ruts() -> Array:
    """The dirt's colour; what tells it apart are the tracks."""
    bend = 9.0 * noise(30, 256, 60)
    across = (np.arange(_N)[:, None] + bend) % 42.67
    track = np.exp(-(((across - 12.0) / 4.5) ** 2)) + 0.8 * np.exp(-(((across - 30.0) / 3.5) ** 2))
    ridge = np.exp(-(((across - 20.5) / 2.6) ** 2)) + np.exp(-(((across - 38.0) / 2.4) ** 2))
    value = 0.98 + 0.08 * noise(31, 30, 3) - 0.48 * track + 0.20 * ridge
    lugs = (((np.arange(_N)[None] + 0.5 * across) % 7.0) < 2.4) & (track > 0.45)
    return _tint(np.where(lugs, value * 0.72, value), (164, 128, 90))


def _cobble() -> Array:
    generator = np.random.default_rng(40)
    count = 20
    side = _N / count
    centres = []
    for row in range(count):
        for column in range(count):
            shift = 0.5 * (row % 2)
            jitter = generator.uniform(-0.12, 0.12, 2)
            centres.append(((column + 0.5 + shift + jitter[0]) * side, (row + 0.5 + jitter[1]) * side))
    places = np.array(centres)
    ys, xs = np.mgrid[0:_N, 0:_N] + 0.5
    first = np.full((_N, _N), 1e9)
    second, nearest = first.copy(), np.zeros((_N, _N), int)
    for index, (x, y) in enumerate(places):
        dx, dy = np.abs(xs - x % _N), np.abs(ys - y % _N)
        distance = np.maximum(np.minimum(dx, _N - dx), np.minimum(dy, _N - dy)) * 0.6 + 0.4 * np.hypot(
            np.minimum(dx, _N - dx), np.minimum(dy, _N - dy)
        )
        closer = distance < first
        second = np.where(closer, first, np.minimum(second, distance))
        nearest = np.where(closer, index, nearest)
        first = np.where(closer, distance, first)
    tone = generator.normal(1.0, 0.14, len(places))[nearest]
    dome = 1.12 - 0.35 * (first / (0.55 * side)) ** 2
    value = np.where(second - first < 1.6, 0.38, tone * dome) + 0.03 * noise(41, 6, 2)
    warm = generator.normal(0.0, 0.05, len(places))[nearest]
    stone = np.stack([1.0 + warm, np.ones_like(warm), 1.0 - warm], -1)
    return _tint(value, (128, 120, 112)) * stone


def _straw() -> Array:
    ground = _tint(0.8 + 0.15 * noise(50, 70, 9), (150, 134, 78))
    straws = np.array([(202, 184, 118), (170, 154, 88), (222, 206, 146), (132, 130, 62)])
    return _strokes(51, 3600, 12, straws, ground, 1.2)


def _undergrowth() -> Array:
    ground = _tint(0.7 + 0.2 * noise(60, 50, 6), (34, 56, 24))
    greens = np.array([(30, 62, 22), (46, 84, 32), (22, 44, 18), (60, 96, 40)])
    return _strokes(61, 4600, 14, greens, ground, 1.0)


def _carpet() -> Array:
    return _tint(1.0 + 0.10 * noise(70, 5, 2) + 0.05 * noise(71, 40, 9), (92, 104, 138))


def _asphalt() -> Array:
    return _tint(1.0 + 0.12 * noise(80, 5, 2) + 0.06 * noise(81, 120, 20), (98, 98, 101))


def _gravel() -> Array:
    return _tint(1.0 + 0.22 * noise(85, 9, 3) + 0.05 * noise(86, 120, 20), (150, 146, 138))


def _brick() -> Array:
    high, long = _N / 32, _N / 12.8
    row = ((np.arange(_N) + 0.5) // high).astype(int)[:, None]
    x = np.arange(_N)[None] + 0.5 + (row % 2) * long / 2
    column = (x // long).astype(int)
    joint = ((np.arange(_N)[:, None] % high) < 1.2) | ((x % long) < 1.2)
    tone = _tones(90, row + 0 * column, column, 0.12) + 0.05 * noise(91, 6, 2)
    return np.where(joint[..., None], np.array((176.0, 168.0, 156.0)), _tint(tone, (158, 78, 58)))


def _plaster() -> Array:
    return _tint(1.0 + 0.025 * noise(95, 100, 10) + 0.03 * noise(96, 6, 2), (222, 212, 190))


def _concrete() -> Array:
    value = 1.0 + 0.06 * noise(100, 90, 8) + 0.04 * noise(101, 5, 2)
    return _tint(value, (176, 174, 168))


def _bark() -> Array:
    return _tint(0.95 + 0.28 * noise(105, 40, 4, stretch=0.2).T, (98, 76, 54))


def _leaves() -> Array:
    value = 0.85 + 0.34 * noise(110, 22, 4)
    return np.where(
        noise(111, 14, 4)[..., None] > 1.1, _tint(value, (60, 84, 30)), _tint(value, (72, 118, 44))
    )


def _hedge() -> Array:
    return _tint(0.85 + 0.36 * noise(115, 14, 3), (58, 96, 40))


def _planks() -> Array:
    board = ((np.arange(_N) + 0.5) // 10.67).astype(int)
    tone = _tones(120, board[None] + 0 * board[:, None], 0 * board[None], 0.1)
    value = tone + 0.10 * noise(121, 60, 4, stretch=4.0)
    value = np.where((np.arange(_N) % 10.67 < 1.1)[None], 0.45, value)
    return _tint(value, (158, 122, 82))


def _metal() -> Array:
    return _tint(1.0 + 0.02 * noise(130, 120, 20), (235, 235, 238))


def _facade() -> Array:
    """Plaster with windows, two to a texture each way; v runs down from the top of the wall."""
    picture = _plaster() * np.array((0.98, 0.95, 0.92))
    for x in range(2):
        for y in range(2):
            left, top = int((x + 0.22) * _N / 2), int((y + 0.2) * _N / 2)
            right, bottom = int((x + 0.78) * _N / 2), int((y + 0.75) * _N / 2)
            picture[top - 3 : bottom + 3, left - 3 : right + 3] = (240, 238, 232)
            shine = np.linspace(0.8, 1.25, bottom - top)[:, None, None]
            picture[top:bottom, left:right] = np.array((74, 92, 112)) * shine
            picture[top:bottom, (left + right) // 2 - 1 : (left + right) // 2 + 2] = (236, 234, 228)
    return picture


def _clouds() -> Array:
    """Where the red channel is high there is cloud."""
    return _tint(0.5 + 0.2 * noise(140, 256, 6), (255, 255, 255))


_TEXTURES = {
    "clouds": _clouds, "slabs": _slabs, "lawn": _lawn, "dirt": _dirt, "ruts": _ruts, "cobble": _cobble,
    "straw": _straw, "undergrowth": _undergrowth, "tiles": _tiles, "carpet": _carpet, "asphalt": _asphalt,
    "gravel": _gravel, "brick": _brick, "plaster": _plaster, "concrete": _concrete, "bark": _bark,
    "leaves": _leaves, "planks": _planks, "metal": _metal, "facade": _facade, "hedge": _hedge,
}  # fmt: skip
