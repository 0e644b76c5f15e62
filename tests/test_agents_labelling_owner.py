"""The owner's API: people, their quality, gold pairs, flags, files."""

import io
import json
import runpy
import time
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs the extra 'label'")

from agents.preferences.labelling.overview import Diary, labels_per_hour
from agents.preferences.labelling.storage import open_storage
from agents.preferences.labelling.store import open_store
from agents.preferences.labelling.types import Study

HERE = Path(__file__).parent
postgres = runpy.run_path(str(HERE / "postgres.py"))
clips = runpy.run_path(str(HERE / "label_server.py"))
server = runpy.run_path(str(HERE / "label_app.py"))
running, person = server["running"], server["person"]


@pytest.fixture(scope="module")
def cluster():
    if not postgres["BINARIES"]:
        pytest.skip(postgres["MISSING"])
    with postgres["cluster"](fsync="off") as made:
        yield made


class Session:
    def __init__(self, database: str, folder: Path) -> None:
        self.store, self.storage = open_store(database), open_storage(str(folder / "media"))
        # Everybody is asked every pair, so that they can be compared.
        rules = {"repeat_share": 0.0, "gold_share": 0.0, "overlap_share": 1.0, "overlap": 3}
        self.store.create_study(Study("study", "Study", clips["ENV"], "Judge.", 10, 20, **rules))
        self.store.add_queries("study", [clips["new_query"](self.storage, index) for index in range(4)])
        clips["draw_all"](self.store, self.storage, 32)
        _, token = self.store.add_annotator("study", "owner", "owner")
        self.token, self.url = token, ""

    def join(self, name: str, role: str = "annotator") -> httpx.Client:
        return person(self.url, self.store.add_annotator("study", name, role)[1])


@pytest.fixture(params=["sqlite", "postgresql"])
def session(request, tmp_path):
    if request.param == "sqlite":
        made = Session(f"sqlite:///{tmp_path / 'labels.db'}", tmp_path)
    else:
        made = Session(request.getfixturevalue("cluster").new_database(), tmp_path)
    with running(made.store, made.storage) as (made.url, _):
        yield made
    made.store.close()


@pytest.fixture
def owner(session) -> httpx.Client:
    return person(session.url, session.token)


def answer_all(session: Session, client: httpx.Client, choice: str) -> list[str]:
    """Answers all that is offered by the pair's own sides; returns the queries."""
    asked = client.post("/api/lease", json={"n": 8, "held": []}).json()["queries"]
    for question in asked:
        me = client.get("/api/task").json()["annotator"]
        body = {"uuid": str(uuid.uuid4()), "query": question["query"], "choice": choice}
        if choice in ("left", "right") and is_swapped(session, question):
            body["choice"] = {"left": "right", "right": "left"}[choice]
        assert client.post("/api/labels", json=body).status_code == 200, me
    return [question["query"] for question in asked]


def is_swapped(session: Session, question: dict) -> bool:
    """New queries promise more on their right (label_server.new_query), whichever side shows it."""
    return question["left"]["reward"][-1] > question["right"]["reward"][-1]


OWNERS = [
    ("GET", "/api/owner/overview", None),
    ("GET", "/api/owner/flagged", None),
    ("GET", "/api/owner/golds", None),
    ("GET", "/api/owner/labels", None),
    ("GET", "/api/owner/export.ndjson", None),
    ("GET", "/api/owner/export.parquet", None),
    ("POST", "/api/owner/import", b""),
    ("POST", "/api/owner/state", {"state": "paused"}),
    ("POST", "/api/owner/annotators", {"name": "eve"}),
    ("DELETE", "/api/owner/annotators/x", None),
    ("POST", "/api/owner/gold", {"query": "x", "choice": "left"}),
    ("POST", "/api/owner/reopen", {"query": "x"}),
]


def test_annotators_may_do_nothing_of_this(session):
    ann = session.join("ann")
    for method, path, body in OWNERS:
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        answer = ann.request(method, path, **({} if body is None else content))
        assert answer.status_code == 403, path
        assert "Only the owner" in answer.json()["detail"]
    assert session.store.study("study").state == "active"
    assert len(session.store.annotators("study")) == 2


def test_every_route_of_the_owner_is_named_above(session, owner):
    described = owner.get("/api/openapi.json").json()["paths"]
    routes = {
        (method.upper(), path.replace("{annotator_id}", "x"))
        for path, methods in described.items()
        for method in methods
        if path.startswith("/api/owner")
    }
    assert routes == {(method, path) for method, path, _ in OWNERS}


def test_the_overview_tells_who_agrees_with_whom(session, owner):
    people = {name: session.join(name) for name in ("ann", "bob", "eve")}
    for name, choice in (("ann", "right"), ("bob", "right"), ("eve", "left")):
        assert len(answer_all(session, people[name], choice)) == 4
    overview = owner.get("/api/owner/overview").json()
    assert overview["counts"]["labels"] == 12
    assert overview["counts"]["answered"] == 4
    assert sum(hour["labels"] for hour in overview["labels_per_hour"]) == 12
    rows = {row["name"]: row for row in overview["people"]}
    assert set(rows) == {"owner", "ann", "bob", "eve"}
    assert [rows[name]["labels"] for name in ("owner", "ann", "bob", "eve")] == [0, 4, 4, 4]
    assert rows["ann"]["median_seconds"] >= 0
    names = {row["id"]: row["name"] for row in overview["people"]}
    pairs = {frozenset((names[pair["a"]], names[pair["b"]])): pair for pair in overview["kappa"]}
    assert all(pair["shared"] == 4 for pair in pairs.values())
    assert pairs[frozenset(("ann", "eve"))]["kappa"] == pytest.approx(0.0)
    # 12 values in 4 units of 3, 8 against 4, one odd one out in each (Krippendorff's formula by hand).
    assert overview["alpha"] == pytest.approx(1 - 11 * (4 * 4 / 2) / (2 * 8 * 4))
    for name in ("ann", "bob", "eve"):
        rate = rows[name]["error_rate"]
        assert 0 <= rate["low"] <= rate["mean"] <= rate["high"] <= 1
        assert 0 <= rows[name]["side_bias"]["mean"] <= 1


def test_pause_and_go_on(session, owner):
    ann = session.join("ann")
    [question] = ann.post("/api/lease", json={"n": 1, "held": []}).json()["queries"]
    assert owner.post("/api/owner/state", json={"state": "paused"}).status_code == 204
    again = ann.post("/api/lease", json={"n": 1, "held": [question["query"]]}).json()
    assert (again["queries"], again["wait"]["reason"]) == ([], "paused")
    body = {"uuid": str(uuid.uuid4()), "query": question["query"], "choice": "tie"}
    assert ann.post("/api/labels", json=body).status_code == 200  # what is on the screen still counts
    assert owner.post("/api/owner/state", json={"state": "active"}).status_code == 204
    assert len(ann.post("/api/lease", json={"n": 1, "held": []}).json()["queries"]) == 1
    assert owner.post("/api/owner/state", json={"state": "finished"}).status_code == 422
    session.store.set_state("study", "finished")
    assert owner.post("/api/owner/state", json={"state": "active"}).status_code == 409
    texts = [event["text"] for event in owner.get("/api/owner/overview").json()["events"]]
    assert texts == ["the owner lets the session go on", "the owner paused the session"]


def test_an_invitation_works_until_it_is_revoked(session, owner):
    answer = owner.post("/api/owner/annotators", json={"name": "  ann   lee ", "hours": 2})
    assert answer.status_code == 200
    link = answer.json()["link"]
    assert link.startswith(f"{session.url}/join#")
    ann = person(session.url, link.partition("#")[2])
    assert ann.get("/api/task").json()["annotator"] == "ann lee"
    row = next(row for row in owner.get("/api/owner/overview").json()["people"] if row["name"] == "ann lee")
    left = datetime.fromisoformat(row["expires"]) - datetime.now(timezone.utc)
    assert timedelta(hours=1.9) < left < timedelta(hours=2.1)
    assert owner.delete(f"/api/owner/annotators/{row['id']}").status_code == 204
    assert owner.delete(f"/api/owner/annotators/{row['id']}").status_code == 204
    assert ann.get("/api/task").status_code == 401
    rows = owner.get("/api/owner/overview").json()["people"]
    assert next(one for one in rows if one["id"] == row["id"])["revoked"] is not None
    me = next(one for one in rows if one["role"] == "owner")
    assert owner.delete(f"/api/owner/annotators/{me['id']}").status_code == 409
    assert owner.delete("/api/owner/annotators/nobody").status_code == 404


NO_INVITATIONS = [
    {"name": ""},
    {"name": "   "},
    {"name": "a\u202eb"},  # turns what follows it round
    {"name": "a\x00b"},
    {"name": "x" * 81},
    {"name": "ann", "hours": 0},
    {"name": "ann", "hours": -1},
    {"name": "ann", "hours": 1e9},
    {"name": "ann", "role": "owner"},
    {},
]


def test_a_malformed_invitation_invites_nobody(session, owner):
    for body in NO_INVITATIONS:
        assert owner.post("/api/owner/annotators", json=body).status_code == 422, body
    assert len(session.store.annotators("study")) == 1


def test_a_flagged_pair_is_shown_and_asked_again(session, owner):
    ann = session.join("ann")
    [question] = ann.post("/api/lease", json={"n": 1, "held": []}).json()["queries"]
    body = {"uuid": str(uuid.uuid4()), "query": question["query"], "choice": "broken"}
    ann.post("/api/labels", json=body)
    [flag] = owner.get("/api/owner/flagged").json()["flagged"]
    assert flag["query"] == question["query"]
    assert {flag["left"], flag["right"]} == {question[side]["media"] for side in ("left", "right")}
    assert owner.get(flag["left"]).status_code == 200
    names = {one.id: one.name for one in session.store.annotators("study")}
    assert [names[one] for one in flag["people"]] == ["ann"]
    assert owner.get("/api/owner/overview").json()["counts"]["flagged"] == 1
    assert owner.post("/api/owner/reopen", json={"query": question["query"]}).status_code == 204
    assert owner.get("/api/owner/flagged").json()["flagged"] == []
    bob = session.join("bob")
    offered = bob.post("/api/lease", json={"n": 8, "held": []}).json()["queries"]
    assert question["query"] in [one["query"] for one in offered]


def test_what_cannot_be_drawn_is_shown(session, owner):
    session.store.add_queries("study", [clips["new_query"](session.storage, 9)])
    for job in session.store.segments_to_render("study", 10):
        session.store.set_undrawable(job.segment, "no OpenGL: apt-get install libegl1")
    [found] = owner.get("/api/owner/flagged").json()["undrawable"]
    assert found == {"reason": "no OpenGL: apt-get install libegl1", "clips": 2}


def test_gold_pairs_show_who_is_careful(session, owner):
    ann = session.join("ann")
    answer_all(session, ann, "right")
    newest = owner.get("/api/owner/labels?limit=2").json()["labels"]
    assert len(newest) == 2
    assert newest[0]["server_time"] >= newest[1]["server_time"]
    gold = {"query": newest[0]["query"], "choice": "left"}
    assert owner.post("/api/owner/gold", json=gold).status_code == 204
    assert owner.get("/api/owner/golds").json()["golds"] == [{"key": newest[0]["key"], "choice": "left"}]
    assert owner.post("/api/owner/gold", json={**gold, "query": "0" * 16}).status_code == 404
    assert owner.post("/api/owner/gold", json={**gold, "choice": "skip"}).status_code == 422
    row = next(one for one in owner.get("/api/owner/overview").json()["people"] if one["name"] == "ann")
    assert row["gold_accuracy"] == 0.0  # ann said right where left is known


def test_labels_go_out_and_come_in_again(session, owner):
    answer_all(session, session.join("ann"), "right")
    answer = owner.get("/api/owner/export.ndjson")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert "attachment" in answer.headers["content-disposition"]
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[0]["format"] == "surefoot-labels"
    assert {line["choice"] for line in lines[1:]} == {"right"}
    assert len(lines) == 5
    again = owner.post("/api/owner/import", content=answer.content)
    assert again.status_code == 200
    assert (again.json()["imported"], again.json()["known"]) == (0, 4)
    assert "4 were there already" in again.json()["detail"]
    for content in (
        b"",
        b"nonsense",
        b'{"format": "else"}\n',
        answer.content + b'{"a": NaN}\n',
        b"\xff" * 99,
    ):
        refused = owner.post("/api/owner/import", content=content)
        assert refused.status_code == 400
        assert refused.json()["detail"].startswith("Line ")
        assert "Nothing was imported" in refused.json()["detail"]
    assert len(session.store.labels("study")) == 4


def test_labels_go_out_as_a_table(session, owner):
    parquet = pytest.importorskip("pyarrow.parquet")
    answer_all(session, session.join("ann"), "left")
    answer = owner.get("/api/owner/export.parquet?include=retracted")
    table = parquet.read_table(io.BytesIO(answer.content))
    assert table.num_rows == 4
    assert set(table.column("choice").to_pylist()) == {"left"}


def test_labels_an_hour_count_the_empty_hours_too():
    now = datetime(2026, 3, 1, 10, 30, tzinfo=timezone.utc)
    zone = timezone(timedelta(hours=5))
    times = [
        now,
        now - timedelta(minutes=31),
        (now - timedelta(minutes=40)).astimezone(zone),
        now - timedelta(hours=9),
    ]
    hours = labels_per_hour(times, now, hours=3)
    assert [hour["labels"] for hour in hours] == [0, 2, 1]
    assert hours[-1]["hour"] == "2026-03-01T10:00:00+00:00"


def test_the_diary_reads_on_and_keeps_what_is_news(session):
    store, diary = session.store, Diary()
    for step in range(3):
        store.log_event("study", "training", {"state": "training", "text": f"step {step}", "step": step})
    store.log_event("study", "reward", {"version": 1, "labels": 5, "step": 2, "accuracy": 0.8})
    store.log_event("study", "video", {"media": "0" * 64, "step": 2000})
    diary.read_on(store, "study")
    diary.read_on(store, "study")
    store.log_event("study", "training", {"state": "finished", "text": "done"})
    diary.read_on(store, "study")
    assert [event["text"] for event in diary.notable] == [
        "step 0",
        "reward model 1 from 5 labels, held-out accuracy 0.80",
        "new video of the policy at step 2,000",
        "done",
    ]
    assert diary.rewards == [{"version": 1, "labels": 5, "step": 2, "accuracy": 0.8}]


def test_the_overview_of_many_labels_comes_at_once(session, owner):
    for index in range(40):
        store, name = session.store, f"fit {index}"
        store.log_event("study", "reward", {"version": index, "labels": index, "step": index, "text": name})
    began = time.monotonic()
    overview = owner.get("/api/owner/overview").json()
    assert len(overview["events"]) == 30
    assert len(overview["reward"]) == 40
    assert time.monotonic() - began < 5
