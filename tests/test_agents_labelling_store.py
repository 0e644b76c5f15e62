"""What a labelling session's database promises, alike on SQLite and PostgreSQL: asking and answering."""

import math
import runpy
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agents.preferences.labelling.schema import lease
from agents.preferences.labelling.types import (
    ConflictError,
    ForbiddenError,
    LabellingError,
    NewLabel,
    Offer,
    Sprite,
    Study,
    UnknownError,
)

HERE = Path(__file__)
STUDY = runpy.run_path(str(HERE.with_name("label_study.py")))
STORES = runpy.run_path(str(HERE.with_name("label_stores.py")))
person, say, new_query = (STUDY[name] for name in ("person", "say", "new_query"))
cluster, stores, store, clock = (STORES[name] for name in ("cluster", "stores", "store", "clock"))
make_study = STORES["make_study"]


def new_uuid() -> str:
    return str(uuid.uuid4())


def ask(store: Any, who: str, held: Any = ()) -> Offer:
    (offer,) = store.offer(who, 1, held=held)
    return offer


def ask_all(store: Any, who: str) -> list[Offer]:
    return store.offer(who, 1000)


# -- studies and queries --------------------------------------------------------------------------


def test_a_study_is_made_once(store):
    first = make_study(store, 0, overlap_share=0.25)
    store.set_target("study", 7)
    store.set_state("study", "paused")
    again = store.create_study(replace(first, name="other", target=500))
    assert (again.name, again.target, again.state, again.overlap_share) == ("study", 7, "paused", 0.25)
    assert store.study("study") == again
    assert store.studies() == [again]


def test_a_study_keeps_every_field(store, clock):
    study = Study(
        "one", "Näme \N{SNOWMAN}", "mujoco:Hopper", "Guide\nof two lines", 40, 700, "active",
        90.5, 0.1, 4, 0.2, 0.3, {"run": "a", "versions": {"numpy": "2"}},
    )  # fmt: skip
    assert store.create_study(study) == replace(study, created=clock())


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.study("none"),
        lambda store: store.set_state("none", "paused"),
        lambda store: store.set_target("none", 5),
        lambda store: store.add_queries("none", [new_query(0)]),
        lambda store: store.log_event("none", "x", {}),
        lambda store: store.add_reward_version("none", 1, 2, 3, {}),
        lambda store: store.add_annotator("none", "ann"),
        lambda store: store.make_gold("none", "q", "left"),
        lambda store: store.offer("nobody", 1),
        lambda store: store.waiting("none", "nobody"),
        lambda store: store.revoke("nobody"),
        lambda store: store.reopen("none"),
        lambda store: store.set_sprite(10**6, Sprite("m", 1, 1, 1, 1)),
    ],
)
def test_what_is_not_there_is_unknown(store, call):
    with pytest.raises(UnknownError):
        call(store)


def test_queries_are_put_once_and_come_back_as_put(store):
    make_study(store, 0)
    queries = [new_query(index) for index in (2, 0, 1)]
    assert store.add_queries("study", queries) == 3
    assert store.add_queries("study", [*queries, new_query(3), new_query(3)]) == 1
    rows = store.train_queries("study")
    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    assert store.query_keys("study") == ["key0", "key1", "key2", "key3"]
    assert rows[0] == {
        "id": rows[0]["id"],
        "key": "key0",
        "index": 0,
        "clips": {"left": ["episode0", 0, 25], "right": ["episode0", 25, 25]},
        "chosen_by": "variance",
        "score": 0.25,
        "reward_version": 1,
        "step": 1000,
    }
    assert store.open_train_queries("study") == rows


def test_more_queries_than_a_statement_takes_are_put(store):
    make_study(store, 0)
    assert store.add_queries("study", [new_query(index) for index in range(1500)]) == 1500
    assert store.add_queries("study", [new_query(index) for index in range(1501)]) == 1
    assert store.counts("study").queries == 1501


def test_a_clip_in_several_queries_is_drawn_once(store):
    make_study(store, 0)
    first = new_query(0)
    store.add_queries(
        "study", [first, replace(new_query(1), left=first.left), replace(new_query(2), left=first.right)]
    )
    assert len(store.segments_to_render("study", 100)) == 4


def test_the_opinion_of_a_diverged_model_is_none_and_a_bad_score_is_refused(store):
    make_study(store, 0)
    query = new_query(0)
    query = replace(
        query,
        left=replace(query.left, reward=(1.0, math.nan)),
        right=replace(query.right, reward=(0.5, 0.25)),
    )
    store.add_queries("study", [query])
    STUDY["draw"](store, "study")
    offer = ask(store, person(store))
    rewards = [offer.left_reward, offer.right_reward]
    assert rewards == ([(0.5, 0.25), ()] if offer.swapped else [(), (0.5, 0.25)])
    with pytest.raises(ValueError, match="finite"):
        store.add_queries("study", [replace(new_query(1), score=math.nan)])
    assert store.query_keys("study") == ["key0"]


def test_withdrawn_queries_are_not_asked_but_may_be_answered_by_who_has_them(store):
    make_study(store, 3)
    who, other = person(store), person(store, "bob")
    offer = ask(store, who)
    store.withdraw("study", ["key0", "key1"])
    assert store.query_keys("study", open_only=True) == ["key2"]
    assert len(ask_all(store, other)) == 1
    assert say(store, who, offer.query).key == "key0"


# -- offers ---------------------------------------------------------------------------------------


def test_only_drawn_pairs_are_offered_the_most_important_first(store):
    make_study(store, 0)
    store.add_queries(
        "study", [new_query(0), new_query(1, priority=2.0), new_query(2, priority=1.0), new_query(3)]
    )
    who = person(store)
    assert ask_all(store, who) == []
    jobs = store.segments_to_render("study", 2)
    for job in jobs:
        store.set_sprite(job.segment, STUDY["Sprite"](f"m{job.segment}", 26, 6, 64, 64))
    assert store.segments_to_render("study", 1) != []
    first = ask(store, who)
    assert say(store, who, first.query).key == "key1"
    STUDY["draw"](store, "study")
    store2 = [say(store, who, offer.query).key for offer in ask_all(store, who)]
    assert store2 == ["key2", "key0", "key3"] or set(store2) <= {"key0", "key2", "key3"}


def test_an_offer_says_what_a_page_needs(store, clock):
    make_study(store, 0)
    query = new_query(0)
    query = replace(
        query, left=replace(query.left, reward=(0.1, 0.2)), right=replace(query.right, reward=(0.3,))
    )
    store.add_queries("study", [query])
    left, right = store.segments_to_render("study", 2)
    sprites = {
        job.source: STUDY["Sprite"](f"media-{job.source[:4]}", 26, 6, 64, 48, "image/webp")
        for job in (left, right)
    }
    for job in (left, right):
        assert (job.env, job.fps) == ("pixel:MovingDot", 10)
        store.set_sprite(job.segment, sprites[job.source])
    offer = ask(store, person(store))
    shown = [(sprites[query.left.source], (0.1, 0.2)), (sprites[query.right.source], (0.3,))]
    if offer.swapped:
        shown.reverse()
    assert [(offer.left, offer.left_reward), (offer.right, offer.right_reward)] == shown
    assert (offer.kind, offer.fps, offer.chosen_by, offer.score) == ("train", 10, "variance", 0.25)
    assert (offer.reward_version, offer.step) == (1, 1000)
    assert (offer.expires - clock()).total_seconds() == 120


def test_the_screens_side_is_turned_into_the_querys(store):
    make_study(store, 40)
    who = person(store)
    offers = ask_all(store, who)
    assert {offer.swapped for offer in offers} == {True, False}
    for offer in offers:
        label = say(store, who, offer.query, "left")
        assert (label.choice, label.swapped) == ("right" if offer.swapped else "left", offer.swapped)
    swapped = sum(offer.swapped for offer in offers)
    assert 8 <= swapped <= 32, "a fair coin leaves this once in 10 000 times"


def test_nobody_else_gets_a_query_while_it_is_leased(store):
    make_study(store, 3)
    ann, bob = person(store), person(store, "bob")
    held = {offer.query for offer in store.offer(ann, 2)}
    others = {offer.query for offer in ask_all(store, bob)}
    assert len(others) == 1
    assert not held & others
    assert store.waiting("study", person(store, "eve")) == "all_leased"


def test_a_lease_that_ran_out_goes_to_others_and_its_answer_still_counts(store, clock):
    make_study(store, 1)
    ann, bob = person(store), person(store, "bob")
    offer = ask(store, ann)
    clock.advance(119.9)
    assert ask_all(store, bob) == []
    clock.advance(0.2)
    assert ask(store, bob).query == offer.query
    assert store.counts("study").leased == 1
    assert say(store, ann, offer.query, "tie").choice == "tie"
    assert say(store, bob, offer.query, "tie").choice == "tie"
    assert store.counts("study").labels == 2


def test_what_a_page_holds_is_renewed(store, clock):
    make_study(store, 1)
    ann, bob = person(store), person(store, "bob")
    offer = ask(store, ann)
    for _ in range(5):
        clock.advance(100)
        assert store.offer(ann, 0, held=[offer.query]) == []
        assert ask_all(store, bob) == []


def test_what_a_page_holds_is_taken_back_only_if_nobody_has_it_by_now(store, clock):
    make_study(store, 2)
    ann, bob = person(store), person(store, "bob")
    first, second = ask_all(store, ann)
    clock.advance(121)
    assert ask(store, bob).query == first.query
    store.offer(ann, 0, held=[first.query, second.query])
    assert store.counts("study").leased == 2, "bob's, and ann's second again"
    assert ask_all(store, person(store, "eve")) == []
    clock.advance(60)
    store.offer(ann, 0, held=["no such query", second.query, "x" * 500])


def test_a_reloaded_page_gets_the_same_queries_with_the_same_sides(store):
    make_study(store, 30)
    who = person(store)
    before = store.offer(who, 3)
    assert store.offer(who, 3) == before
    assert store.offer(who, 3, held=[before[1].query])[:2] == [before[0], before[2]]
    assert store.counts("study").leased == 4


def test_the_sides_stay_when_a_query_comes_again_later(store, clock):
    make_study(store, 30)
    who = person(store)
    before = {offer.query: offer.swapped for offer in ask_all(store, who)}
    clock.advance(500)
    assert {offer.query: offer.swapped for offer in ask_all(store, who)} == before


def test_a_released_query_goes_to_others_at_once(store):
    make_study(store, 1)
    ann, bob = person(store), person(store, "bob")
    offer = ask(store, ann)
    store.release(bob, offer.query)
    assert ask_all(store, bob) == []
    store.release(ann, offer.query)
    assert ask(store, bob).query == offer.query
    assert say(store, ann, offer.query), "whoever was handed it may answer"


def test_offers_of_nothing_are_nothing(store):
    make_study(store, 3)
    assert store.offer(person(store), 0) == []


def test_people_of_one_study_get_nothing_of_another(store):
    make_study(store, 2)
    make_study(store, 2, name="other")
    ann, bob = person(store), person(store, "bob", "other")
    mine, theirs = ask(store, ann), ask(store, bob)
    with pytest.raises(ForbiddenError):
        say(store, ann, theirs.query)
    assert store.media_allowed(ann, mine.left.media) == "image/webp"
    with pytest.raises(ForbiddenError):
        store.media_allowed(ann, theirs.left.media)
    label = say(store, bob, theirs.query)
    with pytest.raises(ForbiddenError):
        store.retract(ann, label.uuid, new_uuid())
    assert store.labels("study") == []
    assert [one.uuid for one in store.labels("other")] == [label.uuid]


def test_queries_want_several_answers_by_the_overlap_share(store):
    make_study(store, 200, overlap_share=0.25, overlap=3)
    people = [person(store, f"person {number}") for number in range(5)]
    asked = [{offer.query for offer in ask_all(store, who)} for who in people]
    times = [sum(query in some for some in asked) for query in set().union(*asked)]
    assert set(times) == {1, 3}
    assert 22 <= times.count(3) <= 78, "a quarter of 200, give or take 4.6 standard deviations"
    assert not asked[3]
    assert not asked[4]


def test_whether_a_query_is_shared_hangs_on_its_key_alone(stores):
    store = stores()
    make_study(store, 0, overlap_share=0.5, overlap=2)
    store.add_queries("study", [new_query(index) for index in range(10)])
    for index in reversed(range(40)):
        store.add_queries("study", [new_query(index)])
    STUDY["draw"](store, "study")
    people = [person(store, name) for name in "ab"]
    both = [len(ask_all(store, who)) for who in people]
    assert both[0] == 40
    make_study(store, 40, name="study2", overlap_share=0.5, overlap=2)
    assert 5 < both[1] < 35


# -- answers --------------------------------------------------------------------------------------


def test_a_label_keeps_every_field(store, clock):
    make_study(store, 1)
    who = person(store)
    offer = ask(store, who)
    sent = NewLabel(new_uuid(), offer.query, "cannot_tell", 1234, 2.5, 0.25, clock())
    clock.advance(3)
    label = store.answer(who, sent)
    assert (label.uuid, label.study, label.query, label.key) == (sent.uuid, "study", offer.query, "key0")
    assert (label.kind, label.annotator, label.choice) == ("train", who, "cannot_tell")
    assert (label.shown_ms, label.loops, label.speed, label.client_time) == (
        1234,
        2.5,
        0.25,
        sent.client_time,
    )
    assert (label.server_time, label.retracts, label.retracted) == (clock(), None, False)
    assert store.labels("study") == store.history(who) == [label]


def test_the_same_post_again_is_one_row(store):
    make_study(store, 2)
    who, other = person(store), person(store, "bob")
    offer = ask(store, who)
    sent = NewLabel(new_uuid(), offer.query, "left", 900)
    label = store.answer(who, sent)
    assert store.answer(who, sent) == label
    assert store.answer(who, replace(sent, shown_ms=5)) == label
    assert store.revision("study") == 1
    for changed in (replace(sent, choice="right"), replace(sent, query=ask(store, other).query)):
        with pytest.raises(ConflictError):
            store.answer(who, changed)
    with pytest.raises(ConflictError):
        store.answer(other, sent)
    assert store.labels("study") == [label]


def test_one_answer_stands_for_each_person_and_query(store):
    make_study(store, 1)
    who = person(store)
    offer = ask(store, who)
    say(store, who, offer.query, "left")
    for choice in ("right", "skip", "broken"):
        with pytest.raises(ConflictError, match="already"):
            say(store, who, offer.query, choice)
    assert store.revision("study") == 1


def test_only_who_was_handed_a_query_may_answer_it(store):
    make_study(store, 1)
    ann, bob = person(store), person(store, "bob")
    offer = ask(store, ann)
    with pytest.raises(ForbiddenError):
        say(store, bob, offer.query)
    with pytest.raises(UnknownError):
        say(store, ann, "0" * 32)
    assert store.revision("study") == 0


@pytest.mark.parametrize("query", ["nul \0 in it", "lone surrogate \ud800"])
def test_text_that_no_database_takes_is_refused_in_words(store, query):
    make_study(store, 1)
    with pytest.raises(LabellingError):
        say(store, person(store), query)
    assert store.revision("study") == 0


def test_an_answer_counts_whose_hand_out_a_loss_of_power_took_back(store):
    """`offer` does not wait for the disk. Nobody can name a pair that nobody showed them."""
    make_study(store, 6)
    make_study(store, 1, name="other")
    ann, bob, eve = person(store), person(store, "bob"), person(store, "eve", "other")
    offers = ask_all(store, ann)
    store._database.write(lambda connection: connection.execute(sa.delete(lease)))
    for offer in offers[:4]:
        label = say(store, ann, offer.query, "left")
        assert (label.swapped, label.choice) == (offer.swapped, "right" if offer.swapped else "left")
    with pytest.raises(ForbiddenError):
        say(store, bob, offers[0].query)
    with pytest.raises(ForbiddenError):
        say(store, eve, offers[4].query)
    assert {offer.query for offer in ask_all(store, bob)} == {offers[4].query, offers[5].query}
    with pytest.raises(ForbiddenError):
        say(store, ann, offers[4].query)


def test_a_number_that_no_database_takes_is_refused_in_words(store):
    make_study(store, 1)
    who = person(store)
    offer = ask(store, who)
    with pytest.raises(LabellingError, match="cannot be stored"):
        store.answer(who, NewLabel(new_uuid(), offer.query, "left", shown_ms=2**70))
    assert store.revision("study") == 0
    assert say(store, who, offer.query)


def test_a_paused_study_offers_nothing_and_still_takes_answers(store):
    make_study(store, 3)
    who = person(store)
    offer = ask(store, who)
    store.set_state("study", "paused")
    assert ask_all(store, who) == []
    assert say(store, who, offer.query)
    store.set_state("study", "active")
    assert len(ask_all(store, who)) == 2


def test_skipped_queries_come_again_only_when_nothing_else_is_left(store):
    make_study(store, 3)
    ann, bob = person(store), person(store, "bob")
    skipped = ask(store, ann)
    say(store, ann, skipped.query, "skip")
    rest = [ask(store, ann)]
    say(store, ann, rest[0].query)
    assert ask(store, bob).query == skipped.query, "somebody else may be asked at once"
    store.release(bob, skipped.query)
    rest.append(ask(store, ann))
    assert skipped.query not in {offer.query for offer in rest}
    say(store, ann, rest[1].query)
    again = ask(store, ann)
    assert (again.query, again.swapped) == (skipped.query, skipped.swapped)
    say(store, ann, again.query, "skip")
    say(store, ann, ask(store, ann).query)
    counts = store.counts("study")
    assert (counts.labels, counts.skips, counts.open) == (3, 2, 0)


def test_a_broken_clip_closes_its_query_until_the_owner_looks(store):
    make_study(store, 2)
    ann, bob = person(store), person(store, "bob")
    offer = ask(store, ann)
    say(store, ann, offer.query, "broken")
    (flag,) = store.flagged("study")
    assert (flag.query, flag.key, flag.annotator) == (offer.query, "key0", ann)
    shown = (flag.right, flag.left) if offer.swapped else (flag.left, flag.right)
    assert shown == (offer.left, offer.right)
    assert len(ask_all(store, bob)) == 1
    counts = store.counts("study")
    assert (counts.flagged, counts.open, counts.labels, counts.answered) == (1, 1, 0, 0)
    with pytest.raises(UnknownError):
        store.reopen(offer.query, "other")
    store.reopen(offer.query, "study")
    assert store.flagged("study") == []
    assert ask_all(store, ann) == [], "the one who flagged it has judged it"
    assert {one.query for one in ask_all(store, bob)} >= {offer.query}


def test_an_answered_query_that_is_reopened_wants_one_more_answer(store):
    make_study(store, 1)
    ann, bob, eve = (person(store, name) for name in ("ann", "bob", "eve"))
    offer = ask(store, ann)
    say(store, ann, offer.query)
    store.reopen(offer.query)
    assert ask(store, bob).query == offer.query
    assert ask_all(store, eve) == []
    say(store, bob, offer.query)
    assert store.counts("study").open == 0


# -- undo -----------------------------------------------------------------------------------------


def test_undo_of_any_depth(store, clock):
    make_study(store, 6)
    who = person(store)
    given = []
    for choice in ("left", "right", "tie", "cannot_tell", "skip", "broken"):
        offer = ask(store, who)
        given.append((offer, say(store, who, offer.query, choice)))
        clock.advance(2)
    assert store.counts("study").open == 1
    for offer, label in reversed(given):
        back = store.retract(who, label.uuid, new_uuid())
        assert replace(back, expires=offer.expires) == offer, "the same pair, the same sides"
    counts = store.counts("study")
    assert (counts.labels, counts.open, counts.leased, counts.flagged, counts.skips) == (0, 6, 6, 0, 0)
    assert store.labels("study") == []
    assert store.answer_times("study") == []
    rows = store.labels("study", include_retracted=True)
    assert [row.uuid for row in rows[:6]] == [label.uuid for _, label in given]
    assert [row.retracts for row in rows[6:]] == [label.uuid for _, label in reversed(given)]
    assert all(row.retracted for row in rows[:6])
    assert [replace(row, retracted=False) for row in rows[:6]] == [label for _, label in given]
    for offer, _ in given:
        say(store, who, offer.query, "tie")
    assert store.counts("study").labels == 6
    assert store.revision("study") == 18


def test_the_same_undo_again_is_one_row(store):
    make_study(store, 1)
    who = person(store)
    label = say(store, who, ask(store, who).query)
    undo = new_uuid()
    back = store.retract(who, label.uuid, undo)
    assert store.retract(who, label.uuid, undo) == back
    assert store.revision("study") == 2
    other = say(store, who, back.query)
    assert store.retract(who, label.uuid, undo).query == back.query
    assert store.labels("study") == [other], "an undo that is sent again does not undo the next answer"


def test_an_undo_is_refused_where_it_makes_no_sense(store):
    make_study(store, 2)
    who, other = person(store), person(store, "bob")
    label = say(store, who, ask(store, who).query)
    with pytest.raises(UnknownError):
        store.retract(who, new_uuid(), new_uuid())
    with pytest.raises(ForbiddenError):
        store.retract(other, label.uuid, new_uuid())
    with pytest.raises(ConflictError):
        store.retract(who, label.uuid, label.uuid)
    undo = new_uuid()
    store.retract(who, label.uuid, undo)
    for uuid_, new in ((label.uuid, new_uuid()), (undo, new_uuid())):
        with pytest.raises(ConflictError, match="undone"):
            store.retract(who, uuid_, new)
    with pytest.raises(ConflictError):
        store.answer(who, NewLabel(undo, label.query, "left"))
    assert store.revision("study") == 2


def test_a_skip_cannot_be_undone_once_somebody_else_has_the_pair(store):
    make_study(store, 1)
    ann, bob = person(store), person(store, "bob")
    skip = say(store, ann, ask(store, ann).query, "skip")
    ask(store, bob)
    with pytest.raises(ConflictError, match="somebody else"):
        store.retract(ann, skip.uuid, new_uuid())
    store.release(bob, skip.query)
    assert store.retract(ann, skip.uuid, new_uuid()).query == skip.query
    assert ask_all(store, bob) == []


def test_a_skip_that_was_answered_since_is_not_undone_before_the_answer(store):
    make_study(store, 1)
    who = person(store)
    skip = say(store, who, ask(store, who).query, "skip")
    label = say(store, who, ask(store, who).query)
    with pytest.raises(ConflictError, match="first"):
        store.retract(who, skip.uuid, new_uuid())
    store.retract(who, label.uuid, new_uuid())
    store.retract(who, skip.uuid, new_uuid())


def test_undoing_an_answer_that_came_late_takes_nothing_from_others(store, clock):
    make_study(store, 1)
    ann, bob, eve = (person(store, name) for name in ("ann", "bob", "eve"))
    query = ask(store, ann).query
    clock.advance(121)
    ask(store, bob)
    late = say(store, ann, query)
    store.retract(ann, late.uuid, new_uuid())
    assert ask_all(store, eve) == []
    say(store, bob, query)
    assert store.counts("study").open == 1, "ann has it in hand"
    say(store, ann, query)
    assert (store.counts("study").open, store.counts("study").labels) == (0, 2)


def test_label_rows_are_only_ever_added(store):
    written = []
    sa.event.listen(
        store._database._engine,
        "before_cursor_execute",
        lambda connection, cursor, statement, *rest: written.append(statement.split()),
    )
    make_study(store, 20, repeat_share=0.3, gold_share=0.3)
    who = person(store)
    for number in range(20):
        for offer in store.offer(who, 1):
            label = say(store, who, offer.query, ("left", "skip", "broken", "tie")[number % 4])
            if number % 3 == 0:
                store.retract(who, label.uuid, new_uuid())
    changes = [words for words in written if words[0] in ("UPDATE", "DELETE", "INSERT")]
    assert any(words[:3] == ["INSERT", "INTO", "label"] for words in changes)
    assert not [words for words in changes if words[:2] == ["UPDATE", "label"] or words[0] == "DELETE"]


# -- checks: repeats and golds ---------------------------------------------------------------------


def test_own_queries_come_again_with_sides_swapped(store):
    make_study(store, 120, repeat_share=0.3)
    who, other = person(store), person(store, "bob")
    order, swapped = {}, {}
    repeats = 0
    for number in range(100):
        offer = ask(store, who)
        label = say(store, who, offer.query, "left")
        if offer.kind == "train":
            order[label.key], swapped[label.key] = number, offer.swapped
        else:
            assert offer.kind == label.kind == "repeat"
            assert number - order.pop(label.key) >= 10, "and each pair once: it is gone from here now"
            assert offer.swapped is not swapped[label.key]
            repeats += 1
    assert 12 <= repeats <= 45, "0.3 of the 90 later ones, give or take 3.4 standard deviations"
    counts = store.counts("study")
    assert (counts.labels, counts.queries) == (100 - repeats, 120)
    assert len(store.labels("study")) == 100 - repeats
    assert len(store.labels("study", kinds=("repeat",))) == repeats
    assert {offer.kind for offer in ask_all(store, other)} == {"train"}
    assert all(key.startswith("key") for key in store.query_keys("study"))


def test_nobody_is_kept_busy_with_checks_alone(store):
    make_study(store, 15, repeat_share=1.0)
    who = person(store)
    while offers := store.offer(who, 1):
        say(store, who, offers[0].query)
        assert store.revision("study") < 100
    labels = store.labels("study", kinds=("train", "repeat"))
    assert sum(label.kind == "train" for label in labels) == 15


def test_a_repeat_that_ran_out_comes_again_to_the_same_person(store, clock):
    make_study(store, 12, repeat_share=1.0)
    who = person(store)
    for _ in range(10):
        say(store, who, ask(store, who).query)
    repeat = ask(store, who)
    assert repeat.kind == "repeat"
    clock.advance(130)
    again = ask(store, who)
    assert (again.query, again.swapped) == (repeat.query, repeat.swapped)


def test_skips_and_flags_are_not_repeated(store):
    make_study(store, 30, repeat_share=1.0)
    who = person(store)
    for number in range(11):
        say(store, who, ask(store, who).query, ("skip", "broken", "cannot_tell")[number % 3])
    assert {offer.kind for offer in store.offer(who, 5)} == {"train"}


def test_golds_go_to_those_who_have_not_seen_the_pair(store):
    make_study(store, 40, gold_share=1.0)
    owner, ann, bob = (person(store, name) for name in ("owner", "ann", "bob"))
    known = ask(store, owner)
    say(store, owner, known.query)
    store.make_gold("study", known.query, "right")
    assert store.golds("study") == {"key0": "right"}
    assert {offer.kind for offer in store.offer(owner, 10)} == {"train"}
    for who in (ann, bob):
        golds = [offer for offer in store.offer(who, 5) if offer.kind == "gold"]
        assert len(golds) == 1
        label = say(store, who, golds[0].query, "left")
        assert (label.kind, label.key) == ("gold", "key0")
        assert "gold" not in {offer.kind for offer in store.offer(who, 5)}
    assert store.counts("study").labels == 1
    assert len(store.labels("study", kinds=("gold",))) == 2
    store.make_gold("study", known.query, "left")
    assert store.golds("study") == {"key0": "left"}


def test_who_answered_a_gold_is_not_asked_its_pair_for_training(store):
    make_study(store, 3, gold_share=1.0)
    owner, ann = person(store, "owner"), person(store)
    offers = ask_all(store, owner)
    store.make_gold("study", offers[2].query, "left")
    for offer in offers:
        store.release(owner, offer.query)
    (gold,) = store.offer(ann, 1)
    assert say(store, ann, gold.query).kind == "gold"
    assert {one.query for one in ask_all(store, ann)} == {offer.query for offer in offers[:2]}


def test_a_gold_and_its_pair_are_not_handed_out_together(store):
    make_study(store, 1, gold_share=1.0)
    owner, ann = person(store, "owner"), person(store)
    offer = ask(store, owner)
    store.make_gold("study", offer.query, "left")
    store.release(owner, offer.query)
    assert [one.query for one in store.offer(ann, 2)] == [offer.query]
    assert store.offer(ann, 2, held=[offer.query]) == []


def test_a_gold_has_an_answer(store):
    make_study(store, 1)
    offer = ask(store, person(store))
    with pytest.raises(ConflictError):
        store.make_gold("study", offer.query, "skip")
    make_study(store, 1, name="other")
    with pytest.raises(UnknownError):
        store.make_gold("other", offer.query, "left")
    assert store.golds("study") == {}
