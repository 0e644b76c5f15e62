"""Generated worlds: the same each time, of every kind of ground, and drivable."""

import numpy as np
import pytest

from envs.rover import terrain
from envs.rover.feasible import DEEPEST, line_blocked, passage
from envs.rover.kernel_solids import CYLINDER
from envs.rover.terrain import KINDS
from envs.rover.world import Solid, World, pillar
from envs.rover.worlds import LAYOUTS, SPLITS, TRIPS, Layout, make_world

TRIP = {"urban": (20, 31), "offroad": (20, 40), "indoor": (4, 16)}


@pytest.fixture(scope="module")
def worlds() -> dict[str, list[World]]:
    return {layout: [make_world(layout, "train", index) for index in range(3)] for layout in LAYOUTS}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_world_is_the_same_each_time(layout: Layout, worlds: dict[str, list[World]]) -> None:
    world, again = worlds[layout][1], make_world(layout, "train", 1)
    np.testing.assert_array_equal(world.heights, again.heights)
    np.testing.assert_array_equal(world.kinds, again.kinds)
    np.testing.assert_array_equal(world.starts, again.starts)
    assert (world.solids, world.light, world.textures) == (again.solids, again.light, again.textures)
    other = worlds[layout][2]
    assert (world.kinds != other.kinds).any()
    assert world.light != other.light


def test_splits_share_no_world() -> None:
    numbers = [number for split in SPLITS.values() for number in split]
    assert sorted(numbers) == list(range(100))
    assert [len(SPLITS[split]) for split in ("train", "validation", "test")] == [60, 20, 20]
    assert make_world("urban", "test", 0).solids != make_world("urban", "train", 0).solids
    with pytest.raises(ValueError, match="worlds 0 to 19, not 20"):
        make_world("urban", "test", 20)
    with pytest.raises(ValueError, match="no world marsh/train"):
        make_world("marsh", "train", 0)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize("layout", LAYOUTS)
def test_trips_can_be_made_and_are_as_long_as_promised(
    layout: Layout, worlds: dict[str, list[World]]
) -> None:
    blocked = []
    for world in worlds[layout]:
        free = passage(world.kinds, world.solids, world.fence, world.heights)
        assert len(world.starts) == len(world.goals) == TRIPS
        for start, goal in zip(world.starts, world.goals, strict=True):
            straight = np.hypot(*(start[:2] - goal))
            assert TRIP[layout][0] <= straight <= TRIP[layout][1]
            ways = free.distances(*goal)
            cell = free.cell(*start[:2])
            assert straight * 0.95 <= ways[cell] < 1.9 * straight + 2.1
            blocked.append(line_blocked(free, np.array(cell), np.array(free.cell(*goal))))
    assert 0.3 <= np.mean(blocked) <= 0.7  # "in about half"


@pytest.mark.parametrize("layout", ["urban", "offroad"])
def test_there_are_no_deep_dead_ends(layout: Layout, worlds: dict[str, list[World]]) -> None:
    for world in worlds[layout]:
        assert passage(world.kinds, world.solids, world.fence, world.heights).deepest_narrow() <= DEEPEST


def test_a_dead_end_is_found() -> None:
    kinds = np.zeros((161, 161), np.uint8)
    sides = [pillar(x, 3.0 + 0.2 * k, 0, 0.15, 1.0, "metal") for x in (5.0, 6.3) for k in range(20)]
    back = [pillar(5.0 + 0.13 * k, 7.0, 0, 0.15, 1.0, "metal") for k in range(11)]
    fence = (0.0, 0.0, 12.0, 12.0)
    assert passage(kinds, (), fence).deepest_narrow() < 0.8  # the corners
    assert passage(kinds, tuple(sides + back), fence).deepest_narrow() > 2.5


def test_every_kind_of_ground_is_found_somewhere(worlds: dict[str, list[World]]) -> None:
    seen = {kind for ones in worlds.values() for world in ones for kind in np.unique(world.kinds)}
    assert seen == set(range(len(KINDS)))
    names = {solid.name for ones in worlds.values() for world in ones for solid in world.solids}
    assert {"house", "tree", "post", "kerb", "car", "bench", "log", "rock", "wall", "table"} <= names


def test_low_things_are_below_the_lidars_plane(worlds: dict[str, list[World]]) -> None:
    for world in worlds["urban"]:
        for solid in world.solids:
            if solid.name == "kerb":
                assert 0.12 <= solid.top <= 0.2


def test_bumps_are_as_high_as_the_table_says(worlds: dict[str, list[World]]) -> None:
    world = worlds["urban"][0]
    for kind in (terrain.PAVEMENT, terrain.LAWN):
        rough = world.heights[world.kinds == kind].std()
        assert rough == pytest.approx(KINDS[kind].rms, rel=0.35, abs=0.001)
    assert not KINDS[terrain.PAVEMENT].is_bumpy
    assert KINDS[terrain.LAWN].is_bumpy
    assert [kind.name for kind in KINDS if kind.holds] == ["thick grass"]


def test_trips_in_the_city_can_stay_on_smooth_ground(worlds: dict[str, list[World]]) -> None:
    for world in worlds["urban"]:
        free = passage(world.kinds, world.solids, world.fence, world.heights)
        for start, goal in zip(world.starts, world.goals, strict=True):
            assert not KINDS[world.kind_at(*start[:2])].is_bumpy
            assert not KINDS[world.kind_at(*goal)].is_bumpy
            plain, wary = (free.distances(*goal, cost)[free.cell(*start[:2])] for cost in (0.0, 4.0))
            assert wary < 2.0 * plain + 4.0  # five times the price of a bumpy metre, and hardly any is paid


def test_a_solid_knows_its_size() -> None:
    solid = Solid(CYLINDER, (0, 0, 0.5), (0.3, 0.3, 0.5))
    assert (solid.bottom, solid.top) == (0.0, 1.0)
    assert solid.radius == pytest.approx(np.hypot(0.3, 0.5))
