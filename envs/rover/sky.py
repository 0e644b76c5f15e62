"""The sky and the far horizon as one picture by direction, drawn once for a world."""

from __future__ import annotations

import numpy as np

from envs.batch import Array
from envs.rover.kernel_camera import SKY_COLUMNS, SKY_ROWS
from envs.rover.textures import noise
from envs.rover.world import Light

_FIELD = 256
"""points along the side of the repeating cover of clouds"""


def panorama(light: Light, name: str) -> Array:
    """(SKY_ROWS, SKY_COLUMNS, 3) uint8 for `sky_place`; the horizon is drawn from the world's name."""
    dx, dy, dz = _directions()
    flat = np.hypot(dx, dy)
    length = np.sqrt(flat**2 + dz**2)
    up = dz / length
    fade = np.sqrt(up)[..., None]
    sky = (1 - fade) * np.array(light.horizon) + fade * np.array(light.zenith)
    # Clouds lie on a curved sheet: closer together towards the horizon.
    reach = 1.0 / (up + 0.22)
    cover = _sample(
        noise(140, 200, 5, size=_FIELD),
        (reach * dx / length * 40 + light.cloud_shift[0] * _FIELD),
        (reach * dy / length * 40 + light.cloud_shift[1] * _FIELD),
    )
    cloud = np.clip((0.5 * cover - 0.9 + 1.8 * light.clouds) * 1.4, 0, 1) * np.clip(up * 6, 0, 1)
    white = np.array((0.97, 0.97, 0.98)) * (0.55 + 0.45 * (1 - 0.6 * light.clouds))
    sky += cloud[..., None] * (white - sky) * 0.9
    facing = np.clip((dx * light.sun[0] + dy * light.sun[1] + dz * light.sun[2]) / length, 0, 1)
    glow = (0.35 * facing**12 + 1.0 * (facing > 0.9985)) * (1 - 0.85 * light.clouds)
    sky += glow[..., None] * np.array((1.0, 0.95, 0.8))
    hidden = dz / flat < _skyline(name)
    sky = np.where(hidden[..., None], 0.75 * np.array(light.far) + 0.25 * np.array(light.horizon), sky)
    drawn: Array = np.clip(sky * 255, 0, 255).astype(np.uint8)
    return drawn


def _directions() -> tuple[Array, Array, Array]:
    column = (np.arange(SKY_COLUMNS) + 0.5) / SKY_COLUMNS
    turn = np.where(column < 0.5, 4 * column - 1, 3 - 4 * column)
    ahead = np.where(column < 0.5, 1.0, -1.0) * (1 - np.abs(turn))
    rise = (np.arange(SKY_ROWS) + 0.5) / SKY_ROWS
    dz = np.broadcast_to((rise / (1 - rise))[:, None], (SKY_ROWS, SKY_COLUMNS))
    return np.broadcast_to(ahead, dz.shape), np.broadcast_to(turn, dz.shape), dz


def _sample(field: Array, x: Array, y: Array) -> Array:
    """A repeating field between its points."""
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = x - x0, y - y0
    n = len(field)
    top = (1 - u) * field[y0 % n, x0 % n] + u * field[y0 % n, (x0 + 1) % n]
    bottom = (1 - u) * field[(y0 + 1) % n, x0 % n] + u * field[(y0 + 1) % n, (x0 + 1) % n]
    mixed: Array = (1 - v) * top + v * bottom
    return mixed


def _skyline(name: str) -> Array:
    """(columns,) slope up to which woods and houses far away hide the sky."""
    generator = np.random.default_rng(list(name.encode()))
    spectrum = np.fft.rfft(generator.standard_normal(SKY_COLUMNS))
    spectrum /= 1.0 + np.arange(len(spectrum)) / 6.0
    wave = np.fft.irfft(spectrum, SKY_COLUMNS)
    slope: Array = np.clip(0.05 + 0.02 * wave / wave.std(), 0.015, 0.12)
    return slope
