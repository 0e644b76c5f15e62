"""The ways that methods took on one trip, on the map of its world."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.rover.map_view import WorldMap
from envs.rover.world import World

Array = NDArray[Any]

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "badgr": (20, 60, 220), "straight": (230, 40, 40), "lidar": (255, 215, 0), "oracle": (255, 255, 255),
    "random": (190, 60, 200),
}  # fmt: skip
_SPARE = (0, 220, 220)
BAND = 22
"""pixels of a line of the legend"""


def draw_ways(world: World, goal: Array, ways: Mapping[Any, tuple[Array, str]], path: Path) -> None:
    """Writes a picture (.png). ways: {method: ((T, 2) m, what came of it)}."""
    from PIL import Image, ImageDraw

    scale = 14.0 if max(world.size) > 45 else 22.0
    chart = WorldMap(world, scale)
    ground = Image.fromarray(chart.draw(goal=goal))
    image = Image.new("RGB", (ground.width, ground.height + BAND * len(ways) + 8), (30, 30, 30))
    image.paste(ground, (0, 0))
    pen = ImageDraw.Draw(image)
    for line, (method, (track, outcome)) in enumerate(ways.items()):
        colour = COLOURS.get(method, _SPARE)
        places = [chart.pixel(float(x), float(y)) for x, y in track]
        if len(places) > 1:
            pen.line(places, fill=(0, 0, 0), width=7, joint="curve")
            pen.line(places, fill=colour, width=4, joint="curve")
        (x, y), radius = places[-1], 6
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=(0, 0, 0), width=2)
        top = ground.height + 6 + BAND * line
        pen.rectangle((10, top + 5, 40, top + 11), fill=colour)
        length = float(np.linalg.norm(np.diff(track, axis=0), axis=1).sum())
        pen.text((50, top), f"{method}: {outcome}, {length:.0f} m", fill=(240, 240, 240), font_size=15)
    x, y = chart.pixel(*(float(part) for part in next(iter(ways.values()))[0][0]))
    pen.rectangle((x - 6, y - 6, x + 6, y + 6), fill=(255, 255, 255), outline=(0, 0, 0), width=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
