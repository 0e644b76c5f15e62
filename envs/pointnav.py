"""PointNav indoors: go to a point seen as direction and distance, in quarter metres and turns of 10 degrees.

The rooms, light and ray caster are the rover's; the agent is a camera on a disc that moves as Habitat's does,
without physics: a step that would touch something does not happen. Actions: 0 stop, 1 forward, 2 left,
3 right. Distances are along the shortest way on a grid of 0.225 m whose diagonals count 1.41, which is up
to 8 % longer than the very shortest; the spl of a path is capped at 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils.seeding import np_random

from envs.batch import Array, usable_cores
from envs.pointnav_moves import FORWARD as FORWARD
from envs.pointnav_moves import LEFT as LEFT
from envs.pointnav_moves import RIGHT as RIGHT
from envs.pointnav_moves import STOP as STOP
from envs.pointnav_moves import STRIDE as STRIDE
from envs.pointnav_moves import TURN as TURN
from envs.pointnav_rooms import Room, Shift, distance_at, distances, gap_at, get_room
from envs.pointnav_trail import SIDE as TRAIL_SIDE
from envs.pointnav_trail import Trail
from envs.rover.camera import Camera, Lens, camera_axes
from envs.rover.feasible import CLEARANCE
from envs.rover.worlds import SPLITS, TRIPS, Split

RADIUS = 0.18
"""m of the agent's disc; its shortest ways keep CLEARANCE"""
SETTLED = 0.02
"""m that a turn must save over half a metre: an expert that minds less wavers, and nobody can imitate it"""
_TURNS = np.array(sorted(range(-17, 19), key=abs))
_NEAR = np.array((0.125, 0.25, 0.375, 0.5))


@dataclass(frozen=True)
class PointNavConfig:
    """Which rooms, what is seen, when it ends. Numbers are Habitat's of 2019 where it has them."""

    split: Split = "train"
    indices: tuple[int, ...] = ()
    """worlds of the split to draw from; none: all of them"""
    width: int = 64
    height: int = 48
    shift: Shift = field(default_factory=Shift)
    stop: bool = True
    """whether the agent must say that it is there; False: its episode ends by itself at the goal, and there
    is no action 0, as in the authors' environment"""
    trail: bool = False
    """whether "trail" is observed: where the agent has been lately, see envs.pointnav_trail"""
    success_radius: float = 0.36
    """m; twice the agent's radius"""
    steps: int = 500
    slack: float = 0.01
    """taken off the reward at every step"""
    success_reward: float = 10.0

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"the splits are {', '.join(SPLITS)}, got {self.split!r}")
        wrong = [index for index in self.indices if not 0 <= index < len(SPLITS[self.split])]
        if wrong:
            raise ValueError(f"{self.split} has worlds 0 to {len(SPLITS[self.split]) - 1}, got {wrong}")
        if self.width < 8 or self.height < 8 or self.steps < 1 or not self.success_radius > 0:
            raise ValueError("PointNav needs images of 8 x 8 at least, steps >= 1 and success_radius > 0")


def begun_anew(
    seen: dict[str, Array],
    ended: Array,
    begin: Callable[[Array], None],
    observe: Callable[[Array], dict[str, Array]],
) -> tuple[dict[str, Array], dict[str, Array] | None]:
    """Begins the agents anew that ended; gives what all see then, and, if any ended, what all saw before."""
    if not len(ended):
        return seen, None
    begin(ended)
    observations = {name: images.copy() for name, images in seen.items()}
    for name, images in observe(ended).items():
        observations[name][ended] = images
    return observations, seen


def spaces_of(config: PointNavConfig) -> tuple[spaces.Dict, spaces.Discrete]:
    """What an agent observes, and its actions."""
    low, high = np.array(((-1, -1, 0, 0), (1, 1, 40, 1)), np.float32)
    seen: dict[str, spaces.Space[Any]] = {
        "rgb": spaces.Box(0, 255, (3, config.height, config.width), np.uint8),
        "goal": spaces.Box(low, high),
    }
    if config.trail:
        seen["trail"] = spaces.Box(0.0, 1.0, (TRAIL_SIDE**2,), np.float32)
    return spaces.Dict(seen), spaces.Discrete(4) if config.stop else spaces.Discrete(3, start=FORWARD)


@dataclass(frozen=True)
class NavStep:
    """What a step of N agents gives; as envs.batch.BatchStep, with observations by sensor.

    infos: "success" and "collision" (N,) bool, "distance" (N,) m left, "spl" (N,) of episodes that ended.
    """

    observations: dict[str, Array]
    rewards: Array
    terminated: Array
    truncated: Array
    final_observations: dict[str, Array] | None
    infos: Mapping[str, Array]


class PointNav:
    """N agents, each in a room of its own; ended ones begin anew at once ("same step").

    Observations: "rgb" (3, H, W) uint8 and "goal" (4,) float32: cosine and sine of its direction, left
    positive, the straight distance d in metres, and exp(-d), which tells near ones apart; "trail" (25,) where
    the configuration asks for it. Agent i is seeded with seed + i.
    """

    def __init__(
        self,
        config: PointNavConfig | None = None,
        n: int = 1,
        seed: int | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        if n < 1:
            raise ValueError(f"a batch needs at least one agent, got n={n}")
        self.config = config = config or PointNavConfig()
        self.num_envs = n
        self.observation_space, self.action_space = spaces_of(config)
        self._trail = Trail(n)
        self.worlds = config.indices or tuple(range(len(SPLITS[config.split])))
        focal = config.width / 2 / np.tan(np.deg2rad(config.shift.field_of_view) / 2)
        self.lens = Lens(config.width, config.height, focal, focal, lobes=False)
        self._cameras = [Camera(self.lens, config.shift.grain) for _ in range(n)]
        workers = min(threads or usable_cores(), n)
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None
        self._generators = self._seeded(seed)
        self.trips = np.zeros((n, 2), np.int64)
        """(N, 2) index of each agent's world and of the trip in it"""
        self.poses = np.zeros((n, 3))
        """(N, 3) m, m, rad"""
        self._left, self._first, self._path = np.zeros(n), np.zeros(n), np.zeros(n)
        self._elapsed = np.zeros(n, np.int64)

    def reset(self, seed: int | None = None) -> dict[str, Array]:
        """Starts every agent anew."""
        if seed is not None:
            self._generators = self._seeded(seed)
        self._restart(range(self.num_envs))
        return self.observe()

    def start(self, i: int, index: int, trip: int) -> None:
        """Puts agent i at the start of a trip of a world, such as those that a table is measured on."""
        world = self.room(index).world
        self.trips[i], self.poses[i] = (index, trip), world.starts[trip]
        self._left[i] = self._first[i] = self.distance(i)
        self._path[i], self._elapsed[i] = 0.0, 0
        self._trail.forget(i)

    def step(self, actions: Sequence[int] | Array) -> NavStep:
        """One action of each agent. Raises ValueError for others than the action space's."""
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,) or not all(self.action_space.contains(int(a)) for a in actions):
            raise ValueError(f"expected {self.num_envs} actions of {self.action_space}, got {actions}")
        config, before = self.config, self._left.copy()
        collision = np.array([self._move(i, int(action)) for i, action in enumerate(actions)])
        self._elapsed += 1
        self._trail.add(self.poses[:, :2])
        self._left = np.array([self.distance(i) for i in range(self.num_envs)])
        there = self._left < config.success_radius
        said = actions == STOP if config.stop else there
        success = said & there
        rewards = (before - self._left - config.slack + config.success_reward * success).astype(np.float32)
        truncated = (self._elapsed >= config.steps) & ~said
        spl = np.where(success, self._first / np.maximum(np.maximum(self._path, self._first), 1e-9), 0.0)
        infos = {"success": success, "collision": collision, "distance": self._left.copy(), "spl": spl}
        ended = np.flatnonzero(said | truncated)
        observations, final = begun_anew(self.observe(), ended, self._restart, self.observe)
        return NavStep(observations, rewards, said, truncated, final, infos)

    def observe(self, ids: Sequence[int] | Array | None = None) -> dict[str, Array]:
        """{name: (N, ...)} of these agents, or all."""
        ids = list(range(self.num_envs)) if ids is None else [int(i) for i in ids]
        images = list(map(self._rgb, ids) if self._pool is None else self._pool.map(self._rgb, ids))
        seen = {"rgb": np.stack(images), "goal": np.stack([self._goal(i) for i in ids])}
        if self.config.trail:
            seen["trail"] = np.stack([self._trail.map(i, self.poses[i]) for i in ids])
        return seen

    def look(self, i: int) -> tuple[Array, Array]:
        """What agent i's camera sees: (3, H, W) uint8, and (H, W) float32 m along the optical axis."""
        x, y, heading = self.poses[i]
        room, shift = self.room(int(self.trips[i, 0])), self.config.shift
        c, s = np.cos(heading), np.sin(heading)
        axes = camera_axes(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]))
        eye = np.array((x, y, room.world.height_at(x, y) + shift.camera_height))
        seed = int(self._generators[i].integers(2**31)) if shift.grain else 0
        image, depth = self._cameras[i].picture(room.scene, eye, axes, seed)
        turned: Array = np.ascontiguousarray(image.transpose(2, 0, 1))
        return 255 - turned if shift.invert else turned, depth

    def room(self, index: int) -> Room:
        """World `index` of the split, under the shift."""
        return get_room(self.config.split, index, self.config.shift)

    def distance(self, i: int) -> float:
        """m of the shortest way from agent i to its goal."""
        return float(distance_at(self._field(i), *self.poses[i, :2]))

    def expert(self, i: int) -> int:
        """The shortest-path follower's action for agent i: down the distances, over half a metre ahead."""
        if self.config.stop and self.distance(i) < self.config.success_radius:
            return STOP
        costs = self._costs(i, self.poses[i, 2] + _TURNS * TURN) + 0.01 * np.abs(_TURNS)
        best = int(np.argmin(costs))
        if costs[0] <= costs[best] + SETTLED:
            return FORWARD
        return LEFT if _TURNS[best] > 0 else RIGHT

    def get_state(self) -> dict[str, Any]:
        """Everything needed to go on but the observations."""
        return {
            **{"trips": self.trips.copy(), "poses": self.poses.copy(), "elapsed": self._elapsed.copy()},
            **{"left": self._left.copy(), "first": self._first.copy(), "path": self._path.copy()},
            "trail": self._trail.get_state(),
            "generators": [one.bit_generator.state for one in self._generators],
        }

    def set_state(self, state: Mapping[str, Any]) -> dict[str, Array]:
        """Goes back to a state; gives its observations: the same ones where cameras have no grain."""
        self.trips, self.poses = np.array(state["trips"]), np.array(state["poses"])
        self._left, self._first = np.array(state["left"]), np.array(state["first"])
        self._trail.set_state(state["trail"])
        self._path, self._elapsed = np.array(state["path"]), np.array(state["elapsed"])
        seen = self.observe()
        # Last: noisy cameras draw from them, and what comes next must be as if nobody had looked.
        for generator, words in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = words
        return seen

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _seeded(self, seed: int | None) -> list[np.random.Generator]:
        return [np_random(None if seed is None else seed + i)[0] for i in range(self.num_envs)]

    def _restart(self, ids: Sequence[int] | Array | range) -> None:
        for i in ids:
            generator = self._generators[i]
            index = self.worlds[generator.integers(len(self.worlds))]
            self.start(int(i), index, int(generator.integers(TRIPS)))

    def _move(self, i: int, action: int) -> bool:
        """Whether a step forward was held up."""
        x, y, heading = self.poses[i]
        if action in (LEFT, RIGHT):
            turned = heading + (TURN if action == LEFT else -TURN)
            self.poses[i, 2] = np.arctan2(np.sin(turned), np.cos(turned))
            return False
        if action == STOP:
            return False
        place = self.room(int(self.trips[i, 0])).place
        ahead = x + STRIDE * np.cos(heading), y + STRIDE * np.sin(heading)
        middle = (x + ahead[0]) / 2, (y + ahead[1]) / 2
        if gap_at(place, *np.array((ahead, middle)).T).min() < RADIUS:
            return True
        self.poses[i, :2] = ahead
        self._path[i] += STRIDE
        return False

    def _rgb(self, i: int) -> Array:
        return self.look(i)[0]

    def _goal(self, i: int) -> Array:
        x, y, heading = self.poses[i]
        index, trip = self.trips[i]
        dx, dy = self.room(int(index)).world.goals[trip] - (x, y)
        bearing = np.arctan2(dy, dx) - heading
        far = np.hypot(dx, dy)
        return np.array((np.cos(bearing), np.sin(bearing), far, np.exp(-far)), np.float32)

    def _costs(self, i: int, headings: Array) -> Array:
        """m left after half a metre in each direction; much where the way there is not free."""
        place = self.room(int(self.trips[i, 0])).place
        x, y = self.poses[i, :2]
        c, s = np.cos(headings), np.sin(headings)
        # From a place beside the planner's ways, any way with room for the disc is better than none.
        room = gap_at(place, x + np.outer(_NEAR, c), y + np.outer(_NEAR, s)).min(0)
        left = distance_at(self._field(i), x + 0.5 * c, y + 0.5 * s)
        costs: Array = left + 100.0 * (room < RADIUS) + 1.0 * (room < CLEARANCE - 0.06)
        return costs

    def _field(self, i: int) -> Array:
        index, trip = (int(part) for part in self.trips[i])
        return distances(self.config.split, index, trip, self.config.shift)
