"""A study in a database, its clips drawn, without any media: for tests of what is stored.

Load it with `runpy.run_path`, as the tests do.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from agents.preferences.labelling.store import LabelStore
from agents.preferences.labelling.types import Choice, Label, NewLabel, NewQuery, SegmentSource, Sprite, Study


def new_query(index: int, **changes: Any) -> NewQuery:
    clips = {"left": [f"episode{index}", 0, 25], "right": [f"episode{index}", 25, 25]}
    left, right = (
        SegmentSource(hashlib.sha256(f"{index}{side}".encode()).hexdigest(), "pixel:MovingDot", 25, 10)
        for side in ("left", "right")
    )
    fields = {"chosen_by": "variance", "score": 0.25, "reward_version": 1, "step": 1000, "clips": clips}
    return NewQuery(
        **{"key": f"key{index}", "index": index, "left": left, "right": right, **fields, **changes}
    )


def make_study(store: LabelStore, queries: int = 20, name: str = "study", **rules: Any) -> Study:
    """With `queries` pairs ready to be asked; repeats, golds and overlap are off unless asked for."""
    checks = {"repeat_share": 0.0, "gold_share": 0.0, "overlap_share": 0.0}
    study = store.create_study(Study(name, name, "pixel:MovingDot", "", 10, 100, **{**checks, **rules}))
    store.add_queries(name, [new_query(index) for index in range(queries)])
    draw(store, name)
    return study


def draw(store: LabelStore, study: str) -> None:
    while jobs := store.segments_to_render(study, 100):
        for job in jobs:
            media = hashlib.sha256(f"{study}{job.source}".encode()).hexdigest()
            store.set_sprite(job.segment, Sprite(media, 26, 6, 64, 64))


def person(store: LabelStore, name: str = "ann", study: str = "study") -> str:
    return store.add_annotator(study, name)[0].id


def say(store: LabelStore, who: str, query: str, choice: Choice = "left", **changes: Any) -> Label:
    return store.answer(who, NewLabel(str(uuid.uuid4()), query, choice, shown_ms=900, loops=1.25, **changes))


def undo(store: LabelStore, who: str, label: Label) -> None:
    store.retract(who, label.uuid, str(uuid.uuid4()))
