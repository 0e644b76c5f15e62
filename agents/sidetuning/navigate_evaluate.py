"""Success, SPL and collisions of a navigator on trips in layouts that it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from agents.sidetuning.demos import trips_of
from envs.batch import Array, usable_cores
from envs.habitat_nav import Nav, Simulator, make_nav
from envs.pointnav import PointNavConfig

Decide = Callable[[Mapping[str, Array]], Array]
"""observations {name: (N, ...)} to probabilities of the actions, (N, actions)"""
TOGETHER = 8
"""trips that go on at a time; in Habitat, where each has a process, one a core"""


@dataclass(frozen=True)
class NavigationScores:
    """Of each trip, (T,). collisions: share of its steps that were held up; lengths: steps."""

    success: Array
    spl: Array
    collisions: Array
    lengths: Array
    distance: Array
    """m left at the end"""
    trips: tuple[tuple[int, int], ...] = ()
    """(world, trip) of each"""
    tracks: tuple[Array, ...] = ()
    """(L, 2) m, places of the first trips, where they were watched"""

    def summary(self) -> dict[str, float]:
        return {
            "success": float(self.success.mean()),
            "spl": float(self.spl.mean()),
            "collisions": float(self.collisions.mean()),
            "length": float(self.lengths.mean()),
            "distance": float(self.distance.mean()),
            "episodes": len(self.success),
        }


def evaluate_navigator(
    decide: Decide,
    config: PointNavConfig,
    episodes: int,
    seed: int = 0,
    sample: bool = True,
    watched: int = 0,
    simulator: Simulator = "plain",
) -> NavigationScores:
    """The first `episodes` trips of the configuration's worlds, in an order of the seed's.

    watched: of how many of them, the first, the ways are kept. sample: actions are drawn, as the authors'
    evaluation does; else the likeliest. A trip's draws depend on its number alone. simulator: "habitat" plays
    the same trips in Habitat-Lab, whose measures are then given. Raises ValueError for more episodes than
    there are trips, HabitatMissingError where there is no Habitat.
    """
    trips = trips_of(config, seed)
    if not 1 <= episodes <= len(trips):
        raise ValueError(f"{config.split} has {len(trips)} trips, {episodes} episodes are asked for")
    together = TOGETHER if simulator == "plain" else min(TOGETHER, usable_cores())
    with closing(make_nav(simulator, config, min(together, episodes), seed)) as nav:
        return _play(nav, decide, trips[:episodes], seed, sample, watched)


def _play(
    nav: Nav, decide: Decide, trips: list[tuple[int, int]], seed: int, sample: bool, watched: int
) -> NavigationScores:
    count, episodes = nav.num_envs, len(trips)
    number = np.arange(count)
    draws = [_draws(seed, k) for k in range(count)]
    steps, bumps = np.zeros(count), np.zeros(count)
    rows: dict[int, tuple[float, ...]] = {}
    tracks: list[list[Array]] = [[] for _ in range(min(watched, episodes))]
    for i in range(count):
        nav.start(i, *trips[i])
    observations = nav.observe()
    upcoming = count
    while len(rows) < episodes:
        for i in np.flatnonzero(number < len(tracks)).tolist():
            tracks[number[i]].append(nav.poses[i, :2].copy())
        chances = decide(observations)
        chosen = [_choose(p, rng if sample else None) for p, rng in zip(chances, draws, strict=True)]
        actions = np.array(chosen) + int(nav.action_space.start)
        step = nav.step(actions)
        observations = step.observations
        steps += 1
        bumps += step.infos["collision"]
        for i in np.flatnonzero(step.terminated | step.truncated).tolist():
            infos = step.infos
            if number[i] < episodes:
                rows[int(number[i])] = (
                    *(float(infos["success"][i]), float(infos["spl"][i])),
                    *(bumps[i] / steps[i], steps[i], float(infos["distance"][i])),
                )
            # Copies that are done go on anywhere, and are not looked at.
            number[i], steps[i], bumps[i] = upcoming, 0, 0
            if upcoming < episodes:
                nav.start(i, *trips[upcoming])
                draws[i] = _draws(seed, upcoming)
                for name, seen in nav.observe([i]).items():
                    observations[name][i] = seen[0]
                upcoming += 1
    table = np.array([rows[k] for k in range(episodes)])
    spl, collisions, lengths, distance = table[:, 1:].T
    ways = tuple(np.array(track) for track in tracks)
    return NavigationScores(table[:, 0] > 0, spl, collisions, lengths, distance, tuple(trips), ways)


def _choose(chances: Array, rng: np.random.Generator | None) -> int:
    if rng is None:
        return int(chances.argmax())
    return min(int(np.searchsorted(np.cumsum(chances), rng.random())), len(chances) - 1)


def _draws(seed: int, trip: int) -> np.random.Generator:
    return np.random.default_rng([seed, 0xE7A1, trip])
