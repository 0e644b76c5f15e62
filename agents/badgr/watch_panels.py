"""What is predicted and what happened, as bars and strips; and the line above a frame."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.overlay import SCALE, Ways, cost_range
from agents.badgr.watch_moment import PAST, STEP, Marks, Moment

Array = NDArray[Any]
Colour = tuple[int, int, int]

BACK, PLOT, RULE, TEXT, FAINT = (24, 28, 33), (36, 41, 48), (70, 78, 88), (236, 239, 242), (150, 158, 168)
COLOURS: Mapping[str, Colour] = {
    "collision": (226, 73, 73),
    "bumpy": (240, 180, 60),
    "stuck": (178, 122, 235),
}
SPARE: Colour = (90, 190, 200)
STRIPS = ("truth", "sensors")
_LEFT, _RIGHT = 62, 12


def events_panel(moment: Moment, said: Sequence[Mapping[str, float]], size: tuple[int, int]) -> Array:
    """(height, width, 3) uint8: for each event what was expected and what came of it, and what comes next.

    said: of each decision up to now, the highest probability of the horizon that was foretold then.
    """
    from PIL import Image, ImageDraw

    names = _names(moment, said)
    picture = Image.new("RGB", size, BACK)
    pen = ImageDraw.Draw(picture)
    if not names:
        pen.text((size[0] / 2, size[1] / 2), "nothing is predicted or labelled", fill=FAINT, anchor="mm")
        return np.asarray(picture).copy()
    now = round(_LEFT + 0.56 * (size[0] - _LEFT - _RIGHT))
    top, foot = 26, 22
    pen.text((_LEFT, 6), f"last {PAST * STEP:.0f} s", fill=FAINT, font=font(13))
    horizon = max((len(values) for values in moment.foretold.values()), default=0)
    if horizon:
        pen.text((now + 12, 6), f"plan: next {horizon * STEP:.0f} s", fill=FAINT, font=font(13))
    each = (size[1] - top - foot) / len(names)
    for row, name in enumerate(names):
        box = (top + row * each, top + (row + 1) * each - 8)
        _event(pen, name, moment, [one.get(name, np.nan) for one in said], box, now, size[0] - _RIGHT)
    words = "line: probability foretold then for the next 2 s; strips: what happened" if horizon else ""
    pen.text((_LEFT, size[1] - foot + 3), words, fill=FAINT, font=font(12))
    return np.asarray(picture).copy()


def header(words: str, right: str, width: int, height: int = 34) -> Array:
    """(height, width, 3) uint8: a line of text."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, height), (14, 17, 20))
    pen = ImageDraw.Draw(picture)
    pen.text((12, height / 2), words, fill=TEXT, font=font(16), anchor="lm")
    pen.text((width - 12, height / 2), right, fill=TEXT, font=font(16), anchor="rm")
    return np.asarray(picture).copy()


def cost_legend(picture: Array, ways: Ways | None) -> Array:
    """The panel with the colours' scale in its corner."""
    from PIL import Image, ImageDraw

    if ways is None:
        return picture
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    low, high = cost_range(ways.cost)
    left, top, width = 10, image.height - 18, 90
    pen.rectangle((left - 6, top - 8, left + width + 92, top + 14), fill=BACK)
    for step in range(width):
        at = step / width * (len(SCALE) - 1)
        colour = tuple(int(np.interp(at, range(len(SCALE)), part)) for part in SCALE.T)
        pen.line((left + step, top, left + step, top + 7), fill=colour)
    pen.text((left + width + 8, top + 3), f"cost {low:.2f}-{high:.2f}", fill=TEXT, font=font(12), anchor="lm")
    return np.asarray(image).copy()


def banner(picture: Array, words: str) -> Array:
    """The frame with large words across its middle."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image, "RGBA")
    middle = image.height / 2
    pen.rectangle((0, middle - 34, image.width, middle + 34), fill=(14, 17, 20, 215))
    pen.text((image.width / 2, middle), words, fill=TEXT, font=font(30), anchor="mm")
    return np.asarray(image).copy()


def font(size: float) -> Any:
    """Pillow's own."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _names(moment: Moment, said: Sequence[Mapping[str, float]]) -> list[str]:
    names = dict.fromkeys(moment.foretold)
    for one in said:
        names |= dict.fromkeys(one)
    for marks in moment.happened.values():
        names |= dict.fromkeys(marks)
    return list(names)


def _event(
    pen: Any, name: str, moment: Moment, said: Sequence[float], box: tuple[float, float], now: int, right: int
) -> None:
    """One row: strips under a line for the past, bars for the plan."""
    colour, (top, bottom) = COLOURS.get(name, SPARE), box
    strips = [strip for strip in STRIPS if name in moment.happened.get(strip, {})]
    base = bottom - 14 * len(strips)
    pen.text((_LEFT, top), name, fill=colour, font=font(15))
    plot = top + 20
    pen.rectangle((_LEFT, plot, now, base), fill=PLOT)
    pen.line((_LEFT, (plot + base) / 2, now, (plot + base) / 2), fill=RULE)
    for value, at in ((1, plot), (0, base)):
        pen.text((_LEFT - 6, at), str(value), fill=FAINT, font=font(11), anchor="rm")
    step = (now - _LEFT) / PAST
    shown = list(said)[-PAST - 1 :]
    points = [
        (now - (len(shown) - 1 - k) * step, base - value * (base - plot)) for k, value in enumerate(shown)
    ]
    for one, other in itertools.pairwise(points):
        if np.isfinite([one[1], other[1]]).all():
            pen.line((*one, *other), fill=colour, width=2)
    for row, strip in enumerate(strips):
        y = base + 3 + 14 * row
        pen.text((_LEFT - 6, y + 5), strip, fill=FAINT, font=font(11), anchor="rm")
        _strip(pen, moment.happened[strip], name, (now, y), step, colour)
    if name in moment.foretold:
        _bars(pen, moment.foretold[name], (now + 12, plot, right, base), colour)
        highest = float(np.max(moment.foretold[name]))
        pen.text((right, top), f"{highest:.2f}", fill=TEXT, font=font(15), anchor="ra")


def _strip(
    pen: Any, marks: Marks, name: str, corner: tuple[float, float], step: float, colour: Colour
) -> None:
    now, y = corner
    happened, known = marks[name]
    for k, (yes, sure) in enumerate(zip(happened, known, strict=True)):
        left = now - (len(happened) - k) * step
        fill = colour if yes and sure else PLOT if sure else BACK
        pen.rectangle((left, y, left + step - 1, y + 10), fill=fill)


def _bars(pen: Any, values: Array, box: tuple[float, float, float, float], colour: Colour) -> None:
    left, top, right, base = box
    pen.rectangle(box, fill=PLOT)
    pen.line((left, (top + base) / 2, right, (top + base) / 2), fill=RULE)
    width = (right - left) / len(values)
    for k, value in enumerate(np.clip(np.nan_to_num(values), 0, 1)):
        x = left + k * width
        pen.rectangle((x + 2, base - float(value) * (base - top), x + width - 2, base), fill=colour)
