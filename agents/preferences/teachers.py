"""Who says which of two clips is better: scripted teachers, recorded answers, answers in the background."""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np

from agents.preferences.comparison import Answer, Comparison, Query, Retraction
from envs.episode import Episode

logger = logging.getLogger(__name__)

TeacherKind = Literal["perfect", "rational", "noisy", "mistake", "skip", "equal", "myopic", "people"]


class Teacher(Protocol):
    """Compares two clips."""

    def answer(self, query: Query, left: Episode, right: Episode) -> Comparison | None:
        """The answer, or None from a teacher that has none (not now, or not ever)."""
        ...


@dataclass(frozen=True)
class TeacherConfig:
    """A teacher that answers from the hidden true reward, with people's faults (B-Pref, Lee et al. 2021).

    kind: "perfect": always right, a tie where both are equal. "rational": Boltzmann-rational,
    beta 1. "noisy": that and 10 % of answers flipped. "mistake": perfect but for 10 % flipped.
    "skip": skips pairs of poor clips. "equal": calls close pairs a tie. "myopic": looks at a
    clip's end. "people": no script at all, a labelling session. Settings that are not None replace
    the kind's own.
    """

    kind: TeacherKind = "perfect"
    beta: float | None = None
    """rationality: P(left) = sigmoid(beta * difference of returns); infinite: always the better"""
    gamma: float | None = None
    """discount backwards from the clip's last step, in (0, 1]"""
    error_rate: float | None = None
    """share of answers flipped between left and right"""
    equal_threshold: float | None = None
    """ties below this share of the mean return of a clip"""
    skip_threshold: float | None = None
    """skips where the better clip stays below this share of the mean return of a clip"""

    def __post_init__(self) -> None:
        if self.kind not in get_args(TeacherKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(TeacherKind))}, got {self.kind!r}")
        if self.beta is not None and not self.beta > 0:
            raise ValueError(f"beta must be above 0, got {self.beta}")
        if self.gamma is not None and not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must lie in (0, 1], got {self.gamma}")
        if self.error_rate is not None and not 0 <= self.error_rate <= 1:
            raise ValueError(f"error_rate must lie in [0, 1], got {self.error_rate}")
        for name in ("equal_threshold", "skip_threshold"):
            share = getattr(self, name)
            if share is not None and not share >= 0:
                raise ValueError(f"{name} must not be negative, got {share}")

    def setting(self, name: str) -> float:
        """A setting, from the kind where it is None."""
        value = getattr(self, name)
        if self.kind == "people":
            raise ValueError("people follow no script: a labelling session asks them")
        return float(_KINDS[self.kind].get(name, _PERFECT[name]) if value is None else value)


_PERFECT = {
    "beta": math.inf,
    "gamma": 1.0,
    "error_rate": 0.0,
    "equal_threshold": 0.0,
    "skip_threshold": 0.0,
}
_KINDS: Mapping[str, Mapping[str, float]] = {
    "perfect": {},
    "rational": {"beta": 1.0},
    "noisy": {"beta": 1.0, "error_rate": 0.1},
    "mistake": {"error_rate": 0.1},
    "skip": {"skip_threshold": 0.1},
    "equal": {"equal_threshold": 0.1},
    "myopic": {"gamma": 0.9},
}


class ScriptedTeacher:
    """Answers from `info["true_reward"]`; what it says of a query depends on (seed, query.id) alone.

    Thresholds are shares of `clip_return`, the mean true return of a clip of the present policy:
    its mean episode return times clip steps / episode steps. It is given by the trainer before
    each session and multiplied once (B-Pref's code multiplies it again at every session).
    """

    def __init__(self, config: TeacherConfig | None = None, seed: int = 0, clip_return: float = 0.0) -> None:
        self.config = config or TeacherConfig()
        self.seed = seed
        self.clip_return = clip_return

    def answer(self, query: Query, left: Episode, right: Episode) -> Comparison:
        """Raises ValueError when a clip does not carry its true reward."""
        answer = self._compare(query, self._return(left, query), self._return(right, query))
        return Comparison(query, answer, labeller=f"scripted-{self.config.kind}")

    def _return(self, clip: Episode, query: Query) -> float:
        if "true_reward" not in clip.info:
            raise ValueError(
                f"a clip of query {query.id} has no info['true_reward'], which a scripted teacher answers "
                "from: record clips in an environment that reports it"
            )
        rewards = np.asarray(clip.info["true_reward"], np.float64)
        gamma = self.config.setting("gamma")
        return float(rewards @ gamma ** np.arange(len(rewards) - 1, -1, -1))

    def _compare(self, query: Query, left: float, right: float) -> Answer:
        if self.config.setting("skip_threshold") > 0 and max(left, right) < self.skip_below:
            return "skip"
        difference = left - right
        equal = self.config.setting("equal_threshold") * abs(self.clip_return)
        beta = self.config.setting("beta")
        if abs(difference) < equal or (difference == 0 and math.isinf(beta)):
            return "tie"
        chance, mistake = np.random.default_rng([self.seed, int(query.id, 16)]).random(2)
        if math.isinf(beta):
            prefers_left = difference > 0
        else:
            prefers_left = chance < 0.5 * (1 + math.tanh(0.5 * beta * difference))  # the sigmoid
        if mistake < self.config.setting("error_rate"):
            prefers_left = not prefers_left
        return "left" if prefers_left else "right"

    @property
    def skip_below(self) -> float:
        """Clips with a return below this are poor: share * mean for a mean above 0, as in B-Pref.

        Below 0 the same distance under the mean, for B-Pref's own rule would then skip good clips.
        """
        share = self.config.setting("skip_threshold")
        return self.clip_return - (1 - share) * abs(self.clip_return)

    def state_dict(self) -> dict[str, Any]:
        return {"clip_return": self.clip_return}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.clip_return = float(state["clip_return"])


class RecordedTeacher:
    """Repeats answers given before, such as those of a LabelLog; None where there is none."""

    def __init__(self, comparisons: Iterable[Comparison]) -> None:
        self._answers = {comparison.query.id: comparison for comparison in comparisons}

    def answer(self, query: Query, left: Episode, right: Episode) -> Comparison | None:
        return self._answers.get(query.id)


class AsyncTeacher:
    """Asks a teacher in a thread of its own, so that a policy can train meanwhile.

    seconds_per_label: how long it takes over an answer at least; simulates a person.
    An error of the teacher is raised by the next `poll`. `close` ends the thread; queries that are
    still open are dropped.
    """

    def __init__(self, teacher: Teacher, seconds_per_label: float = 0.0) -> None:
        if not seconds_per_label >= 0:
            raise ValueError(f"seconds_per_label must not be negative, got {seconds_per_label}")
        self._teacher, self._seconds = teacher, seconds_per_label
        self._questions: queue.SimpleQueue[tuple[Query, Episode, Episode] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Comparison | BaseException | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._open = 0
        self._thread = threading.Thread(target=self._work, name="teacher", daemon=True)
        self._thread.start()

    @property
    def open(self) -> int:
        """Queries submitted and not yet polled as answered."""
        return self._open

    def begin(self, known: Collection[str]) -> list[Query]:
        """Nothing is open: what was, was dropped with the thread."""
        return []

    def submit(self, query: Query, left: Episode, right: Episode) -> None:
        """Puts a question; returns at once."""
        if self._closed.is_set():
            raise RuntimeError("this teacher is closed and takes no more queries")
        self._open += 1
        self._questions.put((query, left, right))

    def poll(self) -> list[Comparison | Retraction]:
        """Answers that came since the last call, in the order of the questions; returns at once."""
        comparisons: list[Comparison | Retraction] = []
        while not self._answers.empty():
            answer = self._answers.get()
            self._open -= 1
            if isinstance(answer, BaseException):
                raise answer
            if answer is not None:
                comparisons.append(answer)
        return comparisons

    def close(self) -> None:
        """Ends the thread, waiting at most 5 seconds for an answer that is being given."""
        self._closed.set()
        self._questions.put(None)
        self._thread.join(timeout=5.0)
        if self._thread.is_alive():
            logger.warning(
                "the teacher is still busy with an answer 5 s after close; it is left to end alone"
            )

    def _work(self) -> None:
        while (question := self._questions.get()) is not None:
            if self._closed.wait(self._seconds):
                return
            try:
                self._answers.put(self._teacher.answer(*question))
            except Exception as error:
                # Handed over to the thread that polls, where somebody can see it.
                self._answers.put(error)
