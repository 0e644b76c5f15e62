"""Keeps an executor busy: never more tasks under way than it has slots, and what was lost again."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator

from agents.sweep.task import Executor, Outcome, Task

logger = logging.getLogger(__name__)

RETRIES = 3
"""times that a task is started again after its process or machine was lost"""


def run_tasks(
    tasks: Iterable[Task], executor: Executor, *, retries: int = RETRIES, poll_seconds: float = 1.0
) -> Iterator[Outcome | None]:
    """What came of each task, as it comes, and None when nothing came for a while.

    tasks: taken one by one, when there is a slot for them: what waits is not made yet. A task that is lost
    more than `retries` times has failed.
    """
    waiting, again = iter(tasks), deque[Task]()
    under_way, lost = 0, dict[str, int]()
    while True:
        while under_way < executor.slots:
            task = again.popleft() if again else next(waiting, None)
            if task is None:
                break
            executor.start(task)
            under_way += 1
        if not under_way:
            return
        came = executor.wait(poll_seconds)
        for outcome in came:
            under_way -= 1
            key = outcome.task.key
            if outcome.lost and lost.get(key, 0) < retries:
                lost[key] = lost.get(key, 0) + 1
                logger.warning("%s is started again (%d of %d): %s", key, lost[key], retries, outcome.error)
                again.append(outcome.task)
                time.sleep(min(0.1 * 2 ** lost[key], 5.0))  # what ended it may go on for a moment
            else:
                yield outcome
        if not came:
            yield None
