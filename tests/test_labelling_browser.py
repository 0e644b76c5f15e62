"""The labelling page in a real browser: answers by key, mouse and touch, the clock, undo."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

page_tools = runpy.run_path(str(Path(__file__).with_name("label_browser.py")))
chromium, running, server, join = (page_tools[name] for name in ("chromium", "running", "server", "join"))
Person, Join, ON_SCREEN = page_tools["Person"], page_tools["Join"], page_tools["ON_SCREEN"]
eventually, stored, by_level = page_tools["eventually"], page_tools["stored"], page_tools["by_level"]
SEEN, MIN_VIEW_MS, PHONE = page_tools["SEEN"], page_tools["MIN_VIEW_MS"], page_tools["PHONE"]
FRAME_LEVEL, STEPS = page_tools["FRAME_LEVEL"], page_tools["STEPS"]

pytestmark = page_tools["MARKS"]


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
