"""The closed loop: a scripted user in a browser against the scripted teacher inside the training.

    python tests/benchmarks/bench_label_loop.py [--quick] [--seeds 3] [--labels 200]

`surefoot train preferences --teacher people` on classic:Pendulum prints its link; a user in chromium
opens it and presses the key of the better clip. Which one that is comes from the hidden true reward
in the run's clips, by the same rule and with the same mistakes (10 %) as the teacher inside; it never
goes through the page. The other run of each seed asks that teacher. Both have the same number of
labels; in the browser the policy goes on while it waits, so the runs are not the same bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench_preferences import zero
from label_browser import BrowserUser, Pair, chromium
from playwright.sync_api import Browser, Error
from sqlalchemy import select

from agents.preferences.comparison import Query
from agents.preferences.labelling.database import Database
from agents.preferences.labelling.schema import query, segment
from agents.preferences.labelling.session_file import Session, has_session, open_session
from agents.preferences.teachers import ScriptedTeacher, TeacherConfig
from envs.dataset import EpisodeDataset
from envs.episode import Clip

ENV = "classic:Pendulum"
ERRORS = 0.1
LOOK_SECONDS = 0.55
"""how long the user looks; the page takes no answer in the first half second"""


@dataclass(frozen=True)
class Outcome:
    """What one run learnt: true return over labels, and in the end."""

    curve: list[tuple[float, float]]
    final: float
    labels: int
    seconds: float


class Truth:
    """The scripted teacher's answers about what the browser shows, from the run's own files."""

    def __init__(self, run: Path, session: Session, seed: int) -> None:
        self._teacher = ScriptedTeacher(TeacherConfig("mistake", error_rate=ERRORS), seed)
        self._session = session
        self._database = Database(session.file.database)
        self._clips = EpisodeDataset(run / "clips", read_only=True)
        self._queries: dict[tuple[str, str], Query] = {}

    def choice(self, pair: Pair) -> str:
        """By the screen's sides."""
        left, right = (address.rsplit("/", 1)[-1] for address in (pair.left, pair.right))
        if (left, right) not in self._queries and (right, left) not in self._queries:
            self._look()
        swapped = (left, right) not in self._queries
        asked = self._queries[(right, left) if swapped else (left, right)]
        answer = self._teacher.answer(asked, self._clips[asked.left], self._clips[asked.right]).answer
        return {"left": "right", "right": "left"}.get(answer, answer) if swapped else answer

    def _look(self) -> None:
        self._clips.refresh()
        rows = {row["key"]: row for row in self._session.store.train_queries(self._session.study.id)}
        left, right = segment.alias(), segment.alias()
        drawn = (
            select(query.c.key, left.c.media, right.c.media)
            .join(left, left.c.id == query.c.left_segment)
            .join(right, right.c.id == query.c.right_segment)
        )
        for key, *pictures in self._database.read(lambda connection: connection.execute(drawn).all()):
            row = rows[key]
            clips = [Clip(*row["clips"][side]) for side in ("left", "right")]
            why = row["chosen_by"], row["score"], row["reward_version"], row["step"]
            self._queries[pictures[0], pictures[1]] = Query(row["index"], *clips, *why)


def train(run: Path, seed: int, options: argparse.Namespace, *more: str) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("surefoot")), "train", "preferences", "--env", ENV]
    command += ["--labels", str(options.labels), "--steps", str(options.steps), "--seed", str(seed)]
    command += ["--run", str(run), "--no-videos", "--set", "learner.env_threads=1", *more]
    with (run.parent / f"{run.name}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})


def outcome(run: Path, seconds: float) -> Outcome:
    summary = json.loads((run / "summary.json").read_text())
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    curve = [(row["labels"], row["true_return"]) for row in rows if "true_return" in row]
    return Outcome(curve, summary["final_return"], summary["labels"], seconds)


def inside(run: Path, seed: int, options: argparse.Namespace) -> Outcome:
    """The scripted teacher, asked in the training's own process."""
    started = time.monotonic()
    errors = ("--teacher", "mistake", "--teacher-errors", str(ERRORS))
    training = train(run, seed, options, *errors)
    if training.wait(options.minutes * 60):
        raise RuntimeError((run.parent / f"{run.name}.log").read_text()[-3000:])
    return outcome(run, time.monotonic() - started)


def in_browser(browser: Browser, run: Path, seed: int, options: argparse.Namespace) -> Outcome:
    """The same training with a user of the page."""
    started = time.monotonic()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = ("people.overlap_share=0", "people.repeat_share=0", f"people.port={port}")
    settings = [word for setting in alone for word in ("--set", setting)]
    training = train(run, seed, options, "--teacher", "people", *settings)
    try:
        link = wait_for_link(run, port, training)
        user = BrowserUser(browser)
        user.open(link)
        answer_until_finished(user, run, seed, training, started + options.minutes * 60)
        if training.wait(120):
            raise RuntimeError((run.parent / f"{run.name}.log").read_text()[-3000:])
    finally:
        training.kill()
        training.wait()
    return outcome(run, time.monotonic() - started)


def wait_for_link(run: Path, port: int, training: subprocess.Popen[bytes]) -> str:
    """An invitation to the run's page, once the page answers."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and training.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.2)
            continue
        if has_session(run):
            session = open_session(run)
            token = session.store.add_annotator(session.study.id, "browser")[1]
            session.store.close()
            return f"http://127.0.0.1:{port}/join#{token}"
    raise RuntimeError(f"no page came:\n{(run.parent / f'{run.name}.log').read_text()[-3000:]}")


def answer_until_finished(
    user: BrowserUser, run: Path, seed: int, training: subprocess.Popen[bytes], deadline: float
) -> None:
    session = open_session(run)
    try:
        pair, truth = user.pair(0, deadline - time.monotonic()), Truth(run, session, seed)
        while pair is not None and training.poll() is None and time.monotonic() < deadline:
            choice = truth.choice(pair)
            user.page.wait_for_timeout(1e3 * LOOK_SECONDS)
            following = None
            while following is None and training.poll() is None and time.monotonic() < deadline:
                following = user.answer(pair, choice, seconds=2.5)
            pair = following
    except Error:
        if training.poll() is None:
            raise
    finally:
        user.page.close()
        session.store.close()


def at(curve: list[tuple[float, float]], labels: float) -> float:
    """True return at a number of labels: the last evaluation that had no more."""
    return [value for count, value in curve if count <= labels][-1]


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, few labels and steps: learns little")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--steps", type=int, default=122_880)
    parser.add_argument("--minutes", type=float, default=12.0, help="at most, for a run")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.labels, options.steps = 1, 40, 8192
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {ENV}")
    outcomes: dict[str, list[Outcome]] = {"inside the training": [], "user of the browser": []}
    with tempfile.TemporaryDirectory() as name:
        for seed in range(options.seeds):
            outcomes["inside the training"].append(inside(Path(name) / f"inside-{seed}", seed, options))
            with chromium() as browser:
                run = Path(name) / f"browser-{seed}"
                outcomes["user of the browser"].append(in_browser(browser, run, seed, options))
            print(f"seed {seed}: {[round(found[-1].final) for found in outcomes.values()]}", flush=True)
    counts = [round(share * options.labels) for share in (0.25, 0.5, 0.625, 0.75, 0.875, 1.0)]
    floor = zero(ENV)
    columns = ("teacher", "seeds", *(f"{count} labels" for count in counts), "final return", "wall s a run")
    print(f"\nTrue return, median (range) of seeds; zero of the score: {floor:.0f}\n")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for teacher, found in outcomes.items():
        curve = [spread([at(one.curve, count) for one in found]) for count in counts]
        row = [teacher, str(len(found)), *curve, spread([one.final for one in found])]
        print(f"| {' | '.join(row)} | {statistics.median(one.seconds for one in found):.0f} |")
    inside_score, browser_score = (
        statistics.median(one.final for one in found) - floor for found in outcomes.values()
    )
    result = {
        "browser_score_ratio": round(browser_score / inside_score, 3),
        "labels": [one.labels for one in outcomes["user of the browser"]],
        "final_inside": [round(one.final, 1) for one in outcomes["inside the training"]],
        "final_browser": [round(one.final, 1) for one in outcomes["user of the browser"]],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
