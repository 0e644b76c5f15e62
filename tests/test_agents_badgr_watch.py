"""What `surefoot watch` shows: trips as the evaluation drives them, recorded drives as they were labelled."""

import dataclasses
import itertools
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from agents.badgr.evaluate import EvaluationConfig
from agents.badgr.events import URBAN, label_episode
from agents.badgr.methods import agent_maker
from agents.badgr.overlay import CHOSEN, Ways
from agents.badgr.spec import SpecError
from agents.badgr.trials import drive_trials
from agents.badgr.watch import sentence, watch, watch_driven
from agents.badgr.watch_drives import moments, open_drive
from agents.badgr.watch_moment import PAST, Moment, latest, to_map
from agents.badgr.watch_rerun import NoViewerError, RerunView
from agents.badgr.watch_screen import PANEL, Screen, rover_view
from agents.badgr.watch_video import DriveVideo
from envs.dataset import EpisodeDataset

calm_network = runpy.run_path(str(Path(__file__).with_name("badgr_calm.py")))["calm_network"]
toy = runpy.run_path(str(Path(__file__).with_name("badgr_drives.py")))
EVENTS = ("collision", "bumpy", "stuck")


class Kept:
    """A view that keeps what it is shown."""

    def __init__(self) -> None:
        self.title, self.words, self.closed = "", "", False
        self.moments: list[Moment] = []

    def begin(self, title, world, view) -> None:
        self.title, self.world, self.view = title, world, view

    def show(self, moment: Moment) -> None:
        self.moments.append(moment)

    def end(self, words: str) -> None:
        self.words = words

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy["record_toy"](tmp_path_factory.mktemp("watch") / "drives", 3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained, for the toy's pictures."""
    import torch

    from agents.badgr.export import export_model
    from agents.badgr.model_file import write_model

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "toy.model"
    write_model(path, export_model(calm_network(toy["SPEC"])))
    return path


def moment(**changes) -> Moment:
    """A made-up one, with three ways."""
    share = np.linspace(0.2, 1.6, 8)
    fan = np.stack([np.stack([share, side * share], 1) for side in (-0.4, 0.0, 0.4)])
    known = {name: (np.zeros(8, bool), np.ones(8, bool)) for name in EVENTS}
    made = Moment(
        seconds=2.0,
        image=np.full((96, 128, 3), 60, np.uint8),
        pose=(5.0, 5.0, 0.0),
        goal=np.array([40.0, 5.0]),
        ways=Ways(fan, np.array([0.2, 0.5, 0.9]), fan[1]),
        foretold={name: np.linspace(0.1, 0.9, 8) for name in EVENTS},
        happened={"truth": known, "sensors": known},
        speed=0.8,
    )
    return dataclasses.replace(made, **changes)


def test_a_watched_trip_is_the_evaluations_trip() -> None:
    """Also though a method that does not look gets a smaller camera there."""
    config = EvaluationConfig(methods=("straight",), seconds=5.0)
    kept = Kept()
    watched = watch_driven(config, "straight", 3, [kept])
    (alone,) = drive_trials(
        config.rover("straight"), [3], agent_maker("straight"), seed=config.seed, seconds=5.0
    )
    np.testing.assert_array_equal(watched.track, alone.track)
    assert watched.outcome == alone.outcome
    assert kept.words == sentence(watched)
    assert "straight · urban/test/3 · trip 3" in kept.title
    shown = np.array([one.pose[:2] for one in kept.moments])
    np.testing.assert_allclose(shown, alone.track, atol=1e-9)
    assert [one.seconds for one in kept.moments] == [step * 0.25 for step in range(21)]
    last = kept.moments[-1]
    assert len(last.happened["truth"]["bumpy"][0]) == 20
    assert len(last.happened["sensors"]["bumpy"][0]) == 20
    assert last.image.shape == (96, 128, 3)
    assert last.ways is None


def test_a_recorded_drive_is_shown_with_its_labels_and_its_way(drives: Path) -> None:
    with EpisodeDataset(drives, read_only=True) as dataset:
        episode = dataset[dataset.ids[1]]
    labels = label_episode(episode, URBAN)
    shown = list(moments(open_drive(drives, 1)))
    assert len(shown) == len(episode) + 1
    np.testing.assert_allclose([one.pose for one in shown], labels.pose)
    np.testing.assert_array_equal(shown[-1].image, episode.observations["image"][-1])
    happened, known = shown[-1].happened["sensors"]["collision"]
    np.testing.assert_array_equal(happened, labels.events["collision"][-PAST:])
    np.testing.assert_array_equal(known, labels.known["collision"][-PAST:])
    np.testing.assert_array_equal(shown[-1].happened["truth"]["bumpy"][0], episode.info["bumpy"])
    assert shown[0].happened["sensors"]["collision"][0].shape == (0,)
    assert shown[0].foretold == {}


def test_a_model_foretells_what_the_driven_actions_bring(drives: Path, model: Path) -> None:
    from agents.badgr.predictor import Predictor

    predictor = Predictor(model)
    drive = max((open_drive(drives, number) for number in range(3)), key=len)
    first = next(iter(moments(drive, predictor)))
    horizon = predictor.spec.horizon
    actions = drive.episode.actions[None, :horizon]
    predictor.look(np.asarray(drive.episode.observations["image"][0]))
    said = predictor.predict(actions)
    np.testing.assert_allclose(first.foretold["collision"], said.events["collision"][0], atol=1e-6)
    assert first.ways is not None
    np.testing.assert_allclose(first.ways.chosen, said.position[0], atol=1e-6)
    assert list(moments(drive, predictor))[-1].ways is None, "nothing was driven after the end"


def test_wrong_drives_models_and_files_are_named(drives: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has drives 0 to 2, there is no 3"):
        watch(drives, [], episode=3)
    with pytest.raises(SpecError, match="the model expects images"):
        watch(model, [], trip=0)
    with pytest.raises(SpecError, match="there is no model"):
        watch(tmp_path / "nothing", [])
    with pytest.raises(ValueError, match="trips are counted from 0"):
        watch(Path("baselines"), [], trip=-1)
    with pytest.raises(ValueError, match=r"written as \.mp4"):
        DriveVideo(tmp_path / "drive.webm")
    with pytest.raises(ValueError, match="speed must be"):
        DriveVideo(tmp_path / "drive.mp4", speed=0.0)
    (tmp_path / "run.json").write_text('{"kind": "PreferenceConfig"}')
    with pytest.raises(ValueError, match="a run of another kind"):
        watch(tmp_path, [])


def test_a_drive_becomes_a_video_with_a_frame_for_each_decision(drives: Path, tmp_path: Path) -> None:
    import av

    view = DriveVideo(tmp_path / "drive.mp4", speed=2.0, chase=False)
    said = watch(drives, [view], episode=-1)
    assert "drive 2 of drives" in said
    drive = open_drive(drives, 2)
    with av.open(str(tmp_path / "drive.mp4")) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.average_rate) == 8.0
    assert len(frames) == len(drive) + 12
    assert frames[0].shape[1] == 2 * PANEL[0]
    assert [path.name for path in tmp_path.iterdir()] == ["drive.mp4"]


def test_a_drive_that_breaks_off_leaves_no_video(drives: Path, tmp_path: Path) -> None:
    class Broken(Kept):
        def show(self, moment: Moment) -> None:
            raise OSError("the screen fell over")

    kept = Kept()
    with pytest.raises(OSError, match="fell over"):
        watch(drives, [DriveVideo(tmp_path / "drive.mp4", chase=False), kept, Broken()])
    assert list(tmp_path.iterdir()) == []
    assert kept.closed


def test_a_frame_shows_camera_events_and_map_without_opengl() -> None:
    with Screen("test", None, rover_view(), chase=False) as screen:
        before = moment(seconds=1.75)
        screen.take(before)
        shown = moment()
        screen.take(shown)
        frame = screen.draw(shown)
    width, height = PANEL
    assert frame.shape == (2 * height + 34, 2 * width, 3)
    camera, plot, where = frame[34 : 34 + height, :width], frame[34 + height :, :width], frame[34:, width:]
    assert (camera == CHOSEN).all(-1).sum() > 200
    assert (where == CHOSEN).all(-1).sum() > 50
    for colour in ((226, 73, 73), (240, 180, 60), (178, 122, 235)):
        assert (plot == colour).all(-1).sum() > 1000, "bars of every event"
    with Screen("test", None, rover_view(), chase=False) as screen:
        calm = moment(ways=None, foretold={})
        screen.take(calm)
        still = screen.draw(calm, "reached")
    assert (still[34 : 34 + height, :width] == CHOSEN).all(-1).sum() < 50


def test_the_map_turns_the_robots_frame() -> None:
    ahead, left = np.array([[1.0, 0.0], [0.0, 1.0]])
    placed = to_map(np.stack([ahead, left]), (2.0, 3.0, np.pi / 2))
    np.testing.assert_allclose(placed, [(2.0, 4.0), (1.0, 3.0)], atol=1e-12)


def test_marks_end_with_the_step_just_driven() -> None:
    happened = {"bumpy": np.arange(100) % 7 == 0}
    marks, known = latest(happened, None, 60)["bumpy"]
    assert len(marks) == PAST
    np.testing.assert_array_equal(marks, happened["bumpy"][60 - PAST : 60])
    assert known.all()


def test_without_rerun_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(NoViewerError, match=r"pip install 'surefoot\[watch\]'.*--video"):
        RerunView()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a screen")
def test_without_a_screen_the_message_names_what_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rerun")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NoViewerError, match=r"no screen.*--video drive\.mp4.*--save"):
        RerunView()


def test_a_drive_is_saved_for_rerun(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    file = tmp_path / "new" / "drive.rrd"
    view = RerunView(file)
    view.begin("test", None, rover_view())
    for step, words in itertools.product(range(3), ("", "turns")):
        view.show(moment(seconds=step * 0.25, words=words))
    view.end("reached")
    view.close()
    content = file.read_bytes()
    assert content[:3] == b"RRF"
    assert len(content) > 5_000
