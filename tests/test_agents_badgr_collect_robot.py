"""Driving oneself by one's own sensors: the random walk, the fence, trouble and the way out of it."""

import itertools
from typing import Any

import numpy as np
import pytest

from agents.badgr.agent import BadgrAgent, DriveConfig
from agents.badgr.collect_agent import CollectAgent
from agents.badgr.collect_policy import NoisyTrips
from agents.badgr.events import OFF_ROAD, URBAN, LabelConfig
from agents.badgr.geofence import FenceConfig, Geofence, Localizer, wrapped
from agents.badgr.planner import PlannerConfig
from agents.badgr.prediction import Prediction
from agents.badgr.recovery import Recovery, RecoveryConfig
from agents.badgr.spec import ModelSpec
from agents.badgr.walk import RandomWalk, WalkConfig

DT = 0.25


def seen(
    speed: float = 1.0, *, blow: bool = False, echo: bool = False, tilt: float = 0.0, yaw: float = 0.0
) -> dict[str, Any]:
    """A quarter second's sensors of a robot whose wheels turn at `speed` m/s."""
    acceleration = np.tile([9.81 * np.sin(tilt), 0.0, 9.81 * np.cos(tilt)], (25, 1))
    if blow:
        acceleration[10:13, 0] -= 30.0
    lidar = np.full(360, 12.0, np.float32)
    if echo:
        lidar[:5] = 0.17
    return {
        "imu_angular_velocity": np.tile([0.0, 0.0, yaw], (25, 1)).astype(np.float32),
        "imu_linear_acceleration": acceleration.astype(np.float32),
        "lidar": lidar,
        "odometry_velocity": np.array([speed, yaw], np.float32),
        "gps": np.zeros(2),
        "gps_age": np.zeros(1),
        "gps_velocity": np.array([0.0, speed]),
        "compass": np.zeros(1),
    }


class Straight:
    """Drives on at 1 m/s."""

    def reset(self) -> None: ...

    def act(self, observation: object) -> np.ndarray:
        return np.array([0.0, 1.0], np.float32)


def agent(labels: LabelConfig = URBAN, seed: int = 0) -> CollectAgent:
    return CollectAgent(Straight(), Recovery(RecoveryConfig(), labels, np.random.default_rng(seed)))


def obey(action: np.ndarray) -> dict[str, Any]:
    """What a robot senses that does as it is told."""
    return seen(float(action[1]), yaw=float(action[0]))


# -- the random walk --------------------------------------------------------------------------------


def test_the_walk_is_correlated_in_time_and_within_the_limits_of_the_released_data() -> None:
    walk = RandomWalk(WalkConfig(), np.random.default_rng(0))
    actions = np.stack([walk.act(None) for _ in range(20_000)])
    steering, speed = actions.T
    assert np.abs(steering).max() <= 1
    assert 0.75 <= speed.min() < 0.78
    assert 1.22 < speed.max() <= 1.25
    assert abs(steering.mean()) < 0.05
    changes = np.flatnonzero(np.diff(speed)) + 1
    assert (changes % 20 == 0).all()  # a speed is kept for 5 s
    assert len(changes) == 999
    uncut = RandomWalk(WalkConfig(most_steering=100.0), np.random.default_rng(0))
    steering = np.array([uncut.act(None)[0] for _ in range(20_000)])
    assert steering.std() == pytest.approx(0.6, rel=0.05)
    for steps in (1, 4):
        assert np.corrcoef(steering[:-steps], steering[steps:])[0, 1] == pytest.approx(
            np.exp(-steps * DT), abs=0.03
        )


def test_the_same_seed_walks_the_same_way() -> None:
    one, two = (RandomWalk(WalkConfig(), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal([one.act(None) for _ in range(50)], [two.act(None) for _ in range(50)])


@pytest.mark.parametrize("wrong", [{"steering": 0}, {"slowest": 2.0}, {"dt": -1}])
def test_a_walk_that_means_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}"):
        WalkConfig(**wrong)


# -- the fence --------------------------------------------------------------------------------------


def roam(seed: int, box: tuple[float, float, float, float], seconds: float) -> np.ndarray:
    """Places (T, 2) of a point that drives a random walk inside a fence, with the sensors' usual errors."""
    rng = np.random.default_rng(seed)
    fence, walk = Geofence(box), RandomWalk(WalkConfig(), rng)
    place, heading = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]), rng.uniform(-3, 3)
    bias, fix, places, rate = rng.normal(0, 1, 2), place, [], 0.0
    velocity = np.zeros(2)
    for step in range(round(seconds / DT)):
        if step % 4 == 0:
            fix = place + bias + rng.normal(0, 0.6, 2)
        look = seen(yaw=rate) | {
            "gps": fix,
            "gps_age": np.array([DT * (step % 4)]),
            "gps_velocity": velocity + rng.normal(0, 0.03, 2),
            "compass": np.array([wrapped(heading + rng.normal(0, 0.087))]),
        }
        turn, action = fence.look(look), walk.act(look)
        rate, speed = float(action[0] if turn is None else turn), float(action[1])
        heading += rate * DT
        velocity = speed * np.array([np.cos(heading), np.sin(heading)])
        place = place + velocity * DT
        places.append(place)
    return np.array(places)


@pytest.mark.parametrize("seed", range(4))
def test_a_random_walk_stays_within_the_fence_by_gps(seed: int) -> None:
    box = (3.0, 3.0, 25.0, 38.0)
    places = roam(seed, box, 300.0)
    outside = np.maximum(np.array(box[:2]) - places, places - np.array(box[2:])).max(1)
    assert outside.max() < 1.0  # GPS is wrong by as much
    assert (outside > 0).mean() < 0.03
    assert np.ptp(places, axis=0).min() > 12  # and it uses the place


def test_the_first_fix_after_a_robot_was_carried_counts_in_full() -> None:
    localizer = Localizer(FenceConfig(), DT)
    localizer.update(seen() | {"gps": np.array([60.0, 0.0]), "gps_age": np.array([5.0])})
    where, _ = localizer.update(seen() | {"gps": np.zeros(2), "gps_age": np.zeros(1)})
    np.testing.assert_array_equal(where, np.zeros(2))


def test_the_place_is_known_better_than_a_fix() -> None:
    rng, errors = np.random.default_rng(0), []
    localizer, place = Localizer(FenceConfig(), DT), np.zeros(2)
    for step in range(400):
        place = place + np.array([0.25, 0.0])
        fix = place + rng.normal(0, 0.6, 2)
        look = seen() | {"gps": fix, "gps_age": np.array([0.0 if step % 4 == 0 else 0.5])}
        look |= {"gps_velocity": np.array([1.0, 0.0]) + rng.normal(0, 0.03, 2)}
        look |= {"compass": rng.normal(0, 0.087, 1)}
        where, heading = localizer.update(look)
        errors.append((*(where - place), heading))
    spread = np.array(errors)[100:].std(0)
    assert spread[:2].max() < 0.35
    assert spread[2] < 0.03


def test_who_stays_beyond_the_fence_asks_for_a_person() -> None:
    fence = Geofence((0, 0, 20, 20), FenceConfig(beyond_seconds=2.0))
    look = seen() | {"gps": np.array([-3.0, 10.0])}
    for step in range(8):
        assert not fence.lost, step
        assert fence.look(look) is None  # it faces inwards already
    assert fence.lost
    driver = CollectAgent(Straight(), Recovery(RecoveryConfig(), URBAN, np.random.default_rng(0)), fence)
    for _ in range(8):
        action = driver.act(look)
    assert driver.rescue == "outside"
    np.testing.assert_array_equal(action, [0, 0])


def test_a_fence_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves no room within a margin of 3"):
        Geofence((0, 0, 5, 20))


# -- trouble ----------------------------------------------------------------------------------------


def test_nobody_manoeuvres_without_trouble() -> None:
    robot = agent()
    action = robot.act(seen(0.0))
    for _ in range(100):
        action = robot.act(obey(action))
        assert action.tolist() == [0, 1]
        assert not robot.resetting
    assert robot.manoeuvres == {}


def struck(robot: CollectAgent, **how: bool) -> None:
    """Drives, meets something, and is held until it manoeuvres."""
    action = robot.act(seen(0.0))
    for _ in range(12):
        action = robot.act(obey(action))
    robot.act(seen(0.6, **how))
    for _ in range(20):
        if robot.resetting:
            break
        robot.act(seen(0.3))


@pytest.mark.parametrize(
    ("labels", "how"), [(OFF_ROAD, {"blow": True}), (URBAN, {"blow": True}), (URBAN, {"echo": True})]
)
def test_after_a_collision_it_backs_up_turns_and_drives_on(labels: LabelConfig, how: dict[str, bool]) -> None:
    robot = agent(labels)
    struck(robot, **how)
    assert robot.manoeuvres == {"collision": 1}
    action, back, turned = robot.act(seen(0.0)), 0.0, 0.0
    while robot.resetting:
        back += DT * max(-float(action[1]), 0)
        turned += DT * abs(float(action[0])) * (action[1] == 0)
        action = robot.act(obey(action))
    assert 0.4 <= back <= 1.2
    assert np.deg2rad(50) < turned < np.deg2rad(170)
    assert action.tolist() == [0, 1]
    assert robot.rescue is None


def test_a_jolt_that_does_not_hold_it_is_no_trouble_and_grass_is_none_off_the_road() -> None:
    robot = agent()
    action = robot.act(seen(0.0))
    for _ in range(12):
        action = robot.act(obey(action))
    for _ in range(8):
        robot.act(seen(1.0, blow=True))
    assert not robot.resetting
    grass = agent(OFF_ROAD)
    grass.act(seen(0.0))
    for _ in range(4):
        grass.act(seen(1.0, echo=True))
    for _ in range(5):
        grass.act(seen(0.8, echo=True))
    assert not grass.resetting


def test_held_back_for_long_it_is_stuck_and_slow_grass_for_a_moment_is_not() -> None:
    robot = agent()
    robot.act(seen(0.0))
    for _ in range(9):
        robot.act(seen(0.2))
    robot.act(seen(1.0))
    for _ in range(9):
        robot.act(seen(0.2))
        assert not robot.resetting
    robot.act(seen(0.2))
    assert robot.manoeuvres == {"stuck": 1}


def test_what_is_blocked_behind_turns_at_once() -> None:
    robot = agent()
    struck(robot, blow=True)
    backing = 0
    for _ in range(10):
        action = robot.act(seen(0.0))
        backing += action[1] < 0
    assert backing <= 4
    assert action[1] == 0
    assert abs(action[0]) > 1


def test_after_three_manoeuvres_that_did_not_help_it_asks_for_a_person() -> None:
    robot = agent()
    robot.act(seen(0.0))
    for _ in range(400):
        action = robot.act(seen(0.0))
        if robot.rescue:
            break
    assert robot.rescue == "stuck"
    assert robot.manoeuvres == {"stuck": 4}
    assert action.tolist() == [0, 0]
    robot.reset()
    assert robot.rescue is None
    assert robot.manoeuvres == {}


def test_manoeuvres_that_help_are_forgotten() -> None:
    robot = agent()
    for _ in range(6):
        struck(robot, blow=True)
        action = robot.act(seen(0.0))
        for _ in range(60):
            action = robot.act(obey(action))
    assert robot.rescue is None
    assert robot.manoeuvres == {"collision": 6}


def test_a_tipped_robot_does_not_try() -> None:
    robot = agent()
    robot.act(seen(0.0))
    for _ in range(3):
        assert robot.rescue is None
        robot.act(seen(1.0, tilt=0.7))
    assert robot.rescue == "tipped"


def test_a_hill_is_no_tip() -> None:
    robot = agent()
    action = robot.act(seen(0.0))
    for _ in range(20):
        action = robot.act(
            obey(action) | {"imu_linear_acceleration": seen(tilt=0.4)["imu_linear_acceleration"]}
        )
    assert robot.rescue is None
    assert not robot.resetting


def test_the_same_seed_gets_out_in_the_same_way() -> None:
    ways = []
    for seed in (1, 1, 2):
        robot = agent(seed=seed)
        struck(robot, blow=True)
        action, way = robot.act(seen(0.0)), []
        while robot.resetting:
            way.append(action.tolist())
            action = robot.act(obey(action))
        ways.append(way)
    assert ways[0] == ways[1] != ways[2]


# -- driving by a predictor -------------------------------------------------------------------------


class Open:
    """Expects to get where it steers, and no harm."""

    spec = ModelSpec(horizon=4, events=("collision",), lasting=("collision",))

    def look(self, image: np.ndarray) -> None: ...

    def predict(self, actions: np.ndarray) -> Prediction:
        turned = np.cumsum(actions[..., 0], 1) * DT
        steps = np.stack([np.cos(turned), np.sin(turned)], -1) * 0.8 * DT
        harm = np.zeros(actions.shape[:2], np.float32)
        return Prediction({"collision": harm}, np.cumsum(steps, 1).astype(np.float32))


def test_a_predictor_drives_from_goal_to_goal_and_not_quite_as_it_planned() -> None:
    box, rng = (0.0, 0.0, 20.0, 20.0), np.random.default_rng(0)
    planner = BadgrAgent(Open(), config=DriveConfig(PlannerConfig(candidates=64)), seed=0)
    driver = NoisyTrips(planner, box, rng)
    driver.reset()
    place, heading, action, goals, wrong = np.array([10.0, 10.0]), 0.0, np.zeros(2), [], []
    for _ in range(600):
        look = seen(float(action[1]), yaw=float(action[0])) | {
            "image": np.zeros((96, 128, 3), np.uint8), "gps": place, "compass": np.array([wrapped(heading)]),
            "gps_velocity": float(action[1]) * np.array([np.cos(heading), np.sin(heading)]),
            "odometry": np.array([*place, heading]),
        }  # fmt: skip
        action = driver.act(look)
        if planner.plan is not None:
            wrong.append(float(action[0]) - float(planner.plan.action[0]))
        if planner.goal is not None and (not goals or planner.goal is not goals[-1]):
            goals.append(planner.goal)
        heading += DT * float(action[0])
        place = place + DT * float(action[1]) * np.array([np.cos(heading), np.sin(heading)])
    assert len(goals) >= 5  # 120 m of driving
    for before, after in itertools.pairwise(goals):
        assert np.linalg.norm(after - before) > 3.0  # a goal is reached within 2 m
    assert all((goal >= 0).all() and (goal <= 20).all() for goal in goals)
    assert 0.1 < np.std(wrong) < 0.4
