"""Bags become the episodes that training takes: every number from where and when it belongs."""

import json
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mcap", reason="needs pip install 'surefoot[record]'")

from envs.dataset import EpisodeDataset
from envs.episode import Episode
from robot.bag import BagConfig, BagError
from robot.bag_episodes import ImportConfig
from robot.bag_import import import_bags
from robot.config import RobotConfig

HELP = runpy.run_path(str(Path(__file__).with_name("robot_bags.py")))
Drive, START, turn_rate, write = HELP["Drive"], HELP["START"], HELP["turn_rate"], HELP["write"]
SLOW = {**HELP["RATES"], "camera": 10.0, "imu": 50.0, "odometry": 20.0}
"""Hz: enough where the numbers do not matter"""


def take_in(bag: Path, out: Path, **settings: Any) -> tuple[dict[str, Any], list[Episode]]:
    report = import_bags([bag], out, ImportConfig(**settings), quiet=True)[0]
    return report, episodes(out)


def episodes(out: Path) -> list[Episode]:
    with EpisodeDataset(out, read_only=True) as dataset:
        return [dataset[id] for id in dataset.ids]


def at(episode: Episode) -> np.ndarray:
    """(T + 1,) s after the drive's beginning."""
    return episode.info["stamp"] - START


# -- every number in its place -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Episode]:
    folder = tmp_path_factory.mktemp("imported")
    report, (episode,) = take_in(write(folder / "bag", Drive(seconds=6.0)), folder / "drives")
    return report, episode


def test_ticks_are_the_drivers_decisions_and_actions_are_what_the_base_was_told(
    imported: tuple[dict[str, Any], Episode],
) -> None:
    report, episode = imported
    ticks = at(episode)
    np.testing.assert_allclose(ticks, 0.1 + 0.25 * np.arange(len(episode) + 1), atol=1e-6)
    np.testing.assert_array_equal(episode.times, 0.25 * np.arange(len(episode) + 1))
    wanted = [(turn_rate(decision), 1.0) for decision in range(len(episode))]
    np.testing.assert_allclose(episode.actions, wanted, atol=1e-6)
    np.testing.assert_allclose(episode.info["wish"], wanted, atol=1e-6)
    assert episode.actions.dtype == np.float32
    assert report["decision_spread_ms"] < 1.0
    assert len(episode) == 23
    assert episode.truncated


def test_each_stream_is_the_newest_one_of_the_tick(imported: tuple[dict[str, Any], Episode]) -> None:
    _, episode = imported
    seen, ticks = episode.observations, at(episode)

    def newest(rate: float) -> np.ndarray:
        return np.floor(ticks * rate + 1e-3)

    np.testing.assert_array_equal(seen["image"][:, 50, 60, 1], newest(30.0) % 251)
    np.testing.assert_allclose(seen["odometry"][:, 0], (newest(50.0) - newest(50.0)[0]) / 50, atol=1e-5)
    np.testing.assert_allclose(seen["lidar"][:, 90], 2.0 + newest(10.0) / 1000, atol=1e-5)
    # The fixes are 0.2 s apart; their frame is that of the first one.
    np.testing.assert_allclose(seen["gps"][:, 1], newest(5.0) / 5, rtol=2e-3)
    np.testing.assert_array_equal(seen["gps_age"], np.zeros((len(ticks), 1)))
    np.testing.assert_allclose(seen["gps_velocity"], np.tile([0.0, 1.0], (len(ticks), 1)))
    np.testing.assert_allclose(seen["odometry_velocity"], np.tile([1.0, 0.0], (len(ticks), 1)))
    # 25 samples of the last 0.25 s; the gyro's number is its time.
    last = newest(100.0) / 100
    wanted = last[:, None] - 0.25 + 0.01 * np.arange(1, 26)
    np.testing.assert_allclose(seen["imu_angular_velocity"][1:, :, 2], wanted[1:], atol=1e-3)
    np.testing.assert_allclose(seen["imu_linear_acceleration"][1:, :, 0], wanted[1:], atol=1e-3)
    np.testing.assert_allclose(episode.info["picture_age"], ticks - newest(30.0) / 30, atol=1e-3)


def test_it_is_what_collect_writes(imported: tuple[dict[str, Any], Episode]) -> None:
    """The same streams, shapes and types as the simulated rover's."""
    from envs.rover.rovers import RoverConfig, observation_space

    _, episode = imported
    for name, space in observation_space(RoverConfig()).spaces.items():
        stream = episode.observations[name]
        assert (stream.shape[1:], stream.dtype) == (space.shape, space.dtype), name
    assert episode.observations.keys() == observation_space(RoverConfig()).spaces.keys()


def test_the_report_says_rates_and_how_late_each_stream_came(
    imported: tuple[dict[str, Any], Episode],
) -> None:
    report, _ = imported
    streams = report["streams"]
    for name, rate in HELP["RATES"].items():
        assert streams[name]["rate_hz"] == pytest.approx(rate, rel=0.01)
        assert streams[name]["gaps"] == 0
    for name, late in HELP["LATE"].items():
        assert streams[name]["latency_ms"]["p50"] == pytest.approx(late * 1e3, abs=0.1)
        assert streams[name]["skew_ms"] == pytest.approx((late - 0.02) * 1e3, abs=0.2)
    assert report["warnings"] == []
    assert (report["steps"], report["added"]) == (23, 1)


def test_compressed_pictures_are_taken_as_well(tmp_path: Path) -> None:
    _, (episode,) = take_in(write(tmp_path / "bag", Drive(4.0, compressed=True)), tmp_path / "drives")
    ticks = at(episode)
    np.testing.assert_array_equal(episode.observations["image"][:, 0, 0, 0], np.floor(ticks * 30 + 1e-3))


def test_a_command_ends_with_the_bases_own_timeout(tmp_path: Path) -> None:
    """The guard falls silent at 3.1 s, the base stops 0.2 s later."""
    drive = Drive(6.0, rates=SLOW, change=lambda name, t, m: None if name == "command" and t > 3.09 else m)
    _, (episode,) = take_in(write(tmp_path / "bag", drive), tmp_path / "drives")
    speed = episode.actions[:, 1]
    np.testing.assert_allclose(speed[:12], 1.0)
    assert 0.5 < speed[12] < 0.7  # until 3.05 + 0.2 s
    np.testing.assert_array_equal(speed[13:], 0.0)


# -- cutting -------------------------------------------------------------------------------------------


def test_it_is_cut_where_the_camera_is_silent(tmp_path: Path) -> None:
    drive = Drive(12.0, rates=SLOW, change=lambda name, t, m: None if name == "camera" and 5 < t < 7 else m)
    report, (before, after) = take_in(write(tmp_path / "bag", drive), tmp_path / "drives")
    assert at(before)[-1] <= 5.5
    assert at(after)[0] >= 7.0
    (gap,) = report["streams"]["camera"]["longest_gaps"]
    assert gap["seconds"] == pytest.approx(2.0, abs=0.11)
    assert gap["at_s"] == pytest.approx(4.9, abs=0.11)
    assert report["left_out_ticks"] == {"camera silent": 6}
    np.testing.assert_array_equal(after.observations["odometry"][0], [0, 0, 0])  # a new trip


def test_it_is_cut_while_the_guard_is_disarmed_and_after_a_minute(tmp_path: Path) -> None:
    drive = Drive(12.0, rates=SLOW, armed=lambda t: 1.0 <= t < 6.0 or t >= 8.0)
    bag = write(tmp_path / "bag", drive)
    report, (first, second) = take_in(bag, tmp_path / "drives")
    assert (at(first)[0], at(first)[-1]) == pytest.approx((1.1, 5.85), abs=1e-5)
    assert at(second)[0] == pytest.approx(8.1, abs=1e-5)
    assert report["left_out_ticks"] == {"disarmed": 12}
    _, short = take_in(bag, tmp_path / "short", episode_seconds=2.5)
    assert [len(one) for one in short] == [10, 9, 10]  # what is left of less than eight steps is not kept


def test_without_a_driver_or_a_guard_the_whole_bag_is_a_drive(tmp_path: Path) -> None:
    drive = Drive(4.0, rates=SLOW, without=("wish", "guard", "velocity"))
    report, (episode,) = take_in(write(tmp_path / "bag", drive), tmp_path / "drives")
    assert len(episode) >= 14
    assert report["decision_spread_ms"] is None
    np.testing.assert_array_equal(episode.info["wish"], np.zeros((len(episode), 2)))


# -- whole, once, or not at all -------------------------------------------------------------------------


def test_the_same_bag_again_adds_nothing_and_several_bags_are_one_dataset(tmp_path: Path) -> None:
    bags = [
        write(tmp_path / name, Drive(4.0, speed=speed, rates=SLOW))
        for name, speed in (("a", 0.8), ("b", 1.0))
    ]
    out = tmp_path / "drives"
    first = import_bags(bags, out, quiet=True)
    assert [one["added"] for one in first] == [1, 1]
    again = import_bags(bags, out, quiet=True)
    assert [(one["added"], one["again"]) for one in again] == [(0, True), (0, True)]
    assert [one["episodes"] for one in again] == [one["episodes"] for one in first]
    for file in (out / "imports").iterdir():
        file.unlink()  # as after a power cut
    assert [one["added"] for one in import_bags(bags, out, quiet=True)] == [0, 0]
    assert len(episodes(out)) == 2
    assert sorted(path.name for path in out.iterdir()) == [
        "data.bin",
        "dataset.json",
        "imports",
        "index.jsonl",
        "lock",
    ]


def test_a_bag_with_a_fault_at_its_end_leaves_nothing(tmp_path: Path) -> None:
    def smaller(name: str, t: float, message: Any) -> Any:
        return (
            replace(message, height=48, data=message.data[: len(message.data) // 2])
            if late(name, t)
            else message
        )

    def late(name: str, t: float) -> bool:
        return name == "camera" and t > 7.5

    good = write(tmp_path / "good", Drive(4.0, rates=SLOW))
    bad = write(tmp_path / "bad", Drive(8.0, rates=SLOW, change=smaller))
    with pytest.raises(
        BagError, match=r"bad: /camera/image_raw: the frame is 128 x 48 pixels, expected 128 x 96"
    ):
        import_bags([good, bad], tmp_path / "drives", ImportConfig(episode_seconds=2.5), quiet=True)
    assert len(episodes(tmp_path / "drives")) == 1
    assert not (tmp_path / "drives" / ".import").exists()


def test_a_bag_that_was_cut_off_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", Drive(10.0, rates=SLOW), BagConfig(chunk_bytes=100_000))
    file = bag / "bag_0.mcap"
    content = file.read_bytes()
    (bag / "metadata.yaml").unlink()
    file.write_bytes(content[: int(len(content) * 0.6)])
    report, (episode,) = take_in(bag, tmp_path / "drives")
    assert 4.5 < at(episode)[-1] < 6.5
    (warning,) = report["warnings"]
    assert warning.startswith("bag_0.mcap: it was cut off; ")


def test_what_the_recorder_dropped_is_in_the_report(tmp_path: Path) -> None:
    from robot.bag import BagWriter

    drive = Drive(4.0, rates=SLOW)
    bag = BagWriter(tmp_path / "bag", HELP["topics"](drive), about={})
    for one in HELP["heard"](drive):
        bag.write(one)
    bag.close({"dropped.camera": "12", "stopped": "the disk is full"})
    report, _ = take_in(tmp_path / "bag", tmp_path / "drives")
    assert report["dropped_by_recorder"] == {"camera": 12}
    assert "the recording was ended early: the disk is full" in report["warnings"]
    assert "the recorder dropped 12 of camera" in report["warnings"]


def test_a_few_broken_messages_are_left_out_and_told(tmp_path: Path) -> None:
    def broken(name: str, t: float, message: Any) -> Any:
        if name == "imu" and 1.0 < t < 1.05:
            return replace(message, linear_acceleration=replace(message.linear_acceleration, x=float("nan")))
        return message

    report, (episode,) = take_in(
        write(tmp_path / "bag", Drive(4.0, rates=SLOW, change=broken)), tmp_path / "drives"
    )
    (warning,) = report["warnings"]
    assert warning.startswith("imu: 2 messages left out: /imu/data: linear_acceleration is [nan")
    assert all(np.isfinite(stream).all() for stream in episode.observations.values())


# -- others' bags ---------------------------------------------------------------------------------------


def others_bag(folder: Path, rename: dict[str, str], drive: Any, sqlite: bool = False) -> Path:
    """Written by rosbags' own writer, which knows nothing of surefoot."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    from robot.bag import typestore

    kinds = {topic.name: (rename.get(topic.name, topic.topic), topic.kind) for topic in HELP["topics"](drive)}
    storage = StoragePlugin.SQLITE3 if sqlite else StoragePlugin.MCAP
    with Writer(folder, version=9, storage_plugin=storage) as bag:
        channels = {
            name: bag.add_connection(*kinds[name], typestore=typestore())
            for name in HELP["RATES"]
            if name not in drive.without
        }
        for one in HELP["heard"](drive):
            if one.name in channels:
                bag.write(channels[one.name], one.log_time, one.data)
    return folder


def test_a_bag_of_rosbag2_is_taken_and_the_only_camera_is_found(tmp_path: Path) -> None:
    drive = Drive(4.0, rates=SLOW)
    bag = others_bag(tmp_path / "bag", {"camera": "/realsense/color/image_raw"}, drive)
    report, (episode,) = take_in(bag, tmp_path / "drives")
    assert "camera: took /realsense/color/image_raw, the only sensor_msgs/msg/Image" in report["warnings"]
    assert len(episode) >= 14


def test_a_config_names_the_topics(tmp_path: Path) -> None:
    bag = others_bag(tmp_path / "bag", {"command": "/base/cmd"}, Drive(4.0, rates=SLOW))
    with pytest.raises(
        BagError, match=r"no command: no topic /cmd_vel .*TwistStamped\); of this kind there is /base/cmd"
    ):
        take_in(bag, tmp_path / "drives")
    robot = RobotConfig.from_mapping({"topics.command": "base/cmd"})
    (report,) = import_bags([bag], tmp_path / "drives", robot=robot, quiet=True)
    assert report["added"] == 1


# -- bad input --------------------------------------------------------------------------------------------


def wrong(name: str, change: Callable[[Any], Any]) -> Callable[[str, float, Any], Any]:
    return lambda stream, t, message: change(message) if stream == name else message


def backwards(name: str, t: float, message: Any) -> Any:
    if name != "odometry" or t < 2.0:
        return message
    stamp = replace(message.header.stamp, sec=message.header.stamp.sec - 100)
    return replace(message, header=replace(message.header, stamp=stamp))


def unstamped(message: Any) -> Any:
    stamp = replace(message.header.stamp, sec=0, nanosec=0)
    return replace(message, header=replace(message.header, stamp=stamp))


@pytest.mark.parametrize(
    ("drive", "words"),
    [
        ({"without": ("imu",)}, r"has no imu: no topic /imu/data \(sensor_msgs/msg/Imu\); the bag has /cam"),
        ({"without": ("lidar",)}, r"no topic /scan \(.*\); record it, or set safety.use_lidar: false in"),
        (
            {"change": wrong("camera", lambda m: replace(m, encoding="yuv422"))},
            r"/camera/image_raw: encoding is 'yuv422', expected one of rgb8.*: set the camera driver to rgb8",
        ),
        (
            {"size": (96, 96)},
            r"frames are 96 x 96, the model sees 128 x 96: another shape would bend the picture",
        ),
        ({"change": backwards}, r"/odometry/filtered: header.stamp runs backwards.*with --stamps arrival"),
        (
            {"offset": {"lidar": -3600.0}},
            r"/scan: header.stamp is 3600.0 s behind the recorder's clock: .*chrony.*--stamps arrival",
        ),
        ({"change": wrong("imu", unstamped)}, r"/imu/data: header.stamp is zero"),
        (
            {"change": wrong("imu", lambda m: replace(m, orientation_covariance=np.full(9, -1.0)))},
            r"/imu/data: orientation is missing, it is the compass: use a filter",
        ),
        ({"seconds": 0.2}, r"the streams have 0.\d s in common"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_with_its_remedy(
    tmp_path: Path, drive: dict[str, Any], words: str
) -> None:
    bag = write(tmp_path / "bag", Drive(**{"seconds": 4.0, "rates": SLOW, **drive}))
    with pytest.raises(BagError, match=f"^bag: .*{words}.*; nothing of this bag was imported$"):
        take_in(bag, tmp_path / "drives")
    assert episodes(tmp_path / "drives") == []


def test_arrival_times_serve_where_stamps_do_not(tmp_path: Path) -> None:
    drive = Drive(4.0, rates=SLOW, offset={"lidar": -3600.0}, change=backwards)
    report, (episode,) = take_in(write(tmp_path / "bag", drive), tmp_path / "drives", stamps="arrival")
    assert len(episode) >= 14
    assert report["warnings"] == []


def test_a_topic_of_another_type_is_named(tmp_path: Path) -> None:
    drive = Drive(2.0, rates=SLOW)
    bag = others_bag(tmp_path / "bag", {"imu": "/joint", "velocity": "/imu/data"}, drive)
    with pytest.raises(
        BagError, match=r"/imu/data is geometry_msgs/msg/TwistStamped, expected sensor_msgs/msg/Imu"
    ):
        take_in(bag, tmp_path / "drives")


def test_what_is_no_bag_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no bag"):
        import_bags([tmp_path / "none"], tmp_path / "drives")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BagError, match=r"holds no \.mcap file \(but nothing\)"):
        import_bags([tmp_path / "empty"], tmp_path / "drives")
    sqlite = others_bag(tmp_path / "sqlite", {}, Drive(0.2, rates=SLOW), sqlite=True)
    with pytest.raises(BagError, match="is an SQLite bag; rosbags-convert --src OLD --dst NEW"):
        import_bags([sqlite], tmp_path / "drives")
    (tmp_path / "noise.mcap").write_bytes(b"no bag at all")
    with pytest.raises(BagError, match=r"noise: the bag has no camera: .*the bag has no messages"):
        import_bags([tmp_path / "noise.mcap"], tmp_path / "drives", quiet=True)


# -- the whole way ------------------------------------------------------------------------------------------


def test_the_command_imports_and_what_it_wrote_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`surefoot import` and `surefoot train badgr` as people call them; things stand ahead now and then."""
    pytest.importorskip("torch")
    from agents.badgr.config import BadgrConfig
    from agents.badgr.spec import ActionLimit, ModelSpec
    from agents.badgr.train import MODEL_FILE, train_badgr
    from surefoot import main

    def eventful(name: str, t: float, message: Any) -> Any:
        if name == "lidar" and t % 10 > 9:
            ranges = message.ranges.copy()
            ranges[:20] = 0.16
            return replace(message, ranges=ranges)
        if name == "velocity" and t % 10 > 9:  # it stands there
            still = replace(message.twist.linear, y=0.0)
            return replace(message, twist=replace(message.twist, linear=still))
        if name == "imu":
            shaking = 1.5 * np.sin(40 * t) if t % 10 > 4 else 0.0
            rates = replace(message.angular_velocity, x=float(shaking), z=0.0)
            return replace(message, angular_velocity=rates)
        return message

    bags = [
        write(tmp_path / f"trip{i}", Drive(20.0, size=(24, 32), phase=0.05 * i, rates=SLOW, change=eventful))
        for i in range(3)
    ]
    out = tmp_path / "drives"
    main(["import", *map(str, bags), "--out", str(out), "--width", "32", "--height", "24", "--json"])
    reports = json.loads(capsys.readouterr().out)
    assert [one["added"] for one in reports] == [1, 1, 1]
    spec = ModelSpec(
        image=(24, 32, 3),
        horizon=4,
        actions=(ActionLimit("angular_velocity", -1.0, 1.0), ActionLimit("linear_velocity", 0.5, 1.25)),
        events=("collision", "bumpy"),
        lasting=("collision",),
    )
    config = BadgrConfig(
        data=(str(out),), spec=spec, steps=6, batch_size=8, holdout=0.3, holdout_windows=16, evaluations=1,
        checkpoints=1, log_rows=2, device="cpu",
    )  # fmt: skip
    train_badgr(config, tmp_path / "run", quiet=True, tensorboard=False)
    assert (tmp_path / "run" / MODEL_FILE).exists()
    main(["import", str(bags[0]), "--out", str(out), "--width", "32", "--height", "24"])
    shown = capsys.readouterr().out
    assert "was imported before" in shown
