"""The rover's body: on the ground like a height field's, through grass, against walls."""

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.rover import terrain
from envs.rover.body import WHEEL_RADIUS, wheel_speeds
from envs.rover.ground import heights
from envs.rover.kernel_solids import LOG
from envs.rover.mujoco_world import world_model
from envs.rover.physics import CHUNK, Motion, Physics
from envs.rover.world import CELL, Solid, World, box, pillar

SIDE = 15.0


def world_of(kind: int, solids: tuple[Solid, ...] = ()) -> World:
    points = round(SIDE / CELL) + 1
    kinds = np.full((points, points), kind, np.uint8)
    ground = heights(kinds, np.random.default_rng(0))
    nowhere = np.zeros((1, 3))
    return World("test", ground, kinds, solids, (0, 0, SIDE, SIDE), nowhere, nowhere[:, :2])


def drive(world: World, linear: float, angular: float, decisions: int, x: float = 2.0) -> Motion:
    """All samples of rover 0 from (x, 7.5) looking along x, after it has settled for a decision."""
    physics = Physics(1, world.heights.shape)
    physics.settle_on(0, world)
    physics.place(0, x, 7.5, 0.0)
    physics.drive(np.zeros(1), np.zeros(1))
    parts = [physics.drive(np.array([linear]), np.array([angular])) for _ in range(decisions)]
    streams = zip(*(vars(part).values() for part in parts), strict=True)
    return Motion(*(np.concatenate(stream, axis=1)[0] for stream in streams))


def shaking(motion: Motion) -> float:
    """rad/s, mean of roll and pitch rates together."""
    return float(np.hypot(motion.gyro[:, 0], motion.gyro[:, 1]).mean())


def test_it_drives_as_fast_and_turns_as_told() -> None:
    motion = drive(world_of(terrain.PAVEMENT), 0.8, 0.0, 12)
    assert motion.velocity[100:, 0].mean() == pytest.approx(0.8, abs=0.03)
    assert abs(motion.pose[-1, 1] - 7.5) < 0.1
    for turn in (0.5, 1.0, -1.0):
        motion = drive(world_of(terrain.PAVEMENT), 0.8, turn, 8, x=7.5)
        assert motion.gyro[75:, 2].mean() == pytest.approx(turn, rel=0.3)


def test_the_rover_weighs_17_kg_and_stands_on_its_wheels() -> None:
    motion = drive(world_of(terrain.PAVEMENT), 0.0, 0.0, 4)
    assert motion.pose[-1, 2] == pytest.approx(WHEEL_RADIUS, abs=0.01)
    assert np.linalg.norm(motion.acceleration[-20:].mean(0)) == pytest.approx(9.81, abs=0.05)
    model = world_model(world_of(terrain.PAVEMENT))
    assert model.body("base").subtreemass[0] == pytest.approx(17.0, abs=0.1)


def test_smooth_and_bumpy_ground_shake_it_as_they_should() -> None:
    felt = {kind: shaking(drive(world_of(kind), 0.8, 0.0, 20)) for kind in range(5)}
    for smooth in (terrain.PAVEMENT, terrain.DIRT):
        for bumpy in (terrain.LAWN, terrain.RUTS, terrain.COBBLE):
            assert felt[smooth] < 0.15 < 0.3 < felt[bumpy]


def test_planes_under_the_wheels_are_as_good_as_a_height_field() -> None:
    """Against MuJoCo's own contacts of balls with the height field, over bumpy lawn."""
    import mujoco  # not above: OpenGL's back-end is chosen before

    world = world_of(terrain.LAWN)
    ours = drive(world, 0.8, 0.0, 20)
    model = world_model(world)
    data = mujoco.MjData(model)
    data.qpos[:7] = 2.0, 7.5, WHEEL_RADIUS + 0.05, 1, 0, 0, 0
    for _ in range(125):
        mujoco.mj_step(model, data)
    data.ctrl[:] = wheel_speeds(np.array([0.8]), np.zeros(1))[0]
    gyro, path = [], []
    for _ in range(len(ours.gyro)):
        samples = []
        for _ in range(round(CHUNK / model.opt.timestep)):
            mujoco.mj_step(model, data)
            samples.append(data.sensor("gyro").data.copy())
        gyro.append(np.mean(samples, 0))
        path.append(data.qpos[:3].copy())
    theirs = np.array(gyro)
    rough = float(np.hypot(theirs[:, 0], theirs[:, 1]).mean())
    assert shaking(ours) == pytest.approx(rough, rel=0.25)
    # The two drift apart in time; height over the ground's own length stays the same.
    along = np.linspace(2.5, 5.0, 100)
    z_ours = np.interp(along, ours.pose[:, 0], ours.pose[:, 2])
    z_theirs = np.interp(along, np.array(path)[:, 0], np.array(path)[:, 2])
    assert np.corrcoef(z_ours, z_theirs)[0, 1] > 0.85


def test_thin_grass_holds_back_a_little_and_thick_grass_holds_it() -> None:
    thin, thick = (drive(world_of(kind), 0.8, 0.0, 12) for kind in (terrain.THIN_GRASS, terrain.THICK_GRASS))
    assert thin.velocity[-100:, 0].mean() > 0.7
    assert abs(thick.velocity[-100:, 0].mean()) < 0.05
    assert thick.wheels[-100:].mean() * WHEEL_RADIUS > 0.2  # the wheels spin on the spot: slip
    assert (thick.touched == 0).all()
    held = terrain.KINDS[terrain.THIN_GRASS].drag
    assert 5 <= held <= 20


def obstacle(name: str) -> Solid:
    return {
        "wall": box(5.0, 7.5, 0, (0.1, 2.0, 0.5), "brick"),
        "tree": pillar(5.0, 7.5, 0, 0.15, 2.0, "bark"),
        "kerb": box(5.0, 7.5, -0.1, (0.08, 2.0, 0.12), "concrete"),
        "turned wall": box(5.0, 7.5, 0, (2.0, 0.1, 0.5), "brick", yaw=np.pi / 2),
        "log": Solid(LOG, (5.0, 7.5, 0.1), (1.5, 0.1, 0.1), np.pi / 2, texture="bark"),
    }[name]


@pytest.mark.parametrize("name", ["wall", "tree", "kerb", "turned wall", "log"])
def test_it_runs_into_things_and_does_not_pass_through(name: str) -> None:
    motion = drive(world_of(terrain.PAVEMENT, (obstacle(name),)), 0.8, 0.0, 20)
    first = int(np.argmax(motion.touched > 0))
    assert motion.touched[first] > 0
    assert 4.3 < motion.pose[first, 0] < 4.9
    if name != "log":
        assert motion.pose[:, 0].max() < 5.0
    assert (drive(world_of(terrain.PAVEMENT), 0.8, 0.0, 4).touched == 0).all()


@pytest.mark.parametrize("turn", [0.0, 0.3, -0.3])
def test_a_house_is_hit_at_its_wall_with_forces_that_a_rover_can_have(turn: float) -> None:
    """Wherever it is hit: its middle is far from the wall and high above the rover."""
    house = box(9.9, 7.14, -0.1, (4.9, 2.64, 2.0), "brick")
    motion = drive(world_of(terrain.PAVEMENT, (house,)), 1.0, turn, 16)
    first = int(np.argmax(motion.touched > 0))
    assert 4.6 < motion.pose[first, 0] < 4.8
    assert motion.pose[:, 0].max() < 4.8
    assert motion.touched.max() < 4000.0
    assert np.linalg.norm(motion.acceleration, axis=1).max() < 16 * 9.81


def test_copies_do_not_touch_each_other() -> None:
    smooth, grass = world_of(terrain.PAVEMENT), world_of(terrain.THICK_GRASS)
    physics = Physics(3, smooth.heights.shape, threads=2)
    for i, world in enumerate((smooth, grass, smooth)):
        physics.settle_on(i, world)
        physics.place(i, 2.0, 7.5, 0.0)
    for _ in range(8):
        motion = physics.drive(np.full(3, 0.8), np.zeros(3))
    assert motion.velocity[:, :, 0].mean(1) == pytest.approx([0.8, 0.0, 0.8], abs=0.08)
    np.testing.assert_array_equal(physics.poses[0], physics.poses[2])
    assert set(motion.under[1].ravel()) == {terrain.THICK_GRASS}


def test_going_back_to_a_state_drives_the_same_again() -> None:
    physics = Physics(2, world_of(terrain.LAWN).heights.shape)
    for i in range(2):
        physics.settle_on(i, world_of(terrain.LAWN))
        physics.place(i, 2.0 + i, 7.5, 0.3)
    physics.drive(np.full(2, 0.8), np.zeros(2))
    state = physics.get_state()
    first: NDArray[np.float64] = physics.drive(np.full(2, 1.0), np.full(2, 0.5)).pose
    physics.set_state(state)
    np.testing.assert_array_equal(physics.drive(np.full(2, 1.0), np.full(2, 0.5)).pose, first)
    with pytest.raises(ValueError, match="same number of copies"):
        Physics(1, (20, 20)).set_state(state)


def test_a_drive_may_last_any_number_of_chunks() -> None:
    """A quarter second at once or in ticks of 20 ms: the same bodies, bit for bit."""
    world = world_of(terrain.LAWN)
    whole, ticks = (Physics(1, world.heights.shape, decision=seconds) for seconds in (0.1, 0.02))
    for physics in (whole, ticks):
        physics.settle_on(0, world)
        physics.place(0, 5.0, 5.0, 0.3)
    once = whole.drive(np.array([1.0]), np.array([0.4]))
    parts = [ticks.drive(np.array([1.0]), np.array([0.4])).pose.copy() for _ in range(5)]
    np.testing.assert_array_equal(once.pose, np.concatenate(parts, 1))
    with pytest.raises(ValueError, match=r"a multiple of 0\.01 s, got 0\.025"):
        Physics(1, world.heights.shape, decision=0.025)
