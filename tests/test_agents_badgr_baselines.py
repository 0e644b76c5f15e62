"""The drivers that the event predictor is compared with: ways over grids, a lidar's map, refusals."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from agents.badgr.bearing import wrapped
from agents.badgr.grid_way import cheapest_way
from agents.badgr.lidar_grid import GridConfig, LidarGrid, spread
from agents.badgr.lidar_planner import LidarPlanner, LidarPlannerConfig
from agents.badgr.methods import METHODS, agent_maker
from agents.badgr.oracle import OracleAgent
from agents.badgr.pursuit import MOST_TURN, SPEED, pursue
from agents.badgr.straight import StraightAgent
from agents.badgr.trip import TripConfig
from agents.badgr.true_foresight import TrueForesight
from envs.rover.camera import Lens
from envs.rover.rovers import RoverConfig, Rovers
from envs.rover.sensors import Noise

TOY = runpy.run_path(str(Path(__file__).parent / "toy_drive.py"))
Plain, drive = TOY["Plain"], TOY["drive"]
SOON = LidarPlannerConfig(trip=TripConfig(circle=0.0))
BLIND = Lens(8, 6, 1.7, 1.7, False)


def price(cost: np.ndarray, way: np.ndarray) -> float:
    steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    assert set(np.round(steps, 6)) <= {1.0, 1.414214}
    return float((steps * cost[way[1:, 0], way[1:, 1]]).sum())


def test_the_way_is_the_cheapest() -> None:
    """Against relaxing all cells until nothing changes."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        cost = np.where(rng.random((12, 15)) < 0.3, np.inf, 1 + 3 * rng.random((12, 15)))
        cost[0, 0] = cost[11, 14] = 1.0
        paid = np.full((14, 17), np.inf)
        paid[1, 1] = 0.0
        for _ in range(200):
            around = [(di, dj) for di in (-1, 0, 1) for dj in (-1, 0, 1) if di or dj]
            for di, dj in around:
                there = paid[1 + di : 13 + di, 1 + dj : 16 + dj] + np.hypot(di, dj) * cost
                paid[1:13, 1:16] = np.minimum(paid[1:13, 1:16], there)
        rows, columns = np.mgrid[0:12, 0:15]
        away = np.hypot(rows - 11, columns - 14)
        finish = np.where(away == 0, 0.0, np.inf)
        way = cheapest_way(cost, (0, 0), finish, away)
        if np.isinf(paid[12, 15]):
            assert way is None
        else:
            assert price(cost, way) == pytest.approx(paid[12, 15])


def test_a_way_may_end_where_the_rest_is_cheapest() -> None:
    """The goal lies beyond a map with a gap in its wall: the way ends at the map's border behind the gap."""
    cost = np.ones((11, 11))
    cost[:, 5] = np.inf
    cost[9, 5] = 1.0
    finish = np.full((11, 11), np.inf)
    rows, columns = np.mgrid[0:11, 0:11]
    away = np.hypot(rows - 5, columns - 20)
    finish[:, -1] = away[:, -1]
    way = cheapest_way(cost, (5, 0), finish, away)
    assert [9, 5] in way.tolist()
    assert way[-1, 1] == 10


def test_the_lidars_map_holds_what_stands_where_it_stands_and_moves_along() -> None:
    plain = Plain([(3.0, -1.5, 0.5)])
    grid = LidarGrid()
    for step in range(40):
        grid.update(plain.pose[:2], plain.pose[2], plain.observe()["lidar"])
        plain.drive(np.array([0.3 * np.sin(step / 5), 0.8]))
    assert plain.pose[0] > 6
    found = grid.places(np.argwhere(grid.occupied))
    away = np.hypot(found[:, 0] - 3.0, found[:, 1] + 1.5)
    assert len(found) > 10
    assert ((away > 0.3) & (away < 0.7)).all()
    row, column = grid.cell(np.array([3.0, -1.5]))
    np.testing.assert_allclose(grid.places(np.array([[row, column]]))[0], (3, -1.5), atol=0.08)


def test_what_has_gone_leaves_the_map() -> None:
    plain, grid = Plain([(2.0, 0.0, 0.3)]), LidarGrid()
    for _ in range(3):
        grid.update(plain.pose[:2], 0.0, plain.ranges())
    assert grid.occupied.any()
    plain.discs[:, 0] = 5.0
    for _ in range(12):
        grid.update(plain.pose[:2], 0.0, plain.ranges())
    found = grid.places(np.argwhere(grid.occupied))
    assert (found[:, 0] > 4).all()


def test_obstacles_grow_by_a_radius_in_all_directions() -> None:
    mask = np.zeros((11, 11), bool)
    mask[5, 5] = True
    rows, columns = np.mgrid[0:11, 0:11]
    np.testing.assert_array_equal(spread(mask, 3.3), np.hypot(rows - 5, columns - 5) <= 3.3)


def test_the_lidar_planner_finds_its_way_around_a_wall() -> None:
    wall = [(5.0, y, 0.3) for y in np.arange(-4, 2.1, 0.4)]
    plain = Plain(wall, goal=(10.0, 0.0), compass=0.087)
    planner = LidarPlanner(SOON)
    drive(planner, plain)
    assert planner.halt.kind == "arrived"
    assert plain.hits == 0
    assert np.array(plain.track)[:, 1].max() > 2.0


def test_ringed_by_what_the_lidar_sees_it_stands_and_at_last_refuses() -> None:
    """Be it grass that one could drive through: the lidar does not know."""
    ring = [(1.5 * np.cos(a), 1.5 * np.sin(a), 0.3) for a in np.arange(0, 6.3, 0.3)]
    plain = Plain(ring)
    planner = LidarPlanner(SOON)
    planner.act(plain.observe())
    assert planner.halt.kind == "blocked"
    assert "no free way to the goal, 12.0 m away" in planner.halt.words
    actions = drive(planner, plain)
    assert planner.halt.kind == "refused"
    assert not np.any(actions)
    assert len(actions) == 81


def test_it_keeps_inside_its_fence() -> None:
    wall = [(5.0, y, 0.3) for y in np.arange(-1.5, 3.1, 0.4)]
    lowest = []
    for fence in (None, (-3.0, -3.0, 20.0, 20.0)):
        plain = Plain(wall, goal=(10.0, 0.0))
        drive(LidarPlanner(SOON, fence=fence), plain)
        lowest.append(float(np.array(plain.track)[:, 1].min()))
    assert lowest[0] < -2.05
    assert lowest[1] > -2.05


def test_a_goal_in_an_obstacle_is_refused() -> None:
    plain = Plain([(8.0, 0.0, 2.5)], goal=(8.0, 0.0))
    planner = LidarPlanner(SOON)
    drive(planner, plain)
    assert planner.halt.kind == "refused"
    assert plain.hits == 0


def test_a_scan_of_another_lidar_stops_it() -> None:
    plain, planner = Plain(), LidarPlanner()
    assert not planner.act(plain.observe() | {"lidar": np.ones(720, np.float32)}).any()
    assert planner.halt.words == "the stream 'lidar' has the size (720,), expected (360)"


def test_straight_is_straight_and_blind() -> None:
    plain = Plain([(6.0, 0.0, 0.5)], start=(0, 0, 1.5))
    agent = StraightAgent()
    drive(agent, plain, steps=40)
    assert plain.hits > 0
    assert abs(wrapped(plain.pose[2])) < 0.3
    plain = Plain()
    drive(agent, plain)
    assert agent.halt.kind == "arrived"


def test_pursuit_stays_within_the_limits_and_hits_its_mark() -> None:
    rng = np.random.default_rng(0)
    for target in rng.normal(size=(200, 2)):
        turn, speed = pursue(target)
        assert abs(turn) <= MOST_TURN + 1e-6
        assert 0 <= speed <= np.float32(SPEED)
        if speed:
            # The arc through the target: the circle's centre is as far from it as from the robot.
            radius = speed / turn
            assert np.hypot(target[0], target[1] - radius) == pytest.approx(abs(radius), rel=1e-3)


def test_the_oracle_reaches_its_goal_over_smooth_ground() -> None:
    rovers = Rovers(RoverConfig("urban", "test", (0,), lens=BLIND), 1, 0, threads=1)
    rovers.restart(trips=np.array([[0, 0]]))
    agent, smooth = OracleAgent(rovers, 0), []
    agent.reset()
    for _ in range(240):
        rovers.drive(agent.act(None)[None])
        smooth.append(not rovers.truth["bumpy"][0])
        assert not rovers.truth["collision"][0]
        if rovers.truth["reached"][0]:
            break
    assert rovers.truth["reached"][0]
    assert np.mean(smooth) > 0.9
    rovers.close()


def test_the_true_foresight_says_what_then_happens() -> None:
    """Straight on from places beside a house: a collision is predicted at the step in which it happens."""
    rovers = Rovers(RoverConfig("urban", "test", (0,), lens=BLIND, noise=Noise.none()), 1, 0, threads=1)
    rovers.restart(trips=np.array([[0, 0]]))
    house = next(one for one in rovers.prepared(0).world.solids if one.name == "house")
    ahead = np.tile(np.float32([0.0, 0.8]), (1, 8, 1))
    for away in (0.8, 1.4):
        x = house.centre[0] - house.half[0] - 0.25 - away
        rovers.place(0, x, house.centre[1], 0.0)
        foresight = TrueForesight(rovers, 0)
        foresight.look(np.zeros(1))
        told = foresight.predict(ahead)
        hits, places = [], []
        for _ in range(8):
            rovers.drive(ahead[0, 0][None])
            hits.append(bool(rovers.truth["collision"][0]))
            places.append(rovers.truth["position"][0, 0] - x)
        first = hits.index(True)
        assert abs(int(told.events["collision"][0].argmax()) - first) <= 1
        np.testing.assert_allclose(told.position[0, :first, 0], places[:first], atol=0.12)
    rovers.close()


def test_every_method_is_made_by_name() -> None:
    for method in METHODS:
        if method != "badgr":
            assert callable(agent_maker(method))
    with pytest.raises(ValueError, match="badgr needs a trained model"):
        agent_maker("badgr")
    with pytest.raises(ValueError, match="there is no method 'magic': give some of badgr, straight"):
        agent_maker("magic")
    assert GridConfig().cell * GridConfig().cells == 24.0
