"""`surefoot label`, and the same server beside a training run."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from multiprocessing import connection
from pathlib import Path
from types import TracebackType

from agents.preferences.labelling.config import PeopleConfig
from agents.preferences.labelling.serve import serve
from agents.preferences.labelling.session_file import Session, has_session, open_session
from agents.preferences.labelling.types import LabellingError
from agents.run_lock import is_running

logger = logging.getLogger(__name__)
RESTART_SECONDS = 2.0


def label_run(
    run: Path,
    people: PeopleConfig,
    *,
    invite: Sequence[str] = (),
    hours: float | None = None,
    origins: Sequence[str] = (),
    secure: bool = False,
    training: bool = False,
) -> None:
    """Serves a run's labelling session until it is stopped, and prints the links.

    A run without a session gets one about the pairs that it asked its simulated teacher. invite: names
    of people to make links for, which end after so many hours. training: the caller trains this run.
    """
    if not (run / "config.json").exists():
        raise LabellingError(f"{run} is not a run: give the folder of one, such as runs/Hopper-preferences-0")
    session = open_session(run) if has_session(run) else _session_about(run, people)
    try:
        links = [("you, the owner", session.file.owner_token), *_invitations(session, invite, hours)]
        if not training and not is_running(run) and session.study.state != "finished":
            print(f"No training is under way: answers are kept. Go on with it: surefoot resume {run}")
        serve(
            session.file.database,
            session.file.media,
            people.host,
            people.port,
            people.processes,
            origins=tuple(origins),
            secure=secure,
            announce=lambda address: _print_links(address, links),
        )
    finally:
        session.store.close()


def _session_about(run: Path, people: PeopleConfig) -> Session:
    # Imported here: a server beside a training needs neither torch nor the simulators.
    from agents.preferences.labelling.relabel import session_about

    return session_about(run, people)


def _invitations(session: Session, names: Sequence[str], hours: float | None) -> list[tuple[str, str]]:
    """(name, token) of every person that was asked in anew."""
    expires = datetime.now(timezone.utc) + timedelta(hours=hours) if hours else None
    return [(name, session.store.add_annotator(session.study.id, name, expires=expires)[1]) for name in names]


def _print_links(address: str, links: Sequence[tuple[str, str]]) -> None:
    """The part after # never leaves a browser's address bar, so no log on the way keeps it."""
    print("\nOpen in a browser (each link lets its person in, so give it to nobody else):")
    for name, token in links:
        print(f"  {name}: {address}/join#{token}")
    print(f"  the owner's dashboard, after that: {address}/owner\n", flush=True)


class ServerBeside:
    """The server of a training run in a process of its own, started again should it end."""

    def __init__(self, run: Path, people: PeopleConfig) -> None:
        self._run, self._people = run, people
        self._ending = threading.Event()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._keeper = threading.Thread(target=self._keep, name="label server", daemon=True)

    def __enter__(self) -> ServerBeside:
        self._start()
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._keeper.join()
        assert self._process is not None
        self._process.terminate()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _start(self) -> None:
        # Spawned, not forked: the trainer has threads and an open database.
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(
            target=_serve_beside, args=(self._run, self._people), name="label server"
        )
        self._process.start()

    def _keep(self) -> None:
        while not self._ending.wait(0.5):
            if self._process is not None and not self._process.is_alive():
                logger.warning("the labelling server ended; starting it again")
                self._process.join()
                time.sleep(RESTART_SECONDS)
                if not self._ending.is_set():
                    self._start()


def _serve_beside(run: Path, people: PeopleConfig) -> None:
    """Runs in the server's process. Ctrl-C is for the trainer, which then ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    try:
        label_run(run, people, training=True)
    except LabellingError as error:
        logger.error("no labelling page: %s", error)


def _end_with_parent() -> None:
    """A trainer that was killed cannot stop this process, and it would keep the port."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
