"""What a Habitat-Lab PointNav environment is made of."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from envs.pointnav import PointNavConfig

SENSORS = ("gps", "compass")
"""Habitat-Lab's sensors that may be observed besides camera, depth and pointgoal_with_gps_compass"""


@dataclass(frozen=True)
class HabitatConfig:
    """PointNav in Habitat-Lab, over our rooms or over habitat-sim's scenes.

    The reward is `envs.pointnav`'s: metres nearer along the way, less `nav.slack`, and `nav.success_reward`.
    """

    nav: PointNavConfig = field(default_factory=PointNavConfig)
    """picture, camera, STOP, success radius, steps and reward; and the rooms, where `scenes` is empty"""
    scenes: str = ""
    """folder of habitat-sim's scenes; empty: our own rooms, without habitat-sim"""
    episodes: str = ""
    """a PointNav-v1 data set (.json.gz); empty: every trip of our rooms"""
    sensors: tuple[str, ...] = ()
    """more of Habitat-Lab's sensors, out of SENSORS"""
    timeout: float = 600.0
    """s to wait for an answer of Habitat's process before it is given up"""

    def __post_init__(self) -> None:
        unknown = [name for name in self.sensors if name not in SENSORS]
        if unknown:
            raise ValueError(f"the sensors are {', '.join(SENSORS)}, got {', '.join(unknown)}")
        if self.nav.trail:
            raise ValueError("Habitat-Lab has no trail: use envs.pointnav, or nav with trail=False")
        if self.nav.shift.field_of_view != round(self.nav.shift.field_of_view):
            raise ValueError(f"Habitat-Lab takes whole degrees, got {self.nav.shift.field_of_view}")
        if self.scenes and not self.episodes:
            raise ValueError("habitat-sim's scenes need episodes: the path of a PointNav-v1 .json.gz")
        if not self.timeout > 0:
            raise ValueError(f"timeout must be positive, got {self.timeout}")
        for path in (self.scenes, self.episodes):
            if path and not Path(path).exists():
                raise FileNotFoundError(f"there is no {path}: Habitat's data is downloaded separately")

    def settings(self) -> dict[str, Any]:
        """For Habitat's process, as JSON holds it; paths made absolute."""
        paths = {name: str(Path(path).absolute()) if path else "" for name, path in self._paths().items()}
        return {**asdict(self), **paths}

    def _paths(self) -> dict[str, str]:
        return {"scenes": self.scenes, "episodes": self.episodes}


def habitat_test_scenes() -> HabitatConfig:
    """Habitat's test scenes, where its own downloader puts them: below SUREFOOT_HABITAT_DATA, or data/.

    Raises FileNotFoundError where they are not.
    """
    data = Path(os.environ.get("SUREFOOT_HABITAT_DATA", "data"))
    episodes = data / "datasets" / "pointnav" / "habitat-test-scenes" / "v1" / "train" / "train.json.gz"
    return HabitatConfig(scenes=str(data / "scene_datasets"), episodes=str(episodes))
