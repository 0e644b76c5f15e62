"""What an import found: rates, gaps, skew between the streams, what was left out; as JSON and a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robot.bag_episodes import WATCHED, Plan, ages
from robot.bag_reader import Bag
from robot.bag_tracks import Track

GAP = 3.0
"""times a stream's usual period, beyond which a pause is a gap"""
TOLD = 20
"""of the longest gaps"""


def stream_report(track: Track, plan: Plan, camera: Track) -> dict[str, Any]:
    """Of one stream. skew_ms: how much later its messages come than the camera's; latency_ms: after their
    stamps; age_ms: how old the newest one is when a decision is made."""
    source, times = track.source, track.times()
    base = {
        "topic": source.topic, "kind": source.kind, "guessed": source.guessed, "messages": track.messages,
        "repeated": track.repeated, "broken": track.broken, "trouble": track.trouble,
    }  # fmt: skip
    if len(times) < 2:
        return base
    periods = np.diff(times)
    usual = float(np.median(periods))
    long = np.flatnonzero(periods > GAP * usual)
    worst = sorted(long[np.argsort(periods[long])[::-1]][:TOLD].tolist())
    late = np.array(track.came) - times
    camera_late = np.array(camera.came) - camera.times()
    age = ages(track, plan.ticks)
    return base | {
        "rate_hz": round((len(times) - 1) / float(times[-1] - times[0]), 2),
        "period_ms": _quantiles(periods),
        "latency_ms": _quantiles(late),
        "skew_ms": round(float(np.median(late) - np.median(camera_late)) * 1e3, 1),
        "age_ms": _quantiles(age[np.isfinite(age)]),
        "gaps": len(long),
        "longest_gaps": [
            {"at_s": round(float(times[i] - plan.ticks[0]), 3), "seconds": round(float(periods[i]), 3)}
            for i in worst
        ],
    }


def bag_report(bag: Bag, tracks: Mapping[str, Track], plan: Plan, steps: int) -> dict[str, Any]:
    """Of a whole bag; what the import made of it is added by the import."""
    dropped = _dropped(bag, tracks)
    return {
        "bag": bag.name,
        "bytes": bag.bytes,
        "seconds": round(float(plan.ticks[-1] - plan.ticks[0]), 2),
        "start": float(plan.ticks[0]),
        "ticks": len(plan.ticks),
        "steps": steps,
        "left_out_ticks": {name: int(off.sum()) for name, off in plan.why.items() if off.any()},
        "decision_spread_ms": None if np.isnan(plan.phase_spread) else round(plan.phase_spread * 1e3, 1),
        "dropped_by_recorder": dropped,
        "damage": dict(bag.damage),
        "streams": {
            name: stream_report(track, plan, tracks["camera"])
            for name, track in tracks.items()
            if name != "diagnostics"
        },
        "warnings": _warnings(bag, tracks, dropped),
    }


def table(report: Mapping[str, Any]) -> Any:
    """A rich table of the streams."""
    from rich.table import Table

    shown = Table(
        "stream", "topic", "messages", "Hz", "gaps", "longest s", "skew ms", "age ms p50", "p99",
        title=f"{report['bag']}: {report['seconds']:.0f} s, {report['steps']} steps", title_justify="left",
    )  # fmt: skip
    for name, one in report["streams"].items():
        longest = max((gap["seconds"] for gap in one.get("longest_gaps", [])), default=0.0)
        shown.add_row(
            name, one["topic"], str(one["messages"]), str(one.get("rate_hz", "")), str(one.get("gaps", "")),
            f"{longest:.2f}" if longest else "", str(one.get("skew_ms", "")) if name in _SENSORS else "",
            *([str(one["age_ms"]["p50"]), str(one["age_ms"]["p99"])] if name in WATCHED else ["", ""]),
        )  # fmt: skip
    return shown


_SENSORS = (*WATCHED, "position", "velocity", "wish")


def _quantiles(seconds: Any) -> dict[str, float]:
    if not len(seconds):
        return {}
    p50, p99 = np.percentile(seconds, (50, 99)) * 1e3
    worst = float(np.max(seconds)) * 1e3
    return {"p50": round(float(p50), 1), "p99": round(float(p99), 1), "max": round(worst, 1)}


def _dropped(bag: Bag, tracks: Mapping[str, Track]) -> dict[str, int]:
    """By our recorder's count: at the end of the bag, or its last diagnostics where that was cut off."""
    counts = {
        key.removeprefix("dropped."): int(value)
        for key, value in bag.about.items()
        if key.startswith("dropped.")
    }
    if counts or "diagnostics" not in tracks:
        return counts
    said: dict[str, int] = tracks["diagnostics"].values[-1] if tracks["diagnostics"].values else {}
    return said


def _warnings(bag: Bag, tracks: Mapping[str, Track], dropped: Mapping[str, int]) -> list[str]:
    found = [f"{name}: {why}" for name, why in bag.damage.items()]
    if bag.about.get("stopped"):
        found.append(f"the recording was ended early: {bag.about['stopped']}")
    if dropped:
        found.append("the recorder dropped " + ", ".join(f"{n} of {name}" for name, n in dropped.items()))
    for track in tracks.values():
        source = track.source
        if source.guessed:
            found.append(f"{source.name}: took {source.topic}, the only {source.kind}")
        if track.broken:
            found.append(f"{source.name}: {track.broken} messages left out: {track.trouble}")
        if track.repeated and source.name in WATCHED:
            found.append(f"{source.name}: {track.repeated} messages were not newer than the one before")
    return found
