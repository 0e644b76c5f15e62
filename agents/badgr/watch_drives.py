"""Recorded drives, moment by moment: what the sensors said, and what a model would have foretold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.agent import Foresight
from agents.badgr.collect_config import LABELS
from agents.badgr.events import URBAN, EventLabels, LabelConfig, label_episode
from agents.badgr.overlay import Ways
from agents.badgr.reward import Preferences, plan_cost
from agents.badgr.spec import SpecError
from agents.badgr.watch_moment import Marks, Moment, latest
from envs.dataset import EpisodeDataset
from envs.episode import Episode
from envs.rover.body import WHEEL_RADIUS
from envs.rover.world import World

Array = NDArray[Any]

TURNS = 33
"""candidates shown: constant turns, from the sharpest to the right to the sharpest to the left"""
TRUTHS = ("collision", "bumpy", "stuck")


@dataclass(frozen=True)
class Recorded:
    """One drive of a dataset. world: None where it is not a simulated one, or not known."""

    episode: Episode
    labels: EventLabels
    title: str
    world: World | None

    def __len__(self) -> int:
        """Observations."""
        return len(self.episode) + 1


def open_drive(folder: Path, number: int) -> Recorded:
    """Drive `number` of a dataset in the order of recording; negative from its end.

    Raises ValueError for a number that there is not, LabelError for a drive without a needed stream.
    """
    with EpisodeDataset(folder, read_only=True) as dataset:
        ids = dataset.ids
        if not -len(ids) <= number < len(ids):
            raise ValueError(f"{folder} has drives 0 to {len(ids) - 1}, there is no {number}")
        id = ids[number]
        episode = dataset[id]
    labels, world = _origin(folder, id)
    name = f"drive {number % len(ids)} of {folder.name}" + ("" if world is None else f", {world.name}")
    return Recorded(episode, label_episode(episode, labels), name, world)


def moments(drive: Recorded, foresight: Foresight | None = None) -> Iterator[Moment]:
    """Each observation of a drive. foresight: foretells what the actions that were driven, and a fan of
    constant turns, would bring. Raises SpecError where its images, actions or steps are others than the
    drive's."""
    episode, poses = drive.episode, _poses(drive)
    known = {name: np.asarray(episode.info[name], bool) for name in TRUTHS if name in episode.info}
    if foresight is not None:
        _expect_fit(episode, foresight)
    for step in range(len(drive)):
        happened: dict[str, Marks] = {"sensors": latest(drive.labels.events, drive.labels.known, step)}
        if known:
            happened = {"truth": latest(known, None, step), **happened}
        ways, foretold = (None, {}) if foresight is None else _foretold(episode, step, foresight)
        x, y, heading = (float(part) for part in poses[step])
        resetting = step < len(episode) and bool(episode.info.get("resetting", np.zeros(len(drive)))[step])
        yield Moment(
            seconds=float(episode.times[step] - episode.times[0]),
            image=np.asarray(episode.observations["image"][step]),
            pose=(x, y, heading),
            body=None if drive.world is None else _body(drive.world, x, y, heading),
            ways=ways,
            foretold=foretold,
            happened=happened,
            words="gets itself free" if resetting else "",
            speed=float(episode.actions[step, 1]) if step < len(episode) else 0.0,
        )


def _foretold(episode: Episode, step: int, foresight: Foresight) -> tuple[Ways | None, Mapping[str, Array]]:
    """Of the actions that were driven, for as long as there are some; and a fan beside them."""
    spec = foresight.spec
    driven = np.asarray(episode.actions[step : step + spec.horizon], np.float32)
    if not len(driven):
        return None, {}
    driven = np.concatenate([driven, np.repeat(driven[-1:], spec.horizon - len(driven), axis=0)])
    driven = np.clip(driven, spec.low, spec.high)
    turns = np.linspace(spec.low[0], spec.high[0], TURNS)
    fan = np.repeat(np.repeat(driven[:1, None], TURNS, axis=0), spec.horizon, axis=1)
    fan[..., 0] = turns[:, None]
    foresight.look(np.asarray(episode.observations["image"][step]))
    prediction = foresight.predict(np.concatenate([driven[None], fan]))
    steering = spec.normalised(np.concatenate([driven[None], fan]))[..., 0]
    cost = plan_cost(prediction, steering, Preferences())
    ways = Ways(prediction.position[1:], cost[1:], prediction.position[0])
    return ways, {name: values[0] for name, values in prediction.events.items()}


def _expect_fit(episode: Episode, foresight: Foresight) -> None:
    spec = foresight.spec
    spec.expect_image(episode.observations["image"].shape[1:])
    if episode.actions.shape[1] != len(spec.actions):
        names = ", ".join(one.name for one in spec.actions)
        raise SpecError(
            f"the model's actions are {names}, the drive's have {episode.actions.shape[1]} numbers"
        )
    usual = float(np.median(np.diff(episode.times)))
    if abs(usual - spec.step_seconds) > 0.1 * spec.step_seconds:
        raise SpecError(f"the model's steps are {spec.step_seconds} s, the drive's {usual:.3f} s")


def _poses(drive: Recorded) -> Array:
    """(T + 1, 3) on the map by the simulator's truth, else by the robot's own reckoning."""
    info, own = drive.episode.info, drive.labels.pose
    if drive.world is None or "position" not in info or "heading" not in info:
        return own
    after = np.concatenate([info["position"], np.asarray(info["heading"])[:, None]], axis=1).astype(float)
    # The truth of the first observation is not recorded: the first step is taken back by reckoning.
    turn = after[0, 2] - own[1, 2]
    c, s = np.cos(turn), np.sin(turn)
    back = own[0, :2] - own[1, :2]
    first = (after[0, 0] + c * back[0] - s * back[1], after[0, 1] + s * back[0] + c * back[1])
    return np.concatenate([[(*first, own[0, 2] + turn)], after])


def _body(world: World, x: float, y: float, heading: float) -> Array:
    """(7,) upright on the ground: a recording does not say how it leaned."""
    height = world.height_at(x, y) + WHEEL_RADIUS
    return np.array([x, y, height, np.cos(heading / 2), 0.0, 0.0, np.sin(heading / 2)])


def _origin(folder: Path, id: str) -> tuple[LabelConfig, World | None]:
    """How drives of this folder are labelled, and the simulated world of one of them."""
    from agents.badgr.collect import read_drives
    from agents.badgr.collect_drive import LAYOUTS
    from envs.rover.prepared import prepare

    file = folder / "collect.json"
    if not file.exists():
        return URBAN, None
    about = json.loads(file.read_text(encoding="utf-8"))
    labels = LABELS[about["world"]]
    index = {one["id"]: one["world"] for unit in read_drives(folder).values() for one in unit}.get(id)
    if index is None:
        return labels, None
    prepared = prepare(LAYOUTS[about["world"]], about["split"], int(index), bool(about["swap_colours"]))
    return labels, prepared.world
