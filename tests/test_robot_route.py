"""Goals from files and paths, and what the driver makes of them."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from agents.badgr.trip import Trip
from robot import messages
from robot.config import RobotConfig
from robot.messages import MessageError, OdometryReading
from robot.route import SPACING, Route, RouteError, ahead_on, place, read_route
from robot.streams import Streams

WAYPOINTS = """
waypoints:
- [47.0, 8.0]
- [47.0001, 8.0002]
- {latitude: 46.9999, longitude: 8.0003}
"""
PLACES = [(47.0, 8.0), (47.0001, 8.0002), (46.9999, 8.0003)]


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.yaml",
            "waypoints:\n- [47.0, 8.0]\n- [47.0001, 8.0002]\n- {latitude: 46.9999, longitude: 8.0003}\n",
        ),
        ("b.yaml", "[[47.0, 8.0], [47.0001, 8.0002], [46.9999, 8.0003]]"),
        ("c.geojson", json.dumps({"type": "LineString", "coordinates": [[b, a] for a, b in PLACES]})),
        (
            "d.json",
            json.dumps(
                {
                    "type": "FeatureCollection",
                    "features": [
                        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [b, a, 400.0]}}
                        for a, b in PLACES
                    ],
                }
            ),
        ),
    ],
)
def test_goals_of_a_file_come_in_its_order(tmp_path: Path, name: str, text: str) -> None:
    route = read_route(written(tmp_path, name, text))
    assert list(route.places) == PLACES
    assert route.progress == (1, 3)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "waypoints: []", "there is no goal in it"),
        ("a.yaml", "way: [[1, 2]]", "expected a list of goals, or one under `waypoints`, got None"),
        ("a.yaml", "[[47.0, 8.0], [147.0, 8.0]]", "goal 2: latitude 147, longitude 8 is no place on earth"),
        ("a.yaml", "[[47.0, north]]", "goal 1: expected numbers of degrees, got 'north'"),
        ("a.yaml", "[[47.0]]", r"goal 1: expected \[latitude, longitude\] in degrees, got \[47.0\]"),
        ("a.yaml", "[[.nan, 8.0]]", "goal 1: latitude nan, longitude 8 is no place on earth"),
        ("a.yaml", "{", "the route cannot be read"),
        ("a.geojson", "{", "the route cannot be read"),
        ("a.geojson", '{"type": "Polygon"}', "GeoJSON of type 'Polygon', expected Points"),
        ("a.geojson", '{"type": "Point", "coordinates": [47.0]}', "coordinates"),
        ("a.geojson", '{"type": "Point", "coordinates": [8.0, 147.0]}', "in GeoJSON longitude first"),
    ],
)
def test_a_file_that_is_no_route_says_what_is_wrong(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(RouteError, match=words) as told:
        read_route(written(tmp_path, name, text))
    assert name in str(told.value)


def test_a_place_of_the_command_line() -> None:
    assert place("47.5,-8.25", "--goal") == (47.5, -8.25)
    for text in ("47.5", "47.5,8,9", "a,b", ""):
        with pytest.raises(RouteError, match="--goal: expected latitude,longitude in degrees"):
            place(text, "--goal")


def test_the_next_goals_turn_comes_near_the_one_before_and_the_last_stays() -> None:
    route = Route(PLACES)
    assert not route.advance(5.0)
    assert not route.advance(float("nan"))
    assert route.advance(1.5)
    assert route.advance(1.5)
    assert route.progress == (3, 3)
    assert not route.advance(0.1)
    assert route.goal == PLACES[2]


def test_of_a_path_what_lies_ahead_is_driven_in_goals_two_metres_apart() -> None:
    path = np.stack([np.arange(0, 10.01, 0.1), np.zeros(101)], -1)
    goals = np.array(ahead_on(path, np.array([4.0, 0.3])))
    assert goals[0, 0] == pytest.approx(6.0, abs=0.11)
    assert (np.diff(goals[:-1, 0]) >= SPACING - 1e-9).all()
    assert tuple(goals[-1]) == (10.0, 0.0)
    assert ahead_on(path, np.array([99.0, 0.0])) == [(10.0, 0.0)]
    assert ahead_on(np.array([[3.0, 1.0]]), np.zeros(2)) == [(3.0, 1.0)]


def path_message(frame: str, *points: tuple[float, float]) -> SimpleNamespace:
    poses = [
        SimpleNamespace(pose=SimpleNamespace(position=SimpleNamespace(x=x, y=y, z=0.0))) for x, y in points
    ]
    return SimpleNamespace(header=SimpleNamespace(frame_id=frame), poses=poses)


def test_a_path_is_taken_in_odometrys_frame_only() -> None:
    np.testing.assert_array_equal(
        messages.path(path_message("/odom", (1.0, 2.0), (3.0, 4.0)), "plan", "odom"), [[1, 2], [3, 4]]
    )
    with pytest.raises(MessageError, match=r"plan: frame_id is 'map', odometry is in 'odom'.*global_frame"):
        messages.path(path_message("map", (1.0, 2.0)), "plan", "odom")
    with pytest.raises(MessageError, match="plan: the path is empty"):
        messages.path(path_message("odom"), "plan", "odom")
    with pytest.raises(MessageError, match=r"plan: pose 1 lies at \[inf, 0.0\]"):
        messages.path(path_message("odom", (0.0, 0.0), (float("inf"), 0.0)), "plan", "odom")


def test_with_a_path_odometry_tells_the_place_and_no_gps_is_needed() -> None:
    """The goal's direction from the robot is the same as in odometry's frame."""
    streams = Streams(RobotConfig(), (96, 128), 0.25)
    assert set(streams.missing()) == {"camera", "imu", "odometry", "position", "lidar", "goal"}
    streams.route = Route([(4.0, 7.0)], "odometry")
    assert set(streams.missing()) == {"camera", "imu", "odometry", "lidar"}
    reading = OdometryReading(np.array([3.0, 5.0, np.pi / 2]), 0.5, 0.0, 0.0, 0.0)
    streams.hear_odometry(reading, 1.0)
    seen = streams.observation(2.0)
    leg = Trip().look(seen)
    assert leg is not None
    np.testing.assert_allclose(leg.goal, [2.0, -1.0], atol=1e-6)
    np.testing.assert_allclose(seen["gps_velocity"], [0.0, 0.5], atol=1e-6)


def test_each_fix_is_news_once_however_late_it_came() -> None:
    """A receiver takes its time: by its stamp alone no fix would be from since the last decision."""
    streams, decisions = Streams(RobotConfig(), (96, 128), 0.25), np.arange(0.0, 6.0, 0.25)
    reading = OdometryReading(np.zeros(3), 0.0, 0.0, 0.0, 0.0)
    streams.hear_odometry(reading, 0.0)
    ages = []
    for now in decisions:
        second = np.floor(now + 0.5 - 0.3)  # a fix a second, 0.3 s late
        if second >= 1:
            streams.hear_fix((47.0, 8.0))
            streams.streams["position"].time = second - 0.5
        ages.append(float(streams.observation(now)["gps_age"][0]))
    heard = np.array(ages[4:])
    assert (heard == 0).sum() == 5
    np.testing.assert_array_equal(heard[:9], [0, 0.75, 1.0, 1.25, 0, 0.75, 1.0, 1.25, 0])
    ages = [float(streams.observation(now)["gps_age"][0]) for now in (9.0, 9.1, 40.0)]
    assert ages == [4.5, 4.5, 35.5], "it is not new again when it is only old"


def test_a_goal_beyond_the_guards_fence_is_named() -> None:
    streams = Streams(RobotConfig(), (96, 128), 0.25)
    streams.hear_fix((47.0, 8.0))
    streams.route = Route([(47.0001, 8.0), (8.0, 47.0)])
    assert streams.beyond(100.0) is not None
    assert "goal 2 of 2 (8.0000000, 47.0000000) lies" in str(streams.beyond(100.0))
    assert "are latitude and longitude swapped" in str(streams.beyond(100.0))
    streams.route = Route([(47.0001, 8.0)])
    assert streams.beyond(100.0) is None


def test_it_sets_out_with_a_fix_of_its_own_trip() -> None:
    """Of a robot that was carried 60 m, GPS's last word is of where it was."""
    trip = Trip()
    seen = {
        "gps": np.array([60.0, 0.0]), "gps_age": np.array([5.0]), "gps_velocity": np.zeros(2),
        "compass": np.zeros(1), "odometry_velocity": np.zeros(2), "imu_angular_velocity": np.zeros((5, 3)),
        "goal": np.array([10.0, 0.0]),
    }  # fmt: skip
    assert trip.look(seen) is None
    assert trip.halt is not None
    assert not trip.halt.is_final
    assert trip.halt.words == "there was no GPS fix yet since it set out: waiting for one"
    leg = trip.look({**seen, "gps": np.zeros(2), "gps_age": np.zeros(1)})
    assert leg is not None
    assert trip.halt is None
    np.testing.assert_allclose(leg.goal, [10.0, 0.0], atol=0.01)
    trip.reset()
    assert trip.look(seen) is None, "it may have been carried again"


def test_another_goal_counts_progress_anew_and_wakes_no_arrival() -> None:
    trip = Trip()
    seen = {
        "gps": np.zeros(2), "gps_age": np.zeros(1), "gps_velocity": np.zeros(2), "compass": np.zeros(1),
        "odometry_velocity": np.zeros(2), "imu_angular_velocity": np.zeros((5, 3)),
    }  # fmt: skip
    for _ in range(20):
        trip.look({**seen, "goal": np.array([10.0, 0.0])})
    waited = trip.seconds_without_progress
    trip.look({**seen, "goal": np.array([10.1, 0.0])})
    assert trip.seconds_without_progress > waited, "a goal that shakes is the same one"
    trip.look({**seen, "goal": np.array([0.0, 10.0])})
    assert trip.seconds_without_progress == 0.25
