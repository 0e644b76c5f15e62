"""Every environment by its name, alone or many at once; simulators are imported when asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias, cast

import gymnasium
import numpy as np

from envs.batch import BatchEnv
from envs.sync_batch import SyncBatch
from envs.tasks import ENVIRONMENTS, UnknownEnvironmentError, task_info

__all__ = [
    "ENVIRONMENTS",
    "HABITAT",
    "Backend",
    "MissingExtraError",
    "UnknownEnvironmentError",
    "available_backends",
    "fastest_backend",
    "make",
    "make_vec",
    "measure_backends",
]

Backend: TypeAlias = Literal["auto", "native", "sync", "envpool"]
Env: TypeAlias = gymnasium.Env[Any, Any]

HABITAT = ("habitat:Rooms", "habitat:Scenes")
"""PointNav in Habitat-Lab: in our rooms, and in habitat-sim's test scenes. They are nobody's task for
comparing clips, so they have no preference variant; observations come by name."""


class MissingExtraError(ImportError):
    """A simulator is not installed; the message has the pip line."""


@dataclass(frozen=True)
class Family:
    """How the environments of one family are made. The functions import their simulator."""

    make_one: Callable[[str, bool, str | None], Env]
    """task, preferences, render_mode"""
    make_native: Callable[[str, int, int, bool, int | None], BatchEnv]
    """task, copies, seed, preferences, threads"""
    native_available: Callable[[], bool] = lambda: True


def make(
    name: str, *, seed: int | None = None, preferences: bool = False, render_mode: str | None = None
) -> Env:
    """One environment: `make("mujoco:Hopper")`, `make("atari:Pong", preferences=True)`.

    seed: the first `reset()` without a seed of its own draws from it, as does the action space.
    preferences: the variant for learning from comparisons: episodes of constant length, no
    termination, reward 0; the true reward is in info["true_reward"] of both variants.
    Raises UnknownEnvironmentError with the nearest names, MissingExtraError with the pip line,
    envs.habitat_process.HabitatMissingError with the command that sets Habitat up.
    """
    if name.startswith("habitat:"):
        env = _habitat(name, preferences, render_mode)
    else:
        task, family = _look_up(name)
        with _needs_extra(name):
            env = family.make_one(task, preferences, render_mode)
    if seed is not None:
        env.reset(seed=seed)
        env.action_space.seed(seed)
    return env


def make_vec(
    name: str,
    n: int,
    seed: int,
    *,
    preferences: bool = False,
    backend: Backend = "auto",
    threads: int | None = None,
) -> BatchEnv:
    """N copies of an environment, copy i seeded with seed + i; equal to `make` step for step.

    backend: "auto" takes `fastest_backend`; "native" the simulator's own batch; "sync" gymnasium
    environments one after the other; "envpool" EnvPool's, whose trajectories are its own.
    threads: of the native back-ends; None for the cores this process may use.
    Of Habitat each copy is a process, and observations are {name: (N, ...)}: see envs.habitat_batch.
    """
    if n < 1:
        raise ValueError(f"a batch needs at least one copy, got n={n}")
    if name.startswith("habitat:"):
        return _habitat_batch(name, n, seed, preferences, backend)
    task, family = _look_up(name)
    chosen = fastest_backend(task_info(name).family) if backend == "auto" else backend
    with _needs_extra(name):
        if chosen == "native":
            if not family.native_available():
                raise MissingExtraError(
                    f"{name}: this MuJoCo is older than 3.17 and steps no batches; "
                    'pip install -U "surefoot[sim]", or backend="sync"'
                )
            return family.make_native(task, n, seed, preferences, threads)
        if chosen == "sync":
            return SyncBatch(partial(family.make_one, task, preferences, None), n, seed)
        if chosen == "envpool":
            return _make_envpool(name, n, seed, preferences, threads)
    raise ValueError(f'expected the backend "auto", "native", "sync" or "envpool", got {backend!r}')


def fastest_backend(family: str) -> Backend:
    """The back-end that `make_vec` takes for a family: the fastest of those that equal `make`.

    `_NATIVE_OVER_SYNC` has the measurement; `measure_backends` repeats it on this machine. EnvPool is
    left out whatever it measures: its trajectories are not those of `make`, and it has no
    preference variants.
    """
    native = _FAMILIES[family].native_available() and _NATIVE_OVER_SYNC[family] > 1
    return "native" if native else "sync"


def available_backends(name: str) -> tuple[Backend, ...]:
    """Back-ends of an environment's standard variant on this machine."""
    from envs import envpool_batch

    task, family = _look_up(name)
    backends: list[Backend] = ["native"] if family.native_available() else []
    backends.append("sync")
    pooled = task_info(name).family == "atari" or task in envpool_batch.SECONDS
    if pooled and find_spec("envpool") is not None:
        backends.append("envpool")
    return tuple(backends)


def measure_backends(name: str, n: int = 8, seconds: float = 1.0) -> dict[str, float]:
    """Env-steps per second of wall time of each back-end here, random actions, standard variant.

    seconds: of each measurement. Rounds alternate between the back-ends and the best of two counts,
    so that a busy neighbour does not decide.
    """
    batches: dict[str, BatchEnv] = {
        backend: make_vec(name, n, 0, backend=backend) for backend in available_backends(name)
    }
    speeds = dict.fromkeys(batches, 0.0)
    try:
        for _ in range(2):
            for backend, batch in batches.items():
                speeds[backend] = max(speeds[backend], steps_per_second(batch, seconds / 2))
    finally:
        for batch in batches.values():
            batch.close()
    return speeds


def steps_per_second(batch: BatchEnv, seconds: float) -> float:
    """Env-steps (steps times copies) per second of wall time under random actions."""
    batch.reset()
    actions = [np.stack([batch.action_space.sample() for _ in range(batch.num_envs)]) for _ in range(64)]
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        batch.step(actions[steps % len(actions)])
        steps += 1
    return steps * batch.num_envs / (time.perf_counter() - start)


def _mujoco(task: str, preferences: bool, render_mode: str | None) -> Env:
    from envs.mujoco import make_mujoco
    from envs.rendering import choose_gl

    if render_mode is not None:
        choose_gl()  # before mujoco is imported: a bad choice aborts the process
    return make_mujoco(task, preferences=preferences, render_mode=render_mode)


def _mujoco_batch(task: str, n: int, seed: int, preferences: bool, threads: int | None) -> BatchEnv:
    from envs.mujoco_batch import MujocoBatch

    return MujocoBatch(task, n, seed, preferences=preferences, threads=threads)


def _mujoco_batch_available() -> bool:
    from envs.mujoco_batch import native_batch_available

    # Without any MuJoCo the native path is tried, for its message.
    return find_spec("mujoco") is None or native_batch_available()


def _atari(task: str, preferences: bool, render_mode: str | None) -> Env:
    from envs.atari import make_atari

    return make_atari(task, preferences=preferences, render_mode=render_mode)


def _atari_batch(task: str, n: int, seed: int, preferences: bool, threads: int | None) -> BatchEnv:
    from envs.atari_batch import AtariBatch

    return AtariBatch(task, n, seed, preferences=preferences, threads=threads)


def _pendulum(task: str, preferences: bool, render_mode: str | None) -> Env:
    from envs.classic import make_pendulum

    return make_pendulum(preferences, render_mode)


def _pendulum_batch(task: str, n: int, seed: int, preferences: bool, threads: int | None) -> BatchEnv:
    from envs.classic import PendulumBatch

    return PendulumBatch(n, seed, preferences=preferences)


def _moving_dot(task: str, preferences: bool, render_mode: str | None) -> Env:
    from envs.moving_dot import MovingDotEnv

    return MovingDotEnv(preferences, render_mode)


def _moving_dot_batch(task: str, n: int, seed: int, preferences: bool, threads: int | None) -> BatchEnv:
    from envs.moving_dot import MovingDotBatch

    return MovingDotBatch(n, seed, preferences=preferences)


def _rover(task: str, preferences: bool, render_mode: str | None) -> Env:
    from envs.rover.task import RoverEnv

    return RoverEnv(task, preferences, render_mode)


def _rover_batch(task: str, n: int, seed: int, preferences: bool, threads: int | None) -> BatchEnv:
    from envs.rover.task import RoverBatch

    return RoverBatch(task, n, seed, preferences=preferences, threads=threads)


def _habitat(name: str, preferences: bool, render_mode: str | None) -> Env:
    from envs.habitat import HabitatEnv

    return HabitatEnv(_habitat_config(name, preferences), render_mode)


def _habitat_batch(name: str, n: int, seed: int, preferences: bool, backend: Backend) -> BatchEnv:
    from envs.habitat_batch import HabitatBatch

    if backend not in ("auto", "native"):
        raise ValueError(f'{name} has only processes of its own: backend="auto", got {backend!r}')
    return cast(BatchEnv, HabitatBatch(_habitat_config(name, preferences), n, seed))


def _habitat_config(name: str, preferences: bool) -> Any:
    from envs.habitat_config import HabitatConfig, habitat_test_scenes

    if name not in HABITAT:
        raise UnknownEnvironmentError(
            f"there is no environment {name!r}; did you mean {' or '.join(HABITAT)}?"
        )
    if preferences:
        raise ValueError(f"{name} has no preference variant")
    return HabitatConfig() if name == "habitat:Rooms" else habitat_test_scenes()


def _make_envpool(name: str, n: int, seed: int, preferences: bool, threads: int | None) -> BatchEnv:
    from envs.envpool_batch import EnvPoolBatch

    if preferences:
        raise ValueError(f'EnvPool has no preference variant of {name}: backend="native" or "sync"')
    return EnvPoolBatch(name, n, seed, threads=threads)


_FAMILIES = {
    "mujoco": Family(_mujoco, _mujoco_batch, _mujoco_batch_available),
    "classic": Family(_pendulum, _pendulum_batch),
    "pixel": Family(_moving_dot, _moving_dot_batch),
    "atari": Family(_atari, _atari_batch),
    "rover": Family(_rover, _rover_batch, _mujoco_batch_available),
}

# Env-steps per second, native over sync, from `python tests/benchmarks/bench_vec.py --quick` on 2 busy
# cores (EPYC, 8 copies): the lower of the family's two tasks by wall time. By CPU time alone it is 1.06
# and 1.32: Atari's gain is its threads. The array families are from `measure_backends`.
_NATIVE_OVER_SYNC = {"mujoco": 1.35, "atari": 1.18, "classic": 2.7, "pixel": 10.3, "rover": 1.1}

_EXTRAS = {
    **dict.fromkeys(("mujoco", "ale_py", "cv2", "imageio", "numba"), "sim"),
    "envpool": "envpool",
}


def _look_up(name: str) -> tuple[str, Family]:
    try:
        info = task_info(name)
    except UnknownEnvironmentError as error:
        raise UnknownEnvironmentError(f"{error}; envs.catalog.ENVIRONMENTS lists all") from None
    return name.partition(":")[2], _FAMILIES[info.family]


@contextmanager
def _needs_extra(name: str) -> Iterator[None]:
    try:
        yield
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        missing = getattr(error, "name", None) or getattr(error.__cause__, "name", None) or ""
        if isinstance(error, MissingExtraError) or missing.partition(".")[0] not in _EXTRAS:
            raise
        package = missing.partition(".")[0]
        raise MissingExtraError(
            f'{name} needs {package}, which is not installed: pip install "surefoot[{_EXTRAS[package]}]"'
        ) from error
