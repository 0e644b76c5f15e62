"""The owner's dashboard in a real browser: what it shows, what it does, and axe."""

from __future__ import annotations

import json
import runpy
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from agents.preferences.labelling.types import NewLabel

page_tools = runpy.run_path(str(Path(__file__).with_name("label_browser.py")))
chromium, running, server = (page_tools[name] for name in ("chromium", "running", "server"))
Person, DESKTOP, PHONE = (page_tools[name] for name in ("Person", "DESKTOP", "PHONE"))

pytestmark = page_tools["MARKS"]


def fill(server: Any) -> None:
    """Three people who have answered, one pair that was flagged, some fits of a reward model."""
    store, study = server.store, server.study
    for turn, name in enumerate(("anna", "ben", "<b>cleo</b>")):
        someone, _ = store.add_annotator(study, name)
        choices = ("left", "right", "broken" if turn == 0 else "tie")
        for offer, choice in zip(store.offer(someone.id, 3), choices, strict=True):
            store.answer(someone.id, NewLabel(str(uuid.uuid4()), offer.query, choice, 900))
    for version in range(1, 6):
        fit = {"version": version, "labels": 4 * version, "step": 1000 * version}
        store.log_event(study, "reward", {**fit, "accuracy": 0.5 + 0.07 * version})
    store.log_event(study, "training", {"state": "training", "text": "The policy learns.", "step": 5000})


@pytest.fixture
def owner(chromium: Browser, server: Any, request: Any) -> Iterator[Any]:
    fill(server)
    screen = getattr(request, "param", {})
    person = Person(chromium, server.link(server.owner_token), **screen)
    expect(person.page.locator("#session")).to_be_attached(timeout=60_000)
    person.page.goto(f"{server.url}/owner")
    expect(person.page.locator("#figure-given")).to_have_text("8 / 40", timeout=60_000)
    yield person
    person.context.close()
    assert person.complaints == []


def row(page: Page, table: str, text: str) -> Any:
    return page.locator(f"#{table} tr", has_text=text)


def test_it_shows_what_happens(owner: Any, server: Any) -> None:
    page = owner.page
    expect(page.locator("#state")).to_have_text("People are being asked.")
    expect(page.locator("#training")).to_have_text("The policy learns.")
    expect(page.locator("#figure-broken")).to_have_text("1")
    expect(page.locator("#people tr")).to_have_count(4)
    expect(row(page, "people", "<b>cleo</b>")).to_have_count(1)  # as text
    expect(page.locator("#chart-hours svg .bar")).to_have_count(24)
    expect(page.locator("#chart-reward svg .curve")).to_have_count(1)
    expect(page.locator("#labels tr")).to_have_count(9)
    expect(row(page, "events", "reward model 5 from 20 labels")).to_have_count(1)
    page.locator("#chart-reward summary").click()
    expect(page.locator("#chart-reward tbody tr").last).to_have_text("20 labels0.85")
    page.wait_for_timeout(6000)  # another look at the server: what was opened stays so
    expect(page.locator("#chart-reward details")).to_have_attribute("open", "")
    expect(page.locator("#alarm")).to_be_hidden()


def test_the_owner_pauses_invites_and_revokes(owner: Any, server: Any, chromium: Browser) -> None:
    page = owner.page
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_have_text("Paused: nobody is asked.")
    assert server.store.study(server.study).state == "paused"
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#state")).to_have_text("People are being asked.")
    page.get_by_label("Invite").fill("dora")
    page.get_by_role("button", name="Make a link").click()
    expect(page.locator("#link")).not_to_have_value("")
    link = page.locator("#link").input_value()
    assert link.startswith(f"{server.url}/join#")
    server.ask(2)  # the owner's own page holds those there were
    dora = Person(chromium, link)
    dora.sees_pair()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke the link of dora").click()
    expect(row(page, "people", "dora")).to_contain_text("revoked")
    assert dora.context.request.get(f"{server.url}/api/task").status == 401
    dora.context.close()


def test_the_owner_asks_again_and_makes_gold(owner: Any, server: Any) -> None:
    page = owner.page
    page.get_by_role("button", name="Ask pair").click()
    expect(page.locator("#flagged")).to_contain_text("No pair was flagged")
    page.get_by_role("button", name="Make this pair a gold pair").first.click()
    expect(page.locator("#gold-count")).to_have_text("1 pair is a gold pair.")
    assert len(server.store.golds(server.study)) == 1


def test_labels_go_out_and_come_in(owner: Any, server: Any, tmp_path: Path) -> None:
    page = owner.page
    with page.expect_download() as download:
        page.get_by_role("link", name="NDJSON", exact=True).click()
    path = tmp_path / "labels.ndjson"
    download.value.save_as(path)
    assert download.value.suggested_filename.endswith(".ndjson")
    assert json.loads(path.read_text().splitlines()[0])["format"] == "surefoot-labels"
    page.get_by_label("Import answers").set_input_files(path)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("#said")).to_contain_text("were there already")
    (tmp_path / "bad.ndjson").write_text("nonsense\n")
    page.get_by_label("Import answers").set_input_files(tmp_path / "bad.ndjson")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("#alarm")).to_contain_text("Line 1")


def test_trouble_is_said_and_passes(owner: Any, server: Any) -> None:
    page = owner.page
    server.kill()
    expect(page.locator("#alarm")).to_contain_text("does not answer", timeout=60_000)
    server.start()
    expect(page.locator("#alarm")).to_be_hidden(timeout=60_000)


@pytest.mark.parametrize(
    "owner",
    [
        {"viewport": DESKTOP},
        {"viewport": DESKTOP, "color_scheme": "dark"},
        {"viewport": PHONE},
    ],
    ids=["desktop", "dark", "phone"],
    indirect=True,
)
def test_axe_finds_nothing(owner: Any) -> None:
    page = owner.page
    page.locator("#chart-hours summary").click()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not wide, "the page scrolls sideways"


def test_a_refusal_is_a_page_that_axe_likes(chromium: Browser, server: Any) -> None:
    page = chromium.new_page()
    page.goto(f"{server.url}/")
    expect(page.get_by_role("heading")).to_have_text("You are not in a session")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.close()
