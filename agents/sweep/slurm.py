"""Tasks as Slurm jobs, through submitit: one job a task."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.sweep.task import Outcome, Said, Task, TaskError, perform
from agents.sweep.version import our_version


class SlurmExecutor:
    """At most `slots` jobs queued or running. folder: for submitit's scripts, logs and results, on a disk
    that all nodes see.

    cluster: "slurm"; "local" runs the same jobs as processes of this machine. settings: of submitit's
    AutoExecutor, such as slurm_partition, timeout_min, mem_gb. Jobs go on when the driver dies.
    """

    def __init__(
        self,
        folder: Path,
        slots: int = 16,
        cluster: str = "slurm",
        settings: Mapping[str, Any] | None = None,
        poll_seconds: float = 0.2,
    ) -> None:
        try:
            import submitit
        except ImportError:
            raise TaskError("Slurm needs submitit: pip install 'surefoot[sweep]'") from None
        self.slots, self._poll_seconds = slots, poll_seconds
        try:
            self._executor = submitit.AutoExecutor(folder=folder / "submitit", cluster=cluster)
            self._executor.update_parameters(name="surefoot", **(settings or {}))
        except (RuntimeError, NameError, TypeError, OSError) as error:
            hint = "start it where sbatch is, or take another executor"
            raise TaskError(f"Slurm cannot be used here: {error}; {hint}") from error
        self._uncompleted: type[Exception] = submitit.core.utils.UncompletedJobError
        self._jobs: list[tuple[Task, Any]] = []

    def start(self, task: Task) -> None:
        job = self._executor.submit(perform, task.function, dict(task.arguments), our_version())
        self._jobs.append((task, job))

    def wait(self, seconds: float) -> list[Outcome]:
        deadline = time.monotonic() + seconds
        while True:
            done = [pair for pair in self._jobs if pair[1].done()]
            if done or time.monotonic() >= deadline:
                break
            time.sleep(min(self._poll_seconds, seconds))
        self._jobs = [pair for pair in self._jobs if pair not in done]
        return [self._outcome(*pair) for pair in done]

    def close(self) -> None:
        for _, job in self._jobs:
            job.cancel(check=False)
        self._jobs.clear()

    def _outcome(self, task: Task, job: Any) -> Outcome:
        try:
            said: Said = job.result()
        except self._uncompleted as error:  # it ended without a result: killed, or its node failed
            return Outcome(task, error=f"job {job.job_id}: {error}", lost=True)
        except Exception as error:
            return Outcome(task, error=f"job {job.job_id}: {error}")
        return Outcome(task, said.value, said.error, node=said.node)
