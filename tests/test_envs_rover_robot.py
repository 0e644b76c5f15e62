"""The rover as a Robot and as a batch: sensors in their units, events as they happened, repeatable."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from envs.catalog import make_vec
from envs.dataset import EpisodeDataset
from envs.recording import rollout
from envs.robot_env import Robot
from envs.rover import terrain
from envs.rover.physics import DECISION, Motion
from envs.rover.robot import SimulatedRover, make_rover_env
from envs.rover.rovers import UNITS, RoverConfig, Rovers
from envs.rover.sensors import IMU_SAMPLES, MotionSensors, Noise, hear
from envs.rover.truth import GOAL_RADIUS, HISTORY, told
from envs.rover.worlds import make_world

ONE = RoverConfig(indices=(0,))
CLEAN = replace(ONE, noise=Noise.none())
AHEAD = np.array([[0.0, 0.8]])


def same(left: dict[str, NDArray], right: dict[str, NDArray]) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


def test_it_is_a_robot_and_passes_gymnasiums_checks() -> None:
    assert isinstance(SimulatedRover(ONE, 0), Robot)
    env = make_rover_env(ONE, 0, episode_seconds=20.0)
    assert set(env.metadata["units"]) == {"action", *env.observation_space.spaces}
    assert set(UNITS) >= set(env.observation_space.spaces)
    # Physical units and no bounds where nature has none: the advice that is not taken.
    with pytest.warns(UserWarning, match=r"symmetric and normalized|infinity"):
        check_env(env, skip_render_check=True)


def test_a_trip_is_recorded_like_any_robots(tmp_path: Path) -> None:
    class Straight:
        def reset(self) -> None: ...

        def act(self, observation: object) -> NDArray[np.float32]:
            return np.array([0.0, 0.8], np.float32)

    env = make_rover_env(ONE, 0, episode_seconds=2.0)
    (episode,) = rollout(env, Straight(), 1, seed=3)
    assert len(episode) == 8
    assert np.diff(episode.times) == pytest.approx(DECISION)
    assert episode.observations["image"].shape == (9, 96, 128, 3)
    with EpisodeDataset(tmp_path / "drives", observation_space=env.observation_space) as dataset:
        kept = dataset[dataset.append(episode)]
        np.testing.assert_array_equal(kept.observations["gps"], episode.observations["gps"])


def test_without_noise_the_sensors_say_what_is() -> None:
    rovers = Rovers(CLEAN, 1, 0, threads=1)
    rovers.restart(trips=np.array([[0, 0]]))
    x, y, heading = rovers.prepared(0).world.starts[0]
    seen = rovers.observe()
    np.testing.assert_allclose(seen["gps"][0], (x, y), atol=0.02)
    assert seen["compass"][0, 0] == pytest.approx(np.arctan2(np.sin(heading), np.cos(heading)), abs=0.01)
    np.testing.assert_allclose(seen["goal"][0], rovers.prepared(0).world.goals[0])
    for _ in range(6):
        rovers.drive(AHEAD)
    seen, truth = rovers.observe(), rovers.truth
    gone = np.linalg.norm(truth["position"][0] - (x, y))
    assert gone > 0.9
    assert np.hypot(*seen["odometry"][0, :2]) == pytest.approx(gone, rel=0.15)
    assert np.linalg.norm(seen["gps_velocity"][0]) == pytest.approx(truth["speed"][0], rel=0.1)
    assert seen["imu_angular_velocity"].shape == (1, IMU_SAMPLES, 3)
    assert seen["imu_linear_acceleration"][0, :, 2].mean() == pytest.approx(9.81, abs=1.0)
    for name, space in rovers.observation_space.spaces.items():
        assert space.contains(seen[name][0]), name
    rovers.close()


def still(samples: int = IMU_SAMPLES) -> Motion:
    zero = np.zeros((1, samples, 3))
    pose = np.zeros((1, samples, 7))
    pose[..., 3] = 1.0
    under = np.zeros((1, samples, 4), np.uint8)
    return Motion(zero, zero, np.zeros((1, samples, 4)), pose, zero[..., :2], np.zeros((1, samples)), under)


def test_noise_is_as_large_as_its_units_say() -> None:
    noise, generator = Noise(), np.random.default_rng(0)
    sensors = MotionSensors(noise)
    sensors.restart(0, generator, np.zeros(2), 0.0)
    fixes, gyro, compass, ages = [], [], [], []
    for _ in range(4000):
        sensors.feel([generator], still(), np.zeros(1))
        read = sensors.read()
        fixes.append(read["gps"][0].copy())
        gyro.append(read["imu_angular_velocity"][0])
        compass.append(float(read["compass"][0, 0]))
        ages.append(float(read["gps_age"][0, 0]))
    assert np.std(compass) == pytest.approx(np.deg2rad(5), rel=0.1)
    assert np.std(gyro - np.mean(gyro, (0, 1))) == pytest.approx(noise.gyro, rel=0.05)
    assert sorted(set(np.round(ages, 2))) == [0.0, 0.25, 0.5, 0.75]  # 1 Hz
    heard = np.array(fixes[::4])
    assert heard.std() == pytest.approx(np.hypot(noise.gps, noise.gps_bias), rel=0.35)
    step = np.diff(heard, axis=0).std()  # from fix to fix only the quick part changes
    assert step == pytest.approx(np.sqrt(2) * noise.gps, rel=0.15)


def test_the_imu_ends_at_its_range() -> None:
    sensors, motion = MotionSensors(Noise.none()), still()
    sensors.restart(0, np.random.default_rng(0), np.zeros(2), 0.0)
    motion.acceleration[0, 3] = 900.0, -900.0, 5.0
    sensors.feel([np.random.default_rng(0)], motion, np.zeros(1))
    said = sensors.read()["imu_linear_acceleration"][0, 3]
    np.testing.assert_allclose(said, (156.96, -156.96, 5.0))


def test_the_lidar_loses_a_beam_in_a_hundred() -> None:
    generator = np.random.default_rng(0)
    said = np.concatenate([hear(np.full(360, 5.0, np.float32), generator, Noise()) for _ in range(50)])
    assert (said == 12.0).mean() == pytest.approx(0.01, abs=0.003)
    assert said[said < 12].std() == pytest.approx(0.01, rel=0.1)
    assert (hear(np.full(360, np.inf, np.float32), generator, Noise.none()) == 12.0).all()


def test_spinning_wheels_lie_to_the_odometry() -> None:
    config = replace(CLEAN, layout="offroad")
    rovers = Rovers(config, 1, 0, threads=1)
    rovers.restart()
    world = rovers.prepared(0).world
    rows, columns = np.nonzero(world.kinds == terrain.THICK_GRASS)
    inside = [
        (x, y)
        for x, y in zip(columns[::50] * 0.075, rows[::50] * 0.075, strict=True)
        if all(
            world.kind_at(x + dx, y + dy) == terrain.THICK_GRASS for dx in (-0.6, 0.6) for dy in (-0.6, 0.6)
        )
        and all(np.hypot(x - s.centre[0], y - s.centre[1]) > 1.5 for s in world.solids)
    ]
    x, y = inside[0]
    rovers.place(0, x, y, 0.0)
    for _ in range(HISTORY):
        rovers.drive(AHEAD)
    assert rovers.truth["stuck"][0]
    assert rovers.truth["terrain"][0] == terrain.THICK_GRASS
    assert not rovers.truth["collision"][0]
    by_wheels = rovers.observe()["odometry"][0, 0]
    assert by_wheels > 3 * np.linalg.norm(rovers.truth["position"][0] - (x, y))
    rovers.close()


def test_truth_tells_collision_goal_and_fence() -> None:
    world = make_world("urban", "train", 0)
    motion = still()
    motion.pose[0, :, :2] = world.goals[0] + (1.0, 0.0)
    history = np.tile(motion.pose[:, :1, :2], (1, HISTORY + 1, 1))
    commands = np.full((1, HISTORY), 0.8)
    truth = told(motion, [world], world.goals[:1], history, commands)
    assert truth["reached"][0]
    assert truth["goal_distance"][0] == pytest.approx(1.0)
    assert GOAL_RADIUS == 2.0  # as the released code
    assert truth["stuck"][0]
    assert not truth["collision"][0]
    assert not truth["outside"][0]
    assert not told(motion, [world], world.goals[:1], history, commands * 0)["stuck"][
        0
    ]  # nobody told it to drive
    motion.touched[0, 7] = 50.0
    motion.pose[0, :, :2] = 0.5
    truth = told(motion, [world], world.goals[:1], history, commands)
    assert truth["collision"][0]
    assert truth["outside"][0]


def test_a_batch_is_deterministic_whatever_the_threads() -> None:
    runs = []
    for threads in (1, 2):
        rovers = Rovers(replace(ONE, indices=(0, 1)), 3, 7, threads=threads)
        rovers.restart()
        for _ in range(3):
            rovers.drive(np.tile(AHEAD, (3, 1)))
        runs.append({**rovers.observe(), **rovers.truth})
        rovers.close()
    same(*runs)
    alone = Rovers(replace(ONE, indices=(0, 1)), 1, 8, threads=1)  # copy 1 of seed 7
    alone.restart()
    for _ in range(3):
        alone.drive(AHEAD)
    np.testing.assert_array_equal(alone.observe()["image"][0], runs[0]["image"][1])


def test_a_state_goes_on_as_if_nothing_had_been() -> None:
    rovers = Rovers(replace(ONE, indices=(0, 1)), 2, 5, threads=1)
    rovers.restart()
    rovers.drive(np.tile(AHEAD, (2, 1)))
    state = rovers.get_state()
    rovers.drive(np.tile(AHEAD, (2, 1)))
    expected = {**rovers.observe(), **rovers.truth}
    rovers.restart()
    rovers.set_state(state)
    same(rovers.observe(), state["seen"])
    rovers.drive(np.tile(AHEAD, (2, 1)))
    same({**rovers.observe(), **rovers.truth}, expected)
    with pytest.raises(ValueError, match="state is of 2 rovers, there are 1"):
        Rovers(ONE, 1, 0).set_state(state)


def test_bad_requests_say_what_was_expected() -> None:
    rovers = Rovers(ONE, 1, 0)
    rovers.restart()
    with pytest.raises(ValueError, match=r"expected actions \(1, 2\), rad/s and m/s, got \(2,\)"):
        rovers.drive(np.zeros(2))
    with pytest.raises(ValueError, match="not finite"):
        rovers.drive(np.array([[np.nan, 0.8]]))
    with pytest.raises(ValueError, match="at least one rover"):
        Rovers(ONE, 0)
    with pytest.raises(ValueError, match=r"test has worlds 0 to 19, got \[20\]"):
        RoverConfig(split="test", indices=(3, 20))


def test_an_episode_ends_with_a_collision_but_not_while_preferences_are_learnt() -> None:
    ended = {}
    for preferences in (False, True):
        batch = make_vec("rover:Indoor", 2, 1, preferences=preferences, threads=1)
        batch.reset(1)
        hits, ends, penalties = 0, 0, []
        for _ in range(40):
            step = batch.step(np.tile((0.0, 1.0), (2, 1)))
            failed = step.infos["collision"] | step.infos["stuck"]
            hits, ends = hits + failed.sum(), ends + step.terminated.sum()
            penalties += list(step.infos["true_reward"][failed])
        ended[preferences] = (hits, ends)
        assert (np.array(penalties) < -2).all()
        batch.close()
    assert ended[False][0] == ended[False][1] > 0
    assert ended[True][0] > 0 == ended[True][1]
