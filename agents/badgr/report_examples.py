"""Hold-out windows for the report: the picture, the way, and each event as said and as it came."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.image import imsave

from agents.badgr.examples import Array, Examples
from agents.badgr.report_charts import look
from agents.report_html import Html, element, section
from agents.report_sections import missing

SIDE, REACH = 150, 2.4
"""px and m of the map: the robot at the middle of its lower edge"""
CELL, ROW = 22, 20


def examples_section(examples: Examples | None, events: Sequence[str], seconds: float) -> Html:
    """All of them, those chosen for their errors last."""
    if examples is None or not len(examples):
        return section("Seen and foretold", missing("examples are chosen at the end of the run"))
    parts = []
    for worst, title in ((False, ""), (True, "The most wrong of all that were looked at")):
        rows = np.flatnonzero(examples.worst == worst)
        if len(rows):
            figures = [_figure(examples, int(row), events, seconds) for row in rows]
            parts += [element("h3", title) if title else None, element("div", *figures, class_="clips")]
    intro = (
        "Windows of the hold-out, chosen without a look at how well they are told. A cell is a step of "
        f"{seconds:g} s; its height is the probability, a frame means that the event happened, a grey cell "
        "that nobody knows. The map: the way that was driven (grey) and the one foretold (blue)."
    )
    return section("Seen and foretold", *parts, intro=intro)


def _figure(examples: Examples, row: int, events: Sequence[str], seconds: float) -> Html:
    image = element(
        "img",
        src=f"data:image/png;base64,{_png(examples.images[row])}",
        alt="what the robot's camera saw",
        style="width:100%;border-radius:6px;image-rendering:auto;display:block",
    )
    drawings = element(
        "div", _cells(examples, row, events, seconds), _map(examples, row),
        style="display:flex;gap:.5rem;align-items:center;margin-top:.5rem",
    )  # fmt: skip
    return element("figure", Html(image.replace("></img>", ">")), drawings)


def _png(image: Array) -> str:
    content = io.BytesIO()
    imsave(content, np.ascontiguousarray(image[..., :3]), format="png")
    return base64.b64encode(content.getvalue()).decode()


def _cells(examples: Examples, row: int, events: Sequence[str], seconds: float) -> Html:
    """A row of cells an event."""
    horizon = examples.probability.shape[1]
    drawn = []
    for index, name in enumerate(events):
        top, color = index * (ROW + 22) + 14, look(index)[0]
        drawn.append(_text(0, top - 3, name))
        for step in range(horizon):
            left = step * CELL
            chance = float(examples.probability[row, step, index])
            known = bool(examples.mask[row, step, index])
            happened = known and bool(examples.labels[row, step, index])
            drawn.append(_box(left, top, CELL - 3, ROW, fill="var(--grid)" if not known else "none"))
            height = chance * ROW
            drawn.append(_box(left, top + ROW - height, CELL - 3, height, fill=f"var(--{color})"))
            edge = "var(--ink)" if happened else "var(--rule)"
            drawn.append(_box(left, top, CELL - 3, ROW, fill="none", stroke=edge, width=2 if happened else 1))
    size = (horizon * CELL, len(events) * (ROW + 22))
    words = "; ".join(
        f"{name}: said {examples.probability[row, -1, index]:.2f} within {horizon * seconds:g} s, "
        f"{'happened' if (examples.labels & examples.mask)[row, :, index].any() else 'did not happen'}"
        for index, name in enumerate(events)
    )
    return _svg(drawn, size, words, "flex:1 1 60%")


def _map(examples: Examples, row: int) -> Html:
    """Both ways from above, forward is up."""
    moved = examples.position_mask[row]
    lines = [
        _path(examples.position[row][moved], "grey", 5),
        _path(examples.predicted[row], "blue", 2.5),
    ]
    frame = _box(0, 0, SIDE, SIDE, fill="none", stroke="var(--rule)")
    return _svg([frame, *lines], (SIDE, SIDE), "map of the way driven and the way foretold", "flex:1 1 40%")


def _path(places: Array, color: str, width: float) -> Html:
    points = [(0.0, 0.0), *((float(x), float(y)) for x, y in places)]
    drawn = " ".join(
        f"{SIDE / 2 - y / REACH * SIDE:.1f},{SIDE - 6 - x / REACH * SIDE:.1f}" for x, y in points
    )
    return element("polyline", points=drawn, fill="none", stroke=f"var(--{color})", stroke_width=str(width))


def _box(x: float, y: float, width_px: float, height: float, **style: object) -> Html:
    stroke = style.get("stroke")
    return element(
        "rect", x=f"{x:.1f}", y=f"{y:.1f}", width=f"{width_px:.1f}", height=f"{height:.1f}",
        fill=str(style.get("fill", "none")), stroke=None if stroke is None else str(stroke),
        stroke_width=None if stroke is None else str(style.get("width", 1)),
    )  # fmt: skip


def _text(x: float, y: float, text: str) -> Html:
    return element("text", text, x=f"{x:.0f}", y=f"{y:.0f}", font_size="12", fill="var(--soft)")


def _svg(children: Sequence[Html], size: tuple[int, int], words: str, style: str) -> Html:
    return element(
        "svg", *children, viewBox=f"-2 -2 {size[0] + 4} {size[1] + 4}", role="img", aria_label=words,
        style=f"min-width:0;{style}",
    )  # fmt: skip
