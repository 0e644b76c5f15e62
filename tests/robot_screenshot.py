"""Writes docs/robot-view.png: the live view of a simulated rover that drives by a predictor.

python tests/robot_screenshot.py predictor.model [picture]
"""

from __future__ import annotations

import runpy
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
HELP = runpy.run_path(str(HERE / "robot_ros.py"))
LOOK = runpy.run_path(str(HERE / "label_browser.py"))
SETTINGS = {**HELP["LAX"], "camera.width": 256, "camera.height": 192, "rates.camera": 10.0}
DRIVING_MS = 5000


def main(model: str, picture: Path) -> None:
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        config = str(HELP["write_config"](folder / "robot.yaml", SETTINGS))
        env = open_.enter_context(HELP["in_domain"](HELP["own_domain"](), folder))
        programs = {}
        for name, words in {
            "sim": ["robot", "sim", "--trip", "0"],
            "guard": ["robot", "guard"],
            "drive": ["drive", model, "--candidates", "512"],
            "view": ["robot", "view", "--port", "0"],
        }.items():
            command = HELP["surefoot"](*words, "--config", config)
            programs[name] = open_.enter_context(HELP["Program"](command, env, folder / f"{name}.log"))
        LOOK["eventually"](lambda: "live view: " in programs["view"].said(), 180)
        LOOK["eventually"](lambda: "sim: ready" in programs["sim"].said(), 180)
        playwright = open_.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=LOOK["CHROMIUM"], args=["--no-sandbox"])
        open_.callback(browser.close)
        page = browser.new_page(viewport={"width": 1280, "height": 780})
        page.goto(programs["view"].said().split("live view: ")[1].split()[0])

        def driving() -> bool:
            if page.locator("body").get_attribute("data-state") == "driving":
                return True
            if page.locator("#arm").is_enabled():
                page.locator("#arm").click()
            page.wait_for_timeout(1000)
            return False

        LOOK["eventually"](driving, 180)
        page.wait_for_timeout(DRIVING_MS)
        page.screenshot(path=str(picture))
    print(picture)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else HERE.parent / "docs" / "robot-view.png")
