"""Tasks on a Ray cluster. Ray is an extra: only this file imports it, and only when it is asked for."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from typing import Any

from agents.sweep.task import Outcome, Task, TaskError, perform
from agents.sweep.version import VersionMismatchError, our_version

logger = logging.getLogger(__name__)

CONNECT_TRIES, CONNECT_SECONDS = 3, 5.0
PROBE_SECONDS = 120.0
"""for each node's first process, which takes seconds on an idle machine"""
GONE_SECONDS = 40.0
"""after which Ray, too, has seen that a node is gone"""
CLOCK_SECONDS = 5.0
"""that clocks may be apart without a word"""


class RayExecutor:
    """At most `slots` tasks at a time, by default as many as the cluster's processors allow.

    address: host:port of the head, "auto" for the one of this machine, "local" for a Ray of its own that
    ends with `close`. Raises TaskError when there is no such cluster, VersionMismatchError when a node has
    other code than this process; warns of clocks that are apart.
    """

    def __init__(
        self, address: str = "auto", slots: int | None = None, cpus: float = 1.0, gpus: float = 0.0
    ) -> None:
        self._ray = connect(address, slots)
        try:
            self._expect_our_version()
            self.slots = slots or self._room(cpus, gpus)
        except BaseException:
            self._ray.shutdown()
            raise
        # Its own retries are off: `run_tasks` counts them, alike for every executor.
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 0, "scheduling_strategy": "SPREAD"}
        self._perform = self._ray.remote(**options)(perform_on_node)
        self._tasks: dict[Any, Task] = {}

    def start(self, task: Task) -> None:
        work = self._perform.options(name=f"surefoot {task.key}")
        self._tasks[work.remote(task.function, dict(task.arguments), our_version())] = task

    def wait(self, seconds: float) -> list[Outcome]:
        # One at a time: a value may be large, and the next one can wait on its node.
        ready, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        return [self._outcome(reference, self._tasks.pop(reference)) for reference in ready]

    def close(self) -> None:
        for reference in self._tasks:
            with contextlib.suppress(Exception):  # it may have ended, and its node with it
                self._ray.cancel(reference, force=True)
        self._tasks.clear()
        self._ray.shutdown()

    def _outcome(self, reference: Any, task: Task) -> Outcome:
        errors = self._ray.exceptions
        try:
            said, node = self._ray.get(reference)
        except errors.RayTaskError as error:  # it could not even begin
            return Outcome(task, error=str(error)[-2000:])
        except errors.RayError as error:  # process, node or value are gone
            first = str(error).strip().partition("\n")[0]
            return Outcome(task, error=f"{type(error).__name__}: {first}", lost=True)
        return Outcome(task, said.value, said.error, node=node)

    def _room(self, cpus: float, gpus: float) -> int:
        """Tasks that fit into the cluster."""
        there = self._ray.cluster_resources()
        wanted = {"CPU": cpus, "GPU": gpus}
        room = min((there.get(name, 0.0) / need for name, need in wanted.items() if need), default=64.0)
        if room < 1:
            raise TaskError(f"the cluster has room for no task of {cpus:g} processors and {gpus:g} GPUs")
        return int(room)

    def _expect_our_version(self) -> None:
        """Asks every node before it gets work; those that join later are asked with each task."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        probe = self._ray.remote(num_cpus=0, max_retries=2)(about_node)
        began = time.time()
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        asked = {
            node["NodeID"]: probe.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote()
            for node in nodes
        }
        for node in nodes:
            name = f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"
            answer = self._answer(asked[node["NodeID"]], node["NodeID"], name)
            if answer is None:
                continue
            theirs, clock = answer
            if theirs != our_version():
                raise VersionMismatchError(name, theirs, our_version())
            if words := clocks_apart(began, clock, time.time()):
                logger.warning("the clock of node %s is %s", name, words)

    def _answer(self, reference: Any, node: str, name: str) -> tuple[str, float] | None:
        """What a node says; None when it is gone."""
        try:
            answer: tuple[str, float] = self._ray.get(reference, timeout=PROBE_SECONDS)
            return answer
        except self._ray.exceptions.RayError as error:
            if self._is_gone(node):
                logger.warning("node %s is gone: work goes to the others", name)
                return None
            last = str(error).strip().splitlines()[-1]
            raise TaskError(f"node {name} cannot run surefoot, is it installed there? {last}") from error

    def _is_gone(self, node: str) -> bool:
        """Ray's list shows a node for some seconds after its end."""
        deadline = time.monotonic() + GONE_SECONDS
        while any(one["NodeID"] == node and one["Alive"] for one in self._ray.nodes()):
            if time.monotonic() > deadline:
                return False
            time.sleep(1.0)
        return True


def about_node() -> tuple[str, float]:
    """What a node is asked before it gets work: its version, and its clock in s since 1970."""
    return our_version(), time.time()


def clocks_apart(asked: float, theirs: float, answered: float) -> str:
    """What to say of another machine's clock, looked at between `asked` and `answered` by ours; "" if it is
    right. s since 1970."""
    gap = max(asked - theirs, theirs - answered)
    if gap <= CLOCK_SECONDS:
        return ""
    side = "behind" if theirs < asked else "ahead of"
    return (
        f"{gap:.0f} s {side} this machine's: results are the same, but times in logs are not, clips that a "
        "lost driver had claimed wait for longer, and S3 refuses who is 15 minutes apart; run chrony on both"
    )


def perform_on_node(function: str, arguments: dict[str, Any], version: str) -> tuple[Any, str]:
    """`perform`, and the id of Ray's node that it ran on."""
    import ray

    return perform(function, arguments, version), str(ray.get_runtime_context().get_node_id())


def connect(address: str, cpus: int | None = None) -> Any:
    """The module ray, connected. Raises TaskError in words when it is not installed or not reachable."""
    try:
        import ray
    except ImportError:
        raise TaskError("Ray is not installed: pip install 'surefoot[cluster]'") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would call home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet = {"log_to_driver": False, "configure_logging": False}
    try:
        if address not in ("auto", "local") and "://" not in address:
            _expect_listener(address)
        if ray.is_initialized():
            raise TaskError("this process is connected to a Ray cluster already: close that executor first")
        if address == "local":
            return _init(ray, address="local", num_cpus=cpus, include_dashboard=False, **quiet)
        return _init(ray, address=address, **quiet)
    except TaskError:
        raise
    except Exception as error:  # a node that does not begin in time is a plain Exception of Ray's
        other = "is its head running?" if address != "local" else "has this machine too much to do?"
        start = "start one with `ray start --head`" if address == "auto" else other
        raise TaskError(f"no Ray cluster answers at {address}: {error}; {start}") from error


def _init(ray: Any, **options: Any) -> Any:
    ray.init(**options)
    return ray


def _expect_listener(address: str) -> None:
    """A few tries of a plain connection: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("an address is written host:port, such as 10.0.0.1:6379")
    for attempt in range(CONNECT_TRIES):
        try:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
            return
        except OSError:
            if attempt + 1 == CONNECT_TRIES:
                raise
            time.sleep(0.5 * 2**attempt)
