"""Candidate ways drawn into what the camera sees. NumPy and Pillow only, for the robot's live view."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.prediction import Plan, Prediction

Array = NDArray[Any]
Colour = tuple[int, int, int]

NEAR = 0.1
"""m before the lens: what is nearer is not drawn"""
SHOWN = 60
"""candidates drawn: more hide the picture"""
SPAN = 0.2
"""costs that differ less than this look alike: noise must not look like a choice"""
SCALE = np.array([(69, 117, 230), (120, 205, 225), (255, 238, 130), (250, 140, 60), (205, 25, 40)], float)
"""colours from cheap to dear, that the colour-blind can tell apart"""
BROKEN: Colour = (120, 120, 120)
"""of a candidate whose cost is not finite"""
CHOSEN, EDGE = (255, 255, 255), (15, 15, 15)


@dataclass(frozen=True)
class CameraView:
    """A pinhole camera on a robot over level ground, in plain numbers; the optical axis in the middle."""

    width: int
    height: int
    """pixels"""
    focal_x: float
    focal_y: float
    """pixels"""
    forward: float
    """m before the robot's origin"""
    up: float
    """m above the ground"""
    left: float = 0.0
    """m"""
    tilt: float = 0.0
    """rad downward"""

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1 or not min(self.focal_x, self.focal_y) > 0:
            raise ValueError(
                f"a camera needs a size and focal lengths above 0, got {self.width} x {self.height} pixels, "
                f"{self.focal_x} and {self.focal_y}"
            )

    def enlarged(self, width: int, height: int) -> CameraView:
        """The same camera for a picture of another size."""
        x, y = width / self.width, height / self.height
        return CameraView(
            *(width, height, self.focal_x * x, self.focal_y * y),
            *(self.forward, self.up, self.left, self.tilt),
        )

    def relative(self, ground: Array) -> Array:
        """(..., 3) m right, down, ahead of the lens; ground: (..., 2) m in the robot's frame."""
        x, y = ground[..., 0] - self.forward, ground[..., 1] - self.left
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        return np.stack([-y, c * self.up - s * x, c * x + s * self.up], axis=-1)

    def pixels(self, relative: Array) -> Array:
        """(..., 2) column and row of what lies ahead of the lens; (0, 0) is the corner of the first pixel."""
        ahead = relative[..., 2]
        column = self.width / 2 + self.focal_x * relative[..., 0] / ahead
        row = self.height / 2 + self.focal_y * relative[..., 1] / ahead
        return np.stack([column, row], axis=-1)

    def lines(self, way: Array) -> list[Array]:
        """A way on the ground (T, 2) m as lines (n, 2) of pixels: one for each part ahead of the lens."""
        points = self.relative(np.asarray(way, np.float64))
        lines: list[list[Array]] = []
        for one, other in itertools.pairwise(points):
            cut = _ahead(one, other)
            if cut is None:
                continue
            if lines and np.array_equal(lines[-1][-1], cut[0]):
                lines[-1].append(cut[1])
            else:
                lines.append(list(cut))
        return [self.pixels(np.stack(line)) for line in lines]


@dataclass(frozen=True)
class Ways:
    """Where candidates would lead and what they cost: position (N, H, 2) m, cost (N,), chosen (H, 2) m.

    In the robot's frame of now, x forward, y to the left.
    """

    position: Array
    cost: Array
    chosen: Array

    def __post_init__(self) -> None:
        n, h = self.position.shape[:2]
        if self.position.shape != (n, h, 2) or self.cost.shape != (n,) or self.chosen.shape[-1:] != (2,):
            raise ValueError(
                "ways need positions (N, H, 2), costs (N,) and a chosen way (H, 2), got "
                f"{self.position.shape}, {self.cost.shape} and {self.chosen.shape}"
            )

    def shown(self, most: int = SHOWN) -> list[tuple[Array, Colour]]:
        """At most `most` ways (H + 1, 2) from the robot on, evenly over the costs, dearest first."""
        order = np.argsort(-np.where(np.isfinite(self.cost), self.cost, np.inf), kind="stable")
        picked = order[np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).astype(int))]
        colours = cost_colours(self.cost)
        start = np.zeros((1, 2))
        return [(np.concatenate([start, self.position[i]]), _colour(colours[i])) for i in picked]

    @property
    def plan(self) -> Array:
        """(H + 1, 2) the chosen way, from the robot on."""
        return np.concatenate([np.zeros((1, 2)), self.chosen])


def ways_of(plan: Plan, chosen: Prediction | None = None) -> Ways:
    """What a plan looked at. chosen: prediction (1, H) of the plan's own actions; without it, of the cheapest
    candidate's."""
    where = plan.prediction.position[plan.best] if chosen is None else chosen.position[0]
    return Ways(plan.prediction.position, plan.cost, where)


def cost_range(cost: Array) -> tuple[float, float]:
    """Costs at both ends of the colours."""
    finite = cost[np.isfinite(cost)]
    if not len(finite):
        return 0.0, SPAN
    low = float(finite.min())
    return low, max(float(finite.max()), low + SPAN)


def cost_colours(cost: Array) -> Array:
    """(N, 3) uint8, cheap blue over yellow to dear red; gray where the cost is not finite."""
    low, high = cost_range(cost)
    finite = np.isfinite(cost)
    place = np.where(finite, (cost - low) / (high - low), 0.0) * (len(SCALE) - 1)
    mixed = np.stack([np.interp(place, range(len(SCALE)), part) for part in SCALE.T], axis=-1)
    return np.where(finite[:, None], mixed, BROKEN).round().astype(np.uint8)


def draw_on_camera(
    image: Array,
    view: CameraView,
    ways: Ways | None,
    size: tuple[int, int] | None = None,
    half_width: float = 0.0,
    most: int = SHOWN,
) -> Array:
    """The picture (height, width, 3) uint8 with the ways on the ground before it, the chosen one on top.

    view: of a picture of `image`'s size. size: width and height of what is given back, by default the
    image's. half_width: m of the robot, of the band that the chosen way covers; 0: no band. The ground is
    taken to be level. Raises ValueError for a picture of another size than the view's.
    """
    from PIL import Image, ImageDraw

    if image.shape != (view.height, view.width, 3) or image.dtype != np.uint8:
        raise ValueError(
            f"the view is of pictures ({view.height}, {view.width}, 3) uint8, got {image.dtype} {image.shape}"
        )
    width, height = size or (view.width, view.height)
    # Twice the size first, halved at the end: Pillow's own lines have stairs.
    picture = Image.fromarray(image).resize((2 * width, 2 * height), Image.Resampling.NEAREST)
    large = view.enlarged(2 * width, 2 * height)
    if ways is not None:
        pen = ImageDraw.Draw(picture, "RGBA")
        thin, thick = max(round(width / 110), 2), max(round(width / 60), 3)
        for way, colour in ways.shown(most):
            for line in large.lines(way):
                pen.line(_corners(line), fill=(*colour, 210), width=thin, joint="curve")
        if half_width > 0:
            _band(pen, large, ways.plan, half_width)
        for line in large.lines(ways.plan):
            pen.line(_corners(line), fill=EDGE, width=2 * thick, joint="curve")
            pen.line(_corners(line), fill=CHOSEN, width=thick, joint="curve")
    return np.asarray(picture.reduce(2)).copy()


def _band(pen: Any, view: CameraView, way: Array, half_width: float) -> None:
    """What the robot's body will pass over, as translucent pieces."""
    steps = np.linspace(0, len(way) - 1, 4 * len(way))  # finer, so that it begins close to the lens
    way = np.stack([np.interp(steps, range(len(way)), part) for part in way.T], axis=1)
    left, right = (way + side * half_width * _across(way) for side in (1, -1))
    points = np.concatenate([left, right[::-1]])
    edges = view.relative(points)
    ahead = len(way)
    for step in range(len(way) - 1):
        corners = edges[[step, step + 1, 2 * ahead - 2 - step, 2 * ahead - 1 - step]]
        if (corners[:, 2] > NEAR).all():
            pen.polygon(_corners(view.pixels(corners)), fill=(*CHOSEN, 70))


def _across(way: Array) -> Array:
    """(T, 2) unit vectors to the left of a way."""
    along = np.gradient(way, axis=0)
    length = np.linalg.norm(along, axis=1, keepdims=True)
    along = np.where(length > 1e-6, along / np.maximum(length, 1e-6), np.array([1.0, 0.0]))
    return np.stack([-along[:, 1], along[:, 0]], axis=1)


def _ahead(one: Array, other: Array) -> tuple[Array, Array] | None:
    """The part of a segment that lies before the lens; None where there is none."""
    if not (np.isfinite(one).all() and np.isfinite(other).all()) or max(one[2], other[2]) <= NEAR:
        return None
    if min(one[2], other[2]) > NEAR:
        return one, other
    cut = one + (other - one) * (NEAR - one[2]) / (other[2] - one[2])
    return (cut, other) if one[2] <= NEAR else (one, cut)


def _corners(points: Array) -> list[tuple[float, float]]:
    # Pillow's (0, 0) is the middle of the first pixel. Far outside, its numbers overflow.
    near = np.clip(points - 0.5, -30_000, 30_000)
    return [(float(column), float(row)) for column, row in near]


def _colour(colour: Array) -> Colour:
    red, green, blue = (int(part) for part in colour)
    return red, green, blue
