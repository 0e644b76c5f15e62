"""What stands in the worlds: solids put together from primitives."""

from __future__ import annotations

import numpy as np

from envs.rover.kernel_solids import CYLINDER, ELLIPSOID, LOG
from envs.rover.world import Solid, box, pillar

Colour = tuple[float, float, float]


def tint(generator: np.random.Generator, colour: Colour = (1.0, 1.0, 1.0), spread: float = 0.12) -> Colour:
    """A colour near another."""
    red, green, blue = np.clip(np.array(colour) * generator.normal(1.0, spread, 3), 0.05, 1.3)
    return float(red), float(green), float(blue)


def tree(generator: np.random.Generator, x: float, y: float, z: float = 0.0) -> list[Solid]:
    radius, height = generator.uniform(0.10, 0.22), generator.uniform(1.6, 2.6)
    bark, leaf = tint(generator, spread=0.1), tint(generator, spread=0.16)
    parts = [pillar(x, y, z - 0.1, radius, height + 0.8, "bark", bark, name="tree")]
    for _ in range(2):
        wide = generator.uniform(0.9, 1.7)
        dx, dy = generator.normal(0, 0.3, 2)
        centre = (x + dx, y + dy, z + height + 0.6 * wide + generator.uniform(-0.1, 0.4))
        crown = (wide, wide * generator.uniform(0.8, 1.1), wide * generator.uniform(0.7, 1.0))
        parts.append(Solid(ELLIPSOID, centre, crown, 0.0, leaf, "leaves", 0.5, "crown"))
    return parts


def conifer(generator: np.random.Generator, x: float, y: float, z: float = 0.0) -> list[Solid]:
    leaf = tint(generator, (0.62, 0.80, 0.62), 0.12)
    parts = [pillar(x, y, z - 0.1, generator.uniform(0.08, 0.14), 2.2, "bark", name="tree")]
    for k in range(3):
        wide = 1.15 - 0.3 * k
        centre = (x, y, z + 1.5 + 0.95 * k)
        parts.append(Solid(ELLIPSOID, centre, (wide, wide, 0.95), 0.0, leaf, "leaves", 0.9, "crown"))
    return parts


def post(generator: np.random.Generator, x: float, y: float, z: float = 0.0) -> list[Solid]:
    colour = [(0.85, 0.15, 0.12), (0.15, 0.15, 0.16), (0.9, 0.8, 0.15), (0.75, 0.75, 0.78)][
        generator.integers(4)
    ]
    height = generator.uniform(0.7, 1.2)
    return [pillar(x, y, z - 0.05, generator.uniform(0.05, 0.10), height, "metal", colour, name="post")]


def lamp(x: float, y: float) -> list[Solid]:
    pole = pillar(x, y, 0, 0.06, 3.4, "metal", (0.2, 0.22, 0.22), name="lamp")
    return [pole, box(x, y, 3.3, (0.25, 0.12, 0.06), "metal", colour=(0.9, 0.9, 0.85), name="lamp")]


def bench(generator: np.random.Generator, x: float, y: float, yaw: float) -> list[Solid]:
    c, s = np.cos(yaw), np.sin(yaw)
    wood = tint(generator, spread=0.1)
    parts = [box(x, y, 0.34, (0.75, 0.22, 0.04), "planks", yaw, wood, name="bench")]
    back = (x - 0.2 * -s, y - 0.2 * c)
    parts.append(box(back[0], back[1], 0.45, (0.75, 0.03, 0.2), "planks", yaw, wood, name="bench"))
    for side in (-0.6, 0.6):
        foot = (x + side * c, y + side * s)
        parts.append(box(foot[0], foot[1], 0, (0.05, 0.2, 0.17), "concrete", yaw, name="bench"))
    return parts


def car(generator: np.random.Generator, x: float, y: float, yaw: float) -> list[Solid]:
    colours = [(0.75, 0.1, 0.1), (0.12, 0.22, 0.5), (0.85, 0.85, 0.87), (0.1, 0.1, 0.11), (0.3, 0.42, 0.35)]
    paint = tint(generator, colours[generator.integers(len(colours))], 0.05)
    c, s = np.cos(yaw), np.sin(yaw)
    parts = [
        box(x, y, 0.17, (2.0, 0.85, 0.28), "metal", yaw, paint, name="car"),
        box(
            x - 0.15 * c, y - 0.15 * s, 0.72, (1.05, 0.74, 0.27), "metal", yaw, (0.12, 0.15, 0.18), name="car"
        ),
        box(x - 0.15 * c, y - 0.15 * s, 1.25, (0.95, 0.70, 0.03), "metal", yaw, paint, name="car"),
    ]
    for ahead in (-1.25, 1.25):
        for side in (-0.78, 0.78):
            centre = (x + ahead * c - side * s, y + ahead * s + side * c, 0.30)
            wheel = Solid(
                LOG, centre, (0.10, 0.30, 0.30), yaw + np.pi / 2, (0.1, 0.1, 0.1), "metal", 1.0, "car"
            )
            parts.append(wheel)
    return parts


def rock(generator: np.random.Generator, x: float, y: float, z: float = 0.0) -> list[Solid]:
    size = generator.uniform(0.22, 0.55)
    half = (size, size * generator.uniform(0.7, 1.0), size * generator.uniform(0.55, 0.85))
    centre = (x, y, z + 0.25 * half[2])
    yaw = generator.uniform(0, np.pi)
    return [
        Solid(ELLIPSOID, centre, half, yaw, tint(generator, (0.85, 0.83, 0.8), 0.08), "concrete", 1.5, "rock")
    ]


def log(generator: np.random.Generator, x: float, y: float, z: float = 0.0) -> list[Solid]:
    """Lower than the lidar's plane."""
    radius = generator.uniform(0.08, 0.12)
    half = (generator.uniform(0.6, 1.3), radius, radius)
    yaw = generator.uniform(0, np.pi)
    return [Solid(LOG, (x, y, z + radius * 0.85), half, yaw, tint(generator, spread=0.1), "bark", 1.5, "log")]


def kerb(x0: float, y0: float, x1: float, y1: float) -> list[Solid]:
    """A low wall along a line, 0.14 m high: the lidar looks over it."""
    length, yaw = float(np.hypot(x1 - x0, y1 - y0)), float(np.arctan2(y1 - y0, x1 - x0))
    half = (length / 2, 0.08, 0.12)
    return [box((x0 + x1) / 2, (y0 + y1) / 2, -0.10, half, "concrete", yaw, (1.12, 1.12, 1.1), 1.0, "kerb")]


def wall(x0: float, y0: float, x1: float, y1: float, height: float, texture: str, thick: float = 0.12,
         colour: Colour = (1.0, 1.0, 1.0), name: str = "wall") -> list[Solid]:  # fmt: skip
    length, yaw = float(np.hypot(x1 - x0, y1 - y0)), float(np.arctan2(y1 - y0, x1 - x0))
    half = (length / 2 + thick, thick, height / 2 + 0.05)
    return [box((x0 + x1) / 2, (y0 + y1) / 2, -0.1, half, texture, yaw, colour, 1.0, name)]


def table(generator: np.random.Generator, x: float, y: float, yaw: float) -> list[Solid]:
    c, s = np.cos(yaw), np.sin(yaw)
    a, b = generator.uniform(0.5, 0.9), generator.uniform(0.35, 0.5)
    wood = tint(generator, spread=0.15)
    parts = [box(x, y, 0.70, (a, b, 0.02), "planks", yaw, wood, name="table")]
    for i in (-1, 1):
        for j in (-1, 1):
            u, v = i * (a - 0.06), j * (b - 0.06)
            parts.append(
                pillar(x + u * c - v * s, y + u * s + v * c, 0, 0.035, 0.7, "planks", wood, name="table")
            )
    return parts


def cabinet(generator: np.random.Generator, x: float, y: float, yaw: float) -> list[Solid]:
    half = (generator.uniform(0.3, 0.6), generator.uniform(0.2, 0.3), generator.uniform(0.4, 0.9))
    return [box(x, y, 0, half, "planks", yaw, tint(generator, (0.9, 0.85, 0.8), 0.2), 1.0, "cabinet")]


def sofa(generator: np.random.Generator, x: float, y: float, yaw: float) -> list[Solid]:
    cloth = tint(generator, (0.8, 0.7, 0.7), 0.35)
    c, s = np.cos(yaw), np.sin(yaw)
    return [
        box(x, y, 0.06, (0.9, 0.4, 0.17), "carpet", yaw, cloth, name="sofa"),
        box(x + 0.35 * s, y - 0.35 * c, 0.40, (0.9, 0.1, 0.2), "carpet", yaw, cloth, name="sofa"),
    ]


def bin_(generator: np.random.Generator, x: float, y: float) -> list[Solid]:
    colour = tint(generator, (0.25, 0.4, 0.28), 0.3)
    half_height = 0.45
    return [Solid(CYLINDER, (x, y, half_height), (0.25, 0.25, half_height), 0.0, colour, "metal", 1.0, "bin")]
