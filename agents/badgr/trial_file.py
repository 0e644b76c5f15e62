"""Trials in a folder, one line each: what a killed evaluation has finished, it does not drive again.

trials.jsonl   {"cell": ..., "settings": {...}} once a cell, then {"cell": ..., "number": ..., ...} a trial
tracks.jsonl   {"cell": ..., "number": ..., "track": [[x, y], ...]} m
"""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.trials import Trial
from agents.run_lock import lock_run

Array = NDArray[Any]

Row = dict[str, Any]
_KEPT = tuple(field.name for field in fields(Trial) if field.name != "track")


class TrialFile:
    """A folder of trials, open for one process. A context manager."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = lock_run(folder)
        self.folder = folder
        self._trials, self._tracks = (_whole(folder / name) for name in ("trials.jsonl", "tracks.jsonl"))
        self._cells = {row["cell"] for row in read_rows(folder / "trials.jsonl") if "settings" in row}

    def __enter__(self) -> TrialFile:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._trials, self._tracks, self._lock):
            stream.close()

    def done(self, cell: str) -> set[int]:
        """Numbers of the trials of a cell that were driven."""
        return {row["number"] for row in trial_rows(self.folder, cell)}

    def add(self, cell: str, settings: dict[str, Any], trial: Trial) -> None:
        """The track first: a trial that counts as driven has its track."""
        track = np.round(trial.track, 2).tolist()
        _append(self._tracks, {"cell": cell, "number": trial.number, "track": track})
        if cell not in self._cells:
            _append(self._trials, {"cell": cell, "settings": settings})
            self._cells.add(cell)
        _append(self._trials, {"cell": cell, **trial_row(trial)})


def trial_row(trial: Trial) -> Row:
    """A trial as JSON takes it, without its track."""
    row = {name: getattr(trial, name) for name in _KEPT}
    rounded = {name: round(value, 4) for name, value in row.items() if isinstance(value, float)}
    return {**row, **rounded, "act_ms": [round(one, 2) for one in trial.act_ms], "spl": round(trial.spl, 4)}


def trial_rows(folder: Path, cell: str) -> list[Row]:
    """The trials of a cell in the order of their numbers."""
    rows = {r["number"]: r for r in read_rows(folder / "trials.jsonl") if r["cell"] == cell and "number" in r}
    return [rows[number] for number in sorted(rows)]


def tracks(folder: Path, cell: str) -> dict[int, Array]:
    """{number: (T + 1, 2) m} of a cell."""
    rows = read_rows(folder / "tracks.jsonl")
    return {row["number"]: np.array(row["track"]) for row in rows if row["cell"] == cell}


def read_rows(path: Path) -> list[Row]:
    """Every whole line. Raises ValueError for a file of something else."""
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().rpartition(b"\n")[0].splitlines(), start=1):
        try:
            row = json.loads(line)
            rows.append({**row, "cell": str(row["cell"])})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {number}, is no trial ({error}): choose another folder, or remove the line"
            ) from error
    return rows


def _whole(path: Path) -> IO[bytes]:
    """Opened to append to, cut behind its last whole line: a kill may have torn one."""
    stream = path.open("a+b", buffering=0)
    stream.seek(0)
    stream.truncate(stream.read().rfind(b"\n") + 1)
    return stream


def _append(stream: IO[bytes], row: Row) -> None:
    line = json.dumps(row).encode() + b"\n"
    if stream.write(line) != len(line):
        raise OSError(f"could not write {stream.name}: the disk is full; free some space and start again")
    os.fsync(stream.fileno())
