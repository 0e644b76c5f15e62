"""The program of Habitat's process: hosts one habitat.Env and does what it is told over a socket.

Started by `envs.habitat_process`. Messages: first the settings; then {"kind": "reset" | "step" |
"expert", ...}. Ends when the other side closes.
"""

from __future__ import annotations

import os
import random
import socket
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from envs.habitat_lab import build, check_installation
from envs.habitat_process import REFUSALS
from envs.habitat_protocol import Arrays, Message, receive, send

ACTIONS = ("stop", "move_forward", "turn_left", "turn_right")


class Host:
    """One habitat.Env; each method answers one kind of message."""

    def __init__(self, settings: Message) -> None:
        self._nav = settings["nav"]
        self._rooms = not settings["scenes"]
        with tempfile.TemporaryDirectory() as folder:
            if not settings["episodes"]:
                from envs.habitat_episodes import write_episodes

                path = Path(folder) / "rooms.json.gz"
                write_episodes(path, self._nav["split"], self._nav["indices"])
                settings = {**settings, "episodes": str(path)}
            self.env, self.episodes = build(settings)
        self._numbers = {episode.episode_id: k for k, episode in enumerate(self.episodes)}
        self._moves = 0
        self._follower: Any = None

    def describe(self) -> tuple[Message, Arrays]:
        """Spaces, how many episodes, and the scene of each as a number."""
        spaces = {name: _space(space) for name, space in self.env.observation_space.spaces.items()}
        names = [episode.scene_id for episode in self.episodes]
        numbers = {name: k for k, name in enumerate(dict.fromkeys(names))}
        scenes = np.array([numbers[name] for name in names], np.int64)
        return {"spaces": spaces, "versions": check_installation()}, {"scenes": scenes}

    def answer(self, message: Message) -> tuple[Message, Arrays]:
        kinds = {"reset": self.reset, "step": self.step, "expert": self.expert}
        return kinds[message["kind"]](message)

    def reset(self, message: Message) -> tuple[Message, Arrays]:
        """Begins an episode, by number or name, and makes the moves of `replay`."""
        wanted = message["episode"]
        k = self._numbers.get(wanted, -1) if isinstance(wanted, str) else int(wanted)
        if not 0 <= k < len(self.episodes):
            raise LookupError(f"there is no episode {wanted!r}; the data set has {len(self.episodes)}")
        # Sensors with noise draw from these.
        random.seed(message["seed"])
        np.random.seed(message["seed"] % 2**32)  # noqa: NPY002 - the one that Habitat draws from
        self.env.sim.seed(message["seed"])
        self.env.current_episode = self.episodes[k]
        self._moves = 0
        try:
            seen, told = self.env.reset(), {"terminated": False, "truncated": False}
        except ZeroDivisionError:  # Habitat's SPL, of an episode that begins at its goal
            episode = self.episodes[k]
            names = {"episode_id": str(episode.episode_id), "scene_id": str(episode.scene_id)}
            return {"episode": k, "info": {**names, "distance_to_goal": 0.0}}, {}
        for action in message["replay"]:
            seen, told = self._act(action)
        return {"episode": k, **told, "info": self._info()}, _arrays(seen)

    def step(self, message: Message) -> tuple[Message, Arrays]:
        seen, told = self._act(message["action"])
        return {**told, "info": self._info()}, _arrays(seen)

    def expert(self, message: Message) -> tuple[Message, Arrays]:
        """What the shortest-path follower would do now."""
        if self._rooms:
            return {"action": self.env.sim.walker.expert(0)}, {}
        return {"action": self._greedy()}, {}

    def _greedy(self) -> int:
        from habitat.tasks.nav.shortest_path_follower import ShortestPathFollower

        if self._follower is None:
            radius = self._nav["success_radius"]
            self._follower = ShortestPathFollower(self.env.sim, radius, return_one_hot=False)
        action = self._follower.get_next_action(self.env.current_episode.goals[0].position)
        return 0 if action is None else int(action)

    def _act(self, action: int) -> tuple[Any, Message]:
        seen = self.env.step(ACTIONS[action])
        self._moves += 1
        if not self._nav["stop"] and self._there():
            seen = self.env.step("stop")
        terminated = bool(self.env.task.is_stop_called)
        over = bool(self.env.episode_over) or self._moves >= self._nav["steps"]
        return seen, {"terminated": terminated, "truncated": over and not terminated}

    def _there(self) -> bool:
        away: float = self.env.get_metrics()["distance_to_goal"]
        return away < self._nav["success_radius"]

    def _info(self) -> Message:
        episode = self.env.current_episode
        return {
            **_numbers_in(self.env.get_metrics()),
            "episode_id": str(episode.episode_id),
            "scene_id": str(episode.scene_id),
        }


def main(descriptor: int, numba: str) -> None:
    """Serves until the other side closes. numba: its version, whose machine code may be shared."""
    wire = socket.socket(fileno=descriptor)
    wire.settimeout(None)
    _choose_cache(numba)
    host = None
    try:
        settings, _ = receive(wire)
        try:
            host = Host(settings)
            send(wire, *host.describe())
        except Exception as error:
            send(wire, _refusal(error, fatal=True))
            return
        while True:
            message, _ = receive(wire)
            try:
                answer = host.answer(message)
            except Exception as error:
                send(wire, _refusal(error, fatal=False))
                continue
            send(wire, *answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # nobody needs us any more
    finally:
        if host is not None:
            host.env.close()


def _refusal(error: Exception, fatal: bool) -> Message:
    kind = type(error).__name__ if type(error) in REFUSALS else ""  # a KeyError is none of them
    return {"error": kind, "text": str(error), "trace": traceback.format_exc(), "fatal": fatal}


def _space(space: Any) -> Message:
    return {
        "low": float(np.min(space.low)),
        "high": float(np.max(space.high)),
        "shape": list(space.shape),
        "dtype": space.dtype.str,
    }


def _arrays(seen: Any) -> Arrays:
    return {name: np.asarray(value) for name, value in seen.items()}


def _numbers_in(measures: Any, before: str = "") -> dict[str, float]:
    """Flat: {"collisions": {"count": 1}} is {"collisions.count": 1.0}."""
    flat: dict[str, float] = {}
    for name, value in measures.items():
        if isinstance(value, dict):
            flat.update(_numbers_in(value, f"{before}{name}."))
        elif np.ndim(value) == 0 and not isinstance(value, str):
            flat[before + name] = float(value)
    return flat


def _choose_cache(numba: str) -> None:
    """Two versions of numba in one folder would throw out each other's machine code again and again."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        same = version("numba") == numba
    except PackageNotFoundError:
        return
    if not same:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        os.environ["XDG_CACHE_HOME"] = str(Path(base) / "surefoot" / "habitat")
