"""Runs one trial: its command in a process of its own, and what came of it in one file.

<sweep>/trials/<key>/  trial.json, run/ (of commands that keep a folder), log.txt, result.json when it is done
Killed at any moment, the same call goes on: a finished trial is not run again, a run is resumed.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from agents.run_lock import RunError, is_running, lock_run
from agents.sweep.task import TAIL, TaskError
from agents.sweep.version import our_version
from envs.files import write_durably

RESULT, STOP, LOG = "result.json", "stop", "log.txt"
LOCK_SECONDS = 600.0
"""that a trial waits for the process that a killed driver left behind, and that is saving its state"""
POLL_SECONDS = 0.5
STOP_SECONDS = 120.0
"""that a run gets to save its state before it is killed"""

# The run is told to end, and saves itself, when the process that started it is gone: nothing goes on unseen.
_RUN = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started this is gone")
sys.argv = ["surefoot", *sys.argv[2:]]
from surefoot import main
main()
"""


def run_trial(folder: str, words: Sequence[str], about: dict[str, Any], cwd: str) -> dict[str, Any]:
    """Returns the content of result.json. words: the command line after "surefoot"; cwd: where it is run.

    Raises TaskError with the end of its log when the command fails.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    with _locked(place):
        if (known := read_result(place)) is not None:
            return known
        write_durably(place / "trial.json", _json({**about, "words": list(words)}))
        began = time.monotonic()
        code = _run(place, _command(place, words), Path(cwd))
        result = {
            **about,
            "state": "done" if code == 0 else "pruned",
            "summary": _summary(place),
            "seconds": round(time.monotonic() - began, 1),
            "host": platform.node(),
            "version": our_version(),
        }
        if code and not (place / STOP).exists():
            raise TaskError(f"`surefoot {' '.join(words)}` ended with {code}; {log_tail(place)}")
        write_durably(place / RESULT, _json(result))
        return result


def read_result(folder: Path) -> dict[str, Any] | None:
    """What a finished trial left; None before."""
    try:
        content: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content


def log_tail(folder: Path, lines: int = TAIL) -> str:
    """The end of a trial's log, and where the rest is."""
    file = folder / LOG
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    return "\n".join([f"the end of {file}:", *text.splitlines()[-lines:]])


def _command(place: Path, words: Sequence[str]) -> list[str]:
    """To begin, or to go on where an earlier attempt was stopped."""
    run = place / "run"
    if words[0] == "train":
        return ["resume", str(run)] if (run / "run.json").exists() else [*words, "--run", str(run)]
    return [*words, "--out", str(run)] if words[0] == "collect" else list(words)


def _run(place: Path, words: Sequence[str], cwd: Path) -> int:
    """The exit code. Standard output, where commands print their JSON, is kept apart from the log."""
    command = [sys.executable, "-c", _RUN, str(os.getpid()), *words]
    run = place / "run"
    with (place / LOG).open("ab") as log, (place / "out.txt").open("wb") as out:
        log.write(f"$ surefoot {' '.join(words)}\n".encode())
        log.flush()
        _wait_for_lock(run)
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd=cwd, start_new_session=True
        )
        try:
            return _follow(process, place / STOP)
        finally:
            if process.poll() is None:
                process.terminate()


def _follow(process: subprocess.Popen[bytes], stop: Path) -> int:
    """Until it ends, or is asked to by a file, which every node sees."""
    while True:
        try:
            return process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if stop.exists():
                break
    process.terminate()
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _summary(place: Path) -> Any:
    """summary.json of the run, or the JSON that the command printed last."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((place / "run" / "summary.json").read_text(encoding="utf-8"))
    printed = (place / "out.txt").read_text(encoding="utf-8", errors="replace").strip()
    for text in (printed, printed.rpartition("\n")[2]):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    return None


def _locked(place: Path) -> IO[str]:
    """One process at a time works on a trial; whoever comes second waits for a while."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return lock_run(place)
        except RunError as error:
            if time.monotonic() > deadline:
                raise TaskError(f"after {LOCK_SECONDS:.0f} s still: {error}") from error
            time.sleep(POLL_SECONDS)


def _wait_for_lock(run: Path) -> None:
    """For a process of an earlier attempt, which is saving its state."""
    deadline = time.monotonic() + LOCK_SECONDS
    while run.exists() and is_running(run):
        if time.monotonic() > deadline:
            raise TaskError(f"{run} is in use by another process for {LOCK_SECONDS:.0f} s: stop it first")
        time.sleep(POLL_SECONDS)


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
