"""Clips are drawn while people answer, whatever happens to one of them or to the storage."""

import io
import logging
import random
import runpy
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("sqlalchemy", reason="needs the extra 'label'")
pytest.importorskip("fsspec", reason="needs the extra 'label'")

from agents.preferences.labelling.media import drop_media, read_media
from agents.preferences.labelling.renderer import CLAIM_SECONDS, Renderer
from agents.preferences.labelling.sources import write_source
from agents.preferences.labelling.storage import MediaStorage, MissingMediaError, open_storage
from agents.preferences.labelling.store import LabelStore, open_store
from agents.preferences.labelling.types import NewLabel, NewQuery, SegmentSource, Study, UnavailableError
from envs.episode import Episode
from envs.rendering import choose_gl

LOGGER = "agents.preferences.labelling.renderer"
GONE = "0" * 64
Make = Callable[..., Renderer]


class Clock:
    """The store's time, moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[LabelStore]:
    store = opened(tmp_path, clock)
    store.create_study(Study("study", "a study", "classic:Pendulum", "guide", 20, 100))
    yield store
    store.close()


@pytest.fixture
def storage(tmp_path: Path) -> MediaStorage:
    return open_storage(str(tmp_path / "media"))


@pytest.fixture
def person(store: LabelStore) -> str:
    return store.add_annotator("study", "Ada")[0].id


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes renderers, and stops them in the end."""
    made: list[Renderer] = []

    def new(*arguments: Any, **options: Any) -> Renderer:
        made.append(Renderer(*arguments, **options))
        return made[-1]

    yield new
    for renderer in made:
        renderer.stop()


def opened(folder: Path, clock: Clock) -> LabelStore:
    return open_store(f"sqlite:///{folder / 'labels.db'}", now=clock, rng=random.Random(0))


def clip(number: int, width: int = 2) -> Episode:
    """Three frames of a pendulum that no other number has."""
    states = np.zeros((3, width))
    states[:, 0] = np.linspace(0, 1, 3) + number / 50
    return Episode(
        {"observation": np.zeros((3, 3), np.float32)},
        np.zeros((2, 1), np.float32),
        np.zeros(2),
        np.arange(3.0),
        info={"physics": states},
    )


def source(
    storage: MediaStorage, number: int, env: str = "classic:Pendulum", width: int = 2
) -> SegmentSource:
    return write_source(storage, env, clip(number, width))


def query(index: int, left: SegmentSource, right: SegmentSource) -> NewQuery:
    clips = {"left": ["a", 0, 2], "right": ["b", 0, 2]}
    return NewQuery(f"{index:016x}", index, left, right, "random", 0.0, 0, 0, clips, -float(index))


def ask(store: LabelStore, storage: MediaStorage, count: int, first: int = 0) -> None:
    """Queries first, first + 1, ... of two clips each."""
    numbers = range(first, first + count)
    store.add_queries(
        "study",
        [query(n, source(storage, 2 * n), source(storage, 2 * n + 1)) for n in numbers],
    )


def draw_all(renderer: Renderer) -> int:
    drawn = 0
    while claimed := renderer.draw_due():
        drawn += claimed
    return drawn


def wait_for(fact: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def all_drawn(store: LabelStore) -> bool:
    counts = store.counts("study")
    return counts.queries > 0 and counts.rendering == 0


def test_what_is_asked_is_drawn_and_can_be_seen(
    make: Make, store: LabelStore, storage: MediaStorage, person: str
) -> None:
    ask(store, storage, 2)
    assert store.waiting("study", person) == "rendering"
    renderer = make(store, storage, size=32)
    renderer.start()
    wait_for(lambda: all_drawn(store))
    renderer.stop()
    offers = store.offer(person, 8)
    assert len(offers) == 2
    for sprite in (side for offer in offers for side in (offer.left, offer.right)):
        assert store.media_allowed(person, sprite.media) == "image/webp"
        picture = Image.open(io.BytesIO(read_media(store, storage, sprite.media)))
        assert (sprite.frames, sprite.width, sprite.height) == (3, 32, 32)
        assert (picture.format, picture.size) == ("WEBP", (sprite.columns * 32, 64))


def test_the_next_query_is_drawn_first(
    make: Make, store: LabelStore, storage: MediaStorage, person: str
) -> None:
    ask(store, storage, 3)
    make(store, storage, size=16).draw_due()
    (offer,) = store.offer(person, 8)
    assert store.open_train_queries("study")[0]["key"] == f"{0:016x}"
    assert {offer.left.media, offer.right.media} == set(store.media("study"))


def test_what_comes_later_is_drawn_too(make: Make, store: LabelStore, storage: MediaStorage) -> None:
    renderer = make(store, storage, size=16)
    renderer.start()
    for number in range(3):
        time.sleep(0.1)
        ask(store, storage, 1, first=number)
        wait_for(lambda: all_drawn(store))


def test_one_bad_clip_does_not_hold_up_the_others(
    make: Make, store: LabelStore, storage: MediaStorage, person: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = [source(storage, number) for number in range(6)]
    lost, strange = source(storage, 50), replace(source(storage, 51), env="classic:Nothing")
    storage.delete(lost.source)
    store.add_queries(
        "study",
        [query(0, lost, good[0]), query(1, good[1], strange), query(2, good[2], good[3])],
    )
    assert draw_all(make(store, storage, size=16)) == 6
    reasons = {bad.source: bad.reason for bad in store.undrawable("study")}
    assert reasons.keys() == {lost.source, strange.source}
    assert f"{lost.source} are gone" in reasons[lost.source]
    assert "no environment 'classic:Nothing'" in reasons[strange.source]
    assert [record.levelname for record in caplog.records if record.name == LOGGER] == ["ERROR", "ERROR"]
    (offer,) = store.offer(person, 8)
    store.answer(person, NewLabel("a" * 32, offer.query, "left"))
    assert store.waiting("study", person) == "broken_media"


def test_a_clip_that_could_not_be_drawn_is_tried_again_later(
    make: Make, store: LabelStore, storage: MediaStorage, clock: Clock
) -> None:
    ask(store, storage, 1)
    lost = source(storage, 0)
    storage.delete(lost.source)
    renderer = make(store, storage, size=16)
    assert draw_all(renderer) == 2
    assert not all_drawn(store)
    source(storage, 0)  # it is there again
    clock.pass_by(3600)
    assert draw_all(renderer) == 1
    assert all_drawn(store)


def test_while_the_storage_is_away_the_renderer_waits_and_then_goes_on(
    make: Make,
    store: LabelStore,
    storage: MediaStorage,
    tmp_path: Path,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, LOGGER)
    ask(store, storage, 2)
    media, away = tmp_path / "media", tmp_path / "away"
    media.rename(away)
    renderer = make(store, storage, size=16, idle_seconds=0.01)
    renderer.start()
    wait_for(lambda: "mount it" in caplog.text)
    for _ in range(5):  # the same trouble time and again is told once
        clock.pass_by(CLAIM_SECONDS + 1)
        time.sleep(0.1)
    assert store.undrawable("study") == []
    away.rename(media)
    clock.pass_by(CLAIM_SECONDS + 1)
    wait_for(lambda: all_drawn(store))
    wait_for(lambda: "drawn again" in caplog.text)
    renderer.stop()
    assert [record.levelname for record in caplog.records if record.name == LOGGER] == ["ERROR", "WARNING"]


def test_waiting_grows_to_a_limit_and_ends_with_the_trouble(
    make: Make, store: LabelStore, tmp_path: Path, clock: Clock
) -> None:
    storage = open_storage(str(tmp_path / "media"))
    ask(store, storage, 1)
    (tmp_path / "media").rename(tmp_path / "away")
    renderer = make(store, storage, size=16)
    waits = []
    for _ in range(12):
        waits.append(renderer._turn())
        clock.pass_by(CLAIM_SECONDS + 1)
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == 30
    (tmp_path / "away").rename(tmp_path / "media")
    assert renderer._turn() == 0
    assert renderer._turn() == 0.5


@pytest.fixture
def _no_gl(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setenv("PYOPENGL_PLATFORM", "glx")  # refused by every back-end
    choose_gl.cache_clear()
    yield
    choose_gl.cache_clear()


@pytest.mark.usefixtures("_no_gl")
def test_without_opengl_the_owner_reads_what_to_install_and_the_rest_is_drawn(
    make: Make, store: LabelStore, storage: MediaStorage
) -> None:
    hopper = [source(storage, number, "mujoco:Hopper", width=12) for number in (1, 2)]
    store.add_queries("study", [query(0, *hopper)])
    renderer = make(store, storage, size=16)
    assert renderer._turn() == 5  # so that a server that can draw it takes the next ones
    assert [bad.source for bad in store.undrawable("study")] == [one.source for one in hopper]
    assert all("apt-get install libegl1" in bad.reason for bad in store.undrawable("study"))
    assert all("start the server again" in bad.reason for bad in store.undrawable("study"))
    ask(store, storage, 1, first=1)
    assert renderer._turn() == 0
    assert len(store.media("study")) == 2


@pytest.mark.gl
def test_mujoco_clips_are_drawn_beside_us(make: Make, store: LabelStore, storage: MediaStorage) -> None:
    hopper = [source(storage, number, "mujoco:Hopper", width=12) for number in range(4)]
    store.add_queries("study", [query(0, *hopper[:2]), query(1, *hopper[2:])])
    renderer = make(store, storage, size=32)
    renderer.start()
    renderer.start()
    assert [thread.name for thread in threading.enumerate()].count("renderer") == 1
    wait_for(lambda: all_drawn(store))
    renderer.stop()
    assert "renderer" not in [thread.name for thread in threading.enumerate()]
    assert len(store.media("study")) == 4


def test_renderers_of_several_servers_share_the_work(
    make: Make, tmp_path: Path, store: LabelStore, clock: Clock
) -> None:
    storage = open_storage(str(tmp_path / "media"))
    ask(store, storage, 12)
    stores = [opened(tmp_path, clock) for _ in range(3)]
    drawn = [0] * 3

    def work(number: int) -> None:
        drawn[number] = draw_all(make(stores[number], open_storage(storage.url), size=16))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in stores:
        other.close()
    assert all_drawn(store)
    assert sum(drawn) == 24  # nothing twice


def test_what_a_killed_renderer_had_claimed_is_drawn_by_another(
    make: Make, store: LabelStore, storage: MediaStorage, clock: Clock
) -> None:
    ask(store, storage, 1)
    assert len(store.segments_to_render("study", 2, CLAIM_SECONDS)) == 2  # and then its process ends
    renderer = make(store, storage, size=16)
    assert renderer.draw_due() == 0
    clock.pass_by(CLAIM_SECONDS + 1)
    assert renderer.draw_due() == 2
    assert all_drawn(store)


def test_a_clip_drawn_twice_is_one_picture(
    make: Make, store: LabelStore, storage: MediaStorage, clock: Clock
) -> None:
    ask(store, storage, 1)
    slow = store.segments_to_render("study", 2, CLAIM_SECONDS)
    clock.pass_by(CLAIM_SECONDS + 1)
    make(store, storage, size=16).draw_due()
    before = store.media("study")
    renderer = make(store, storage, size=16)
    for job in slow:
        renderer._draw(job)
    assert store.media("study") == before
    assert all_drawn(store)


def test_stopping_is_quick_and_it_can_be_started_again(
    make: Make, store: LabelStore, storage: MediaStorage
) -> None:
    renderer = make(store, storage, size=16, idle_seconds=60)
    renderer.stop()
    renderer.start()
    started = time.monotonic()
    renderer.stop()
    assert time.monotonic() - started < 5
    ask(store, storage, 1)
    renderer.start()
    wait_for(lambda: all_drawn(store))
    renderer.stop()


@pytest.mark.parametrize("damage", ["delete", "overwrite", "truncate"])
def test_a_picture_that_is_lost_is_drawn_again_when_somebody_looks(
    make: Make,
    store: LabelStore,
    storage: MediaStorage,
    person: str,
    tmp_path: Path,
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ask(store, storage, 1)
    renderer = make(store, storage, size=16)
    draw_all(renderer)
    (offer,) = store.offer(person, 1)
    sha = offer.left.media
    content = storage.get(sha)
    path = tmp_path / "media" / sha[:2] / sha
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(b"something else" if damage == "overwrite" else b"")
    for _ in range(2):  # and again while it is not drawn yet
        with pytest.raises(UnavailableError, match="being drawn again") as refusal:
            read_media(store, storage, sha)
    assert str(tmp_path) not in str(refusal.value)  # a person need not know where
    assert caplog.text.count("1 clips are drawn again") == 1
    assert str(tmp_path) in caplog.text  # the owner does
    assert draw_all(renderer) == 1
    assert read_media(store, storage, sha) == content
    assert store.media_allowed(person, sha) == "image/webp"


def test_a_picture_that_nobody_draws_again_is_gone(
    make: Make, store: LabelStore, storage: MediaStorage, person: str, caplog: pytest.LogCaptureFixture
) -> None:
    video = storage.put(b"a video of the policy")
    store.log_event("study", "video", {"media": video, "step": 1, "content_type": "video/mp4"})
    ask(store, storage, 1)
    draw_all(make(store, storage, size=16))
    (offer,) = store.offer(person, 1)
    store.withdraw("study", store.query_keys("study"))
    for sha in (video, offer.left.media):
        storage.delete(sha)
        with pytest.raises(MissingMediaError, match="picture is gone"):
            read_media(store, storage, sha)
        assert f"{sha} are gone" in caplog.text


def test_while_the_storage_is_away_a_person_reads_that_nothing_is_lost(
    store: LabelStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UnavailableError, match="answers are kept") as refusal:
        read_media(store, open_storage(str(tmp_path / "nowhere")), GONE)
    assert "nowhere" not in str(refusal.value)
    assert "nowhere" in caplog.text


def test_pictures_can_be_dropped_and_are_drawn_again_alike(
    make: Make, store: LabelStore, storage: MediaStorage, person: str, tmp_path: Path
) -> None:
    ask(store, storage, 2)
    renderer = make(store, storage, size=16)
    draw_all(renderer)
    (held,) = store.offer(person, 1)
    before = store.media("study")
    assert len(before) == 4
    assert drop_media(store, storage, "study") == 4
    assert store.media("study") == []
    assert not any(storage.exists(sha) for sha in before)
    assert store.counts("study").rendering == 2
    assert drop_media(store, storage, "study") == 0
    assert draw_all(renderer) == 4
    assert store.media("study") == before
    assert read_media(store, storage, held.left.media)
    store.answer(person, NewLabel("b" * 32, held.query, "right"))


def test_dropping_leaves_other_studies_and_all_sources(
    make: Make, store: LabelStore, storage: MediaStorage
) -> None:
    store.create_study(Study("other", "another", "classic:Pendulum", "guide", 20, 100))
    ask(store, storage, 1)
    store.add_queries("other", [query(0, source(storage, 7), source(storage, 8))])
    draw_all(make(store, storage, size=16))
    kept = store.media("other")
    drop_media(store, storage, "study")
    assert store.media("other") == kept
    assert all(storage.exists(sha) for sha in kept)
    assert draw_all(make(store, storage, "other", size=16)) == 0
    assert draw_all(make(store, storage, "study", size=16)) == 2


def test_the_renderer_goes_on_when_the_database_comes_back(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    postgres = runpy.run_path(str(Path(__file__).with_name("postgres.py")))
    if not postgres["BINARIES"]:
        pytest.skip(postgres["MISSING"])
    caplog.set_level(logging.WARNING, LOGGER)
    storage = open_storage(str(tmp_path / "media"))
    with postgres["cluster"]() as server:
        store = open_store(server.new_database())
        store.create_study(Study("study", "a study", "classic:Pendulum", "guide", 20, 100))
        renderer = make(store, storage, size=16, idle_seconds=0.05)
        renderer.start()
        server.stop()
        wait_for(lambda: "no clips are drawn for now" in caplog.text)
        server.start()
        ask(store, storage, 2)
        wait_for(lambda: all_drawn(store))
        renderer.stop()
        store.close()
