"""What the trials of a method come to, and how two methods differ on the same trips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents.badgr.intervals import difference_of_means, paired, ratio_of_means, wilson
from agents.badgr.trials import OUTCOMES

Row = Mapping[str, Any]


def method_scores(rows: Sequence[Row]) -> dict[str, Any]:
    """Rates of all outcomes with 95 % intervals, and means. seconds, path: of the trips that were reached,
    null without any; roughness, smooth, spl: of all trips, each trip counting alike; act_ms: medians over the
    trips of their 50th and 99th percentiles. Raises ValueError without rows."""
    if not rows:
        raise ValueError("there are no trials to count: drive some first")
    counts = {name: sum(row["outcome"] == name for row in rows) for name in OUTCOMES}
    reached = [row for row in rows if row["outcome"] == "reached"]
    latency = np.median([row["act_ms"] for row in rows], axis=0)
    way = sum(row["path"] for row in rows)
    return {
        "trials": len(rows),
        "counts": counts,
        "rates": {name: [n / len(rows), *wilson(n, len(rows))] for name, n in counts.items()},
        "success": [counts["reached"] / len(rows), *wilson(counts["reached"], len(rows))],
        "seconds": _mean(reached, "seconds"),
        "path": _mean(reached, "path"),
        "spl": _mean(rows, "spl"),
        "roughness": _mean(rows, "roughness"),
        "smooth": _mean(rows, "smooth"),
        "failures_per_km": 1000 * (len(rows) - len(reached)) / way if way else None,
        "act_ms": [float(one) for one in latency],
    }


def compared(left: Sequence[Row], right: Sequence[Row]) -> dict[str, Any]:
    """The left method against the right one on the trips that both drove.

    success: difference of the rates; roughness_ratio, smooth_difference: on the trips that both reached,
    so that neither gains by failing early. Each as [value, lowest, highest] with a paired bootstrap at
    95 %, null where there is no such trip.
    """
    others = {row["number"]: row for row in right}
    pairs = [(row, others[row["number"]]) for row in left if row["number"] in others]
    both = [(a, b) for a, b in pairs if a["outcome"] == b["outcome"] == "reached"]

    def column(chosen: Sequence[tuple[Row, Row]], side: int, name: str) -> Any:
        return np.array([float(pair[side][name]) for pair in chosen])

    won = [np.array([float(pair[side]["outcome"] == "reached") for pair in pairs]) for side in (0, 1)]
    rough = [column(both, side, "roughness") for side in (0, 1)]
    smooth = [column(both, side, "smooth") for side in (0, 1)]
    return {
        "trips": len(pairs),
        "both_reached": len(both),
        "success_difference": _plain(paired(won[0], won[1], difference_of_means)),
        "roughness_ratio": _plain(paired(rough[0], rough[1], ratio_of_means)),
        "smooth_difference": _plain(paired(smooth[0], smooth[1], difference_of_means)),
    }


def score_table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown, a line a method."""
    head = "| method | trips | reached, % | collision, % | stuck, % | refused, % | other, % "
    head += "| SPL | s to goal | roughness, rad/s | smooth ground, % | decision p50 / p99, ms |"
    lines = [head, "|---" * 12 + "|"]
    for method, one in scores.items():
        rates = {name: 100 * rate[0] for name, rate in one["rates"].items()}
        low, high = (100 * one["success"][k] for k in (1, 2))
        other = 100 - sum(rates[name] for name in ("reached", "collision", "stuck", "refused"))
        seconds = "" if one["seconds"] is None else f"{one['seconds']:.0f}"
        lines.append(
            f"| {method} | {one['trials']} | {rates['reached']:.0f} ({low:.0f} to {high:.0f}) "
            f"| {rates['collision']:.0f} | {rates['stuck']:.0f} | {rates['refused']:.0f} | {abs(other):.0f} "
            f"| {one['spl']:.2f} | {seconds} | {one['roughness']:.3f} | {100 * one['smooth']:.0f} "
            f"| {one['act_ms'][0]:.1f} / {one['act_ms'][1]:.1f} |"
        )
    return "\n".join(lines)


def _mean(rows: Sequence[Row], name: str) -> float | None:
    return float(np.mean([row[name] for row in rows])) if rows else None


def _plain(values: tuple[float, float, float]) -> list[float] | None:
    return None if np.isnan(values[0]) else list(values)
