"""The robot drives itself at random and records: guard and collector, beside the robot's own drivers.

ros2 launch launch/collect.launch.py out:=drives/today minutes:=30 config:=my_robot.yaml
ros2 launch surefoot_bringup collect.launch.py out:=drives/today model:=predictor.model

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
    model = LaunchConfiguration("model")
    return LaunchDescription(
        [
            DeclareLaunchArgument("out", description="folder of the drives"),
            DeclareLaunchArgument("minutes", default_value="30", description="of driving"),
            DeclareLaunchArgument("fence", default_value="15", description="m to each side; 0: none"),
            DeclareLaunchArgument("world", default_value="urban", description="urban, off-road or indoor"),
            DeclareLaunchArgument("model", default_value="", description="that drives; or at random"),
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
                    "robot",
                    "collect",
                    ["--out=", LaunchConfiguration("out")],
                    ["--minutes=", LaunchConfiguration("minutes")],
                    ["--fence=", LaunchConfiguration("fence")],
                    ["--world=", LaunchConfiguration("world")],
                    # "None" is how the command line says that there is no file.
                    ["--model=", PythonExpression(["'", model, "' or 'None'"])],
                ],
                name="driver",
                namespace=LaunchConfiguration("namespace"),
                parameters=[config],
                output="screen",
            ),
        ]
    )
