"""What lies on the arc that the robot drives, and not straight ahead of it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from robot.config import Body, RobotConfig
from robot.gate import Gate
from robot.obstacles import STEP, clearance_on_arc, clearances
from robot.safety import STOP, Command

BODY = Body(length=0.5, width=0.4, side_margin=0.05)
POST = np.array([[0.6, 0.45]])
"""ahead on the left: beside the way straight on"""


def test_a_post_beside_the_way_is_met_by_who_turns_towards_it() -> None:
    assert clearances(POST, BODY) == (math.inf, math.inf)
    met = clearance_on_arc(POST, 0.8, 0.8, BODY, 1.0)
    assert met == pytest.approx(0.5, abs=STEP)
    assert clearance_on_arc(POST, 0.8, -0.8, BODY, 1.0) == math.inf
    assert clearance_on_arc(POST, 0.8, 0.0, BODY, 1.0) == math.inf, "straight on is for `clearances`"
    mirrored = POST * [1, -1]
    assert clearance_on_arc(mirrored, 0.8, -0.8, BODY, 1.0) == met


def test_backwards_the_arc_lies_behind() -> None:
    behind = POST * [-1, 1]
    assert clearance_on_arc(behind, -0.3, -0.3, BODY, 1.0) == clearance_on_arc(POST, 0.8, 0.8, BODY, 1.0)
    assert clearance_on_arc(POST, -0.3, -0.3, BODY, 1.0) == math.inf


def test_along_a_wall_it_may_drive_but_not_turn_into_it() -> None:
    beside = np.stack([np.linspace(-0.24, 0.24, 49), np.full(49, 0.23)], axis=1)
    assert clearances(beside, BODY) == (math.inf, math.inf)
    assert clearance_on_arc(beside, 0.8, -0.1, BODY, 0.6) == math.inf
    assert clearance_on_arc(beside, 0.2, 0.8, BODY, 0.6) < 0.1


def test_a_turn_on_the_spot_and_an_empty_scan_need_no_way() -> None:
    assert clearance_on_arc(POST, 0.0, 0.8, BODY, 1.0) == math.inf
    assert clearance_on_arc(np.zeros((0, 2)), 0.8, 0.8, BODY, 1.0) == math.inf
    assert clearance_on_arc(POST * 9, 0.8, 0.8, BODY, 1.0) == math.inf


def test_whatever_the_outline_runs_into_is_told_beforehand() -> None:
    """Against small steps of the robot itself, for random posts and arcs."""
    generator, met = np.random.default_rng(0), 0
    for _ in range(300):
        post = generator.uniform([-0.2, -1.0], [1.5, 1.0])
        if (np.abs(post) < [0.3, 0.25]).all():
            continue
        turn_rate = generator.uniform(-1.0, 1.0)
        hit = driven_into(post, turn_rate)
        told = clearance_on_arc(post[None], 1.0, turn_rate, BODY, 0.9)
        assert told <= hit, (post, turn_rate)
        met += hit < math.inf
        if hit == math.inf and told < math.inf:  # the margin of the side
            wide = replace(BODY, width=BODY.width + 2 * BODY.side_margin)
            assert driven_into(post, turn_rate, wide) < 0.9 + STEP
    assert met > 30


def driven_into(post: np.ndarray, turn_rate: float, body: Body = BODY) -> float:
    """m at 1 m/s until the outline covers the post, by steps of 1 mm within 0.9 m."""
    place, heading = np.zeros(2), 0.0
    for k in range(900):
        forward = np.array([math.cos(heading), math.sin(heading)])
        x, y = (post - place) @ forward, (post - place) @ [-forward[1], forward[0]]
        if abs(x) < body.length / 2 and abs(y) < body.width / 2:
            return k * 1e-3
        middle = heading + turn_rate * 0.5e-3
        place = place + 1e-3 * np.array([math.cos(middle), math.sin(middle)])
        heading += turn_rate * 1e-3
    return math.inf


@pytest.fixture
def gate() -> Gate:
    """At 0.8 m/s with a post ahead on the left."""
    gate = Gate(RobotConfig(body=BODY))
    gate.hear_scan(np.arctan2(POST[:, 1], POST[:, 0] - 0.1), np.hypot(POST[:, 0] - 0.1, POST[:, 1]))
    gate.speed = 0.8
    return gate


@pytest.mark.parametrize(
    ("wish", "is_met"),
    [
        (Command(0.8, 0.8), True),
        (Command(0.8, 0.0), False),
        (Command(0.8, -0.8), False),
        (Command(-0.3, -0.3), False),
        (Command(0.0, 0.8), False),
        (STOP, False),
        (Command(0.8, 1e9), True),
        (Command(1e9, 0.8), False),
    ],
)
def test_the_guard_looks_along_the_wished_arc(gate: Gate, wish: Command, is_met: bool) -> None:
    """As its limits let it pass."""
    np.testing.assert_allclose(gate.echoes, POST)
    gate.wish = wish
    assert (gate._state(0.0).obstacle_ahead < math.inf) == is_met
    assert gate._state(0.0).obstacle_behind == math.inf


def test_a_lidar_that_was_never_heard_stays_no_number() -> None:
    gate = Gate(RobotConfig())
    gate.wish = Command(0.5, 0.5)
    assert math.isnan(gate._state(0.0).obstacle_ahead)
