"""A run of the event predictor as one HTML file: how well it tells what comes, and what it learnt from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.badgr.examples import EXAMPLES_FILE, read_examples
from agents.badgr.report_charts import (
    auroc_chart,
    horizon_chart,
    loss_chart,
    position_chart,
    reliability_chart,
)
from agents.badgr.report_examples import examples_section
from agents.report import duration
from agents.report_html import Html, cards, command, element, page, section, table
from agents.report_sections import figure_of, made_by, missing, settings_section, shown_path
from agents.results import Results, finite, read_results
from envs.files import write_durably


def write_report(run: Path) -> Path:
    """Writes report.html into the folder of a run and returns its path; an unfinished run gets one too.

    Raises FileNotFoundError where there is no run.
    """
    path = run / "report.html"
    write_durably(path, render_report(read_results(run)).encode())
    return path


def render_report(results: Results) -> Html:
    """The report as one HTML document."""
    header = element(
        "header",
        element("p", f"surefoot · {results.path.name} · an event predictor", class_="eyebrow"),
        element("h1", "What comes of driving"),
        element("p", verdict(results), class_="verdict"),
        *(element("p", problem, class_="warning", role="note") for problem in results.problems),
        cards(headline(results)),
    )
    main = element(
        "main",
        learning_section(results),
        events_section(results),
        position_section(results),
        examples_section(read_examples(results.path / EXAMPLES_FILE), events(results), step_seconds(results)),
        data_section(results),
        next_section(results),
        settings_section(results),
    )
    return page(f"{results.path.name} · surefoot", header, main)


def events(results: Results) -> list[str]:
    """Names, in the order of the model."""
    return [str(name) for name in (results.config.get("spec") or {}).get("events") or ()]


def step_seconds(results: Results) -> float:
    return finite((results.config.get("spec") or {}).get("step_seconds")) or 0.25


def measured(results: Results) -> Mapping[str, Any]:
    """The final measurement; empty where there is none."""
    found = results.summary.get("measured")
    return found if isinstance(found, Mapping) else {}


def verdict(results: Results) -> str:
    """One or two sentences, from the numbers alone."""
    scores = measured(results).get("events") or {}
    if not scores:
        done = f"{results.steps:,} minibatches are done" if results.steps else "nothing is measured"
        return f"Not finished: {done}, the final measurement is still to come."
    parts = []
    for name, score in scores.items():
        area = finite(score.get("auroc"))
        unknown = "cannot be measured, the hold-out lacks it"
        parts.append(f"{name} {unknown if area is None else f'{area:.2f}'}")
    drives = results.summary.get("holdout_drives")
    return (
        f"On {drives} drives that it never saw, it ranks moments with an event above those without: AUROC "
        f"{', '.join(parts)} (1 always, 0.5 is guessing)."
    )


def headline(results: Results) -> list[tuple[str, str, str]]:
    """(name, value, explanation); what is unknown is left out."""
    facts = []
    found = measured(results)
    for name, score in (found.get("events") or {}).items():
        area, error = finite(score.get("auroc")), finite(score.get("ece"))
        if area is not None:
            note = "AUROC" if error is None else f"AUROC; calibration error {error:.3f}"
            facts.append((f"{name[0].upper()}{name[1:]}", f"{area:.3f}", note))
    errors = [finite(value) for value in found.get("position_error") or ()]
    if errors and errors[-1] is not None:
        ahead = len(errors) * step_seconds(results)
        facts.append(("Position", f"{100 * errors[-1]:.0f} cm", f"mean error {ahead:g} s ahead"))
    hours, windows = results.number("hours"), results.number("windows")
    if hours is not None and windows is not None:
        facts.append(("Experience", f"{hours:.2f} h", f"{windows:,.0f} windows of driving"))
    cpu, wall = results.number("cpu_seconds"), results.number("wall_seconds")
    if wall is not None:
        facts.append(("Time", duration(wall), "on the clock" + (f", {duration(cpu)} of CPU" if cpu else "")))
    return facts


def learning_section(results: Results) -> Html:
    drawn = [chart for chart in (loss_chart(results), auroc_chart(results, events(results))) if chart]
    if not drawn:
        return section("Learning", missing("nothing has been logged yet"))
    exported = results.summary.get("exported_step")
    which = f"The exported network is that of minibatch {exported:,}. " if isinstance(exported, int) else ""
    intro = (
        f"{which}Training draws rare events more often, so that its loss is another one than the hold-out's."
    )
    return section("Learning", element("div", *map(figure_of, drawn), class_="grid"), intro=intro)


def events_section(results: Results) -> Html:
    found, seconds = measured(results), step_seconds(results)
    charts = [
        horizon_chart(found, "auroc_by_step", "AUROC by how far it looks", seconds),
        horizon_chart(found, "ece_by_step", "ECE by how far it looks", seconds),
        *(
            reliability_chart(name, index, score)
            for index, (name, score) in enumerate((found.get("events") or {}).items())
        ),
    ]
    drawn = [figure_of(chart) for chart in charts if chart]
    if not drawn:
        return section("Events", missing("events are measured at the end of the run"))
    intro = (
        "AUROC: how often a moment before the event gets a higher probability than one without. ECE and the "
        "curves below: whether what is said with 30 % happens in 30 % of the cases, as on the dotted line."
    )
    return section("Events", element("div", *drawn, class_="grid"), intro=intro)


def position_section(results: Results) -> Html | None:
    chart = position_chart(measured(results), step_seconds(results))
    return section("Where it will be", element("div", figure_of(chart), class_="grid")) if chart else None


def data_section(results: Results) -> Html:
    """What was learnt from."""
    summary = results.summary
    shares, scores = summary.get("shares") or {}, measured(results).get("events") or {}
    rows = []
    for name, share in shares.items():
        steps = _percent(scores.get(name, {}).get("share"))
        rows.append((name, f"{_percent(share)} of the windows, {steps} of the hold-out's steps"))
    dropped = [(name, f"{count:,} steps") for name, count in (summary.get("dropped") or {}).items() if count]
    sizes = [
        (name.replace("_", " "), f"{summary[name]:,}")
        for name in ("drives", "windows", "holdout_drives", "holdout_windows")
        if isinstance(summary.get(name), int)
    ]
    tables = [
        table(found, title)
        for found, title in (
            (rows, "how often each event happens"),
            (sizes, "how much there was"),
            (dropped, "left out"),
        )
        if found
    ]
    if not tables:
        return section("Experience", missing("what was learnt from is written at the end of the run"))
    return section("Experience", element("div", *tables, class_="tables"))


def next_section(results: Results) -> Html:
    """The commands that made this run, go on with it, and use it."""
    run = shlex.quote(shown_path(results.path))
    made = made_by(results.run.get("command"))
    lines = [command(made, "This run was made by")] if made else []
    if results.finished:
        data = shlex.quote(str((results.config.get("data") or ["runs/drives/urban"])[0]))
        lines += [
            command(f"surefoot evaluate {run}", "Let it drive, beside the baselines"),
            command(f"surefoot train badgr --data {data} --from {run}", "Fine-tune it on other drives"),
        ]
    else:
        lines.append(command(f"surefoot resume {run}", "Go on where it stopped"))
    return section("Go on", *lines)


def _percent(share: object) -> str:
    number = finite(share)
    return "an unknown share" if number is None else f"{100 * number:.1f} %"
