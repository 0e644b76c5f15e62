"""The day that a world is seen on: sun, sky, colours of the ground."""

from __future__ import annotations

import numpy as np

from envs.rover.terrain import KINDS
from envs.rover.world import Light


def outdoor_light(generator: np.random.Generator) -> Light:
    """Between a clear noon and a grey afternoon."""
    azimuth, height = generator.uniform(0, 2 * np.pi), generator.uniform(0.45, 1.25)
    sun = (np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height))
    clouds = float(generator.beta(1.2, 1.5))
    direct = (0.72 - 0.45 * clouds) * generator.uniform(0.9, 1.05)
    low = np.exp(-3.0 * (height - 0.4))  # a low sun is redder
    sun_colour = direct * np.array((1.0 + 0.10 * low, 0.97, 0.90 - 0.18 * low))
    sky = (0.40 + 0.12 * clouds) * np.array((0.96, 1.0, 1.07 - 0.05 * clouds))
    blue, grey = np.array((0.28, 0.46, 0.80)), np.array((0.62, 0.66, 0.71))
    zenith = (1 - clouds) * blue + clouds * grey
    horizon = (1 - 0.6 * clouds) * np.array((0.76, 0.84, 0.92)) + 0.6 * clouds * np.array((0.74, 0.76, 0.78))
    return Light(
        sun=_triple(np.array(sun)),
        sun_colour=_triple(sun_colour),
        ambient=_triple(sky),
        zenith=_triple(zenith),
        horizon=_triple(horizon),
        far=_triple(np.array((0.36, 0.44, 0.36)) * generator.normal(1.0, 0.1, 3)),
        haze=float(generator.uniform(0.003, 0.012)),
        exposure=float(generator.uniform(0.82, 1.12)),
        clouds=clouds,
        cloud_shift=(float(generator.random()), float(generator.random())),
        ground_tint=ground_tints(generator),
    )


def indoor_light(generator: np.random.Generator, roof: float) -> Light:
    warm = generator.uniform(-0.06, 0.08)
    return Light(
        sun=(0.25, 0.35, 0.903),
        sun_colour=(0.30 + warm, 0.30, 0.30 - warm),
        ambient=(0.58 + warm, 0.58, 0.57 - warm),
        haze=0.001,
        exposure=float(generator.uniform(0.85, 1.1)),
        ground_tint=ground_tints(generator),
        roof=roof,
    )


def ground_tints(generator: np.random.Generator) -> tuple[tuple[float, float, float], ...]:
    """A factor on each kind's colour: brighter or darker, and a little off in hue."""
    return tuple(
        _triple(np.clip(generator.normal(1.0, 0.08) * generator.normal(1.0, 0.04, 3), 0.7, 1.3))
        for _ in KINDS
    )


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
