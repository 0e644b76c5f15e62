"""A drive live in Rerun's viewer, or in a file that it opens: the same four views, to zoom and to rewind."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.overlay import CHOSEN, CameraView, Ways
from agents.badgr.watch_moment import Moment, to_map
from agents.badgr.watch_panels import COLOURS, SPARE
from envs.rover.map_view import GOAL, ROVER, TRACK, WorldMap
from envs.rover.world import World

Array = NDArray[Any]

logger = logging.getLogger(__name__)

TIMELINE = "drive"
SCALE = 12.0
"""pixels a metre of the map's picture"""
MEMORY = "1GB"
"""that the viewer may take: older moments are forgotten then"""
FLUSH_SECONDS = 10.0
"""that the end of a drive may take to reach the viewer"""


class NoViewerError(RuntimeError):
    """Rerun or a screen is missing; the message says how to get it, and what goes without."""


class RerunView:
    """Shows moments as they come, at the speed at which they happened. file: .rrd to write in place of that.

    speed: times as fast as it happened. Raises NoViewerError where Rerun or a screen is missing.
    """

    def __init__(self, file: Path | None = None, speed: float = 1.0) -> None:
        try:
            import rerun
        except ModuleNotFoundError:
            raise NoViewerError(
                "showing a drive live needs Rerun: pip install 'surefoot[watch]' (or rerun-sdk); without it, "
                "write a video: --video drive.mp4"
            ) from None
        if file is None and not _has_screen():
            raise NoViewerError(
                "this machine has no screen for Rerun's window: write a video, --video drive.mp4, or a file "
                "to open elsewhere, --save drive.rrd"
            )
        self._rr: Any = rerun
        self._recording: Any = rerun.RecordingStream("surefoot")
        self._file, self._speed = file, speed
        self._world: World | None = None
        self._view: CameraView | None = None
        self._track: list[tuple[float, float]] = []
        self._began = time.monotonic()

    def begin(self, title: str, world: World | None, view: CameraView | None) -> None:
        """A drive; the map is sent once."""
        self._world, self._view, self._track = world, view, []
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._recording.save(str(self._file), default_blueprint=self._layout())
        else:
            with _own_programs_first():
                self._recording.spawn(memory_limit=MEMORY, default_blueprint=self._layout())
        if world is not None:
            ground = self._rr.Image(WorldMap(world, SCALE).draw()).compress(jpeg_quality=90)
            self._recording.log("map/ground", ground, static=True)
        self._say(title)
        self._began = time.monotonic()

    def show(self, moment: Moment) -> None:
        """A decision."""
        if self._file is None:
            time.sleep(max(self._began + moment.seconds / self._speed - time.monotonic(), 0.0))
        rr, log = self._rr, self._recording.log
        self._recording.set_time(TIMELINE, duration=moment.seconds)
        self._track.append(moment.pose[:2])
        log("camera/picture", rr.Image(moment.image))
        self._camera_ways(moment.ways)
        self._map(moment)
        for name, values in moment.foretold.items():
            log(f"plan/{name}", rr.BarChart(np.asarray(values, np.float64), color=COLOURS.get(name, SPARE)))
            log(f"events/{name}/foretold", rr.Scalars([float(np.max(values))]))
        for source, marks in moment.happened.items():
            for name, (happened, known) in marks.items():
                if len(happened) and known[-1]:
                    log(f"events/{name}/{source}", rr.Scalars([float(happened[-1])]))
        if moment.words:
            self._say(moment.words)

    def end(self, words: str) -> None:
        """What came of it."""
        self._say(words)

    def close(self) -> None:
        """Everything is sent, or written. A viewer that is gone is not waited for."""
        try:
            self._recording.flush(timeout_sec=FLUSH_SECONDS)
        except RuntimeError as error:
            logger.warning("Rerun's viewer did not take everything: %s", error)
        self._recording.disconnect()

    def _camera_ways(self, ways: Ways | None) -> None:
        strips, colours = [], []
        if ways is not None and self._view is not None:
            shown = [*ways.shown(), (ways.plan, CHOSEN)]
            for way, colour in shown:
                for line in self._view.lines(way):
                    strips.append(line)
                    colours.append(colour)
        radii = [0.25] * max(len(strips) - 1, 0) + [0.8] * (len(strips) > 0)
        self._recording.log("camera/ways", self._rr.LineStrips2D(strips, colors=colours, radii=radii))

    def _map(self, moment: Moment) -> None:
        rr, log = self._rr, self._recording.log
        log("map/track", rr.LineStrips2D([self._pixels(np.array(self._track))], colors=[TRACK], radii=[2.0]))
        if moment.ways is not None:
            shown = [*moment.ways.shown(), (moment.ways.plan, CHOSEN)]
            strips = [self._pixels(to_map(way, moment.pose)) for way, _ in shown]
            radii = [0.5] * (len(strips) - 1) + [1.5]
            log("map/ways", rr.LineStrips2D(strips, colors=[colour for _, colour in shown], radii=radii))
        else:
            log("map/ways", rr.LineStrips2D([]))
        places, colours = [np.array(moment.pose[:2])], [ROVER]
        if moment.goal is not None:
            places, colours = [*places, np.asarray(moment.goal)], [ROVER, GOAL]
        log("map/places", rr.Points2D(self._pixels(np.stack(places)), colors=colours, radii=5.0))

    def _pixels(self, places: Array) -> Array:
        """(T, 2) on the map's picture, or m with y downward where there is none."""
        if self._world is None:
            flipped: Array = places * (1.0, -1.0)
            return flipped
        height = round(self._world.size[1] * SCALE)
        return np.stack([places[:, 0] * SCALE, height - 1 - places[:, 1] * SCALE], axis=1)

    def _say(self, words: str) -> None:
        self._recording.log("words", self._rr.TextLog(words))

    def _layout(self) -> Any:
        import rerun.blueprint as rrb

        share = rrb.ScalarAxis(range=(-0.05, 1.05))
        events = [rrb.TimeSeriesView(origin=f"events/{name}", name=name, axis_y=share) for name in COLOURS]
        plan = [rrb.BarChartView(origin=f"plan/{name}", name=f"{name}, next 2 s") for name in COLOURS]
        return rrb.Blueprint(
            rrb.Horizontal(
                rrb.Vertical(rrb.Spatial2DView(origin="camera", name="camera"), rrb.Horizontal(*plan)),
                rrb.Vertical(rrb.Spatial2DView(origin="map", name="map"), rrb.Vertical(*events)),
            ),
            collapse_panels=True,
        )


@contextlib.contextmanager
def _own_programs_first() -> Iterator[None]:
    """Rerun looks for its viewer along PATH, which lacks a virtual environment that is not activated."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _has_screen() -> bool:
    """Whether a window can open; only Linux goes without."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
