"""Simulated trips to goals, each driven by an agent of its own, and what came of them.

Trip `number` is the same for every method: the same world, start and goal, and the same faults of the
sensors.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray

from agents.badgr.trip import Halt
from envs.mujoco_batch import generator_words
from envs.rover.feasible import passage
from envs.rover.robot import TIPPED
from envs.rover.rovers import RoverConfig, Rovers
from envs.rover.truth import GOAL_RADIUS
from envs.rover.worlds import SPLITS, TRIPS

Array = NDArray[Any]
Outcome = Literal["reached", "collision", "stuck", "tipped", "outside", "refused", "missed", "timeout"]
OUTCOMES: tuple[Outcome, ...] = (
    "reached", "collision", "stuck", "tipped", "outside", "refused", "missed", "timeout",
)  # fmt: skip
"""missed: the agent says that it is there, and is not"""
REFUSAL_SECONDS, REFUSAL_WAY = 20.0, 0.5
"""A rover that has gone less than so many m in so many s has refused"""

MakeAgent = Callable[[Rovers, int, int], Any]
"""An Agent for rover i of a batch, and for the trip of a number; `halt`, if it has one, is read"""


@dataclass(frozen=True)
class Trial:
    """One trip. Times in s, ways in m."""

    number: int
    world: int
    trip: int
    outcome: Outcome
    words: str
    """why the agent stood at the end, by itself"""
    seconds: float
    path: float
    shortest: float
    """the feasible way by the true map, up to where the goal counts as reached"""
    roughness: float
    """rad/s, mean over time of the true gyro's roll and pitch norm"""
    smooth: float
    """share of the way on ground that is not bumpy"""
    closest: float
    """m from the goal"""
    act_ms: tuple[float, float]
    """50th and 99th percentile of the time that the agent took to decide, wall clock"""
    track: Array = field(repr=False)
    """(T + 1, 2) m"""

    @property
    def spl(self) -> float:
        """Success weighted by path length (Anderson et al. 2018); at most 1 as the grid's ways are a
        little long."""
        return self.shortest / max(self.path, self.shortest, 1e-9) if self.outcome == "reached" else 0.0


def trip_of(number: int, config: RoverConfig) -> tuple[int, int]:
    """(world, trip) of a trip's number: through all worlds first, then through their trips."""
    worlds = config.indices or tuple(range(len(SPLITS[config.split])))
    return worlds[number % len(worlds)], (number // len(worlds)) % TRIPS


def drive_trials(
    config: RoverConfig, numbers: Iterable[int], make_agent: MakeAgent, *,
    seed: int, rovers: int = 8, seconds: float = 180.0,
) -> Iterator[Trial]:  # fmt: skip
    """Gives each trip as it ends. seed + number seeds the sensors of a trip; rovers: that drive at a time."""
    waiting = deque(numbers)
    count = min(rovers, len(waiting))
    if not count:
        return
    batch = Rovers(config, count, seed, threads=1)
    try:
        seats: list[_Seat | None] = [None] * count
        _begin(batch, seats, range(count), waiting, make_agent, seed)
        while any(seat is not None for seat in seats):
            seen, actions = batch.observe(), np.zeros((count, 2))
            for i, seat in enumerate(seats):
                if seat is not None:
                    actions[i] = seat.decide({name: value[i] for name, value in seen.items()})
            batch.drive(actions)
            ended = []
            for i, seat in enumerate(seats):
                trial = (
                    None if seat is None else seat.count({k: v[i] for k, v in batch.truth.items()}, seconds)
                )
                if trial is not None:
                    yield trial
                    seats[i] = None
                    ended.append(i)
            _begin(batch, seats, ended, waiting, make_agent, seed)
    finally:
        batch.close()


def _begin(
    batch: Rovers, seats: list[_Seat | None], free: Iterable[int], waiting: deque[int],
    make_agent: MakeAgent, seed: int,
) -> None:  # fmt: skip
    """Puts free rovers at the starts of the next trips, their random numbers begun anew."""
    begun = [(i, waiting.popleft()) for i in free if waiting]
    if not begun:
        return
    if all(seat is None for seat in seats):
        batch.restart()  # a batch has no state before the first trip
    state = batch.get_state()
    for i, number in begun:
        state["generators"][i] = generator_words(np_random(seed + number)[0])
    batch.set_state(state)
    ids = [i for i, _ in begun]
    batch.restart(ids, np.array([trip_of(number, batch.config) for _, number in begun]))
    for i, number in begun:
        seats[i] = _Seat(batch, i, number, make_agent(batch, i, number))


def outcome_of(
    truth: Mapping[str, Any], track: Sequence[Array], dt: float, longest: float, said: Outcome | None = None
) -> Outcome | None:
    """How a trip ended with the decision that `truth` tells of; None: it goes on.

    track: (2,) m, from the start to where it is now, dt s apart. longest: s that a trip may take. said: how
    the agent itself says that it ended, which counts where nothing happened to it.
    """
    if truth["tilt"] > TIPPED:
        return "tipped"
    for name in ("collision", "stuck", "outside", "reached"):
        if truth[name]:
            outcome: Outcome = name
            return outcome
    if said is not None:
        return said
    window = round(REFUSAL_SECONDS / dt)
    if len(track) > window:
        recent = np.asarray(track[-window - 1 :])
        if np.linalg.norm(recent - recent[0], axis=1).max() < REFUSAL_WAY:
            return "refused"
    return "timeout" if (len(track) - 1) * dt >= longest else None


class _Seat:
    """One rover on one trip."""

    def __init__(self, batch: Rovers, i: int, number: int, agent: Any) -> None:
        self.batch, self.i, self.number, self.agent = batch, i, number, agent
        agent.reset()
        self.track = [batch.poses[i, :2].copy()]
        self.path = self.rough = self.smooth = 0.0
        self.closest = np.inf
        self.took: list[float] = []

    def decide(self, observation: dict[str, Array]) -> Array:
        began = time.perf_counter()
        action: Array = self.agent.act(observation)
        self.took.append(time.perf_counter() - began)
        return action

    def count(self, truth: dict[str, Any], longest: float) -> Trial | None:
        """Takes in what happened; the trial, if that was its end."""
        self.track.append(np.array(truth["position"]))
        way = float(truth["distance"])
        self.path += way
        self.smooth += way * (not truth["bumpy"])
        self.rough += float(truth["roughness"])
        self.closest = min(self.closest, float(truth["goal_distance"]))
        halt: Halt | None = getattr(self.agent, "halt", None)
        said: Outcome | None = None
        if halt is not None and halt.is_final:
            said = "missed" if halt.kind == "arrived" else "refused"
        outcome = outcome_of(truth, self.track, self.batch.dt, longest, said)
        return None if outcome is None else self._trial(outcome, halt)

    def _trial(self, outcome: Outcome, halt: Halt | None) -> Trial:
        steps = len(self.took)
        world, trip = self.batch.trip(self.i)
        low, high = np.percentile(self.took, (50, 99)) * 1e3
        return Trial(
            number=self.number,
            world=world,
            trip=trip,
            outcome=outcome,
            words="" if halt is None else halt.words,
            seconds=steps * self.batch.dt,
            path=self.path,
            shortest=shortest_way(self.batch, self.i),
            roughness=self.rough / steps,
            smooth=self.smooth / max(self.path, 1e-9),
            closest=self.closest,
            act_ms=(float(low), float(high)),
            track=np.asarray(self.track),
        )


def shortest_way(batch: Rovers, i: int) -> float:
    """m of the shortest feasible way of the trip that rover i is on, to where its goal counts as reached."""
    world, (_, trip) = batch.prepared(i).world, batch.trip(i)
    free = passage(world.kinds, world.solids, world.fence, world.heights)
    start, goal = world.starts[trip], world.goals[trip]
    return max(float(free.distances(*goal)[free.cell(*start[:2])]) - GOAL_RADIUS, 0.0)
