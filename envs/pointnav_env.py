"""PointNav of one agent as gymnasium knows environments."""

from __future__ import annotations

from typing import Any

import gymnasium

from envs.batch import Array
from envs.pointnav import PointNav, PointNavConfig

Observation = dict[str, Array]


class PointNavEnv(gymnasium.Env[Observation, int]):
    """`PointNav` of one. reset(options={"world": w, "trip": t}) begins with a trip of choice.

    info: "success", "collision", "distance" m, and "spl" in an episode's last step.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - gymnasium's own form

    def __init__(self, config: PointNavConfig | None = None, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f'render_mode of PointNav is None or "rgb_array", got {render_mode!r}')
        self.render_mode = render_mode
        self.nav = PointNav(config, 1, threads=1)
        self.observation_space, self.action_space = self.nav.observation_space, self.nav.action_space
        self._shown: Observation | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self._shown = _first(self.nav.reset(seed))
        if options:
            self.nav.start(0, int(options["world"]), int(options["trip"]))
            self._shown = _first(self.nav.observe())
        return self._shown, {"distance": self.nav.distance(0)}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        step = self.nav.step([int(action)])
        # The batch has begun the next episode already; reset draws another one.
        self._shown = _first(step.final_observations or step.observations)
        ended = bool(step.terminated[0]), bool(step.truncated[0])
        info = {name: value[0].item() for name, value in step.infos.items() if name != "spl" or any(ended)}
        return self._shown, float(step.rewards[0]), *ended, info

    def expert(self) -> int:
        """The shortest-path follower's action."""
        return self.nav.expert(0)

    def render(self) -> Array | None:
        if self.render_mode is None or self._shown is None:
            return None
        image: Array = self._shown["rgb"].transpose(1, 2, 0).copy()
        return image

    def close(self) -> None:
        self.nav.close()


def _first(observations: Observation) -> Observation:
    return {name: seen[0] for name, seen in observations.items()}
