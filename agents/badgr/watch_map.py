"""The map beside the camera: the ground around the robot, its way, the goal, and where candidates lead."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.overlay import CHOSEN, EDGE
from agents.badgr.watch_moment import Moment, to_map
from envs.rover.map_view import GOAL, ROVER, TRACK, WorldMap
from envs.rover.world import World

Array = NDArray[Any]

SCALE = 24.0
"""pixels a metre around the robot"""
INSET = 120
"""pixels of the longer side of the whole world, in a corner"""
OUTSIDE, LINE = (38, 43, 49), (60, 67, 75)
ROBOT = np.array([(0.42, 0.0), (0.26, 0.22), (-0.26, 0.22), (-0.26, -0.22), (0.26, -0.22)])
"""m, its outline with a nose"""


class MapPanel:
    """Draws one drive. world: None where there is no map: a grid of metres is shown then."""

    def __init__(self, world: World | None, size: tuple[int, int]) -> None:
        from PIL import Image

        self.size, self._world = size, world
        self._ground = None if world is None else Image.fromarray(WorldMap(world, SCALE).draw())
        self._small, self._small_scale = None, 1.0
        if world is not None and self._ground is not None:
            self._small_scale = INSET / max(world.size)
            shape = (round(world.size[0] * self._small_scale), round(world.size[1] * self._small_scale))
            self._small = self._ground.resize(shape, Image.Resampling.LANCZOS)

    def draw(self, moment: Moment, track: Array) -> Array:
        """(height, width, 3) uint8, north up. track: (T, 2) m driven."""
        from PIL import Image, ImageDraw

        width, height = self.size
        picture = self._around(moment).resize((2 * width, 2 * height), Image.Resampling.NEAREST)
        pen = ImageDraw.Draw(picture)
        if moment.goal is not None:
            self._circle(pen, moment, moment.goal)
        self._line(pen, moment, track, TRACK, 6)
        if moment.ways is not None:
            for way, colour in moment.ways.shown():
                self._line(pen, moment, to_map(way, moment.pose), colour, 3)
            chosen = to_map(moment.ways.plan, moment.pose)
            self._line(pen, moment, chosen, EDGE, 11)
            self._line(pen, moment, chosen, CHOSEN, 6)
        outline = self._pixels(moment, to_map(ROBOT, moment.pose))
        pen.polygon(outline, fill=ROVER, outline=EDGE, width=3)
        picture = picture.reduce(2)
        if moment.goal is not None:
            self._point_to(ImageDraw.Draw(picture), moment, moment.goal)
        if self._small is not None:
            self._inset(picture, moment, track)
        return np.asarray(picture).copy()

    def _middle(self, moment: Moment) -> tuple[float, float]:
        """m: the robot, or as near to it as the world's borders let the picture be."""
        x, y, _ = moment.pose
        if self._world is None:
            return x, y
        (width, depth), (half_x, half_y) = self._world.size, (side / SCALE / 2 for side in self.size)
        return (
            min(max(x, half_x), width - half_x) if width > 2 * half_x else width / 2,
            min(max(y, half_y), depth - half_y) if depth > 2 * half_y else depth / 2,
        )

    def _around(self, moment: Moment) -> Any:
        """The ground around the middle."""
        from PIL import Image, ImageDraw

        width, height = self.size
        picture = Image.new("RGB", self.size, OUTSIDE)
        x, y = self._middle(moment)
        if self._ground is not None:
            left = round(x * SCALE - width / 2)
            top = round(self._ground.height - 1 - y * SCALE - height / 2)
            picture.paste(self._ground, (-left, -top))
            return picture
        pen = ImageDraw.Draw(picture)
        for column in np.arange(width / 2 - (x % 1.0) * SCALE % SCALE - 20 * SCALE, width, SCALE):
            pen.line([(column, 0), (column, height)], fill=LINE)
        for row in np.arange(height / 2 + (y % 1.0) * SCALE % SCALE - 20 * SCALE, height, SCALE):
            pen.line([(0, row), (width, row)], fill=LINE)
        return picture

    def _pixels(self, moment: Moment, places: Array) -> list[tuple[float, float]]:
        """In the picture of twice the size."""
        x, y = self._middle(moment)
        width, height = self.size
        return [
            (float(width + 2 * SCALE * (u - x)), float(height - 2 * SCALE * (v - y)))
            for u, v in np.asarray(places, np.float64)
        ]

    def _line(self, pen: Any, moment: Moment, places: Array, colour: Any, width: int) -> None:
        if len(places) > 1 and np.isfinite(places).all():
            pen.line(self._pixels(moment, places), fill=colour, width=width, joint="curve")

    def _circle(self, pen: Any, moment: Moment, goal: Array) -> None:
        (u, v), radius = self._pixels(moment, goal[None])[0], 2.0 * 2 * SCALE
        pen.ellipse((u - radius, v - radius, u + radius, v + radius), outline=GOAL, width=6)
        pen.ellipse((u - 8, v - 8, u + 8, v + 8), fill=GOAL)

    def _point_to(self, pen: Any, moment: Moment, goal: Array) -> None:
        """A wedge at the border towards a goal that is beyond it."""
        width, height = self.size
        away = (np.asarray(goal, np.float64) - np.array(self._middle(moment))) * (1.0, -1.0)
        if abs(away[0]) * SCALE < width / 2 and abs(away[1]) * SCALE < height / 2:
            return
        along = away / np.linalg.norm(away)
        reach = min((width / 2 - 14) / max(abs(along[0]), 1e-9), (height / 2 - 14) / max(abs(along[1]), 1e-9))
        tip = np.array([width / 2, height / 2]) + along * reach
        side = np.array([-along[1], along[0]])
        corners = [tip, tip - 22 * along + 9 * side, tip - 22 * along - 9 * side]
        pen.polygon([(float(u), float(v)) for u, v in corners], fill=GOAL, outline=(255, 255, 255))

    def _inset(self, picture: Any, moment: Moment, track: Array) -> None:
        """The whole world in a corner, away from the robot."""
        from PIL import ImageDraw

        assert self._small is not None
        small = self._small.copy()
        pen, scale = ImageDraw.Draw(small), self._small_scale

        def pixel(place: Array) -> tuple[float, float]:
            return float(place[0]) * scale, small.height - 1 - float(place[1]) * scale

        if len(track) > 1:
            pen.line([pixel(place) for place in track], fill=TRACK, width=2)
        for place, colour in ((moment.goal, GOAL), (np.array(moment.pose[:2]), ROVER)):
            if place is not None:
                u, v = pixel(place)
                pen.ellipse((u - 3, v - 3, u + 3, v + 3), fill=colour, outline=EDGE)
        pen.rectangle((0, 0, small.width - 1, small.height - 1), outline=(230, 230, 230))
        u, v = (part / 2 for part in self._pixels(moment, np.array([moment.pose[:2]]))[0])
        hidden = u > picture.width - small.width - 40 and v < small.height + 40
        picture.paste(small, (6 if hidden else picture.width - small.width - 6, 6))
