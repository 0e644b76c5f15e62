"""One contract for every executor: values, failures in words, lost processes tried again, bounded queues."""

import contextlib
import importlib.util
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.sweep.executors import ExecutorConfig, open_executor
from agents.sweep.local import LocalExecutor
from agents.sweep.queue import run_tasks
from agents.sweep.ray_cluster import clocks_apart
from agents.sweep.slurm import SlurmExecutor
from agents.sweep.task import Executor, Outcome, Task, TaskError, digest, perform
from agents.sweep.version import our_version

cluster_nodes = runpy.run_path(str(Path(__file__).parent / "benchmarks" / "cluster_nodes.py"))
NEEDS_SUBMITIT = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None, reason="submitit is not installed: surefoot[sweep]"
)


@pytest.fixture(
    scope="module",
    params=[
        "local",
        pytest.param("slurm", marks=NEEDS_SUBMITIT),
        pytest.param("ray", marks=pytest.mark.cluster),
    ],
)
def executor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    """Slurm's jobs run as submitit's local ones: there is no Slurm here."""
    made: Executor
    with contextlib.ExitStack() as opened:
        if request.param == "slurm":
            made = SlurmExecutor(tmp_path_factory.mktemp("slurm"), slots=2, cluster="local")
        else:
            address = "auto"
            if request.param == "ray":
                address = opened.enter_context(cluster_nodes["cluster"](2))[0].address
            config = ExecutorConfig(request.param, jobs=2, address=address)
            made = open_executor(config, tmp_path_factory.mktemp("work"))
        yield made
        made.close()


def outcomes(executor: Executor, *tasks: Task, retries: int = 1) -> dict[str, Outcome]:
    ended = [one for one in run_tasks(tasks, executor, retries=retries) if one is not None]
    assert len(ended) == len(tasks)
    return {one.task.key: one for one in ended}


def once_killed(marker: Path) -> dict[str, list[str]]:
    """A shell that kills the process that called it, the first time."""
    script = f'if [ -e "{marker}" ]; then exit 0; else touch "{marker}"; kill -9 $PPID; fi'
    return {"args": ["sh", "-c", script]}


def test_every_executor_gives_values_failures_and_what_was_lost_again(
    executor: Executor, tmp_path: Path
) -> None:
    ended = outcomes(
        executor,
        Task("sum", "json:dumps", {"obj": {"b": [1, 2.5], "a": None}, "sort_keys": True}),
        Task("wrong", "json:loads", {"s": "{"}),
        Task("killed", "subprocess:run", once_killed(tmp_path / "marker")),
    )
    assert ended["sum"].value == '{"a": null, "b": [1, 2.5]}'
    assert ended["sum"].node
    assert "JSONDecodeError" in ended["wrong"].error
    assert not ended["wrong"].lost
    assert ended["killed"].error == ""
    assert ended["killed"].value.returncode == 0
    assert (tmp_path / "marker").exists()


def test_what_is_lost_again_and_again_has_failed() -> None:
    executor = LocalExecutor(1)
    try:
        ended = outcomes(executor, Task("dies", "os:abort"), Task("lives", "os:getpid"), retries=2)
    finally:
        executor.close()
    assert ended["dies"].lost
    assert "its process ended with exit code -6" in ended["dies"].error
    assert ended["lives"].value != os.getpid()


def test_tasks_are_made_when_there_is_a_slot_for_them() -> None:
    made = []

    def endless() -> Iterator[Task]:
        while True:
            made.append(Task(str(len(made)), "os:getpid"))
            yield made[-1]

    executor = LocalExecutor(2)
    try:
        running = run_tasks(endless(), executor)
        ended = [one for one, _ in zip(running, range(6), strict=False) if one is not None]
    finally:
        executor.close()
    assert len(made) <= len(ended) + 2
    assert len({one.value for one in ended}) <= 2  # processes stay for the next task


def test_workers_end_with_a_driver_that_is_killed() -> None:
    code = """
import time
from agents.sweep.local import LocalExecutor
from agents.sweep.task import Task
if __name__ == "__main__":
    executor = LocalExecutor(1)
    executor.start(Task("pid", "os:getpid"))
    print(executor.wait(300)[0].value, flush=True)
    executor.start(Task("sleeps", "subprocess:run", {"args": ["sleep", "60"]}))
    time.sleep(1000)
"""
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    worker = int(driver.stdout.readline())
    driver.kill()
    driver.wait()
    driver.stdout.close()  # its end never comes while the worker's own child has it open
    deadline = time.monotonic() + 120
    while Path(f"/proc/{worker}").exists() and "(python" in Path(f"/proc/{worker}/stat").read_text():
        assert time.monotonic() < deadline, "the worker goes on without its driver"
        time.sleep(0.05)


def test_another_version_is_refused_with_both() -> None:
    said = perform("os:getpid", {}, version="9.9.9+abc")
    assert f"has surefoot {our_version()}, this machine has 9.9.9+abc" in said.error
    assert perform("os:getpid", {}, version=our_version()).value == os.getpid()


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


@NEEDS_SUBMITIT
def test_no_slurm_here_is_said(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"Slurm cannot be used here: .*start it where sbatch is"):
        open_executor(ExecutorConfig("slurm"), tmp_path)


def test_an_absent_package_is_named(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
sys.modules["ray"] = sys.modules["submitit"] = None  # as if they were not installed
from agents.sweep.executors import ExecutorConfig, open_executor
for place in ("ray", "slurm"):
    try:
        open_executor(ExecutorConfig(place), Path("."))
    except RuntimeError as error:
        print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        "Ray is not installed: pip install 'surefoot[cluster]'",
        "Slurm needs submitit: pip install 'surefoot[sweep]'",
    ]


@pytest.mark.cluster
def test_a_head_that_does_not_answer_is_said_soon() -> None:
    began = time.monotonic()
    with pytest.raises(TaskError, match=r"no Ray cluster answers at 127\.0\.0\.1:1: .*is its head running"):
        open_executor(ExecutorConfig("ray", address="127.0.0.1:1"), Path())
    assert time.monotonic() - began < 60
    with pytest.raises(TaskError, match="host:port"):
        open_executor(ExecutorConfig("ray", address="nowhere"), Path())


def test_clocks_apart_are_told_by_how_much_and_what_helps() -> None:
    assert clocks_apart(100.0, 101.0, 102.0) == ""
    assert clocks_apart(100.0, 96.0, 160.0) == ""  # an answer that takes long is no wrong clock
    assert clocks_apart(100.0, 161.0, 160.0) == ""
    assert clocks_apart(1000.0, 40.0, 1001.0).startswith("960 s behind this machine's: ")
    assert clocks_apart(100.0, 3701.0, 101.0).startswith("3600 s ahead of this machine's: ")
    assert clocks_apart(100.0, 3701.0, 101.0).endswith("run chrony on both")
