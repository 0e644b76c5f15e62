"""`surefoot watch`: a rover on a simulated trip, or a recorded drive, live in Rerun or as a video."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from agents.badgr.evaluate import EvaluationConfig, World
from agents.badgr.evaluate_job import BASELINES, MODEL_FILE
from agents.badgr.methods import Method
from agents.badgr.model_file import read_model
from agents.badgr.overlay import CameraView
from agents.badgr.trials import Trial
from agents.badgr.watch_moment import Moment
from agents.settings import with_settings
from envs.rover.camera import BADGR_LENS
from envs.rover.rovers import Rovers
from envs.rover.world import World as RoverWorld
from envs.rover.worlds import Split


class View(Protocol):
    """Where a drive is shown."""

    def begin(self, title: str, world: RoverWorld | None, view: CameraView | None) -> None:
        """A drive, in a world with a map if there is one, through a camera that is known or not."""
        ...

    def show(self, moment: Moment) -> None:
        """A decision."""
        ...

    def end(self, words: str) -> None:
        """What came of it."""
        ...

    def close(self) -> None:
        """Finishes what was shown; of a drive that did not end, no file is left."""
        ...


def watch(
    source: Path, views: Sequence[View], *, world: World = "urban", split: Split = "test", trip: int = 0,
    method: Method | None = None, episode: int = 0, model: Path | None = None, settings: Sequence[str] = (),
) -> str:  # fmt: skip
    """Shows a trip that the model in `source` drives, or (a folder of recorded drives) one of those.

    source: run, model file, folder of drives, or the word for no model. method: who drives, by default the
    model. model: what foretells a recorded drive. Gives what came of it in a sentence.
    """
    with ExitStack() as opened:
        for view in views:
            opened.callback(view.close)
        if (source / "dataset.json").exists():
            return watch_recorded(source, episode, views, model)
        found = _model(source)
        chosen: Method = method or ("badgr" if found else "straight")
        config = EvaluationConfig(world=world, split=split, methods=(chosen,), model=str(found or ""))
        result = watch_driven(with_settings(config, settings), chosen, trip, views)
        return sentence(result)


def watch_driven(config: EvaluationConfig, method: Method, number: int, views: Sequence[View]) -> Trial:
    """Drives trip `number` of the evaluation with these settings."""
    from envs.rendering import choose_gl

    choose_gl()  # before mujoco is imported, which the simulator does
    from agents.badgr.watch_screen import rover_view
    from agents.badgr.watch_trip import watch_trip

    if number < 0:
        raise ValueError(f"trips are counted from 0, got {number}")

    def begin(rovers: Rovers) -> None:
        name = rovers.prepared(0).world.name
        for view in views:
            view.begin(f"{method} · {name} · trip {number}", rovers.prepared(0).world, rover_view())

    def show(moment: Moment) -> None:
        for view in views:
            view.show(moment)

    trial = watch_trip(config, method, number, show, begin)
    for view in views:
        view.end(sentence(trial))
    return trial


def watch_recorded(folder: Path, number: int, views: Sequence[View], model: Path | None = None) -> str:
    """Shows a recorded drive again."""
    from envs.rendering import choose_gl

    choose_gl()
    from agents.badgr.watch_drives import moments, open_drive
    from agents.badgr.watch_screen import rover_view

    drive = open_drive(folder, number)
    foresight: Any = None
    if model is not None:
        from agents.badgr.predictor import Predictor

        foresight = Predictor(_model(model) or model, threads=1)
    # A camera of another size is another camera: where its ways would lie is not known.
    usual = drive.episode.observations["image"].shape[1:3] == (BADGR_LENS.height, BADGR_LENS.width)
    for view in views:
        view.begin(drive.title, drive.world, rover_view() if usual else None)
    for moment in moments(drive, foresight):
        for view in views:
            view.show(moment)
    words = f"the end, after {drive.episode.times[-1] - drive.episode.times[0]:.0f} s"
    for view in views:
        view.end(words)
    return f"{drive.title}: {words}"


def sentence(trial: Trial) -> str:
    """ "reached after 31 s, 24 m"."""
    return f"{trial.outcome} after {trial.seconds:.0f} s, {trial.path:.1f} m"


def _model(source: Path) -> Path | None:
    """The model file of a run, or itself. Raises SpecError where there is none."""
    if source == BASELINES and not source.exists():
        return None
    about = source / "run.json"
    if source.is_dir() and about.exists():
        kind = json.loads(about.read_text(encoding="utf-8")).get("kind")
        if kind != "BadgrConfig":
            raise ValueError(
                f"{source} is a run of another kind ({kind}): give a run of `surefoot train badgr`, a model "
                "file, a folder of recorded drives, or the word baselines"
            )
    path = source / MODEL_FILE if source.is_dir() else source
    read_model(path)
    return path
