"""What a picture of a room holds: depth from the ray caster, and normals and edges that follow from it."""

import numpy as np
import pytest

from envs.pointnav import PointNavConfig
from envs.pointnav_midlevel import edges_of, surface_normals, take_frames
from envs.rover.camera import Lens

LENS = Lens(16, 12, 8.0, 8.0, lobes=False)


def plane(normal: tuple[float, float, float], away: float) -> np.ndarray:
    """(1, 12, 16) m along the optical axis of the plane normal . p = -away in the camera's frame."""
    across, down = LENS.slopes()
    x, y = np.meshgrid(across, down)
    return (-away / (normal[0] * x + normal[1] * y + normal[2]))[None]


@pytest.mark.parametrize("normal", [(0.0, 0.0, -1.0), (-0.6, 0.0, -0.8), (0.36, -0.48, -0.8)])
def test_a_plane_has_its_normal_and_no_edges(
    normal: tuple[float, float, float],
) -> None:
    depth = plane(normal, 2.0)
    depth = np.where(depth > 0, depth, np.nan)
    whole = ~np.isnan(depth)[0]
    found = surface_normals(np.nan_to_num(depth, nan=50.0), LENS)
    inside = whole[1:-1, 1:-1] & whole[:-2, 1:-1] & whole[2:, 1:-1] & whole[1:-1, :-2] & whole[1:-1, 2:]
    assert inside.sum() > 60
    wanted = np.array(normal)[:, None]
    assert np.abs(found[0][:, 1:-1, 1:-1][:, inside] - wanted).max() < 1e-5
    if whole.all():
        assert not edges_of(depth, found, LENS).any()


def test_a_step_in_depth_and_a_corner_are_edges() -> None:
    box = np.full((1, 12, 16), 4.0)
    box[:, :, :7] = 2.0
    edges = edges_of(box, surface_normals(box, LENS), LENS)
    assert edges[0, :, 6].all()
    assert not edges[0, :, :6].any()
    assert not edges[0, :, 7:].any()
    corner = np.minimum(plane((-0.6, 0.0, -0.8), 2.0), plane((0.6, 0.0, -0.8), 2.0))
    bent = edges_of(corner, surface_normals(corner, LENS), LENS)
    assert bent[0, :, 6:9].any(1).all()
    assert not bent[0, :, :5].any()


def test_frames_of_rooms_hold_what_is_there() -> None:
    """The floor is 0.45 m below the camera, wherever it is seen; the same seed gives the same."""
    config = PointNavConfig(indices=(0, 1), width=16, height=12)
    frames = take_frames(config, 12, 3)
    assert frames.rgb.shape == (12, 3, 12, 16)
    assert frames.depth.min() > 0.1
    assert np.abs(np.linalg.norm(frames.normals, axis=1) - 1).max() < 1e-5
    floor = frames.normals[:, 1, -1] < -0.99
    assert floor.mean() > 0.3
    _, down = LENS.slopes()
    heights = frames.depth[:, -1] * down[-1]
    assert np.abs(heights[floor] - 0.45).max() < 0.02
    again, other = take_frames(config, 12, 3), take_frames(config, 12, 4)
    assert np.array_equal(frames.rgb, again.rgb)
    assert not np.array_equal(frames.rgb, other.rgb)
    with pytest.raises(ValueError, match="at least one frame"):
        take_frames(config, 0, 0)
