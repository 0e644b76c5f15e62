"""The server as people start it: its port, its processes, its end, and the events that it sends."""

import contextlib
import json
import logging
import os
import runpy
import signal
import socket
import sqlite3
import threading
import time
import uuid
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs the extra 'label'")

from agents.preferences.labelling.limits import Limits
from agents.preferences.labelling.serve import ServeError, Settings, address, serve, warn_if_open
from agents.preferences.labelling.storage import open_storage
from agents.preferences.labelling.store import open_store
from agents.preferences.labelling.types import Study, UnavailableError
from agents.serving import ListenError, listen

HERE = Path(__file__).parent
clips = runpy.run_path(str(HERE / "label_server.py"))
LabelServer = clips["LabelServer"]
server = runpy.run_path(str(HERE / "label_app.py"))
running, person = server["running"], server["person"]


class Listener:
    """Reads a stream of events in a thread, as a page does."""

    def __init__(self, url: str, token: str) -> None:
        self.events: list[tuple[str, dict]] = []
        self.lines: list[str] = []
        self.ended = threading.Event()
        self.status = 0
        self._thread = threading.Thread(target=self._read, args=(url, token), daemon=True)
        self._thread.start()

    def _read(self, url: str, token: str) -> None:
        kind = ""
        with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=url, timeout=30) as client:
            client.post("/api/session", json={"token": token})
            with client.stream("GET", "/api/events") as response:
                self.status = response.status_code
                for line in response.iter_lines():
                    self.lines.append(line)
                    if line.startswith("event: "):
                        kind = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        self.events.append((kind, json.loads(line.removeprefix("data: "))))
        self.ended.set()

    def wait_for(self, what, seconds: float = 60) -> dict:
        """The first event's content that fits; `what` gets its kind and content."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for kind, content in list(self.events):
                if what(kind, content):
                    return content
            time.sleep(0.02)
        raise AssertionError(f"no such event came; those that did: {self.events}")


def answer_one(client: httpx.Client) -> None:
    [question] = client.post("/api/lease", json={"n": 1, "held": []}).json()["queries"]
    body = {"uuid": str(uuid.uuid4()), "query": question["query"], "choice": "left"}
    assert client.post("/api/labels", json=body).status_code == 200


@pytest.fixture
def study(tmp_path):
    """(store, storage, tokens) of a small study on SQLite."""
    store = open_store(f"sqlite:///{tmp_path / 'labels.db'}")
    storage = open_storage(str(tmp_path / "media"))
    checks = {"repeat_share": 0.0, "gold_share": 0.0, "overlap_share": 0.0}
    store.create_study(Study("study", "Study", clips["ENV"], "Judge.", 10, 20, **checks))
    store.add_queries("study", [clips["new_query"](storage, index) for index in range(3)])
    clips["draw_all"](store, storage, 32)
    roles = {"owner": "owner", "ann": "annotator", "bob": "annotator"}
    yield store, storage, {who: store.add_annotator("study", who, role)[1] for who, role in roles.items()}
    store.close()


# -- events -------------------------------------------------------------------------------------------


def test_events_tell_what_changes_and_nothing_else(study):
    store, storage, tokens = study
    with running(store, storage) as (url, _):
        ann, bob = person(url, tokens["ann"]), Listener(url, tokens["bob"])
        first = bob.wait_for(lambda kind, _: kind == "stats")
        assert (first["given"], first["mine"], first["open"]) == (0, 0, 3)
        time.sleep(0.5)
        assert len(bob.events) == 1  # nothing happened, so nothing was said
        answer_one(ann)
        after = bob.wait_for(lambda kind, content: content.get("given") == 1)
        assert (after["mine"], after["open"]) == (0, 2)
        store.log_event("study", "training", {"state": "training", "text": "Learning.", "step": 5})
        assert bob.wait_for(lambda _, content: content.get("step") == 5)["training"]["text"] == "Learning."
        store.set_state("study", "paused")
        paused = bob.wait_for(lambda _, content: content.get("state") == "paused")
        assert paused["wait"]["reason"] == "paused"
        assert bob.lines[0] == "retry: 2000"


def test_events_are_everybodys_own(study):
    store, storage, tokens = study
    with running(store, storage) as (url, _):
        ann = Listener(url, tokens["ann"])
        bob = Listener(url, tokens["bob"])
        answer_one(person(url, tokens["ann"]))
        assert ann.wait_for(lambda _, content: content.get("given") == 1)["mine"] == 1
        assert bob.wait_for(lambda _, content: content.get("given") == 1)["mine"] == 0


def test_one_look_at_the_database_serves_all_who_listen(study, monkeypatch):
    store, storage, tokens = study
    looks = []
    counted = store.counts
    monkeypatch.setattr(store, "counts", lambda study: looks.append(study) or counted(study), raising=False)
    with running(store, storage, poll_seconds=0.2) as (url, app):
        listeners = [Listener(url, tokens[who]) for who in ("ann", "bob", "owner") for _ in range(4)]
        for one in listeners:
            one.wait_for(lambda kind, _: kind == "stats")
        looks.clear()
        time.sleep(1.0)
        assert 1 <= len(looks) <= 7
        assert len(app.state.desk.hub._topics) == 1


def test_a_page_that_is_closed_is_forgotten(study):
    store, storage, tokens = study
    with running(store, storage) as (url, app):
        hub = app.state.desk.hub
        with person(url, tokens["ann"]).stream("GET", "/api/events") as response:
            lines = response.iter_lines()  # kept: an iterator that is dropped closes the connection
            assert next(lines) == "retry: 2000"
            assert sum(hub._streams.values()) == 1
        deadline = time.monotonic() + 60
        while hub._topics or sum(hub._streams.values()):
            assert time.monotonic() < deadline, "the stream was kept"
            time.sleep(0.02)


def test_a_revoked_link_ends_its_stream(study):
    store, storage, tokens = study
    with running(store, storage) as (url, _):
        ann = Listener(url, tokens["ann"])
        ann.wait_for(lambda kind, _: kind == "stats")
        store.revoke(next(one.id for one in store.annotators("study") if one.name == "ann"))
        store.log_event("study", "training", {"state": "training", "step": 1})
        assert "withdrawn" in ann.wait_for(lambda kind, _: kind == "end")["detail"]
        assert ann.ended.wait(60)


def test_nobody_can_listen_without_end(study):
    store, storage, tokens = study
    with running(store, storage, limits=Limits(streams=2)) as (url, _):
        listeners = [Listener(url, tokens["ann"]) for _ in range(2)]
        for one in listeners:
            one.wait_for(lambda kind, _: kind == "stats")
        assert person(url, tokens["ann"]).get("/api/events").status_code == 429
        Listener(url, tokens["bob"]).wait_for(lambda kind, _: kind == "stats")


def test_a_database_that_is_away_is_said_once_and_then_left_behind(study, monkeypatch, caplog):
    store, storage, tokens = study
    away = threading.Event()
    counted = store.counts

    def counts(study_id):
        if away.is_set():
            raise UnavailableError("The database is away. Nothing was stored.")
        return counted(study_id)

    monkeypatch.setattr(store, "counts", counts, raising=False)
    with running(store, storage) as (url, _), caplog.at_level(logging.WARNING):
        ann = Listener(url, tokens["ann"])
        ann.wait_for(lambda kind, _: kind == "stats")
        away.set()
        assert "away" in ann.wait_for(lambda kind, _: kind == "trouble")["detail"]
        time.sleep(0.5)
        assert [kind for kind, _ in ann.events].count("trouble") == 1
        assert caplog.text.count("The database is away") == 1
        away.clear()
        deadline = time.monotonic() + 60
        while ann.events[-1][0] != "stats":
            assert time.monotonic() < deadline
            time.sleep(0.02)


# -- the port -----------------------------------------------------------------------------------------


def test_a_port_that_is_taken_gives_the_next_one_or_a_clear_message(caplog):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with caplog.at_level(logging.WARNING), listen("127.0.0.1", port) as other:
            assert port < other.getsockname()[1] <= port + 20
        assert f"port {port} is in use" in caplog.text
        with pytest.raises(ListenError, match=f"port {port} is in use"):
            listen("127.0.0.1", port, tries=1)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7", "::::", "a" * 300])
def test_a_host_that_is_not_ours_is_refused_in_words(host):
    with pytest.raises(ListenError, match=r"no address of this machine|cannot listen"):
        listen(host, 0)


def test_a_busy_port_fails_before_anything_is_served(tmp_path):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match="in use"):
            serve(f"sqlite:///{tmp_path / 'l.db'}", str(tmp_path / "m"), port=port, exact_port=True)


def test_the_address_is_one_that_a_browser_can_open():
    with listen("0.0.0.0", 0) as everywhere:
        port = everywhere.getsockname()[1]
        assert address(everywhere, Settings("", "")) == f"http://127.0.0.1:{port}"
        proxy = Settings("", "", ("https://label.example.org/",))
        assert address(everywhere, proxy) == "https://label.example.org"
    with listen("127.0.0.1", 0) as here:
        assert address(here, Settings("", "", secure=True)).startswith("https://127.0.0.1:")


def test_an_open_door_is_said_loudly(caplog):
    for host in ("127.0.0.1", "::1", "localhost"):
        warn_if_open(host, False)
    assert caplog.text == ""
    warn_if_open("0.0.0.0", False)
    assert "everybody on the network" in caplog.text


def test_a_database_that_cannot_be_used_is_said_before_serving(tmp_path):
    (tmp_path / "labels.db").write_bytes(b"this is no database, but a letter to a friend. " * 100)
    with pytest.raises(UnavailableError, match="not a SQLite database"):
        serve(f"sqlite:///{tmp_path / 'labels.db'}", str(tmp_path / "m"), port=0)


# -- real processes -----------------------------------------------------------------------------------


def descendants(pid: int) -> list[int]:
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [one for child in children for one in descendants(child)]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pids: list[int], seconds: float) -> bool:
    """Whether all of them end within this time."""
    deadline = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_ends_it_cleanly_though_pages_listen(tmp_path, processes):
    made = LabelServer(tmp_path, queries=2)
    try:
        made.start(processes)
        token = made.owner_token
        listeners = [Listener(made.url, token) for _ in range(3)]
        for one in listeners:
            one.wait_for(lambda kind, _: kind == "stats", 30)
        process = made.process
        family = descendants(process.pid)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert time.monotonic() - began < 8  # within seconds, on a busy machine too
        assert all(one.ended.wait(60) for one in listeners)
        assert gone(family, 5)
        assert "Traceback" not in made.log()
        made.process = None
    finally:
        made.close()


@pytest.mark.slow
def test_two_processes_serve_one_session_and_outlive_one_of_them(tmp_path):
    made = LabelServer(tmp_path, queries=30)
    try:
        made.start(2)
        people = [made.invite(f"person-{number}").partition("#")[2] for number in range(4)]
        listener = Listener(made.url, made.owner_token)
        listener.wait_for(lambda kind, _: kind == "stats", 30)
        answers: list[str] = []

        def work(token: str) -> None:
            with httpx.Client(base_url=made.url, timeout=30) as client:
                client.post("/api/session", json={"token": token})
                for _ in range(5):
                    offered = client.post("/api/lease", json={"n": 1, "held": []}).json()["queries"]
                    body = {"uuid": str(uuid.uuid4()), "query": offered[0]["query"], "choice": "left"}
                    assert client.post("/api/labels", json=body).status_code == 200
                    answers.append(body["uuid"])

        threads = [threading.Thread(target=work, args=(token,)) for token in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(answers) == 20
        assert {row.uuid for row in made.store.labels(made.study)} == set(answers)
        # Nobody was asked another's pair.
        assert len({row.query for row in made.store.labels(made.study)}) == 20
        listener.wait_for(lambda _, content: content.get("given") == 20, 30)
        workers = [pid for pid in descendants(made.process.pid) if is_worker(pid)]
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        for _ in range(10):  # the other goes on, and the lost one is replaced
            with contextlib.suppress(httpx.TransportError):
                assert httpx.get(f"{made.url}/api/health", timeout=30).status_code == 200
            time.sleep(0.1)
        assert made.process.poll() is None
    finally:
        made.close()


def is_worker(pid: int) -> bool:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return b"--multiprocessing-fork" in words


@pytest.mark.slow
def test_processes_do_not_outlive_a_supervisor_that_was_killed(tmp_path):
    made = LabelServer(tmp_path, queries=1)
    try:
        made.start(2)
        family = descendants(made.process.pid)
        made.process.kill()
        made.process.wait(60)
        assert gone(family, 15), "they keep the port"
        made.start(1)  # at the same port
        assert httpx.get(f"{made.url}/api/health", timeout=30).json() == {"status": "ok"}
    finally:
        made.close()


@pytest.mark.slow
def test_labels_are_there_after_the_plug_was_pulled(tmp_path):
    made = LabelServer(tmp_path, queries=3)
    try:
        made.start(1)
        token = made.invite("ann").partition("#")[2]
        with httpx.Client(base_url=made.url, timeout=30) as client:
            client.post("/api/session", json={"token": token})
            answer_one(client)
        made.kill()
        with contextlib.closing(sqlite3.connect(tmp_path / "labels.db")) as raw:
            assert raw.execute("SELECT count(*) FROM label").fetchone() == (1,)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", made.port), 1)
    finally:
        made.close()
