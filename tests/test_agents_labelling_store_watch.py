"""What a labelling session's database tells those who watch: reasons, counts, events, people, clips."""

import hashlib
import runpy
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from agents.preferences.labelling.schema import metadata
from agents.preferences.labelling.types import Counts, ForbiddenError, Sprite

HERE = Path(__file__)
STUDY = runpy.run_path(str(HERE.with_name("label_study.py")))
STORES = runpy.run_path(str(HERE.with_name("label_stores.py")))
person, say, new_query = (STUDY[name] for name in ("person", "say", "new_query"))
cluster, stores, store, clock = (STORES[name] for name in ("cluster", "stores", "store", "clock"))
make_study = STORES["make_study"]


# -- why somebody waits ------------------------------------------------------------------------------


def test_every_reason_to_wait(store):
    make_study(store, 0)
    ann, bob = person(store), person(store, "bob")
    waiting = lambda who: store.waiting("study", who)  # noqa: E731
    assert waiting(ann) == "no_queries"
    store.add_queries("study", [new_query(0)])
    assert waiting(ann) == "rendering"
    first, second = store.segments_to_render("study", 2)
    store.set_undrawable(first.segment, "no OpenGL")
    assert waiting(ann) == "broken_media"
    store.set_sprite(second.segment, Sprite("b", 1, 1, 8, 8))
    assert waiting(ann) == "broken_media"
    store.set_sprite(first.segment, Sprite("a", 1, 1, 8, 8))
    assert waiting(ann) == "none"
    (offer,) = store.offer(ann, 1)
    assert (waiting(ann), waiting(bob)) == ("none", "all_leased")
    say(store, ann, offer.query)
    assert (waiting(ann), waiting(bob)) == ("all_answered", "all_answered")
    store.set_target("study", 1)
    assert waiting(ann) == "target_reached"
    store.add_queries("study", [new_query(1)])
    assert waiting(ann) == "rendering"
    store.set_state("study", "paused")
    assert waiting(ann) == "paused"
    store.set_state("study", "finished")
    assert waiting(ann) == "finished"


def test_somebody_whose_only_open_pairs_are_shared_ones_of_his_own_waits_for_the_run(store):
    make_study(store, 1, overlap_share=1.0, overlap=2)
    ann = person(store)
    say(store, ann, store.offer(ann, 1)[0].query)
    assert store.counts("study").open == 1
    assert store.waiting("study", ann) == "all_answered"
    assert store.waiting("study", person(store, "bob")) == "none"


def test_open_pairs_are_asked_beyond_the_target(store):
    """A shared pair takes more answers than one: the run that waits for the last pair must get it."""
    make_study(store, 3)
    store.set_target("study", 1)
    who = person(store)
    for _ in range(3):
        say(store, who, store.offer(who, 1)[0].query)
    assert store.waiting("study", who) == "target_reached"


# -- numbers ------------------------------------------------------------------------------------------


def test_counts(store, clock):
    make_study(store, 6, overlap_share=0.0)
    store.add_queries("study", [new_query(index) for index in range(6, 9)])
    ann, bob = person(store), person(store, "bob")
    first, second, third, _ = store.offer(ann, 4)
    assert store.counts("study") == Counts(9, 9, 3, 4, 0, 0, 0, 0)
    say(store, ann, first.query)
    say(store, ann, second.query, "skip")
    say(store, ann, third.query, "broken")
    store.offer(bob, 1)
    assert store.counts("study") == Counts(9, 7, 3, 2, 1, 1, 1, 1)
    clock.advance(500)
    assert store.counts("study").leased == 0
    make_study(store, 1, name="other")
    assert store.counts("other") == Counts(1, 1, 0, 0, 0, 0, 0, 0)


def test_the_seconds_of_an_answer_count_from_when_the_person_could_begin(store, clock):
    make_study(store, 4)
    ann, bob = person(store), person(store, "bob")
    first, second, third = store.offer(ann, 3)
    clock.advance(5)
    say(store, ann, first.query)
    clock.advance(3)
    say(store, ann, second.query)
    (other,) = store.offer(bob, 1)
    clock.advance(7)
    say(store, bob, other.query)
    undone = say(store, ann, third.query)
    store.retract(ann, undone.uuid, "undo")
    assert store.answer_times("study") == [(ann, 5.0), (ann, 3.0), (bob, 7.0)]


def test_the_revision_changes_with_every_row(store):
    make_study(store, 2)
    who = person(store)
    seen = {store.revision("study")}
    label = say(store, who, store.offer(who, 1)[0].query)
    seen.add(store.revision("study"))
    store.retract(who, label.uuid, "undo")
    seen.add(store.revision("study"))
    say(store, who, label.query)
    seen.add(store.revision("study"))
    assert len(seen) == 4


def test_history_is_newest_first_and_bounded(store):
    make_study(store, 5)
    who, other = person(store), person(store, "bob")
    labels = [say(store, who, offer.query) for offer in store.offer(who, 4)]
    say(store, other, store.offer(other, 1)[0].query)
    store.retract(who, labels[2].uuid, "undo")
    found = store.history(who, limit=3)
    assert [label.uuid for label in found] == [label.uuid for label in reversed(labels[1:])]
    assert [label.retracted for label in found] == [False, True, False]


# -- what the run tells -------------------------------------------------------------------------------


def test_events(store, clock):
    make_study(store, 0)
    make_study(store, 0, name="other")
    numbers = [
        store.log_event("study", kind, {"step": step}) for kind, step in [("a", 1), ("b", 2), ("a", 3)]
    ]
    store.log_event("other", "a", {"step": 9})
    assert numbers == sorted(numbers)
    assert [data["step"] for *_, data in store.events("study")] == [1, 2, 3]
    assert store.events("study", after=numbers[0], kinds=["a"]) == [(numbers[2], clock(), "a", {"step": 3})]
    assert len(store.events("study", limit=2)) == 2
    assert store.events("study", kinds=[]) == []
    assert store.latest("study", "a") == {"step": 3}
    assert store.latest("study", "none") is None


def test_reward_versions_of_a_run_that_went_back_are_replaced(store, clock):
    make_study(store, 0)
    store.add_reward_version("study", 2, 20, 200, {"accuracy": 0.75})
    store.add_reward_version("study", 1, 10, 100, {"accuracy": None})
    store.add_reward_version("study", 2, 21, 210, {})
    rows = store.reward_versions("study")
    assert [(row["version"], row["labels"], row["step"], row["metrics"]) for row in rows] == [
        (1, 10, 100, {"accuracy": None}),
        (2, 21, 210, {}),
    ]
    assert rows[0]["created"] == clock()


# -- people -----------------------------------------------------------------------------------------


def test_a_token_opens_its_own_study_until_it_expires_or_is_revoked(store, clock):
    make_study(store, 1)
    ann, token = store.add_annotator("study", "Ann", expires=clock() + timedelta(hours=1))
    assert len(token) >= 43, "256 random bits"
    assert store.annotator_by_token(token) == ann
    clock.advance(3599)
    assert store.annotator_by_token(token) == ann
    clock.advance(1)
    with pytest.raises(ForbiddenError, match="expired"):
        store.annotator_by_token(token)
    with pytest.raises(ForbiddenError, match="expired"):
        store.offer(ann.id, 1)
    bob, token = store.add_annotator("study", "Bob", "owner")
    assert store.annotator_by_token(token).role == "owner"
    store.revoke(bob.id)
    store.revoke(bob.id)
    with pytest.raises(ForbiddenError, match="withdrawn"):
        store.annotator_by_token(token)
    with pytest.raises(ForbiddenError, match="withdrawn"):
        store.offer(bob.id, 1)
    assert [one.name for one in store.annotators("study")] == ["Ann", "Bob"]
    assert store.annotators("study")[1].revoked == clock()
    for wrong in ("", "x" * 43, token[:-1], token.upper()):
        with pytest.raises(ForbiddenError, match="not known"):
            store.annotator_by_token(wrong)


def test_of_a_token_only_its_digest_is_stored(store):
    make_study(store, 0)
    _, token = store.add_annotator("study", "Ann")
    with store._database._engine.connect() as connection:
        cells = [
            str(cell)
            for table in metadata.sorted_tables
            for row in connection.execute(sa.select(table))
            for cell in row
        ]
    assert hashlib.sha256(token.encode()).hexdigest() in cells
    assert not [cell for cell in cells if token in cell]


def test_a_given_token_makes_one_annotator(store):
    make_study(store, 0)
    make_study(store, 0, name="other")
    token = "t" * 43
    owner, same = store.add_annotator("study", "owner", "owner", token=token)
    assert same == token
    assert store.add_annotator("study", "owner", "owner", token=token)[0] == owner
    assert store.annotators("study") == [owner]
    with pytest.raises(ForbiddenError):
        store.add_annotator("other", "owner", "owner", token=token)
    with pytest.raises(ValueError, match="22"):
        store.add_annotator("study", "x", token="short")


def test_answers_of_a_revoked_person_stay(store):
    make_study(store, 1)
    who = person(store)
    label = say(store, who, store.offer(who, 1)[0].query)
    store.revoke(who)
    assert store.labels("study") == [label]


# -- clips ------------------------------------------------------------------------------------------


def test_a_clip_is_claimed_by_one_renderer_until_its_time_is_over(store, clock):
    make_study(store, 0)
    store.add_queries("study", [new_query(0), new_query(1, priority=1.0)])
    first = store.segments_to_render("study", 2, claim_seconds=30)
    assert {job.source for job in first} == {new_query(1).left.source, new_query(1).right.source}
    second = store.segments_to_render(None, 10, claim_seconds=30)
    assert len(second) == 2
    assert not {job.segment for job in first} & {job.segment for job in second}
    assert store.segments_to_render("study", 10) == []
    clock.advance(31)
    assert len(store.segments_to_render("study", 10)) == 4


def test_only_open_queries_are_drawn(store):
    make_study(store, 0)
    store.add_queries("study", [new_query(0), new_query(1)])
    store.withdraw("study", ["key0"])
    assert {job.source for job in store.segments_to_render("study", 10)} == {
        new_query(1).left.source,
        new_query(1).right.source,
    }
    assert store.segments_to_render("other", 10) == []


def test_an_undrawable_clip_is_told_and_tried_again_later(store, clock):
    make_study(store, 0)
    store.add_queries("study", [new_query(0)])
    first, second = store.segments_to_render("study", 10)
    store.set_undrawable(first.segment, "install libegl1")
    store.set_sprite(second.segment, Sprite("m", 1, 1, 8, 8))
    (told,) = store.undrawable("study")
    assert (told.segment, told.source, told.reason) == (first.segment, first.source, "install libegl1")
    assert store.segments_to_render("study", 10) == []
    clock.advance(301)
    assert store.segments_to_render("study", 10) == [first]
    store.set_sprite(first.segment, Sprite("n", 1, 1, 8, 8))
    assert store.undrawable("study") == []
    assert len(store.offer(person(store), 1)) == 1


def test_a_picture_that_is_gone_is_drawn_again_and_not_offered_meanwhile(store):
    make_study(store, 2)
    ann, bob = person(store), person(store, "bob")
    offer = store.offer(ann, 1)[0]
    assert store.redraw(offer.left.media) == 1
    assert store.redraw("nothing") == 0
    store.release(ann, offer.query)
    assert offer.query not in {one.query for one in store.offer(bob, 5)}
    (job,) = store.segments_to_render("study", 10)
    label = say(store, ann, offer.query, "skip")
    assert label.choice == "skip", "an answer to what somebody saw is taken"
    store.set_sprite(job.segment, Sprite("new", 26, 6, 64, 64))
    assert "new" in {one.left.media for one in store.offer(bob, 5)} | {
        one.right.media for one in store.offer(bob, 5)
    }


def test_an_answer_can_be_undone_while_its_clip_is_drawn_again(store):
    make_study(store, 1)
    who = person(store)
    offer = store.offer(who, 1)[0]
    label = say(store, who, offer.query)
    store.redraw(offer.left.media)
    assert store.retract(who, label.uuid, "undo").left == offer.left


def test_media_of_the_own_study_alone(store):
    make_study(store, 1)
    make_study(store, 1, name="other")
    ann, bob = person(store), person(store, "bob", "other")
    store.log_event("study", "video", {"media": "film", "step": 5, "content_type": "video/mp4"})
    offer = store.offer(ann, 1)[0]
    assert store.media_allowed(ann, offer.right.media) == "image/webp"
    assert store.media_allowed(ann, "film") == "video/mp4"
    for media in ("film", offer.left.media, "", "nul\0"):
        with pytest.raises(Exception, match=r"not part of your session|cannot be stored"):
            store.media_allowed(bob, media)
    with pytest.raises(ForbiddenError):
        store.media_allowed("nobody", "film")
