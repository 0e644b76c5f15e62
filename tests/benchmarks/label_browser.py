"""A scripted user of the labelling page in a real chromium, who sees which clips are shown, and when."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from playwright.sync_api import Browser, Error, Page, sync_playwright

CHROMIUM = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
KEYS = {"left": "ArrowLeft", "right": "ArrowRight", "tie": "ArrowUp", "cannot_tell": "ArrowDown"}

# Runs before the page's own script. Follows each picture from its address to the canvases. "painted"
# is a task after the frame that shows it: it was drawn and handed to the compositor by then.
WATCH = """
(() => {
  const addresses = new WeakMap();
  const blob = Response.prototype.blob;
  Response.prototype.blob = async function () {
    const made = await blob.call(this);
    addresses.set(made, new URL(this.url).pathname);
    return made;
  };
  const decode = window.createImageBitmap.bind(window);
  window.createImageBitmap = async (source, ...options) => {
    const made = await decode(source, ...options);
    addresses.set(made, addresses.get(source));
    return made;
  };
  const seen = { pairs: [], pressed: null };
  window.surefootSeen = seen;
  window.addEventListener("keydown", (event) => { seen.pressed = event.timeStamp; }, true);
  const afterPaint = (tell) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => { tell(performance.now()); channel.port1.close(); };
    channel.port2.postMessage(0);
  });
  const shown = new Map();
  let images = [], pair = null, checking = false;
  const check = () => {
    checking = false;
    const canvases = [...document.querySelectorAll("canvas")].filter((canvas) => shown.has(canvas));
    if (canvases.length !== 2) return;
    const now = canvases.map((canvas) => shown.get(canvas));
    const place = now.map((one) => `${one.x} ${one.y}`).join();
    if (now.some((one, index) => one.image !== images[index])) {
      images = now.map((one) => one.image);
      const found = {
        left: addresses.get(images[0]), right: addresses.get(images[1]), place,
        pressed: seen.pressed, origin: performance.timeOrigin, painted: null, moved: null,
      };
      pair = found;
      afterPaint((time) => { found.painted = time; seen.pairs.push(found); });
    } else if (pair !== null && pair.moved === null && place !== pair.place) {
      const found = pair;
      found.moved = 0;
      afterPaint((time) => { found.moved = time; });
    }
  };
  const draw = CanvasRenderingContext2D.prototype.drawImage;
  CanvasRenderingContext2D.prototype.drawImage = function (image, x, y, ...rest) {
    draw.call(this, image, x, y, ...rest);
    if (!addresses.has(image)) return;
    shown.set(this.canvas, { image, x, y });
    if (!checking) { checking = true; queueMicrotask(check); }
  };
})();
"""


@dataclass(frozen=True)
class Pair:
    """Two clips on the screen. Times are seconds; None where there was no press, or no motion yet."""

    number: int
    left: str
    """address of the picture"""
    right: str
    opened_at: float
    """time.time() of its painting"""
    after_press: float | None
    start: float | None
    """from painted to the second frame painted"""


class BrowserUser:
    """Opens a link and presses keys."""

    def __init__(self, browser: Browser) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.page.add_init_script(WATCH)
        self.pressed_again = 0
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))

    def open(self, link: str) -> float:
        """Returns time.time() of when the link was opened."""
        now = time.time()
        self.page.goto(link, wait_until="commit")
        return now

    def answer(self, pair: Pair, choice: str, seconds: float = 60.0) -> Pair | None:
        """Presses the key and waits for the next pair; None if none comes.

        Again where the page did not take it: on a busy machine the clips may have begun late, and it
        takes no answer before they were seen for half a second.
        """
        deadline = time.monotonic() + seconds
        self.page.keyboard.press(KEYS[choice])
        while time.monotonic() < deadline:
            following = self.pair(pair.number + 1, 2.0)
            if following is not None:
                return following
            if self.page.locator("#session").get_attribute("data-state") == "label":
                self.pressed_again += 1
                self.page.keyboard.press(KEYS[choice])
        return None

    def pair(self, number: int, seconds: float = 60.0) -> Pair | None:
        """The pair of that number (from 0), once it is painted; None if none comes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self._seen(number)
            if found is not None:
                return found
            self.page.wait_for_timeout(15)
        return None

    def motion(self, number: int, seconds: float = 3.0) -> float | None:
        """Seconds from the painting of that pair to its second frame."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self._seen(number)
            if found is not None and found.start is not None:
                return found.start
            self.page.wait_for_timeout(15)
        return None

    def _seen(self, number: int) -> Pair | None:
        try:
            one = self.page.evaluate("number => window.surefootSeen?.pairs[number] ?? null", number)
        except Error as error:
            if "navigation" not in str(error):
                raise
            one = None  # the link's own page gives way to the session's
        if one is None:
            return None
        painted, pressed, moved = one["painted"], one["pressed"], one["moved"]
        return Pair(
            number,
            one["left"],
            one["right"],
            (one["origin"] + painted) / 1e3,
            None if pressed is None else (painted - pressed) / 1e3,
            (moved - painted) / 1e3 if moved else None,
        )


@contextmanager
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        raise SystemExit("no chromium here: sudo apt-get install -y --no-install-recommends chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
