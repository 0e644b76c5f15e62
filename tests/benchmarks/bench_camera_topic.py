"""How many camera frames arrive over DDS, 640x480 at 30 Hz: with the shipped shared-memory profile, without.

    python tests/benchmarks/bench_camera_topic.py           # 20 s
    python tests/benchmarks/bench_camera_topic.py --quick   # 6 s

Two processes with the sensors' QoS. The peer is Fast DDS's default: shared memory smaller than a frame.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from robot import to_messages
from robot.messages import stamp_seconds
from robot.node import RosNode, sensor_qos

ROOT = Path(__file__).parent.parent.parent
HELP = runpy.run_path(str(ROOT / "tests/robot_ros.py"))
RATE = 30.0


def send(frames: int) -> None:
    """The camera's process."""
    from sensor_msgs.msg import Image

    ros = RosNode("camera")
    publisher = ros.node.create_publisher(Image, "frames", sensor_qos(5))
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    ros.wait_for(lambda: publisher.get_subscription_count() > 0, 60.0, "the other process")
    ros.spin_for(1.0)
    due = time.monotonic()
    for _ in range(frames):
        publisher.publish(to_messages.image(picture, time.time()))
        due += 1 / RATE
        ros.spin_until(due)
    ros.spin_for(1.0)
    ros.close()


def receive(frames: int, env: dict[str, str], profile: str | None) -> dict[str, Any]:
    """Frames that came, and their latency."""
    from sensor_msgs.msg import Image

    os.environ.pop("FASTRTPS_DEFAULT_PROFILES_FILE", None)
    if profile is not None:
        os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = profile
    env = {**env, **({"FASTRTPS_DEFAULT_PROFILES_FILE": profile} if profile else {})}
    late: list[float] = []
    camera = subprocess.Popen([sys.executable, __file__, "--send", str(frames)], env=env)
    ros = RosNode("listener")
    ros.node.create_subscription(
        Image, "frames", lambda m: late.append(time.time() - stamp_seconds(m, "frames")), sensor_qos(5)
    )
    while camera.poll() is None:
        ros.spin_for(0.1)
    ros.close()
    ms = np.percentile(np.array(late or [np.nan]) * 1e3, (50, 99))
    return {
        "sent": frames,
        "received": len(late),
        "p50_ms": round(float(ms[0]), 1),
        "p99_ms": round(float(ms[1]), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--send", type=int, default=0, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.send:
        send(words.send)
        return
    frames = 60 if words.quick else 300
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {RATE:g} Hz")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, profile in (("default", None), ("profile", str(ROOT / "launch/config/fastdds.xml"))):
            with HELP["in_domain"](HELP["own_domain"](), Path(folder)) as env:
                found[name] = receive(frames, env, profile)
            print(f"{name:8} {found[name]}")
    ratio = found["profile"]["received"] / max(found["default"]["received"], 1)
    print(json.dumps({"received_ratio_to_default": round(ratio, 2), **found}))


if __name__ == "__main__":
    main()
