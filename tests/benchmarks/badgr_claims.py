"""Which of BADGR's claims hold, from trials that were driven. Pass marks: badgr specification, 8.6."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.badgr.intervals import difference_of_means, paired, ratio_of_means, wilson

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Claim:
    """One line of the table. met: whether what was measured passes the mark."""

    name: str
    mark: str
    measured: str
    met: bool

    def line(self) -> str:
        return f"| {self.name} | {self.mark} | {self.measured} | {'met' if self.met else 'MISSED'} |"


def success(rows: Rows) -> float:
    return float(np.mean([row["outcome"] == "reached" for row in rows]))


def share(rows: Rows, *outcomes: str) -> float:
    return float(np.mean([row["outcome"] in outcomes for row in rows]))


def rate(rows: Rows, *outcomes: str) -> str:
    """A rate in per cent with Wilson's interval; of several seeds' trials on the same trips, the interval is
    that of all as if they were independent."""
    count = sum(row["outcome"] in (outcomes or ("reached",)) for row in rows)
    low, high = wilson(count, len(rows))
    return f"{100 * count / len(rows):.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def per_trip(runs: Sequence[Rows], name: str, only_reached: bool = True) -> dict[int, float]:
    """{trip: mean over the training seeds}; of the trips that all of them reached."""
    values: dict[int, list[float]] = {}
    for row in itertools.chain(*runs):
        if row["outcome"] == "reached" or not only_reached:
            values.setdefault(row["number"], []).append(float(row[name]))
    return {number: float(np.mean(some)) for number, some in values.items() if len(some) == len(runs)}


def wins(runs: Sequence[Rows]) -> dict[int, float]:
    """{trip: share of the training seeds that reached it}."""
    values: dict[int, list[float]] = {}
    for row in itertools.chain(*runs):
        values.setdefault(row["number"], []).append(float(row["outcome"] == "reached"))
    return {number: float(np.mean(some)) for number, some in values.items()}


def on_pairs(left: Mapping[int, float], right: Mapping[int, float], statistic: Any) -> tuple[float, ...]:
    """(value, lowest, highest) on the trips that both have."""
    both = sorted(left.keys() & right.keys())
    return paired(np.array([left[k] for k in both]), np.array([right[k] for k in both]), statistic)


def ratio(left: Sequence[Rows], right: Rows) -> tuple[float, ...]:
    """Of mean roughness, on the trips that all reached."""
    return on_pairs(per_trip(left, "roughness"), per_trip([right], "roughness"), ratio_of_means)


def urban(badgr: Sequence[Rows], lidar: Rows, straight: Rows) -> list[Claim]:
    """U1 and U2. badgr: a list of trials for each training seed."""
    pooled = list(itertools.chain(*badgr))
    ours, theirs, naive = success(pooled), success(lidar), success(straight)
    gap = on_pairs(wins(badgr), wins([lidar]), difference_of_means)
    rough = ratio(badgr, lidar)
    smooth = [
        float(np.mean(list(per_trip(runs, "smooth", only_reached=False).values())))
        for runs in (badgr, [lidar])
    ]
    return [
        Claim(
            "U1 urban success",
            "BADGR >= 95 %, at most 3 points below geometric; straight <= 40 %",
            f"BADGR {rate(pooled)}, geometric {rate(lidar)}, straight {rate(straight)}; "
            f"BADGR less geometric {_points(gap)}",
            ours >= 0.95 and ours >= theirs - 0.03 and naive <= 0.40,
        ),
        Claim(
            "U2 bumpiness",
            "<= 60 % of geometric's (upper bound <= 75 %); smooth ground >= 80 % against <= 50 %",
            f"{_percent(rough)} of geometric's; smooth {100 * smooth[0]:.0f} % against "
            f"{100 * smooth[1]:.0f} %",
            rough[0] <= 0.60 and rough[2] <= 0.75 and smooth[0] >= 0.80 and smooth[1] <= 0.50,
        ),
    ]


def knob(by_weight: Mapping[float, Rows], lidar: Rows) -> Claim:
    """U3. by_weight: trials for each weight of bumpiness, one training seed."""
    weights = sorted(by_weight)
    means = [float(np.mean([row["roughness"] for row in by_weight[weight]])) for weight in weights]
    without = ratio([by_weight[weights[0]]], lidar)
    falls = all(later <= sooner for sooner, later in itertools.pairwise(means))
    shown = ", ".join(f"{weight:g}: {mean:.3f}" for weight, mean in zip(weights, means, strict=True))
    return Claim(
        "U3 preference knob",
        "at weight 0 within 15 % of geometric's bumpiness; falls with the weight at 5 settings",
        f"at 0 {_percent(without)} of geometric's; mean rad/s by weight {shown}",
        abs(without[0] - 1) <= 0.15 and falls and len(weights) >= 5,
    )


def offroad(badgr: Sequence[Rows], lidar: Rows, straight: Rows) -> list[Claim]:
    """O1 and O2."""
    pooled = list(itertools.chain(*badgr))
    over = [on_pairs(wins(badgr), wins([rows]), difference_of_means) for rows in (lidar, straight)]
    failures = [row for row in lidar if row["outcome"] != "reached"]
    refusals = share(failures, "refused") if failures else 0.0
    return [
        Claim(
            "O1 off-road success",
            "BADGR >= 90 %; at least 25 points above geometric and above straight",
            f"BADGR {rate(pooled)}, geometric {rate(lidar)}, straight {rate(straight)}; BADGR less "
            f"geometric {_points(over[0])}, less straight {_points(over[1])}",
            success(pooled) >= 0.90 and all(one[0] >= 0.25 for one in over),
        ),
        Claim(
            "O2 why",
            "geometric's failures >= 60 % refusals, its collisions <= 5 %; BADGR collision + stuck <= 8 %",
            f"{100 * refusals:.0f} % of {len(failures)} failures, collisions {rate(lidar, 'collision')}; "
            f"BADGR {rate(pooled, 'collision', 'stuck')}",
            refusals >= 0.6
            and share(lidar, "collision") <= 0.05
            and share(pooled, "collision", "stuck") <= 0.08,
        ),
    ]


def improvement(zero: Rows, fine: Mapping[float, Rows], target: Rows) -> Claim:
    """S. fine: trials by hours of new driving; target: after the most hours, without the old ones."""
    most = max(fine)
    best = success(fine[most])
    curve = ", ".join(f"{hours:g} h: {100 * success(rows):.0f} %" for hours, rows in sorted(fine.items()))
    return Claim(
        "S self-improvement",
        "zero-shot <= 10 %, fine-tuned >= 90 %, target-only at least 25 points below it",
        f"zero-shot {rate(zero)}; fine-tuned {curve}; target-only {rate(target)}",
        success(zero) <= 0.10 and best >= 0.90 and success(target) <= best - 0.25,
    )


def generalisation(seen: Rows, unseen: Rows) -> Claim:
    """G. seen: trials in the layouts of training; unseen: in the test layouts, the same training seed."""
    layouts = len({row["world"] for row in unseen})
    part = success(unseen) / max(success(seen), 1e-9)
    return Claim(
        "G generalisation",
        "unseen layouts and textures >= 85 % of seen success, all 20 test layouts",
        f"{rate(unseen)} against {rate(seen)}: {100 * part:.0f} %, {layouts} layouts",
        part >= 0.85 and layouts == 20,
    )


def data_budget(hours: Mapping[str, float], windows: int, curve: Mapping[float, Rows]) -> Claim:
    """D. hours: simulated, by what they were driven for; curve: urban trials by hours of driving."""
    total = sum(hours.values())
    parts = ", ".join(f"{name} {value:.1f} h" for name, value in hours.items())
    shown = ", ".join(f"{h:g} h: {100 * success(rows):.0f} %" for h, rows in sorted(curve.items()))
    return Claim(
        "D data budget",
        "all of the above from <= 42 simulated hours and <= 720,000 windows",
        f"{total:.1f} h ({parts}), {windows:,} windows; urban success by hours: {shown}",
        total <= 42 and windows <= 720_000,
    )


def latency(seconds: Mapping[int, tuple[float, float]]) -> Claim:
    """L. seconds: {candidates: (median, 99th percentile)} of CPU time for a decision on one core."""
    shown = ", ".join(f"N = {n}: {1e3 * p50:.0f} / {1e3 * p99:.0f}" for n, (p50, p99) in seconds.items())
    return Claim(
        "L latency",
        "one x86 core: p99 <= 100 ms at N = 1024, <= 250 ms at N = 4096",
        f"ms of CPU time, p50 / p99: {shown}",
        seconds[1024][1] <= 0.100 and seconds[4096][1] <= 0.250,
    )


def _points(values: Sequence[float]) -> str:
    return f"{100 * values[0]:+.0f} points ({100 * values[1]:+.0f} to {100 * values[2]:+.0f})"


def _percent(values: Sequence[float]) -> str:
    return f"{100 * values[0]:.0f} % ({100 * values[1]:.0f} to {100 * values[2]:.0f})"
