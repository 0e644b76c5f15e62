"""Optuna's part of a sweep: which values to try next, and which trials are hopeless.

A study asks for values and is told what came of them. Its trials live in its storage; those that a killed
driver left unfinished are gone on with, under the same content and so in the same folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agents.results import finite, series
from agents.sweep.spec import Range, SearchConfig
from agents.sweep.task import TaskError, digest
from agents.sweep.trials import Trial

Curve = tuple[list[float], list[float]]


@dataclass
class Attempt:
    """One of Optuna's trials: the same values with every seed."""

    handle: Any
    trials: list[Trial]
    summaries: dict[str, Any] = field(default_factory=dict)
    """{key of a trial: its summary}"""
    reported: float = -math.inf
    """step up to which Optuna knows the curve"""
    over: bool = False


class Search:
    """One study. base: the trials, one a seed, to which it adds values."""

    def __init__(self, config: SearchConfig, base: Sequence[Trial], folder: Path) -> None:
        self.config, self.base = config, list(base)
        try:
            import optuna
        except ImportError:
            raise TaskError("a search needs Optuna: pip install 'surefoot[sweep]'") from None
        self._optuna = optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        name = f"{folder.resolve().name}-{digest([trial.to_json() for trial in base])}"
        try:
            self._storage = _storage(optuna, config.storage, folder)
            self.study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                direction=config.direction,
                load_if_exists=True,
                pruner=self._pruner(),
            )
        except Exception as error:  # each database raises its own
            raise TaskError(f"Optuna's storage cannot be used: {str(error).splitlines()[0]}") from error
        self.attempts: dict[int, Attempt] = {}

    def close(self) -> None:
        """Lets go of the database."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def ask(self) -> Iterator[Trial]:
        """Trials to run, each made when it is asked for: first those that were left unfinished."""
        states = self._optuna.trial.TrialState
        left = self.study.get_trials(deepcopy=False, states=(states.RUNNING,))
        for frozen in left:
            yield from self._run(self._optuna.trial.Trial(self.study, frozen._trial_id))
        while len(self.study.get_trials(deepcopy=False)) < self.config.trials:
            # Of each its own, so that going on after a kill asks as if there had been none.
            self.study.sampler = self._sampler(len(self.study.get_trials(deepcopy=False)))
            yield from self._run(self.study.ask())

    def tell(self, trial: Trial, summary: Any) -> None:
        """What came of a trial; None: it failed. The last seed of an attempt ends it."""
        attempt = self._attempt(trial)
        if attempt is None or attempt.over:
            return
        attempt.summaries[trial.key] = summary
        values = [metric(one, self.config.metric) for one in attempt.summaries.values()]
        if any(value is None for value in values):
            self._end(attempt, None, self._optuna.trial.TrialState.FAIL)
        elif len(values) == len(attempt.trials):
            self._end(attempt, float(np.mean([value for value in values if value is not None])))

    def watch(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Trial]:
        """The trials to be ended early. rows: {key of a trial: its metrics.jsonl so far}."""
        if not self.config.watch:
            return []
        hopeless: list[Trial] = []
        for attempt in self.attempts.values():
            curves = [series(rows.get(trial.key, ()), self.config.watch) for trial in attempt.trials]
            if attempt.over or not all(curve[0] for curve in curves):
                continue
            for step, value in mean_curve(curves):
                if step > attempt.reported:
                    attempt.handle.report(value, int(step))
                    attempt.reported = step
            if attempt.handle.should_prune():
                self._end(attempt, None, self._optuna.trial.TrialState.PRUNED)
                hopeless += attempt.trials
        return hopeless

    def best(self) -> dict[str, Any] | None:
        """Values and mean metric of the best attempt; None before there is one."""
        done = self.study.get_trials(deepcopy=False, states=(self._optuna.trial.TrialState.COMPLETE,))
        if not done:
            return None
        best = self.study.best_trial
        return {"values": dict(best.params), self.config.metric: best.value, "number": best.number}

    def states(self) -> dict[str, int]:
        """How many attempts are complete, pruned, failed."""
        names = [trial.state.name.lower() for trial in self.study.get_trials(deepcopy=False)]
        return {name: names.count(name) for name in sorted(set(names))}

    def _run(self, handle: Any) -> Iterator[Trial]:
        found = {name: _suggest(handle, name, one) for name, one in self.config.parameters.items()}
        trials = [Trial(base.command, base.env, base.seed, {**base.values, **found}) for base in self.base]
        attempt = self.attempts[handle.number] = Attempt(handle, trials)
        for trial in trials:
            if not attempt.over:
                yield trial

    def _attempt(self, trial: Trial) -> Attempt | None:
        holds = (one for one in self.attempts.values() if not one.over and trial in one.trials)
        return next(holds, None)

    def _end(self, attempt: Attempt, value: float | None, state: Any = None) -> None:
        attempt.over = True
        self.study.tell(attempt.handle, value, state=state)

    def _sampler(self, number: int) -> Any:
        seed = int(np.random.SeedSequence([self.config.seed, number]).generate_state(1)[0])
        if self.config.sampler == "random":
            return self._optuna.samplers.RandomSampler(seed=seed)
        return self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(1, self.config.startup))

    def _pruner(self) -> Any:
        if self.config.pruner == "halving":
            return self._optuna.pruners.SuccessiveHalvingPruner()
        return self._optuna.pruners.MedianPruner(n_startup_trials=self.config.startup)


def metric(summary: Any, name: str) -> float | None:
    """A number of a summary, by a name with dots; None where it is missing or not finite."""
    for part in name.split("."):
        summary = summary.get(part) if isinstance(summary, Mapping) else None
    return finite(summary)


def mean_curve(curves: Sequence[Curve]) -> list[tuple[float, float]]:
    """(step, mean over the curves) at every step that all of them have reached, interpolated between."""
    last = min(x[-1] for x, _ in curves)
    first = max(x[0] for x, _ in curves)
    steps = sorted({step for x, _ in curves for step in x if first <= step <= last})
    values = np.mean([np.interp(steps, x, y) for x, y in curves], axis=0) if steps else []
    return list(zip(steps, (float(value) for value in values), strict=True))


def _suggest(handle: Any, name: str, one: Range) -> Any:
    if one.choices:
        return handle.suggest_categorical(name, list(one.choices))
    ends = [value for value in (one.low, one.high, one.step) if value is not None]
    if all(isinstance(value, int) for value in ends):
        return handle.suggest_int(name, one.low, one.high, log=one.log, step=one.step or 1)
    return handle.suggest_float(name, one.low, one.high, log=one.log, step=one.step)


def _storage(optuna: Any, url: str, folder: Path) -> Any:
    if not url:
        url = f"sqlite:///{(folder / 'optuna.db').resolve()}"
    for name in ("postgresql://", "postgres://"):
        if url.startswith(name):
            url = f"postgresql+psycopg://{url.removeprefix(name)}"
    # A driver that lost its connection for a moment connects again.
    options = {"pool_pre_ping": True}
    return optuna.storages.RDBStorage(url, engine_kwargs=options)
