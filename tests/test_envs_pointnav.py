"""PointNav indoors: the expert arrives by the shortest way, and nobody else is said to."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.pointnav import (
    _TURNS,
    FORWARD,
    LEFT,
    RIGHT,
    SETTLED,
    STOP,
    STRIDE,
    TURN,
    NavStep,
    PointNav,
    PointNavConfig,
)
from envs.pointnav_env import PointNavEnv
from envs.pointnav_rooms import Shift

ROOMS = PointNavConfig(split="validation", indices=(0, 1), width=16, height=12)


def nav(n: int = 1, seed: int = 0, **options: object) -> PointNav:
    config = PointNavConfig(split="validation", indices=(0, 1), width=16, height=12, **options)  # type: ignore[arg-type]
    made = PointNav(config, n, seed, threads=1)
    made.reset()
    return made


def follow(env: PointNav, world: int, trip: int) -> tuple[NavStep, float]:
    """The expert's last step, and the sum of rewards."""
    env.start(0, world, trip)
    total = 0.0
    for _ in range(env.config.steps):
        step = env.step([env.expert(0)])
        total += float(step.rewards[0])
        assert not step.infos["collision"][0]
        if step.terminated[0] or step.truncated[0]:
            break
    return step, total


@pytest.mark.parametrize("stop", [True, False])
def test_the_expert_arrives_by_the_shortest_way(stop: bool) -> None:
    env = nav(stop=stop)
    for world in (0, 1):
        for trip in range(4):
            env.start(0, world, trip)
            away = env.distance(0)
            step, total = follow(env, world, trip)
            assert step.terminated[0]
            assert step.infos["success"][0]
            assert step.infos["spl"][0] > 0.99
            assert step.infos["distance"][0] < env.config.success_radius
            assert away + 10 - 2 < total < away + 10


def test_the_expert_turns_only_for_what_a_turn_saves() -> None:
    """Where going straight on costs no more than SETTLED over the best heading, it goes straight on."""
    env, straight = nav(), 0
    for trip in range(4):
        env.start(0, 0, trip)
        for _ in range(60):
            costs = env._costs(0, env.poses[0, 2] + _TURNS * TURN) + 0.01 * np.abs(_TURNS)
            action = env.expert(0)
            if action != STOP:
                assert (action == FORWARD) == (costs[0] <= costs.min() + SETTLED)
                straight += action == FORWARD and costs.argmin() != 0
            if env.step([action]).terminated[0]:
                break
    assert straight > 3  # headings that a wavering expert would have turned to


@pytest.mark.parametrize(("world", "trip"), [(3, 6), (16, 0), (17, 2)])
def test_the_expert_is_not_drawn_into_gaps_that_it_does_not_fit_through(world: int, trip: int) -> None:
    """Beside a wall the way leads out, not on along it: these three trips went to and fro for ever."""
    env = PointNav(PointNavConfig("test", (world,), 8, 8), 1, 0, threads=1)
    env.reset()
    step, _ = follow(env, world, trip)
    assert step.infos["success"][0]
    assert step.infos["spl"][0] == 1.0


def test_stopping_elsewhere_is_a_failure() -> None:
    env = nav()
    step = env.step([STOP])
    assert step.terminated[0]
    assert not step.infos["success"][0]
    assert step.infos["spl"][0] == 0.0
    assert step.rewards[0] == pytest.approx(-0.01)


def test_without_stop_there_is_no_such_action_and_being_there_is_enough() -> None:
    env = nav(stop=False)
    assert not env.action_space.contains(STOP)
    with pytest.raises(ValueError, match="expected 1 actions of Discrete"):
        env.step([STOP])


def test_a_wall_holds_the_agent_and_says_so() -> None:
    env = nav()
    for _ in range(100):
        before = env.poses[0].copy()
        step = env.step([FORWARD])
        if step.infos["collision"][0]:
            break
    assert step.infos["collision"][0]
    assert np.array_equal(env.poses[0], before)
    env.step([LEFT])
    assert np.hypot(*(env.poses[0, :2] - before[:2])) == 0.0


def test_moves_and_the_goal_are_what_they_say() -> None:
    """Forward by a quarter metre along the heading; the goal in the agent's frame, left positive."""
    env = nav()
    x, y, heading = env.poses[0]
    env.step([LEFT])
    assert env.poses[0, 2] == pytest.approx(heading + np.deg2rad(10))
    env.step([RIGHT])
    assert env.poses[0, 2] == pytest.approx(heading)
    env.step([FORWARD])
    assert env.poses[0, :2] == pytest.approx((x + STRIDE * np.cos(heading), y + STRIDE * np.sin(heading)))
    cosine, sine, far, near = env.observe()["goal"][0]
    index, trip = env.trips[0]
    goal = env.room(int(index)).world.goals[trip]
    x, y, heading = env.poses[0]
    angle = heading + np.arctan2(sine, cosine)
    assert near == pytest.approx(np.exp(-far), abs=1e-6)
    assert (x + far * np.cos(angle), y + far * np.sin(angle)) == pytest.approx(tuple(goal), abs=1e-4)


def test_beside_a_wall_the_way_is_still_known() -> None:
    """The planner keeps clear of walls by more than the agent's radius; no step may then cost millions."""
    env = nav()
    rng = np.random.default_rng(0)
    for _ in range(150):
        step = env.step([int(rng.choice((FORWARD, FORWARD, LEFT, RIGHT)))])
        assert step.infos["distance"][0] < 60
        assert abs(step.rewards[0]) < 12


def test_a_trail_turns_and_moves_with_the_agent_and_ends_with_the_episode() -> None:
    env = nav(trail=True)
    env.start(0, 0, 0)
    assert env.observation_space["trail"].shape == (25,)
    assert not env.observe()["trail"].any()
    env.poses[0] = 8.0, 8.0, 0.0
    env._trail.add(np.array([(9.6, 8.0)]))  # 1.6 m ahead
    env._trail.add(np.array([(8.0, 9.6)]))  # 1.6 m to the left
    grid = env.observe()["trail"][0].reshape(5, 5)
    assert {tuple(cell) for cell in np.argwhere(grid)} == {(0, 2), (2, 0)}
    env.poses[0, 2] = np.pi / 2  # what was to the left is ahead, what was ahead is to the right
    grid = env.observe()["trail"][0].reshape(5, 5)
    assert {tuple(cell) for cell in np.argwhere(grid)} == {(0, 2), (2, 4)}
    saved = env.get_state()
    env.start(0, 0, 1)
    assert not env.observe()["trail"].any()
    assert np.array_equal(env.set_state(saved)["trail"][0], grid.ravel())


def test_time_ends_an_episode_without_ending_the_task_and_the_next_begins() -> None:
    env = nav(n=2, steps=3)
    for _ in range(3):
        step = env.step([LEFT, LEFT])
    assert step.truncated.all()
    assert not step.terminated.any()
    assert step.final_observations is not None
    fresh = env.observe()
    for name, seen in step.observations.items():
        assert np.array_equal(seen, fresh[name])
        assert env.observation_space[name].contains(seen[0])
    assert not np.array_equal(step.final_observations["goal"], fresh["goal"])


def test_the_same_seed_gives_the_same_and_a_state_goes_on() -> None:
    one, two = nav(2, 7), nav(2, 7)
    for action in (FORWARD, LEFT, FORWARD):
        left, right = one.step([action] * 2), two.step([action] * 2)
        assert all(
            np.array_equal(left.observations[name], right.observations[name]) for name in ("rgb", "goal")
        )
    saved = one.get_state()
    expected = [one.step([STOP, FORWARD]) for _ in range(2)]
    two = nav(2, 1)
    two.set_state(saved)
    for step in expected:
        again = two.step([STOP, FORWARD])
        assert np.array_equal(again.observations["rgb"], step.observations["rgb"])
        assert np.array_equal(again.rewards, step.rewards)


def test_shifts_change_the_picture_and_not_the_way() -> None:
    plain = nav()
    plain.start(0, 0, 0)
    shown, away = plain.observe()["rgb"][0].astype(int), plain.distance(0)
    for shift in (
        Shift(exposure=0.5),
        Shift(haze=0.3),
        Shift(invert=True),
        Shift(field_of_view=120.0),
        Shift(camera_height=1.5),
    ):
        env = nav(shift=shift)
        env.start(0, 0, 0)
        image = env.observe()["rgb"][0].astype(int)
        assert np.abs(image - shown).mean() > 3, shift
        assert env.distance(0) == away
    dark = nav(shift=Shift(exposure=0.5))
    dark.start(0, 0, 0)
    assert dark.observe()["rgb"].mean() < 0.7 * shown.mean()


def test_it_is_a_gymnasium_environment_that_an_expert_can_drive() -> None:
    env = PointNavEnv(ROOMS, render_mode="rgb_array")
    check_env(env, skip_render_check=True)
    observation, info = env.reset(seed=1, options={"world": 1, "trip": 2})
    assert info["distance"] == env.nav.distance(0)
    ended = False
    while not ended:
        observation, _, terminated, truncated, info = env.step(env.expert())
        ended = terminated or truncated
    assert info["success"]
    assert info["spl"] > 0.99
    assert observation["goal"][2] < ROOMS.success_radius
    assert np.array_equal(env.render(), observation["rgb"].transpose(1, 2, 0))


def test_what_there_is_not_is_refused() -> None:
    for wrong, message in (
        ({"split": "holiday"}, "the splits are train"),
        ({"split": "test", "indices": (20,)}, "test has worlds 0 to 19"),
        ({"width": 4}, "8 x 8 at least"),
    ):
        with pytest.raises(ValueError, match=message):
            PointNavConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="field of view below 170"):
        Shift(field_of_view=180.0)
    with pytest.raises(ValueError, match="at least one agent"):
        PointNav(ROOMS, 0)
