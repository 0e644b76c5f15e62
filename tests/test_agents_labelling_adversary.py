"""What an adversary found in the labelling database: crossings of writers, lost power, greedy undos.

Each test is a history that once ended wrong, or an invariant under many writers, on both databases.
"""

from __future__ import annotations

import os
import random
import runpy
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="needs the extra 'label'")

import sqlalchemy as sa

from agents.preferences.labelling import renderings
from agents.preferences.labelling.schema import label, lease, query
from agents.preferences.labelling.store import LabelStore, open_store
from agents.preferences.labelling.types import (
    ANSWERING,
    CHOICES,
    ConflictError,
    LabellingError,
    NewLabel,
    Sprite,
    Study,
)

HERE = Path(__file__)
STUDY = runpy.run_path(str(HERE.with_name("label_study.py")))
STORES = runpy.run_path(str(HERE.with_name("label_stores.py")))
make_study, person, say, undo, new_query = (
    STUDY[name] for name in ("make_study", "person", "say", "undo", "new_query")
)
cluster, stores, store, clock = (STORES[name] for name in ("cluster", "stores", "store", "clock"))


def new_uuid() -> str:
    return str(uuid.uuid4())


def rows_of(store: LabelStore, statement: Any) -> list[Any]:
    return store._read(lambda connection: list(connection.execute(statement)))


# -- undos that took too much ------------------------------------------------------------------------


def test_undoing_a_skip_leaves_another_persons_flag_alone(store: LabelStore) -> None:
    make_study(store, 1)
    ann, bob = person(store, "ann"), person(store, "bob")
    skipped = say(store, ann, store.offer(ann, 1)[0].query, "skip")
    say(store, bob, store.offer(bob, 1)[0].query, "broken")
    undo(store, ann, skipped)
    assert [flag.annotator for flag in store.flagged("study")] == [bob]
    assert store.counts("study").open == 0


def test_undoing_a_flag_leaves_another_persons_flag_alone(store: LabelStore) -> None:
    make_study(store, 1, overlap_share=1.0, overlap=2)
    ann, bob = person(store, "ann"), person(store, "bob")
    offers = {who: store.offer(who, 1)[0].query for who in (ann, bob)}
    flags = {who: say(store, who, offers[who], "broken") for who in (ann, bob)}
    undo(store, ann, flags[ann])
    assert [flag.annotator for flag in store.flagged("study")] == [bob]
    undo(store, bob, flags[bob])
    assert store.flagged("study") == []
    assert store.counts("study").open == 1


# -- writers that cross ------------------------------------------------------------------------------


def test_a_pair_is_ready_though_both_clips_are_drawn_at_once(store: LabelStore) -> None:
    """On PostgreSQL each drawer saw the other's clip undrawn, and the pair was never asked."""
    store.create_study(Study("study", "study", "pixel:MovingDot", "", 10, 100))
    store.add_queries("study", [new_query(0)])
    first, second = (job.segment for job in store.segments_to_render("study", 2))
    begun, go_on = threading.Event(), threading.Event()

    def draw_slowly() -> None:
        def work(connection: sa.Connection) -> None:
            renderings.set_sprite(connection, first, Sprite("a" * 64, 26, 6, 64, 64))
            begun.set()
            go_on.wait(2.0)  # the other one has no chance to end before on SQLite

        store._write(work)

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(draw_slowly)
        begun.wait(5.0)
        quick = pool.submit(store.set_sprite, second, Sprite("b" * 64, 26, 6, 64, 64))
        threading.Timer(0.5, go_on.set).start()
        slow.result()
        quick.result()
    assert store.counts("study").rendering == 0
    assert len(store.offer(person(store), 1)) == 1


def test_one_answer_of_a_pair_stands_though_a_person_answers_in_two_pages_at_once(store: LabelStore) -> None:
    make_study(store, 10, overlap_share=0.5)
    ann = person(store)
    for offer in store.offer(ann, 10):
        labels = [NewLabel(new_uuid(), offer.query, choice) for choice in ("left", "right", "tie")]
        outcomes = at_once([lambda new=new: store.answer(ann, new) for new in labels])
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError"] * 2 + ["Label"]
    assert store.counts("study").labels == 10


def test_the_same_post_sent_many_times_at_once_is_one_row(store: LabelStore) -> None:
    make_study(store, 1)
    ann = person(store)
    new = NewLabel(new_uuid(), store.offer(ann, 1)[0].query, "left")
    outcomes = at_once([lambda: store.answer(ann, new)] * 6)
    assert len({outcome.uuid for outcome in outcomes}) == 1
    assert store.revision("study") == 1


def test_one_uuid_for_two_pairs_at_once_is_one_row(store: LabelStore) -> None:
    make_study(store, 2)
    ann = person(store)
    name = new_uuid()
    labels = [NewLabel(name, offer.query, "left") for offer in store.offer(ann, 2)]
    outcomes = at_once([lambda new=new: store.answer(ann, new) for new in labels])
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "Label"]
    assert store.revision("study") == 1


def test_an_answer_is_undone_once_though_it_is_asked_twice_at_once(store: LabelStore) -> None:
    make_study(store, 1)
    ann = person(store)
    given = say(store, ann, store.offer(ann, 1)[0].query)
    outcomes = at_once([lambda: store.retract(ann, given.uuid, new_uuid())] * 4)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError"] * 3 + ["Offer"]
    assert store.revision("study") == 2
    assert store.counts("study").labels == 0


def test_two_pages_of_one_person_never_get_more_than_a_query_wants(store: LabelStore) -> None:
    make_study(store, 12, overlap_share=1.0, overlap=2)
    people = [person(store, name) for name in ("ann", "bob", "cid")]
    outcomes = at_once([lambda who=who: store.offer(who, 4) for who in people * 3])
    handed: Counter[str] = Counter()
    for who in people:
        own = {o.query for index, offers in enumerate(outcomes) if people[index % 3] == who for o in offers}
        handed.update(own)
    assert max(handed.values()) <= 2
    check_consistency(store)


def test_everybody_at_once_leaves_a_consistent_study(store: LabelStore) -> None:
    """Six people answer, skip, flag, undo, lose and reopen pairs in no order, from two pages each."""
    make_study(store, 25, overlap_share=0.4, overlap=2, repeat_share=0.2, gold_share=0.2)
    probe = person(store, "probe")
    for offer in store.offer(probe, 25)[::5]:
        store.make_gold("study", offer.query, "left")
    for offer in store.offer(probe, 25):
        store.release(probe, offer.query)
    people = [person(store, f"person{number}") for number in range(6)]
    trouble: list[str] = []

    def work(number: int) -> None:
        chance, who = random.Random(number), people[number % len(people)]
        given: list[str] = []
        for _ in range(12):
            try:
                for offer in store.offer(who, 2):
                    if chance.random() < 0.2:
                        store.release(who, offer.query)
                        continue
                    given.append(say(store, who, offer.query, chance.choice(CHOICES)).uuid)
                    if chance.random() < 0.4:
                        store.retract(who, chance.choice(given), new_uuid())
                for flag in store.flagged("study")[:1]:
                    store.reopen(flag.query, "study")
            except ConflictError:
                pass  # the same person's other page was faster
            except LabellingError as error:
                trouble.append(f"{type(error).__name__}: {error}")

    at_once([lambda number=number: work(number) for number in range(2 * len(people))])
    assert trouble == []
    check_consistency(store)


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call gave or raised; all begin together."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait(60.0)
        try:
            return call()
        except LabellingError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def check_consistency(store: LabelStore) -> None:
    """Counters and leases must say what the label rows say, which alone are the truth."""
    rows = rows_of(store, sa.select(label))
    undone = {row.retracts for row in rows if row.retracts}
    standing = [row for row in rows if row.retracts is None and row.uuid not in undone]
    judged = [row for row in standing if row.choice != "skip"]
    assert len({(row.query, row.annotator) for row in judged}) == len(judged), "two answers of one person"
    leases = {(row.query, row.annotator): row for row in rows_of(store, sa.select(lease))}
    assert {(row.query, row.annotator): row.uuid for row in judged} == {
        place: row.answer for place, row in leases.items() if row.answer is not None
    }
    assert all(leases[row.query, row.annotator].swapped == row.swapped for row in rows)
    answers = Counter(row.query for row in judged if row.choice in ANSWERING)
    flags = {row.query for row in judged if row.choice == "broken"}
    for asked in rows_of(store, sa.select(query)):
        assert asked.answers == answers[asked.id], f"{asked.kind} {asked.key}"
        if asked.closed_by == "answers":
            assert asked.answers >= asked.wanted
        if asked.closed_by == "flag":
            assert asked.id in flags
        if asked.closed is None and asked.kind == "train":
            assert asked.answers < asked.wanted, f"{asked.key} is open with all its answers"


# -- lost power --------------------------------------------------------------------------------------


def test_sides_stay_the_same_though_a_lost_hand_out_is_made_anew(store: LabelStore) -> None:
    """Hand-outs are not waited for on the disk. A page that goes on showing one after the power failed
    must not have its answer turned round."""
    make_study(store, 24)
    ann = person(store)
    before = {offer.query: offer.swapped for offer in store.offer(ann, 24)}
    assert 2 <= sum(before.values()) <= 22
    store._write(lambda connection: connection.execute(sa.delete(lease)))
    assert {offer.query: offer.swapped for offer in store.offer(ann, 24)} == before


@pytest.mark.parametrize("kind", ["link", "relative"])
def test_an_answer_is_on_the_disk_wherever_the_database_was_named_from(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite keeps its log beside the file that a link leads to, and where it was when it was opened."""
    (tmp_path / "real").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "real")
    named = "labels.db"
    if kind == "link":
        named = str(tmp_path / "elsewhere" / "link.db")
        Path(named).symlink_to(tmp_path / "real" / "labels.db")
    store = open_store(f"sqlite:///{named}")
    make_study(store, 1)
    ann = person(store)
    offer = store.offer(ann, 1)[0]
    monkeypatch.chdir(tmp_path / "elsewhere")
    flushed: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        flushed.append(os.fstat(file).st_ino)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    say(store, ann, offer.query)
    assert (tmp_path / "real" / "labels.db-wal").stat().st_ino in flushed
    store.close()


# -- studies keep to themselves ----------------------------------------------------------------------


def test_no_method_of_one_studys_people_touches_another(store: LabelStore) -> None:
    make_study(store, 3)
    make_study(store, 3, "other")
    ann, eve = person(store, "ann"), person(store, "eve", "other")
    held, answered, _ = store.offer(ann, 3)
    given = say(store, ann, answered.query)
    before = everything(store)
    attempts: list[Callable[[], Any]] = [
        lambda: store.answer(eve, NewLabel(new_uuid(), held.query, "left")),
        lambda: store.answer(eve, NewLabel(given.uuid, answered.query, "left")),
        lambda: store.retract(eve, given.uuid, new_uuid()),
        lambda: store.make_gold("other", held.query, "left"),
        lambda: store.reopen(answered.query, "other"),
        lambda: store.media_allowed(eve, held.left.media),
    ]
    for attempt in attempts:
        with pytest.raises(LabellingError):
            attempt()
    store.release(eve, held.query)
    store.withdraw("other", ["key-of-nothing"])
    assert everything(store) == before
    mine = {offer.query for offer in store.offer(eve, 3, held=[held.query, answered.query])}
    assert mine.isdisjoint({held.query, answered.query})


def everything(store: LabelStore) -> list[Any]:
    return [rows_of(store, sa.select(table)) for table in (label, lease, query)]


def test_a_lease_that_ended_while_its_renewal_was_under_way_is_not_renewed(stores: Any) -> None:
    """A renewal that began before the lease ended and is written after another person took the pair."""
    store = stores()
    make_study(store, 1, overlap_share=0.0, lease_seconds=10.0)
    ann, bob = person(store, "ann"), person(store, "bob")
    mine = store.offer(ann, 1)[0].query
    begun = stores.clock.time
    slow = stores(now=lambda: begun.replace(second=9))
    stores.clock.advance(10.5)
    assert [offer.query for offer in store.offer(bob, 1)] == [mine]
    assert slow.offer(ann, 1, held=[mine]) == []
    running = sa.select(lease.c.annotator).where(lease.c.expires > stores.clock.time)
    assert [row.annotator for row in rows_of(store, running)] == [bob]


def test_a_lease_that_runs_is_renewed(stores: Any) -> None:
    store = stores()
    make_study(store, 1, overlap_share=0.0, lease_seconds=10.0)
    ann, bob = person(store, "ann"), person(store, "bob")
    mine = store.offer(ann, 1)[0].query
    for _ in range(4):
        stores.clock.advance(8.0)
        assert store.offer(ann, 1, held=[mine]) == []
        assert store.offer(bob, 1) == []
