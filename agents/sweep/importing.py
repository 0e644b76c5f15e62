"""Importing recorded drives as tasks: one bag a task, named by its content.

A worker makes a piece of its bag, a dataset of its own in <out>/.pieces/<key>, which is there whole or not at
all. The driver alone writes the dataset: it adds the pieces in the order in which the bags were given, so
that who imported changes no byte. A driver that dies loses nothing: pieces and what was added stay. All
nodes must see the bags and `out`.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.progress import Progress
from agents.sweep.queue import run_tasks
from agents.sweep.task import Executor, Task, digest
from envs.dataset import EpisodeDataset
from envs.files import sync_folder, write_durably

PIECES, DONE = ".pieces", ".tasks"
ENDS = 1 << 20
"""bytes at a file's beginning and end by which it is known again"""

Report = dict[str, Any]


@dataclass
class Imported:
    """reports: of each bag that is in now, in the order given. failed: {bag: why}, of which nothing is."""

    reports: list[Report] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def import_by_tasks(
    bags: Sequence[Path],
    out: Path,
    settings: Mapping[str, Any],
    executor: Executor,
    function: str,
    *,
    quiet: bool = False,
) -> Imported:
    """Adds the drives of these bags to the dataset at `out`.

    function: "module:name" of what imports one bag, called with `bag`, `out` and the settings, which are
    JSON; it returns the report, raises TaskError for a bag that cannot be used, and leaves the report in
    out/imports. Bags that fail do not stop the others, and the same call tries them again. Raises
    FileNotFoundError for a bag that is not there, DatasetLockedError when another process writes at `out`.
    """
    tasks = {str(bag): _task(bag, out.resolve(), settings, function) for bag in bags}
    done = Imported()
    with (
        EpisodeDataset(out, durable=False) as dataset,
        Progress("bags", len(tasks), quiet=quiet) as progress,
    ):
        for bag, report, error in _in_order(tasks, dataset, executor):
            if error:
                done.failed[bag] = error
                progress.say(f"{bag}: {error}")
            else:
                done.reports.append(report)
            progress.update(len(done.reports) + len(done.failed))
        if not done.failed:
            shutil.rmtree(dataset.path / PIECES, ignore_errors=True)  # also of attempts that were killed
    return done


def import_piece(bag: str, piece: str, settings: Mapping[str, Any], function: str) -> None:
    """On the worker: makes the piece of a bag, unless it is there."""
    target = Path(piece)
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}-") as attempt:
        made = Path(attempt) / "piece"
        _function(function)(bag=bag, out=str(made), **settings)
        sync_folder(made)
        try:
            made.rename(target)
        except OSError:
            if not target.exists():  # an attempt that was taken for lost has made the same
                raise
    sync_folder(target.parent)


def _task(bag: Path, out: Path, settings: Mapping[str, Any], function: str) -> Task:
    """Named by what is imported and how, not by where it lies."""
    files = sorted(bag.glob("*.mcap")) if bag.is_dir() else [bag]
    if not bag.exists():
        raise FileNotFoundError(f"there is no bag {bag}: give a folder that `surefoot robot record` wrote")
    name = bag.resolve().name
    key = digest([name, [_known_by(file) for file in files], dict(settings), function])
    arguments = {
        "bag": str(bag.resolve()), "piece": str(out / PIECES / key), "settings": dict(settings),
        "function": function,
    }  # fmt: skip
    return Task(key, "agents.sweep.importing:import_piece", arguments)


def _known_by(file: Path) -> list[Any]:
    """Name, size and both ends: cheap for large files."""
    size, found = file.stat().st_size, hashlib.sha256()
    with file.open("rb") as stream:
        found.update(stream.read(ENDS))
        stream.seek(max(size - ENDS, 0))
        found.update(stream.read(ENDS))
    return [file.name, size, found.hexdigest()]


def _in_order(
    tasks: Mapping[str, Task], dataset: EpisodeDataset, executor: Executor
) -> Iterator[tuple[str, Report, str]]:
    """(bag, report, why it failed) in the order given; pieces that are ready earlier wait on the disk."""
    known = {task.key: _known(task, dataset) for task in tasks.values()}
    waiting = {task.key: task for task in tasks.values() if known[task.key] is None}
    ended: dict[str, str] = {}
    left = list(tasks.items())
    for outcome in itertools.chain([None], run_tasks(waiting.values(), executor)):
        if outcome is not None:
            ended[outcome.task.key] = outcome.error
        while left:
            bag, task = left[0]
            if (report := known[task.key]) is not None:
                yield bag, report | {"added": 0, "again": True}, ""
            elif task.key not in ended:
                break
            elif ended[task.key]:
                yield bag, {}, ended[task.key]
            else:
                known[task.key] = report = _add(task, dataset)
                yield bag, report, ""
            left.pop(0)


def _add(task: Task, dataset: EpisodeDataset) -> Report:
    """Takes a piece into the dataset. Killed in between, the next call goes on, and adds nothing twice."""
    piece, before = Path(task.arguments["piece"]), len(dataset)
    with EpisodeDataset(piece, read_only=True, check=True) as made:
        for id in made.ids:
            dataset.append(made[id])
    dataset.flush()
    (file,) = (piece / "imports").glob("*.json")
    report: Report = json.loads(file.read_text(encoding="utf-8")) | {"added": len(dataset) - before}
    imports = dataset.path / "imports"
    imports.mkdir(exist_ok=True)
    (imports / DONE).mkdir(exist_ok=True)
    write_durably(imports / file.name, (json.dumps(report, indent=2) + "\n").encode())
    write_durably(imports / DONE / task.key, file.name.encode())
    shutil.rmtree(piece)
    return report


def _known(task: Task, dataset: EpisodeDataset) -> Report | None:
    """The report of an earlier import by the same task, if all its drives are there."""
    imports = dataset.path / "imports"
    try:
        name = (imports / DONE / task.key).read_text(encoding="utf-8")
        report: Report = json.loads((imports / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if all(id in dataset for id in report["episodes"]) else None


def _function(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return found
