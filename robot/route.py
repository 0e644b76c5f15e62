"""Where to drive: goals in order, from a file, the command line, a goal topic or another planner's path."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

Array = NDArray[Any]
Place = tuple[float, float]

VIA = 2.0
"""m from a goal at which the next one's turn comes; the last one is driven to"""
SPACING = 2.0
"""m between two goals of a path"""


class RouteError(ValueError):
    """Goals that cannot be understood; says where they stand and what was expected."""


@dataclass
class Route:
    """frame: of the places, "earth" for (latitude, longitude) degrees, "odometry" for (x, y) m.

    source: who gave it, for people.
    """

    places: Sequence[Place]
    frame: Literal["earth", "odometry"] = "earth"
    source: str = "the command line"
    at: int = 0

    def __post_init__(self) -> None:
        if not self.places:
            raise RouteError(f"{self.source}: there is no goal in it")

    @property
    def goal(self) -> Place:
        """The one to drive to now."""
        return self.places[self.at]

    @property
    def is_last(self) -> bool:
        return self.at == len(self.places) - 1

    @property
    def progress(self) -> tuple[int, int]:
        """(3, 5): the third of five."""
        return self.at + 1, len(self.places)

    def advance(self, distance: float) -> bool:
        """Whether the next goal's turn has come. distance: m to the one of now."""
        if self.is_last or not distance < VIA:
            return False
        self.at += 1
        return True


def place(text: str, where: str) -> Place:
    """Of "latitude,longitude" in degrees. Raises RouteError."""
    parts = text.split(",")
    try:
        latitude, longitude = (float(part) for part in parts)
    except ValueError:
        raise RouteError(f"{where}: expected latitude,longitude in degrees, got {text!r}") from None
    return _on_earth(latitude, longitude, where)


def read_route(path: Path) -> Route:
    """Goals of a file, in its order. Raises RouteError.

    .geojson, .json: Points, MultiPoints and LineStrings, longitude first as GeoJSON has it. .yaml: a list,
    or one under `waypoints`, of [latitude, longitude] or {latitude: …, longitude: …}.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix in (".geojson", ".json") else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise RouteError(f"{path}: the route cannot be read: {error}") from error
    if isinstance(content, dict) and "type" in content:
        found = list(_geojson(content, str(path)))
    else:
        found = list(_listed(content, str(path)))
    return Route(found, source=str(path))


def ahead_on(path: Array, place: Array) -> list[Place]:
    """What of a path (K, 2) m lies ahead of a place (2,) m: goals SPACING apart, its end the last."""
    begin = int(np.linalg.norm(path - place, axis=1).argmin())
    goals: list[Place] = []
    last = place
    for x, y in path[begin:-1]:
        if math.dist((x, y), last) >= SPACING:
            goals.append((float(x), float(y)))
            last = np.array([x, y])
    return [*goals, (float(path[-1, 0]), float(path[-1, 1]))]


def _geojson(content: dict[str, Any], where: str) -> Iterator[Place]:
    kind = content.get("type")
    if kind == "FeatureCollection":
        for feature in content.get("features") or ():
            yield from _geojson(feature, where)
    elif kind == "Feature":
        yield from _geojson(content.get("geometry") or {}, where)
    elif kind in ("Point", "MultiPoint", "LineString"):
        coordinates = content.get("coordinates")
        for one in [coordinates] if kind == "Point" else coordinates or ():
            if not isinstance(one, list) or len(one) < 2:
                raise RouteError(f"{where}: expected coordinates [longitude, latitude], got {one!r}")
            yield _numbers(one[1], one[0], where)
    else:
        raise RouteError(
            f"{where}: GeoJSON of type {kind!r}, expected Points, a MultiPoint or a LineString, alone or "
            "in a FeatureCollection"
        )


def _listed(content: Any, where: str) -> Iterator[Place]:
    entries = content.get("waypoints") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise RouteError(f"{where}: expected a list of goals, or one under `waypoints`, got {entries!r:.60}")
    for number, one in enumerate(entries, 1):
        here = f"{where}, goal {number}"
        if isinstance(one, dict) and one.keys() == {"latitude", "longitude"}:
            yield _numbers(one["latitude"], one["longitude"], here)
        elif isinstance(one, list) and len(one) == 2:
            yield _numbers(one[0], one[1], here)
        else:
            raise RouteError(f"{here}: expected [latitude, longitude] in degrees, got {one!r:.60}")


def _numbers(latitude: Any, longitude: Any, where: str) -> Place:
    for value in (latitude, longitude):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RouteError(f"{where}: expected numbers of degrees, got {value!r:.40}")
    return _on_earth(float(latitude), float(longitude), where)


def _on_earth(latitude: float, longitude: float, where: str) -> Place:
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise RouteError(
            f"{where}: latitude {latitude:g}, longitude {longitude:g} is no place on earth: latitude first "
            "(in GeoJSON longitude first), in degrees"
        )
    return latitude, longitude
