"""Who drives while experience is gathered: any agent, kept inside a fence and got free by manoeuvres.

The real robot uses the same class: NumPy only, nothing but the robot's own sensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.geofence import Geofence
from agents.badgr.recovery import Recovery, Trouble
from envs.recording import Agent

Array = NDArray[Any]


class CollectAgent:
    """An Agent around another, `driver`. Actions: (2,) float32 rad/s to the left, m/s forward.

    After each `act`: `resetting`, whether the action belongs to a manoeuvre and is no experience; `rescue`,
    why a person must put the robot elsewhere, else None. A robot to be rescued is told to stand.
    """

    def __init__(self, driver: Agent, recovery: Recovery, fence: Geofence | None = None) -> None:
        self._driver, self._recovery, self._fence = driver, recovery, fence
        self.reset()

    def reset(self) -> None:
        """A new start, at rest."""
        self._driver.reset()
        self._recovery.reset()
        if self._fence is not None:
            self._fence.reset()
        self.rescue: Trouble | None = None

    @property
    def resetting(self) -> bool:
        return self._recovery.resetting

    @property
    def manoeuvres(self) -> dict[Trouble, int]:
        """{trouble: manoeuvres begun for it} since the start."""
        return dict(self._recovery.counts)

    def act(self, observation: Mapping[str, Array]) -> Array:
        """observation: the rover's streams, see `Recovery.step` and `Localizer.update`."""
        was_resetting = self._recovery.resetting
        steering = self._fence.look(observation) if self._fence is not None else None
        action = self._recovery.step(observation)
        self.rescue = self._recovery.rescue
        if self._fence is not None and self._fence.lost:
            self.rescue = "outside"
        if self.rescue is not None:
            return np.zeros(2, np.float32)
        if action is not None:
            return action
        if was_resetting:
            self._driver.reset()
        action = np.array(self._driver.act(observation), np.float32)
        if steering is not None:
            action[0] = steering
        self._recovery.remember(action)
        return action
