"""From a clip to one picture of its frames: nothing lost, nothing moved, and bad clips refused."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fsspec", reason="needs the extra 'label'")

from agents.preferences.clips import ClipRecorder
from agents.preferences.labelling.sources import MAX_FRAMES, UndrawableError, read_source, write_source
from agents.preferences.labelling.sprites import MAX_PIXELS, draw, grid
from agents.preferences.labelling.storage import MediaStorage, open_storage
from agents.preferences.labelling.types import Sprite, UnavailableError
from envs.catalog import make_vec
from envs.episode import Episode
from envs.rendering import render_physics
from envs.tasks import ENVIRONMENTS, task_info

MUJOCO_TASKS = [name for name in ENVIRONMENTS if name.startswith("mujoco:")]


@pytest.fixture
def storage(tmp_path: Path) -> MediaStorage:
    return open_storage(str(tmp_path / "media"))


def recorded(env: str, steps: int) -> Episode:
    """A clip as the trainer cuts it, of random actions."""
    copies = make_vec(env, 1, 3, preferences=True)
    copies.action_space.seed(0)
    recorder = ClipRecorder(1, steps, 1)
    observations = copies.reset(3)
    while not len(recorder):
        physics = copies.physics()
        physics = None if physics is None else physics.copy()
        actions = np.asarray(copies.action_space.sample())[None]
        step = copies.step(actions)
        recorder.on_step(observations, actions, step, physics)
        observations = step.observations
    copies.close()
    return recorder.clip(0)


def swinging(frames: int) -> Episode:
    """A pendulum clip whose every frame is another."""
    states = np.stack([np.linspace(0.0, 3.0, frames), np.zeros(frames)], axis=1)
    return of_pictures(np.zeros((frames + 1, 3), np.float32), physics=states)


def of_pictures(observations: np.ndarray, **info: np.ndarray) -> Episode:
    steps = len(observations) - 1
    return Episode(
        {"observation": observations},
        np.zeros((steps, 1), np.float32),
        np.zeros(steps),
        np.arange(steps + 1.0),
        info=info,
    )


def frames_of(content: bytes, sprite: Sprite) -> np.ndarray:
    """The frames as the page cuts them out."""
    sheet = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    rows = -(-sprite.frames // sprite.columns)
    assert sheet.shape == (rows * sprite.height, sprite.columns * sprite.width, 3)
    return np.stack(
        [
            sheet[sprite.height * (k // sprite.columns) :, sprite.width * (k % sprite.columns) :][
                : sprite.height, : sprite.width
            ]
            for k in range(sprite.frames)
        ]
    )


def blob(storage: MediaStorage, **arrays: object) -> str:
    """What a source must not be, under a right digest."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return storage.put(buffer.getvalue())


def test_every_frame_of_a_pendulum_is_exact_and_in_its_place(storage: MediaStorage) -> None:
    clip = swinging(23)
    source = write_source(storage, "classic:Pendulum", clip)
    content, sprite = draw(storage, source.source, source.env)
    expected = render_physics("classic:Pendulum", clip.info["physics"], 256, 256)
    np.testing.assert_array_equal(frames_of(content, sprite), expected)
    assert sprite == Sprite(storage.put(content), 23, 5, 256, 256, "image/webp")
    assert (source.env, source.steps, source.fps) == ("classic:Pendulum", 23, 20)


@pytest.mark.gl
@pytest.mark.parametrize("env", MUJOCO_TASKS)
def test_every_mujoco_task_is_drawn_and_looks_as_rendered(storage: MediaStorage, env: str) -> None:
    clip = recorded(env, 5)
    source = write_source(storage, env, clip)
    content, sprite = draw(storage, source.source, source.env, 128)
    assert (sprite.frames, sprite.width, sprite.height) == (5, 128, 128)
    rendered = render_physics(env, clip.info["physics"], 128, 128)
    error = frames_of(content, sprite).astype(float) - rendered
    assert 10 * np.log10(255**2 / (error**2).mean()) > 33  # dB; the eye begins to see it at about 30


@pytest.mark.parametrize("env", ["pixel:MovingDot", "atari:Pong", "atari:Enduro"])
def test_pixels_are_exact_and_all_equally_large(storage: MediaStorage, env: str) -> None:
    clip = recorded(env, 6)
    source = write_source(storage, env, clip)
    content, sprite = draw(storage, source.source, source.env)
    assert (sprite.frames, sprite.width, sprite.height) == (7, 252, 252)  # 3 px for each of 84
    newest = clip.observations["observation"][:, -1]
    expected = newest.repeat(3, axis=1).repeat(3, axis=2)
    for channel in range(3):
        np.testing.assert_array_equal(frames_of(content, sprite)[..., channel], expected)


def test_pictures_that_are_not_square_keep_their_form(storage: MediaStorage) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 60, 100), np.uint8)
    sprite = draw(storage, write_source(storage, "pixel:MovingDot", of_pictures(pictures)).source, "x")[1]
    assert (sprite.width, sprite.height) == (200, 120)
    large = pictures.repeat(10, axis=1).repeat(10, axis=2)
    sprite = draw(storage, write_source(storage, "pixel:MovingDot", of_pictures(large)).source, "x")[1]
    assert (sprite.width, sprite.height) == (256, 154)


def test_one_frame_is_a_clip(storage: MediaStorage) -> None:
    source = write_source(storage, "classic:Pendulum", swinging(1))
    content, sprite = draw(storage, source.source, source.env)
    assert (sprite.frames, sprite.columns) == (1, 1)
    assert frames_of(content, sprite).shape == (1, 256, 256, 3)


def test_many_frames_are_drawn_smaller_so_that_phones_show_them(storage: MediaStorage) -> None:
    source = write_source(storage, "classic:Pendulum", swinging(900))
    sprite = draw(storage, source.source, source.env)[1]
    rows = -(-sprite.frames // sprite.columns)
    assert sprite.frames == 900
    assert 100 < sprite.width == sprite.height < 256
    assert rows * sprite.columns * sprite.width * sprite.height <= MAX_PIXELS
    assert max(rows, sprite.columns) * sprite.width <= 4096


@pytest.mark.parametrize(("height", "width"), [(256, 256), (120, 200), (200, 60)])
def test_the_grid_is_nearly_square(height: int, width: int) -> None:
    for count in (1, 2, 3, 15, 21, 30, 45, 60, 61, 100):
        sheet, columns = grid(np.zeros((count, height, width, 3), np.uint8))
        assert sheet.shape[0] % height == 0
        assert sheet.shape[1] == columns * width
        assert max(sheet.shape[:2]) <= np.sqrt(count * height * width) + max(height, width)


def test_the_same_clip_has_the_same_names_and_another_has_not(storage: MediaStorage) -> None:
    names = {write_source(storage, "classic:Pendulum", swinging(9)).source for _ in range(2)}
    pictures = {draw(storage, *names, "classic:Pendulum")[1].media for _ in range(2)}
    other = write_source(storage, "classic:Pendulum", swinging(8))
    assert len(names) == len(pictures) == 1
    assert other.source not in names
    assert draw(storage, other.source, other.env)[1].media not in pictures


def test_of_stacked_pictures_only_the_newest_are_kept(storage: MediaStorage) -> None:
    clip = recorded("atari:Pong", 10)
    name, frames = read_source(storage, write_source(storage, "atari:Pong", clip).source)
    assert name == "frames"
    np.testing.assert_array_equal(frames, clip.observations["observation"][:, -1])


def test_a_source_can_be_read_without_us_and_without_pickle(storage: MediaStorage) -> None:
    clip = swinging(4)
    content = storage.get(write_source(storage, "classic:Pendulum", clip).source)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["physics"], clip.info["physics"])


def test_a_clip_that_nobody_could_draw_is_refused_at_once(storage: MediaStorage) -> None:
    blown_up = swinging(4)
    blown_up.info["physics"][2, 0] = np.nan
    with pytest.raises(UndrawableError, match="simulation blew up"):
        write_source(storage, "classic:Pendulum", blown_up)
    with pytest.raises(UndrawableError, match="pictures are uint8"):
        write_source(storage, "classic:Pendulum", of_pictures(np.zeros((4, 3), np.float32)))
    with pytest.raises(UndrawableError, match=f"1 to {MAX_FRAMES} frames"):
        write_source(storage, "classic:Pendulum", swinging(MAX_FRAMES + 1))
    nothing = Episode({"other": np.zeros(2)}, np.zeros(1), np.zeros(1), np.zeros(2))
    with pytest.raises(UndrawableError, match="it has other"):
        write_source(storage, "classic:Pendulum", nothing)


def test_a_source_that_is_gone_or_was_changed_is_said(storage: MediaStorage, tmp_path: Path) -> None:
    source = write_source(storage, "classic:Pendulum", swinging(4)).source
    path = tmp_path / "media" / source[:2] / source
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UndrawableError, match="damaged"):
        draw(storage, source, "classic:Pendulum")
    storage.delete(source)
    with pytest.raises(UndrawableError, match="are gone"):
        draw(storage, source, "classic:Pendulum")
    with pytest.raises(UndrawableError, match="64 hexadecimal digits"):
        draw(storage, "../../secret", "classic:Pendulum")


def test_a_storage_that_is_away_is_another_thing(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="mount it"):
        draw(open_storage(str(tmp_path / "media")), "0" * 64, "classic:Pendulum")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/tmp/surefoot-was-here"),))


def claiming(rows: int, columns: int, mebibytes: int) -> bytes:
    """A zip of an array that says it has so many numbers, and has so many bytes."""
    packed, header = io.BytesIO(), {"descr": "<f8", "fortran_order": False, "shape": (rows, columns)}
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("physics.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(mebibytes):
            member.write(bytes(2**20))
    return packed.getvalue()


def test_bytes_that_are_no_clip_are_refused_and_nothing_in_them_runs(storage: MediaStorage) -> None:
    states = np.zeros((3, 2))
    pickled = np.array([Evil()], dtype=object)
    whole = io.BytesIO()
    np.savez(whole, physics=states)
    for source, words in [
        (storage.put(b"no zip"), "cannot be read"),
        (storage.put(whole.getvalue()[:-30]), "cannot be read"),
        (blob(storage, physics=pickled), "cannot be read"),
        (blob(storage, physics=states, frames=states), "cannot be read"),
        (blob(storage, secrets=states), "cannot be read"),
        (storage.put(claiming(2**20, 33, 264)), "bytes unpacked"),
        (storage.put(claiming(2**40, 2**10, 0)), "cannot be read"),
        (blob(storage, physics=np.array(["text"] * 3)), "floats"),
        (blob(storage, physics=states[0]), "floats"),
        (blob(storage, physics=states[:0]), "1 to"),
        (blob(storage, physics=np.array(1.0)), "floats"),
        (blob(storage, physics=states + np.inf), "infinity"),
        (blob(storage, frames=states), "uint8"),
        (blob(storage, frames=np.zeros((2, 0, 4), np.uint8)), "uint8"),
    ]:
        with pytest.raises(UndrawableError, match=words):
            draw(storage, source, "classic:Pendulum")
    assert not Path("/tmp/surefoot-was-here").exists()


def test_states_of_another_task_and_tasks_that_are_not_known_are_refused(storage: MediaStorage) -> None:
    source = write_source(storage, "classic:Pendulum", swinging(4)).source
    for env in ("pixel:MovingDot", "mujoco:Nothing", "../Hopper", ""):
        with pytest.raises(UndrawableError, match="cannot be drawn"):
            draw(storage, source, env)


@pytest.mark.gl
def test_states_of_another_robot_are_refused(storage: MediaStorage) -> None:
    source = write_source(storage, "classic:Pendulum", swinging(4)).source
    with pytest.raises(UndrawableError, match="6 positions and 6 velocities"):
        draw(storage, source, "mujoco:Hopper")


@pytest.mark.parametrize("size", [0, -1, 100_000])
def test_senseless_sizes_are_refused(storage: MediaStorage, size: int) -> None:
    with pytest.raises(ValueError, match="size must be"):
        draw(storage, "0" * 64, "classic:Pendulum", size)


def test_a_clip_of_every_task_fits_one_sheet_at_full_size() -> None:
    from agents.preferences.labelling.sprites import SIZE, _fitting

    for env in ENVIRONMENTS:
        assert _fitting(task_info(env).segment_steps + 1, SIZE) == SIZE
