"""Gathering experience: rovers that drive themselves, on many processes, into one dataset.

<out>/            an EpisodeDataset, as BadgrConfig.data takes it: data.bin, index.jsonl, dataset.json
  collect.json    the configuration
  drives.jsonl    one line a finished unit of work: {"unit": …, "drives": [{"id": …, "world": …, …}, …]}
  summary.json    counts, shares of the time, events an hour
  labels/         made by agents.badgr.label_store when the drives are used

Of each drive: the rover's streams (envs.rover.rovers.UNITS) as observations, actions (T, 2) rad/s and m/s;
info, (T, …) each: resetting, and the simulator's truth: collision, bumpy, stuck, outside (bool), position
(2,) m, heading rad, terrain (a kind of envs.rover.terrain). Episodes end with a rescue or after
`episode_seconds`. Killed at any moment, the same command goes on: a unit without its line is driven again,
gives the same drives bit for bit, and the dataset takes none twice.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from agents.badgr.collect_config import CollectConfig
from agents.badgr.collect_drive import EVENTS, Drive, make_driver
from agents.badgr.collect_workers import Done, Driven, Workers
from agents.configs import config_to_json
from agents.interrupts import RunStopped, StopSignal
from agents.progress import Progress
from envs.batch import usable_cores
from envs.dataset import EpisodeDataset
from envs.files import write_durably

STEP_SECONDS = 0.25


class WorkerFleet(Protocol):
    """Who drives units of work: processes of this machine, or of many."""

    def __enter__(self) -> WorkerFleet: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, units: Iterator[int]) -> Iterator[Drive | Driven | Done | None]:
        """Drives as they come, Done after the last of a unit, None when nothing came for a while."""


class CollectError(ValueError):
    """The folder holds other drives than those asked for, or is none of ours."""


@dataclass
class _Job:
    """What is known so far. units: {number: counts of its drives}."""

    out: Path
    dataset: EpisodeDataset
    units: dict[int, list[dict[str, Any]]]
    open: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def take(self, drive: Drive) -> None:
        """Onto the disk with it."""
        id = self.dataset.append(drive.episode)
        self.open.setdefault(int(drive.counts["unit"]), []).append({"id": id, **drive.counts})

    def finish(self, unit: int) -> None:
        """Notes that the unit is complete."""
        self.units[unit] = self.open.pop(unit, [])
        line = json.dumps({"unit": unit, "drives": self.units[unit]}) + "\n"
        with (self.out / "drives.jsonl").open("ab", buffering=0) as journal:
            journal.write(line.encode())


def collect(
    config: CollectConfig,
    out: Path,
    workers: int | None = None,
    *,
    fleet: Callable[[CollectConfig, int], WorkerFleet] = Workers,
    quiet: bool = False,
) -> dict[str, Any]:
    """Drives until the hours are full, and returns the summary; goes on where an earlier call ended.

    workers: processes, by default one a core; how many there are changes no drive. fleet: what makes them,
    such as agents.sweep.driving.TaskFleet on a cluster. Raises CollectError when `out` was gathered
    otherwise, DatasetLockedError when another process gathers there, RunStopped after Ctrl-C.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    began = time.monotonic()
    make_driver(config, np.random.default_rng(0), (0, 0, 20, 20))  # whether there is such a policy
    _expect_same(config, out)
    with EpisodeDataset(out, durable=False) as dataset:
        write_durably(out / "collect.json", _json(config_to_json(config)))
        job = _Job(out, dataset, _finished(out, dataset))
        missing = [unit for unit in range(config.units) if unit not in job.units]
        count = min(workers or usable_cores(), len(missing))
        if missing:
            _drive(config, job, missing, fleet(config, count), quiet)
        summary = summarise(config, out, job.units)
    write_durably(out / "summary.json", _json(summary))
    return summary | {"seconds": round(time.monotonic() - began, 1)}


def _drive(config: CollectConfig, job: _Job, missing: list[int], workers: WorkerFleet, quiet: bool) -> None:
    steps = round(config.unit_hours * 3600 / STEP_SECONDS)
    done = (config.units - len(missing)) * steps
    title, rates = f"collect {config.world}", _rates(job)
    with (
        StopSignal() as stop,
        workers as fleet,
        Progress(title, config.units * steps, done=done, quiet=quiet) as progress,
    ):
        for said in fleet.run(iter(missing)):
            if isinstance(said, Drive):
                job.take(said)
                rates = _rates(job)
            elif isinstance(said, Done):
                job.finish(said.unit)
            elif isinstance(said, Driven):
                done += said.steps
                progress.update(done, hours=done * STEP_SECONDS / 3600, **rates)
            if stop.asked:
                job.dataset.flush()
                raise RunStopped(
                    f"stopped after {len(job.units)} of {config.units} units; every finished drive is in "
                    f"{job.out}: run the same command to go on"
                )


def summarise(
    config: CollectConfig, out: Path, units: Mapping[int, Iterable[Mapping[str, Any]]]
) -> dict[str, Any]:
    """Counts and shares of what was driven; the same drives give the same summary."""
    drives = [drive for unit in sorted(units) for drive in units[unit]]
    total = _totals(drives)
    steps = max(total["steps"], 1)
    hours = steps * STEP_SECONDS / 3600
    rescues = Counter(str(drive["rescue"]) for drive in drives if drive["rescue"])
    manoeuvres = Counter[str]()
    for drive in drives:
        manoeuvres.update(drive["manoeuvres"])
    size = (out / "data.bin").stat().st_size
    return {
        "world": config.world, "split": config.split, "policy": config.policy, "seed": config.seed,
        "hours": round(hours, 3), "drives": len(drives), "steps": total["steps"],
        "kilometres": round(total["metres"] / 1000, 3),
        "worlds": len({drive["world"] for drive in drives}),
        "bytes": size, "bytes_per_hour": round(size / hours),
        "share_resetting": round(total["resetting"] / steps, 4),
        "truth_share": {
            name: round(total[name] / max(steps - total["resetting"], 1), 4) for name in EVENTS
        },
        "truth_per_hour": {name: round(total[f"{name}_begins"] / hours, 1) for name in EVENTS},
        "manoeuvres_per_hour": {name: round(n / hours, 1) for name, n in sorted(manoeuvres.items())},
        "rescues_per_hour": {name: round(n / hours, 1) for name, n in sorted(rescues.items())},
    }  # fmt: skip


def read_drives(out: Path) -> dict[int, list[dict[str, Any]]]:
    """{unit: counts of its drives} of the finished units; a torn last line is left out."""
    file = out / "drives.jsonl"
    whole = file.read_bytes().rpartition(b"\n")[0].splitlines() if file.exists() else []
    rows = [json.loads(line) for line in whole]
    return {int(row["unit"]): row["drives"] for row in rows}


def _finished(out: Path, dataset: EpisodeDataset) -> dict[int, list[dict[str, Any]]]:
    """Units that are complete. After a power cut the journal may know of drives that are lost."""
    file = out / "drives.jsonl"
    content = file.read_bytes() if file.exists() else b""
    whole = content.rpartition(b"\n")
    if whole[2]:
        write_durably(file, whole[0] + whole[1])
    units = read_drives(out)
    return {unit: drives for unit, drives in units.items() if all(one["id"] in dataset for one in drives)}


def _expect_same(config: CollectConfig, out: Path) -> None:
    """Raises CollectError when the folder's drives come from other settings, `hours` aside."""
    file = out / "collect.json"
    if not file.exists():
        index = out / "index.jsonl"
        if index.exists() and index.stat().st_size:
            raise CollectError(f"{out} holds drives of another origin: choose another folder for --out")
        return
    before, now = json.loads(file.read_text(encoding="utf-8")), json.loads(_json(config_to_json(config)))
    differ = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if differ and differ != ["hours"]:
        what = ", ".join(f"{name} {before.get(name)}" for name in differ if name != "hours")
        raise CollectError(f"{out} was gathered with {what}: give the same settings, or another --out")


def _rates(job: _Job) -> dict[str, float]:
    """Events an hour so far, by the robots' own sensors."""
    steps, seen = 0, Counter[str]()
    for drive in itertools.chain(*job.units.values(), *job.open.values()):
        steps += drive["steps"]
        seen.update(drive["manoeuvres"])
        seen["rescue"] += bool(drive["rescue"])
    hours = steps * STEP_SECONDS / 3600
    names = ("collision", "stuck", "rescue")
    return {f"{name}/h": seen[name] / hours for name in names} if hours else {}


def _totals(drives: Iterable[Mapping[str, Any]]) -> Counter[str]:
    total = Counter[str]()
    names = ["steps", "resetting", "metres", *EVENTS, *(f"{name}_begins" for name in EVENTS)]
    for drive in drives:
        total.update({name: drive[name] for name in names})
    return total


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
