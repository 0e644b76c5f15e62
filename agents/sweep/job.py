"""`surefoot sweep`: runs all trials of a sweep, on whatever executor, and goes on where it was stopped.

<sweep>/sweep.json   what is varied; written before anything else happens
        trials/<key>/  see agents.sweep.trial
        optuna.db    of a search, unless it is kept in PostgreSQL
        results.json one line of facts a trial, and the best values of a search
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.configs import config_from_json, config_to_json
from agents.interrupts import RunStopped, StopSignal
from agents.progress import Progress
from agents.run_lock import RunError, lock_run
from agents.sweep.executors import ExecutorConfig, open_executor
from agents.sweep.queue import run_tasks
from agents.sweep.search import Search
from agents.sweep.spec import SweepConfig
from agents.sweep.task import Executor, Outcome, Task
from agents.sweep.trial import STOP, read_result
from agents.sweep.trials import Trial, groups, trials
from envs.files import write_durably

logger = logging.getLogger(__name__)

SPEC, RESULTS = "sweep.json", "results.json"


@dataclass
class _Job:
    """What is known of a sweep so far."""

    folder: Path
    trials: dict[str, Trial] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def place(self, trial: Trial) -> Path:
        return (self.folder / "trials" / trial.key).resolve()

    def task(self, trial: Trial) -> Task:
        self.trials[trial.key] = trial
        arguments = {
            "folder": str(self.place(trial)), "words": trial.words, "about": trial.to_json(),
            "cwd": str(Path.cwd()),
        }  # fmt: skip
        return Task(trial.key, "agents.sweep.trial:run_trial", arguments)

    def take(self, outcome: Outcome) -> Trial:
        trial = self.trials[outcome.task.key]
        if outcome.error:
            self.failed[trial.key] = outcome.error
            logger.error("%s failed: %s", trial.name, outcome.error)
        else:
            self.results[trial.key] = {**outcome.value, "node": outcome.node}
        return trial


def sweep(
    config: SweepConfig, folder: Path, executor: ExecutorConfig | Executor, *, quiet: bool = False
) -> dict[str, Any]:
    """Runs what is not finished yet, and returns the content of results.json.

    Failed trials are told of and do not stop the others; the next call tries them again. Raises RunError when
    the folder holds another sweep or another process works on it, RunStopped after Ctrl-C.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock_run(folder), StopSignal() as stop, contextlib.ExitStack() as opened:
        _expect_same(config, folder)
        write_durably(folder / SPEC, _json(config_to_json(config)))
        job = _Job(folder)
        searches = _searches(config, folder)
        for search in searches:
            opened.callback(search.close)
        waiting = _unfinished(job, trials(config)) if not searches else []
        total = len(trials(config)) * (config.search.trials if config.search else 1)
        progress = opened.enter_context(Progress("sweep", total, done=len(job.results), quiet=quiet))
        if waiting or searches:
            workers = (
                executor if not isinstance(executor, ExecutorConfig) else open_executor(executor, folder)
            )
            opened.callback(workers.close)
            sources: list[Search | None] = [*searches] or [None]
            for source in sources:
                asked = source.ask() if source else iter(waiting)
                for outcome in run_tasks((job.task(one) for one in asked), workers):
                    _take(job, source, outcome, progress)
                    if stop.asked:
                        raise RunStopped(_stopped(job, total))
        return _finish(config, job, searches)


def read_trials(folder: Path) -> list[Path]:
    """The runs of a sweep's trials that went to their end."""
    found = [
        (file.parent, read_result(file.parent.parent)) for file in folder.glob("trials/*/run/config.json")
    ]
    return sorted(run for run, result in found if result is not None and result["state"] == "done")


def read_spec(folder: Path) -> SweepConfig:
    """Of a sweep's folder. Raises ConfigError for what is none."""
    return config_from_json(json.loads((folder / SPEC).read_text(encoding="utf-8")), SweepConfig, str(folder))


def is_sweep(folder: Path) -> bool:
    return (folder / SPEC).is_file()


def _take(job: _Job, search: Search | None, outcome: Outcome | None, progress: Progress) -> None:
    if outcome is not None:
        trial = job.take(outcome)
        done = job.results.get(trial.key)
        if search is not None:
            search.tell(trial, None if done is None else done["summary"])
        if outcome.error:
            progress.say(f"{trial.name} failed: {outcome.error}")
        progress.update(len(job.results) + len(job.failed), failed=len(job.failed))
    elif search is not None:
        for hopeless in search.watch(dict(_curves(job))):
            place = job.place(hopeless)
            if read_result(place) is None:
                place.mkdir(parents=True, exist_ok=True)
                (place / STOP).touch()


def _curves(job: _Job) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """metrics.jsonl of the trials so far, whole lines only."""
    for key, trial in job.trials.items():
        file = job.place(trial) / "run" / "metrics.jsonl"
        if key not in job.failed and file.exists():
            yield key, [json.loads(line) for line in file.read_bytes().rpartition(b"\n")[0].splitlines()]


def _searches(config: SweepConfig, folder: Path) -> list[Search]:
    return [Search(config.search, group, folder) for group in groups(config)] if config.search else []


def _unfinished(job: _Job, every: list[Trial]) -> list[Trial]:
    """Those to run; the others' results are taken in."""
    waiting = []
    for trial in every:
        job.trials[trial.key] = trial
        known = read_result(job.place(trial))
        if known is None:
            waiting.append(trial)
        else:
            job.results[trial.key] = known
    return waiting


def _finish(config: SweepConfig, job: _Job, searches: list[Search]) -> dict[str, Any]:
    rows = [
        {
            "key": trial.key, "name": trial.name,
            "state": job.results[trial.key]["state"] if trial.key in job.results else "failed",
            **trial.to_json(), "error": job.failed.get(trial.key, ""),
            "node": job.results.get(trial.key, {}).get("node", ""),
        }
        for trial in job.trials.values()
    ]  # fmt: skip
    states = [str(row["state"]) for row in rows]
    content: dict[str, Any] = {
        "trials": len(rows), **{state: states.count(state) for state in ("done", "pruned", "failed")},
        "rows": rows,
    }  # fmt: skip
    if config.search:
        content["searches"] = [
            {**one.base[0].to_json(), "attempts": one.states(), "best": one.best()} for one in searches
        ]
    write_durably(job.folder / RESULTS, _json(content))
    return content


def _stopped(job: _Job, total: int) -> str:
    return (
        f"stopped after {len(job.results)} of {total} trials; runs save themselves: give the same command "
        f"to go on in {job.folder}"
    )


def _expect_same(config: SweepConfig, folder: Path) -> None:
    """More seeds, envs, commands or grid points add to a sweep; another search is another sweep."""
    if not is_sweep(folder):
        if (folder / "run.json").exists():
            raise RunError(f"{folder} is a run: choose another folder for --out")
        return
    before = read_spec(folder)
    if before.search != config.search:
        raise RunError(f"{folder} holds another search: give the same one, or another --out")


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
