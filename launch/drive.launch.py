"""The robot drives: guard and driver, beside the camera's, sensors' and base's own drivers.

ros2 launch launch/drive.launch.py model:=predictor.model config:=my_robot.yaml
ros2 launch surefoot_bringup drive.launch.py model:=predictor.model goal:=47.0001,8.0002

Then `surefoot robot arm`. This file runs in ROS's own Python: it imports nothing of surefoot.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.conditions import IfCondition
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
    back_off = PythonExpression(
        ["'--back-off' if '", LaunchConfiguration("back_off"), "' == 'true' else '--no-back-off'"]
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("model", description="exported event predictor"),
            DeclareLaunchArgument("goal", default_value="", description="latitude,longitude; or the topics'"),
            DeclareLaunchArgument("route", default_value="", description="file of goals: YAML or GeoJSON"),
            DeclareLaunchArgument("shadow", default_value="false", description="true: do not drive"),
            DeclareLaunchArgument("back_off", default_value="true", description="from what holds it"),
            DeclareLaunchArgument(
                "config", default_value=[configs, "/robot.yaml"], description="parameters of the robot"
            ),
            DeclareLaunchArgument("record", default_value="true", description="to recordings/ here"),
            DeclareLaunchArgument("namespace", default_value="", description="of all topics"),
            DeclareLaunchArgument("surefoot", default_value="surefoot", description="the command"),
            # Without it camera frames of 640x480 are lost in shared memory, see config/fastdds.xml.
            SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", [configs, "/fastdds.xml"]),
            # Other libraries' threads must not take the guard's core.
            SetEnvironmentVariable("OMP_NUM_THREADS", "1"),
            # Only listens: when it ends or its disk is full, the robot drives on.
            Node(
                executable=surefoot,
                arguments=["robot", "record"],
                name="recorder",
                namespace=LaunchConfiguration("namespace"),
                parameters=[config],
                output="screen",
                condition=IfCondition(LaunchConfiguration("record")),
            ),
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
                    # "None" is how the command line says that there is no file.
                    ["--route=", PythonExpression(["'", LaunchConfiguration("route"), "' or 'None'"])],
                    shadow,
                    back_off,
                ],
                name="driver",
                namespace=LaunchConfiguration("namespace"),
                parameters=[config],
                output="screen",
            ),
        ]
    )
