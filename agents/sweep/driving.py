"""Gathering experience as tasks: one unit of work, some simulated rovers for a minute, a task.

The drives come back to the one process that writes the dataset. As with worker processes, who drove changes
no byte of them.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from agents.badgr.collect_config import CollectConfig
from agents.badgr.collect_drive import Drive, Fleet
from agents.badgr.collect_workers import Done, Driven, WorkerError
from agents.configs import config_from_json, config_to_json
from agents.sweep.queue import run_tasks
from agents.sweep.task import Executor, Task, digest


class TaskFleet:
    """Does what agents.badgr.collect_workers.Workers does, on any executor, which it closes at its end."""

    def __init__(self, config: CollectConfig, executor: Executor) -> None:
        self._config, self._executor = config, executor
        self.nodes: Counter[str] = Counter()
        """{where: units that were driven there}"""

    def __enter__(self) -> TaskFleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.close()

    def run(self, units: Iterator[int]) -> Iterator[Drive | Driven | Done | None]:
        """All drives of a unit after another, None when nothing came for a while. At most as many units are
        under way as the executor has slots. Raises WorkerError when one fails."""
        for outcome in run_tasks((unit_task(self._config, unit) for unit in units), self._executor):
            if outcome is None:
                yield None
                continue
            if outcome.error:
                raise WorkerError(f"unit {outcome.task.arguments['unit']} failed: {outcome.error}")
            self.nodes[outcome.node] += 1
            yield from outcome.value
            yield Driven(round(self._config.unit_hours * 3600 / 0.25))
            yield Done(int(outcome.task.arguments["unit"]))


def unit_task(config: CollectConfig, unit: int) -> Task:
    """The task that drives a unit; of the same name wherever the same is driven."""
    content = config_to_json(config)
    # How much is driven in all changes no unit.
    key = digest([{name: value for name, value in content.items() if name != "hours"}, unit])
    return Task(key, "agents.sweep.driving:drive_unit", {"config": content, "unit": unit})


def drive_unit(config: Mapping[str, Any], unit: int) -> list[Drive]:
    """The drives of a unit, in the order in which they end."""
    return list(_fleet(json.dumps(config, sort_keys=True)).drives(unit))


@functools.lru_cache(maxsize=1)
def _fleet(config: str) -> Fleet:
    """One for a process: its rovers take a second to make."""
    return Fleet(config_from_json(json.loads(config), CollectConfig))
