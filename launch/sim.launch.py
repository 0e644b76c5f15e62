"""The simulated rover as ROS 2 topics, with its guard; `surefoot drive MODEL` or drive.launch.py drives it.

ros2 launch launch/sim.launch.py layout:=offroad world:=3
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node


def generate_launch_description():
    configs = PathJoinSubstitution([ThisLaunchFileDir(), "config"])
    surefoot, config = LaunchConfiguration("surefoot"), LaunchConfiguration("config")
    return LaunchDescription(
        [
            DeclareLaunchArgument("layout", default_value="urban", description="urban, offroad or indoor"),
            DeclareLaunchArgument("world", default_value="0", description="number of the world"),
            DeclareLaunchArgument("seed", default_value="0", description="of the trip and the noise"),
            DeclareLaunchArgument(
                "config", default_value=[configs, "/sim.yaml"], description="parameters of the robot"
            ),
            DeclareLaunchArgument("surefoot", default_value="surefoot", description="the command"),
            SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", [configs, "/fastdds.xml"]),
            Node(
                executable=surefoot,
                arguments=[
                    "robot",
                    "sim",
                    ["--layout=", LaunchConfiguration("layout")],
                    ["--world=", LaunchConfiguration("world")],
                    ["--seed=", LaunchConfiguration("seed")],
                ],
                name="sim",
                parameters=[config],
                output="screen",
            ),
            Node(
                executable=surefoot,
                arguments=["robot", "guard"],
                name="guard",
                parameters=[config],
                output="screen",
                respawn=True,
                respawn_delay=1.0,
            ),
        ]
    )
