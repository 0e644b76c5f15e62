import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from envs.rendering import NoRendererError, choose_gl, frames_from_observations, render_physics
from envs.tasks import ENVIRONMENTS

MUJOCO_TASKS = [name for name in ENVIRONMENTS if name.startswith("mujoco:")]


def _initial_physics(name: str) -> np.ndarray:
    import mujoco

    from envs import scene

    model = scene._dressed_model(scene._VIEWS[name.partition(":")[2]], 32, 32)
    return np.concatenate([mujoco.MjData(model).qpos, np.zeros(model.nv)])


@pytest.fixture
def _chosen_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUJOCO_GL", os.environ.get("MUJOCO_GL", "egl"))  # restored at the end
    choose_gl.cache_clear()
    yield
    choose_gl.cache_clear()


@pytest.mark.gl
def test_a_back_end_that_draws_is_chosen_and_set() -> None:
    backend = choose_gl()
    assert backend in ("egl", "osmesa")
    assert os.environ["MUJOCO_GL"] == backend
    assert os.environ["LP_NUM_THREADS"] == "0"


@pytest.mark.gl
@pytest.mark.usefixtures("_chosen_again")
def test_a_back_end_that_cannot_draw_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setenv("PYOPENGL_PLATFORM", "egl")  # mujoco refuses osmesa with this
    assert choose_gl() == "egl"
    assert os.environ["MUJOCO_GL"] == "egl"


@pytest.mark.usefixtures("_chosen_again")
def test_without_any_back_end_the_error_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setenv("PYOPENGL_PLATFORM", "glx")  # refused by both
    assert choose_gl() == "none"
    assert os.environ["MUJOCO_GL"] == "disabled"
    with pytest.raises(NoRendererError, match="apt-get install libegl1"):
        render_physics("mujoco:Hopper", np.zeros((1, 12)))


@pytest.mark.usefixtures("_chosen_again")
def test_switching_gl_off_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "off")
    assert choose_gl() == "none"


def test_importing_changes_nothing() -> None:
    code = (
        "import os; before = dict(os.environ); import sys; import envs.rendering, envs.video, envs.scene;"
        "assert dict(os.environ) == before;"
        "assert not {'mujoco', 'av', 'PIL.Image', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gl
@pytest.mark.parametrize("name", MUJOCO_TASKS)
def test_every_mujoco_task_is_drawn_and_its_motion_shows(name: str) -> None:
    start = _initial_physics(name)
    moved = start.copy()
    moved[:3] += 0.3
    frames = render_physics(name, np.stack([start, start, moved]), 72, 97)
    assert frames.shape == (3, 72, 97, 3)
    assert frames.dtype == np.uint8
    assert frames[0].std() > 10
    np.testing.assert_array_equal(frames[0], frames[1])
    changed = np.abs(frames[0].astype(int) - frames[2]).max(axis=-1) > 30
    assert changed.mean() > 0.01


@pytest.mark.gl
def test_a_runner_far_away_stays_on_the_floor_and_in_the_picture() -> None:
    start = _initial_physics("mujoco:HalfCheetah")
    far = start.copy()
    far[0] += 300.0  # a whole number of squares; gymnasium's floor ends at 40 m
    near_frame, far_frame = render_physics("mujoco:HalfCheetah", np.stack([start, far]), 96, 96)
    assert (np.abs(near_frame.astype(int) - far_frame).max(axis=-1) > 40).mean() < 0.03


@pytest.mark.gl
def test_threads_draw_the_same_pictures() -> None:
    physics = [np.stack([_initial_physics(name)] * 5) for name in MUJOCO_TASKS[:4]]
    alone = [render_physics(name, rows, 64, 64) for name, rows in zip(MUJOCO_TASKS, physics, strict=False)]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(
            lambda pair: render_physics(*pair, 64, 64), zip(MUJOCO_TASKS, physics, strict=False)
        )
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_pendulum_needs_no_gl() -> None:
    frames = render_physics("classic:Pendulum", np.array([[0.0, 0.0], [1.0, 0.0]]), 60, 80)
    assert frames.shape == (2, 60, 80, 3)
    assert (frames[0] != frames[1]).any()


def test_pixels_are_enlarged_unblurred_and_the_newest_is_shown() -> None:
    stacks = np.zeros((2, 4, 3, 3), np.uint8)
    stacks[:, 3, 0, 2] = 200
    stacks[:, 0, 2, 0] = 99  # an older picture
    frames = frames_from_observations(stacks, 9, 12)
    expected = np.zeros((9, 12, 3), np.uint8)
    expected[:3, 8:] = 200
    np.testing.assert_array_equal(frames, [expected, expected])
    np.testing.assert_array_equal(frames_from_observations(stacks[:, -1], 9, 12), frames)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="frames_from_observations"):
        render_physics("pixel:MovingDot", np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"\(T, S\), got \(12,\)"):
        render_physics("mujoco:Hopper", np.zeros(12))
    with pytest.raises(ValueError, match="uint8 of shape"):
        frames_from_observations(np.zeros((1, 4, 3, 3)), 9, 9)


@pytest.mark.gl
def test_states_of_another_task_are_refused() -> None:
    with pytest.raises(ValueError, match="6 positions and 6 velocities, the rows of physics have 18"):
        render_physics("mujoco:Hopper", np.zeros((1, 18)))
