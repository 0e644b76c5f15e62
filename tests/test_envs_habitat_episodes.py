"""Our rooms' trips as a Habitat-Lab data set; the order of episodes."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from envs.habitat_episodes import (
    EpisodeOrder,
    from_habitat,
    heading_of,
    parse_scene,
    quaternion_of,
    scene_name,
    to_habitat,
    write_episodes,
)
from envs.rover.worlds import TRIPS, make_world


def test_poses_go_there_and_back() -> None:
    for heading in np.linspace(-3.1, 3.1, 17):
        assert heading_of(quaternion_of(heading)) == pytest.approx(heading, abs=1e-12)
    assert from_habitat(to_habitat(3.0, 4.0, 5.0)) == (3.0, 4.0)


def test_forward_here_is_forward_there() -> None:
    """Habitat looks along -z, turned by its quaternion."""
    for heading in (0.0, 0.7, 2.0, -2.5):
        x, y, z, w = quaternion_of(heading)
        assert x == z == 0
        about_y = 2 * np.arctan2(y, w)
        there = (-np.sin(about_y), 0.0, -np.cos(about_y))
        assert there == pytest.approx(to_habitat(np.cos(heading), np.sin(heading)), abs=1e-12)


def test_every_trip_is_an_episode(tmp_path: Path) -> None:
    path = tmp_path / "rooms.json.gz"
    assert write_episodes(path, "validation", (1, 3)) == 2 * TRIPS
    episodes = json.loads(gzip.decompress(path.read_bytes()))["episodes"]
    assert len({one["episode_id"] for one in episodes}) == len(episodes) == 2 * TRIPS
    one, world = episodes[TRIPS + 2], make_world("indoor", "validation", 3)
    assert parse_scene(one["scene_id"]) == ("validation", 3)
    x, y, heading = world.starts[2]
    assert from_habitat(one["start_position"]) == (x, y)
    assert heading_of(one["start_rotation"]) == pytest.approx(heading, abs=1e-12)
    assert from_habitat(one["goals"][0]["position"]) == tuple(world.goals[2])
    again = tmp_path / "again.json.gz"
    write_episodes(again, "validation", (1, 3))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "name", ["", "van-gogh-room.glb", scene_name("test", 20), "surefoot/indoor/train/-1"]
)
def test_other_scenes_are_none_of_ours(name: str) -> None:
    with pytest.raises(ValueError, match="expected a scene_id such as"):
        parse_scene(name)


@pytest.mark.parametrize("grouped", [False, True])
def test_each_episode_comes_once_a_round(grouped: bool) -> None:
    scenes, rng = np.repeat((0, 1, 2), 4), np.random.default_rng(0)
    order = EpisodeOrder(scenes, grouped)
    rounds = [[order.draw(rng) for _ in scenes] for _ in range(2)]
    assert sorted(rounds[0]) == sorted(rounds[1]) == list(range(12))
    assert rounds[0] != rounds[1]
    changes = np.count_nonzero(np.diff(scenes[rounds[0]]))
    assert changes == 2 if grouped else changes > 2


def test_an_order_goes_on_from_its_state() -> None:
    scenes = np.zeros(5, np.int64)
    one, rng = EpisodeOrder(scenes, False), np.random.default_rng(1)
    one.draw(rng)
    two = EpisodeOrder(scenes, False)
    two.set_state(one.get_state())
    same = np.random.default_rng()
    same.bit_generator.state = rng.bit_generator.state
    assert [one.draw(rng) for _ in range(9)] == [two.draw(same) for _ in range(9)]
    with pytest.raises(ValueError, match="of 5 episodes, this data set has 3"):
        EpisodeOrder(scenes[:3], False).set_state(one.get_state())
