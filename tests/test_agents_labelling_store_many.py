"""Many people, threads and processes at one labelling database, and kill -9 among them."""

import itertools
import os
import random
import runpy
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import pytest

from agents.preferences.labelling.durable import SharedSync
from agents.preferences.labelling.store import open_store
from agents.preferences.labelling.types import ConflictError, NewLabel, UnavailableError

HERE = Path(__file__)
STUDY = runpy.run_path(str(HERE.with_name("label_study.py")))
STORES = runpy.run_path(str(HERE.with_name("label_stores.py")))
person, say, new_query = (STUDY[name] for name in ("person", "say", "new_query"))
cluster, stores, store, clock = (STORES[name] for name in ("cluster", "stores", "store", "clock"))
make_study = STORES["make_study"]


def at_once(works):
    """Runs them in a thread each, begun together; returns what they returned or raised, in order."""
    results, begin = [None] * len(works), threading.Barrier(len(works))

    def run(number, work):
        begin.wait()
        try:
            results[number] = work()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_people_who_ask_at_once_never_get_more_than_a_query_wants(stores):
    """Two stores, as two server processes have them; nobody answers, so what was handed out is counted."""
    servers = [stores(seed) for seed in range(2)]
    make_study(servers[0], 40, overlap_share=0.4, overlap=2)
    people = [person(servers[0], f"person {number}") for number in range(12)]

    def ask(number):
        server, got = servers[number % 2], []
        for _ in range(6):
            got += server.offer(people[number], 2, held=[offer.query for offer in got])
        return [offer.query for offer in got]

    results = at_once([lambda number=number: ask(number) for number in range(12)])
    assert not [result for result in results if isinstance(result, Exception)]
    for queries in results:
        assert len(set(queries)) == len(queries)
    asked = Counter(itertools.chain(*results))
    wanted = wanted_by_query(servers[0])
    assert all(times <= wanted[query] for query, times in asked.items())
    assert sum(asked.values()) == sum(wanted.values()), "12 people with 12 each leave nothing over"


def wanted_by_query(store):
    from sqlalchemy import select

    from agents.preferences.labelling.schema import query

    rows = store._database.read(lambda c: c.execute(select(query.c.id, query.c.wanted)).all())
    return {row.id: row.wanted for row in rows}


def test_people_who_work_at_once_answer_every_query_as_often_as_it_wants(stores):
    servers = [stores(seed) for seed in range(2)]
    make_study(servers[0], 30, overlap_share=0.3, overlap=3, repeat_share=0.1)
    people = [person(servers[0], f"person {number}") for number in range(6)]

    def work(number):
        server, chance, given = servers[number % 2], random.Random(number), []
        idle = 0
        while idle < 3:
            offers = server.offer(people[number], 2)
            idle = 0 if offers else idle + 1
            for offer in offers:
                choice = chance.choice(["left", "right", "tie", "cannot_tell", "skip"])
                given.append(say(server, people[number], offer.query, choice))
                if choice != "skip" and chance.random() < 0.1:
                    server.retract(people[number], given.pop().uuid, str(uuid.uuid4()))
        return given

    results = at_once([lambda number=number: work(number) for number in range(6)])
    assert not [result for result in results if isinstance(result, Exception)], results
    store = servers[0]
    labels = [label for label in store.labels("study") if label.choice != "skip"]
    assert {label.uuid for label in labels} == {
        label.uuid for given in results for label in given if label.kind == "train" and label.choice != "skip"
    }
    times = Counter(label.query for label in labels)
    wanted = wanted_by_query(store)
    assert all(times[query] <= wanted[query] for query in times)
    assert max(Counter((label.query, label.annotator) for label in labels).values()) == 1
    assert store.counts("study").labels == len(labels)


def test_the_same_post_from_many_threads_is_one_row(stores):
    servers = [stores(), stores()]
    make_study(servers[0], 1)
    who = person(servers[0])
    (offer,) = servers[0].offer(who, 1)
    sent = NewLabel(str(uuid.uuid4()), offer.query, "left", 900)
    results = at_once([lambda number=number: servers[number % 2].answer(who, sent) for number in range(8)])
    assert set(results) == {results[0]}
    assert servers[0].revision("study") == 1


def test_of_different_answers_at_once_one_stands(stores):
    servers = [stores(), stores()]
    make_study(servers[0], 1)
    who = person(servers[0])
    (offer,) = servers[0].offer(who, 1)
    results = at_once(
        [lambda number=number: say(servers[number % 2], who, offer.query) for number in range(6)]
    )
    assert sum(isinstance(result, ConflictError) for result in results) == 5
    assert servers[0].revision("study") == 1
    label = next(result for result in results if not isinstance(result, Exception))
    undos = [
        lambda number=number: servers[number % 2].retract(who, label.uuid, f"undo {number // 2}")
        for number in range(6)
    ]
    results = at_once(undos)
    assert sum(isinstance(result, ConflictError) for result in results) == 4
    assert servers[0].revision("study") == 2


def test_queries_that_are_put_while_their_clips_are_drawn_are_offered(stores):
    """Whichever comes first, the query or the picture, the query must know that it can be shown."""
    servers = [stores(), stores()]
    make_study(servers[0], 0)
    shared = [new_query(index) for index in range(8)]
    servers[0].add_queries("study", shared)
    jobs = servers[0].segments_to_render("study", 16)
    again = [new_query(100 + index, left=query.left, right=query.right) for index, query in enumerate(shared)]

    def put():
        for query in again:
            servers[0].add_queries("study", [query])

    def draw():
        for job in jobs:
            servers[1].set_sprite(job.segment, STUDY["Sprite"](f"m{job.segment}", 26, 6, 64, 64))

    assert at_once([put, draw]) == [None, None]
    assert len(servers[0].offer(person(servers[0]), 100)) == 16


# -- processes ---------------------------------------------------------------------------------------


def start(program, *arguments):
    """A Python process of its own that says `ready` when its imports are done and waits for a line."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", "import sys\n" + program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE.parent.parent,
    )


OPEN = """
from agents.preferences.labelling.store import open_store
print("ready", flush=True)
sys.stdin.readline()
store = open_store(sys.argv[1])
print(len(store.studies()), flush=True)
store.close()
"""


def test_processes_that_make_the_tables_at_once_do_not_disturb_each_other(stores):
    processes = [start(OPEN, stores.url) for _ in range(4)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.communicate(timeout=60)[0] for process in processes] == ["0\n"] * 4
        assert [process.returncode for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
    make_study(stores(), 2)


WRITE = """
import itertools, uuid
from agents.preferences.labelling.store import open_store
from agents.preferences.labelling.types import NewLabel
store = open_store(sys.argv[1])
print("ready", flush=True)
held, who = [], sys.argv[2]
for number in itertools.count():
    held += store.offer(who, 3 - len(held), held=[offer.query for offer in held])
    label = store.answer(who, NewLabel(str(uuid.uuid4()), held.pop(0).query, "left", 900))
    print(label.uuid, flush=True)
    if number % 4 == 3:
        undo = str(uuid.uuid4())
        held.insert(0, store.retract(who, label.uuid, undo))
        print(undo, flush=True)
"""


def test_kill_9_loses_no_answer_that_was_acknowledged(stores):
    store = stores(now=lambda: datetime.now(timezone.utc))
    make_study(store, 3000, repeat_share=0.05)
    people = [person(store, f"person {number}") for number in range(2)]
    chance, acknowledged = random.Random(0), []
    for _ in range(4):
        writers = [start(WRITE, stores.url, who) for who in people]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.05, 0.6))
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
        for writer in writers:
            said = writer.communicate()[0]
            acknowledged += [line for line in said.splitlines(keepends=True) if line.endswith("\n")]
            assert writer.returncode == -signal.SIGKILL
    rows = store.labels("study", kinds=("train", "repeat"), include_retracted=True)
    stored = Counter(row.uuid for row in rows)
    assert len(acknowledged) > 10
    assert not [line for line in acknowledged if stored[line.strip()] != 1]
    assert max(stored.values()) == 1
    standing = Counter(
        (row.query, row.annotator) for row in rows if not row.retracted and row.retracts is None
    )
    assert max(standing.values()) == 1, "nobody has two answers to a query"
    assert max(Counter(query for query, _ in standing).values()) == 1, "nor a query two people's"
    assert store.counts("study").labels == sum(row.kind == "train" for row in store.labels("study"))
    again = open_store(stores.url)
    assert again.labels("study", kinds=("train", "repeat"), include_retracted=True) == rows
    again.close()


def test_an_answer_is_on_the_disk_before_it_is_acknowledged(tmp_path, monkeypatch):
    flushed, sync = [], os.fsync

    def watch(descriptor):
        sync(descriptor)
        flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    store = open_store(f"sqlite:///{tmp_path / 'labels.db'}")
    make_study(store, 2)
    who = person(store)
    (offer,) = store.offer(who, 1)
    store.close()
    store = open_store(f"sqlite:///{tmp_path / 'labels.db'}")
    monkeypatch.setattr(os, "fsync", watch)
    label = say(store, who, offer.query)
    assert flushed == [str(tmp_path / "labels.db-wal")]
    store.retract(who, label.uuid, "undo")
    assert len(flushed) == 2
    store.close()


def test_a_flush_that_fails_is_no_acknowledgement(tmp_path, monkeypatch):
    store = open_store(f"sqlite:///{tmp_path / 'labels.db'}")
    make_study(store, 1)
    who = person(store)
    (offer,) = store.offer(who, 1)
    time.sleep(0.2)  # the offer's own flush
    sent = NewLabel(str(uuid.uuid4()), offer.query, "left", 900)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(UnavailableError, match="disk reports errors"):
            store.answer(who, sent)
        with pytest.raises(UnavailableError):
            store.answer(who, sent)
    assert store.answer(who, sent).uuid == sent.uuid
    assert store.revision("study") == 1
    store.close()


def fail(_):
    raise OSError(5, "Input/output error")


def test_those_who_wait_for_the_disk_share_a_flush(tmp_path, monkeypatch):
    path = tmp_path / "labels.db"
    for name in ("labels.db", "labels.db-wal"):
        (tmp_path / name).write_bytes(b"x")
    begun = []

    def slow(descriptor):
        begun.append(time.monotonic())
        time.sleep(0.2)

    monkeypatch.setattr(os, "fsync", slow)
    shared = SharedSync(str(path))
    first = threading.Thread(target=shared.wait)
    first.start()
    while not begun:
        time.sleep(0.001)
    called = time.monotonic()
    assert at_once([shared.wait for _ in range(10)]) == [None] * 10
    assert len(begun) == 2, "the one that ran may have missed their writes; one more serves them all"
    assert begun[1] >= called
    first.join()
    shared.soon()
    shared.close()
    assert len(begun) == 3
