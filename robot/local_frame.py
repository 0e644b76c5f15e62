"""Degrees of latitude and longitude as metres around a place, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

_EQUATOR = 6_378_137.0
"""m, the ellipsoid's larger radius (WGS 84)"""
_FLATTENING = 1 / 298.257223563


@dataclass(frozen=True)
class LocalFrame:
    """A plane that touches the earth at `latitude` and `longitude`, degrees; x is east, y is north, m.

    Within 1 km of the place it is right to some centimetres, within 10 km to some metres.
    """

    latitude: float
    longitude: float

    def metres(self, latitude: float, longitude: float) -> tuple[float, float]:
        """(east, north)"""
        along, across = self._metres_per_radian()
        # The date line lies at 180 degrees: the short way round.
        east = (longitude - self.longitude + 180.0) % 360.0 - 180.0
        return math.radians(east) * across, math.radians(latitude - self.latitude) * along

    def degrees(self, east: float, north: float) -> tuple[float, float]:
        """(latitude, longitude)"""
        along, across = self._metres_per_radian()
        longitude = self.longitude + math.degrees(east / across)
        return self.latitude + math.degrees(north / along), (longitude + 180.0) % 360.0 - 180.0

    def _metres_per_radian(self) -> tuple[float, float]:
        """Of latitude and of longitude, here: the radii of the meridian and of the parallel."""
        eccentricity = _FLATTENING * (2 - _FLATTENING)
        sine = math.sin(math.radians(self.latitude))
        bulge = 1 - eccentricity * sine * sine
        normal = _EQUATOR / math.sqrt(bulge)
        meridian = normal * (1 - eccentricity) / bulge
        return meridian, normal * math.cos(math.radians(self.latitude))
