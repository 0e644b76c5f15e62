"""Pictures of the rover's world for people: the map, the chase camera, and the caster beside OpenGL."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.rendering import frames_from_observations
from envs.rover import terrain
from envs.rover.camera import Camera, Lens, camera_axes
from envs.rover.map_view import GOAL, ROVER, TRACK, WorldMap
from envs.rover.scene import build_views
from envs.rover.world import World
from envs.rover.worlds import make_world


@pytest.fixture(scope="module")
def world() -> World:
    return make_world("urban", "train", 0)


def test_the_map_shows_ground_things_trip_and_rover_where_they_are(world: World) -> None:
    plan = WorldMap(world, 10.0)
    bare = plan.draw()
    assert bare.shape == (plan.size[1], plan.size[0], 3)
    house = next(solid for solid in world.solids if solid.name == "house")
    column, row = plan.pixel(*house.centre[:2])
    start, goal = world.starts[0], world.goals[0]
    track = np.array([start[:2], (start[:2] + goal) / 2])
    full = plan.draw(track, (start[0], start[1], start[2]), goal)
    assert tuple(full[plan.pixel(*goal)[::-1]]) == GOAL
    assert tuple(full[plan.pixel(*start[:2])[::-1]]) == ROVER
    assert tuple(full[plan.pixel(*track[1])[::-1]]) == TRACK
    lawn = np.argwhere(world.kinds == terrain.LAWN)[::997] * 0.075
    greens = np.array([bare[plan.pixel(x, y)[::-1]] for y, x in lawn], float)
    assert (greens[:, 1] > greens[:, 0]).mean() > 0.7  # most of it has nothing on it
    assert np.abs(bare[row, column].astype(float) - np.median(greens, 0)).max() > 20
    north, south = plan.pixel(5.0, 30.0), plan.pixel(5.0, 3.0)
    assert north[1] < south[1]


def coarse(image: NDArray, shape: tuple[int, int]) -> NDArray[np.float64]:
    rows, columns = shape
    cut = image[: len(image) // rows * rows, : image.shape[1] // columns * columns].astype(float)
    return cut.reshape(rows, len(cut) // rows, columns, cut.shape[1] // columns, 3).mean((1, 3))


def test_a_rovers_pictures_are_shown_in_colour() -> None:
    seen = np.random.default_rng(0).integers(0, 256, (2, 12, 16, 3), np.uint8)
    frames = frames_from_observations(seen, 24, 48)
    assert frames.shape == (2, 24, 48, 3)
    np.testing.assert_array_equal(frames[:, ::2, ::3], seen)


@pytest.mark.gl
def test_the_casters_picture_is_like_opengls(world: World, gl: str) -> None:
    """Coarsely: light and filters differ, things, ground and sky stand in the same places."""
    if gl == "none":
        pytest.skip("no OpenGL here")
    import mujoco

    from envs.rover.mujoco_world import world_model

    kinds = world.kinds.copy()
    kinds[terrain.grass_map(kinds) > 0] = terrain.DIRT
    world = replace(world, kinds=kinds, light=replace(world.light, haze=0.0, exposure=1.0))
    lens = Lens(128, 96, 64.0, 64.0, lobes=False)
    model = world_model(world, picture=True)
    model.vis.global_.fovy = float(np.rad2deg(2 * np.arctan(48 / 64.0)))
    data = mujoco.MjData(model)
    data.qpos[2] = -20
    mujoco.mj_forward(model, data)
    views, view = build_views(world), mujoco.MjvCamera()
    alike = []
    with mujoco.Renderer(model, 96, 128) as renderer:
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        for x, y, heading in world.starts[:3]:
            place = np.array([x, y, world.height_at(x, y) + 0.35])
            ahead = np.array([np.cos(heading), np.sin(heading), 0.0])
            body = np.stack([ahead, [-ahead[1], ahead[0], 0], [0, 0, 1]], axis=1)
            ours, _ = Camera(lens).picture(views.scene, place, camera_axes(body))
            view.lookat[:], view.distance = place + 0.01 * ahead, 0.01
            view.azimuth, view.elevation = np.rad2deg(heading), 0.0
            renderer.update_scene(data, view)
            theirs = renderer.render()
            one, other = coarse(ours, (12, 16)), coarse(theirs, (12, 16))
            alike.append(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    assert np.mean(alike) > 0.8
    assert min(alike) > 0.7


@pytest.mark.gl
def test_the_chase_camera_sees_the_rover(world: World, gl: str) -> None:
    from envs.rendering import NoRendererError
    from envs.rover.chase import ChaseCamera

    if gl == "none":
        with pytest.raises(NoRendererError, match="apt-get"):
            ChaseCamera(world)
        return
    x, y, heading = world.starts[0]
    pose = np.array([x, y, world.height_at(x, y) + 0.1, np.cos(heading / 2), 0, 0, np.sin(heading / 2)])
    with ChaseCamera(world, 120, 160) as camera:
        frame = camera.draw(pose)
    assert frame.shape == (120, 160, 3)
    middle = frame[50:80, 60:100].reshape(-1, 3).astype(int)
    yellow = (middle[:, 0] > 1.5 * middle[:, 2]) & (middle[:, 1] > 1.2 * middle[:, 2]) & (middle[:, 0] > 110)
    assert yellow.mean() > 0.05
