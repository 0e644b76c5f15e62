"""The rover's ray caster: against MuJoCo's own rays, against formulas, and what its pictures show."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.rover import terrain
from envs.rover.camera import BADGR_LENS, Camera, Lens, camera_axes
from envs.rover.compiled import load
from envs.rover.kernel_solids import BOX, CYLINDER, ELLIPSOID, LOG
from envs.rover.mujoco_world import world_model
from envs.rover.scene import Views, build_views
from envs.rover.world import CELL, Light, Solid, World, box
from envs.rover.worlds import make_world

SMALL = Lens(64, 48, 13.63, 13.32, lobes=False)


def turned(heading: float, pitch: float = 0.0) -> NDArray[np.float64]:
    """Axes of a body that looks along a heading, nose down by `pitch`."""
    c, s, u, v = np.cos(heading), np.sin(heading), np.cos(pitch), np.sin(pitch)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[u, 0, v], [0, 1, 0], [-v, 0, u]])


def flat_world(kind: int = terrain.PAVEMENT, solids: tuple[Solid, ...] = (), side: float = 12.0) -> World:
    points = round(side / CELL) + 1
    kinds = np.full((points, points), kind, np.uint8)
    ground = np.zeros(kinds.shape, np.float32)
    nowhere = np.zeros((1, 3))
    return World("test", ground, kinds, solids, (0, 0, side, side), nowhere, nowhere[:, :2])


def mujoco_ranges(
    world: World, origin: NDArray[np.float64], directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """m to the first thing along unit directions (n, 3); inf where there is none."""
    import mujoco  # not above: OpenGL's back-end is chosen before

    model = world_model(world)
    data = mujoco.MjData(model)
    data.qpos[2] = -20  # the rover is out of the way
    mujoco.mj_forward(model, data)
    count = len(directions)
    which, distance = np.zeros(count, np.int32), np.zeros(count)
    flat = np.ascontiguousarray(directions).ravel()
    mujoco.mj_multiRay(model, data, origin, flat, None, 1, -1, which, distance, None, count, 200.0)
    return np.where(distance < 0, np.inf, distance)


def bare(world: World) -> World:
    """The same without grass, which MuJoCo has not."""
    kinds = world.kinds.copy()
    kinds[terrain.grass_map(kinds) > 0] = terrain.DIRT
    return replace(world, kinds=kinds)


def eye(world: World, trip: int) -> tuple[NDArray[np.float64], float]:
    x, y, heading = world.starts[trip]
    return np.array([x, y, world.height_at(x, y) + 0.35]), heading


@pytest.mark.parametrize("layout", ["urban", "offroad", "indoor"])
def test_depth_is_that_of_mujocos_rays(layout: str) -> None:
    world = bare(make_world(layout, "train", 1))  # type: ignore[arg-type]  # one of the layouts
    origin, heading = eye(world, 0)
    axes = camera_axes(turned(heading, 0.06))
    _, depth = Camera(SMALL).picture(build_views(world).scene, origin, axes)
    across, down = SMALL.slopes()
    a, b = np.meshgrid(across, down)
    directions = axes[2] + a[..., None] * axes[0] + b[..., None] * axes[1]
    lengths = np.linalg.norm(directions, axis=-1)
    theirs = mujoco_ranges(world, origin, (directions / lengths[..., None]).reshape(-1, 3))
    expected = theirs.reshape(depth.shape) / lengths
    near = expected < 20
    assert near.mean() > 0.5
    errors = np.abs(depth - expected)[near]
    assert (errors > 0.01).mean() < 0.01
    assert np.median(errors) < 1e-4
    # Beyond the height field the caster's ground goes on to the horizon; nothing near may be made up.
    assert (depth[expected > 60] > 15).all()


def test_the_lidar_agrees_with_mujocos_rays() -> None:
    world = bare(make_world("urban", "train", 2))
    origin, heading = eye(world, 1)
    body = turned(heading)
    views, ranges = build_views(world), np.empty(360, np.float32)
    axes = np.ascontiguousarray(body.T)
    load()["kernel_lidar"].scan(views.lidar, views.solids, origin, axes, 0.1, 12.0, ranges)
    angle = np.deg2rad(np.arange(360))
    directions = np.cos(angle)[:, None] * axes[0] + np.sin(angle)[:, None] * axes[1]
    expected = mujoco_ranges(world, origin, directions)
    expected[(expected > 12) | (expected < 0.1)] = np.inf
    assert np.isfinite(expected).sum() > 50
    np.testing.assert_array_equal(np.isfinite(ranges), np.isfinite(expected))
    heard = np.isfinite(expected)
    assert np.quantile(np.abs(ranges[heard] - expected[heard]), 0.99) < 0.01


@pytest.mark.parametrize("shape", [BOX, CYLINDER, ELLIPSOID, LOG])
def test_every_shape_is_met_where_mujoco_meets_it(shape: int) -> None:
    solid = Solid(shape, (6.0, 6.0, 0.7), (0.5, 0.3, 0.4) if shape != CYLINDER else (0.5, 0.5, 0.4), 0.6)
    world = flat_world(solids=(solid,))
    generator = np.random.default_rng(shape)
    origin = np.array([3.0, 5.0, 0.5])
    directions = np.array([3.0, 1.0, 0.2]) + generator.normal(0, 0.35, (400, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    expected = mujoco_ranges(flat_world(solids=(solid,)), origin, directions)
    ray = load()["kernel_solids"].ray_solid
    row = np.array(solid.row())
    ours = np.array([ray(row, *origin, *direction) for direction in directions])
    hit = (ours < 1e9) & (ours <= expected + 1e-6)
    assert 40 < hit.sum() < 360
    np.testing.assert_allclose(ours[hit], expected[hit], atol=1e-6)
    assert world.solids == (solid,)


def test_the_lens_is_badgrs() -> None:
    raw = BADGR_LENS.scaled(5)
    assert (raw.width, raw.height) == (640, 480)
    across, down = raw.slopes()
    assert np.rad2deg(2 * np.arctan(across[-1])) == pytest.approx(133.9, abs=0.2)
    assert np.rad2deg(2 * np.arctan(down[-1])) == pytest.approx(121.9, abs=0.2)
    inside = raw.inside()
    assert 1 - inside.mean() == pytest.approx(0.074, abs=0.002)  # the specification's 7.4 %
    rows = np.flatnonzero(inside[:, 320])
    assert (rows[0], rows[-1]) == pytest.approx((59, 421), abs=1)
    image, depth = Camera().picture(
        build_views(flat_world()).scene, np.array([2.0, 6, 0.35]), camera_axes(turned(0))
    )
    black = ~BADGR_LENS.inside()
    assert (image[black] == 0).all()
    assert (depth[black] == 0).all()
    assert (image[~black].max(axis=-1) > 0).all()


def test_a_floor_lies_where_geometry_says() -> None:
    _, depth = Camera(SMALL).picture(
        build_views(flat_world()).scene, np.array([1.0, 6, 0.35]), camera_axes(turned(0))
    )
    _, down = SMALL.slopes()
    middle = depth[:, SMALL.width // 2]
    below = (0.35 / down > 0) & (0.35 / down < 10)
    np.testing.assert_allclose(middle[below], (0.35 / down)[below], rtol=1e-4)


def tone(views: Views, heading: float, place: tuple[float, float] = (6.0, 6.0)) -> NDArray[np.float64]:
    """Mean colour of the lower middle of a picture."""
    image, _ = Camera(BADGR_LENS).picture(views.scene, np.array([*place, 0.35]), camera_axes(turned(heading)))
    return image[55:80, 40:88].reshape(-1, 3).mean(0)


def test_kinds_of_ground_can_be_told_apart() -> None:
    colours = {
        kind: tone(build_views(flat_world(kind)), 0.0)
        for kind in (terrain.PAVEMENT, terrain.LAWN, terrain.DIRT, terrain.COBBLE, terrain.THICK_GRASS)
    }
    red, green, blue = colours[terrain.LAWN]
    assert green > 1.2 * red
    assert green > 1.2 * blue
    red, green, blue = colours[terrain.DIRT]
    assert red > green > 1.2 * blue
    assert np.ptp(colours[terrain.PAVEMENT]) < 25  # grey
    names = list(colours)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert np.abs(colours[one] - colours[other]).max() > 20


def test_ruts_have_the_dirts_colour_and_another_pattern() -> None:
    pictures = {}
    for kind in (terrain.DIRT, terrain.RUTS):
        scene = build_views(flat_world(kind)).scene
        image, _ = Camera().picture(scene, np.array([4.0, 6, 0.35]), camera_axes(turned(0.4)))
        pictures[kind] = image[56:80, 30:98].astype(float)
    smooth, rutted = (pictures[kind] for kind in (terrain.DIRT, terrain.RUTS))
    assert np.abs(smooth.mean((0, 1)) / rutted.mean((0, 1)) - 1).max() < 0.35
    assert rutted.std((0, 1)).mean() > 2.0 * smooth.std((0, 1)).mean()


def test_swapped_colours_change_the_picture_and_nothing_else() -> None:
    world, swapped = make_world("offroad", "train", 0), make_world("offroad", "train", 0, swap_colours=True)
    np.testing.assert_array_equal(world.kinds, swapped.kinds)
    np.testing.assert_array_equal(world.heights, swapped.heights)
    origin, heading = eye(world, 0)
    axes = np.ascontiguousarray(turned(heading).T)
    pictures, scans = [], []
    for one in (world, swapped):
        views, ranges = build_views(one), np.empty(360, np.float32)
        load()["kernel_lidar"].scan(views.lidar, views.solids, origin, axes, 0.1, 12.0, ranges)
        scans.append(ranges)
        pictures.append(Camera().picture(views.scene, origin, camera_axes(turned(heading)))[0])
    np.testing.assert_array_equal(*scans)
    assert (pictures[0] != pictures[1]).any(axis=-1).mean() > 0.1


def grass_scan(kind: int) -> NDArray[np.float32]:
    views, ranges = build_views(flat_world(kind)), np.empty(360, np.float32)
    load()["kernel_lidar"].scan(
        views.lidar, views.solids, np.array([6.0, 6, 0.3]), np.eye(3), 0.1, 12.0, ranges
    )
    return ranges


def test_a_lidar_hears_thin_and_thick_grass_alike_and_a_camera_sees_them_apart() -> None:
    thin, thick = grass_scan(terrain.THIN_GRASS), grass_scan(terrain.THICK_GRASS)
    np.testing.assert_array_equal(thin, thick)
    assert np.median(thin) < 2.0
    assert not np.isfinite(grass_scan(terrain.PAVEMENT)).any()
    colours = [tone(build_views(flat_world(kind)), 0.3) for kind in (terrain.THIN_GRASS, terrain.THICK_GRASS)]
    assert colours[0].mean() > 1.3 * colours[1].mean()


def test_the_lidar_looks_over_a_kerb_that_the_camera_sees() -> None:
    kerb = box(8.0, 6.0, -0.1, (0.08, 3.0, 0.12), "concrete", colour=(1.0, 0.2, 0.2))
    views, ranges = build_views(flat_world(solids=(kerb,))), np.empty(360, np.float32)
    load()["kernel_lidar"].scan(
        views.lidar, views.solids, np.array([6.0, 6, 0.3]), np.eye(3), 0.1, 12.0, ranges
    )
    assert not np.isfinite(ranges).any()
    image, depth = Camera().picture(views.scene, np.array([6.0, 6, 0.35]), camera_axes(turned(0)))
    red = (image[..., 0] > 1.8 * image[..., 1]) & BADGR_LENS.inside()
    assert red.sum() > 30
    assert depth[red].min() == pytest.approx(1.92, abs=0.03)


def test_light_falls_from_the_sun_and_things_throw_shadows() -> None:
    day = Light(sun=(-0.7071, 0.0, 0.7071))
    block = box(6.0, 6.0, 0, (0.3, 1.0, 0.5), "concrete")
    scene = build_views(replace(flat_world(solids=(block,)), light=day)).scene
    row = round(6.0 / CELL)
    assert scene.shade[row, round(6.8 / CELL)] < 40  # behind it, 1 m long
    assert scene.shade[row, round(7.6 / CELL)] == pytest.approx(170, abs=2)
    assert scene.shade[row, round(5.2 / CELL)] == pytest.approx(170, abs=2)


def test_the_sensors_noise_is_as_large_as_said_and_repeats() -> None:
    scene, place, axes = build_views(flat_world()).scene, np.array([6.0, 6, 0.35]), camera_axes(turned(0))
    clean, _ = Camera().picture(scene, place, axes)
    noisy, _ = Camera(grain=3.0).picture(scene, place, axes, seed=5)
    again, _ = Camera(grain=3.0).picture(scene, place, axes, seed=5)
    other, _ = Camera(grain=3.0).picture(scene, place, axes, seed=6)
    np.testing.assert_array_equal(noisy, again)
    assert (noisy != other).any()
    inner = (clean > 15).all(-1) & (clean < 240).all(-1)
    difference = noisy[inner].astype(float) - clean[inner]
    assert difference.std() == pytest.approx(3.0, abs=0.3)
    assert abs(difference.mean()) < 0.6  # cut to whole numbers
