"""`RosRobot` beside sensors that say nothing useful."""

import runpy
import threading
import time
from pathlib import Path

import pytest

from robot.config import RobotConfig

HELP = runpy.run_path(str(Path(__file__).with_name("robot_ros.py")))
CONFIG = RobotConfig.from_mapping({"camera.width": 64, "camera.height": 48, **HELP["LAX"]})


def test_a_gps_receiver_without_a_fix_is_told_from_one_that_is_silent(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2: pip install 'surefoot[ros]' on Linux x86_64")
    from sensor_msgs.msg import NavSatFix, NavSatStatus

    from robot.bridge import RosRobot
    from robot.node import sensor_qos
    from robot.to_messages import header

    with HELP["in_domain"](HELP["own_domain"](), tmp_path):
        rig = HELP["Rig"](CONFIG, 0)
        receiver = rig.ros.node.create_publisher(NavSatFix, CONFIG.topics.position, sensor_qos())
        said: list[str] = []

        def look() -> None:
            try:
                robot.observe()
            except TimeoutError as error:
                said.append(str(error))

        def living() -> bool:
            lost = NavSatFix(header=header(time.time(), "gps"))
            lost.status.status = NavSatStatus.STATUS_NO_FIX
            receiver.publish(lost)
            return not thread.is_alive()

        with RosRobot(CONFIG, image=(48, 64), needs_goal=False, start_seconds=12.0) as robot:
            thread = threading.Thread(target=look)
            thread.start()
            rig.pump(living, 4 * HELP["PATIENCE"], "the robot's answer")
            assert robot.position_trouble().startswith(CONFIG.topics.position)
        rig.ros.close()
    (words,) = said
    assert words.startswith(f"position: {CONFIG.topics.position}: the receiver has no fix (status.status)")
