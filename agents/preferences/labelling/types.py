"""What flows between the trainer, the database and the page of a labelling session."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

Choice = Literal["left", "right", "tie", "cannot_tell", "skip", "broken"]
"""left and right are those of the query, whichever side of the screen they were shown on.
skip: later, or somebody else; broken: the clip cannot be judged. Neither is an answer."""
CHOICES: tuple[Choice, ...] = get_args(Choice)
ANSWERING: tuple[Choice, ...] = ("left", "right", "tie", "cannot_tell")
"""choices that answer a query"""
Kind = Literal["train", "repeat", "gold"]
"""train: teaches the reward; repeat: one of an annotator's own queries again; gold: the answer is known"""
Role = Literal["owner", "annotator"]
StudyState = Literal["active", "paused", "finished"]


@dataclass(frozen=True)
class Study:
    """One labelling session: a run, its task and its rules."""

    id: str
    name: str
    env: str
    guide: str
    display_fps: int
    target: int
    """answers wanted in all"""
    state: StudyState = "active"
    lease_seconds: float = 120.0
    """a query that was handed out and not answered is offered to others after this"""
    overlap_share: float = 0.05
    """share of training queries that go to several people"""
    overlap: int = 3
    """how many answers such a query wants"""
    repeat_share: float = 0.05
    """share of offers that ask an annotator an own query again, sides swapped"""
    gold_share: float = 0.03
    """share of offers whose answer the owner knows"""
    info: Mapping[str, Any] = field(default_factory=dict)
    """software versions and where the run is"""
    created: datetime | None = None

    def __post_init__(self) -> None:
        if self.target < 1:
            raise ValueError(f"target must be at least 1 answer, got {self.target}")
        if not self.lease_seconds > 0:
            raise ValueError(f"lease_seconds must be above 0, got {self.lease_seconds}")
        if self.overlap < 1:
            raise ValueError(f"overlap must be at least 1, got {self.overlap}")
        for name in ("overlap_share", "repeat_share", "gold_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True)
class SegmentSource:
    """A clip that waits to be drawn: `source` is the digest of its simulator states in the media storage."""

    source: str
    env: str
    steps: int
    fps: int
    reward: tuple[float, ...] = ()
    """the reward model's opinion of each step when the pair was asked"""


@dataclass(frozen=True)
class NewQuery:
    """A pair that the trainer asks about; `key` is its Query.id, unique in the study."""

    key: str
    index: int
    left: SegmentSource
    right: SegmentSource
    chosen_by: str
    score: float
    reward_version: int
    step: int
    clips: Mapping[str, Any]
    """{"left": [episode, start, length], "right": [...]}: where the run keeps the clips"""
    priority: float = 0.0


@dataclass(frozen=True)
class Sprite:
    """Frames of a clip in one picture, row by row; `media` is the digest of its bytes."""

    media: str
    frames: int
    columns: int
    width: int
    """of one frame, pixels"""
    height: int
    content_type: str = "image/webp"


@dataclass(frozen=True)
class Annotator:
    id: str
    study: str
    name: str
    role: Role
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None


@dataclass(frozen=True)
class Offer:
    """A query handed to one annotator, sides already swapped if `swapped`."""

    query: str
    kind: Kind
    left: Sprite
    """what the left of the screen shows"""
    right: Sprite
    fps: int
    left_reward: tuple[float, ...]
    right_reward: tuple[float, ...]
    swapped: bool
    chosen_by: str
    score: float
    reward_version: int
    step: int
    expires: datetime


@dataclass(frozen=True)
class NewLabel:
    """An answer as it came from a page; `choice` counts by the SCREEN's sides, the store turns it."""

    uuid: str
    query: str
    choice: Choice
    shown_ms: int = 0
    loops: float = 0.0
    speed: float = 1.0
    client_time: datetime | None = None

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise ValueError(f"choice must be one of {', '.join(CHOICES)}, got {self.choice!r}")
        if self.shown_ms < 0 or not (math.isfinite(self.loops) and math.isfinite(self.speed)):
            raise ValueError("shown_ms must not be negative, loops and speed must be finite")


@dataclass(frozen=True)
class Label:
    """A stored row: an answer, or (with `retracts`) the undoing of one. `choice` counts by the query."""

    uuid: str
    study: str
    query: str
    key: str
    """Query.id of the pair (of the repeated pair, for a repeat)"""
    kind: Kind
    annotator: str
    choice: Choice
    swapped: bool
    shown_ms: int
    loops: float
    speed: float
    server_time: datetime
    client_time: datetime | None = None
    retracts: str | None = None
    retracted: bool = False
    """an undo names this row"""


WaitReason = Literal[
    "none",
    "no_queries",
    "rendering",
    "all_leased",
    "all_answered",
    "target_reached",
    "paused",
    "finished",
    "broken_media",
]
"""why somebody has nothing to answer; none: there is something"""


@dataclass(frozen=True)
class Counts:
    """How a study stands; queries are those that train, repeats and golds are not counted."""

    queries: int
    open: int
    """want more answers"""
    rendering: int
    """open, and a clip is not drawn yet"""
    leased: int
    """hand-outs that run now"""
    answered: int
    """have all answers that they want"""
    labels: int
    """answers that stand"""
    skips: int
    flagged: int
    """closed because somebody could not judge a clip"""


@dataclass(frozen=True)
class Flag:
    """A query that waits for the owner because somebody said that a clip of it is broken."""

    query: str
    key: str
    kind: Kind
    annotator: str
    time: datetime
    left: Sprite | None
    """of the query, not of a screen; None while it is drawn anew"""
    right: Sprite | None


@dataclass(frozen=True)
class SegmentJob:
    """A clip that a renderer has claimed."""

    segment: int
    source: str
    env: str
    fps: int


@dataclass(frozen=True)
class Undrawable:
    """A clip that no renderer could draw, and what helps."""

    segment: int
    source: str
    reason: str


class LabellingError(RuntimeError):
    """Something a person asked for cannot be done; the message is for them."""


class UnknownError(LabellingError):
    """No such query, label, annotator or study."""


class ForbiddenError(LabellingError):
    """It belongs to somebody else, or the link was revoked or has expired."""


class ConflictError(LabellingError):
    """It contradicts what is stored: the same uuid with another answer, a retraction made twice."""


class UnavailableError(LabellingError):
    """The database or the storage cannot be used now: nothing was stored, try again."""
