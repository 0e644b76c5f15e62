"""A run of a visual base or of a navigator as one HTML file: what it learnt, how it merges, where it went."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.plots import Chart, Dash, Line
from agents.report import duration
from agents.report_charts import Described, short
from agents.report_html import Html, cards, command, element, page, section, table
from agents.report_sections import figure_of, made_by, missing, settings_section, shown_path
from agents.results import Results, finite, read_results, series
from agents.sidetuning.report_trips import trips_section
from envs.files import write_durably

Shown = tuple[tuple[str, str, str, Dash], ...]
"""(metric, label, colour, dashes) of the lines of a chart"""

CHARTS: tuple[tuple[str, str, Shown], ...] = (
    ("Loss", "loss", (
        ("train/loss", "training", "grey", "solid"), ("holdout/loss", "hold-out", "blue", "dashdot"))),
    ("Actions as the expert's", "share", (
        ("train/accuracy", "training", "grey", "solid"),
        ("holdout/accuracy", "hold-out", "blue", "dashdot"))),
    ("Trips in training", "share", (
        ("episode/success", "arrived", "blue", "solid"), ("episode/spl", "SPL", "green", "dashdot"))),
    ("Return in training", "return per trip", (("episode/return", "return", "purple", "solid"),)),
    ("Depth", "error of the log of the depth", (
        ("holdout/depth", "read off the base", "blue", "solid"),
        ("holdout/depth_mean", "its mean", "grey", "dotted"))),
    ("Surface normals", "degrees off", (("holdout/normals_degrees", "normals", "blue", "solid"),)),
    ("Edges", "AUROC", (("holdout/edges_auroc", "edges", "blue", "solid"),)),
)  # fmt: skip
MERGING: tuple[tuple[str, str, Shown], ...] = (
    ("Alpha: the base's share", "alpha", (("side/alpha", "alpha", "blue", "solid"),)),
    ("How much larger the side is", "norm of the side by the base's", (
        ("side/norm_ratio", "ratio", "orange", "solid"),)),
)  # fmt: skip


def write_report(run: Path) -> Path:
    """Writes report.html into the folder of a run and returns its path; an unfinished run gets one too.

    Raises FileNotFoundError where there is no run.
    """
    path = run / "report.html"
    write_durably(path, render_report(read_results(run)).encode())
    return path


def render_report(results: Results) -> Html:
    """The report as one HTML document."""
    is_base = "network" in results.config
    what = "a visual base" if is_base else "a navigator beside a frozen base"
    header = element(
        "header",
        element("p", f"surefoot · {results.path.name} · {what}", class_="eyebrow"),
        element("h1", "What it can see" if is_base else "Finding the way indoors"),
        element("p", verdict(results), class_="verdict"),
        *(element("p", problem, class_="warning", role="note") for problem in results.problems),
        cards(headline(results)),
    )
    main = element(
        "main",
        charts_section(results, "Learning", CHARTS) or section("Learning", missing("nothing is logged yet")),
        charts_section(results, "Side and base", MERGING, MERGING_INTRO),
        None if is_base else trips_section(results),
        None if is_base else parts_section(results),
        next_section(results),
        settings_section(results),
    )
    return page(f"{results.path.name} · surefoot", header, main)


MERGING_INTRO = (
    "The base stays as it is; its fingerprint was compared at the end. Alpha alone says little, because the "
    "side's scale is free: the ratio of norms stands beside it."
)


def verdict(results: Results) -> str:
    """One or two sentences, from the numbers alone."""
    test, measured = results.summary.get("test"), results.summary.get("measured")
    if isinstance(test, dict):
        habitat = " of Habitat-Lab" if results.summary.get("simulator") == "habitat" else ""
        return (
            f"On {test.get('episodes')} trips in layouts that nobody trained on, in "
            f"{results.config.get('world')} rooms{habitat}, it arrived in "
            f"{_percent(test.get('success'))}, at {_percent(test.get('spl'))} SPL: success weighed by how "
            "direct the way was."
        )
    if isinstance(measured, dict):
        return "Measured on pictures of layouts that it never saw. Navigators beside it see what it sees."
    return f"Not finished: {results.steps:,} updates are done, the final measurement is still to come."


def headline(results: Results) -> list[tuple[str, str, str]]:
    """(name, value, explanation); what is unknown is left out."""
    facts = []
    test = results.summary.get("test") or {}
    for name, label, note in (
        ("success", "Arrived", "of the test trips"),
        ("spl", "SPL", "success weighed by the way's length"),
        ("collisions", "Collisions", "of the steps were held up"),
    ):
        if finite(test.get(name)) is not None:
            facts.append((label, _percent(test[name]), note))
    measured = results.summary.get("measured") or {}
    for name, label, note in (
        ("holdout/depth", "Depth", "mean error of its logarithm"),
        ("holdout/normals_degrees", "Normals", "degrees off on average"),
        ("holdout/edges_auroc", "Edges", "AUROC"),
    ):
        if (value := finite(measured.get(name))) is not None:
            facts.append((label, short(value), note))
    share = finite((results.summary.get("parameters") or {}).get("share")) if test else None
    if share is not None:
        facts.append(("New parameters", f"{100 * share:.1f} %", "of the base's, without the head"))
    cpu, wall = results.number("cpu_seconds"), results.number("wall_seconds")
    if wall is not None:
        facts.append(("Time", duration(wall), "on the clock" + (f", {duration(cpu)} of CPU" if cpu else "")))
    return facts


def charts_section(
    results: Results, title: str, charts: Sequence[tuple[str, str, Shown]], intro: str | None = None
) -> Html | None:
    """Those charts that there is something for; None where there is nothing."""
    drawn = [figure_of(found) for one in charts if (found := line_chart(results, *one)) is not None]
    return section(title, element("div", *drawn, class_="grid"), intro=intro) if drawn else None


def line_chart(results: Results, title: str, unit: str, shown: Shown) -> Described | None:
    """One chart over the updates, in words too; None where nothing was logged."""
    lines = []
    for metric, label, colour, dash in shown:
        steps, values = series(results.metrics, metric)
        if steps:
            lines.append(Line(label, steps, values, colour, dash))
    if not lines:
        return None
    said = "; ".join(f"{line.label}: from {short(line.y[0])} to {short(line.y[-1])}" for line in lines)
    name = shown[0][0].replace("/", "-").replace("_", "-")
    return Chart(name, title, "updates", unit, tuple(lines)), f"Line chart: {title}. {said}."


def parts_section(results: Results) -> Html:
    """What the navigator consists of."""
    parameters: dict[str, Any] = results.summary.get("parameters") or {}
    rows = [
        (name, f"{int(parameters[name]):,}")
        for name in ("base", "side", "merge", "head", "bytes")
        if finite(parameters.get(name)) is not None
    ]
    sha = results.summary.get("base_sha256")
    if isinstance(sha, str):
        rows.append(("fingerprint of the base", sha[:16]))
    if not rows:
        return section("Parts", missing("they are counted at the end of the run"))
    return section(
        "Parts", element("div", table(rows, "parameters, and bytes of the adapter"), class_="tables")
    )


def next_section(results: Results) -> Html:
    """The commands that made this run, go on with it, and use it."""
    run = shlex.quote(shown_path(results.path))
    made = made_by(results.run.get("command"))
    lines = [command(made, "This run was made by")] if made else []
    if not results.finished:
        lines.append(command(f"surefoot resume {run}", "Go on where it stopped"))
    elif "network" in results.config:
        lines.append(command(f"surefoot train sidetuning --base {run}", "Teach a navigator beside it"))
    else:
        lines += [
            command(f"surefoot evaluate {run}", "Measure it on more trips"),
            command(f"surefoot robot navigate {run}/navigator.side --shadow", "Let a robot decide by it"),
        ]
    return section("Go on", *lines)


def _percent(share: object) -> str:
    number = finite(share)
    return "an unknown share" if number is None else f"{100 * number:.0f} %"
