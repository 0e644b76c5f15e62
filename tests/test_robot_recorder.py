"""Recording: nobody waits for the disk, nothing that was flushed is lost; bags are rosbag2's."""

import errno
import json
import runpy
import signal
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("mcap", reason="needs pip install 'surefoot[record]'")

from envs.dataset import EpisodeDataset
from envs.episode import Episode
from envs.recording import EpisodeRecorder
from robot.bag import BagConfig, BagError, BagWriter, DiskFile, definitions
from robot.bag_reader import open_bag
from robot.record_queue import BATCH, Heard, RecordQueue
from robot.recorded import Topic
from robot.recording import Recording, RecordingConfig

HELP = runpy.run_path(str(Path(__file__).with_name("robot_bags.py")))
Drive, heard, topics, write = HELP["Drive"], HELP["heard"], HELP["topics"], HELP["write"]
TOPICS = [
    Topic("camera", "/camera", "sensor_msgs/msg/Image", "sensor", 5),
    Topic("imu", "/imu", "sensor_msgs/msg/Imu", "sensor", 100),
]
PATIENCE = 60.0


def picture(number: int, size: int = 100_000) -> Heard:
    return Heard("camera", number.to_bytes(4, "little") * (size // 4), number + 1, number + 1, True)


def small(number: int, size: int = 300) -> Heard:
    return Heard("imu", number.to_bytes(4, "little") * (size // 4), number + 1, number + 1)


def number(data: bytes) -> int:
    return int.from_bytes(data[:4], "little")


def numbers(bag: Path, topic: str) -> list[int]:
    return [number(one.data) for one in open_bag(bag).messages() if one.topic == topic]


# -- the queue --------------------------------------------------------------------------------------


def test_a_full_queue_drops_the_oldest_pictures_and_keeps_the_small_messages_and_the_order() -> None:
    queue = RecordQueue(BATCH)
    for i in range(100):
        queue.put(picture(i))
        queue.put(small(i))
    assert queue.bytes <= BATCH
    taken = []
    while one := queue.take(0.0):
        taken += one
    pictures = [number(one.data) for one in taken if one.is_picture]
    assert [number(one.data) for one in taken if not one.is_picture] == list(range(100))
    assert pictures == list(range(100 - len(pictures), 100))
    assert 35 <= len(pictures) <= 42
    assert queue.dropped == {"camera": 100 - len(pictures)}
    assert [one.log_time for one in taken] == sorted(one.log_time for one in taken)


def test_small_messages_are_dropped_only_when_no_picture_is_left() -> None:
    queue = RecordQueue(BATCH)
    for i in range(10):
        queue.put(picture(i))
    for i in range(100):
        queue.put(small(i, 100_000))
    assert queue.dropped["camera"] == 10
    queue.put(picture(99))  # no place is made for it among what counts more
    assert queue.dropped["camera"] == 11
    assert [number(one.data) for one in queue.take(0.0)][-1] == 99
    queue.close()
    queue.put(small(1))
    assert queue.dropped["imu"] == queue.dropped.total() - 11


# -- disks that hang, fail or fill -------------------------------------------------------------------


class SlowDisk(DiskFile):
    """Hangs in every sync until `answer` is set."""

    answer = threading.Event()
    asked = threading.Event()

    def sync(self) -> None:
        self.asked.set()
        assert self.answer.wait(PATIENCE)
        super().sync()


class FullDisk(DiskFile):
    """Takes so many bytes."""

    room = 3_000_000

    def write(self, content: bytes) -> int:
        if self.tell() + len(content) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(content)


def test_nobody_waits_for_a_disk_that_hangs(tmp_path: Path) -> None:
    SlowDisk.answer.clear()
    SlowDisk.asked.clear()
    bag = BagWriter(tmp_path / "bag", TOPICS, about={}, open_file=SlowDisk)
    recording = Recording(bag, RecordingConfig(0.01, BATCH, 0))
    recording.put(small(0))
    assert SlowDisk.asked.wait(PATIENCE)
    for i in range(1, 301):  # the writer hangs all this while; were anyone to wait, this would not end
        recording.put(picture(i))
        recording.put(small(i))
    report = recording.report()
    assert 250 < report.dropped["camera"] < 300
    assert set(report.dropped) == {"camera"}
    assert report.waiting_bytes <= BATCH
    SlowDisk.answer.set()
    report = recording.close(PATIENCE)
    assert report.stopped == ""
    assert numbers(tmp_path / "bag", "/imu") == list(range(301))
    kept = numbers(tmp_path / "bag", "/camera")
    assert kept == list(range(report.dropped["camera"] + 1, 301))
    assert open_bag(tmp_path / "bag").about == {}  # what was dropped stands at the end
    bag_read = open_bag(tmp_path / "bag")
    assert len(list(bag_read.messages())) == 301 + len(kept)
    assert bag_read.about["dropped.camera"] == str(report.dropped["camera"])


def test_a_disk_that_never_answers_does_not_keep_the_recorder_from_ending(tmp_path: Path) -> None:
    SlowDisk.answer.clear()
    SlowDisk.asked.clear()
    bag = BagWriter(tmp_path / "bag", TOPICS, about={}, open_file=SlowDisk)
    recording = Recording(bag, RecordingConfig(0.01, BATCH, 0))
    recording.put(small(0))
    assert SlowDisk.asked.wait(PATIENCE)
    recording.put(small(1))
    report = recording.close(0.1)
    assert "has not answered for 0.1 s" in report.stopped
    assert report.dropped == {"imu": 1}
    SlowDisk.answer.set()


def test_a_full_disk_ends_the_recording_and_leaves_what_was_flushed(tmp_path: Path) -> None:
    bag = BagWriter(tmp_path / "bag", TOPICS, about={}, open_file=FullDisk)
    recording = Recording(bag, RecordingConfig(0.01, 64 << 20, 0))
    end = time.monotonic() + PATIENCE
    sent = 0
    while not recording.report().stopped:
        assert time.monotonic() < end
        recording.put(picture(sent))
        sent += 1
        time.sleep(0.001)
    recording.put(small(1))  # goes on as if nothing were
    report = recording.close(PATIENCE)
    assert "No space left on device; what was written before is there" in report.stopped
    kept = numbers(tmp_path / "bag", "/camera")
    assert kept == list(range(len(kept)))
    assert 15 <= len(kept) <= 30
    assert report.dropped["imu"] == 1


def test_it_stops_before_the_disk_is_full_and_closes_the_bag_properly(tmp_path: Path) -> None:
    free = iter([5_000_000_000] * 3)
    bag = BagWriter(tmp_path / "bag", TOPICS, about={})
    recording = Recording(bag, RecordingConfig(0.01), free=lambda folder: next(free, 900_000_000))
    end = time.monotonic() + PATIENCE
    while not recording.report().stopped:
        assert time.monotonic() < end
        recording.put(small(1))
        time.sleep(0.001)
    report = recording.close(PATIENCE)
    assert (
        "has 0.90 GB left and 1.07 GB are kept free: recording has stopped, the drive goes on"
        in report.stopped
    )
    bag_read = open_bag(tmp_path / "bag")
    assert len(list(bag_read.messages())) == report.messages["imu"] > 0
    assert bag_read.damage == {}
    assert bag_read.about["stopped"] == report.stopped


# -- what is left of a file ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flushed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[tuple[int, int]]]:
    """A file that was never finished, and (bytes, messages) at each flush."""
    folder = tmp_path_factory.mktemp("flushed") / "bag"
    bag = BagWriter(folder, TOPICS, about={"format": "1"}, config=BagConfig(chunk_bytes=3000))
    flushes = [(0, 0)]
    for i in range(60):
        bag.write(small(i) if i % 4 else picture(i, 2000))
        if i % 7 == 6:
            bag.flush()
            flushes.append(((folder / "bag_0.mcap").stat().st_size, i + 1))
    bag.flush()
    content = (folder / "bag_0.mcap").read_bytes()
    bag.abandon()
    return content, [*flushes, (len(content), 60)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1), zeros=st.integers(0, 5000))
@example(share=1.0, zeros=0)
@example(share=0.0, zeros=0)
@example(share=0.5, zeros=1)
def test_cut_off_anywhere_it_gives_all_that_was_flushed(
    flushed: tuple[bytes, list[tuple[int, int]]], tmp_path: Path, share: float, zeros: int
) -> None:
    """zeros: some file systems leave them where data did not come in time."""
    content, flushes = flushed
    size = round(share * len(content))
    file = tmp_path / "bag_0.mcap"
    file.write_bytes(content[:size] + bytes(zeros))
    read = open_bag(file)
    found = [number(one.data) for one in read.messages()]
    assert found == list(range(len(found)))
    assert len(found) >= max(messages for bytes_, messages in flushes if bytes_ <= size)
    assert list(read.damage) == ["bag_0.mcap"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_spoilt_bytes_are_never_taken_for_messages(
    flushed: tuple[bytes, list[tuple[int, int]]], tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(flushed[0])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    file = tmp_path / "bag_0.mcap"
    file.write_bytes(content)
    found = [number(one.data) for one in open_bag(file).messages()]
    # A chunk whose opcode was spoilt is passed over, the others are whole.
    assert found == sorted(set(found))
    assert set(found) <= set(range(60))


# -- the format ---------------------------------------------------------------------------------------


def test_it_is_a_rosbag2_folder_whose_files_are_cut_by_time(tmp_path: Path) -> None:
    from rosbags.highlevel import AnyReader

    drive = Drive(seconds=5.0)
    bag = write(tmp_path / "trip", drive, BagConfig(split_seconds=2.0, compression="zstd"))
    said = [(one.name, one.log_time, one.data) for one in heard(drive)]
    about = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    names = [f"trip_{i}.mcap" for i in range(3)]
    assert about["relative_file_paths"] == names == sorted(path.name for path in bag.glob("*.mcap"))
    assert about["message_count"] == len(said)
    assert [one["message_count"] for one in about["files"]] == [
        len(list(open_bag(bag / n).messages())) for n in names
    ]
    kinds = {topic.name: (topic.topic, topic.kind) for topic in topics(drive)}
    with AnyReader([bag]) as reader:
        theirs = [(one.topic, one.msgtype, at, data) for one, at, data in reader.messages()]
        first = next(one for one in theirs if one[0] == "/imu/data")
        message = reader.deserialize(first[3], first[1])
    assert sorted(theirs) == sorted((*kinds[name], at, data) for name, at, data in said)
    assert (message.header.stamp.sec, message.linear_acceleration.z) == (HELP["START"], 9.81)
    counts = {
        one["topic_metadata"]["name"]: one["message_count"] for one in about["topics_with_message_count"]
    }
    assert counts["/imu/data"] == 501
    assert counts["/joy"] == 0


def test_the_schema_is_the_message_with_all_that_it_contains() -> None:
    text = definitions(["sensor_msgs/msg/Imu"])["sensor_msgs/msg/Imu"]
    assert text.startswith("std_msgs/Header header\n")
    for inner in (
        "std_msgs/Header",
        "geometry_msgs/Quaternion",
        "geometry_msgs/Vector3",
        "builtin_interfaces/Time",
    ):
        assert f"MSG: {inner}\n" in text
    with pytest.raises(BagError, match="my_msgs/msg/Own is not known"):
        definitions(["my_msgs/msg/Own"])


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BagError, match="is not empty: a bag needs a folder of its own"):
        BagWriter(tmp_path, TOPICS, about={})


@pytest.mark.parametrize("wrong", [{"compression": "gzip"}, {"split_seconds": 0}, {"chunk_bytes": 0}])
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BagConfig(**wrong)


# -- over DDS -------------------------------------------------------------------------------------------

ROS = runpy.run_path(str(Path(__file__).with_name("robot_ros.py")))
Program, surefoot = ROS["Program"], ROS["surefoot"]
SETTINGS = {"camera.width": 128, "camera.height": 96, **ROS["LAX"]}


@dataclass
class Trip:
    """A drive of the simulated rover: what was recorded beside it, and in the driver's own process.

    stamps: (T + 1,) s of the observations; acted: (T,) s at which the actions were asked for.
    """

    folder: Path
    report: dict[str, Any]
    said: str
    episode: Episode
    stamps: np.ndarray
    acted: np.ndarray
    diagnostics: list[Any]


@pytest.fixture(scope="module")
def trip(tmp_path_factory: pytest.TempPathFactory) -> Trip:
    """Simulated world, guard and two recorders, each its own process; one recorder is killed on the way."""
    pytest.importorskip("rclpy", reason="needs ROS 2: pip install 'surefoot[ros]' on Linux x86_64")
    from diagnostic_msgs.msg import DiagnosticArray

    from robot.bridge import RosRobot
    from robot.config import RobotConfig

    folder = tmp_path_factory.mktemp("trip")
    config = ROS["write_config"](folder / "robot.yaml", SETTINGS)
    words = ["--config", str(config)]
    with ExitStack() as opened:
        env = opened.enter_context(ROS["in_domain"](ROS["own_domain"](), folder))

        def program(name: str, command: list[str]) -> Any:
            return opened.enter_context(
                Program(surefoot("robot", *command, *words), env, folder / f"{name}.log")
            )

        program("sim", ["sim", "--trip", "0", "--world", "3"])
        program("guard", ["guard"])
        robot = opened.enter_context(RosRobot(RobotConfig.from_yaml(config), start_seconds=2 * PATIENCE))
        told: list[Any] = []
        robot.ros.node.create_subscription(
            DiagnosticArray, "/diagnostics", lambda m: told.extend(m.status), 10
        )
        robot.observe()
        recorders = [
            program(name, ["record", "--out", str(folder / name), "--reserve-gb", "0", "--also", "sim/truth"])
            for name in ("bag", "killed")
        ]
        for recorder in recorders:
            wait(lambda r=recorder: "recorder: ready" in r.said(), "the recorders")
        wait(lambda: any(one.name == "surefoot: recorder" for one in told), "the recorder's diagnostics")
        # On a busy machine it takes seconds until a recorder has found the driver.
        wait(lambda: all(has_wishes(folder / name) for name in ("bag", "killed")), "wishes in the bags")
        arm(robot)
        episode, stamps, acted = drive(robot, 24)
        time.sleep(1.5)  # the killed one has flushed what it was told until now
        recorders[1].end(signal.SIGKILL)
        time.sleep(0.5)
        assert recorders[0].end(signal.SIGTERM) == 0
        said = recorders[0].said()
        return Trip(folder, json.loads(said.splitlines()[-1]), said, episode, stamps, acted, told)


def has_wishes(bag: Path) -> bool:
    """Of a bag that is being written."""
    with suppress(BagError, OSError):
        return any(one.topic == "/cmd_vel_raw" for one in open_bag(bag).messages())
    return False


def wait(ready: Any, what: str) -> None:
    end = time.monotonic() + 2 * PATIENCE
    while not ready():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.05)


def arm(robot: Any) -> None:
    """The driver's node has a thread of its own: ask from another one."""
    from robot.node import RosNode
    from robot.operator import Refused, ask_guard

    asking = RosNode("operator")
    end = time.monotonic() + 2 * PATIENCE
    try:
        while True:
            try:
                ask_guard(asking, True, 2 * PATIENCE)
                break
            except Refused:
                assert time.monotonic() < end, robot.guard
                asking.spin_for(0.3)
    finally:
        asking.close()
    wait(lambda: robot.guard["armed"], "the guard to be armed")
    assert 0 < (robot.armed_at or 0) <= time.monotonic(), "each arming has its own moment"


def drive(robot: Any, steps: int) -> tuple[Episode, np.ndarray, np.ndarray]:
    """To and fro, another action each time, recorded as `surefoot collect` does."""
    seen = robot.observe()
    stamps, acted = [time.time()], []
    recorder = EpisodeRecorder(seen, {}, robot.dt, np.float32)
    for step in range(steps):
        action = np.array([0.4 * np.sin(step), 0.4 * np.cos(step / 4)], np.float32)
        acted.append(time.time())
        robot.act(action)
        seen = robot.observe()
        stamps.append(time.time())
        recorder.add(action, seen, 0.0, (False, False), {})
    robot.stop()
    return recorder.episode(), np.array(stamps), np.array(acted)


def test_a_drive_over_dds_is_recorded_and_imported_as_the_driver_saw_it(trip: Trip) -> None:
    from robot.bag_import import import_bags

    report = import_bags([trip.folder / "bag"], trip.folder / "drives", quiet=True)[0]
    assert report["added"] >= 1
    assert report["damage"] == {}
    with EpisodeDataset(trip.folder / "drives", read_only=True) as dataset:
        parts = [dataset[id] for id in dataset.ids]
    ticks = np.concatenate([one.info["stamp"] for one in parts])
    during = (ticks > trip.stamps[0]) & (ticks < trip.stamps[-1])
    assert during.sum() > 12
    # Where it was, by GPS: the same fixes in the same frame, but for when within a step it was looked at.
    own, theirs = (
        trip.episode.observations,
        {
            name: np.concatenate([one.observations[name] for one in parts])[during]
            for name in parts[0].observations
        },
    )
    for name in own:
        assert (theirs[name].dtype, theirs[name].shape[1:]) == (own[name].dtype, own[name].shape[1:]), name
    near = np.searchsorted(trip.stamps, ticks[during]).clip(1, len(trip.stamps) - 1)
    for name, most in (("odometry_velocity", 0.1), ("compass", 0.3), ("gps_velocity", 0.2), ("lidar", 0.2)):
        apart = np.minimum(
            *(np.abs(theirs[name] - own[name][near - k]).reshape(len(near), -1).mean(1) for k in (0, 1))
        )
        assert np.median(apart) < most, name
    pictures = theirs["image"].astype(float)
    apart = np.minimum(*(np.abs(pictures - own["image"][near - k]).mean((1, 2, 3)) for k in (0, 1)))
    others = np.abs(pictures[::-1] - own["image"][near]).mean((1, 2, 3))
    assert np.median(apart) < np.median(others)
    assert np.median(apart) < 12


def test_the_wishes_in_the_bag_are_the_actions_of_the_driver(trip: Trip) -> None:
    from robot.bag_topics import find_sources
    from robot.bag_tracks import gather
    from robot.config import RobotConfig

    bag = open_bag(trip.folder / "bag")
    sources = find_sources(bag.topics(), bag.about, RobotConfig())
    tracks = gather(bag, sources)
    wish = tracks["wish"]
    # Each action is wished for at once, and then again at the guard's rate.
    index = np.searchsorted(wish.times(), trip.acted + 0.1, "right") - 1
    assert index.min() >= 0
    wished = np.array([(wish.values[i].turn_rate, wish.values[i].speed) for i in index])
    right = np.abs(wished - trip.episode.actions).max(1) < 1e-5
    late = np.diff(np.append(trip.acted, trip.stamps[-1])) - 0.25
    assert right.mean() > 0.7, late  # a busy machine may be late now and then
    sent = np.array([(one.turn_rate, one.speed) for one in tracks["command"].values])
    assert np.abs(sent[:, 1]).max() > 0.1  # the guard let it drive
    assert tracks["guard"].values[-1].armed or any(one.armed for one in tracks["guard"].values)
    assert (trip.folder / "bag" / "metadata.yaml").exists()
    assert bag.topics()["/sim/truth"] == "std_msgs/msg/String"


def test_a_recorder_that_was_killed_has_lost_no_more_than_the_last_second(trip: Trip) -> None:
    killed = open_bag(trip.folder / "killed")
    times = [one.log_time * 1e-9 for one in killed.messages()]
    (why,) = killed.damage.values()
    assert why.startswith("it was cut off; ")
    assert max(times) > trip.stamps[-1] - 1.0


def test_it_says_how_it_goes_and_how_it_went(trip: Trip) -> None:
    status = [one for one in trip.diagnostics if one.name == "surefoot: recorder"][-1]
    values = {one.key: one.value for one in status.values}
    assert status.message == "records"
    assert float(values["written MB"]) > 0
    assert trip.report["stopped"] == ""
    assert trip.report["messages"]["camera"] > 20
    assert trip.report["messages"]["sim/truth"] > 5
    whole = open_bag(trip.folder / "bag")
    assert sum(trip.report["messages"].values()) == len(list(whole.messages()))


def test_ros_reads_the_messages_back(trip: Trip) -> None:
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import Image

    first = next(one for one in open_bag(trip.folder / "bag").messages() if one.topic == "/camera/image_raw")
    picture = deserialize_message(first.data, Image)
    assert (picture.width, picture.height, picture.encoding) == (128, 96, "rgb8")


def test_a_topic_that_nobody_publishes_ends_it_with_its_name(trip: Trip, tmp_path: Path) -> None:
    from robot.node import RosNode
    from robot.recorder import further_topics

    with ROS["in_domain"](ROS["own_domain"](), tmp_path):
        ros = RosNode("recorder")
        try:
            with pytest.raises(TimeoutError, match=r"a publisher of /lamp: is the name right\?"):
                further_topics(ros, ["lamp"], 0.1)
        finally:
            ros.close()
