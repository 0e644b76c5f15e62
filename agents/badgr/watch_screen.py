"""One frame of a drive: camera with candidate ways, chase camera, events, map."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.overlay import CameraView, draw_on_camera
from agents.badgr.watch_map import MapPanel
from agents.badgr.watch_moment import Moment
from agents.badgr.watch_panels import banner, cost_legend, events_panel, header
from envs.rover.body import CAMERA, HALF_WIDTH, WHEEL_RADIUS
from envs.rover.camera import BADGR_LENS, Lens
from envs.rover.world import World

Array = NDArray[Any]

logger = logging.getLogger(__name__)

PANEL = (512, 384)
"""width and height of a panel: four times what the camera gives"""


def rover_view(lens: Lens = BADGR_LENS) -> CameraView:
    """The simulated rover's camera in plain numbers."""
    forward, left, up = (float(part) for part in CAMERA)
    return CameraView(
        *(lens.width, lens.height, lens.focal_x, lens.focal_y), forward, up + WHEEL_RADIUS, left
    )


class Screen:
    """Draws a drive from its first moment on. Close it.

    view: of the camera; None where the picture's geometry is not known: no ways are drawn into it. chase:
    whether to show the rover from behind, where OpenGL is there; the map has its place otherwise.
    """

    def __init__(
        self, title: str, world: World | None, view: CameraView | None, *, chase: bool = True
    ) -> None:
        self.title, self.view = title, view
        self._chase = _chase(world) if chase and world is not None else None
        width, height = PANEL
        self._map = MapPanel(world, PANEL if self._chase else (width, 2 * height))
        self._track: list[tuple[float, float]] = []
        self._said: list[Mapping[str, float]] = []

    def take(self, moment: Moment) -> None:
        """What is needed of a moment when later ones are drawn."""
        self._track.append(moment.pose[:2])
        self._said.append({name: float(np.max(values)) for name, values in moment.foretold.items()})

    def draw(self, moment: Moment, words: str = "") -> Array:
        """(height, width, 3) uint8 of the moment taken last. words: across the frame, at the end."""
        width, height = PANEL
        camera, events = self.camera(moment), events_panel(moment, self._said, PANEL)
        where = self._map.draw(moment, self.track)
        if self._chase is not None:
            empty = np.zeros((height, width, 3), np.uint8)
            behind = empty if moment.body is None else self._chase.draw(moment.body)
            where = np.concatenate([behind, where])
        frame = np.concatenate([np.concatenate([camera, events]), where], axis=1)
        frame[:, width - 1 : width + 1] = 0
        frame[height - 1 : height + 1, : frame.shape[1] if self._chase else width] = 0
        line = header(f"{self.title}   {moment.words}", _numbers(moment), frame.shape[1])
        frame = np.concatenate([line, frame])
        return banner(frame, words) if words else frame

    def camera(self, moment: Moment) -> Array:
        """The camera's panel alone."""
        if self.view is None:
            from PIL import Image

            return np.asarray(Image.fromarray(moment.image).resize(PANEL, Image.Resampling.NEAREST)).copy()
        picture = draw_on_camera(moment.image, self.view, moment.ways, PANEL, HALF_WIDTH)
        return cost_legend(picture, moment.ways)

    @property
    def track(self) -> Array:
        """(T, 2) m driven so far."""
        return np.array(self._track).reshape(-1, 2)

    def close(self) -> None:
        """Hands the OpenGL context back."""
        if self._chase is not None:
            self._chase.close()

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _chase(world: World) -> Any:
    """The camera behind the rover, None where nothing can draw."""
    from envs.rendering import NoRendererError
    from envs.rover.chase import ChaseCamera

    try:
        return ChaseCamera(world, PANEL[1], PANEL[0])
    except NoRendererError as error:
        logger.warning("the view from behind is left out: %s", error)
        return None


def _numbers(moment: Moment) -> str:
    parts = [f"{moment.seconds:.2f} s", f"{moment.speed:.2f} m/s"]
    if moment.goal is not None:
        away = float(np.linalg.norm(np.asarray(moment.goal) - np.array(moment.pose[:2])))
        parts.insert(1, f"{away:.1f} m to the goal")
    return " · ".join(parts)
