"""The annotators' and the owner's API over real databases, through real HTTP."""

import json
import logging
import runpy
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs the extra 'label'")

from agents.preferences.labelling.limits import Limits
from agents.preferences.labelling.storage import open_storage
from agents.preferences.labelling.store import open_store
from agents.preferences.labelling.types import Study

HERE = Path(__file__).parent
postgres = runpy.run_path(str(HERE / "postgres.py"))
clips = runpy.run_path(str(HERE / "label_server.py"))
server = runpy.run_path(str(HERE / "label_app.py"))
running, person = server["running"], server["person"]

SPRITE_TYPE = "image/webp"


@pytest.fixture(scope="module")
def cluster():
    if not postgres["BINARIES"]:
        pytest.skip(postgres["MISSING"])
    with postgres["cluster"](fsync="off") as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'labels.db'}"
    return request.getfixturevalue("cluster").new_database()


class Session:
    """A study with an owner and two annotators, its server, and somebody to talk to it."""

    def __init__(self, database: str, folder: Path, queries: int = 6) -> None:
        self.store = open_store(database)
        self.storage = open_storage(str(folder / "media"))
        self.queries = queries
        self.tokens = self.study("one", queries)
        self.url, self.app = "", None

    def study(self, name: str, queries: int) -> dict[str, str]:
        checks = {"repeat_share": 0.0, "gold_share": 0.0, "overlap_share": 0.0}
        self.store.create_study(Study(name, f"Study {name}", clips["ENV"], "Judge.", 10, 20, **checks))
        offset = 0 if name == "one" else 50
        new = [clips["new_query"](self.storage, offset + index) for index in range(queries)]
        self.store.add_queries(name, new)
        clips["draw_all"](self.store, self.storage, 32)
        roles = {"owner": "owner", "ann": "annotator", "bob": "annotator"}
        return {who: self.store.add_annotator(name, who, role)[1] for who, role in roles.items()}

    def as_(self, who: str) -> httpx.Client:
        return person(self.url, self.tokens[who])


@pytest.fixture
def session(database, tmp_path):
    made = Session(database, tmp_path)
    with running(made.store, made.storage) as (made.url, made.app):
        yield made
    made.store.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One for all tests that are refused: they change nothing."""
    folder = tmp_path_factory.mktemp("shared")
    made = Session(f"sqlite:///{folder / 'labels.db'}", folder)
    with running(made.store, made.storage) as (made.url, made.app):
        yield made
    made.store.close()


@pytest.fixture
def small(tmp_path):
    """On SQLite alone, for what has nothing to do with the database."""
    made = Session(f"sqlite:///{tmp_path / 'labels.db'}", tmp_path)
    with running(made.store, made.storage) as (made.url, made.app):
        yield made
    made.store.close()


def label(query: str, choice: str = "left", **more) -> dict:
    return {"uuid": str(uuid.uuid4()), "query": query, "choice": choice, "shown_ms": 1200, **more}


def lease(client: httpx.Client, n: int = 1, held: tuple[str, ...] = ()) -> list[dict]:
    answer = client.post("/api/lease", json={"n": n, "held": list(held)})
    assert answer.status_code == 200, answer.text
    return answer.json()["queries"]


# -- the way in ---------------------------------------------------------------------------------------


def test_a_link_becomes_a_cookie_that_scripts_cannot_read(shared):
    client = person(shared.url, None)
    answer = client.post("/api/session", json={"token": shared.tokens["ann"]})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("surefoot")
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age="):
        assert part in cookie
    assert "Secure" not in cookie  # by http no browser would send it back
    assert "Domain" not in cookie
    assert client.get("/api/task").json()["annotator"] == "ann"


def test_the_cookie_is_secure_behind_https(tmp_path):
    made = Session(f"sqlite:///{tmp_path / 'labels.db'}", tmp_path)
    with running(made.store, made.storage, secure=True, origins=["https://label.example.org"]) as (url, _):
        headers = {"Host": "label.example.org", "Origin": "https://label.example.org"}
        answer = httpx.post(f"{url}/api/session", json={"token": made.tokens["ann"]}, headers=headers)
        assert answer.status_code == 204
        assert "Secure" in answer.headers["set-cookie"]
    made.store.close()


def test_logging_out_forgets_the_link(small):
    client = small.as_("ann")
    answer = client.delete("/api/session")
    assert answer.status_code == 204
    assert client.get("/api/task").status_code == 401


def test_two_sessions_on_one_machine_do_not_share_a_cookie(small, tmp_path):
    (tmp_path / "other").mkdir()
    other = Session(f"sqlite:///{tmp_path / 'other' / 'labels.db'}", tmp_path / "other")
    with running(other.store, other.storage) as (url, _):
        client = person(small.url, small.tokens["ann"])
        # Browsers tell cookies of a host apart by their names alone, not by the port.
        client.post(f"{url}/api/session", json={"token": other.tokens["bob"]}, headers={"Origin": url})
        assert client.get("/api/task").json()["annotator"] == "ann"
        assert client.get(f"{url}/api/task").json()["annotator"] == "bob"
    other.store.close()


@pytest.mark.parametrize(
    "token", ["", "short", "x" * 43, "x" * 43 + "\n", "é" * 30, "' OR 1=1 --", "../" * 9]
)
def test_a_forged_token_opens_nothing(shared, token, caplog):
    client = person(shared.url, None)
    with caplog.at_level(logging.WARNING):
        answer = client.post("/api/session", json={"token": token})
    assert answer.status_code == 401
    assert "link" in answer.json()["detail"]
    assert "set-cookie" not in answer.headers
    assert "401" in caplog.text
    assert "x" * 43 not in caplog.text  # it might have been a letter short of the true one


@pytest.mark.parametrize(
    "path", ["/api/task", "/api/stats", "/api/history", "/api/events", "/api/owner/overview"]
)
def test_without_a_session_there_is_nothing(shared, path):
    client = person(shared.url, None)
    assert client.get(path).status_code == 401
    client.cookies.set("surefoot", "A" * 43)
    assert client.get(path).status_code == 401


def test_an_expired_link_opens_nothing(session):
    past = datetime.now(timezone.utc) - timedelta(seconds=1)
    _, token = session.store.add_annotator("one", "late", expires=past)
    client = person(session.url, None)
    answer = client.post("/api/session", json={"token": token})
    assert answer.status_code == 401
    assert "expired" in answer.json()["detail"]


def test_a_revoked_link_ends_at_once(session):
    ann = session.as_("ann")
    [question] = lease(ann)
    me = next(one for one in session.store.annotators("one") if one.name == "ann")
    session.store.revoke(me.id)
    answer = ann.post("/api/labels", json=label(question["query"]))
    assert answer.status_code == 401
    assert session.store.labels("one") == []
    assert ann.get(question["left"]["media"]).status_code == 401


def test_who_answers_is_never_taken_from_the_body(session):
    ann, bob = session.as_("ann"), session.as_("bob")
    [question] = lease(ann)
    names = {one.name: one.id for one in session.store.annotators("one")}
    assert ann.post("/api/labels", json=label(question["query"], annotator=names["bob"])).status_code == 422
    assert ann.post("/api/labels", json=label(question["query"])).status_code == 200
    assert [row.annotator for row in session.store.labels("one")] == [names["ann"]]
    assert bob.get("/api/history").json()["labels"] == []


# -- asking and answering -----------------------------------------------------------------------------


def test_the_task_says_what_a_page_needs(shared):
    task = shared.as_("ann").get("/api/task").json()
    assert task["study"] == "one"
    assert task["guide"] == "Judge."
    assert (task["role"], task["target"], task["state"], task["fps"]) == ("annotator", 20, "active", 10)
    assert (task["min_view_ms"], task["prefetch"]) == (500, 3)


def test_a_pair_is_leased_shown_and_answered(session):
    ann = session.as_("ann")
    [question] = lease(ann)
    for side in ("left", "right"):
        picture = ann.get(question[side]["media"])
        assert picture.status_code == 200
        assert picture.headers["content-type"] == SPRITE_TYPE
        assert picture.content[8:12] == b"WEBP"
        assert "immutable" in picture.headers["cache-control"]
        assert "private" in picture.headers["cache-control"]
        assert len(question[side]["reward"]) == clips["STEPS"]
    assert question["fps"] == 10
    assert question["why"]["chosen_by"] == "variance"
    assert "12,000" in question["why"]["text"]
    assert 0 < question["expires_in_s"] <= 120
    given = label(question["query"], "left", loops=1.5, speed=2, client_time="2026-01-02T03:04:05+02:00")
    answer = ann.post("/api/labels", json=given)
    assert answer.json() == {"uuid": given["uuid"], "status": "stored", "given": 1}
    [row] = session.store.labels("one")
    assert row.choice == ("right" if row.swapped else "left")
    assert (row.shown_ms, row.loops, row.speed) == (1200, 1.5, 2.0)
    assert row.client_time == datetime(2026, 1, 2, 1, 4, 5, tzinfo=timezone.utc)


def test_screen_sides_come_back_as_they_were_given(session):
    ann = session.as_("ann")
    sent = []
    for choice in ("left", "right", "tie", "cannot_tell", "left", "right"):
        [question] = lease(ann)
        sent.append(label(question["query"], choice))
        assert ann.post("/api/labels", json=sent[-1]).status_code == 200
    labels = ann.get("/api/history").json()["labels"]
    assert [(row["uuid"], row["choice"]) for row in labels] == [
        (row["uuid"], row["choice"]) for row in reversed(sent)
    ]
    assert len(ann.get("/api/history?limit=2").json()["labels"]) == 2
    assert {row.swapped for row in session.store.labels("one")} <= {True, False}


def test_the_same_answer_twice_is_one_row(session):
    ann = session.as_("ann")
    [question] = lease(ann)
    given = label(question["query"])
    first, second = (ann.post("/api/labels", json=given) for _ in range(2))
    assert (first.json()["status"], second.json()["status"]) == ("stored", "known")
    assert len(session.store.labels("one")) == 1
    other = ann.post("/api/labels", json={**given, "choice": "right"})
    assert other.status_code == 409
    again = ann.post("/api/labels", json=label(question["query"], "tie"))
    assert again.status_code == 409
    assert len(session.store.labels("one")) == 1


def test_twenty_copies_at_once_are_one_row(session):
    ann = session.as_("ann")
    [question] = lease(ann)
    given, answers = label(question["query"]), []

    def send() -> None:
        answers.append(clients.pop().post("/api/labels", json=given).status_code)

    clients = [session.as_("ann") for _ in range(20)]
    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 20
    assert len(session.store.labels("one")) == 1


def test_a_pair_of_somebody_else_is_refused(session, caplog):
    ann, bob = session.as_("ann"), session.as_("bob")
    [question] = lease(ann)
    with caplog.at_level(logging.WARNING):
        answer = bob.post("/api/labels", json=label(question["query"]))
    assert answer.status_code == 403
    assert "not handed to you" in answer.json()["detail"]
    assert "403" in caplog.text
    assert session.store.labels("one") == []
    assert ann.post("/api/labels", json=label(question["query"])).status_code == 200


def test_an_unknown_pair_is_refused(session):
    answer = session.as_("ann").post("/api/labels", json=label("0123456789abcdef"))
    assert answer.status_code == 404
    assert "not known" in answer.json()["detail"]


def test_undo_brings_the_pair_back_as_it_was(session):
    ann, bob = session.as_("ann"), session.as_("bob")
    [question] = lease(ann)
    given = label(question["query"])
    ann.post("/api/labels", json=given)
    path, undo = f"/api/labels/{given['uuid']}/retract", {"uuid": str(uuid.uuid4())}
    assert bob.post(path, json=undo).status_code == 403
    back = ann.post(path, json=undo)
    assert back.status_code == 200
    same = ("query", "left", "right", "fps", "why")
    assert {name: back.json()["query"][name] for name in same} == {name: question[name] for name in same}
    assert ann.post(path, json=undo).status_code == 200  # said again, done before
    assert ann.post(path, json={"uuid": str(uuid.uuid4())}).status_code == 409
    assert session.store.labels("one") == []
    assert [row["retracted"] for row in ann.get("/api/history").json()["labels"]] == [True]
    assert ann.post("/api/labels", json=label(question["query"], "right")).status_code == 200
    unknown = ann.post(f"/api/labels/{uuid.uuid4()}/retract", json={"uuid": str(uuid.uuid4())})
    assert unknown.status_code == 404


def test_it_says_why_somebody_waits(session):
    ann, bob = session.as_("ann"), session.as_("bob")

    def why(client):
        answer = client.post("/api/lease", json={"n": 8, "held": []}).json()
        return answer["queries"], answer["wait"]

    held, wait = why(ann)
    assert len(held) == session.queries
    assert wait == {"reason": "none", "text": ""}
    nothing, wait = why(bob)
    assert nothing == []
    assert wait["reason"] == "all_leased"
    assert "somebody else" in wait["text"]
    for question in held:
        ann.post("/api/labels", json=label(question["query"]))
    assert why(ann)[1]["reason"] == "all_answered"
    session.store.set_state("one", "paused")
    assert why(ann)[1]["reason"] == "paused"
    assert bob.get("/api/stats").json()["wait"]["reason"] == "paused"


def test_the_numbers_of_a_session(session):
    ann = session.as_("ann")
    store = session.store
    store.log_event("one", "training", {"state": "training", "text": "Learning.", "step": 7, "steps": 9})
    store.log_event("one", "reward", {"version": 1, "step": 5, "labels": 1, "accuracy": 0.75})
    [question] = lease(ann)
    ann.post("/api/labels", json=label(question["query"]))
    stats = ann.get("/api/stats").json()
    assert (stats["given"], stats["mine"], stats["target"]) == (1, 1, 20)
    assert stats["open"] == session.queries - 1
    assert (stats["accuracy"], stats["step"], stats["steps"]) == (0.75, 7, 9)
    assert stats["training"] == {"state": "training", "text": "Learning."}
    assert stats["median_seconds"] >= 0
    assert stats["video"] is None
    assert stats["state"] == "active"
    assert session.as_("bob").get("/api/stats").json()["mine"] == 0


# -- pictures -----------------------------------------------------------------------------------------


def test_nobody_sees_another_study(session):
    others = session.study("two", 3)
    ann, eve = session.as_("ann"), person(session.url, others["ann"])
    [question] = lease(ann)
    [foreign] = lease(eve)
    for client, other in ((eve, question), (ann, foreign)):
        answer = client.get(other["left"]["media"])
        assert answer.status_code == 403
        assert "not part of your session" in answer.json()["detail"]
        assert client.post("/api/labels", json=label(other["query"])).status_code in (403, 404)
    ann.post("/api/labels", json=label(question["query"]))
    assert eve.get("/api/history").json()["labels"] == []
    assert eve.get("/api/stats").json()["given"] == 0
    owner = person(session.url, others["owner"])
    assert owner.get("/api/owner/labels").json()["labels"] == []
    assert [one["name"] for one in owner.get("/api/owner/overview").json()["people"]] == [
        "owner",
        "ann",
        "bob",
    ]
    stranger = next(one for one in session.store.annotators("one") if one.name == "ann")
    assert owner.delete(f"/api/owner/annotators/{stranger.id}").status_code == 404
    assert owner.post("/api/owner/reopen", json={"query": question["query"]}).status_code == 404
    gold = {"query": question["query"], "choice": "left"}
    assert owner.post("/api/owner/gold", json=gold).status_code == 404
    assert ann.get("/api/task").status_code == 200


@pytest.mark.parametrize("sha", ["0" * 64, "..%2f..%2fetc%2fpasswd", "0" * 63, "G" * 64, "0" * 64 + "%00"])
def test_media_that_is_none_of_ours(shared, sha):
    answer = shared.as_("ann").get(f"/media/{sha}")
    assert answer.status_code in (403, 404, 422)
    assert "detail" in answer.json()


def test_a_clip_whose_picture_is_gone_is_drawn_again(session, caplog):
    ann = session.as_("ann")
    [question] = lease(ann)
    sha = question["left"]["media"].removeprefix("/media/")
    session.storage.delete(sha)
    with caplog.at_level(logging.WARNING):
        answer = ann.get(question["left"]["media"])
    assert answer.status_code == 503
    assert "drawn again" in answer.json()["detail"]
    assert "gone" in caplog.text
    assert sha in caplog.text
    clips["draw_all"](session.store, session.storage, 32)
    assert ann.get(question["left"]["media"]).status_code == 200
    assert ann.post("/api/labels", json=label(question["query"])).status_code == 200


def test_a_picture_is_asked_for_once(shared):
    ann = shared.as_("ann")
    [question] = lease(ann)
    tag = ann.get(question["left"]["media"]).headers["etag"]
    again = ann.get(question["left"]["media"], headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("wanted", "status", "first", "last"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=5-", 206, 5, None),
        ("bytes=-4", 206, -4, None),
        ("bytes=0-999999", 206, 0, None),
        ("bytes=999999-", 416, None, 0),
        ("bytes=-0", 416, None, 0),
        ("bytes=a-b", 200, 0, None),
        ("bytes=9-3", 416, None, 0),
        ("bytes=0-1,3-4", 200, 0, None),
        ("items=0-9", 200, 0, None),
        ("bytes=" + "9" * 5000 + "-", 200, 0, None),
    ],
)
def test_video_players_get_the_part_that_they_ask_for(shared, wanted, status, first, last):
    ann = shared.as_("ann")
    [question] = lease(ann)
    whole = ann.get(question["left"]["media"]).content
    part = ann.get(question["left"]["media"], headers={"Range": wanted})
    assert part.status_code == status
    assert part.content == (b"" if status == 416 else whole[first:last])


def test_a_video_of_the_policy_is_for_its_study_alone(session):
    others = session.study("two", 1)
    sha = session.storage.put(b"....ftypmp42 a film")
    session.store.log_event("one", "video", {"media": sha, "step": 5, "content_type": "video/mp4"})
    ann = session.as_("ann")
    address = ann.get("/api/stats").json()["video"]
    assert address == f"/media/{sha}"
    film = ann.get(address)
    assert (film.headers["content-type"], film.content) == ("video/mp4", b"....ftypmp42 a film")
    assert person(session.url, others["ann"]).get(address).status_code == 403


# -- what may go wrong --------------------------------------------------------------------------------

BAD_BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe",
    b"[" * 20_000,
    b'{"a":' * 10_000,
    b'{"uuid": NaN, "query": Infinity, "choice": -Infinity}',
    b"1" * 10_000,
    json.dumps({"uuid": "\ud800", "query": "\ud800", "choice": "left"}).encode(),
]


@pytest.mark.parametrize("body", BAD_BODIES)
@pytest.mark.parametrize("path", ["/api/labels", "/api/lease", "/api/session"])
def test_malformed_bodies_are_refused_in_a_sentence(shared, path, body):
    headers = {"Content-Type": "application/json"}
    answer = shared.as_("ann").post(path, content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert isinstance(answer.json()["detail"], str)
    assert "Traceback" not in answer.text
    assert len(answer.text) < 1000


@pytest.mark.parametrize(
    "change",
    [
        {"uuid": "no uuid"},
        {"uuid": None},
        {"query": "x" * 65},
        {"query": "a\x00b"},
        {"query": 5},
        {"query": ["a"]},
        {"choice": "up"},
        {"choice": None},
        {"shown_ms": -1},
        {"shown_ms": "soon"},
        {"loops": -1},
        {"loops": 1e300},
        {"speed": 1e9},
        {"client_time": "yesterday"},
        {"misspelt": 1},
    ],
)
def test_a_malformed_label_is_refused_and_says_where(shared, change):
    ann = shared.as_("ann")
    [question] = lease(ann)
    answer = ann.post("/api/labels", json={**label(question["query"]), **change})
    assert answer.status_code == 422
    assert next(iter(change)) in answer.json()["detail"]
    assert shared.store.labels("one") == []


@pytest.mark.parametrize(
    "change",
    [
        {"shown_ms": 10**15},  # a page that was left open for thousands of years
        {"client_time": "0001-01-01T00:00:00+14:00"},
        {"client_time": "9999-12-31T23:59:59-14:00"},
        {"client_time": "2026-01-01T00:00:00"},
        {"client_time": None},
    ],
)
def test_a_wrong_clock_costs_nobody_an_answer(session, change):
    ann = session.as_("ann")
    [question] = lease(ann)
    assert ann.post("/api/labels", json={**label(question["query"]), **change}).status_code == 200
    assert len(session.store.labels("one")) == 1


@pytest.mark.parametrize(
    "body", [{"n": 0}, {"n": 9}, {"n": 1, "held": ["x"] * 65}, {"n": 1, "held": "x"}, {}]
)
def test_a_malformed_lease_is_refused(shared, body):
    assert shared.as_("ann").post("/api/lease", json=body).status_code == 422


def test_a_huge_body_is_refused(shared):
    client = shared.as_("ann")
    body = b'{"uuid": "' + b"x" * 1_000_000 + b'"}'
    try:
        answer = client.post("/api/labels", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
    except httpx.TransportError:
        pass  # the connection was cut while the rest was still on its way
    assert shared.as_("bob").get("/api/task").status_code == 200


def test_a_foreign_page_can_change_nothing(shared, caplog):
    ann = shared.as_("ann")
    [question] = lease(ann)
    with caplog.at_level(logging.WARNING):
        answer = ann.post(
            "/api/labels", json=label(question["query"]), headers={"Origin": "https://evil.example"}
        )
    assert answer.status_code == 403
    assert "another site" in caplog.text
    assert shared.store.labels("one") == []
    # A form of a foreign page cannot send JSON, and text is not read as JSON.
    text = {"Content-Type": "text/plain"}
    body = json.dumps(label(question["query"])).encode()
    assert ann.post("/api/labels", content=body, headers=text).status_code == 422


def test_one_person_cannot_keep_the_server_busy(tmp_path):
    made = Session(f"sqlite:///{tmp_path / 'labels.db'}", tmp_path)
    limits = Limits(requests_per_second=0.5, request_burst=5)
    with running(made.store, made.storage, limits=limits) as (made.url, _):
        ann, bob = made.as_("ann"), made.as_("bob")
        answers = [ann.get("/api/task") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert bob.get("/api/task").status_code == 200
    made.store.close()


def test_trying_links_is_slowed_down(tmp_path):
    made = Session(f"sqlite:///{tmp_path / 'labels.db'}", tmp_path)
    limits = Limits(failures_per_second=0.01, failure_burst=3)
    with running(made.store, made.storage, limits=limits) as (made.url, _):
        client = person(made.url, None)
        for _ in range(10):  # links that work cost nothing
            assert client.post("/api/session", json={"token": made.tokens["ann"]}).status_code == 204
        forged = [client.post("/api/session", json={"token": "x" * 43}).status_code for _ in range(5)]
        assert forged == [401, 401, 401, 429, 429]
    made.store.close()


def test_a_database_that_is_down_loses_nothing(cluster, tmp_path, caplog):
    made = Session(cluster.new_database(), tmp_path)
    with running(made.store, made.storage) as (made.url, _):
        ann = made.as_("ann")
        [question] = lease(ann)
        given = label(question["query"])
        cluster.stop("fast")
        try:
            with caplog.at_level(logging.WARNING):
                answer = ann.post("/api/labels", json=given)
                page = ann.get("/", headers={"Accept": "text/html"})
        finally:
            cluster.start(fsync="off")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "2"
        assert "try again" in answer.json()["detail"]
        for shown in (answer.text, page.text, answer.json()["detail"]):
            assert "Traceback" not in shown
            assert str(cluster.folder) not in shown  # where it is, is for the owner
        assert page.status_code == 503
        assert str(cluster.folder) in caplog.text
        deadline = time.monotonic() + 20
        while (again := ann.post("/api/labels", json=given)).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert again.status_code == 200
        assert [row.uuid for row in made.store.labels("one")] == [given["uuid"]]
    made.store.close()


def test_a_read_only_postgresql_refuses_in_words(cluster, tmp_path):
    import sqlalchemy as sa

    url = cluster.new_database()
    made = Session(url, tmp_path)
    with running(made.store, made.storage) as (made.url, _):
        ann = made.as_("ann")
        [question] = lease(ann)
        engine = sa.create_engine(
            url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            name = connection.execute(sa.text("SELECT current_database()")).scalar_one()
            connection.execute(sa.text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        engine.dispose()
        made.store.close()  # its connections begin anew
        answer = ann.post("/api/labels", json=label(question["query"]))
        assert answer.status_code == 503
        assert "read-only" in answer.json()["detail"]
        assert ann.get("/api/history").status_code == 200
    made.store.close()


def limited_sqlite(store, pragma: str) -> None:
    """As if the disk were full or the file read-only: SQLite itself then says so, as root too."""
    from sqlalchemy import event

    store.close()
    event.listen(store._database._engine, "connect", lambda raw, _: raw.execute(f"PRAGMA {pragma}"))


@pytest.mark.parametrize(
    ("pragma", "word"), [("query_only = on", "read-only"), ("max_page_count = 1", "full")]
)
def test_a_disk_that_is_full_or_read_only_refuses_in_words(tmp_path, pragma, word, caplog):
    made = Session(f"sqlite:///{tmp_path / 'labels.db'}", tmp_path, queries=32)
    with running(made.store, made.storage) as (made.url, _):
        ann = made.as_("ann")
        held: list[str] = []
        while offered := lease(ann, 8, tuple(held)):
            held += [question["query"] for question in offered]
        limited_sqlite(made.store, pragma)
        stored, refused = [], None
        with caplog.at_level(logging.WARNING):
            for query in held:  # the pages that a full disk has left take some rows still
                given = label(query)
                answer = ann.post("/api/labels", json=given)
                if answer.status_code != 200:
                    refused = answer
                    break
                stored.append(given["uuid"])
        assert refused is not None
        assert refused.status_code == 503
        assert word in refused.json()["detail"]
        assert str(tmp_path) not in refused.text
        assert str(tmp_path) in caplog.text
        assert "Traceback" not in refused.text
        assert [row.uuid for row in made.store.labels("one")] == stored
        assert ann.get("/api/task").status_code == 200
    made.store.close()


def test_a_crash_is_one_sentence_for_the_person_and_a_trace_in_the_log(small, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("secret of the shelf")

    ann = small.as_("ann")
    monkeypatch.setattr(small.store, "history", broken, raising=False)
    answer = ann.get("/api/history")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "secret of the shelf" in caplog.text


# -- pages --------------------------------------------------------------------------------------------


def test_pages_are_for_those_who_may_see_them(shared):
    html = {"Accept": "text/html"}
    nobody, ann, owner = person(shared.url, None), shared.as_("ann"), shared.as_("owner")
    assert nobody.get("/join", headers=html).status_code == 200
    page = nobody.get("/", headers=html)
    assert page.status_code == 401
    assert "Open the link" in page.text
    assert ann.get("/", headers=html).status_code == 200
    page = ann.get("/owner", headers=html)
    assert page.status_code == 403
    assert "Only the owner" in page.text
    page = owner.get("/owner", headers=html)
    assert page.status_code == 200
    assert "Study one" in page.text
    assert nobody.get("/nowhere", headers=html).status_code == 404
    for text in (ann.get("/", headers=html).text, page.text):
        assert "<script>" not in text  # the content policy would keep it from running
        assert "style=" not in text
        assert "onclick" not in text


def test_names_are_text_and_never_markup(tmp_path):
    made = Session(f"sqlite:///{tmp_path / 'labels.db'}", tmp_path)
    checks = {"repeat_share": 0.0, "gold_share": 0.0}
    evil = "<script>alert(1)</script>\"'&"
    made.store.create_study(Study("evil", evil, clips["ENV"], evil, 10, 20, **checks))
    _, token = made.store.add_annotator("evil", evil, "owner")
    with running(made.store, made.storage) as (url, _):
        client = person(url, token)
        for path in ("/", "/owner"):
            page = client.get(path, headers={"Accept": "text/html"})
            assert page.status_code == 200
            assert "<script>alert" not in page.text
        assert client.get("/api/task").json()["name"] == evil
    made.store.close()


def test_static_files_are_ours_alone(shared):
    client = person(shared.url, None)
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/..%2fapp.py"):
        assert client.get(path).status_code == 404
