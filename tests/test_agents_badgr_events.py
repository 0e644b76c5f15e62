"""Events told from sensor streams alone, and what happens to streams that cannot be trusted."""

import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.badgr.events import DETECTORS, OFF_ROAD, URBAN, LabelConfig, bumpy_threshold, label_episode
from agents.badgr.label_report import label_report
from agents.badgr.label_store import label_dataset
from agents.badgr.signals import LabelError
from envs.dataset import EpisodeDataset
from envs.episode import Episode

toy = runpy.run_path(str(Path(__file__).with_name("badgr_drives.py")))
ACCELERATION, GYRO, SAMPLES, STEP = (toy[name] for name in ("ACCELERATION", "GYRO", "SAMPLES", "STEP"))
changed, quiet_drive, stream = (toy[name] for name in ("changed", "quiet_drive", "stream"))
record_toy, toy_drive = toy["record_toy"], toy["toy_drive"]


BY_LIDAR = replace(URBAN, collision="lidar")
BY_WHEELS = replace(URBAN, motion="wheels")


def at_speed(drive: Episode, frames: slice, speed: float) -> dict[str, np.ndarray]:
    """Its wheels' and its ground's speed, of which those of some frames are another, m/s."""
    wheels, ground = stream(drive, "odometry_velocity"), stream(drive, "gps_velocity")
    wheels[frames, 0], ground[frames] = speed, (0.0, speed)
    return {"odometry_velocity": wheels, "gps_velocity": ground}


def struck(at: int, *, held: bool = True, loss: float = 0.8, samples: int = 3) -> Episode:
    """A quiet drive that loses speed in step `at`, and from then on drives on or is held."""
    drive = quiet_drive()
    felt = stream(drive, ACCELERATION)
    felt[at + 1, 10 : 10 + samples, 0] = -loss / (samples * STEP / SAMPLES)
    speeds = at_speed(drive, slice(at + 1, None), 0.4 if held else 0.8)
    return changed(drive, **{ACCELERATION: felt}, **speeds)


def test_a_quiet_drive_has_no_events_and_its_way_is_its_odometry() -> None:
    labels = label_episode(quiet_drive())
    for name in ("collision", "bumpy", "stuck"):
        assert not labels.events[name].any()
        assert labels.known[name][2:].all()
    np.testing.assert_allclose(labels.position[:, 0], 0.2 * np.arange(1, 21), atol=1e-9)
    np.testing.assert_allclose(labels.position[:, 1], 0, atol=1e-9)


@pytest.mark.parametrize(("bearing", "distance", "hit"), [
    (0, 0.17, True), (0, 0.30, False), (36, 0.2, False), (18, 0.24, True), (18, 0.34, False),
])  # fmt: skip
def test_an_echo_at_the_outline_is_a_collision_one_behind_or_further_off_is_none(
    bearing: int, distance: float, hit: bool
) -> None:
    """The bumper is 0.154 m ahead of the lidar, the flank 0.215 m beside it; beams are 5 degrees apart."""
    drive = quiet_drive()
    scans = stream(drive, "lidar")
    scans[8, [bearing - 1, bearing, bearing + 1]] = distance
    labels = label_episode(changed(drive, lidar=scans), BY_LIDAR)
    assert labels.events["collision"].tolist() == [step == 7 and hit for step in range(20)]


def test_a_single_echo_is_noise() -> None:
    drive = quiet_drive()
    scans = stream(drive, "lidar")
    scans[8, 0] = 0.15
    assert not label_episode(changed(drive, lidar=scans), BY_LIDAR).events["collision"].any()


def test_a_blow_that_holds_the_robot_is_a_collision_until_it_drives_another_way() -> None:
    drive = struck(6)
    actions = np.array(drive.actions)
    actions[12:, 1] = -0.5
    driven = replace(changed(drive, **at_speed(drive, slice(13, None), -0.5)), actions=actions)
    labels = label_episode(driven, OFF_ROAD)
    assert np.flatnonzero(labels.events["collision"]).tolist() == list(range(6, 12))
    assert not labels.known["stuck"][6:12].any()  # it stands because it has collided
    assert labels.known["stuck"][:6].all()


@pytest.mark.parametrize(
    ("drive", "why"),
    [
        (struck(6, held=False), "a rut: the robot drives on"),
        (struck(6, loss=0.6, samples=20), "thick grass takes its speed slowly"),
        (struck(6, loss=0.15, samples=2), "a small knock"),
    ],
)
def test_not_every_jolt_is_a_collision(drive: Episode, why: str) -> None:
    assert not label_episode(drive, OFF_ROAD).events["collision"].any(), why


def test_who_drives_on_passes_grass_that_a_lidar_takes_for_a_wall() -> None:
    drive = quiet_drive()
    scans = stream(drive, "lidar")
    scans[5:12, :10] = 0.16
    grass = changed(drive, lidar=scans)
    assert label_episode(grass, BY_LIDAR).events["collision"].sum() == 7
    for config in (URBAN, OFF_ROAD):
        assert not label_episode(grass, config).events["collision"].any()


def test_what_is_at_the_hull_or_struck_it_and_holds_the_robot_is_a_collision() -> None:
    """A wall that it leans on from step 2 to 5, grass in step 7, a kerb that strikes it in step 10."""
    drive = struck(10)
    scans = stream(drive, "lidar")
    scans[[3, 4, 8], :3] = 0.16  # one scan of the wall is lost
    both = changed(drive, lidar=scans, **at_speed(drive, slice(4, 7), 0.5))
    found = {
        rule: np.flatnonzero(label_episode(both, replace(URBAN, collision=rule)).events["collision"]).tolist()
        for rule in ("lidar", "imu", "either")
    }
    assert found == {
        "lidar": [2, 3, 7],
        "imu": list(range(10, 20)),
        "either": [2, 3, 4, 5, *range(10, 20)],
    }


def test_bumpy_is_roll_and_pitch_and_not_steering() -> None:
    drive = quiet_drive()
    turning, rough = stream(drive, GYRO), stream(drive, GYRO)
    turning[1:, :, 2] = 1.0
    assert not label_episode(changed(drive, **{GYRO: turning})).events["bumpy"].any()
    rough[6:16, :, 0] = 0.5 * np.sin(np.arange(SAMPLES))
    labels = label_episode(changed(drive, **{GYRO: rough}))
    assert labels.events["bumpy"].tolist() == [5 <= step < 15 for step in range(20)]
    one = stream(drive, GYRO)
    one[9, :, 0] = 3.0
    assert not label_episode(changed(drive, **{GYRO: one})).events["bumpy"].any()


def test_bumps_count_for_what_they_would_be_at_one_metre_a_second() -> None:
    """The same ground shakes a robot less that crawls over it."""
    for speed, shake in ((1.0, 0.34), (1.0, 0.36), (0.64, 0.27), (0.64, 0.29)):
        drive = quiet_drive(speed=speed)
        rates = stream(drive, GYRO)
        rates[1:, :, 0] = shake
        labels = label_episode(changed(drive, **{GYRO: rates}))
        assert labels.events["bumpy"][2:].all() == (shake / np.sqrt(speed) > 0.35)


def test_bumpiness_is_unknown_while_it_settles_and_while_it_is_held() -> None:
    drive = quiet_drive()
    known = label_episode(changed(drive, **at_speed(drive, slice(11, None), 0.5))).known["bumpy"]
    assert known.tolist() == [2 <= step < 10 for step in range(20)]


@pytest.mark.parametrize("config", [URBAN, BY_WHEELS])
@pytest.mark.parametrize(("held", "stuck"), [(5, False), (6, True), (9, True)])
def test_it_is_stuck_from_the_first_moment_once_held_for_long_enough(
    held: int, stuck: bool, config: LabelConfig
) -> None:
    drive = quiet_drive()
    labels = label_episode(changed(drive, **at_speed(drive, slice(4, 4 + held), 0.02)), config)
    assert labels.events["stuck"].tolist() == [stuck and 3 <= step < 3 + held for step in range(20)]


def test_standing_because_it_was_told_to_is_not_stuck() -> None:
    drive = quiet_drive(speed=0.0)
    assert not label_episode(drive).events["stuck"].any()


def test_wheels_that_spin_are_not_believed() -> None:
    drive = quiet_drive()
    ground = stream(drive, "gps_velocity")
    ground[5:15] = 0.02 * np.array([[1, 0], [-1, 0]] * 5)
    spinning = changed(drive, gps_velocity=ground)
    assert label_episode(spinning).events["stuck"].tolist() == [4 <= step < 14 for step in range(20)]
    assert not label_episode(spinning, BY_WHEELS).events["stuck"].any()


def test_noise_of_the_velocity_does_not_hide_that_it_stands() -> None:
    """Each is 0.05 m/s off on average, the mean of 1.5 s is not."""
    drive, ground = quiet_drive(40), np.random.default_rng(0).normal(0, 0.04, (41, 2))
    assert np.linalg.norm(ground, axis=1).mean() > 0.04
    assert label_episode(changed(drive, gps_velocity=ground)).events["stuck"].all()


def test_who_creeps_is_not_stuck() -> None:
    drive = quiet_drive()
    slow = changed(drive, **at_speed(drive, slice(3, None), 0.15))
    assert not label_episode(slow).events["stuck"].any()
    assert label_episode(slow, BY_WHEELS).events["stuck"].any()  # that rule cannot tell


def test_a_scrape_that_comes_loose_for_a_moment_goes_on() -> None:
    drive = struck(6)
    speeds = {name: stream(drive, name) for name in ("odometry_velocity", "gps_velocity")}
    for loose in (9, 12, 13):
        speeds["odometry_velocity"][loose, 0], speeds["gps_velocity"][loose] = 0.8, (0, 0.8)
    labels = label_episode(changed(drive, **speeds), OFF_ROAD)
    assert np.flatnonzero(labels.events["collision"]).tolist() == [6, 7, 8, 9, 10]


def test_a_velocity_over_ground_can_take_the_wheels_place() -> None:
    drive = quiet_drive()
    moving = np.tile([0.0, 0.8], (21, 1))  # east, north: the robot's heading does not matter
    moving[5:15] = 0.02
    labels = label_episode(changed(drive, gps_velocity=moving, odometry_velocity=None))
    assert np.flatnonzero(labels.events["stuck"]).tolist() == list(range(4, 14))


def test_the_way_turns_as_the_gyro_says_when_wheels_skid() -> None:
    """A quarter circle of radius 1 m; the wheels believe they turned twice as far."""
    steps = 16
    drive = quiet_drive(steps, speed=np.pi / 2 / steps / STEP)
    rate = np.pi / 2 / (steps * STEP)
    rates = stream(drive, GYRO)
    rates[1:, :, 2] = rate
    believed = np.linspace(0, np.pi, steps + 1)
    odometry = np.stack([0.5 * np.sin(believed), 0.5 * (1 - np.cos(believed)), believed], 1)
    pose = label_episode(changed(drive, odometry=odometry, **{GYRO: rates})).pose
    np.testing.assert_allclose(pose[-1], [1, 1, np.pi / 2], atol=0.01)
    angle = np.linspace(0, np.pi / 2, steps + 1)
    np.testing.assert_allclose(pose[:, :2], np.stack([np.sin(angle), 1 - np.cos(angle)], 1), atol=0.01)
    by_wheels = label_episode(
        changed(drive, odometry=odometry, **{GYRO: rates}), replace(URBAN, heading="odometry")
    )
    np.testing.assert_allclose(by_wheels.pose, odometry, atol=0.01)


def test_events_of_ones_own() -> None:
    def turning(episode: Episode, config: LabelConfig) -> tuple[np.ndarray, np.ndarray]:
        return np.abs(episode.actions[:, 0]) > 0.5, np.ones(len(episode), bool)

    drive = quiet_drive()
    actions = np.array(drive.actions)
    actions[3, 0] = -0.9
    labels = label_episode(replace(drive, actions=actions), URBAN, {**DETECTORS, "turning": turning})
    assert np.flatnonzero(labels.events["turning"]).tolist() == [3]


# -- streams that cannot be trusted -----------------------------------------------------------------


def test_nan_makes_labels_unknown_and_only_there() -> None:
    drive = quiet_drive()
    rates, scans, odometry = stream(drive, GYRO), stream(drive, "lidar"), stream(drive, "odometry")
    rates[7, 3], scans[10], odometry[13] = np.nan, np.nan, np.nan
    labels = label_episode(changed(drive, lidar=scans, odometry=odometry, **{GYRO: rates}))
    assert np.flatnonzero(~labels.known["bumpy"]).tolist() == [0, 1, 6]
    assert np.flatnonzero(~labels.known["collision"]).tolist() == [9]
    assert np.flatnonzero(~labels.moved).tolist() == [6, 12, 13]
    assert np.isfinite(labels.pose).all()
    assert labels.whole.all()


def test_beams_without_an_echo_are_open_space() -> None:
    drive = quiet_drive()
    scans = stream(drive, "lidar")
    scans[4], scans[5], scans[6, ::2], scans[7] = np.inf, 0.0, np.nan, 0.0
    labels = label_episode(changed(drive, lidar=scans), BY_LIDAR)
    assert not labels.events["collision"].any()
    assert np.flatnonzero(~labels.known["collision"]).tolist() == [4, 6]  # not one beam spoke


def test_a_gap_or_a_broken_action_makes_a_step_unknown() -> None:
    drive = quiet_drive()
    times, actions = np.array(drive.times), np.array(drive.actions)
    times[9:] += 0.5
    actions[15, 1] = np.nan
    labels = label_episode(replace(drive, times=times, actions=actions))
    assert np.flatnonzero(~labels.whole).tolist() == [8, 15]
    for name in labels.known:
        assert not labels.known[name][[8, 15]].any()


def test_stamps_that_run_backwards_are_refused() -> None:
    drive = quiet_drive()
    times = np.array(drive.times)
    times[9] = times[7]
    with pytest.raises(LabelError, match=r"frame 9 is at 1\.75 s after one at 2\.0 s"):
        label_episode(replace(drive, times=times))


@pytest.mark.parametrize("name", ["lidar", GYRO, ACCELERATION, "odometry", "gps_velocity"])
def test_a_missing_stream_is_named_with_those_there_are(name: str) -> None:
    with pytest.raises(LabelError, match=f"no stream '{name}', it has .*image, .*or leave out the events"):
        label_episode(changed(quiet_drive(), **{name: None}))


@pytest.mark.parametrize(
    ("name", "factor", "message"),
    [
        (ACCELERATION, 1 / 9.81, r"is 1 on average, expected gravity's 9.8 m/s\^2: is it in g"),
        (GYRO, 57.3, r"rad/s half of the time: is it in degrees"),
        ("lidar", 1000, r"median of 1.2e\+04 m: is it in mm"),
        ("odometry", 1000, r"moves 800 m/s half of the time: is it in m"),
        ("gps_velocity", 1000, r"above 15 m/s half of the time"),
    ],
)
def test_other_units_are_refused(name: str, factor: float, message: str) -> None:
    drive = quiet_drive()
    values = stream(drive, name) + (0.5 if name == GYRO else 0)
    with pytest.raises(LabelError, match=message):
        label_episode(changed(drive, **{name: values * factor}))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (GYRO, (21, 25, 2), r"frames of \(25, 2\), expected \(samples, 3\)"),
        ("lidar", (21,), "expected the ranges of a turn"),
        ("odometry", (21, 2), "expected x, y, heading"),
    ],
)
def test_other_shapes_are_refused(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(LabelError, match=message):
        label_episode(changed(quiet_drive(), **{name: np.ones(shape)}))


def test_actions_of_another_kind_are_refused() -> None:
    drive = quiet_drive()
    with pytest.raises(LabelError, match=r"actions are \(20, 3\), expected angular_velocity and linear"):
        label_episode(replace(drive, actions=np.zeros((20, 3))))


@pytest.mark.parametrize(
    "wrong", [{"bumpy": 0.0}, {"blow": float("nan")}, {"gap": 1.0}, {"stuck_seconds": -1}]
)
def test_thresholds_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LabelConfig(**wrong)


def test_a_robot_without_torch_can_label() -> None:
    code = """
import importlib, sys
sys.modules["torch"] = sys.modules["mujoco"] = None
for name in sys.argv[1:]:
    importlib.import_module("agents.badgr." + name)
"""
    names = ["spec", "prediction", "reward", "planner", "predictor", "model_file", "signals", "events"]
    names += ["label_store", "label_report", "windows", "calibration", "config"]
    names += ["walk", "geofence", "recovery", "collect_agent", "collect_config"]
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", code, *names], cwd=root, check=True, timeout=60)


# -- a step of its own ------------------------------------------------------------------------------


def test_labels_are_kept_and_made_only_once_for_the_same_thresholds(tmp_path: Path) -> None:
    record_toy(tmp_path / "data", 3)
    with EpisodeDataset(tmp_path / "data", read_only=True) as dataset:
        first = label_dataset(dataset, URBAN)
        stamps = {file: file.stat().st_mtime_ns for file in first.folder.glob("*.npz")}
        assert len(stamps) == 3
        again = label_dataset(dataset, URBAN)
        assert {file: file.stat().st_mtime_ns for file in again.folder.glob("*.npz")} == stamps
        for id in dataset.ids:
            for name in DETECTORS:
                np.testing.assert_array_equal(first.labels[id].events[name], again.labels[id].events[name])
                np.testing.assert_array_equal(first.labels[id].known[name], again.labels[id].known[name])
            np.testing.assert_array_equal(first.labels[id].pose, again.labels[id].pose)
        other = label_dataset(dataset, replace(URBAN, bumpy=0.5))
        assert other.folder != first.folder
        assert json.loads((other.folder / "labels.json").read_text())["thresholds"]["bumpy"] == 0.5
        anew = label_dataset(dataset, URBAN, again=True)
        assert {file: file.stat().st_mtime_ns for file in anew.folder.glob("*.npz")} != stamps
    with EpisodeDataset(tmp_path / "data", durable=False) as dataset:  # labels do not disturb the recording
        dataset.append(toy_drive(99))
        assert len(label_dataset(dataset, URBAN).labels) == 4


def test_a_label_file_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    record_toy(tmp_path / "data", 1)
    with EpisodeDataset(tmp_path / "data", read_only=True) as dataset:
        first = label_dataset(dataset, URBAN)
        (file,) = first.folder.glob("*.npz")
        whole = file.read_bytes()
        for damaged in (whole[:100], b"", whole[: len(whole) // 2]):
            file.write_bytes(damaged)
            again = label_dataset(dataset, URBAN)
            np.testing.assert_array_equal(
                again.labels[dataset.ids[0]].pose, first.labels[dataset.ids[0]].pose
            )
        assert list(first.folder.glob(".*")) == []


def test_drives_that_cannot_be_labelled_are_left_out_unless_all_are(tmp_path: Path) -> None:
    with EpisodeDataset(tmp_path / "data", durable=False) as dataset:
        broken = dataset.append(changed(quiet_drive(), lidar=None))
        with pytest.raises(LabelError, match=r"none of the 1 drives of .* no stream 'lidar'"):
            label_dataset(dataset, URBAN)
        good = dataset.append(quiet_drive())
        labelled = label_dataset(dataset, URBAN)
        assert list(labelled.labels) == [good]
        assert "no stream 'lidar'" in labelled.refused[broken]


def test_the_report_of_the_toy_world_is_what_counting_gives() -> None:
    drives = [toy_drive(seed) for seed in range(60)]
    labelled = [(drive, label_episode(drive)) for drive in drives]
    report = label_report(labelled, tolerance=0)
    said, true, known = (
        np.concatenate(parts)
        for parts in (
            [labels.events["collision"] for _, labels in labelled],
            [drive.info["collision"] for drive in drives],
            [labels.known["collision"] for _, labels in labelled],
        )
    )
    right = (said & true & known).sum()
    assert report["collision"].precision == right / (said & known).sum()
    assert report["collision"].recall == right / (true & known).sum()
    assert (report["collision"].true, report["collision"].steps) == ((true & known).sum(), len(true))
    assert min(report["collision"].precision, report["collision"].recall) >= 0.95
    assert min(report["bumpy"].precision, report["bumpy"].recall) >= 0.95
    assert "stuck" not in report  # nobody knows the truth of it here
    assert "precision 1.000" in str(report["bumpy"])


def test_the_report_allows_for_a_step_and_for_a_truth_that_comes_late() -> None:
    drive = quiet_drive()
    late = np.zeros(20, bool)
    late[10:15] = True  # the simulator says so after 1.5 s
    labelled = changed(drive, info={"stuck": late}, **at_speed(drive, slice(6, 16), 0.0))
    score = label_report([(labelled, label_episode(labelled))], tolerance=0)["stuck"]
    assert (score.precision, score.recall) == (1.0, 1.0)
    strict = label_report([(labelled, label_episode(labelled))], tolerance=0, lead_seconds={})["stuck"]
    assert (strict.precision, strict.recall) == (0.5, 1.0)
    near = label_report([(labelled, label_episode(labelled))], tolerance=1, lead_seconds={})["stuck"]
    assert near.precision == 0.6


def test_steps_of_a_reset_do_not_count_in_the_report() -> None:
    scans = stream(quiet_drive(), "lidar")
    scans[5:9, :4] = 0.16
    resetting, truth = np.zeros(20, bool), np.zeros(20, bool)
    resetting[6:], truth[4:6] = True, True
    drive = changed(quiet_drive(), lidar=scans, info={"collision": truth, "resetting": resetting})
    score = label_report([(drive, label_episode(drive, BY_LIDAR))], tolerance=0)["collision"]
    assert (score.precision, score.recall, score.labelled) == (1.0, 1.0, 2)


def test_the_bumpy_threshold_comes_from_smooth_ground() -> None:
    drive = quiet_drive()
    rates = stream(drive, GYRO)
    rates[1:, :, 0] = np.linspace(0.01, 0.2, 20)[:, None]
    smooth = changed(drive, **{GYRO: rates}, **at_speed(drive, slice(None), 1.0))
    assert bumpy_threshold([smooth]) == pytest.approx(1.25 * np.percentile(np.linspace(0.01, 0.2, 20), 80))
