"""A unit of work: some simulated rovers drive themselves for a while, and give their drives.

Everything in it follows from the configuration and the unit's number, whatever was driven before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.collect_agent import CollectAgent
from agents.badgr.collect_config import LABELS, CollectConfig
from agents.badgr.geofence import Geofence
from agents.badgr.recovery import Recovery
from agents.badgr.walk import RandomWalk
from envs.episode import Episode
from envs.recording import Agent, EpisodeRecorder
from envs.rover.rovers import RoverConfig, Rovers
from envs.rover.worlds import SPLITS, TRIPS, Layout

Array = NDArray[Any]

LAYOUTS: dict[str, Layout] = {"urban": "urban", "off-road": "offroad", "indoor": "indoor"}
EVENTS = ("collision", "bumpy", "stuck", "outside")
TRUTHS = (*EVENTS, "position", "heading", "terrain")
"""What the simulator says of every step: kept as info, and seen by no agent"""
SHORTEST = 8
"""steps; a drive that needs a rescue sooner is not kept"""
REPORTED = 8
"""decisions between two reports of progress"""


@dataclass(frozen=True)
class Drive:
    """One episode, and what is worth counting in it, as JSON takes it."""

    episode: Episode
    counts: Mapping[str, Any]


class Fleet:
    """Rovers that drive one unit after the other."""

    def __init__(self, config: CollectConfig) -> None:
        self.config = config
        rover = RoverConfig(LAYOUTS[config.world], config.split, swap_colours=config.swap_colours)
        self._rovers = Rovers(rover, config.rovers, seed=0, threads=1)

    def drives(self, unit: int, report: Callable[[int], None] | None = None) -> Iterator[Drive]:
        """Those of a unit, each as soon as it ends. report: called now and then with steps driven since."""
        config, rovers = self.config, self._rovers
        key = (config.seed, tuple(LAYOUTS).index(config.world), tuple(SPLITS).index(config.split), unit)
        generator = np.random.default_rng(np.random.SeedSequence(key))
        rovers.seed(int(generator.integers(2**31)))
        # As many worlds as there are rovers: a few hours shall know all of a split.
        worlds = (unit * config.rovers + np.arange(config.rovers)) % len(SPLITS[config.split])
        rovers.restart(trips=np.stack([worlds, np.zeros_like(worlds)], axis=1))
        seats = [_Seat(config, rovers, i, unit, one) for i, one in enumerate(generator.spawn(config.rovers))]
        decisions = round(config.episode_seconds / rovers.dt)
        for decision in range(1, decisions + 1):
            actions = np.zeros((config.rovers, 2), np.float32)
            for i, seat in enumerate(seats):
                yield from seat.decide()
                actions[i] = seat.action
            rovers.drive(actions)
            seen = rovers.observe()
            for i, seat in enumerate(seats):
                seat.take_in({name: value[i] for name, value in seen.items()})
            if report is not None and (decision % REPORTED == 0 or decision == decisions):
                report(config.rovers * ((decision - 1) % REPORTED + 1))
        for seat in seats:
            yield from seat.finish("")

    def close(self) -> None:
        self._rovers.close()


class _Seat:
    """One rover, its agent and what is recorded of it."""

    def __init__(
        self, config: CollectConfig, rovers: Rovers, i: int, unit: int, generator: np.random.Generator
    ) -> None:
        self.action = np.zeros(2, np.float32)
        self._rovers, self._i, self._generator = rovers, i, generator
        self._world = rovers.prepared(i).world
        self._about = {"unit": unit, "rover": i, "part": 0, "world": rovers.trip(i)[0]}
        self._agent = make_agent(config, self._world.fence, generator)
        self._start()

    def decide(self) -> Iterator[Drive]:
        """Sets `action`; gives the drive up to here and begins another where the agent asks for a rescue."""
        self.action = self._agent.act(self._seen)
        while self._agent.rescue is not None:
            yield from self.finish(self._agent.rescue)
            self._about["part"] += 1
            self._agent.reset()
            self._start()
            self.action = self._agent.act(self._seen)

    def take_in(self, seen: dict[str, Array]) -> None:
        """What came of the action."""
        self._seen = seen
        truth = {name: self._rovers.truth[name][self._i] for name in TRUTHS}
        truth["position"] = np.asarray(truth["position"], np.float32)
        truth["terrain"] = np.uint8(truth["terrain"])
        info = {**truth, "heading": np.float32(truth["heading"]), "resetting": self._agent.resetting}
        self._recorder.add(self.action, seen, 0.0, (False, False), info)

    def finish(self, rescue: str) -> Iterator[Drive]:
        """The drive that was recorded, if it is long enough."""
        if len(self._recorder) < SHORTEST:
            return
        episode = self._recorder.episode()
        counts = _counts(episode) | {"rescue": rescue, "manoeuvres": self._agent.manoeuvres}
        yield Drive(episode, {**self._about, **counts})

    def _start(self) -> None:
        """At rest at one of the world's sixteen free places, facing anywhere."""
        place = int(self._generator.integers(2 * TRIPS))
        ends = np.concatenate([self._world.starts[:, :2], self._world.goals])
        x, y = (float(part) for part in ends[place])
        self._rovers.place(self._i, x, y, float(self._generator.uniform(-np.pi, np.pi)))
        self._seen = {name: value[self._i] for name, value in self._rovers.observe().items()}
        self._recorder = EpisodeRecorder(self._seen, {}, self._rovers.dt, np.float32)


def make_agent(
    config: CollectConfig, box: tuple[float, float, float, float], generator: np.random.Generator
) -> CollectAgent:
    """Who drives one rover. box: x0, y0, x1, y1 m of its world's fence."""
    # Indoors there is no GPS, and walls are fence enough.
    fence = None if config.world == "indoor" else Geofence(box, config.fence)
    recovery = Recovery(config.recovery, LABELS[config.world], generator)
    return CollectAgent(make_driver(config, generator, box), recovery, fence)


def make_driver(
    config: CollectConfig, generator: np.random.Generator, box: tuple[float, float, float, float]
) -> Agent:
    """The agent that `config.policy` names. Raises ValueError where there is none."""
    if config.policy == "random":
        return RandomWalk(config.walk, generator)
    if not Path(config.policy).exists():
        raise ValueError(f"there is no policy {config.policy!r}: give random, or the file of a model")
    from agents.badgr.agent import BadgrAgent
    from agents.badgr.collect_policy import NoisyTrips

    agent = BadgrAgent(_predictor(config.policy), seed=int(generator.integers(2**31)))
    return NoisyTrips(agent, box, generator)


@functools.lru_cache(maxsize=1)
def _predictor(policy: str) -> Any:
    """One for all rovers of a process: each looks before it predicts."""
    from agents.badgr.predictor import Predictor

    return Predictor(policy, providers=("CPUExecutionProvider",))


def _counts(episode: Episode) -> dict[str, Any]:
    """Steps, those of manoeuvres, steps beside them in which an event happened, and how often it began."""
    info = episode.info
    driven = ~np.asarray(info["resetting"], np.bool_)
    found: dict[str, Any] = {"steps": len(episode), "resetting": int((~driven).sum())}
    for name in EVENTS:
        happens = np.asarray(info[name], np.bool_) & driven
        found[name] = int(happens.sum())
        found[f"{name}_begins"] = int((happens[1:] & ~happens[:-1]).sum() + happens[0])
    way = np.linalg.norm(np.diff(np.asarray(info["position"]), axis=0), axis=1).sum()
    return {**found, "metres": round(float(way), 2)}
