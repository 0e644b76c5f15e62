"""What the labelling page shows, and to whom: states, help, the model's view, reduced motion, axe."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

page_tools = runpy.run_path(str(Path(__file__).with_name("label_browser.py")))
chromium, running, server, join = (page_tools[name] for name in ("chromium", "running", "server", "join"))
Person, Join, ON_SCREEN = page_tools["Person"], page_tools["Join"], page_tools["ON_SCREEN"]
stored, SEEN, DESKTOP, PHONE = (page_tools[name] for name in ("stored", "SEEN", "DESKTOP", "PHONE"))

pytestmark = page_tools["MARKS"]


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_to_object_to(server: Any, join: Join, scheme: str, screen: dict[str, int]) -> None:
    """While labelling with the model's view, in the help, in the waiting state, and with a warning shown."""
    anna = join(viewport=screen, color_scheme=scheme)
    page = anna.sees_pair()
    objections(page)
    page.keyboard.press("m")
    page.keyboard.press("?")
    objections(page)
    page.keyboard.press("Escape")
    page.evaluate("document.querySelector('#banner').hidden = false")
    page.evaluate("document.querySelector('#banner-text').textContent = 'Something to know.'")
    anna.context.set_offline(True)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#line")).to_contain_text("kept here")
    objections(page)
    anna.context.set_offline(False)
    stored(server, 1)
    server.store.set_state(server.study, "paused")
    for _ in range(5):
        if page.locator("#session").get_attribute("data-state") != "label":
            break
        anna.press("ArrowLeft")
    expect(page.locator("#session")).to_have_attribute("data-state", "paused")
    objections(page)


def test_axe_finds_nothing_on_the_way_in(server: Any, chromium: Browser) -> None:
    page = chromium.new_page()
    page.goto(server.link("x" * 43))
    expect(page.get_by_role("heading")).to_have_text("This link does not let you in")
    objections(page)
    page.close()


def objections(page: Page) -> None:
    """Fails with what axe finds; it is injected past the content policy, as an extension would be."""
    page.wait_for_timeout(200)  # buttons that flash after a press
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def test_all_is_reached_by_the_tab_key_and_seen_to_be(join: Join) -> None:
    page = join().sees_pair()
    names = []
    for _ in range(30):
        page.keyboard.press("Tab")
        name = page.evaluate(
            """() => { const one = document.activeElement
                       return one.getAttribute('aria-label') || one.textContent.trim() }"""
        )
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        if name in names:
            break
        names.append(name)
        assert outline != "none" or "surefoot" in name, name
    for wanted in ("Help", "Pause", "Left is better", "Equally good", "Undo", "Skip", "Flag as broken"):
        assert any(wanted in name for name in names), (wanted, names)


def test_what_happens_is_read_out(server: Any, join: Join) -> None:
    anna = join()
    anna.press("ArrowUp")
    spoken = anna.page.get_by_role("status")
    expect(spoken).to_have_text("Equally good.")
    anna.page.keyboard.press("u")
    expect(spoken).to_have_text("Taken back: equally good. Here is the pair again.")
    server.store.withdraw(server.study, server.store.query_keys(server.study))
    for _ in range(5):
        if anna.page.locator("#session").get_attribute("data-state") != "label":
            break
        anna.press("ArrowLeft")
    expect(spoken).to_contain_text("Nothing to compare just now.")
