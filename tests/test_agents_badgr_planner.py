"""Planning with predicted events: preferences, sampling, safety against broken predictions."""

import dataclasses
import itertools

import numpy as np
import pytest

from agents.badgr.planner import PlannerConfig, SamplingPlanner
from agents.badgr.prediction import Prediction
from agents.badgr.reward import Preferences, certain, goal_angle, plan_cost
from agents.badgr.spec import ActionLimit, ModelSpec, SpecError

SPEC = ModelSpec()
GOAL = np.array([10.0, 0.0])
ONLY_GOAL = Preferences(collision=0.0, goal=1.0, events={}, steering=0.0, dead_zone=0.0)


def unicycle(actions: np.ndarray, collision=None, bumpy=None) -> Prediction:
    """Where a robot that does as it is told will be; events where functions of (x, y) say so."""
    heading = np.cumsum(actions[..., 0], 1) * SPEC.step_seconds
    steps = actions[..., 1] * SPEC.step_seconds
    position = np.stack([np.cumsum(steps * np.cos(heading), 1), np.cumsum(steps * np.sin(heading), 1)], -1)
    x, y = position[..., 0], position[..., 1]
    nothing = np.zeros_like(x)
    hit = np.maximum.accumulate(collision(x, y), axis=1) if collision else nothing
    events = {"collision": hit, "bumpy": bumpy(x, y) if bumpy else nothing, "stuck": nothing}
    return Prediction(events, position)


def drive(preferences: Preferences, steps: int = 6, seed: int = 0, goal=GOAL, **world):
    planner = SamplingPlanner(SPEC, PlannerConfig(candidates=512), seed)
    for _ in range(steps):
        plan = planner.plan(
            lambda actions: unicycle(actions, **world),
            lambda prediction, steering: plan_cost(prediction, steering, preferences, goal),
        )
    return plan


def test_the_plan_turns_towards_the_goal() -> None:
    for side in (-1, 1):
        plan = drive(ONLY_GOAL, goal=np.array([1.0, side * 3.0]))
        assert np.sign(plan.action[0]) == side
        assert abs(plan.action[0]) > 0.4
    assert abs(drive(ONLY_GOAL).action[0]) < 0.15


def test_the_speed_is_the_one_that_was_set_and_steering_stays_in_its_limits() -> None:
    plan = drive(ONLY_GOAL)
    assert (plan.candidates[..., 1] == np.float32(0.8)).all()
    assert np.abs(plan.candidates[..., 0]).max() <= 1
    assert plan.actions.shape == (8, 2)
    assert plan.cost.shape == (512,)
    assert plan.cost[plan.best] == plan.cost.min()


def test_a_wall_is_steered_around_as_far_as_the_plan_looks() -> None:
    """A wall 1 m ahead, open to the left."""

    def wall(x, y):
        return ((x > 1.0) & (y < 0.15)).astype(float)

    free = dataclasses.replace(ONLY_GOAL, collision=1.0)
    plan = drive(free, steps=10, collision=wall)
    chosen = unicycle(plan.actions[None], collision=wall)
    assert chosen.events["collision"].max() == 0
    blind = unicycle(drive(ONLY_GOAL, steps=10).actions[None], collision=wall)
    assert blind.events["collision"].max() == 1


def test_preferences_change_the_way_without_another_model() -> None:
    """Bumpy ground on the direct way: its weight decides whether it is worth the detour."""

    def lawn(x, y):
        return ((x > 0.3) & (y < 0.2)).astype(float)

    shares = []
    for weight in (0.0, 0.1, 0.5, 2.0):
        plan = drive(dataclasses.replace(ONLY_GOAL, events={"bumpy": weight}), steps=10, bumpy=lawn)
        shares.append(float(unicycle(plan.actions[None], bumpy=lawn).events["bumpy"].mean()))
    assert shares[0] > 0.6
    assert shares[-1] < 0.4
    assert all(later <= sooner + 0.05 for sooner, later in itertools.pairwise(shares)), shares


def test_what_comes_after_a_collision_counts_as_the_worst() -> None:
    crash = np.array([[0.0, 1.0], [0.0, 0.0]])
    position = np.array([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [0.0, 2.0]]])
    prediction = Prediction({"collision": crash, "bumpy": np.zeros((2, 2))}, position)
    preferences = Preferences(collision=0, goal=1, events={"bumpy": 1}, steering=0, dead_zone=0)
    cost = plan_cost(prediction, np.zeros((2, 2)), preferences, GOAL)
    # Towards the goal, then crashed: (0 + 0 + 1 + 1) / 2; never crashed, 90 degrees off: (0.5 + 0.5) / 2
    np.testing.assert_allclose(cost, [1.0, 0.5])


def test_cost_terms_by_hand() -> None:
    prediction = Prediction(
        {"collision": np.array([[0.2, 0.2]]), "stuck": np.array([[0.5, 0.0]])}, np.array([[[1, 1], [1, 1]]])
    )
    preferences = Preferences(
        collision=2, goal=0, events={"stuck": 1}, steering=0.5, smoothness=3, dead_zone=0
    )
    cost = plan_cost(prediction, np.array([[1.0, 0.0]]), preferences, None)
    by_hand = (2 * 0.2 + 0.8 * 0.5 + 0.2 + 0.5 + 2 * 0.2 + 0.2) / 2 + 3 * 1
    np.testing.assert_allclose(cost, [by_hand])
    assert plan_cost(prediction, np.zeros((1, 2)), Preferences(events={"absent": 9.0}), None) > 0


def test_the_angle_to_the_goal() -> None:
    position = np.array([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-1.0, -1e-9], [0.0, 0.0]]])
    np.testing.assert_allclose(goal_angle(position, GOAL), [[0, 0.5, 1, 1, 0.5]], atol=1e-8)
    behind = goal_angle(np.array([[[-1.0, -1e-6]]]), np.array([-1.0, 1e-6]))
    assert behind < 1e-3, "no jump where the angle wraps"


def test_dead_zone() -> None:
    np.testing.assert_allclose(certain(np.array([0.0, 0.1, 0.5, 0.9, 1.0]), 0.1), [0, 0, 0.5, 1, 1])
    assert certain(np.array([0.3]), 0.0) == 0.3


def test_the_same_seed_plans_the_same_and_reset_begins_anew() -> None:
    first, second = drive(ONLY_GOAL, seed=3), drive(ONLY_GOAL, seed=3)
    np.testing.assert_array_equal(first.candidates, second.candidates)
    assert not np.array_equal(first.candidates, drive(ONLY_GOAL, seed=4).candidates)
    planner = SamplingPlanner(SPEC, PlannerConfig(candidates=16), 3)
    plans = []
    for _ in range(2):
        planner.reset()
        plans.append(planner.plan(unicycle, lambda prediction, steering: steering.mean(1)).actions)
    np.testing.assert_array_equal(*plans)


def test_the_update_is_that_of_the_paper() -> None:
    """Equations 3 and 4 written out for one plan, beginning from rest."""
    config = PlannerConfig(candidates=64, beta=0.6, gamma=5.0, sigma=0.5)
    planner = SamplingPlanner(SPEC, config, seed=1)
    plan = planner.plan(unicycle, lambda prediction, steering: (steering**2).mean(1))
    noise = np.random.default_rng(1).standard_normal((8, 64, 2), dtype=np.float32)[..., 0]
    steering = np.zeros((64, 8))
    for step in range(8):
        before = steering[:, step - 1] if step else 0.0
        steering[:, step] = np.clip(0.6 * 0.5 * noise[step] + 0.4 * before, -1, 1)
    np.testing.assert_allclose(plan.candidates[..., 0], steering, atol=1e-6)
    weights = np.exp(-5.0 * (steering**2).mean(1))
    np.testing.assert_allclose(plan.actions[:, 0], weights @ steering / weights.sum(), atol=1e-6)


def test_candidates_with_a_broken_cost_are_never_followed() -> None:
    def cost(prediction, steering):
        return np.where(steering.mean(1) > 0, np.nan, 0.0)

    planner = SamplingPlanner(SPEC, PlannerConfig(candidates=256))
    assert planner.plan(unicycle, cost).action[0] < 0
    with pytest.raises(ValueError, match="none of the 256 candidates has a finite cost"):
        planner.plan(unicycle, lambda prediction, steering: np.full(256, np.inf))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PlannerConfig(candidates=1), "candidates must be at least 2"),
        (lambda: PlannerConfig(beta=0.0), "beta must lie in"),
        (lambda: PlannerConfig(gamma=0.0), "sigma and gamma must be above 0"),
        (
            lambda: SamplingPlanner(SPEC, PlannerConfig(speed=2.0)),
            "2.0 m/s is outside what the model knows",
        ),
        (lambda: Preferences(goal=-1.0), "the weight of goal must be finite and not negative"),
        (lambda: Preferences(events={"mud": float("nan")}), "the weight of mud must be finite"),
        (lambda: Preferences(dead_zone=0.5), "dead_zone must lie in"),
    ],
)
def test_settings_that_cannot_be(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_speed_is_planned_too_where_it_is_not_fixed() -> None:
    spec = ModelSpec(actions=(ActionLimit("turn", -1, 1), ActionLimit("speed", 0.0, 2.0)))
    planner = SamplingPlanner(spec, PlannerConfig(candidates=256, speed=None))
    for _ in range(10):
        plan = planner.plan(unicycle, lambda prediction, steering: -prediction.position[:, -1, 0])
    assert plan.action[1] > 1.5


def test_a_specification_comes_back_and_says_what_does_not_fit() -> None:
    spec = ModelSpec(image=(48, 64, 3), horizon=4, events=("collision", "mud"), lasting=("mud",))
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert spec.event("mud") == 1
    np.testing.assert_allclose(SPEC.normalised(np.array([[0.5, 1.25]])), [[0.5, 1.0]])
    with pytest.raises(SpecError, match="predicts collision, mud, not 'bumpy'"):
        spec.event("bumpy")
    with pytest.raises(SpecError, match=r"expects images \(48, 64, 3\), got \(480, 640, 3\): set the camera"):
        spec.expect_image((480, 640, 3))
    for text in ("", "[]", '{"horizon": 8}', spec.to_json().replace("48", '"many"')):
        with pytest.raises(SpecError):
            ModelSpec.from_json(text)
    with pytest.raises(SpecError, match="lasting events stuck are not among collision"):
        ModelSpec(events=("collision",), lasting=("stuck",))
    with pytest.raises(SpecError, match="finite low < high"):
        ActionLimit("turn", 1.0, 1.0)
