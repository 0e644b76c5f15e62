"""A simulated trip to a goal, seen while it is driven: the same drive as the evaluation's of that number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.agent import BadgrAgent
from agents.badgr.collect_config import LABELS
from agents.badgr.evaluate import EvaluationConfig
from agents.badgr.events import LabelConfig, label_episode
from agents.badgr.methods import Method, agent_maker
from agents.badgr.overlay import ways_of
from agents.badgr.signals import LabelError
from agents.badgr.trials import Trial, drive_trials
from agents.badgr.watch_moment import PAST, STEP, Marks, Moment, latest
from envs.episode import Episode
from envs.rover.rovers import RoverConfig, Rovers

Array = NDArray[Any]
Show = Callable[[Moment], None]

REMEMBERED = PAST + 16
"""steps labelled anew each time: the first ones lack what came before them"""
EVENTS = ("collision", "bumpy", "stuck")


def watch_trip(
    config: EvaluationConfig, method: Method, number: int, show: Show, begin: Callable[[Rovers], None]
) -> Trial:
    """Drives a trip and shows each decision, and the end; returns what came of it.

    begin: called with the batch once it stands at the start.
    """
    rover = RoverConfig(config.rover("badgr").layout, config.split, swap_colours=config.swap_colours)
    foresight = None
    if method == "badgr":
        from agents.badgr.predictor import Predictor

        foresight = Predictor(config.model, threads=1)
        foresight.spec.expect_image((rover.lens.height, rover.lens.width, 3))
    make = agent_maker(method, foresight, config.preferences, config.drive)
    labels = LABELS[config.world]
    watched: list[Watched] = []

    def seat(rovers: Rovers, i: int, trip: int) -> Watched:
        begin(rovers)
        watched.append(Watched(make(rovers, i, trip), rovers, i, labels, show))
        return watched[0]

    for trial in drive_trials(rover, [number], seat, seed=config.seed, rovers=1, seconds=config.seconds):
        watched[0].end()
        return trial
    raise AssertionError("a trip ends")


class Watched:
    """An agent that shows each of its decisions."""

    def __init__(self, agent: Any, rovers: Rovers, i: int, labels: LabelConfig, show: Show) -> None:
        self._agent, self._rovers, self._i, self._labels, self._show = agent, rovers, i, labels, show
        self._seen: deque[Mapping[str, Array]] = deque(maxlen=REMEMBERED + 1)
        self._told: deque[Array] = deque(maxlen=REMEMBERED)
        self._truth: dict[str, deque[bool]] = {name: deque(maxlen=PAST) for name in EVENTS}
        self._steps = 0

    @property
    def halt(self) -> Any:
        return getattr(self._agent, "halt", None)

    def reset(self) -> None:
        self._agent.reset()

    def act(self, observation: Mapping[str, Any]) -> Array:
        self._remember(observation)
        action: Array = self._agent.act(observation)
        self._show(self._moment(observation, action, _doing(self._agent)))
        self._told.append(np.asarray(action, np.float32))
        self._steps += 1
        return action

    def end(self) -> None:
        """Shows what the last action led to."""
        seen = {name: value[self._i] for name, value in self._rovers.observe().items()}
        self._remember(seen)
        self._show(self._moment(seen, None, ""))

    def _remember(self, observation: Mapping[str, Any]) -> None:
        self._seen.append(observation)
        if self._steps:
            for name, marks in self._truth.items():
                marks.append(bool(self._rovers.truth[name][self._i]))

    def _moment(self, seen: Mapping[str, Any], action: Array | None, words: str) -> Moment:
        pose = self._rovers.poses[self._i]
        w, x, y, z = pose[3:7]
        heading = float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
        ways, foretold = None, {}
        if action is not None and isinstance(self._agent, BadgrAgent) and self._agent.plan is not None:
            plan = self._agent.plan
            chosen = self._agent.foresight.predict(plan.actions[None])
            ways = ways_of(plan, chosen)
            foretold = {name: values[0] for name, values in chosen.events.items()}
        truth = {name: np.array(marks, bool) for name, marks in self._truth.items()}
        return Moment(
            seconds=self._steps * STEP,
            image=np.asarray(seen["image"]),
            pose=(float(pose[0]), float(pose[1]), heading),
            goal=np.asarray(seen["goal"]),
            body=pose,
            ways=ways,
            foretold=foretold,
            happened={"truth": latest(truth, None, PAST), "sensors": self._sensed()},
            words=words,
            speed=0.0 if action is None else float(action[1]),
        )

    def _sensed(self) -> Marks:
        """What the robot's own sensors say of the latest steps."""
        if not self._told:
            return {}
        episode = Episode(
            {name: np.stack([one[name] for one in self._seen]) for name in self._seen[0]},
            np.stack(self._told),
            np.zeros(len(self._told), np.float32),
            np.arange(len(self._seen)) * STEP,
            truncated=True,
        )
        try:
            labels = label_episode(episode, self._labels)
        except LabelError:
            return {}
        return latest(labels.events, labels.known, len(labels))


def _doing(agent: Any) -> str:
    """In a word what the agent is doing, beside driving its plan."""
    halt = getattr(agent, "halt", None)
    if halt is not None:
        return str(halt.words)
    escape = getattr(agent, "escape", None)
    return {"turn": "turns: no free way ahead", "back": "backs up"}.get(escape or "", "")
