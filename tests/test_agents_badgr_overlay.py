"""Candidate ways in the camera's picture lie where the robot would go."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agents.badgr.overlay import (
    BROKEN,
    CHOSEN,
    SCALE,
    CameraView,
    Ways,
    cost_colours,
    cost_range,
    draw_on_camera,
    ways_of,
)
from agents.badgr.prediction import Plan, Prediction

VIEW = CameraView(128, 96, 27.26, 26.64, 0.15, 0.35)
ROOT = Path(__file__).parent.parent


def straight(length: float = 2.0, side: float = 0.0) -> np.ndarray:
    """(8, 2) m ahead, ending `side` m to the left."""
    share = np.linspace(1 / 8, 1, 8)
    return np.stack([share * length, share * side], axis=1)


def some_ways(sides=(-1.0, 0.0, 1.0), cost=(0.9, 0.1, 0.5)) -> Ways:
    return Ways(np.stack([straight(side=one) for one in sides]), np.array(cost), straight())


@pytest.mark.parametrize(("ahead", "left"), [(1.5, 0.0), (3.0, 1.0), (2.0, -1.5), (5.0, 2.0)])
def test_a_place_on_the_ground_is_where_the_rovers_own_camera_sees_it(ahead: float, left: float) -> None:
    """A thin post stands there: the ray caster sees its foot at the pixel that is reckoned."""
    from agents.badgr.watch_screen import rover_view
    from envs.rover.body import CAMERA, WHEEL_RADIUS
    from envs.rover.camera import BADGR_LENS, Camera, camera_axes
    from envs.rover.scene import build_views
    from envs.rover.world import World, pillar

    heading, place = 0.7, np.array([12.0, 11.0])
    c, s = np.cos(heading), np.sin(heading)
    foot = place + np.array([c * ahead - s * left, s * ahead + c * left])
    flat, fence = np.zeros((320, 320)), (1.0, 1.0, 22.0, 22.0)
    empty = World("test", flat, flat.astype(int), (), fence, np.zeros((1, 3)), np.zeros((1, 2)))
    post = pillar(float(foot[0]), float(foot[1]), 0.0, 0.04, 0.8, "concrete")
    body = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    eye = np.array([*place, WHEEL_RADIUS]) + body @ CAMERA
    lens = dataclasses.replace(BADGR_LENS.scaled(4), lobes=False)
    without, with_post = (
        Camera(lens).picture(build_views(world).scene, eye, camera_axes(body))[1]
        for world in (empty, dataclasses.replace(empty, solids=(post,)))
    )
    rows, columns = np.nonzero(np.abs(without - with_post) > 0.05)
    view = rover_view().enlarged(512, 384)
    column, row = view.pixels(view.relative(np.array([ahead, left])))
    # The foot's edge is nearer than its middle, by its radius.
    assert columns[rows >= rows.max() - 1].mean() + 0.5 == pytest.approx(column, abs=2.5)
    nearer = view.pixels(view.relative(np.array([ahead - 0.05, left])))[1]
    assert row - 2.5 <= rows.max() + 1 <= nearer + 2.5


def test_a_way_is_cut_where_it_comes_before_the_lens() -> None:
    whole = np.concatenate([np.zeros((1, 2)), straight(2.4)])
    (line,) = VIEW.lines(whole)
    assert np.isfinite(line).all()
    assert len(line) == 9, "the robot's own place is below the picture, its line is not"
    assert line[0, 1] > VIEW.height
    assert (np.diff(line[:, 1]) < 0).all(), "further away is higher in the picture"
    np.testing.assert_allclose(line[:, 0], 64.0)


def test_what_lies_behind_is_not_drawn_and_a_way_around_comes_in_two_lines() -> None:
    assert VIEW.lines(-straight()) == []
    there_and_back = np.array([(1.0, 0.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (1.0, 0.0)])
    assert [len(line) for line in VIEW.lines(there_and_back)] == [3, 3]
    broken = straight()
    broken[3] = np.nan
    assert [len(line) for line in VIEW.lines(broken)] == [3, 4]


def test_left_is_left_and_a_tilted_camera_sees_the_ground_higher_up() -> None:
    place = np.array([2.0, 0.5])
    column, row = VIEW.pixels(VIEW.relative(place))
    assert column < 64
    down = dataclasses.replace(VIEW, tilt=0.2)
    assert down.pixels(down.relative(place))[1] < row


def test_cheap_is_blue_dear_is_red_and_what_is_broken_gray() -> None:
    colours = cost_colours(np.array([0.0, 1.0, np.nan, np.inf]))
    assert tuple(colours[0]) == tuple(SCALE[0])
    assert tuple(colours[1]) == tuple(SCALE[-1])
    assert tuple(colours[2]) == tuple(colours[3]) == BROKEN
    alike = cost_colours(np.array([0.500, 0.501])).astype(int)
    assert np.abs(alike[0] - alike[1]).max() <= 3
    assert cost_range(np.array([np.nan]))[0] == 0.0


def test_those_shown_are_spread_over_the_costs_and_the_cheapest_comes_last() -> None:
    many = Ways(np.repeat(straight()[None], 200, 0), np.linspace(1, 2, 200), straight())
    shown = many.shown(20)
    assert len(shown) == 20
    assert shown[0][1] == tuple(SCALE[-1])
    assert shown[-1][1] == tuple(SCALE[0])
    assert shown[0][0].shape == (9, 2)
    np.testing.assert_array_equal(shown[0][0][0], (0, 0))


def test_the_picture_shows_the_chosen_way_on_top_and_nothing_above_the_horizon() -> None:
    image = np.full((96, 128, 3), 40, np.uint8)
    drawn = draw_on_camera(image, VIEW, some_ways(), (512, 384), half_width=0.2)
    assert drawn.shape == (384, 512, 3)
    assert (drawn[:190] == 40).all(), "the ground ends at the horizon"
    view = VIEW.enlarged(512, 384)
    column, row = view.pixels(view.relative(np.array([1.5, 0.0]))).round().astype(int)
    assert tuple(drawn[row, column]) == CHOSEN
    column, row = view.pixels(view.relative(np.array([1.5, 0.75]))).round().astype(int)
    near = drawn[row - 3 : row + 4, column - 3 : column + 4].reshape(-1, 3).astype(int)
    assert np.abs(near - cost_colours(np.array([0.9, 0.1, 0.5]))[2]).sum(1).min() < 90, "dear, to the left"
    plain = draw_on_camera(image, VIEW, None)
    np.testing.assert_array_equal(plain, image)


def test_a_plan_is_shown_with_its_own_prediction_or_the_cheapest_candidates() -> None:
    position = np.stack([straight(side=one) for one in (-1.0, 1.0)])
    plan = Plan(np.zeros((8, 2)), np.zeros((2, 8, 2)), np.array([0.7, 0.2]), Prediction({}, position))
    np.testing.assert_array_equal(ways_of(plan).chosen, position[1])
    own = Prediction({}, straight()[None])
    np.testing.assert_array_equal(ways_of(plan, own).chosen, straight())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the view is of pictures \(96, 128, 3\) uint8, got uint8 \(48"):
        draw_on_camera(np.zeros((48, 64, 3), np.uint8), VIEW, None)
    with pytest.raises(ValueError, match=r"positions \(N, H, 2\), costs \(N,\)"):
        Ways(np.zeros((3, 8, 2)), np.zeros(2), straight())
    with pytest.raises(ValueError, match="focal lengths above 0"):
        CameraView(128, 96, 0.0, 26.0, 0.15, 0.35)


def test_the_robot_can_draw_without_torch_or_a_simulator() -> None:
    code = """
import sys
for name in ("torch", "mujoco", "numba", "gymnasium", "onnxruntime", "matplotlib", "av"):
    sys.modules[name] = None
import numpy as np
from agents.badgr.overlay import CameraView, Ways, draw_on_camera
ways = Ways(np.ones((4, 8, 2)), np.arange(4.0), np.ones((8, 2)))
image = np.zeros((96, 128, 3), np.uint8)
print(draw_on_camera(image, CameraView(128, 96, 27, 27, 0.15, 0.35), ways, (256, 192)).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(192, 256, 3)", done.stderr
