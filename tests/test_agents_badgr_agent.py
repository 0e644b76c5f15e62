"""Driving to a goal by predicted events: where the goal is, what is done in trouble, and why it stops."""

import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.badgr.agent import BadgrAgent, DriveConfig
from agents.badgr.bearing import Bearing, wrapped
from agents.badgr.events import URBAN
from agents.badgr.export import export_model
from agents.badgr.planner import PlannerConfig
from agents.badgr.prediction import Prediction
from agents.badgr.predictor import Predictor
from agents.badgr.recovery import Recovery, RecoveryConfig
from agents.badgr.reward import Preferences
from agents.badgr.trip import TripConfig

TOY = runpy.run_path(str(Path(__file__).parent / "toy_drive.py"))
calm_network = runpy.run_path(str(Path(__file__).with_name("badgr_calm.py")))["calm_network"]
Plain, Foresight, drive, SPEC = TOY["Plain"], TOY["Foresight"], TOY["drive"], TOY["SPEC"]
CONFIG = DriveConfig(PlannerConfig(candidates=128))
AT_ONCE = replace(CONFIG, trip=TripConfig(circle=0.0))


def agent_on(plain, preferences=None, config=CONFIG, **options):
    return BadgrAgent(Foresight(plain), preferences, config, **options)


def test_the_goals_direction_is_better_known_than_by_fixes() -> None:
    """Errors of the place over 40 s of driving with the rover's own noise, several trips."""
    ours, theirs, headings = [], [], []
    for seed in range(20):
        plain, bearing = Plain(gps=0.6, wander=1.0, compass=0.087, seed=seed), Bearing()
        for step in range(160):
            seen = plain.observe()
            here = bearing.update(seen)
            plain.drive(np.array([0.3 * np.sin(step / 10), 0.8]))
        before = plain.track[-2]
        ours.append(np.linalg.norm(here.place - before[:2]))
        theirs.append(np.linalg.norm(seen["gps"] - before[:2]))
        headings.append(abs(wrapped(here.heading - before[2])))
    assert np.mean(np.square(ours)) < 0.75 * np.mean(np.square(theirs))
    assert np.mean(headings) < np.radians(2.0)


def test_without_gps_the_wheels_carry_the_place_on() -> None:
    plain, bearing = Plain(), Bearing()
    for step in range(80):
        seen = plain.observe()
        if step > 40:
            seen |= {"gps": np.zeros(2), "gps_age": np.array([0.25 * (step - 40)])}
            seen["gps_velocity"] = np.zeros(2)
        here = bearing.update(seen)
        plain.drive(np.array([0.2, 0.8]))
    away = np.linalg.norm(here.place - plain.track[-2][:2])
    assert away < 2.1  # of 8 m: GPS is believed for as long as it may be late
    left = here.in_frame(here.place + np.array([-np.sin(here.heading), np.cos(here.heading)]))
    np.testing.assert_allclose(left, (0, 1), atol=1e-9)


def test_it_drives_to_the_goal_and_stands_there() -> None:
    plain = Plain(start=(0, 0, 2.0), gps=0.6, compass=0.087)
    agent = agent_on(plain, config=AT_ONCE)
    actions = drive(agent, plain)
    assert agent.halt.kind == "arrived"
    assert "the goal is reached" in agent.halt.words
    assert np.linalg.norm(plain.pose[:2] - plain.goal) < 2.0
    assert not actions[-1].any()
    assert not agent.act(plain.observe()).any(), "it stands for good"
    assert max(action[1] for action in actions) == np.float32(0.8)


def test_before_it_says_so_it_circles_the_goal_as_gps_errs() -> None:
    """So that it comes within 2 m of a goal that lies 2.5 m from where GPS says, in any direction."""
    for angle in np.arange(4) * np.pi / 2 + 0.4:
        plain = Plain()
        agent = agent_on(plain)
        drive(agent, plain)
        assert agent.halt.kind == "arrived"
        truly = plain.goal + 2.5 * np.array([np.cos(angle), np.sin(angle)])
        assert np.linalg.norm(np.array(plain.track)[:, :2] - truly, axis=1).min() < 2.0


def test_obstacles_are_driven_around_and_all_that_was_looked_at_is_kept() -> None:
    plain = Plain(discs=[(5, 0.2, 1.0), (8.5, -1.0, 0.8)])
    agent = agent_on(plain, config=AT_ONCE)
    agent.act(plain.observe())
    assert agent.plan.candidates.shape == (128, 8, 2)
    assert agent.plan.cost.shape == (128,)
    assert agent.plan.prediction.position.shape == (128, 8, 2)
    np.testing.assert_allclose(agent.leg.goal, (12, 0), atol=1e-6)
    drive(agent, plain)
    assert agent.halt.kind == "arrived"
    assert plain.hits == 0


def test_preferences_may_be_changed_between_two_acts() -> None:
    class Lawn(Foresight):
        def bumpy(self, places):
            return ((places[..., 0] > 0.5) & (places[..., 1] < 0.3)).astype(float)

    plain = Plain(goal=(30.0, 0.0))
    agent = BadgrAgent(Lawn(plain), Preferences(events={"bumpy": 0.0}), CONFIG)
    turning = []
    for weight in (0.0, 3.0):
        agent.reset()
        agent.preferences = Preferences(events={"bumpy": weight})
        for _ in range(8):
            action = agent.act(plain.observe())
        turning.append(float(action[0]))
    assert abs(turning[0]) < 0.2
    assert turning[1] > 0.4


def test_what_is_unpleasant_is_borne_when_nothing_else_leads_on() -> None:
    """Bumpy ground all around a smooth place: the goal is reached nevertheless."""

    class Island(Foresight):
        def bumpy(self, places):
            return (np.linalg.norm(places, axis=-1) > 2.5).astype(float)

    plain = Plain(goal=(8.0, 0.0))
    keen = Preferences(goal=0.1, events={"bumpy": 2.0})
    agent = BadgrAgent(Island(plain), keen, replace(AT_ONCE, patience=5.0))
    actions = drive(agent, plain)
    assert agent.halt.kind == "arrived"
    assert len(actions) > 80, "it tried to stay on smooth ground first"
    assert agent.preferences is keen


def test_where_every_candidate_collides_it_turns_on_the_spot_and_drives_on() -> None:
    """Nose to a long wall, open behind."""
    wall = [(0.75, y, 0.3) for y in np.arange(-4, 4.1, 0.4)]
    plain = Plain(wall, goal=(-8.0, 0.5))
    agent = agent_on(plain, config=AT_ONCE)
    agent.act(plain.observe())
    assert agent.escape == "turn"
    actions = drive(agent, plain)
    assert actions[0][1] == 0
    assert abs(actions[0][0]) > 0.5
    assert agent.halt.kind == "arrived"
    assert plain.hits == 0


def test_shut_in_it_turns_backs_up_and_then_refuses() -> None:
    ring = [(0.8 * np.cos(a), 0.8 * np.sin(a), 0.2) for a in np.arange(0, 6.3, 0.25)]
    plain = Plain(ring)
    agent = agent_on(plain)
    actions = np.array(drive(agent, plain))
    assert agent.halt.kind == "refused"
    assert "shut in or held" in agent.halt.words
    assert (actions[:, 1] <= 0).all(), "never forward into what it expects to hit"
    assert (actions[:, 1] < 0).any()
    assert 79 <= len(actions) <= 83  # 20 s


def test_a_goal_inside_an_obstacle_is_refused_without_touching_it() -> None:
    plain = Plain([(8, 0, 3.0)], goal=(8.0, 0.0))
    agent = agent_on(plain, config=replace(CONFIG, trip=TripConfig(closer_seconds=20.0)))
    actions = drive(agent, plain)
    assert agent.halt.kind == "refused"
    assert "the goal cannot be reached: no closer than" in agent.halt.words
    assert plain.hits == 0
    assert not actions[-1].any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": None}, "the stream 'image' is missing"),
        ({"gps": None}, "the stream 'gps' is missing"),
        ({"goal": None}, "the stream 'goal' is missing"),
        ({"compass": np.array([np.nan])}, "the stream 'compass' holds NaN or infinity"),
        ({"gps_velocity": np.array([np.inf, 0])}, "'gps_velocity' holds NaN or infinity"),
        (
            {"image": np.zeros((48, 64, 3), np.uint8)},
            r"'image' has the size \(48, 64, 3\), expected \(24, 32",
        ),
        ({"image": np.zeros((24, 32, 3))}, "the model expects uint8 images|expects uint8"),
        ({"imu_angular_velocity": np.zeros((0, 3))}, r"has the size \(0, 3\), expected \(any, 3\)"),
        ({"odometry_velocity": np.array(["a", "b"])}, "'odometry_velocity' holds no numbers"),
        ({"gps_age": np.array([31.0])}, "no GPS fix for 31 s"),
    ],
)
def test_a_broken_observation_stops_it_until_the_next_good_one(change, words: str, predictor) -> None:
    plain = Plain()
    agent = BadgrAgent(predictor, config=CONFIG)
    assert agent.act(plain.observe())[1] > 0
    seen = {k: v for k, v in {**plain.observe(), **change}.items() if v is not None}
    assert not agent.act(seen).any()
    assert agent.halt.kind == "blind"
    assert agent.plan is None
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(agent.halt.words)
    assert agent.act(plain.observe())[1] > 0
    assert agent.halt is None


def test_a_broken_prediction_stops_it() -> None:
    class Broken(Foresight):
        def predict(self, actions):
            good = super().predict(actions)
            return Prediction(good.events, np.full_like(good.position, np.nan))

    plain = Plain()
    agent = BadgrAgent(Broken(plain), config=CONFIG)
    assert not agent.act(plain.observe()).any()
    assert agent.halt.kind == "blind"
    assert "the prediction is broken" in agent.halt.words


def test_held_by_something_unseen_it_gets_itself_free() -> None:
    """The wheels turn at a tenth of what they are told: stuck, so the recovery backs up."""
    plain = Plain()
    recovery = Recovery(RecoveryConfig(), URBAN, np.random.default_rng(0))
    agent = agent_on(plain, recovery=recovery)
    told = []
    for _ in range(20):
        told.append(agent.act(plain.observe()))
        plain.drive(0.1 * told[-1])
    assert min(action[1] for action in told) < 0
    assert recovery.counts == {"stuck": 1}


def test_another_goal_begins_another_trip() -> None:
    plain = Plain(goal=(2.0, 0.0))
    agent = agent_on(plain, config=AT_ONCE, goal=np.array([2.0, 0.0]))
    drive(agent, plain)
    assert agent.halt.kind == "arrived"
    agent.goal = np.array([2.0, 9.0])
    seen = plain.observe()
    del seen["goal"]
    assert agent.act(seen)[1] > 0
    assert agent.goal[1] == 9.0


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(export_model(calm_network(SPEC)))


@pytest.mark.parametrize("name", ["arrive", "stand_seconds", "closer"])
def test_settings_that_cannot_be(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be above 0, got 0"):
        TripConfig(**{name: 0})
    with pytest.raises(ValueError, match="circle must not be negative"):
        TripConfig(circle=-1)


def test_the_drivers_of_a_robot_need_no_torch_and_no_simulator(tmp_path: Path) -> None:
    code = """
import importlib, json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in json.loads(sys.argv[1]):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocked())
for name in ("agent", "straight", "lidar_planner", "predictor", "trip"):
    importlib.import_module(f"agents.badgr.{name}")
"""
    root = Path(__file__).parent.parent
    blocked = json.dumps(["torch", "mujoco", "numba", "rclpy", "stable_baselines3", "scipy"])
    subprocess.run([sys.executable, "-c", code, blocked], cwd=root, check=True, timeout=120)
