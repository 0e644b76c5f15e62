"""The labelling page in a real browser, against the real server and database."""

from __future__ import annotations

import runpy
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'label': pip install 'surefoot[label]'")

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from agents.preferences.labelling.types import Label

tools = runpy.run_path(str(Path(__file__).with_name("label_server.py")))
LabelServer, label_server, levels = tools["LabelServer"], tools["label_server"], tools["levels"]
FRAME_LEVEL, STEPS = tools["FRAME_LEVEL"], tools["STEPS"]

CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
MIN_VIEW_MS = 500
SEEN = 600
"""ms after which an answer counts, with some to spare"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium here: sudo apt-get install -y --no-install-recommends chromium"
    ),
]

# What stands on both canvases: [level of the clip, number of the frame] of each side.
ON_SCREEN = """() => ['left', 'right'].map((side) => {
  const canvas = document.querySelector(`#${side} .screen canvas`)
  const at = (x) => canvas.getContext('2d').getImageData(x * canvas.width, canvas.height / 2, 1, 1).data[0]
  return [at(0.25), at(0.75)]
})"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with label_server(tmp_path_factory.mktemp("labels")) as running:
        yield running


@pytest.fixture
def server(running: Any) -> Iterator[Any]:
    """The server with a study of this test's own."""
    running.begin_study()
    yield running
    if running.process is None:  # a test that failed may have left it dead
        running.start()


class Person:
    """Somebody with a browser of their own."""

    def __init__(self, browser: Browser, link: str, **screen: Any) -> None:
        self.context: BrowserContext = browser.new_context(**{"viewport": DESKTOP, **screen})
        self.complaints: list[str] = []
        self.page = self.open(link)

    def open(self, address: str) -> Page:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(address)
        return page

    def sees_pair(self, page: Page | None = None) -> Page:
        """Waits for a pair that was on the screen long enough to be answered."""
        page = page or self.page
        expect(page.locator("#session")).to_have_attribute("data-state", "label", timeout=20_000)
        page.wait_for_timeout(SEEN)
        return page

    def clips(self) -> tuple[int, int]:
        """Grey levels of the clips on the left and on the right of the screen."""
        (left, _), (right, _) = self.page.evaluate(ON_SCREEN)
        return left, right

    def press(self, key: str) -> tuple[int, int]:
        """Answers the pair on the screen, once it was seen, and returns its clips; awaits the next one."""
        self.sees_pair()
        before = self.clips()
        self.page.keyboard.press(key)
        self.goes_on_from(before)
        return before

    def goes_on_from(self, before: tuple[int, int]) -> None:
        def is_next() -> bool:
            waits = self.page.locator("#session").get_attribute("data-state") != "label"
            return waits or self.clips() != before

        eventually(is_next)


Join = Callable[..., Person]


@pytest.fixture
def join(chromium: Browser, server: Any) -> Iterator[Join]:
    """Lets people in; their pages must not have failed by the end."""
    people: list[Person] = []

    def enter(name: str = "anna", **screen: Any) -> Person:
        people.append(Person(chromium, server.invite(name), **screen))
        return people[-1]

    yield enter
    for person in people:
        person.context.close()
    assert [complaint for person in people for complaint in person.complaints] == []


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.03)


def stored(server: Any, count: int) -> list[Label]:
    """The standing answers, once there are so many."""
    eventually(lambda: len(server.store.labels(server.study)) >= count)
    labels: list[Label] = server.store.labels(server.study)
    assert len(labels) == count
    return labels


def by_level(label: Label) -> tuple[int, int]:
    """Levels of the query's own left and right clip."""
    left, right = levels(int(label.key.removeprefix("pair-")))
    return left, right


# -- answering -------------------------------------------------------------------------------------


def test_the_link_lets_in_and_leaves_no_trace_of_its_token(server: Any, chromium: Browser) -> None:
    link = server.invite("anna")
    person = Person(chromium, link)
    person.sees_pair()
    assert person.page.url == f"{server.url}/"
    token = link.partition("#")[2]
    person.page.go_back()
    person.page.wait_for_timeout(300)
    assert token not in person.page.url
    (cookie,) = person.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert token not in server.log()
    person.context.close()


def test_a_wrong_link_is_explained(chromium: Browser, server: Any) -> None:
    person = Person(chromium, server.link("x" * 43))
    expect(person.page.get_by_role("heading")).to_have_text("This link does not let you in")
    page = person.open(f"{server.url}/join")
    expect(page.get_by_role("heading")).to_have_text("This link is not complete")
    page.goto(f"{server.url}/join#{server.invite('anna').partition('#')[2]}")  # only the fragment differs
    person.sees_pair(page)
    person.context.close()


def test_each_key_is_stored_as_the_clip_that_was_on_that_side(server: Any, join: Join) -> None:
    anna = join()
    keys = [
        "ArrowLeft",
        "ArrowRight",
        "ArrowRight",
        "ArrowLeft",
        "ArrowLeft",
        "ArrowRight",
        "ArrowUp",
        "ArrowDown",
    ]
    shown = [anna.press(key) for key in keys]
    labels = stored(server, len(keys))
    assert [label.choice for label in labels[6:]] == ["tie", "cannot_tell"]
    for label, key, (on_left, on_right) in zip(labels[:6], keys, shown, strict=False):
        left, right = by_level(label)
        chosen = on_left if key == "ArrowLeft" else on_right
        assert chosen == (left if label.choice == "left" else right)
        assert label.swapped == ((on_left, on_right) == (right, left))
        assert label.shown_ms >= MIN_VIEW_MS
        assert label.loops > 0.1
    assert len({label.query for label in labels}) == len(keys)


def test_skipped_and_flagged_pairs_are_no_answers(server: Any, join: Join) -> None:
    anna = join()
    skipped, flagged = anna.press("s"), anna.press("f")
    anna.press("ArrowUp")
    labels = stored(server, 3)
    assert [label.choice for label in labels] == ["skip", "broken", "tie"]
    assert set(by_level(labels[0])) == set(skipped)
    assert [flag.query for flag in server.store.flagged(server.study)] == [labels[1].query]
    assert set(by_level(labels[1])) == set(flagged)


def test_buttons_answer_as_keys_do_and_take_no_focus(server: Any, join: Join) -> None:
    anna = join()
    page = anna.sees_pair()
    before = anna.clips()
    page.get_by_role("button", name="Right is better").click()
    anna.goes_on_from(before)
    (label,) = stored(server, 1)
    assert by_level(label)[0 if label.choice == "left" else 1] == before[1]
    # The click left no focus behind: Space pauses, it does not press the button again.
    anna.sees_pair()
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    page.wait_for_timeout(300)
    assert len(server.store.labels(server.study)) == 1


def test_a_phone_shows_both_clips_and_all_buttons_and_answers_by_touch(server: Any, join: Join) -> None:
    anna = join(viewport=PHONE, has_touch=True, is_mobile=True)
    page = anna.sees_pair()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    boxes = [page.locator(f"#{side} .screen").bounding_box() for side in ("left", "right")]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]
    for name in ("Upper is better", "Lower is better", "Equally good", "Can't tell", "Undo", "Skip"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= PHONE["height"], name
        assert min(box["width"], box["height"]) >= 40, name
    before = anna.clips()
    page.get_by_role("button", name="Lower is better").tap()
    anna.goes_on_from(before)
    (label,) = stored(server, 1)
    assert by_level(label)[0 if label.choice == "left" else 1] == before[1]
    expect(page.locator("#said")).to_have_text("Lower is better.")


def test_a_key_too_early_is_a_hint_and_no_answer(server: Any, join: Join) -> None:
    anna = join()
    anna.press("ArrowLeft")
    stored(server, 1)
    anna.page.keyboard.press("ArrowLeft")
    expect(anna.page.locator("#said")).to_have_text("Look at both clips first, then answer.")
    anna.page.wait_for_timeout(300)
    stored(server, 1)
    anna.press("ArrowRight")
    assert min(label.shown_ms for label in stored(server, 2)) >= MIN_VIEW_MS


@pytest.mark.parametrize("key", ["ArrowLeft", "Enter"])
def test_a_held_key_answers_once(server: Any, join: Join, key: str) -> None:
    anna = join()
    page = anna.sees_pair()
    if key == "Enter":
        page.get_by_role("button", name="Left is better").focus()
    for _ in range(40):  # the first is a press, the others are its auto-repeat
        page.keyboard.down(key)
        page.wait_for_timeout(50)
    page.keyboard.up(key)
    stored(server, 1)


def test_clips_that_are_out_of_view_do_not_count_as_seen(server: Any, join: Join) -> None:
    anna = join(viewport={"width": 390, "height": 320})
    page = anna.page
    expect(page.locator("#session")).to_have_attribute("data-state", "label")
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(SEEN)
    page.keyboard.press("ArrowLeft")  # the lower clip is below the edge
    expect(page.locator("#said")).to_have_text("Look at both clips first, then answer.")
    assert server.store.labels(server.study) == []


# -- the clock -------------------------------------------------------------------------------------


def test_both_clips_always_show_the_same_frame(join: Join) -> None:
    page = join().sees_pair()
    seen = page.evaluate(
        f"""() => new Promise((resolve) => {{
          const seen = [], began = performance.now()
          const look = () => {{
            seen.push(({ON_SCREEN})().map(([, frame]) => frame))
            if (performance.now() - began < 2600) requestAnimationFrame(look)
            else resolve(seen)
          }}
          requestAnimationFrame(look)
        }})"""
    )
    assert all(left == right and left % FRAME_LEVEL == 0 for left, right in seen)
    # Longer than a loop, so each frame was there.
    assert {left // FRAME_LEVEL for left, _ in seen} == set(range(STEPS + 1))


def test_step_restart_speed_and_pause(join: Join) -> None:
    anna = join()
    page = anna.sees_pair()

    def frame() -> int:
        return int(page.evaluate(ON_SCREEN)[0][1]) // FRAME_LEVEL

    page.keyboard.press(" ")
    at = frame()
    page.wait_for_timeout(400)
    assert frame() == at
    for _ in range(3):
        page.keyboard.press(".")
    assert frame() == (at + 3) % (STEPS + 1)
    page.keyboard.press(",")
    assert frame() == (at + 2) % (STEPS + 1)
    page.keyboard.press("r")
    assert frame() == 0
    expect(page.locator("#frame")).to_have_text(f"1 / {STEPS + 1}")
    page.keyboard.press("1")
    expect(page.get_by_role("button", name="Speed 0.25")).to_have_attribute("aria-pressed", "true")
    page.reload()
    anna.sees_pair()
    expect(page.get_by_role("button", name="Speed 0.25")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("ArrowLeft")


def test_the_next_pair_is_there_at_once(server: Any, join: Join) -> None:
    anna = join()
    for _ in range(6):
        anna.press("ArrowLeft")
    times = anna.page.evaluate(
        "performance.getEntriesByName('surefoot:next-pair').map((one) => one.duration)"
    )
    assert len(times) >= 5
    assert sorted(times)[len(times) // 2] < 100, times


# -- undo --------------------------------------------------------------------------------------------


def test_undo_several_deep_brings_the_pairs_back_as_they_were(server: Any, join: Join) -> None:
    anna = join()
    shown = [anna.press("ArrowLeft") for _ in range(3)]
    stored(server, 3)
    waiting = anna.clips()
    for before in reversed(shown):
        anna.page.keyboard.press("u")
        eventually(lambda before=before: anna.clips() == before)
    eventually(lambda: server.store.labels(server.study) == [])
    again = [anna.press("ArrowRight") for _ in range(3)]
    assert again == shown
    labels = stored(server, 3)
    for label, (_, on_right) in zip(labels, shown, strict=True):
        assert by_level(label)[0 if label.choice == "left" else 1] == on_right
    assert anna.clips() == waiting
    rows = server.store.labels(server.study, include_retracted=True)
    assert len(rows) == 3 + 3 + 3  # answers, their undoing, new answers: nothing was rewritten


def test_undo_reaches_back_over_a_reload(server: Any, join: Join) -> None:
    anna = join()
    shown = [anna.press(key) for key in ("ArrowLeft", "ArrowRight")]
    stored(server, 2)
    anna.page.reload()
    anna.sees_pair()
    for before in reversed(shown):
        anna.page.keyboard.press("Backspace")
        eventually(lambda before=before: anna.clips() == before)
    eventually(lambda: server.store.labels(server.study) == [])
    anna.page.keyboard.press("u")
    expect(anna.page.locator("#said")).to_have_text("There is nothing to undo.")


# -- trouble -----------------------------------------------------------------------------------------


def test_a_reload_in_mid_session_loses_and_doubles_nothing(server: Any, join: Join) -> None:
    anna = join()
    for _ in range(3):
        anna.press("ArrowLeft")
        current = anna.clips()
        anna.page.reload()
        anna.sees_pair()
        assert anna.clips() == current  # the same pair, the same sides
    labels = stored(server, 3)
    assert len({label.query for label in labels}) == 3


def test_a_server_killed_while_answering_loses_and_doubles_nothing(server: Any, join: Join) -> None:
    anna = join()
    anna.press("ArrowLeft")
    for key in ("ArrowRight", "ArrowUp"):
        server.kill()
        anna.press(key)
        expect(anna.page.locator("#line")).to_contain_text("kept here", timeout=15_000)
        server.start()
        expect(anna.page.locator("#line")).to_have_text("All saved", timeout=30_000)
    for _ in range(3):
        anna.press("ArrowLeft")
    labels = stored(server, 6)
    assert len({label.query for label in labels}) == 6
    rows = server.store.labels(server.study, include_retracted=True)
    assert len(rows) == 6


def test_answers_outlive_the_page_while_the_server_is_down(server: Any, join: Join) -> None:
    anna = join()
    anna.sees_pair()
    server.kill()
    shown = [anna.press(key) for key in ("ArrowLeft", "ArrowRight")]
    anna.page.close()
    server.start()
    anna.page = anna.open(f"{server.url}/")
    anna.sees_pair()
    labels = stored(server, 2)
    assert [set(by_level(label)) for label in labels] == [set(clips) for clips in shown]
    assert anna.clips() not in shown


def test_off_line_and_back(server: Any, join: Join) -> None:
    anna = join()
    anna.sees_pair()
    anna.context.set_offline(True)
    for _ in range(3):
        anna.press("ArrowLeft")
    anna.sees_pair()
    anna.page.keyboard.press("ArrowLeft")  # the last of those that were fetched ahead
    page = anna.page
    expect(page.locator("#session")).to_have_attribute("data-state", "offline")
    expect(page.locator("#waiting")).to_contain_text("4 answers are kept in this browser")
    assert server.store.labels(server.study) == []
    page.keyboard.press("u")  # one that the server never saw
    expect(page.locator("#session")).to_have_attribute("data-state", "label")
    anna.context.set_offline(False)
    stored(server, 3)
    expect(page.locator("#line")).to_have_text("All saved", timeout=15_000)


def test_a_revoked_link_is_said_and_keeps_the_answers(server: Any, join: Join) -> None:
    anna = join()
    anna.press("ArrowLeft")
    stored(server, 1)
    (person,) = (one for one in server.store.annotators(server.study) if one.name == "anna")
    server.store.revoke(person.id)
    expect(anna.page.locator("#session")).to_have_attribute("data-state", "expired", timeout=15_000)
    expect(anna.page.get_by_role("heading", level=2)).to_have_text("Your link is not valid any more")


def test_a_clip_that_is_gone_can_be_flagged(server: Any, join: Join) -> None:
    for path in Path(server.media).rglob("*"):
        if path.is_file():
            path.unlink()
    anna = join()
    expect(anna.page.locator("#gone")).to_be_visible(timeout=15_000)
    expect(anna.page.locator("#gone-text")).to_contain_text("These clips cannot be shown.")
    anna.page.keyboard.press("ArrowLeft")
    expect(anna.page.locator("#said")).to_contain_text("flag or skip")
    anna.page.get_by_role("button", name="Flag it and go on").click()
    (label,) = stored(server, 1)
    assert label.choice == "broken"


# -- several -----------------------------------------------------------------------------------------


def test_two_people_at_once_answer_different_pairs(server: Any, join: Join) -> None:
    anna, ben = join("anna"), join("ben")
    for _ in range(4):
        for person in (anna, ben):
            person.press("ArrowLeft")
    labels = stored(server, 8)
    assert len({label.query for label in labels}) == 8
    assert len({label.annotator for label in labels}) == 2


def test_one_tab_of_a_person_answers_at_a_time(server: Any, join: Join) -> None:
    anna = join()
    first = anna.sees_pair()
    pair = anna.clips()
    second = anna.open(f"{server.url}/")
    expect(first.locator("#session")).to_have_attribute("data-state", "elsewhere")
    first.keyboard.press("ArrowLeft")
    anna.page = second
    assert anna.press("ArrowLeft") == pair
    first.bring_to_front()
    first.get_by_role("button", name="Go on here").click()
    expect(second.locator("#session")).to_have_attribute("data-state", "elsewhere")
    anna.page = first
    anna.press("ArrowRight")
    labels = stored(server, 2)
    assert len({label.query for label in labels}) == 2


# -- what moves --------------------------------------------------------------------------------------


def test_it_says_why_it_waits_and_goes_on_by_itself(server: Any, join: Join) -> None:
    store, study = server.store, server.study
    store.withdraw(study, store.query_keys(study))
    anna = join()
    page = anna.page
    expect(page.locator("#session")).to_have_attribute("data-state", "waiting")
    expect(page.locator("#waiting-text")).not_to_be_empty()
    store.log_event(
        study, "training", {"state": "training", "text": "The policy learns.", "step": 900, "steps": 5000}
    )
    store.log_event(study, "reward", {"version": 1, "step": 900, "labels": 3, "accuracy": 0.815})
    expect(page.locator("#waiting-training")).to_have_text("The policy learns.")
    expect(page.locator("#tile-accuracy")).to_have_text("82 %")
    expect(page.locator("#tile-step")).to_have_text("900")
    server.ask(1)
    anna.press("ArrowLeft")
    expect(page.locator("#tile-given")).to_have_text("1 of 40")
    store.set_state(study, "paused")
    expect(page.locator("#session")).to_have_attribute("data-state", "paused")
    store.set_state(study, "active")
    server.ask(1)
    anna.sees_pair()
    store.withdraw(study, store.query_keys(study))
    anna.page.keyboard.press("ArrowLeft")  # what is held may still be answered
    stored(server, 2)
    store.set_state(study, "finished")
    expect(page.locator("#session")).to_have_attribute("data-state", "finished")


def test_the_models_view_is_off_until_asked_for_and_then_remembered(join: Join) -> None:
    anna = join()
    page = anna.sees_pair()
    for hidden in ("#left .opinion", "#right .opinion", "#why"):
        expect(page.locator(hidden)).to_be_hidden()
    page.keyboard.press("m")
    expect(page.locator("#why")).to_contain_text("disagree")
    sums = [page.locator(f"#{side} .opinion b").inner_text() for side in ("left", "right")]
    assert sorted(sums) == ["14.25", "4.75"]
    drawn = page.locator("#left .spark").evaluate(
        """canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
                            .data.some((value) => value > 0)"""
    )
    assert drawn
    page.reload()
    anna.sees_pair()
    expect(page.locator("#left .opinion")).to_be_visible()


def test_the_guide_is_in_the_help_and_the_clips_wait_for_its_end(join: Join) -> None:
    anna = join()
    page = anna.sees_pair()
    expect(page.locator(".guide")).to_contain_text("Prefer the brighter clip.")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Prefer the brighter clip.")
    pair = anna.clips()
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(200)
    assert anna.clips() == pair
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    page.keyboard.press("Escape")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")


def test_nothing_moves_unasked_where_motion_is_not_wanted(server: Any, join: Join) -> None:
    anna = join(reduced_motion="reduce")
    page = anna.sees_pair()
    assert [frame for _, frame in page.evaluate(ON_SCREEN)] == [0, 0]
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#said")).to_have_text("Play the clips first (Space).")
    page.get_by_role("button", name="Play the clips").click()
    anna.press("ArrowLeft")
    page.wait_for_timeout(400)
    assert page.evaluate(ON_SCREEN)[0][1] > 0  # once asked for, the next pair plays too
    stored(server, 1)


def test_nothing_comes_from_elsewhere_and_the_policy_holds(server: Any, chromium: Browser) -> None:
    context = chromium.new_context(viewport=DESKTOP)
    page = context.new_page()
    said, fetched = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(server.invite("anna"))
    expect(page.locator("#session")).to_have_attribute("data-state", "label")
    page.wait_for_timeout(SEEN)
    page.keyboard.press("?")
    assert [url for url in fetched if not url.startswith(server.url + "/")] == []
    assert said == []
    context.close()
