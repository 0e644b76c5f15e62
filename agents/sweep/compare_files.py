"""A comparison as text for a terminal, as a picture, and as a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from agents.plots import Chart, draw_on
from agents.report_html import Html, chart_figure, element, page
from agents.sweep.compare import HIDDEN, charts, find_runs, measure_of, methods, table
from envs.files import write_durably

WIDTH, HEIGHT, COLUMNS = 540, 330, 2
SUFFIXES = (".svg", ".png", ".pdf", ".html")


def compare(paths: Sequence[Path], out: Path, until: float | None = None) -> str:
    """Writes `out` (.svg, .png, .pdf or .html) and returns the table as Markdown. until: the step to compare
    at, of runs that went different ways. Raises CompareError, and ValueError for another kind of file."""
    if out.suffix not in SUFFIXES:
        raise ValueError(f"a comparison is written as {', '.join(SUFFIXES)}, got {out}")
    found = methods(find_runs(paths), until)
    measure = measure_of(found)
    rows, drawn = table(found, measure, until), charts(found, measure)
    if out.suffix == ".html":
        write_durably(out, _page(rows, drawn).encode())
    else:
        write_durably(out, _picture(drawn, out.suffix))
    return markdown(rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the first of them the heads, as a Markdown table."""
    head, *rest = rows
    lines = [head, ["---"] * 2 + ["--:"] * (len(head) - 2), *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _picture(drawn: Sequence[Chart], suffix: str) -> bytes:
    columns = min(COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(
        figsize=(columns * WIDTH / 72, rows * HEIGHT / 72), layout="constrained", facecolor="white"
    )
    for index, chart in enumerate(drawn):
        draw_on(figure.add_subplot(rows, columns, index + 1), chart, WIDTH, font_size=10, legend=True)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "surefoot"}):
        metadata = {"Date": None} if suffix == ".svg" else None
        figure.savefig(buffer, format=suffix[1:], dpi=160, metadata=metadata)
    return buffer.getvalue()


def _page(rows: Sequence[Sequence[str]], drawn: Sequence[Chart]) -> Html:
    head, *rest = rows
    plain = "width:auto;padding:.25rem .5rem .25rem 0;font-size:.8rem"
    heads = (element("th", text, scope="col", style=plain) for text in head)
    lines = (
        element("tr", *(element("td", text, style=f"{plain};white-space:nowrap") for text in row))
        for row in rest
    )
    listed = element(
        "div",
        element(
            "table",
            element("thead", element("tr", *heads)),
            element("tbody", *lines),
            style="table-layout:auto",
        ),
        style="overflow-x:auto",
    )
    figures = []
    for chart in drawn:
        named = [line for line in chart.lines if line.label != HIDDEN]
        words = "; ".join(f"{line.label}: from {line.y[0]:.4g} to {line.y[-1]:.4g}" for line in named)
        figures.append(chart_figure(chart, f"Learning curves on {chart.title}. {words}.", (720, 380)))
    intro = (
        "IQM: mean of the middle half of the runs. Intervals: 95 %, bootstrap over the seeds of each task. "
        "Thin lines: single runs."
    )
    header = element(
        "header", element("p", "surefoot · comparison", class_="eyebrow"), element("h1", "Comparison")
    )
    shown = element("main", element("p", intro, class_="intro"), listed, *figures)
    return page("comparison · surefoot", header, shown)
