"""A world from above, for people: ground, things, fence, trip and where the rover went."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from envs.batch import Array
from envs.rover.body import HALF_LENGTH, HALF_WIDTH
from envs.rover.kernel_solids import BOX, LOG
from envs.rover.terrain import KINDS, grass_map
from envs.rover.textures import NAMES, atlas
from envs.rover.world import CELL, World

Colour = tuple[int, int, int]
START, GOAL, ROVER, TRACK, FENCE = (
    (40, 90, 230),
    (230, 30, 60),
    (250, 190, 20),
    (20, 60, 220),
    (230, 230, 230),
)


class WorldMap:
    """Draws one world; the ground is drawn once."""

    def __init__(self, world: World, pixels_per_metre: float = 12.0) -> None:
        self.world, self.scale = world, pixels_per_metre
        width, depth = world.size
        self.size = (round(width * pixels_per_metre), round(depth * pixels_per_metre))
        self._ground = self._draw_ground()

    def draw(
        self,
        track: Array | None = None,
        pose: tuple[float, float, float] | None = None,
        goal: Array | None = None,
        paths: Sequence[tuple[Array, Colour]] = (),
    ) -> Array:
        """(H, W, 3) uint8, north up. track: (T, 2) m driven; pose: x, y m, heading rad; goal: (2,) m;
        paths: candidate ways (H, 2) m with their colours."""
        from PIL import Image, ImageDraw

        image = Image.fromarray(self._ground)
        pen = ImageDraw.Draw(image)
        for path, colour in paths:
            pen.line(self._pixels(path), fill=colour, width=1)
        if track is not None and len(track) > 1:
            pen.line(self._pixels(track), fill=TRACK, width=3)
        if goal is not None:
            (x, y), radius = self._pixels(np.asarray(goal)[None])[0], max(2.0 * self.scale, 4.0)
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=GOAL, width=3)
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=GOAL)
        if pose is not None:
            pen.polygon(self._pixels(_arrow(*pose)), fill=ROVER, outline=(0, 0, 0))
        return np.asarray(image).copy()

    def pixel(self, x: float, y: float) -> tuple[int, int]:
        """(column, row) of a place, the nearest one in the picture."""
        column, row = self._pixels(np.array([[x, y]]))[0]
        return min(max(round(column), 0), self.size[0] - 1), min(max(round(row), 0), self.size[1] - 1)

    def _pixels(self, places: Array) -> list[tuple[float, float]]:
        return [(float(x) * self.scale, self.size[1] - 1 - float(y) * self.scale) for x, y in places]

    def _draw_ground(self) -> Array:
        from PIL import Image, ImageDraw

        world, (columns, rows) = self.world, self.size
        y, x = np.meshgrid(
            (np.arange(rows)[::-1] + 0.5) / self.scale, (np.arange(columns) + 0.5) / self.scale, indexing="ij"
        )
        i = np.clip((y / CELL).round().astype(int), 0, world.kinds.shape[0] - 1)
        j = np.clip((x / CELL).round().astype(int), 0, world.kinds.shape[1] - 1)
        kinds = world.kinds[i, j]
        colours = np.array([_mean(name) for name in world.textures or [kind.texture for kind in KINDS]])
        tips = np.array([np.array(kind.tip) * 200 for kind in KINDS])
        colours = np.where(
            (grass_map(np.arange(len(KINDS))) > 0)[:, None], 0.3 * colours + 0.7 * tips, colours
        )
        slope = (
            np.gradient(world.heights, CELL, axis=1)[i, j] + np.gradient(world.heights, CELL, axis=0)[i, j]
        )
        picture = Image.fromarray(
            np.clip(colours[kinds] * (1 - 0.8 * slope[..., None]), 0, 255).astype(np.uint8)
        )
        pen = ImageDraw.Draw(picture)
        for solid in sorted(world.solids, key=lambda one: one.top):
            fill = _bytes(_mean(solid.texture) * np.array(solid.colour))
            if solid.shape in (BOX, LOG):
                corners = _corners(solid.centre[0], solid.centre[1], solid.half[0], solid.half[1], solid.yaw)
                pen.polygon(self._pixels(corners), fill=fill, outline=(30, 30, 30))
            else:
                (u, v), a, b = (
                    self._pixels(np.array([solid.centre[:2]]))[0],
                    *(h * self.scale for h in solid.half[:2]),
                )
                pen.ellipse((u - a, v - b, u + a, v + b), fill=fill, outline=(30, 30, 30))
        x0, y0, x1, y1 = world.fence
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])
        pen.line(self._pixels(corners), fill=FENCE, width=1)
        return np.asarray(picture).copy()


def _mean(texture: str) -> Array:
    mean: Array = atlas()[NAMES.index(texture), -1].astype(float)
    return mean


def _bytes(colour: Array) -> Colour:
    red, green, blue = (int(min(max(part, 0), 255)) for part in colour)
    return red, green, blue


def _corners(x: float, y: float, a: float, b: float, yaw: float) -> Array:
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([(x + u * c - v * s, y + u * s + v * c) for u, v in ((a, b), (-a, b), (-a, -b), (a, -b))])


def _arrow(x: float, y: float, heading: float) -> Array:
    """The rover's outline with a nose, somewhat enlarged so that it can be seen."""
    a, b = 2.0 * HALF_LENGTH, 2.0 * HALF_WIDTH
    c, s = math.cos(heading), math.sin(heading)
    outline = ((1.6 * a, 0.0), (a, b), (-a, b), (-a, -b), (a, -b))
    return np.array([(x + u * c - v * s, y + u * s + v * c) for u, v in outline])
