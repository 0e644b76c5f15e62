"""The JSON of the annotators' API: what comes in is checked here, what goes out is described."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agents.preferences.labelling.types import Choice, Offer, Role, Sprite, StudyState

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _in_utc(time: datetime | None) -> datetime | None:
    """A page's clock may be wrong by thousands of years; its answer counts all the same."""
    if time is None:
        return None
    try:
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except OverflowError:
        return None


class Incoming(BaseModel):
    """Unknown names are refused: a misspelt one would be lost in silence."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class SessionRequest(Incoming):
    token: str = Field(max_length=200)


class LeaseRequest(Incoming):
    n: int = Field(ge=1, le=8)
    held: list[Id] = Field(default_factory=list, max_length=64)


class LabelRequest(Incoming):
    """An answer; `choice` counts by the screen's sides. Who answers is never in it."""

    uuid: UUID
    query: Id
    choice: Choice
    shown_ms: Annotated[int, Field(ge=0), AfterValidator(lambda value: min(value, 2**31 - 1))] = 0
    loops: float = Field(default=0.0, ge=0, le=1e9)
    speed: float = Field(default=1.0, ge=0, le=100)
    client_time: Annotated[datetime | None, AfterValidator(_in_utc)] = None


class RetractRequest(Incoming):
    uuid: UUID


class Picture(BaseModel):
    media: str
    frames: int
    columns: int
    width: int
    height: int
    reward: list[float]


class Why(BaseModel):
    chosen_by: str
    score: float | None
    reward_version: int
    step: int
    text: str


class Question(BaseModel):
    query: str
    left: Picture
    right: Picture
    fps: int
    why: Why
    expires_in_s: float


class Wait(BaseModel):
    reason: str
    text: str


class Lease(BaseModel):
    queries: list[Question]
    wait: Wait


class Task(BaseModel):
    study: str
    name: str
    env: str
    guide: str
    role: Role
    annotator: str
    target: int
    state: StudyState
    fps: int
    min_view_ms: int = 500
    prefetch: int = 3


class Stored(BaseModel):
    uuid: str
    status: Literal["stored", "known"]
    given: int


class Retracted(BaseModel):
    query: Question


class Given(BaseModel):
    uuid: str
    query: str
    choice: Choice
    server_time: datetime
    retracted: bool


class History(BaseModel):
    labels: list[Given]


class Problem(BaseModel):
    detail: str


_REASONS = {
    "random": "This pair was drawn at random.",
    "variance": "The reward models disagree about this pair.",
    "information_gain": "Your answer to this pair tells the reward models most.",
}


def why_text(offer: Offer) -> str:
    """Why a pair was asked, for whoever is asked; the same words for repeats and golds."""
    reason = _REASONS.get(offer.chosen_by, f"This pair was chosen by {offer.chosen_by}.")
    if offer.reward_version == 0:
        return f"{reason} The clips are from before the first answers."
    return f"{reason} The clips are from step {offer.step:,} of the training."


def question(offer: Offer, now: datetime) -> Question:
    """An offer as the page gets it. What kind it is stays here: nobody should answer golds with more care."""
    return Question(
        query=offer.query,
        left=_picture(offer.left, offer.left_reward),
        right=_picture(offer.right, offer.right_reward),
        fps=offer.fps,
        why=Why(
            chosen_by=offer.chosen_by,
            score=offer.score if math.isfinite(offer.score) else None,
            reward_version=offer.reward_version,
            step=offer.step,
            text=why_text(offer),
        ),
        expires_in_s=round(max(0.0, (offer.expires - now).total_seconds()), 1),
    )


def on_screen(choice: Choice, swapped: bool) -> Choice:
    """A stored choice by the sides of the screen that it was made on."""
    if not swapped:
        return choice
    turned: dict[Choice, Choice] = {"left": "right", "right": "left"}
    return turned.get(choice, choice)


def _picture(sprite: Sprite, reward: tuple[float, ...]) -> Picture:
    return Picture(
        media=f"/media/{sprite.media}",
        frames=sprite.frames,
        columns=sprite.columns,
        width=sprite.width,
        height=sprite.height,
        reward=list(reward) if all(math.isfinite(value) for value in reward) else [],
    )
