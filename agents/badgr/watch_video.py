"""A drive as a video, and one of its frames as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.overlay import CameraView
from agents.badgr.watch_moment import STEP, Moment
from agents.badgr.watch_screen import Screen
from envs.rover.world import World
from envs.video import VideoFile

Array = NDArray[Any]

HOLD = 1.5
"""s that the last frame stays"""
SETTLED = 2.0
"""s of a drive before a moment makes a good picture"""


class DriveVideo:
    """Writes `path` when it is closed after `end`; nothing is left of a drive that did not end.

    speed: times as fast as it happened. chase: with the view from behind, where OpenGL is there. picture:
    .png of the frame in which candidates cost most differently: there was something to choose. Raises
    ValueError for a file that is no .mp4.
    """

    def __init__(
        self, path: Path, speed: float = 2.0, *, chase: bool = True, picture: Path | None = None
    ) -> None:
        if path.suffix.lower() != ".mp4":
            raise ValueError(f"videos are written as .mp4, which every browser plays; got {path.name}")
        if not 0.1 <= speed <= 30:
            raise ValueError(f"speed must be 0.1 to 30 times that of the drive, got {speed}")
        self.path, self.picture, self.speed = path, picture, speed
        self._chase = chase
        self._screen: Screen | None = None
        self._last: Moment | None = None
        self._best: tuple[float, Array] | None = None
        self._ended = False

    def begin(self, title: str, world: World | None, view: CameraView | None) -> None:
        """A drive."""
        self._screen = Screen(title, world, view, chase=self._chase)
        self._file = VideoFile(self.path, self.speed / STEP)

    def show(self, moment: Moment) -> None:
        """A decision."""
        assert self._screen is not None, "begin comes first"
        self._screen.take(moment)
        frame = self._screen.draw(moment)
        self._file.add(frame)
        self._last = moment
        worth = _choice(moment)
        if self.picture is not None and (self._best is None or worth > self._best[0]):
            self._best = worth, frame

    def end(self, words: str) -> None:
        """What came of it, across the last frame."""
        if self._screen is not None and self._last is not None:
            frame = self._screen.draw(self._last, words)
            for _ in range(max(round(HOLD * self.speed / STEP), 1)):
                self._file.add(frame)
        self._ended = True

    def close(self) -> None:
        """Finishes the files."""
        if self._screen is None:
            return
        self._screen.close()
        if not self._ended:
            self._file.discard()
            return
        self._file.close()
        if self.picture is not None and self._best is not None:
            from PIL import Image

            self.picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(self._best[1]).save(self.picture)


def _choice(moment: Moment) -> float:
    """How much there was to choose: the spread of the candidates' costs; the start shows no way behind it."""
    if moment.ways is None:
        return 0.0
    finite = moment.ways.cost[np.isfinite(moment.ways.cost)]
    spread = float(finite.std()) if len(finite) else 0.0
    return spread if moment.seconds >= SETTLED else 1e-3 * spread
