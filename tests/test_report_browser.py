"""The report in a real browser: nothing is fetched, everything plays, nothing sticks out."""

import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from agents.report import write_report

write_synthetic_run = runpy.run_path(str(Path(__file__).with_name("report_runs.py")))["write_synthetic_run"]
CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium here: sudo apt-get install -y --no-install-recommends chromium"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = write_report(write_synthetic_run(tmp_path_factory.mktemp("runs") / "demo"))
    # Moved away from its run: it has to stand alone.
    alone = tmp_path_factory.mktemp("mailed") / "report.html"
    shutil.copy(written, alone)
    return alone


def test_the_page_fetches_nothing_and_complains_about_nothing(browser: Browser, report: Path) -> None:
    page = browser.new_page(viewport=DESKTOP)
    said, fetched = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_timeout(300)
    assert said == []
    assert [url[:60] for url in fetched if not url.startswith("data:")] == [report.as_uri()[:60]]
    page.close()


def test_every_video_plays_without_being_asked(browser: Browser, report: Path) -> None:
    page = browser.new_page(viewport=DESKTOP)
    page.goto(report.as_uri())
    count = page.locator("video").count()
    assert count == 2 + 3
    for index in range(count):
        page.locator("video").nth(index).scroll_into_view_if_needed()
        page.wait_for_function(
            "i => document.querySelectorAll('video')[i].currentTime > 0.2", arg=index, timeout=60_000
        )
        state = page.evaluate(
            """i => { const v = document.querySelectorAll('video')[i];
                      return [v.error, v.videoWidth, v.paused, v.muted, v.loop] }""",
            index,
        )
        assert state == [None, 128 if index < 2 else 264, False, True, True]
    page.close()


@pytest.mark.parametrize(("viewport", "drawn"), [(PHONE, "narrow"), (DESKTOP, "wide")])
def test_the_page_fits_the_screen(
    browser: Browser, report: Path, viewport: dict[str, int], drawn: str
) -> None:
    page = browser.new_page(viewport=viewport)
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.evaluate(
        "[...document.querySelectorAll('.wide, .narrow')].map(e => [e.className, e.offsetWidth > 0])"
    ) == [
        ["wide", drawn == "wide"],
        ["narrow", drawn == "narrow"],
    ]
    page.close()


def test_the_colours_follow_the_reader(browser: Browser, report: Path) -> None:
    """Text and curves change with the scheme, and text stands out from the page in both (WCAG AA: 4.5)."""
    seen = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(viewport=DESKTOP, color_scheme=scheme)
        page.goto(report.as_uri())
        seen[scheme] = [
            _colour(page, "body", "backgroundColor"),
            _colour(page, ".chart [role=img] text", "fill"),
        ]
        for selector in ("h1", ".intro", ".legend li", "td", ".note", ".chart [role=img] text"):
            assert _contrast(page, selector) >= 4.5, (scheme, selector)
        page.close()
    assert all(light != dark for light, dark in zip(seen["light"], seen["dark"], strict=True))


def test_curves_have_names_for_screen_readers(browser: Browser, report: Path) -> None:
    page = browser.new_page(viewport=DESKTOP)
    page.goto(report.as_uri())
    names = page.locator("[role=img]").evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    assert any("random actions: \N{MINUS SIGN}1,213" in name for name in names)
    assert page.locator("h1").count() == 1
    assert page.locator("video:not([aria-label])").count() == 0
    page.close()


def _colour(page: Page, selector: str, name: str) -> list[int]:
    text = page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{name}")
    return [int(part) for part in text.removeprefix("rgb(").rstrip(")").split(",")[:3]]


def _contrast(page: Page, selector: str) -> float:
    """Contrast of an element's text with the card or page behind it."""
    ground = page.locator(selector).first.evaluate(
        """element => { for (let e = element; e; e = e.parentElement) {
             const colour = getComputedStyle(e).backgroundColor;
             if (colour !== 'rgba(0, 0, 0, 0)') return colour } }"""
    )
    behind = [int(part) for part in ground.removeprefix("rgb(").rstrip(")").split(",")[:3]]
    text = _colour(page, selector, "fill" if selector.endswith("text") else "color")
    bright, dark = sorted((_luminance(text), _luminance(behind)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: list[int]) -> float:
    linear = [c / 12.92 if (c := part / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
