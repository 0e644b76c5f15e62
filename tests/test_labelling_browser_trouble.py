"""The labelling page when things go wrong: nothing is lost, nothing doubled, and it says what happens."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect

page_tools = runpy.run_path(str(Path(__file__).with_name("label_browser.py")))
chromium, running, server, join = (page_tools[name] for name in ("chromium", "running", "server", "join"))
Person, Join = page_tools["Person"], page_tools["Join"]
eventually, stored, by_level = page_tools["eventually"], page_tools["stored"], page_tools["by_level"]
label_server = runpy.run_path(str(Path(__file__).with_name("label_server.py")))["label_server"]

pytestmark = page_tools["MARKS"]


def test_a_reload_in_mid_session_loses_and_doubles_nothing(server: Any, join: Join) -> None:
    anna = join()
    for _ in range(3):
        anna.press("ArrowLeft")
        anna.page.reload()
        anna.sees_pair()
    labels = stored(server, 3)
    assert len({label.query for label in labels}) == 3


def test_a_server_killed_while_answering_loses_and_doubles_nothing(server: Any, join: Join) -> None:
    anna = join()
    anna.press("ArrowLeft")
    for key in ("ArrowRight", "ArrowUp"):
        server.kill()
        anna.press(key)
        expect(anna.page.locator("#line")).to_contain_text("kept here", timeout=60_000)
        server.start()
        expect(anna.page.locator("#line")).to_have_text("All saved", timeout=60_000)
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
    expect(page.locator("#line")).to_have_text("All saved", timeout=60_000)


def test_a_revoked_link_is_said_and_keeps_the_answers(server: Any, join: Join) -> None:
    anna = join()
    anna.press("ArrowLeft")
    stored(server, 1)
    (person,) = (one for one in server.store.annotators(server.study) if one.name == "anna")
    server.store.revoke(person.id)
    expect(anna.page.locator("#session")).to_have_attribute("data-state", "expired", timeout=60_000)
    expect(anna.page.get_by_role("heading", level=2)).to_have_text("Your link is not valid any more")


def test_clips_that_do_not_come_can_be_flagged(server: Any, join: Join) -> None:
    """Pictures and what they were drawn from are gone, and nothing draws here."""
    for path in Path(server.media).rglob("*"):
        if path.is_file():
            path.unlink()
    anna = join()
    expect(anna.page.locator("#loading")).to_contain_text("drawn again", timeout=60_000)
    anna.page.keyboard.press("ArrowLeft")
    expect(anna.page.locator("#said")).to_contain_text("flag or skip")
    anna.page.keyboard.press("f")
    (label,) = stored(server, 1)
    assert label.choice == "broken"


def test_pictures_that_are_gone_are_drawn_again(tmp_path: Path, chromium: Browser) -> None:
    with label_server(tmp_path, render=True) as server:
        for path in Path(server.media).rglob("*"):
            if path.is_file() and path.read_bytes()[:4] == b"RIFF":
                path.unlink()
        anna = Person(chromium, server.invite("anna"))
        anna.press("ArrowLeft")
        anna.context.close()
        stored(server, 1)


def test_a_picture_that_is_none_is_said(server: Any, chromium: Browser) -> None:
    anna = Person(chromium, server.link(server.owner_token))
    anna.sees_pair()
    anna.context.route(
        "**/media/*", lambda route: route.fulfill(body=b"no picture", content_type="image/webp")
    )
    anna.page.reload()
    expect(anna.page.locator("#gone-text")).to_contain_text("These clips cannot be shown.")
    anna.page.wait_for_timeout(1000)  # it asked the server for another picture, in vain
    anna.context.unroute_all()
    anna.page.get_by_role("button", name="Try again").click()
    anna.press("ArrowLeft")
    stored(server, 1)
    anna.context.close()


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
    second = anna.open(f"{server.url}/")
    expect(first.locator("#session")).to_have_attribute("data-state", "elsewhere")
    first.keyboard.press("ArrowLeft")
    anna.page = second
    answered = anna.press("ArrowLeft")
    first.bring_to_front()
    first.get_by_role("button", name="Go on here").click()
    expect(second.locator("#session")).to_have_attribute("data-state", "elsewhere")
    anna.page = first
    assert anna.press("ArrowRight") != answered
    labels = stored(server, 2)
    assert len({label.query for label in labels}) == 2
