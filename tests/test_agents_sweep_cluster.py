"""Tasks on a real Ray cluster of two nodes: spread, started again, and refused to other versions."""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.sweep.queue import run_tasks
from agents.sweep.ray_cluster import RayExecutor
from agents.sweep.task import Task, TaskError
from agents.sweep.version import VersionMismatchError, our_version

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]  # Ray warns of much

cluster = runpy.run_path(str(Path(__file__).parent / "benchmarks" / "cluster_nodes.py"))["cluster"]


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Any]]:
    with cluster(2) as made:
        yield made


LATE = """
import sys, time
if any("default_worker" in word for word in sys.orig_argv):
    time.time = lambda now=time.time: now() - 3600
"""

OTHER = """
import importlib.metadata, sys
if any("default_worker" in word for word in sys.orig_argv):
    version = importlib.metadata.version
    importlib.metadata.version = lambda name: "9.9.9" if name == "surefoot" else version(name)
"""


def sleeping(count: int, seconds: float = 0.5) -> list[Task]:
    return [Task(str(n), "subprocess:run", {"args": ["sleep", str(seconds)]}) for n in range(count)]


def test_work_is_spread_and_a_node_that_goes_loses_nothing(nodes: list[Any]) -> None:
    spare = nodes[0].add()
    executor = RayExecutor(nodes[0].address)
    try:
        assert executor.slots == 3  # processors of the cluster
        ended = []
        for outcome in run_tasks(sleeping(24), executor):
            if outcome is not None:
                ended.append(outcome)
                if len(ended) == 6:
                    spare.remove()
    finally:
        executor.close()
    assert sorted(int(one.task.key) for one in ended) == list(range(24))
    assert [one.error for one in ended] == [""] * 24
    assert len({one.node for one in ended}) >= 2


def test_a_node_with_another_version_is_refused_with_both(nodes: list[Any], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(OTHER)
    other = nodes[0].add(env_vars={"PYTHONPATH": str(tmp_path)})
    try:
        with pytest.raises(VersionMismatchError) as refused:
            RayExecutor(nodes[0].address)
    finally:
        other.remove()
    said = str(refused.value)
    assert "has surefoot 9.9.9+" in said
    assert f"this machine has {our_version()}" in said


def test_clocks_that_are_apart_are_said(
    nodes: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker processes of a node read a clock that is an hour late."""
    (tmp_path / "sitecustomize.py").write_text(LATE)
    other = nodes[0].add(env_vars={"PYTHONPATH": str(tmp_path)})
    try:
        executor = RayExecutor(nodes[0].address)
        try:
            ended = [one for one in run_tasks(sleeping(3, 0.1), executor) if one is not None]
        finally:
            executor.close()
    finally:
        other.remove()
    assert [one.error for one in ended] == [""] * 3
    (said,) = [record.getMessage() for record in caplog.records if "clock" in record.getMessage()]
    # 3600 s, less what the answer took to come
    assert re.search(r"the clock of node .* is 3\d\d\d s behind this machine's: .*run chrony on both", said)


def test_a_node_that_was_just_lost_stops_nobody(nodes: list[Any]) -> None:
    """Ray lists it for some seconds after its end."""
    nodes[0].add().remove()
    executor = RayExecutor(nodes[0].address)
    try:
        ended = [one for one in run_tasks(sleeping(3, 0.1), executor) if one is not None]
    finally:
        executor.close()
    assert [one.error for one in ended] == [""] * 3


def test_more_than_the_cluster_has_is_said(nodes: list[Any]) -> None:
    with pytest.raises(TaskError, match="room for no task of 64 processors and 0 GPUs"):
        RayExecutor(nodes[0].address, cpus=64)
