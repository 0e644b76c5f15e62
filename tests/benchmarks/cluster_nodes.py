"""A Ray cluster of several nodes on this machine, that can be taken away one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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

    def add(self) -> Node:
        """Another one, beside it."""
        return Node("spare", self.cluster, self.cluster.add_node(num_cpus=1))

    @property
    def process(self) -> int:
        """Of its scheduler, whose children are the workers."""
        return int(self.node.all_processes["raylet"][0].process.pid)


@contextmanager
def cluster(count: int) -> Iterator[list[Node]]:
    """The nodes, the head first; each has room for one task at a time."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # By default 15: on a busy machine work would hardly begin. The name is Ray's own. (It also gives a node
    # 30 s to begin, which nothing changes: on a machine with a load of 20 that may be too little.)
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes = [Node("head", made, made.head_node)]
        nodes += [Node(f"node {k}", made, made.add_node(num_cpus=1)) for k in range(1, count)]
        yield nodes
    finally:
        made.shutdown()


def memory_of(node: Node) -> int:
    """Bytes in memory of a node's scheduler and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    total, left = 0, [node.process]
    while left:
        process = left.pop()
        left += children.get(process, [])
        with suppress(OSError):
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total
