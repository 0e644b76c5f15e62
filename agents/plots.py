"""Charts of runs: a description in plain data, drawn as SVG for a page or as a file for a paper.

Drawn through matplotlib's objects, never through pyplot: no global figures, no display needed, and
the same data give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

# Okabe and Ito's palette: told apart with every common colour blindness. Dashes differ as well.
COLORS = {
    "blue": "#0072b2",
    "orange": "#d55e00",
    "green": "#009e73",
    "purple": "#cc79a7",
    "grey": "#6e7781",
    "sky": "#56b4e9",
}
INK, GRID = "#24292f", "#d0d7de"
Dash = Literal["solid", "dashed", "dotted", "dashdot"]
DASHES: dict[Dash, tuple[float, ...]] = {
    "solid": (),
    "dashed": (6, 3),
    "dotted": (1.5, 2.5),
    "dashdot": (7, 2.5, 1.5, 2.5),
}


@dataclass(frozen=True)
class Line:
    """A curve: x and y of equal length; low and high, where given, bound a band around it.

    A label that begins with an underscore is in no legend.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: str = "blue"
    dash: Dash = "solid"
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    width: float = 2.0


@dataclass(frozen=True)
class Chart:
    """One pair of axes. name: unique on the page; y_range: None lets the data decide."""

    name: str
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    y_range: tuple[float, float] | None = None


def level(label: str, y: float, x_max: float, color: str = "grey", dash: Dash = "dashed") -> Line:
    """A horizontal line from 0 to x_max."""
    return Line(label, (0.0, x_max), (y, y), color, dash)


def draw(chart: Chart, width: float, height: float, *, font_size: float = 12, legend: bool = False) -> Figure:
    """The chart as a figure of width × height points."""
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    figure.patch.set_alpha(0)
    draw_on(figure.add_subplot(), chart, width, font_size=font_size, legend=legend)
    return figure


def draw_on(axes: Axes, chart: Chart, width: float, *, font_size: float = 12, legend: bool = False) -> None:
    """The chart on axes of a figure. width: of the axes, in points."""
    axes.patch.set_alpha(0)
    for line in chart.lines:
        color = COLORS[line.color]
        # One evaluation makes no line: show it as a dot.
        marker = "o" if len(line.x) < 12 and len(line.y) != 2 else None
        (drawn,) = axes.plot(
            line.x,
            line.y,
            color=color,
            linewidth=line.width,
            marker=marker,
            markersize=2 * line.width,
            label=line.label,
        )
        if DASHES[line.dash]:
            drawn.set_dashes(DASHES[line.dash])
        if len(line.low) and len(line.high):
            axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.18, linewidth=0)
    if chart.y_range is not None:
        axes.set_ylim(*chart.y_range)
    axes.set_xlabel(chart.x_label, fontsize=font_size, color=INK)
    axes.set_ylabel(chart.y_label, fontsize=font_size, color=INK)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(6 if width > 500 else 4))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.tick_params(colors=INK, labelsize=font_size, length=0, pad=6)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    if legend:
        axes.set_title(chart.title, fontsize=font_size + 1, color=INK, loc="left")
        axes.legend(fontsize=font_size - 1, frameon=False, labelcolor=INK)


def inline_svg(chart: Chart, width: int, height: int) -> str:
    """The chart as an <svg> element for an HTML page, width × height CSS pixels at full size.

    Colours are the page's variables (--blue, --ink, --grid, …), so that light and dark pages share
    one drawing; text stays text. The page names the chart in words (role "img" hides the inside).
    """
    buffer = io.BytesIO()
    # The salt makes ids repeatable and, by name and size, different on one page.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": f"surefoot-{chart.name}-{width}"}):
        draw(chart, width, height).savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"| version="[^"]*"', "", svg)
    svg = re.sub(r'<svg width="[^"]*" height="[^"]*"', "<svg", svg)
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda match: match.group(0) if match.group(1) in used else "", svg)
    for name, color in {**COLORS, "ink": INK, "grid": GRID}.items():
        svg = svg.replace(color, f"var(--{name})")
    return svg.replace("xlink:href", "href").strip()
