"""Demonstrations of the shortest-path expert: gathered once, kept in a file, more of them a superset."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as arrays_to_bytes

from agents.configs import config_to_json
from agents.progress import Progress
from envs.batch import Array
from envs.files import write_durably
from envs.pointnav import FORWARD, RIGHT, SETTLED, STOP, PointNav, PointNavConfig
from envs.pointnav_rooms import distances
from envs.rover.worlds import SPLITS, TRIPS

TRIP_ORDER = 0x7219


@dataclass(frozen=True)
class Demos:
    """Steps of all ways, one after another: M steps.

    sensors: {name: (M, ...)}. actions: (M,) what the expert says. ways: (M,) number of the way.
    """

    sensors: Mapping[str, Array]
    actions: Array
    ways: Array

    def first(self, count: int) -> Demos:
        """The first ways."""
        return self.at(self.ways < count)

    def at(self, rows: Array) -> Demos:
        sensors = {name: x[rows] for name, x in self.sensors.items()}
        return Demos(sensors, self.actions[rows], self.ways[rows])

    def split(self, share: float) -> tuple[Demos, Demos]:
        """Ways to learn from and ways to measure on: at least one of each, every k-th of them."""
        count = int(self.ways.max()) + 1
        held = np.linspace(0, count, max(1, round(share * count)), endpoint=False).astype(int)
        unseen = np.isin(self.ways, held)
        return self.at(~unseen), self.at(unseen)


def trips_of(config: PointNavConfig, seed: int) -> list[tuple[int, int]]:
    """(world, trip) of the configuration's worlds in an order of the seed's."""
    worlds = config.indices or range(len(SPLITS[config.split]))
    pairs = list(itertools.product(worlds, range(TRIPS)))
    order = np.random.default_rng([seed, TRIP_ORDER]).permutation(len(pairs))
    return [pairs[k] for k in order]


def gather_demos(
    config: PointNavConfig,
    count: int,
    seed: int = 0,
    noise: float = 0.15,
    folder: Path | None = None,
    quiet: bool = True,
) -> Demos:
    """Ways of the expert. folder: where they are kept, and taken from if they are there already.

    Raises ValueError for more ways than the worlds have.
    """
    trips = trips_of(config, seed)
    if count > len(trips):
        raise ValueError(f"the worlds have {len(trips)} trips, {count} demonstrations are asked for")
    nav = PointNav(config, 1, seed, threads=1)
    file = None if folder is None else folder / f"{_digest(nav, seed, noise)}.safetensors"
    kept = _read(file)
    have = 0 if kept is None else int(kept.ways.max()) + 1
    found = [] if kept is None else [kept]
    if have < count:
        with Progress("demonstrations", count, done=have, quiet=quiet) as progress:
            for k in range(have, count):
                found.append(_show(nav, trips[k], k, np.random.default_rng([seed, k]), noise))
                progress.update(k + 1)
    nav.close()
    demos = _joined(found)
    if file is not None and have < count:
        file.parent.mkdir(parents=True, exist_ok=True)
        arrays = {**{f"sensor/{name}": x for name, x in demos.sensors.items()}}
        write_durably(file, arrays_to_bytes({**arrays, "actions": demos.actions, "ways": demos.ways}))
    return demos.first(count)


def _show(nav: PointNav, trip: tuple[int, int], k: int, rng: np.random.Generator, noise: float) -> Demos:
    """One way. Its noise depends on its number alone, so that ways can be added."""
    nav.start(0, *trip)
    seen: list[dict[str, Array]] = []
    actions: list[int] = []
    observations = nav.observe()
    ended = False
    while not ended:
        action = nav.expert(0)
        seen.append(observations)
        actions.append(action)
        wrong = action != STOP and rng.random() < noise
        step = nav.step([int(rng.integers(FORWARD, RIGHT + 1)) if wrong else action])
        observations, ended = step.observations, bool(step.terminated[0] or step.truncated[0])
    sensors = {name: np.concatenate([each[name] for each in seen]) for name in seen[0]}
    return Demos(sensors, np.array(actions, np.int64), np.full(len(actions), k, np.int64))


def _joined(parts: list[Demos]) -> Demos:
    sensors = {name: np.concatenate([part.sensors[name] for part in parts]) for name in parts[0].sensors}
    return Demos(
        sensors, np.concatenate([one.actions for one in parts]), np.concatenate([one.ways for one in parts])
    )


def _read(file: Path | None) -> Demos | None:
    """What is kept; a damaged file counts as none and is written anew."""
    if file is None or not file.exists():
        return None
    try:
        arrays = load_arrays(file.read_bytes())
    except (OSError, SafetensorError):
        return None
    prefix = "sensor/"
    sensors = {name[len(prefix) :]: x for name, x in arrays.items() if name.startswith(prefix)}
    return Demos(sensors, arrays["actions"], arrays["ways"])


def _digest(nav: PointNav, seed: int, noise: float) -> str:
    """Of all that the ways depend on, with the first world itself and its ways: they change with the code."""
    settings = [config_to_json(nav.config), seed, noise, SETTLED]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    world = nav.room(nav.worlds[0]).world
    rows = np.array([solid.row() for solid in world.solids])
    ways = distances(nav.config.split, nav.worlds[0], 0, nav.config.shift)
    for part in (world.starts, world.goals, world.kinds, rows, ways):
        digest.update(np.ascontiguousarray(np.round(part, 4)).tobytes())
    return digest.hexdigest()[:16]
