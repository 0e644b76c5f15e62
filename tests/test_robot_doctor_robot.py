"""`surefoot doctor --robot` beside a rig whose sensors are wrong in known ways."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from robot.config import RobotConfig
from robot.doctor_robot import Heard, look_at_clock, look_at_disk_rate, look_at_rate, look_at_shared_memory

HELP = runpy.run_path(str(Path(__file__).with_name("robot_ros.py")))
CONFIG = RobotConfig()


def heard(hertz: float, age: float = 0.01, trouble: str = "") -> Heard:
    found = Heard(trouble=trouble)
    for k in range(20):
        found.hear(age, k / hertz)
    return found


def test_rates_are_judged_by_the_time_outs() -> None:
    assert look_at_rate("camera", heard(15.0), CONFIG).status == "ok"
    slow = look_at_rate("camera", heard(11.0), CONFIG)
    assert (slow.status, slow.found) == ("warn", "11.0 Hz, rates.camera is 15 Hz")
    stops = look_at_rate("odometry", heard(4.0), CONFIG)
    assert (stops.status, stops.found) == ("fail", "4.0 Hz, timeouts.odometry is 0.2 s: it would stop")
    assert "timeouts.odometry" in stops.fix
    assert look_at_rate("imu", heard(7.0), CONFIG).status == "warn"
    assert (
        look_at_rate("camera", heard(15.0, trouble="encoding is 'yuv'"), CONFIG).found == "encoding is 'yuv'"
    )


def test_stamps_of_another_clock_are_found() -> None:
    assert look_at_clock("imu", heard(100.0), CONFIG).status == "ok"
    ahead = look_at_clock("imu", heard(100.0, -3.2), CONFIG)
    assert (ahead.status, ahead.found) == ("fail", "stamps lie up to 3.20 s in the future")
    behind = look_at_clock("imu", heard(100.0, 60.0), CONFIG)
    assert behind.found == "stamps are 60.00 s old on arrival, timeouts.imu is 0.2 s"
    assert "chrony" in ahead.fix
    assert "chrony" in behind.fix


def test_the_disk_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    found = look_at_disk_rate(CONFIG, tmp_path / "runs")
    assert "MB/s in" in found.found
    assert "raw pictures are 13.8 MB/s" in found.found
    assert list(tmp_path.iterdir()) == []


def test_large_frames_need_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE", "RMW_IMPLEMENTATION"):
        monkeypatch.delenv(name, raising=False)
    found = look_at_shared_memory(921_600)
    assert (found.status, found.found[:28]) == ("fail", "camera frames of 900 KiB: Fa")
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "launch/config/fastdds.xml")
    assert look_at_shared_memory(921_600).status == "ok"


def test_every_fault_of_a_robot_has_its_line_and_its_fix(tmp_path: Path) -> None:
    """A frame of another size, an IMU in the future, an unreliable path, two commanders, no GPS."""
    pytest.importorskip("rclpy", reason="needs ROS 2: pip install 'surefoot[ros]' on Linux x86_64")
    from geometry_msgs.msg import Twist
    from nav_msgs.msg import Path as RosPath

    from robot.node import sensor_qos

    with HELP["in_domain"](HELP["own_domain"](), tmp_path) as env:
        rig = HELP["Rig"](CONFIG, 0)
        node = rig.ros.node
        rig.skew["imu"] = 30.0
        rig.silent.add("lidar")
        node.create_publisher(RosPath, "plan", sensor_qos())
        both = [node.create_publisher(Twist, "cmd_vel", 1) for _ in range(2)]
        words = [sys.executable, "-m", "surefoot", "doctor", "--robot", "--json", "--seconds", "3"]
        with (tmp_path / "report.json").open("w") as output:
            doctor = subprocess.Popen(words, env={**os.environ, **env}, stdout=output, cwd=HELP["ROOT"])
            rig.pump(lambda: doctor.poll() is not None, 4 * HELP["PATIENCE"], "the doctor")
        rig.close()
        del both
    assert doctor.returncode == 1
    report = json.loads((tmp_path / "report.json").read_text())
    found: dict[str, Any] = {check["name"]: check for check in report["checks"]}
    red = {
        "camera rate": ("the frame is 64 x 48 pixels, expected 640 x 480", "correct the driver"),
        "imu clock": ("in the future", "chrony"),
        "position topic": ("nobody publishes gps/fix (sensor_msgs/msg/NavSatFix)", "start its driver"),
        "path topic": (
            "rig offers best effort, volatile; we ask for reliable",
            "set the QoS of rig to reliable",
        ),
        "who publishes cmd_vel": ("rig, rig", "end all but the guard"),
    }
    for name, (what, fix) in red.items():
        assert found[name]["status"] == "fail", found[name]
        assert what in found[name]["found"]
        assert fix in found[name]["fix"]
    assert found["camera topic"]["status"] == "ok"
    assert "future" not in found["odometry clock"]["found"]
    assert found["who publishes cmd_vel_raw"]["found"] == "rig alone"
    assert found["joystick topic"]["status"] == "absent"
    for check in found.values():
        assert check["fix"] or check["status"] != "fail", check
