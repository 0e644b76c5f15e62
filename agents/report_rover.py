"""The demo's rover in the report: what it gathered and learnt, and the one trip that it drove."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.report_html import Html, cards, command, element, picture, section
from agents.report_sections import embedded, missing, shown_path
from agents.results import finite

TITLE = "The rover's event predictor"
MAX_PICTURE_BYTES = 4_000_000


def rover_section(folder: Path) -> Html | None:
    """None where no rover was part of the run; a sentence where its numbers are damaged."""
    file = folder / "summary.json"
    if not file.is_file():
        return None
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
        facts, intro = headline(summary), opening(summary)
    except (ValueError, KeyError, TypeError, AttributeError):
        return section(TITLE, missing(f"{folder.name}/summary.json is damaged: remove it and run again"))
    run, drives = (shlex.quote(shown_path(folder / name)) for name in ("run", "drives"))
    return section(
        TITLE,
        cards(facts),
        element(
            "div",
            element(
                "figure",
                element("figcaption", "The trip, twice as fast as it was driven"),
                embedded(folder / "drive.mp4", "Video: the rover's camera, its map, and what it expects"),
            ),
            _shown(folder / "drive.png", "The moment in which most was to choose", "One frame of the video"),
            _shown(folder / "ways.png", "The way it took, and the way straight on", "Map of the test world"),
            class_="grid",
        ),
        element(
            "div",
            command(f"surefoot watch {run} --trip 1 --video trip.mp4", "Watch another trip"),
            command(f"surefoot watch {drives} --episode 0 --video drive.mp4", "Watch what it gathered"),
            style="margin-top:1rem",
        ),
        intro=intro,
    )


def opening(summary: Mapping[str, Any]) -> str:
    """What was done, and what it is worth."""
    return (
        f"A simulated rover drove itself around {summary['worlds']} urban worlds for "
        f"{summary['minutes']:.0f} minutes, labelled what happened by its own sensors, and learnt in "
        f"{summary['steps']:,} steps to foretell from one picture what its actions lead to. Then it drove to "
        "a goal on a world that it had never seen, weighing 512 ways four times a second. One trip after a "
        "minute of training shows how it works, not how well: agents/badgr/README.md has the measurements."
    )


def headline(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, explanation) of what was measured."""
    facts = []
    on = f"0.5 is chance, 1 perfect; on {summary['holdout_drives']} drives it was not trained on"
    for name, value in summary["auroc"].items():
        known = finite(value)
        facts.append((f"AUROC, {name}", "unknown" if known is None else f"{known:.2f}", on))
    error = finite(summary["position_error"])
    if error is not None:
        facts.append(("Position", f"{error:.2f} m", "mean error 2 s ahead"))
    words = {"badgr": "Trip", "straight": "Same trip, straight"}
    for name, trip in summary["trips"].items():
        about = f"after {trip['seconds']:.0f} s and {trip['path']:.0f} m"
        facts.append((words.get(name, name), str(trip["outcome"]), about))
    return facts


def _shown(file: Path, caption: str, words: str) -> Html | None:
    """A picture, or nothing where there is none."""
    if not file.is_file() or file.stat().st_size > MAX_PICTURE_BYTES:
        return None
    return element("figure", element("figcaption", caption), picture(file.read_bytes(), words))
