"""The rover's camera: the wide view of BADGR's, as the pinhole that its frames were rectified to.

The raw camera was a fisheye of 640x480; what its rectification leaves black, at the top and the bottom, is
black here too. Released code: fx 272.547, fy 266.358, OpenCV's fisheye model with four coefficients.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from envs.batch import Array
from envs.rover.compiled import load
from envs.rover.kernel_camera import Scene, Shot

_RAW_SIZE = (640, 480)
_RAW_FOCAL = (272.547, 266.358)
_DISTORTION = (-0.038483, -0.010456, 0.003930, -0.001007)
_RECTIFIED_FOCAL = (136.30, 133.21)
FAR = 60.0
"""m, the most that depth says"""


@dataclass(frozen=True)
class Lens:
    """A pinhole of `width` x `height` pixels; focal lengths in pixels, the optical axis in the middle."""

    width: int = 128
    height: int = 96
    focal_x: float = _RECTIFIED_FOCAL[0] / 5
    focal_y: float = _RECTIFIED_FOCAL[1] / 5
    lobes: bool = True
    """black where BADGR's rectified fisheye sees nothing"""

    def scaled(self, factor: int) -> Lens:
        """The same view with more pixels."""
        return Lens(
            self.width * factor,
            self.height * factor,
            self.focal_x * factor,
            self.focal_y * factor,
            self.lobes,
        )

    def slopes(self) -> tuple[Array, Array]:
        """(W,) to the right and (H,) downward, through the middles of the pixels."""
        across = (np.arange(self.width) + 0.5 - self.width / 2) / self.focal_x
        down = (np.arange(self.height) + 0.5 - self.height / 2) / self.focal_y
        return across, down

    def inside(self) -> Array:
        """(H, W) bool: which pixels the raw camera saw at all."""
        across, down = self.slopes()
        if not self.lobes:
            return np.ones((self.height, self.width), bool)
        x, y = np.meshgrid(across, down)
        radius = np.hypot(x, y)
        theta = np.arctan(radius)
        bent = theta * (1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(_DISTORTION)))
        scale = np.where(radius > 1e-9, bent / np.maximum(radius, 1e-9), 1.0)
        u = _RAW_FOCAL[0] * x * scale + _RAW_SIZE[0] / 2
        v = _RAW_FOCAL[1] * y * scale + _RAW_SIZE[1] / 2
        seen: Array = (u >= 0) & (u < _RAW_SIZE[0]) & (v >= 0) & (v < _RAW_SIZE[1])
        return seen


BADGR_LENS = Lens()
HABITAT_LENS = Lens(256, 256, 128.0, 128.0, lobes=False)
"""90 degrees, square: what indoor navigation is used to"""


@functools.cache
def _prepared(lens: Lens) -> tuple[Array, Array, Array]:
    return (*lens.slopes(), lens.inside())


def camera_axes(rotation: Array, tilt: float = 0.0) -> Array:
    """(3, 3) rows right, down, forward of a camera on a body; rotation: (3, 3), columns the body's axes
    (forward, left, up); tilt: rad downward."""
    forward, left, up = rotation.T
    c, s = np.cos(tilt), np.sin(tilt)
    return np.ascontiguousarray([-left, -(c * up + s * forward), c * forward - s * up])


class Camera:
    """Takes pictures; keeps the scratch memory of one frame, so one for each thread."""

    def __init__(self, lens: Lens = BADGR_LENS, grain: float = 0.0) -> None:
        self.lens = lens
        self.grain = grain
        self._across, self._down, self._inside = _prepared(lens)
        self._owner = np.empty((lens.height, lens.width), np.int32)
        self._noise = np.empty(lens.width, np.float32)
        self._draw = load()["kernel_camera"].draw

    def take(
        self, scene: Scene, origin: Array, axes: Array, image: Array, depth: Array, seed: int = 0
    ) -> None:
        """Fills image (H, W, 3) uint8 and depth (H, W) float32 m along the optical axis, 0 in the lobes.

        axes: as `camera_axes` gives them; seed: of the sensor's noise.
        """
        shot = Shot(origin, axes, self._across, self._down, self._inside, int(seed), float(self.grain), FAR)
        self._draw(scene, shot, image, depth, self._owner, self._noise)

    def picture(self, scene: Scene, origin: Array, axes: Array, seed: int = 0) -> tuple[Array, Array]:
        """(image, depth) in new memory."""
        image = np.empty((self.lens.height, self.lens.width, 3), np.uint8)
        depth = np.empty((self.lens.height, self.lens.width), np.float32)
        self.take(scene, np.asarray(origin, np.float64), np.asarray(axes, np.float64), image, depth, seed)
        return image, depth
