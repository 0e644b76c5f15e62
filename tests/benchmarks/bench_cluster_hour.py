"""An hour of labelling and training on a cluster, while its parts fail one after the other: is anything lost?

    nice -n 10 python tests/benchmarks/bench_cluster_hour.py [--minutes 60] [--quick]

Needs `pip install 'surefoot[cluster,label,s3]'`, moto and PostgreSQL. At once, in processes of their own:
PostgreSQL (fsync on), an S3 server (moto), two label servers, a Ray cluster, `surefoot sweep --executor ray`
with one training on people's answers, `surefoot draw --executor ray`, and scripted annotators at a human
pace, who write down what a server acknowledged. Meanwhile label servers are killed with -9 in turn, the S3
server stands still for a while, a node of Ray is removed, both drivers are killed with -9 and begun again,
and PostgreSQL loses its power.

    lost      acknowledged answers and undos that the database does not hold as they were sent
    doubled   rows beyond one for each uuid, standing answers beyond one for each person and pair
    unused    answers that teach and stand, which the training's own log has not, or the other way round
    pictures  clips that the database says are drawn, and that the storage has not, or has with other bytes
    queue     pairs that wanted an answer, at most; the bound follows from the run's settings

Run it in a copy of the sources that nobody edits: nodes refuse other code than the driver's.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import label_crowd
import numpy as np
from bench_label_kills import check
from cluster_nodes import Node, cluster, memory_below
from label_crowd import Ledger
from label_fleet import Fleet
from label_session import Session, database_url

from agents.preferences.labelling.people import MEANING
from agents.preferences.labelling.session_file import SessionFile, has_session, read_session_file
from agents.preferences.labelling.storage import open_storage
from agents.preferences.labelling.store import LabelStore, open_store
from agents.preferences.labelling.types import LabellingError, UnavailableError

ROOT = Path(__file__).resolve().parent.parent.parent
PEOPLE, PAUSE = 4, 6.0
"""annotators, and mean seconds before each of their requests"""
LEASE_SECONDS = 120.0
LABELS, STEPS, LEAD, BATCH, ROLLOUT = 4000, 400_000, 40, 25, 2048
"""more labels than an hour brings: the training goes at the pace of the people"""
START_SECONDS = 900.0


class Driver:
    """A command of ours that is killed and given again."""

    def __init__(self, log: Path, *words: str) -> None:
        self._log, self._words = log, words
        self.begun = self.ended_alone = 0
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "surefoot", *self._words], env=environment, stdout=log, stderr=log
            )
        self.begun += 1

    def kill(self) -> None:
        """kill -9, and the same command again."""
        self.process.kill()
        self.process.wait()
        self.start()

    def look(self) -> None:
        """As a supervisor does: one that gave up is started again."""
        if self.process.poll() is not None:
            self.ended_alone += 1
            self.start()

    def told(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]


@dataclass
class Parts:
    """All that runs."""

    store: LabelStore
    file: SessionFile
    nodes: list[Node]
    servers: list[Fleet]
    training: Driver
    drawing: Driver
    s3: subprocess.Popen[bytes]
    postgres: Any
    kills: dict[str, int] = field(default_factory=dict)

    def count(self, what: str) -> None:
        self.kills[what] = self.kills.get(what, 0) + 1

    def kill_server(self) -> None:
        number = self.kills.get("label server killed", 0) % len(self.servers)
        if not _answers(
            self.servers[number].port
        ):  # it is still beginning: left alone, or none would ever run
            return self.count("label server not killed, for it was not up yet")
        self.servers[number].kill(0)
        self.servers[number].restart(0)
        return self.count("label server killed")

    def kill_drawing(self) -> None:
        self.drawing.kill()
        self.count("driver of drawing killed")

    def kill_training(self) -> None:
        self.training.kill()
        self.count("driver of training killed")

    def freeze_storage(self, seconds: float) -> None:
        self.s3.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.s3.send_signal(signal.SIGCONT)
        self.count(f"S3 server stood still for {seconds:.0f} s")

    def remove_node(self) -> None:
        spare = self.nodes[0].add()
        self.nodes.pop(1).remove()
        self.nodes.append(spare)
        self.count("node removed, another added")

    def cut_power(self) -> None:
        self.postgres.stop("immediate")
        time.sleep(3)
        self.postgres.start(fsync="on")
        self.count("PostgreSQL lost its power")


@contextmanager
def s3_server(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A moto server with the bucket "hour"; this process and those that it starts find it."""
    import fsspec

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }  # fmt: skip
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", port]
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        wait_for(lambda: _listens(int(port)), server)
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("hour")
        yield server
    finally:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5).close()
        return True
    return False


def _listens(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


def wait_for(there: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not there():
        if (process is not None and process.poll() is not None) or time.monotonic() > deadline:
            raise RuntimeError("it ended, or did not begin in time: see the logs")
        time.sleep(0.5)


def train_words(database: str, media: str) -> str:
    settings = {
        "people.serve": "false", "people.database": database, "people.media": media,
        "people.lead": LEAD, "people.patience_seconds": 30, "initial_share": 0.01, "checkpoints": 40,
        "learner.env_threads": 1,
    }  # fmt: skip
    words = ["train preferences --env classic:Pendulum --teacher people --schedule linear --no-videos"]
    words += [
        f"--labels {LABELS} --steps {STEPS}",
        *(f"--set {name}={value}" for name, value in settings.items()),
    ]
    return " ".join(words)


def trouble(minutes: float) -> list[tuple[float, Callable[[Parts], None]]]:
    """What happens when, in seconds since the beginning, soonest first."""
    whole = 60 * minutes
    calls = [
        (0.2, Parts.kill_drawing), (0.35, lambda parts: parts.freeze_storage(min(20.0, whole / 12))),
        (0.5, Parts.remove_node), (0.65, Parts.kill_training), (0.8, Parts.cut_power),
    ]  # fmt: skip
    every = max(whole / 30, 10.0)
    kills = np.arange(every, whole - every / 2, every)
    found = [(share * whole, call) for share, call in calls] + [
        (float(at), Parts.kill_server) for at in kills
    ]
    return sorted(found, key=lambda one: one[0])


@dataclass
class Seen:
    """Looks at the whole every few seconds."""

    when: list[float] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    rendering: list[int] = field(default_factory=list)
    leased: list[int] = field(default_factory=list)
    memory: list[dict[str, float]] = field(default_factory=list)
    away: int = 0
    """looks at which the database did not answer"""

    def look(self, parts: Parts, seconds: float) -> None:
        try:
            counts = parts.store.counts(parts.file.study)
        except UnavailableError:
            self.away += 1
            return
        self.when.append(seconds)
        self.open.append(counts.open)
        self.rendering.append(counts.rendering)
        self.leased.append(counts.leased)
        places = {"S3 server": parts.s3.pid, "head of Ray": parts.nodes[0].process}
        self.memory.append({name: memory_below(pid) / 1e6 for name, pid in places.items()})

    def slope(self, name: str) -> float:
        """MB an hour, of a line through the second half."""
        half = len(self.when) // 2
        values = [row[name] for row in self.memory[half:]]
        return float(np.polyfit(np.array(self.when[half:]) / 3600, values, 1)[0])


def live(parts: Parts, minutes: float, works: list[Future[Ledger]]) -> Seen:
    """The hour, from the first answer on."""
    wait_for(
        lambda: parts.drawing.look() or parts.training.look() or parts.store.counts(parts.file.study).labels
    )
    began, seen, due = time.monotonic(), Seen(), trouble(minutes)
    said = 0.0
    while (passed := time.monotonic() - began) < 60 * minutes:
        while due and due[0][0] <= passed:
            make(due.pop(0)[1], parts)
        parts.drawing.look()
        parts.training.look()
        for server in parts.servers:
            server.look()
        seen.look(parts, passed)
        if passed - said > 300:
            said = passed
            print(
                f"  {passed / 60:.0f} min: {seen.open[-1]} open, {parts.kills}", file=sys.stderr, flush=True
            )
        if any(work.done() for work in works):
            raise RuntimeError("the annotators ended before their time")
        time.sleep(min(5.0, minutes))
    return seen


def make(trouble: Callable[[Parts], None], parts: Parts) -> None:
    """What could not be done is told, and ends nothing."""
    try:
        trouble(parts)
    except Exception as error:
        parts.count(f"trouble that could not be made: {type(error).__name__}: {error}"[:200])


def answers_of_training(run: Path) -> set[str]:
    """Ids of the answers that stand in the training's own log."""
    standing = set()
    for line in (run / "labels.jsonl").read_bytes().rpartition(b"\n")[0].splitlines():
        row = json.loads(line)
        if "retracts" in row:
            standing.discard(row["retracts"])
        else:
            standing.add(row["label"])
    return standing


def unused(store: LabelStore, study: str, run: Path) -> set[str]:
    rows = store.labels(study)
    return {row.uuid for row in rows if row.choice in MEANING} ^ answers_of_training(run)


def merged(ledgers: list[Ledger]) -> Ledger:
    """One, with people counted as the database does: the owner first, then those of each server."""
    whole, before = Ledger(), 1
    for ledger in ledgers:
        for answer in ledger.answers.values():
            answer.person += before
        whole.answers |= ledger.answers
        whole.undos |= ledger.undos
        whole.counts.update(ledger.counts)
        whole.refused += ledger.refused
        before += PEOPLE // len(ledgers)
    return whole


def damaged_pictures(store: LabelStore, file: SessionFile) -> int:
    storage, wrong = open_storage(file.media), 0
    for media in store.media(file.study):
        try:
            storage.get(media)
        except LabellingError:
            wrong += 1
    return wrong


def measure(folder: Path, minutes: float) -> dict[str, Any]:
    with (
        database_url_and_server(folder) as (database, postgres),
        s3_server(folder / "s3.log") as s3,
        cluster(2) as nodes,
    ):
        return with_cluster(folder, minutes, database, postgres, s3, nodes)


@contextmanager
def database_url_and_server(folder: Path) -> Iterator[tuple[str, Any]]:
    """The URL of an empty database, and the server, to be stopped and started."""
    with database_url("postgres", folder) as url:
        place = Path(url.rpartition("host=")[2])
        server = runpy.run_path(str(ROOT / "tests" / "postgres.py"))["Cluster"](place)
        yield url, server


def annotate_patiently(port: int, tokens: tuple[str, ...], pause: float, stop: Any) -> Ledger:
    """Nobody gives a request up: one that was stored, and never acknowledged, would count as a doubled row,
    and an undo of that kind as a lost answer. On a starved machine a server takes minutes to begin."""
    label_crowd.PATIENCE_SECONDS = 3600.0
    return label_crowd.annotate(port, tokens, LEASE_SECONDS, pause, stop)


def with_cluster(
    folder: Path, minutes: float, database: str, postgres: Any, s3: subprocess.Popen[bytes], nodes: list[Node]
) -> dict[str, Any]:
    address, sweep = nodes[0].address, folder / "sweep"
    place = ("--executor", "ray", "--address", address)
    command = train_words(database, "s3://hour/media")
    words = ("sweep", "--command", command, "--seeds", "1", "--out", str(sweep), *place)
    training = Driver(folder / "sweep.log", *words)
    try:
        wait_for(lambda: training.look() or any(has_session(run) for run in sweep.glob("trials/*/run")))
        run = next(sweep.glob("trials/*/run"))
        file = read_session_file(run)
        store = open_store(file.database)
        wait_for(lambda: len(store.annotators(file.study)) == 1)  # the owner
        tokens = [store.add_annotator(file.study, f"person {number}")[1] for number in range(PEOPLE)]
        wait_for(lambda: store.counts(file.study).open > 0)
        drawing = Driver(folder / "draw.log", "draw", str(run), *place)
        servers = [Fleet(file.database, file.media, 1) for _ in range(2)]
        parts = Parts(store, file, nodes, servers, training, drawing, s3, postgres)
        try:
            return hour(parts, run, tokens, minutes)
        finally:
            drawing.process.kill()
            for server in servers:
                server.close()
            store.close()
    except BaseException:
        logs = [folder / "sweep.log", folder / "draw.log", *sweep.glob("trials/*/log.txt")]
        for log in logs:
            if log.exists():
                print(f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
        raise
    finally:
        training.process.kill()


def hour(parts: Parts, run: Path, tokens: list[str], minutes: float) -> dict[str, Any]:
    store, study, share = parts.store, parts.file.study, PEOPLE // len(parts.servers)
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, ProcessPoolExecutor(len(parts.servers), mp_context=spawn) as pool:
        stop = manager.Event()
        works = [
            pool.submit(
                annotate_patiently, server.port, tuple(tokens[k * share : (k + 1) * share]), PAUSE, stop
            )
            for k, server in enumerate(parts.servers)
        ]
        try:
            seen = live(parts, minutes, works)
        finally:
            stop.set()
        deadline = time.monotonic() + 1200
        while not all(work.done() for work in works) and time.monotonic() < deadline:
            for server in parts.servers:
                server.look()
            time.sleep(0.5)
        ledger = merged([work.result(0) for work in works])
    session = Session(parts.file.database, parts.file.media, study, tuple(tokens))
    deadline = time.monotonic() + 300
    while unused(store, study, run) and time.monotonic() < deadline:  # what came last is on its way
        parts.training.look()
        time.sleep(2)
    left = len(unused(store, study, run))
    (run.parent / "stop").touch()
    found = check(session, ledger, set())
    bound = LEAD + BATCH + ROLLOUT * LABELS // STEPS + 1
    for line in ledger.refused[:20]:
        print(f"  refused: {line}", file=sys.stderr)
    result = {
        "lost": found.lost, "doubled": found.doubled, "unused": left,
        "pictures": damaged_pictures(store, parts.file), "refused": found.refused,
        "acknowledged": found.acknowledged, "labels": store.counts(study).labels,
        "pictures_drawn": len(store.media(study)),
        "queue_max": max(seen.open), "queue_bound": bound, "rendering_max": max(seen.rendering),
        "leased_max": max(seen.leased), "looks": len(seen.when), "database_away": seen.away,
        "trouble": parts.kills,
        "gave_up": {
            "drawing": parts.drawing.ended_alone, "training": parts.training.ended_alone,
            "servers": sum(server.died_alone for server in parts.servers),
        },
        "cut": {what: count for what, count in sorted(ledger.counts.items()) if "cut" in what},
        "mb_per_hour": {name: round(seen.slope(name), 1) for name in seen.memory[0]},
    }  # fmt: skip
    training = parts.training.process
    with suppress(subprocess.TimeoutExpired):
        training.wait(180)
    result["training_ended_with"] = training.poll()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true", help="2 minutes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("it was ended"))  # and cleans up
    minutes = 2.0 if options.quick else options.minutes
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {PEOPLE} annotators, ", end=""
    )
    print(f"{minutes:g} minutes (load before: {os.getloadavg()[0]:.1f})\n", flush=True)
    began, before = time.monotonic(), sum(os.times()[:4])
    with tempfile.TemporaryDirectory(prefix="surefoot-hour-") as name:
        result = measure(Path(name), minutes)
    seconds = time.monotonic() - began
    result["cpu_share"] = round((sum(os.times()[:4]) - before) / seconds, 3)
    result["load_after"] = round(os.getloadavg()[0], 1)
    columns = ("acknowledged", "labels", "lost", "doubled", "unused", "pictures", "queue_max", "queue_bound")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    print(f"| {' | '.join(str(result[name]) for name in columns)} |\n")
    for what, count in result["trouble"].items():
        print(f"{count} x {what}")
    print(json.dumps(result))
    wrong = sum(result[name] for name in ("lost", "doubled", "unused", "pictures"))
    sys.exit(wrong > 0 or not result["acknowledged"] or result["queue_max"] > result["queue_bound"])


if __name__ == "__main__":
    main()
