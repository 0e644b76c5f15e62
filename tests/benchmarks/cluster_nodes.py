"""A Ray cluster of several nodes on this machine, that can be taken away one by one."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS, START_TRIES = 300.0, 3
"""that a node gets to begin. Ray's own 30 s, which no setting of it changes, are too few where other work has
priority: a node is several processes, each of which imports for some seconds of CPU."""

# Ray's own names. By default workers run at nice 15: on a busy machine work would hardly begin.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_agent_register_timeout_ms": "600000",
    # A node that is slow is not dead. One that is gone refuses connections, which is seen as soon as before.
    "RAY_health_check_initial_delay_ms": "30000",
    "RAY_health_check_timeout_ms": "60000",
}
PORTS = ("metrics_agent", "metrics_export", "dashboard_agent_listen", "runtime_env_agent")
"""of a node's helpers: a node that knows them does not wait for these to begin, for 30 s and no longer"""


@dataclass
class Node:
    """One node: its scheduler, its object store, its workers."""

    name: str
    cluster: Any
    node: Any

    @property
    def address(self) -> str:
        """Of the head."""
        return str(self.cluster.address)

    def remove(self) -> None:
        """As when its plug is pulled."""
        self.cluster.remove_node(self.node, allow_graceful=False)

    def add(self, **settings: Any) -> Node:
        """Another one, beside it. settings: of Ray's node."""
        return Node("spare", self.cluster, begin(self.cluster, **settings))

    @property
    def process(self) -> int:
        """Of its scheduler, whose children are the workers."""
        return int(self.node.all_processes["raylet"][0].process.pid)


@contextmanager
def patience() -> Iterator[None]:
    """Inside, Ray's nodes get START_SECONDS to begin, on this machine."""
    before = {name: os.environ.get(name) for name in SETTINGS}
    os.environ.update(SETTINGS)
    from ray._private import services

    ask = services.get_node

    def get_node(address: str, node: str) -> Any:
        _without_page(node)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return ask(address, node)
            except RuntimeError:  # it has not begun yet
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    connect = services.get_node_to_connect_for_driver

    def get_node_to_connect_for_driver(*where: Any, **filters: Any) -> Any:
        """The head, as on a machine with one node: Ray looks through the processes, and overlooks some."""
        deadline = time.monotonic() + START_SECONDS
        while not (found := connect(*where, **filters)).is_head_node and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    services.get_node = get_node
    services.get_node_to_connect_for_driver = get_node_to_connect_for_driver
    try:
        yield
    finally:
        services.get_node, services.get_node_to_connect_for_driver = ask, connect
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _without_page(node: str) -> None:
    """Says that a node's helper serves no page, as the helper itself would after some seconds: the one thing
    that a node still waits for."""
    from ray._raylet import DASHBOARD_AGENT_LISTEN_PORT_NAME, persist_port

    places = Path(tempfile.gettempdir(), "ray").glob(f"session_*_{os.getpid()}")
    newest = max(places, key=lambda place: place.stat().st_mtime)
    if not (newest / f"{DASHBOARD_AGENT_LISTEN_PORT_NAME}_{node}").exists():
        persist_port(str(newest), node, DASHBOARD_AGENT_LISTEN_PORT_NAME, -1)


def light() -> dict[str, Any]:
    """Of a node: room for one task at a time, and no process that nobody here needs."""
    with ExitStack() as opened:
        free = [opened.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in PORTS]
        ports = {f"{name}_port": place.getsockname()[1] for name, place in zip(PORTS, free, strict=True)}
    return {"num_cpus": 1, "include_log_monitor": False, "no_monitor": True, **ports}


def begin(made: Any, **settings: Any) -> Any:
    """A node of a cluster; the first one is its head. settings: of Ray's node."""
    for attempt in range(1, START_TRIES + 1):
        try:
            return made.add_node(**{**light(), **settings})
        except Exception as error:  # Ray raises nothing more special
            if attempt == START_TRIES:
                raise
            print(f"a node did not begin ({attempt} of {START_TRIES}): {error}", file=sys.stderr, flush=True)
    raise AssertionError("unreachable")


@contextmanager
def cluster(count: int) -> Iterator[list[Node]]:
    """The nodes, the head first, begun one after the other; each has room for one task at a time."""
    with patience():
        from ray.cluster_utils import Cluster

        made = Cluster()
        try:
            nodes = [Node("head", made, begin(made, include_dashboard=False))]
            nodes += [Node(f"node {k}", made, begin(made)) for k in range(1, count)]
            yield nodes
        finally:
            made.shutdown()


def memory_of(node: Node) -> int:
    """Bytes in memory of a node's scheduler and all its descendants."""
    return memory_below(node.process)


def memory_below(process: int) -> int:
    """Bytes in memory of a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    total, left = 0, [process]
    while left:
        process = left.pop()
        left += children.get(process, [])
        with suppress(OSError):
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total
