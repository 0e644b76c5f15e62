"""BADGR's claims, measured again in simulation: success, bumpiness, preferences, self-improvement, latency.

    python tests/benchmarks/bench_badgr_claims.py [--results FOLDER] [--jobs 2] [--only U O S G D L N]
    python tests/benchmarks/bench_badgr_claims.py --stored      # the table of what was driven; makes nothing
    python tests/benchmarks/bench_badgr_claims.py --quick       # a small cell, driven anew

Gathers experience, trains, drives paired trips, and judges each claim by the pass marks of the
specification (the paper's own tables could not be retrieved). Every finished piece is kept in --results:
stop and go on at will. Sizes are smaller than the original's 42 hours and are printed above the table.
Intervals are at 95 %: Wilson's for rates, paired bootstrap for ratios and differences.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import badgr_claims as claims
import numpy as np
from badgr_cells import (
    CANDIDATES,
    FULL,
    KNOB,
    PREFERENCES,
    QUICK,
    Cells,
    MissingError,
    seeds_of,
    with_bump_weight,
)
from badgr_claims import Claim

from agents.badgr.agent import BadgrAgent, DriveConfig
from agents.badgr.planner import PlannerConfig
from agents.badgr.predictor import Predictor
from agents.badgr.scores import method_scores, score_table

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "runs" / "bench" / "badgr-claims"
PLANS = 60
"""decisions that the latency is measured on"""


def urban(cells: Cells) -> list[Claim]:
    badgr = [cells.trials("urban", "badgr", model=cells.model("urban", seed)) for seed in seeds_of(cells)]
    lidar, straight = (cells.trials("urban", method) for method in ("lidar", "straight"))
    show("urban", {f"badgr, seed {k}": rows for k, rows in enumerate(badgr)} | {
        "lidar": lidar, "straight": straight, "oracle": cells.trials("urban", "oracle")})  # fmt: skip
    return claims.urban(badgr, lidar, straight)


def knob(cells: Cells) -> list[Claim]:
    chosen, own = PREFERENCES["urban"], PREFERENCES["urban"].events["bumpy"]
    by_weight = {
        weight: cells.trials(
            "urban",
            "badgr",
            model=cells.model("urban", 0),
            preferences=with_bump_weight(chosen, weight),
            episodes=cells.sizes.episodes if weight == own else cells.sizes.few_episodes,
        )[: cells.sizes.few_episodes]
        for weight in KNOB
    }
    show("urban, weight of bumpiness", {f"{weight:g}": rows for weight, rows in by_weight.items()})
    return [claims.knob(by_weight, cells.trials("urban", "lidar"))]


def offroad(cells: Cells) -> list[Claim]:
    badgr = [
        cells.trials("off-road", "badgr", "off-road", model=cells.model("off-road", seed))
        for seed in seeds_of(cells)
    ]
    lidar, straight = (cells.trials("off-road", method, "off-road") for method in ("lidar", "straight"))
    oracle = cells.trials("off-road", "oracle", "off-road")
    show("off-road", {f"badgr, seed {k}": rows for k, rows in enumerate(badgr)} | {
        "lidar": lidar, "straight": straight, "oracle": oracle})  # fmt: skip
    return claims.offroad(badgr, lidar, straight)


def improvement(cells: Cells) -> list[Claim]:
    def swapped(model: Path) -> list[claims.Rows]:
        few = cells.sizes.few_episodes
        return cells.trials("swapped", "badgr", "off-road", model=model, swapped=True, episodes=few)

    hours = cells.sizes.target_hours
    zero = swapped(cells.model("off-road", 0))
    fine = {one: swapped(cells.model(f"fine-{one:g}h", 0)) for one in hours}
    target = swapped(cells.model(f"target-{max(hours):g}h", 0))
    rows = {"zero-shot": zero, **{f"fine-tuned, {h:g} h": r for h, r in fine.items()}, "target-only": target}
    show("off-road, colours swapped", rows)
    return [claims.improvement(zero, fine, target)]


def generalisation(cells: Cells) -> list[Claim]:
    model = cells.model("urban", 0)
    unseen = cells.trials("urban", "badgr", model=model)
    return [claims.generalisation(cells.trials("seen", "badgr", model=model, split="train"), unseen)]


def data_budget(cells: Cells) -> list[Claim]:
    few, sizes = cells.sizes.few_episodes, cells.sizes
    curve = {
        hours: cells.trials("urban", "badgr", model=cells.model(f"urban-{hours:g}h", 0), episodes=few)
        for hours in sizes.curve_hours
    }
    curve[sizes.urban_hours] = cells.trials("urban", "badgr", model=cells.model("urban", 0))[:few]
    hours = {
        path.parent.name: float(json.loads(path.read_text())["hours"])
        for path in sorted((cells.folder / "drives").glob("*/summary.json"))
    }
    summaries = cells.summaries()
    trained = {
        "urban": "urban-0",
        "off-road": "off-road-0",
        "swapped": f"target-{max(sizes.target_hours):g}h-0",
    }
    windows = sum(int(summaries[run]["windows"]) for run in trained.values() if run in summaries)
    return [claims.data_budget(hours, windows, curve)]


def candidates(cells: Cells) -> list[Claim]:
    """How the drives fall off with fewer plans to choose from; no claim."""
    few, model = cells.sizes.few_episodes, cells.model("urban", 0)
    own = cells.sizes.candidates
    rows = {
        f"{count} candidates": cells.trials(
            "urban", "badgr", model=model, candidates=count, episodes=None if count == own else few
        )[:few]
        for count in CANDIDATES
    }
    show("urban, by the number of candidates", rows)
    return []


def latency(cells: Cells) -> list[Claim]:
    model, measured = cells.model("urban", 0), {}
    predictor = Predictor(model, providers=("CPUExecutionProvider",), threads=1)
    rng = np.random.default_rng(0)
    for candidates in (512, 1024, 4096):
        agent = BadgrAgent(predictor, config=DriveConfig(PlannerConfig(candidates=candidates)))
        spent = []
        for k in range(PLANS + 5):
            seen = observation(rng, predictor.spec.image)
            began = time.thread_time()
            agent.act(seen)
            spent.append(time.thread_time() - began)
            assert agent.plan is not None, k
        low, high = np.percentile(spent[5:], (50, 99))
        measured[candidates] = float(low), float(high)
    return [claims.latency(measured)]


def observation(rng: np.random.Generator, size: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """What a robot sees that drives on; its values change no time."""
    return {
        "image": rng.integers(0, 256, size, dtype=np.uint8), "gps": rng.normal(size=2),
        "gps_age": np.zeros(1), "gps_velocity": np.array([0.8, 0.0]), "compass": np.zeros(1),
        "odometry_velocity": np.array([0.8, 0.0]), "imu_angular_velocity": np.zeros((25, 3)),
        "goal": np.array([100.0, 0.0]),
    }  # fmt: skip


GROUPS: dict[str, tuple[Callable[[Cells], list[Claim]], ...]] = {
    "U": (urban, knob), "O": (offroad,), "S": (improvement,), "G": (generalisation,), "D": (data_budget,),
    "L": (latency,), "N": (candidates,),
}  # fmt: skip


def show(title: str, rows: dict[str, claims.Rows]) -> None:
    """The table behind a claim."""
    print(
        f"\n**{title}**\n\n{score_table({name: method_scores(one) for name, one in rows.items()})}",
        flush=True,
    )


def judged(cells: Cells, groups: list[str]) -> tuple[list[Claim], list[str]]:
    """The claims whose cells are there, and what is missing for the others."""
    found, missing = [], []
    for group in groups:
        for judge in GROUPS[group]:
            try:
                found += judge(cells)
            except MissingError as error:
                missing.append(f"{judge.__name__}: no {error}")
    return found, missing


def quick() -> None:
    """Some trips of the stored urban cell driven anew: they must come out as before. Else all of it, tiny."""
    stored = Cells(KEPT, FULL, only_stored=True, quiet=True)
    again = {}
    try:
        before = stored.trials("urban", "badgr", model=stored.model("urban", 0))
    except MissingError:
        before = []
    with tempfile.TemporaryDirectory() as folder:
        if before:
            fresh = Cells(Path(folder), FULL, quiet=True)
            after = fresh.trials("urban", "badgr", model=stored.model("urban", 0), episodes=3)
            same = [a["outcome"] == b["outcome"] for a, b in zip(before, after, strict=False)]
            again = {"trips_driven_again": len(same), "as_before": sum(same)}
        else:
            small = Cells(Path(folder), QUICK, quiet=True)
            rows = {m: small.trials("urban", m) for m in ("lidar", "straight")}
            rows["badgr"] = small.trials("urban", "badgr", model=small.model("urban", 0))
            show("urban, tiny: nothing is learnt in so little", rows)
            again = {"trips": sum(len(one) for one in rows.values())}
    found, missing = judged(stored, list(GROUPS)) if before else ([], ["nothing is stored yet"])
    report(found, missing, again)


def report(found: list[Claim], missing: list[str], more: dict[str, int]) -> None:
    print("\n| claim | pass mark | measured | |\n|---|---|---|---|")
    for claim in found:
        print(claim.line())
    for line in missing:
        print(f"not measured: {line}")
    passed = sum(claim.met for claim in found)
    judgements = {claim.name.split()[0]: claim.met for claim in found}
    print(json.dumps({
        "claims_passed": passed, "claims_failed": len(found) - passed, "claims_missing": len(missing),
        **judgements, **more}))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="drive a few stored trips anew")
    parser.add_argument("--stored", action="store_true", help="make nothing, judge what is there")
    parser.add_argument("--results", type=Path, default=KEPT, help="folder that all cells are kept in")
    parser.add_argument("--only", nargs="+", choices=tuple(GROUPS), default=list(GROUPS))
    parser.add_argument("--jobs", type=int, default=1, help="worker processes")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    if options.quick:
        quick()
        return
    print(f"sizes: {json.dumps(asdict(FULL))}")
    cells = Cells(options.results, FULL, jobs=options.jobs, only_stored=options.stored)
    report(*judged(cells, options.only), {})


if __name__ == "__main__":
    main()
