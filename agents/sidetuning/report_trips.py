"""Test trips on maps of their rooms, for a navigator's report."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.image import imsave

from agents.report_html import Html, element, picture, section
from agents.report_sections import missing
from agents.results import Results
from agents.sidetuning.navigation_config import TRIPS_FILE
from envs.batch import Array

SCALE = 16.0
"""pixels a metre"""
GOAL = (230, 30, 60)


def trips_section(results: Results) -> Html:
    """The first trips of the test, whatever came of them."""
    file = results.path / TRIPS_FILE
    try:
        trips = json.loads(file.read_text(encoding="utf-8"))
        figures = [_figure(trip, str(results.config.get("world"))) for trip in trips]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return section("Where it went", missing("the ways of test trips are written at the end of the run"))
    intro = (
        "The first trips of the test, not chosen: from the yellow arrow, along the blue line, to the red "
        "circle. It sees none of this map."
    )
    return section("Where it went", element("div", *figures, class_="clips"), intro=intro)


def _figure(trip: Mapping[str, Any], world: str) -> Html:
    arrived = bool(trip["success"])
    words = f"arrived, SPL {100 * float(trip['spl']):.0f} %" if arrived else "did not arrive"
    name = f"layout {int(trip['world'])}, trip {int(trip['trip'])}"
    return element(
        "figure",
        picture(draw_trip(trip, world), f"map of {name}: {words}"),
        element("figcaption", f"{name}: {words} ({len(trip['track'])} steps)"),
    )


def draw_trip(trip: Mapping[str, Any], world: str) -> bytes:
    """PNG of the room from above, with the way."""
    from PIL import Image, ImageDraw

    from envs.pointnav_rooms import WORLDS, get_room
    from envs.rover.map_view import WorldMap

    room = get_room("test", int(trip["world"]), WORLDS[world]).world
    track: Array = np.array(trip["track"], float).reshape(-1, 2)
    start = room.starts[int(trip["trip"])]
    view = WorldMap(room, SCALE)
    image = Image.fromarray(view.draw(track, (float(start[0]), float(start[1]), float(start[2]))))
    (x, y), pen = view.pixel(*room.goals[int(trip["trip"])]), ImageDraw.Draw(image)
    pen.ellipse((x - 6, y - 6, x + 6, y + 6), outline=GOAL, width=3)
    content = io.BytesIO()
    imsave(content, np.asarray(image), format="png")
    return content.getvalue()
