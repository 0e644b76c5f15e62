"""Writes docs/labelling.png and docs/labelling-phone.png: the labelling page over a small real study.

python tests/label_screenshots.py [folder]
"""

from __future__ import annotations

import runpy
import shutil
import sys
import tempfile
import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

import envs
from agents.preferences.labelling.sources import write_source
from agents.preferences.labelling.store import open_store
from agents.preferences.labelling.types import NewLabel, NewQuery
from envs.episode import Episode
from envs.rendering import choose_gl, render_physics
from envs.tasks import task_info
from envs.video import write_video

tools = runpy.run_path(str(Path(__file__).with_name("label_server.py")))
ENV, STEPS, PAIRS, ANSWERED = "mujoco:HalfCheetah", 30, 16, 11


def gait(seed: int) -> tuple[Any, float]:
    """A clip of joints that swing at random, and how far it got."""
    rng = np.random.default_rng(seed)
    env = envs.make(ENV, preferences=True)
    env.reset(seed=seed)
    rate, phase, strength = rng.uniform(0.3, 0.9), rng.uniform(0, 2 * np.pi, 6), rng.uniform(0.3, 1, 6)
    physics = []
    for step in range(2 * STEPS + 1):
        env.step((strength * np.sin(rate * step + phase)).astype(np.float32))
        physics.append(env.get_wrapper_attr("physics")())
    seen = np.stack(physics[-STEPS - 1 :])
    empty = np.zeros(STEPS, np.float32)
    clip = Episode(
        {"observation": seen}, empty[:, None], empty, np.arange(STEPS + 1) / 20, info={"physics": seen}
    )
    return clip, float(seen[-1, 0] - seen[0, 0])


def fill(server: Any) -> None:
    """Asks about clips of which some get ahead and some do not, and says what a run would say."""
    ranked = sorted((gait(seed) for seed in range(40)), key=lambda pair: -pair[1])
    queries = []
    for index in range(PAIRS):
        pair = []
        for clip, _ in (ranked[index], ranked[-6 - index]):
            speed = np.diff(clip.info["physics"][:, 0]) * 8
            pair.append(replace(write_source(server.storage, ENV, clip), reward=tuple(map(float, speed))))
        clips = {"left": ["a", 0, STEPS], "right": ["b", 0, STEPS]}
        queries.append(NewQuery(f"q{index}", index, *pair, "variance", 0.2, 3, 48_000, clips))
    server.store.add_queries(server.study, queries)
    answer(server)
    film = Path(tempfile.mkdtemp()) / "policy.mp4"
    write_video(film, render_physics(ENV, ranked[0][0].info["physics"]), 20)
    log, study = server.store.log_event, server.study
    text = "The policy is learning. It goes on with the answers that are there."
    log(study, "training", {"state": "training", "text": text, "step": 52_000, "steps": 300_000})
    log(study, "reward", {"version": 3, "step": 48_000, "labels": 61, "accuracy": 0.84})
    media = server.storage.put(film.read_bytes())
    log(study, "video", {"media": media, "step": 50_000, "content_type": "video/mp4"})


def answer(server: Any) -> None:
    """Some answers of somebody who takes three seconds for each."""
    now = [datetime.now(timezone.utc) - timedelta(minutes=5)]
    store = open_store(server.database, now=lambda: now[0])
    person, _ = store.add_annotator(server.study, "ben")
    tools["draw_all"](store, server.storage, 256)
    for _ in range(ANSWERED):
        (offer,) = store.offer(person.id, 1)
        now[0] += timedelta(seconds=3.1)
        store.answer(person.id, NewLabel(str(uuid.uuid4()), offer.query, "left", 3000))
    store.close()


def main(folder: Path) -> None:
    choose_gl()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        task = task_info(ENV)
        study = {"name": "HalfCheetah", "env": ENV, "guide": task.guide, "display_fps": task.display_fps}
        server = tools["LabelServer"](Path(data), queries=0, target=700, **study)
        try:
            fill(server)
            server.start(render=True)
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for name, screen in SHOTS.items():
                shoot(browser, server, folder / f"{name}.png", **screen)
            browser.close()
        finally:
            server.close()


SHOTS: dict[str, dict[str, Any]] = {
    "labelling": {"viewport": {"width": 1280, "height": 800}},
    "labelling-phone": {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
        "color_scheme": "dark",
    },
}


def shoot(browser: Any, server: Any, path: Path, **screen: Any) -> None:
    context = browser.new_context(**screen)
    page = context.new_page()
    page.goto(server.invite(path.stem))
    page.wait_for_selector("#session[data-pair]", timeout=60_000)
    if "has_touch" not in screen:
        page.keyboard.press("m")
        page.wait_for_function("document.querySelector('#video').currentTime > 0.3")
    page.wait_for_timeout(1200)
    page.screenshot(path=path)
    context.close()
    with Image.open(path) as picture:
        picture.convert("RGB").save(path, optimize=True)
    print(path, path.stat().st_size // 1024, "kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs")
