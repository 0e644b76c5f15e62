"""How fast the labelling page is for the person before it, in a real chromium.

    python tests/benchmarks/bench_label_page.py [--quick] [--env mujoco:Hopper]

A short run asks a scripted teacher about real clips; its labelling session is then served as by
`surefoot label`, the clips drawn beforehand. A scripted user presses keys: once at human pace
(log-normal, two of three answers within 3 to 5 s of the pair's painting) and once as fast as
the page allows (0.55 s). "painted" is a task after the frame that shows the pair.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from label_browser import BrowserUser, chromium
from label_session import serving
from playwright.sync_api import Browser

from agents.preferences.labelling.config import PeopleConfig
from agents.preferences.labelling.relabel import session_about
from agents.preferences.labelling.session_file import Session

TARGETS = {"press": 100.0, "first": 1500.0, "start": 200.0}
"""milliseconds"""


@dataclass
class Seen:
    """Milliseconds."""

    press: list[float] = field(default_factory=list)
    """key press -> next pair painted"""
    start: list[float] = field(default_factory=list)
    """pair painted -> its second frame painted"""
    answers: int = 0
    minutes: float = 0.0
    pressed_again: int = 0
    """answers that the page did not take at first: the clips had been seen for less than half a second"""


def make_run(folder: Path, env: str, pairs: int) -> Path:
    """A run whose teacher is asked about clips of a policy that hardly learns."""
    run = folder / "run"
    command = [str(Path(sys.executable).with_name("surefoot")), "train", "preferences", "--env", env]
    command += ["--labels", str(pairs), "--steps", "2048", "--schedule", "offline", "--no-videos"]
    command += ["--run", str(run), "--set", "evaluation_episodes=1", "--set", "final_episodes=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return run


def open_links(browser: Browser, session: Session, port: int, times: int) -> list[float]:
    """Milliseconds from opening a link in a fresh browser profile to the first pair painted."""
    found = []
    for number in range(times):
        user = BrowserUser(browser)
        opened = user.open(link(session, port, f"visitor {number}"))
        pair = user.pair(0)
        assert pair is not None, user.said
        found.append(1e3 * (pair.opened_at - opened))
        user.page.close()
    return found


def label(browser: Browser, session: Session, port: int, answers: int, human: bool) -> Seen:
    """Answers so many pairs; a person's reaction counts from the pair's painting."""
    user, seen = BrowserUser(browser), Seen()
    user.open(link(session, port, "human pace" if human else "hurry"))
    pair, started = user.pair(0), time.monotonic()
    for number in range(answers + 1):
        assert pair is not None, user.said
        if number and pair.after_press is not None:
            seen.press.append(1e3 * pair.after_press)
        motion = user.motion(number)
        if motion is not None:
            seen.start.append(1e3 * motion)
        seen.answers, seen.minutes = number, (time.monotonic() - started) / 60
        if number < answers:
            look = random.lognormvariate(math.log(3.9), 0.25) if human else 0.55
            user.page.wait_for_timeout(1e3 * max(0.0, pair.opened_at + look - time.time()))
            pair = user.answer(pair, random.choice(("left", "right")))
    seen.pressed_again = user.pressed_again
    user.page.close()
    return seen


def link(session: Session, port: int, name: str) -> str:
    token = session.store.add_annotator(session.study.id, name)[1]
    return f"http://127.0.0.1:{port}/join#{token}"


def wait_until_drawn(session: Session, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while session.store.counts(session.study.id).rendering:
        if time.monotonic() > deadline:
            raise RuntimeError(f"clips are not drawn after {seconds:.0f} s")
        time.sleep(0.3)


def row(what: str, values: list[float], target: float | None) -> None:
    p50, p95 = (float(np.percentile(values, percent)) for percent in (50, 95))
    verdict = "" if target is None else f"{'met' if p95 < target else 'MISSED'} (p95 < {target:.0f} ms)"
    print(f"| {what} | {len(values)} | {p50:.0f} | {p95:.0f} | {max(values):.0f} | {verdict} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few pairs")
    parser.add_argument("--env", default="mujoco:Hopper")
    parser.add_argument("--answers", type=int, default=100, help="in a hurry; at human pace 40")
    options = parser.parse_args()
    answers, slow, openings = (12, 3, 3) if options.quick else (options.answers, 40, 10)
    random.seed(0)
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
        machine += f" (load before: {os.getloadavg()[0]:.1f})"
        print(f"{machine}, chromium {browser.version}, {options.env}\n", flush=True)
        run = make_run(Path(name), options.env, answers + slow + 20)
        session = session_about(run, PeopleConfig(overlap_share=0.0, repeat_share=0.0))
        with serving(session.file.database, session.file.media) as server:
            wait_until_drawn(session)
            opened = open_links(browser, session, server.port, openings)
            human = label(browser, session, server.port, slow, human=True)
            hurry = label(browser, session, server.port, answers, human=False)
        session.store.close()
    print("| what | times | p50 ms | p95 ms | longest ms | target |\n|---|---|---|---|---|---|")
    row("key press → next pair painted, human pace", human.press, TARGETS["press"])
    row("key press → next pair painted, an answer every 0.55 s", hurry.press, TARGETS["press"])
    row("pair painted → clips move, human pace", human.start, TARGETS["start"])
    row("pair painted → clips move, an answer every 0.55 s", hurry.start, TARGETS["start"])
    row("link opened → first pair painted, fresh profile", opened, TARGETS["first"])
    rates = {"human": human.answers / human.minutes, "hurry": hurry.answers / hurry.minutes}
    again = human.pressed_again + hurry.pressed_again
    print(f"\nLabels a minute: {rates['human']:.1f} at human pace, {rates['hurry']:.1f} in a hurry.")
    print(f"Keys pressed again because the page had not shown the pair for long enough: {again}.")
    result = {
        "press_p50_ms": round(float(np.percentile(human.press, 50)), 1),
        "press_p95_ms": round(float(np.percentile(human.press, 95)), 1),
        "hurry_press_p95_ms": round(float(np.percentile(hurry.press, 95)), 1),
        "start_p95_ms": round(float(np.percentile(human.start, 95)), 1),
        "first_pair_p95_ms": round(float(np.percentile(opened, 95)), 1),
        "labels_per_minute": round(rates["human"], 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
