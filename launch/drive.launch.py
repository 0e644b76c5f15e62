"""The robot drives: guard and driver, beside the camera's, sensors' and base's own drivers.

ros2 launch launch/drive.launch.py model:=predictor.model config:=my_robot.yaml
ros2 launch surefoot_bringup drive.launch.py model:=predictor.model goal:=47.0001,8.0002

Then `surefoot robot arm`. This file runs in ROS's own Python: it imports nothing of surefoot.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import (
    LaunchConfiguration,
    PathJoinSubstitution,
    PythonExpression,
    ThisLaunchFileDir,
)
from launch_ros.actions import Node


def generate_launch_description():
    configs = PathJoinSubstitution([ThisLaunchFileDir(), "config"])
    surefoot, config = LaunchConfiguration("surefoot"), LaunchConfiguration("config")
    shadow = PythonExpression(
        ["'--shadow' if '", LaunchConfiguration("shadow"), "' == 'true' else '--no-shadow'"]
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("model", description="exported event predictor"),
            DeclareLaunchArgument("goal", default_value="", description="latitude,longitude; or the topic's"),
            DeclareLaunchArgument("shadow", default_value="false", description="true: do not drive"),
            DeclareLaunchArgument(
                "config", default_value=[configs, "/robot.yaml"], description="parameters of the robot"
            ),
            DeclareLaunchArgument("namespace", default_value="", description="of all topics"),
            DeclareLaunchArgument("surefoot", default_value="surefoot", description="the command"),
            # Without it camera frames of 640x480 are lost in shared memory, see config/fastdds.xml.
            SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", [configs, "/fastdds.xml"]),
            # Other libraries' threads must not take the guard's core.
            SetEnvironmentVariable("OMP_NUM_THREADS", "1"),
            Node(
                executable=surefoot,
                arguments=["robot", "guard"],
                name="guard",
                namespace=LaunchConfiguration("namespace"),
                parameters=[config],
                output="screen",
                respawn=True,  # disarmed, then
                respawn_delay=1.0,
            ),
            Node(
                executable=surefoot,
                arguments=[
                    "drive",
                    LaunchConfiguration("model"),
                    ["--goal=", LaunchConfiguration("goal")],
                    shadow,
                ],
                name="driver",
                namespace=LaunchConfiguration("namespace"),
                parameters=[config],
                output="screen",
            ),
        ]
    )
