"""People with browsers on a real labelling server: helpers and fixtures for the tests of the page.

Load it with `runpy.run_path`, as the tests do, and take the fixtures from it.
"""

from __future__ import annotations

import re
import runpy
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from agents.preferences.labelling.types import Label

expect.set_options(timeout=60_000)  # a busy machine takes its time

tools = runpy.run_path(str(Path(__file__).with_name("label_server.py")))
LabelServer, label_server, levels = tools["LabelServer"], tools["label_server"], tools["levels"]
FRAME_LEVEL, STEPS = tools["FRAME_LEVEL"], tools["STEPS"]

CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
MIN_VIEW_MS = 500
SEEN = 600
"""ms after which an answer counts, with some to spare"""

MARKS = [
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
        expect(page.locator("#session")).to_have_attribute("data-pair", re.compile("."), timeout=60_000)
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


def eventually(holds: Callable[[], bool], seconds: float = 60.0) -> None:
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
