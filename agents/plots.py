"""Charts of runs: a description in plain data, drawn as SVG for a page or as a file for a paper.

Drawn through matplotlib's objects, never through pyplot: no global figures, no display needed, and
the same data give the same bytes.
"""

from __future__ import annotations

import io
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from agents.results import Results, flatten, read_results, series

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
    """A curve: x and y of equal length; low and high, where given, bound a band around it."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: str = "blue"
    dash: Dash = "solid"
    low: Sequence[float] = ()
    high: Sequence[float] = ()


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
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    for line in chart.lines:
        color = COLORS[line.color]
        # One evaluation makes no line: show it as a dot.
        marker = "o" if len(line.x) < 12 and len(line.y) != 2 else None
        (drawn,) = axes.plot(
            line.x, line.y, color=color, linewidth=2, marker=marker, markersize=4, label=line.label
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
    return figure


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


def learning_curves(runs: Sequence[Path], out: Path) -> Path:
    """Draws the true return of several runs into `out` (.svg, .png or .pdf).

    Runs that differ only by their seed share a curve: the median, and a band over their range.
    Raises ValueError when no run has an evaluation.
    """
    groups = _grouped([read_results(run) for run in runs])
    lines = []
    palette = ("blue", "orange", "green", "purple", "sky", "grey")
    for index, (name, members) in enumerate(groups.items()):
        curves = [
            curve for curve in (series(member.metrics, "true_return") for member in members) if curve[0]
        ]
        if curves:
            color, dash = palette[index % len(palette)], tuple(DASHES)[index % len(DASHES)]
            lines.append(_band(f"{name}, {_count(len(curves), 'seed')}", curves, color, dash))
    if not lines:
        raise ValueError(f"none of the {len(runs)} runs has an evaluation (true_return) to draw")
    envs = ", ".join(sorted({member.env for members in groups.values() for member in members}))
    chart = Chart(out.stem, envs, "environment steps", "true return per episode", tuple(lines))
    figure = draw(chart, 540, 330, font_size=10, legend=True)
    figure.patch.set(alpha=1, facecolor="white")
    temporary = out.with_name(f".{out.stem}.tmp{out.suffix}")
    with matplotlib.rc_context({"svg.hashsalt": "surefoot"}):
        figure.savefig(temporary, dpi=160, metadata={"Date": None} if out.suffix == ".svg" else None)
    temporary.replace(out)
    return out


def score_table(runs: Sequence[Path]) -> str:
    """A Markdown table with a line for each group of runs that differ only by their seed.

    Score, return and accuracy are median (lowest to highest) over the seeds.
    """
    rows = [
        "| task | run | seeds | score s | true return | held-out accuracy | CPU time |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for name, members in _grouped([read_results(run) for run in runs]).items():
        cells = [
            members[0].env,
            name,
            str(len(members)),
            _spread([member.score for member in members], "{:.2f}"),
            _spread([member.final_return for member in members], "{:,.1f}"),
            _spread([_percent(member.number("held_out_accuracy")) for member in members], "{:.0f} %"),
            _spread([member.number("cpu_seconds") for member in members], "{:,.0f} s"),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _grouped(results: Sequence[Results]) -> dict[str, list[Results]]:
    """Runs by all settings but the seed, under a name made of the settings in which the groups differ."""
    groups: dict[str, list[Results]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for result in results:
        flat = {key: value for key, value in flatten(result.config).items() if key != "seed"}
        key = json.dumps(flat, sort_keys=True)
        settings[key] = flat
        groups.setdefault(key, []).append(result)
    kind = {
        key: f"{flat['labels']} labels" if "labels" in flat else "true reward"
        for key, flat in settings.items()
    }
    return {
        ", ".join([kind[key], *_differences(key, settings, kind)]): members for key, members in groups.items()
    }


def _differences(key: str, settings: Mapping[str, Mapping[str, Any]], kind: Mapping[str, str]) -> list[str]:
    """The settings of one group that another group of the same kind has otherwise."""
    others = [flat for other, flat in settings.items() if other != key and kind[other] == kind[key]]
    mine = settings[key]
    names = sorted({name for flat in others for name in {*mine, *flat} if mine.get(name) != flat.get(name)})
    return [f"{name} {mine[name]}" if name in mine else f"no {name}" for name in names]


def _band(label: str, curves: Sequence[tuple[list[float], list[float]]], color: str, dash: Dash) -> Line:
    """Median and range of curves over the steps that all of them cover."""
    first, last = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    steps = sorted({step for x, _ in curves for step in x if first <= step <= last})
    values = np.array([np.interp(steps, x, y) for x, y in curves])  # (runs, steps)
    several = len(curves) > 1
    return Line(
        label,
        steps,
        np.median(values, axis=0).tolist(),
        color,
        dash,
        values.min(axis=0).tolist() if several else (),
        values.max(axis=0).tolist() if several else (),
    )


def _spread(values: Sequence[float | None], style: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    middle = style.format(statistics.median(known))
    if len(known) == 1:
        return middle
    return f"{middle} ({style.format(min(known))} to {style.format(max(known))})"


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
