"""`surefoot import`: recorded drives become the episodes that `surefoot train badgr` learns from.

<out>/                      an EpisodeDataset, as `surefoot collect` writes it
  imports/<bag>-<id>.json   what was found in each bag: rates, gaps, skew, what was dropped and left out

A bag goes in whole or not at all, and the same bag again adds nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.progress import Progress
from envs.dataset import EpisodeDataset
from envs.files import write_durably
from robot.bag import BagError
from robot.bag_episodes import ImportConfig, episodes, plan_episodes
from robot.bag_reader import Bag, open_bag
from robot.bag_report import bag_report
from robot.bag_topics import bag_config, find_sources
from robot.bag_tracks import gather
from robot.config import RobotConfig
from robot.messages import MessageError

log = logging.getLogger(__name__)

ENDS = 1 << 20
"""bytes at a file's beginning and end by which it is known again"""


def import_bags(
    bags: Sequence[Path],
    out: Path,
    config: ImportConfig | None = None,
    robot: RobotConfig | None = None,
    *,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """Adds the drives of these bags to the dataset at `out`; the reports, one a bag.

    robot: by default as the recorder saved it. Raises BagError, which names the bag, topic, field and fix;
    FileNotFoundError; DatasetLockedError when another process writes there. Bags before that one are in.
    """
    config = config or ImportConfig()
    opened = [open_bag(path) for path in bags]
    if not opened:
        raise BagError("there is no bag to import: give folders or .mcap files")
    with EpisodeDataset(out, durable=False) as dataset:
        return [_import_once(bag, dataset, config, robot, quiet) for bag in opened]


def _import_once(
    bag: Bag, dataset: EpisodeDataset, config: ImportConfig, robot: RobotConfig | None, quiet: bool
) -> dict[str, Any]:
    file = dataset.path / "imports" / f"{bag.name}-{_identity(bag, config, robot)}.json"
    known = _known(file, dataset)
    if known is not None:
        return known | {"added": 0, "again": True}
    try:
        report = _import(bag, dataset, config, robot, quiet)
    except (BagError, MessageError) as error:
        raise BagError(f"{bag.name}: {error}; nothing of this bag was imported") from error
    file.parent.mkdir(exist_ok=True)
    write_durably(file, (json.dumps(report, indent=2) + "\n").encode())
    return report


def _import(
    bag: Bag, dataset: EpisodeDataset, config: ImportConfig, robot: RobotConfig | None, quiet: bool
) -> dict[str, Any]:
    began = time.monotonic()
    robot = robot or bag_config(bag.about)
    sources = find_sources(bag.topics(), bag.about, robot)
    with Progress(f"{bag.name}: read", bag.bytes, quiet=quiet) as progress:
        tracks = gather(bag, sources, config.stamps, progress.update)
    plan = plan_episodes(tracks, config)
    staging = dataset.path / ".import"
    shutil.rmtree(staging, ignore_errors=True)  # of an import that was killed
    before = len(dataset)
    try:
        with (
            EpisodeDataset(staging, durable=False) as whole,
            Progress(f"{bag.name}: decisions", len(plan.ticks), quiet=quiet) as progress,
        ):
            for episode in episodes(bag, tracks, plan, robot, config, progress.update):
                whole.append(episode)
            ids = [dataset.append(whole[id]) for id in whole.ids]
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    dataset.flush()
    took = max(time.monotonic() - began, 1e-9)
    steps = sum(dataset.steps(id) for id in ids)
    report = bag_report(bag, tracks, plan, steps)
    report |= {"episodes": ids, "added": len(dataset) - before, "again": False}
    report |= {"megabytes_per_s": round(bag.bytes / took / 1e6, 1)}
    report |= {"times_real_time": round(report["seconds"] / took, 1)}
    if not ids:
        report["warnings"].append(
            "no drive was found: " + (", ".join(report["left_out_ticks"]) or "it is too short")
        )
    return report


def _identity(bag: Bag, config: ImportConfig, robot: RobotConfig | None) -> str:
    """Of a bag's content and how it is imported; cheap for large files."""
    sha = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    sha.update(json.dumps(dict(robot.parameters()) if robot else {}, sort_keys=True).encode())
    for path in bag.files:
        size = path.stat().st_size
        sha.update(f"{path.name}|{size}|".encode())
        with path.open("rb") as stream:
            sha.update(stream.read(ENDS))
            stream.seek(max(size - ENDS, 0))
            sha.update(stream.read(ENDS))
    return sha.hexdigest()[:12]


def _known(file: Path, dataset: EpisodeDataset) -> dict[str, Any] | None:
    """The report of an earlier import, if all its drives are there."""
    if not file.exists():
        return None
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report if all(id in dataset for id in report["episodes"]) else None


def print_reports(reports: Sequence[Mapping[str, Any]], out: Path) -> None:
    """For people."""
    from rich.console import Console

    from robot.bag_report import table

    console = Console()
    for report in reports:
        console.print(table(report))
        for warning in report["warnings"]:
            console.print(f"  warning: {warning}", markup=False, highlight=False)
        state = "was imported before" if report["again"] else f"{report['added']} drives added"
        console.print(f"  {state}; report in {out / 'imports'}", markup=False, highlight=False)
