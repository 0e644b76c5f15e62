"""A run as one HTML file that needs nothing else: what was learnt, how well, from what, and how to go on."""

from __future__ import annotations

import os
from pathlib import Path

from agents.report_charts import short
from agents.report_html import Html, cards, element, page
from agents.report_rover import rover_section
from agents.report_sections import (
    clips_section,
    details_section,
    learning_section,
    next_section,
    reward_section,
    settings_section,
    videos_section,
)
from agents.results import Results, finite, mistake_rate, read_results


def write_report(run_dir: Path) -> Path:
    """Writes report.html into the folder of a run, in one step, and returns its path.

    A run that is unfinished or lacks files gets a report too; the page says what is missing.
    Raises FileNotFoundError where there is no run.
    """
    path = run_dir / "report.html"
    content = render_report(read_results(run_dir))
    temporary = path.with_name(".report.html.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    return path


def render_report(results: Results) -> Html:
    """The report as one HTML document."""
    kind = "a reward learnt from comparisons" if results.learns_from_labels else "the true reward"
    header = element(
        "header",
        element("p", f"surefoot · {results.path.name} · {kind}", class_="eyebrow"),
        element("h1", results.env),
        element("p", verdict(results), class_="verdict"),
        *(element("p", problem, class_="warning", role="note") for problem in results.problems),
        cards(headline(results)),
    )
    main = element(
        "main",
        learning_section(results),
        videos_section(results),
        *((reward_section(results), clips_section(results)) if results.learns_from_labels else ()),
        details_section(results),
        rover_section(results.path / "rover"),
        next_section(results),
        settings_section(results),
    )
    return page(f"{results.env} · {results.path.name} · surefoot", header, main)


def verdict(results: Results) -> str:
    """One sentence (two while the run goes on) that says how well it went, from its numbers alone."""
    if results.final_return is None:
        return "No evaluation of the policy has been recorded, so nothing can be said about it yet."
    reached = short(results.final_return)
    unfinished = "" if results.finished else f"Not finished: {results.steps:,} steps done. "
    source = _source(results)
    score, bound = results.score, finite(results.bounds.get("true_reward_return"))
    if not results.learns_from_labels or score is None or bound is None:
        known = [
            f"{name} {short(value)}"
            for name, value in (("random actions get", results.baseline), ("the true-reward policy", bound))
            if value is not None
        ]
        compared = f"; {', '.join(known)}" if known else "; there is no bound to compare it with"
        return f"{unfinished}{source}, the policy reached a true return of {reached}{compared}."
    low = short(results.baseline or 0.0)
    span = f"(true return {reached}; untrained {low}, true-reward policy {short(bound)})"
    if score >= 1:
        return f"{unfinished}{source}, the policy did as well as one trained on the true reward {span}."
    if score <= 0:
        return f"{unfinished}{source}, the policy did no better than an untrained one {span}."
    return (
        f"{unfinished}{source}, the policy came {100 * score:.0f} % of the way from an untrained policy "
        f"to one trained on the true reward {span}."
    )


def _source(results: Results) -> str:
    """What the policy learnt from: "With 140 labels, 10 % of them wrong"."""
    if results.labels is None:
        return "Trained on the true reward"
    mistakes = mistake_rate(results.config)
    wrong = f", {100 * mistakes:.0f} % of them wrong on purpose" if mistakes else ""
    return f"With {results.labels:,} label{'' if results.labels == 1 else 's'}{wrong}"


def headline(results: Results) -> list[tuple[str, str, str]]:
    """The numbers at the top: (name, value, explanation); what is unknown is left out."""
    facts: list[tuple[str, str, str]] = []
    if results.score is not None:
        facts.append(("Score", f"{results.score:.2f}", "0 untrained, 1 the true-reward policy"))
    if results.final_return is not None:
        hidden = ", never shown to the learner" if results.learns_from_labels else ""
        facts.append(("True return", short(results.final_return), f"per episode{hidden}"))
    if results.labels is not None:
        facts.append(("Labels", f"{results.labels:,}", "comparisons of two clips"))
    accuracy = results.number("held_out_accuracy")
    if accuracy is not None:
        facts.append(
            ("Held-out accuracy", f"{100 * accuracy:.0f} %", "new clip pairs ordered as the true reward does")
        )
    facts.append(("Steps", f"{results.steps:,}", "of the environment"))
    cpu, wall = results.number("cpu_seconds"), results.number("wall_seconds")
    if wall is not None:
        facts.append(("Time", duration(wall), "on the clock" + (f", {duration(cpu)} of CPU" if cpu else "")))
    return facts


def duration(seconds: float) -> str:
    """A time span for people."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
