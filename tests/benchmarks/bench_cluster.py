"""A Ray cluster of three nodes on this machine against the plain loop: the same results, nothing lost?

    python tests/benchmarks/bench_cluster.py [--quick] [--seconds 240] [--only work|tasks]

Needs `pip install 'surefoot[cluster,record]'`. Simulated rovers drive, policies are trained for some seeds,
clips are drawn and bags imported: once locally, once on the cluster, where the driver is killed with -9, a
node is removed in the midst of the work (drives, training), and the same command is given again.

    differences   drives, metrics files, pictures and imported bytes that are missing, doubled or other than
                  the local ones
    overhead      seconds a task more than the plain loop takes, for tasks that do nothing
    slope         MB a minute by which the processes of each node grow under such tasks

Run it in a copy of the sources that nobody edits: nodes refuse other code than the driver's.
Two cores: this measures correctness and overhead. That more machines are faster, it cannot show.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cluster_nodes import Node, cluster, memory_of

from agents.sweep.local import LocalExecutor
from agents.sweep.queue import run_tasks
from agents.sweep.ray_cluster import RayExecutor
from agents.sweep.task import Task, perform
from envs.dataset import EpisodeDataset

ROOT = Path(__file__).resolve().parent.parent.parent
TRAIN = "train rl --env classic:Pendulum --steps 2048 --set final_episodes=2 --set evaluation_episodes=2"

DRIVE = """
import json, sys
from pathlib import Path
from agents.badgr.collect import collect
from agents.badgr.collect_config import CollectConfig
from agents.sweep.driving import TaskFleet
from agents.sweep.executors import ExecutorConfig, open_executor

if __name__ == "__main__":
    address, out, units = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    config = CollectConfig(hours=units * 2 * 10 / 3600, rovers=2, episode_seconds=10.0)
    place = ExecutorConfig("ray", address=address) if address else ExecutorConfig("local", 1)
    fleet = TaskFleet(config, open_executor(place, out))
    collect(config, out, fleet=lambda config, count: fleet, quiet=True)
    print(json.dumps(fleet.nodes))
"""

DRAW = """
import json, sys
from agents.preferences.labelling.storage import open_storage
from agents.preferences.labelling.store import open_store
from agents.sweep.drawing import draw_clips
from agents.sweep.executors import ExecutorConfig, open_executor
from pathlib import Path

if __name__ == "__main__":
    address, database, media, study = sys.argv[1:]
    place = ExecutorConfig("ray", address=address) if address else ExecutorConfig("local", 1)
    executor = open_executor(place, Path("."))
    store = open_store(database)
    draw_clips(store, open_storage(media), executor, study, size=64, idle_seconds=3, claim_seconds=5)
    executor.close()
    store.close()
"""


def begin(*words: str) -> subprocess.Popen[str]:
    """A driver in a process of its own, that can be killed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(driver: subprocess.Popen[str]) -> str:
    said, told = driver.communicate()
    if driver.returncode:
        raise RuntimeError(f"the driver ended with {driver.returncode}:\n{told[-4000:]}")
    return said


def interrupted(words: tuple[str, ...], begun: Callable[[], bool], trouble: Callable[[], None]) -> str:
    """Runs a driver, kills it with -9 once some work is done, makes trouble under the next, and waits."""
    driver = begin(*words)
    wait_for(begun, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    driver = begin(*words)
    time.sleep(5)
    trouble()
    return finish(driver)


def wait_for(begun: Callable[[], bool], driver: subprocess.Popen[str]) -> None:
    while not begun():
        if driver.poll() is not None:
            raise RuntimeError(
                f"the driver ended before it could be killed:\n{driver.communicate()[1][-4000:]}"
            )
        time.sleep(0.05)


def lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def compare_drives(address: str, folder: Path, units: int, trouble: Callable[[], None]) -> tuple[int, int]:
    """(differences, nodes used)."""
    finish(begin("-c", DRIVE, "", str(folder / "local"), str(units)))
    far = folder / "cluster"
    words = ("-c", DRIVE, address, str(far), str(units))
    said = interrupted(words, lambda: lines(far / "drives.jsonl") >= 1, trouble)
    nodes = json.loads(said.splitlines()[-1])  # Ray, too, may say something
    found = []
    for name in ("local", "cluster"):
        with EpisodeDataset(folder / name, read_only=True) as dataset:
            damaged = dataset.verify()
            rows = sorted((folder / name / "drives.jsonl").read_text().splitlines())
            found.append((sorted(dataset.ids), damaged, rows, (folder / name / "summary.json").read_bytes()))
    (ours, _, rows, summary), (theirs, damaged, far_rows, far_summary) = found
    wrong = len(set(ours) ^ set(theirs)) + len(theirs) - len(set(theirs)) + len(damaged)
    wrong += len(set(rows) ^ set(far_rows)) + abs(len(rows) - len(far_rows)) + (summary != far_summary)
    print(f"| drives | {units} units, {len(ours)} drives | {len(nodes)} | {wrong} |", flush=True)
    return wrong, len(nodes)


def compare_training(address: str, folder: Path, seeds: int, trouble: Callable[[], None]) -> tuple[int, int]:
    """(differences, nodes used)."""
    sweep = ("-m", "surefoot", "sweep", "--command", TRAIN, "--seeds", str(seeds), "--out")
    finish(begin(*sweep, str(folder / "local")))
    far = folder / "cluster"
    words = (*sweep, str(far), "--executor", "ray", "--address", address)
    interrupted(words, lambda: bool(list(far.glob("trials/*/run/metrics.jsonl"))), trouble)
    wrong = 0
    for trial in (folder / "local" / "trials").iterdir():
        other = far / "trials" / trial.name / "run" / "metrics.jsonl"
        same = other.exists() and other.read_bytes() == (trial / "run" / "metrics.jsonl").read_bytes()
        wrong += not same
    results = json.loads((far / "results.json").read_text())
    wrong += abs(results["done"] - seeds) + abs(len(list((far / "trials").iterdir())) - seeds)
    nodes = {row["node"] for row in results["rows"]} - {""}
    print(f"| training | {seeds} seeds | {len(nodes)} | {wrong} |", flush=True)
    return wrong, len(nodes)


def draw(folder: Path, address: str, queries: int) -> list[str]:
    """Digests of the pictures of a session's clips; on the cluster the driver is killed half-way."""
    folder.mkdir(parents=True)
    labels = runpy.run_path(str(ROOT / "tests" / "label_server.py"))
    server = labels["LabelServer"](folder, queries=0)
    with contextlib.closing(server):
        server.ask(queries, draw=False)
        words = ("-c", DRAW, address, server.database, server.media, server.study)
        if address:
            interrupted(words, lambda: bool(server.store.media(server.study)), lambda: None)
        else:
            finish(begin(*words))
        found: list[str] = server.store.media(server.study)
        return found


def compare_clips(address: str, folder: Path, queries: int) -> int:
    """Differences."""
    drawn = [draw(folder / "local", "", queries), draw(folder / "cluster", address, queries)]
    wrong = len(set(drawn[0]) ^ set(drawn[1])) + abs(2 * queries - len(drawn[1]))
    print(f"| clips | {2 * queries} clips | | {wrong} |", flush=True)
    return wrong


def compare_bags(address: str, folder: Path, count: int) -> int:
    """Differences, byte for byte."""
    made = runpy.run_path(str(ROOT / "tests" / "robot_bags.py"))
    bags = [
        str(made["write"](folder / f"trip{k}", made["Drive"](20.0, phase=0.05 * k, size=(24, 32))))
        for k in range(count)
    ]
    words = ("-m", "surefoot", "import", *bags, "--width", "32", "--height", "24", "--json", "--out")
    finish(begin(*words, str(folder / "local")))
    far = folder / "cluster"
    ray = ("--executor", "ray", "--address", address)
    interrupted((*words, str(far), *ray), lambda: lines(far / "index.jsonl") >= 1, lambda: None)
    wrong = 0
    for name in ("data.bin", "index.jsonl"):
        wrong += (far / name).read_bytes() != (folder / "local" / name).read_bytes()
    with EpisodeDataset(far, read_only=True) as dataset:
        wrong += len(dataset.verify()) + abs(len(dataset) - count)
    print(f"| bags | {count} bags | | {wrong} |", flush=True)
    return wrong


def overhead(address: str, count: int) -> dict[str, float]:
    """Milliseconds a task beyond the plain loop, for tasks that do next to nothing: alone, one at a time, and
    busy, as many as there are slots."""
    tasks = [Task(str(number), "json:dumps", {"obj": number}) for number in range(count)]
    began = time.perf_counter()
    for task in tasks:
        perform(task.function, task.arguments)
    plain = time.perf_counter() - began
    found = {"plain_ms": 1000 * plain / count}
    for name, made in (("local", lambda: LocalExecutor(2)), ("ray", lambda: RayExecutor(address))):
        executor = made()
        slots, executor.slots = executor.slots, 1
        warm = [outcome for outcome in run_tasks(tasks[:8], executor) if outcome]
        assert all(not outcome.error for outcome in warm)
        for label, at_a_time in (("alone", 1), ("busy", slots)):
            executor.slots = at_a_time
            began = time.perf_counter()
            ended = sum(outcome is not None for outcome in run_tasks(tasks, executor))
            assert ended == count
            found[f"{name}_{label}_ms"] = 1000 * (time.perf_counter() - began - plain) / count
        executor.close()
    return found


def slopes(address: str, nodes: list[Node], seconds: float) -> tuple[dict[str, float], int]:
    """MB a minute by node, of a line through the second half, and how many tasks ran."""
    executor, began, ran = RayExecutor(address), time.monotonic(), 0
    rows: list[tuple[float, list[int]]] = []

    def endless() -> Iterator[Task]:
        number = 0
        while time.monotonic() - began < seconds:
            yield Task(str(number), "json:dumps", {"obj": list(range(1000))})
            number += 1

    for outcome in run_tasks(endless(), executor):
        ran += outcome is not None
        if not rows or time.monotonic() - rows[-1][0] > seconds / 60:
            rows.append((time.monotonic(), [memory_of(node) for node in nodes]))
    executor.close()
    half = rows[len(rows) // 2 :]
    minutes = np.array([(when - began) / 60 for when, _ in half])
    values = np.array([memory for _, memory in half]) / 1e6
    return {node.name: float(np.polyfit(minutes, values[:, i], 1)[0]) for i, node in enumerate(nodes)}, ran


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer units, seeds and seconds")
    parser.add_argument("--seconds", type=float, help="of the tasks under which memory is looked at")
    parser.add_argument("--only", choices=("work", "tasks"), help="the differences, or overhead and slope")
    chosen = parser.parse_args()
    quick = chosen.quick
    units, seeds, queries, count, seconds = (4, 2, 4, 50, 30.0) if quick else (12, 4, 20, 500, 240.0)
    seconds = chosen.seconds or seconds
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine} (load before: {os.getloadavg()[0]:.1f})\n")
    began, result = time.monotonic(), dict[str, Any]()
    with tempfile.TemporaryDirectory() as name, cluster(3) as nodes:
        if chosen.only != "tasks":
            result |= compare(Path(name), nodes, units, seeds, queries)
        if chosen.only != "work":
            result |= measure(nodes, count, seconds)
    result["seconds"] = round(time.monotonic() - began)
    print(json.dumps(result))
    sys.exit(result.get("differences", 0) > 0 or result.get("nodes_used", 2) < 2)


def compare(folder: Path, nodes: list[Node], units: int, seeds: int, queries: int) -> dict[str, Any]:
    """Prints a table of all work; one node is lost for each of the first two."""
    address = nodes[0].address
    print("| work | how much | nodes used | differences |\n|---|---|---|---|", flush=True)
    lost = nodes.pop()  # removed under the second driver; another takes its place afterwards
    drives, used = compare_drives(address, folder / "drives", units, lost.remove)
    spare = nodes[0].add()
    training, trained_on = compare_training(address, folder / "training", seeds, spare.remove)
    clips = compare_clips(address, folder / "clips", queries)
    bags = compare_bags(address, folder / "bags", max(3, queries // 3))
    return {"differences": drives + training + clips + bags, "nodes_used": max(used, trained_on)}


def measure(nodes: list[Node], count: int, seconds: float) -> dict[str, Any]:
    """Prints a table of the overhead."""
    extra = overhead(nodes[0].address, count)
    print("\n| a task that does nothing | ms beyond the plain loop |\n|---|--:|")
    for name in ("local_alone_ms", "local_busy_ms", "ray_alone_ms", "ray_busy_ms"):
        print(f"| {name.removesuffix('_ms').replace('_', ', ')} | {extra[name]:.2f} |", flush=True)
    growth, ran = slopes(nodes[0].address, nodes, seconds)
    rounded = {name: round(value, 3) for name, value in extra.items()}
    slope = {name: round(value, 2) for name, value in growth.items()}
    return {**rounded, "mb_per_minute": slope, "tasks_in_slope": ran}


if __name__ == "__main__":
    main()
