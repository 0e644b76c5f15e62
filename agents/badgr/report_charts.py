"""The charts of an event predictor's report, each with words; None where data lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.plots import Chart, Dash, Line, level
from agents.report_charts import Described, short
from agents.results import Results, finite, series

LOOKS: tuple[tuple[str, Dash], ...] = (
    *(("orange", "solid"), ("blue", "dashdot"), ("purple", "dashed"), ("green", "dotted")),
    *(("sky", "solid"), ("grey", "dashdot")),
)
"""One for each event"""


def look(index: int) -> tuple[str, Dash]:
    """Colour and dashes of an event."""
    return LOOKS[index % len(LOOKS)]


def loss_chart(results: Results) -> Described | None:
    """Loss on the minibatches and on the hold-out."""
    trained, measured = (series(results.metrics, f"{side}/loss") for side in ("train", "holdout"))
    lines = []
    if trained[0]:
        lines.append(Line("training, rebalanced", *trained, "grey", "solid"))
    if measured[0]:
        lines.append(Line("hold-out, as it comes", *measured, "blue", "dashdot"))
    if not lines:
        return None
    said = "; ".join(f"{line.label}: from {short(line.y[0])} to {short(line.y[-1])}" for line in lines)
    return Chart("loss", "Loss", "minibatches", "loss", tuple(lines)), f"Line chart of the loss. {said}."


def auroc_chart(results: Results, events: Sequence[str]) -> Described | None:
    """How well the hold-out's events are told, over the training."""
    lines = []
    for index, name in enumerate(events):
        steps, values = series(results.metrics, f"holdout/auroc_{name}")
        if steps:
            lines.append(Line(name, steps, values, *look(index)))
    if not lines:
        return None
    said = "; ".join(f"{line.label}: from {line.y[0]:.3f} to {line.y[-1]:.3f}" for line in lines)
    lines.append(level("guessing", 0.5, max(line.x[-1] for line in lines), "grey", "dotted"))
    bottom = min(0.45, *(min(line.y) - 0.03 for line in lines))
    chart = Chart(
        "auroc", "AUROC on the hold-out", "minibatches", "AUROC", tuple(lines), (max(bottom, 0), 1.01)
    )
    return chart, f"Line chart of the AUROC. {said}. Guessing gives 0.5."


def horizon_chart(measured: Mapping[str, Any], value: str, title: str, seconds: float) -> Described | None:
    """auroc_by_step or ece_by_step of each event, over the steps that are looked ahead."""
    lines = []
    for index, (name, score) in enumerate((measured.get("events") or {}).items()):
        points = [
            (step + 1.0, number)
            for step, each in enumerate(score.get(value) or ())
            if (number := finite(each)) is not None
        ]
        if points:
            lines.append(Line(name, [x for x, _ in points], [y for _, y in points], *look(index)))
    if not lines:
        return None
    said = "; ".join(
        f"{line.label}: {line.y[0]:.3f} at step {line.x[0]:g}, {line.y[-1]:.3f} at step {line.x[-1]:g}"
        for line in lines
    )
    most = max(max(line.y) for line in lines)
    y_range = (min(0.5, *(min(line.y) for line in lines)) - 0.02, 1.01)
    chart = Chart(
        value, title, _ahead(seconds), title.split(" ")[0], tuple(lines),
        y_range if value.startswith("auroc") else (0, 1.15 * max(most, 0.02)),
    )  # fmt: skip
    return chart, f"Line chart: {title}. {said}."


def reliability_chart(name: str, index: int, score: Mapping[str, Any]) -> Described | None:
    """How often an event that is said to be so probable happens."""
    curve = score.get("reliability") or {}
    rows = zip(curve.get("probability") or (), curve.get("frequency") or (), strict=False)
    points = [(100 * x, 100 * y) for x, y in rows if finite(x) is not None and finite(y) is not None]
    if not points:
        return None
    lines = (
        Line("perfect", (0.0, 100.0), (0.0, 100.0), "grey", "dotted"),
        Line(name, [x for x, _ in points], [y for _, y in points], *look(index)),
    )
    error = finite(score.get("ece"))
    title = f"{name[0].upper()}{name[1:]}: said and happened"
    said = "; ".join(f"said {x:.0f} %, happened {y:.0f} %" for x, y in points)
    words = f"Reliability diagram of {name}, calibration error {short(error or 0.0)}: {said}."
    return Chart(f"reliability-{name}", title, "said, %", "happened, %", lines, (0, 100)), words


def position_chart(measured: Mapping[str, Any], seconds: float) -> Described | None:
    """Mean distance of the predicted place from that of the robot's own reckoning."""
    errors = [finite(value) for value in measured.get("position_error") or ()]
    points = [(i + 1.0, 100 * error) for i, error in enumerate(errors) if error is not None]
    if not points:
        return None
    line = Line("position", [x for x, _ in points], [y for _, y in points], "blue")
    top = 1.15 * max(line.y)
    chart = Chart("position", "Position error", _ahead(seconds), "mean distance, cm", (line,), (0, top))
    return (
        chart,
        f"Line chart of the position error: {line.y[0]:.0f} cm at first, {line.y[-1]:.0f} cm at last.",
    )


def _ahead(seconds: float) -> str:
    return f"steps of {seconds:g} s looked ahead"
