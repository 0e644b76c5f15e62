"""Which of two clips is better: the question, and what a teacher says of it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal, get_args

from envs.episode import Clip

Answer = Literal["left", "right", "tie", "skip"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)


@dataclass(frozen=True)
class Query:
    """A pair of clips to be compared, and why it was chosen.

    chosen_by: "random", "variance" or "information_gain"; score: what that rule gave the pair;
    reward_version: number of reward-model updates made before it was chosen.
    """

    index: int
    left: Clip
    right: Clip
    chosen_by: str = "random"
    score: float = 0.0
    reward_version: int = 0
    step: int = 0

    @property
    def id(self) -> str:
        """Digest of the question: its place in the run and its two clips."""
        text = f"{self.index}|{self.left}|{self.right}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Comparison:
    """An answered query (the triple of Christiano 2017, 2.2.2).

    seconds: how long the labeller took. "skip" is stored and never trained on. label: names the
    answer where a query has several, or where it may be taken back; else it goes by its query's id.
    """

    query: Query
    answer: Answer
    labeller: str = "oracle"
    seconds: float = 0.0
    label: str = ""

    def __post_init__(self) -> None:
        if self.answer not in ANSWERS:
            raise ValueError(f"answer must be one of {', '.join(ANSWERS)}, got {self.answer!r}")
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ValueError(f"seconds must be finite and not negative, got {self.seconds}")

    @property
    def id(self) -> str:
        """Name of this answer, unique in a run."""
        return self.label or self.query.id

    @property
    def left(self) -> Clip:
        return self.query.left

    @property
    def right(self) -> Clip:
        return self.query.right

    @property
    def target(self) -> float | None:
        """Probability that the left clip is better: 1, 0, 0.5 for a tie, None for a skip."""
        return {"left": 1.0, "right": 0.0, "tie": 0.5, "skip": None}[self.answer]


@dataclass(frozen=True)
class Retraction:
    """An answer was taken back: `label` is the `Comparison.id` it takes back."""

    label: str
