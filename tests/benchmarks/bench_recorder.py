"""Recorder and import: frames lost to a disk that hangs, what a power cut leaves, and how fast bags are read.

Messages of 640x480 at 30 Hz, IMU at 100 Hz, odometry at 50 Hz and lidar at 10 Hz, in one process, without
DDS (bench_camera_topic.py measures that). The peer is rosbags' writer called from the callback, as many
small recorders do, behind queues as deep as DDS's.
"""

import argparse
import json
import os
import platform
import random
import runpy
import shutil
import tempfile
import threading
import time
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from robot.bag import BagWriter, DiskFile, typestore
from robot.bag_import import import_bags
from robot.bag_reader import open_bag
from robot.record_queue import Heard
from robot.recording import Recording, RecordingConfig

ROOT = Path(__file__).parent.parent.parent
HELP = runpy.run_path(str(ROOT / "tests/robot_bags.py"))
RATES = {"camera": 30.0, "imu": 100.0, "odometry": 50.0, "lidar": 10.0, "position": 5.0, "velocity": 10.0,
         "wish": 20.0, "command": 20.0}  # fmt: skip
FULL = HELP["Drive"](seconds=10.0, size=(480, 640), rates=RATES)


class Disk(DiskFile):
    """Hangs for `seconds` in the first write after each of the moments in `when`, s of the steady clock."""

    when: ClassVar[deque[float]] = deque()
    seconds = 0.0

    def write(self, content: bytes) -> int:
        hang(self.when, self.seconds)
        return super().write(content)


def hang(when: deque[float], seconds: float) -> None:
    if when and time.monotonic() >= when[0]:
        when.popleft()
        time.sleep(seconds)


def samples() -> dict[str, Heard]:
    """One message of each kind."""
    found: dict[str, Heard] = {}
    for one in HELP["heard"](replace(FULL, seconds=0.3)):
        found.setdefault(one.name, one)
    return found


def play(seconds: float, put: Any) -> tuple[Counter[str], np.ndarray]:
    """Hands messages over in real time; what was sent, and s that each hand-over took."""
    one_each, sent, took = samples(), Counter[str](), []
    begin = time.monotonic()
    due = sorted((k / rate, name) for name, rate in RATES.items() for k in range(int(seconds * rate)))
    for at, name in due:
        time.sleep(max(begin + at - time.monotonic(), 0.0))
        now = time.time_ns()
        heard = replace(one_each[name], log_time=now, publish_time=now)
        began = time.perf_counter()
        put(heard)
        took.append(time.perf_counter() - began)
        sent[name] += 1
    return sent, np.array(took)


def ours(folder: Path, seconds: float, stall: float, moments: list[float]) -> dict[str, Any]:
    drive = replace(FULL)
    Disk.when, Disk.seconds = deque(time.monotonic() + moment for moment in moments), stall
    bag = BagWriter(folder, HELP["topics"](drive), about={}, open_file=Disk)
    recording = Recording(bag, RecordingConfig(reserve_bytes=0))
    cpu = time.process_time()
    sent, took = play(seconds, recording.put)
    used = time.process_time() - cpu
    report = recording.close()
    frames = sent["camera"]
    return {
        "frames": frames,
        "frames_lost": frames - report.messages.get("camera", 0),
        "others_lost": sum(sent.values())
        - frames
        - sum(report.messages.values())
        + report.messages["camera"],
        "worst_wait_ms": round(float(took.max()) * 1e3, 2),
        "p99_wait_ms": round(float(np.percentile(took, 99)) * 1e3, 3),
        "cpu_share": round(used / seconds, 3),
    }


def peer(folder: Path, seconds: float, stall: float, moments: list[float]) -> dict[str, Any]:
    """rosbags' writer in the callback: while it hangs, DDS keeps the last few messages of each topic."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    topics = {topic.name: topic for topic in HELP["topics"](FULL)}
    depth = {"camera": 5, "imu": 20}
    waiting = {name: deque[Heard](maxlen=depth.get(name, 5)) for name in RATES}
    when = deque(time.monotonic() + moment for moment in moments)
    written, ending = Counter[str](), threading.Event()
    blocked = 0.0
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        channels = {
            name: bag.add_connection(topics[name].topic, topics[name].kind, typestore=typestore())
            for name in RATES
        }

        def callbacks() -> None:
            nonlocal blocked
            while not ending.is_set() or any(waiting.values()):
                idle = True
                for name, queue in waiting.items():
                    if queue:
                        one, idle = queue.popleft(), False
                        began = time.perf_counter()
                        hang(when, stall)
                        bag.write(channels[name], one.log_time, one.data)
                        blocked = max(blocked, time.perf_counter() - began)
                        written[name] += 1
                if idle:
                    time.sleep(0.001)

        thread = threading.Thread(target=callbacks)
        thread.start()
        sent, _ = play(seconds, lambda one: waiting[one.name].append(one))
        ending.set()
        thread.join()
    lost = sum(sent.values()) - sum(written.values())
    frames_lost = sent["camera"] - written["camera"]
    return {
        "frames": sent["camera"],
        "frames_lost": frames_lost,
        "others_lost": lost - frames_lost,
        "worst_wait_ms": round(blocked * 1e3, 1),
    }


def cut_anywhere(folder: Path, seconds: float, cuts: int) -> dict[str, Any]:
    """Of a file cut at random offsets: share of its bytes that come back, and s lost before the cut."""
    drive = replace(FULL, seconds=seconds)
    topics = HELP["topics"](drive)
    bag = BagWriter(folder, topics, about={})
    file = folder / f"{folder.name}_0.mcap"
    flushes: list[tuple[int, int]] = []  # bytes, log time of the last message
    due = HELP["START"] + 1.0
    for one in HELP["heard"](drive):
        bag.write(one)
        if one.log_time * 1e-9 > due:
            bag.flush()
            flushes.append((file.stat().st_size, one.log_time))
            due += 1.0
    bag.flush()
    bag.abandon()
    size, draw = file.stat().st_size, random.Random(0)
    shares, broken_promises, theirs = [], 0, 0
    for offset in sorted((draw.randrange(size // 10, size) for _ in range(cuts)), reverse=True):
        os.truncate(file, offset)
        got = came = 0
        for one in open_bag(file).messages():
            got, came = got + len(one.data), one.log_time
        shares.append(got / offset)
        promised = max((at for end, at in flushes if end <= offset), default=0)
        broken_promises += came < promised
        theirs += rosbags_reads(file)
    return {
        "cuts": cuts,
        "bytes": size,
        "recovered_mean": round(float(np.mean(shares)), 4),
        "recovered_worst": round(float(np.min(shares)), 4),
        "flushed_but_lost": broken_promises,
        "rosbags_recovered": theirs,
    }


def rosbags_reads(file: Path) -> bool:
    from rosbags.highlevel import AnyReader

    try:
        with AnyReader([file]) as reader:
            return any(True for _ in reader.messages())
    except Exception:
        return False


def import_speed(folder: Path, seconds: float) -> dict[str, Any]:
    """Against reading and decoding every message by rosbags, and doing nothing with it."""
    from rosbags.highlevel import AnyReader

    bag = HELP["write"](folder / "bag", replace(FULL, seconds=seconds))
    size = sum(file.stat().st_size for file in bag.glob("*.mcap"))
    wall, cpu = time.monotonic(), time.process_time()
    (report,) = import_bags([bag], folder / "drives", quiet=True)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    their_wall, their_cpu = time.monotonic(), time.process_time()
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            reader.deserialize(data, connection.msgtype)
    their_wall, their_cpu = time.monotonic() - their_wall, time.process_time() - their_cpu
    return {
        "bytes": size,
        "steps": report["steps"],
        "mb_per_s": round(size / wall / 1e6),
        "times_real_time": round(seconds / wall, 1),
        "cpu_s": round(cpu, 2),
        "times_real_time_cpu": round(seconds / cpu, 1),
        "rosbags_read_only_cpu_s": round(their_cpu, 2),
        "rosbags_read_only_mb_per_s": round(size / their_wall / 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    seconds, moments = (6.0, [2.0]) if quick else (20.0, [3.0, 12.0])
    found: dict[str, Any] = {"stalls": {}}
    folder = Path(tempfile.mkdtemp(prefix="bench-recorder-"))
    try:
        for stall in (0.0, 2.0) if quick else (0.0, 1.0, 3.0, 6.0):
            mine = ours(folder / f"ours-{stall:g}", seconds, stall, moments if stall else [])
            theirs = peer(folder / f"peer-{stall:g}", seconds, stall, moments if stall else [])
            found["stalls"][f"{stall:g}"] = {"ours": mine, "peer": theirs}
            print(f"disk hangs {stall:g} s x {len(moments) if stall else 0}\n  ours {mine}\n  peer {theirs}")
            shutil.rmtree(folder / f"ours-{stall:g}")
            shutil.rmtree(folder / f"peer-{stall:g}")
        found["cut"] = cut_anywhere(folder / "cut", 3.0 if quick else 8.0, 10 if quick else 100)
        print("cut off   ", found["cut"])
        shutil.rmtree(folder / "cut")
        found["import"] = import_speed(folder, 4.0 if quick else 20.0)
        print("import    ", found["import"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    worst = found["stalls"]["2" if quick else "3"]
    mine, theirs = worst["ours"]["frames_lost"], worst["peer"]["frames_lost"]
    print(json.dumps({"frames_lost": mine, "frames_lost_peer": theirs, **found}))


if __name__ == "__main__":
    main()
