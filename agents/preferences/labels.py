"""The answers of a run on disk: one JSON line each, durable before anything uses it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.preferences.comparison import Comparison, Query, Retraction
from envs.episode import Clip
from envs.files import sync_folder

logger = logging.getLogger(__name__)


class LabelLogError(ValueError):
    """A label file that cannot be read; the message names file and line."""


class LabelLog:
    """An append-only file of comparisons, read back in order; one process writes it.

    Holds the answers that stand: a retraction is a line of its own that names the one it takes back.
    `append` returns when the answer is on the disk. A last line that a crash cut short is dropped
    with a warning; a bad line before it raises LabelLogError. When an append fails, as on a full
    disk, what was in the file stays and the log can be used on.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._standing: dict[str, Comparison] = {}  # by the answer's id, in order
        self._by_query: dict[str, Comparison] = {}
        self._taken_back: set[str] = set()
        new = not self.path.exists()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._size = self._read()
        except LabelLogError:
            os.close(self._file)
            raise
        if new:
            sync_folder(self.path.parent)

    def __len__(self) -> int:
        return len(self._standing)

    def __iter__(self) -> Iterator[Comparison]:
        return iter(list(self._standing.values()))

    def __contains__(self, query_id: object) -> bool:
        return query_id in self._by_query

    def get(self, query_id: str) -> Comparison | None:
        """The last answer to a query."""
        return self._by_query.get(query_id)

    def was_given(self, label: str) -> bool:
        """Whether an answer of this id was ever written, taken back or not."""
        return label in self._standing or label in self._taken_back

    def append(self, comparison: Comparison) -> None:
        """Writes an answer to the disk. Raises OSError when that fails; the log then lacks it."""
        self._write(comparison_to_json(comparison))
        self._remember(comparison)

    def retract(self, retraction: Retraction) -> Comparison:
        """Writes that an answer was taken back; returns that answer. Raises KeyError where none stands."""
        taken_back = self._standing[retraction.label]
        self._write({"retracts": retraction.label})
        self._forget(retraction)
        return taken_back

    def _write(self, row: dict[str, Any]) -> None:
        line = (json.dumps(row, separators=(",", ":")) + "\n").encode()
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)  # no half line may stay before the next one
            raise
        self._size += len(line)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _remember(self, comparison: Comparison) -> None:
        self._standing[comparison.id] = comparison
        self._by_query[comparison.query.id] = comparison

    def _forget(self, retraction: Retraction) -> None:
        query = self._standing.pop(retraction.label).query.id
        self._taken_back.add(retraction.label)
        del self._by_query[query]
        for comparison in self._standing.values():  # of other people, oldest first
            if comparison.query.id == query:
                self._by_query[query] = comparison

    def _read(self) -> int:
        """Takes in the file and cuts off a torn tail; returns the size of what is sound."""
        content = self.path.read_bytes()
        size = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:size].splitlines(), start=1):
            try:
                row = json.loads(line)
                if "retracts" in row:
                    self._forget(Retraction(str(row["retracts"])))
                else:
                    self._remember(comparison_from_json(row))
            except (ValueError, KeyError, TypeError) as error:
                raise LabelLogError(
                    f"{self.path}, line {number}: not an answer ({type(error).__name__}: {error}). "
                    "Restore the file, or move that line elsewhere: all other lines are sound on their own"
                ) from error
        if size < len(content):
            logger.warning(
                "%s: dropped an unfinished last line of %d bytes; %d answers are kept",
                self.path,
                len(content) - size,
                len(self),
            )
            os.ftruncate(self._file, size)
            os.fsync(self._file)
        return size


def comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    """A flat JSON object; the query's id is in it for people and other programs."""
    query = comparison.query
    return {
        "query": query.id,
        "index": query.index,
        "left": [query.left.episode, query.left.start, query.left.length],
        "right": [query.right.episode, query.right.start, query.right.length],
        "chosen_by": query.chosen_by,
        "score": query.score,
        "reward_version": query.reward_version,
        "step": query.step,
        "answer": comparison.answer,
        "labeller": comparison.labeller,
        "seconds": comparison.seconds,
        **({"label": comparison.label} if comparison.label else {}),
    }


def comparison_from_json(row: dict[str, Any]) -> Comparison:
    """The inverse; raises ValueError, KeyError or TypeError for anything else."""
    query = Query(
        index=int(row["index"]),
        left=Clip(*row["left"]),
        right=Clip(*row["right"]),
        chosen_by=str(row["chosen_by"]),
        score=float(row["score"]),
        reward_version=int(row["reward_version"]),
        step=int(row["step"]),
    )
    if query.id != row["query"]:
        raise ValueError(f"the clips belong to query {query.id}, the line says {row['query']}")
    label = str(row.get("label", ""))
    return Comparison(query, row["answer"], str(row["labeller"]), float(row["seconds"]), label)
