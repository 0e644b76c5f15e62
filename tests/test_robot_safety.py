import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from robot.config import Limits, RobotConfig, Safety
from robot.safety import CLOCK_SLACK, STOP, Command, SafetyState, limit, reason_to_stop, stopping_distance

CONFIG = RobotConfig()
NOW = 1000.0
SOUND = SafetyState(
    armed=True,
    wish=Command(0.8, 0.1),
    planner_time=NOW - 0.02,
    camera_time=NOW - 0.05,
    imu_time=NOW - 0.01,
    odometry_time=NOW - 0.01,
    lidar_time=NOW - 0.1,
    link_time=NOW - 0.3,
    speed=0.8,
)
WATCHED = ("planner", "camera", "imu", "odometry", "lidar", "link")

anything = st.floats(allow_nan=True, allow_infinity=True)
commands = st.builds(Command, anything, anything)
near = st.floats(-6, 6)
steps = st.floats(0, 0.5)
limits = st.builds(
    Limits,
    speed=st.floats(0.05, 5),
    reverse_speed=st.floats(0, 2),
    turn_rate=st.floats(0.05, 4),
    acceleration=st.floats(0.05, 10),
    braking=st.floats(0.1, 10),
    turn_acceleration=st.floats(0.1, 20),
)


@given(commands, commands, anything, limits)
def test_limit_never_exceeds_the_limits_whatever_comes(
    command: Command, previous: Command, dt: float, limits: Limits
) -> None:
    sent = limit(command, previous, dt, limits)
    assert -limits.reverse_speed <= sent.speed <= limits.speed
    assert abs(sent.turn_rate) <= limits.turn_rate


@given(commands, commands, anything, limits)
def test_limit_gives_zero_for_what_is_not_a_number(
    command: Command, previous: Command, dt: float, limits: Limits
) -> None:
    values = (command.speed, command.turn_rate, previous.speed, previous.turn_rate, dt)
    assume(not all(map(math.isfinite, values)) or dt < 0)
    assert limit(command, previous, dt, limits) == STOP


@given(st.builds(Command, near, near), st.builds(Command, near, near), steps, limits)
def test_limit_keeps_the_accelerations(command: Command, wild: Command, dt: float, limits: Limits) -> None:
    previous = limit(wild, wild, 0.0, limits)  # one that could have been sent
    sent = limit(command, previous, dt, limits)
    slack = 1e-9
    assert abs(sent.turn_rate - previous.turn_rate) <= limits.turn_acceleration * dt + slack
    gained = abs(sent.speed) - abs(previous.speed)
    assert -limits.braking * dt - slack <= gained <= limits.acceleration * dt + slack
    assert sent.speed * previous.speed >= 0, "a change of direction passes through zero"


@given(st.tuples(near, near), st.builds(Command, near, near), steps, limits)
def test_limit_is_monotone_in_what_is_asked(
    asked: tuple[float, float], wild: Command, dt: float, limits: Limits
) -> None:
    previous = limit(wild, wild, 0.0, limits)
    low, high = (limit(Command(value, value), previous, dt, limits) for value in sorted(asked))
    assert low.speed <= high.speed
    assert low.turn_rate <= high.turn_rate


def test_limit_reaches_what_is_asked_and_stays_there() -> None:
    command = STOP
    for _ in range(20):  # 0.8 m/s at 1 m/s^2 takes 0.8 s, 16 steps of 0.05 s
        command = limit(Command(0.8, -1.0), command, 0.05, CONFIG.limits)
    assert command == Command(0.8, -1.0)
    for _ in range(8):  # and 0.4 s to stop at 2 m/s^2
        command = limit(STOP, command, 0.05, CONFIG.limits)
    assert command.speed == pytest.approx(0.0, abs=1e-12)
    assert limit(Command(-1.0, 0.0), Command(0.05, 0.0), 0.05, CONFIG.limits).speed == 0.0


@given(st.floats(0, 5), st.floats(0, 5), limits)
def test_stopping_distance_grows_with_speed_and_is_the_same_backwards(
    one: float, other: float, limits: Limits
) -> None:
    slow, fast = sorted((one, other))
    assert Safety().margin <= stopping_distance(slow, limits, Safety())
    assert stopping_distance(slow, limits, Safety()) <= stopping_distance(fast, limits, Safety())
    assert stopping_distance(-fast, limits, Safety()) == stopping_distance(fast, limits, Safety())


def test_stopping_distance_is_the_sum_of_its_parts() -> None:
    # 0.25 m margin + 1 m/s for 0.3 s + 1 / (2 * 2) m
    assert stopping_distance(1.0, CONFIG.limits, CONFIG.safety) == pytest.approx(0.8)


def test_a_sound_robot_may_drive_and_a_silent_one_may_not() -> None:
    assert reason_to_stop(SOUND, NOW, CONFIG) is None
    assert reason_to_stop(SafetyState(), NOW, CONFIG) == "not armed"
    assert "nothing has come" in str(reason_to_stop(SafetyState(armed=True), NOW, CONFIG))


@given(st.sampled_from(WATCHED), st.floats(0, 5), st.floats(0, 5))
def test_stale_stops_and_staler_stops_too(name: str, one: float, other: float) -> None:
    younger, older = sorted((one, other))
    timeout = getattr(CONFIG.timeouts, name)

    def reason(age: float) -> str | None:
        return reason_to_stop(replace(SOUND, **{f"{name}_time": NOW - age}), NOW, CONFIG)

    # NOW - age is rounded: leave the last bits out of the comparison.
    assume(abs(older - timeout) > 1e-6)
    assert (reason(older) is not None) == (older > timeout)
    if older > timeout:
        assert str(reason(older)).startswith(f"{name}: the newest message is {older:.2f} s old")
    if reason(younger) is not None:
        assert reason(older) is not None


@pytest.mark.parametrize("name", WATCHED)
@pytest.mark.parametrize("time", [None, math.nan, math.inf, -math.inf, NOW + 10 * CLOCK_SLACK, 1.8e9])
def test_a_time_that_cannot_be_right_stops(name: str, time: float | None) -> None:
    reason = reason_to_stop(replace(SOUND, **{f"{name}_time": time}), NOW, CONFIG)
    assert reason is not None
    assert reason.startswith(name)


@given(
    st.builds(
        SafetyState,
        armed=st.booleans(),
        estop=st.booleans(),
        wish=commands,
        planner_time=anything,
        camera_time=anything,
        imu_time=anything,
        odometry_time=anything,
        lidar_time=anything,
        link_time=anything,
        speed=anything,
        roll=anything,
        pitch=anything,
        distance_from_start=anything,
        obstacle_ahead=anything,
        obstacle_behind=anything,
    ),
    anything,
)
def test_any_state_gets_an_answer(state: SafetyState, now: float) -> None:
    reason = reason_to_stop(state, now, CONFIG)
    if reason is None:
        assert state.armed
        assert not state.estop
        assert all(now - getattr(state, f"{name}_time") + CLOCK_SLACK >= 0 for name in WATCHED)
    else:
        assert reason


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"estop": True}, "emergency"),
        ({"estop": None}, "emergency"),
        ({"armed": False}, "not armed"),
        ({"roll": 0.7}, "tilt: roll is 40°, the limit is 35°"),
        ({"pitch": -0.7}, "tilt: pitch"),
        ({"pitch": math.nan}, "tilt: pitch"),
        ({"distance_from_start": 101.0}, "geofence: 101 m"),
        ({"distance_from_start": math.nan}, "geofence"),
        ({"obstacle_ahead": 0.5}, "obstacle ahead: 0.50 m away, 0.65 m must be free"),
        ({"obstacle_ahead": math.nan}, "obstacle ahead"),
        ({"speed": math.nan}, "speed"),
        ({"wish": Command(math.nan, 0.0)}, "speed"),
    ],
)
def test_reasons_to_stop(change: dict[str, object], word: str) -> None:
    assert word in str(reason_to_stop(replace(SOUND, **change), NOW, CONFIG))  # type: ignore[arg-type]


def test_the_robot_may_back_away_from_an_obstacle_but_not_into_one() -> None:
    blocked = replace(SOUND, speed=0.0, obstacle_ahead=0.1)
    assert "ahead" in str(reason_to_stop(blocked, NOW, CONFIG))
    backing = replace(blocked, wish=Command(-0.3, 0.0))
    assert reason_to_stop(backing, NOW, CONFIG) is None
    assert "behind" in str(reason_to_stop(replace(backing, obstacle_behind=0.2), NOW, CONFIG))
    assert reason_to_stop(replace(blocked, wish=Command(0.0, 0.5)), NOW, CONFIG) is None, (
        "turning on the spot"
    )


def test_what_is_switched_off_is_not_watched() -> None:
    off_road = replace(CONFIG, safety=replace(CONFIG.safety, use_lidar=False, use_link=False))
    silent = replace(SOUND, lidar_time=None, link_time=None, obstacle_ahead=0.0)
    assert reason_to_stop(silent, NOW, off_road) is None


@given(st.floats(0, 6), st.floats(0, 6), st.floats(-2, 2), st.floats(-0.5, 2))
def test_a_nearer_obstacle_never_frees_the_way(one: float, other: float, speed: float, wish: float) -> None:
    nearer, farther = sorted((one, other))
    state = replace(SOUND, speed=speed, wish=Command(wish, 0.0))
    if reason_to_stop(replace(state, obstacle_ahead=farther), NOW, CONFIG) is not None:
        assert reason_to_stop(replace(state, obstacle_ahead=nearer), NOW, CONFIG) is not None


@given(st.floats(0.3, 6), st.floats(0.05, 2), limits)
def test_a_robot_that_obeys_does_not_touch_the_wall(distance: float, wish: float, limits: Limits) -> None:
    """A base that follows every command after the reaction time, driven at a wall by a blind planner."""
    config = replace(CONFIG, limits=limits)
    period = 1 / config.rates.guard
    late = round(config.safety.reaction_seconds / period) - 1  # the guard's own period is the rest
    position, sent, pending = 0.0, STOP, [STOP] * late
    for _ in range(400):
        state = replace(
            SOUND,
            speed=pending[0].speed,
            wish=Command(wish, 0.0),
            obstacle_ahead=distance - position,
        )
        stopping = reason_to_stop(state, NOW, config) is not None
        sent = limit(STOP if stopping else state.wish, sent, period, limits)
        pending = [*pending[1:], sent]
        position += pending[0].speed * period
    assert position < distance
