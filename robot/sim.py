"""`surefoot robot sim`: the simulated rover as ROS 2 topics, in real time; a driver sees no difference.

It is camera, IMU, odometry, lidar, GPS and base at once, with the base's own command time-out, and the
operator's heartbeat. `goal` holds where its trip ends; `sim/truth` what really happened, as JSON once in
each 0.25 s, for measurements only; the service `sim/restart` begins another trip.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from envs.rover.camera import Lens
from envs.rover.rovers import RoverConfig
from envs.rover.sensors import LIDAR_FARTHEST, LIDAR_NEAREST
from robot import messages, to_messages
from robot.config import ConfigError, RobotConfig
from robot.local_frame import LocalFrame
from robot.messages import MessageError
from robot.node import RosNode, command_qos, open_node, sensor_qos, state_qos
from robot.parameters import declare
from robot.safety import STOP, Command
from robot.sim_world import TICK, SimWorld

log = logging.getLogger(__name__)

ORIGIN = LocalFrame(47.0, 8.0)
"""where on earth the worlds' corners lie"""
BEHIND = 0.5
"""s that it may be late before it gives up catching up"""


@dataclass(frozen=True)
class SimRates:
    """Hz, at most 50; the camera's is in RobotConfig."""

    odometry: float = 50.0
    lidar: float = 10.0
    fix: float = 1.0
    velocity: float = 10.0
    link: float = 5.0


class Base:
    """The motor controller: obeys the last command until it is too old."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._command, self._heard = STOP, -float("inf")

    def hear(self, command: Command, now: float) -> None:
        self._command, self._heard = command, now

    def speeds(self, now: float) -> Command:
        """What the wheels are told at `now`, s of the steady clock."""
        return self._command if now - self._heard <= self.timeout else STOP


class Sim:
    """The node around a SimWorld."""

    def __init__(self, ros: RosNode, config: RobotConfig, world: SimWorld, rates: SimRates) -> None:
        from geometry_msgs.msg import Twist, TwistStamped
        from nav_msgs.msg import Odometry
        from sensor_msgs.msg import CompressedImage, Image, Imu, LaserScan, NavSatFix
        from std_msgs.msg import Header, String
        from std_srvs.srv import Trigger

        self._ros, self._config, self._world = ros, config, world
        self._base = Base(config.base.timeout)
        topics, publisher = config.topics, ros.node.create_publisher
        picture = CompressedImage if config.camera.compressed else Image
        self._camera = publisher(picture, topics.camera, sensor_qos(5))
        self._imu = publisher(Imu, topics.imu, sensor_qos(20))
        self._odometry = publisher(Odometry, topics.odometry, sensor_qos(5))
        self._lidar = publisher(LaserScan, topics.lidar, sensor_qos(5))
        self._fix = publisher(NavSatFix, topics.position, sensor_qos(5))
        self._velocity = publisher(TwistStamped, topics.velocity, sensor_qos(5))
        self._link = publisher(Header, topics.link, sensor_qos(1))
        self._goal = publisher(NavSatFix, topics.goal, state_qos())
        self._truth = publisher(String, "sim/truth", 10)
        kind = TwistStamped if config.base.stamped else Twist
        ros.node.create_subscription(kind, topics.command, self._obey, command_qos())
        ros.node.create_service(Trigger, "sim/restart", self._restart)
        self._streams: list[list[Any]] = [
            [0.0, 1 / rate, send]
            for rate, send in (
                (rates.odometry, self._say_odometry),
                (config.rates.camera, self._say_picture),
                (rates.lidar, self._say_scan),
                (rates.fix, self._say_fix),
                (rates.velocity, self._say_velocity),
                (rates.link, self._say_link),
            )
        ]
        self._judged = world.decisions
        self._say_goal()

    def run(self) -> None:
        """In real time until the node is told to end."""
        log.info("sim: ready, %s, goal %.7f %.7f", self._world.name, *ORIGIN.degrees(*self._world.goal))
        due, lost, next_word = time.monotonic(), 0.0, 0.0
        while not self._ros.ending.is_set():
            self._ros.spin_until(due)
            now = time.monotonic()
            if now - due > BEHIND:
                due, lost = now, lost + now - due
                if now > next_word:
                    log.warning("sim: %.1f s of real time lost: this machine is too busy", lost)
                    next_word = now + 10.0
            self._step(now)
            due += TICK

    def _step(self, now: float) -> None:
        command, wall = self._base.speeds(now), time.time()
        samples = list(zip(*self._world.step(command.speed, command.turn_rate), strict=True))
        spacing = TICK / len(samples)
        for k, (gyro, acceleration) in enumerate(samples):
            seconds = wall - spacing * (len(samples) - 1 - k)
            self._imu.publish(to_messages.imu(gyro, acceleration, self._world.orientation(), seconds))
        for stream in self._streams:
            due, period, send = stream
            if now >= due:
                # In step with the clock, without making up for what was missed.
                stream[0] = max(due + period, now + period / 2)
                send(wall)
        if self._world.decisions != self._judged:  # each once: nothing that happened is missed
            self._judged = self._world.decisions
            self._say_truth(wall)

    def _say_odometry(self, wall: float) -> None:
        speed, turn_rate = self._world.wheel_speed
        message = to_messages.odometry(self._world.odometry, float(speed), float(turn_rate), wall)
        self._odometry.publish(message)

    def _say_picture(self, wall: float) -> None:
        pack = to_messages.compressed_image if self._config.camera.compressed else to_messages.image
        self._camera.publish(pack(self._world.picture(), wall))

    def _say_scan(self, wall: float) -> None:
        ranges = self._world.scan()
        # What says "no echo" here is the range itself; ROS has infinity for it.
        ranges[ranges >= LIDAR_FARTHEST] = float("inf")
        self._lidar.publish(to_messages.scan(ranges, LIDAR_NEAREST, LIDAR_FARTHEST, wall))

    def _say_fix(self, wall: float) -> None:
        self._fix.publish(to_messages.fix(*ORIGIN.degrees(*self._world.fix()), wall))

    def _say_velocity(self, wall: float) -> None:
        message = to_messages.twist_stamped(STOP, wall, "gps")
        message.twist.linear.x, message.twist.linear.y = map(float, self._world.velocity())
        self._velocity.publish(message)

    def _say_link(self, wall: float) -> None:
        self._link.publish(to_messages.header(wall, "station"))

    def _say_truth(self, wall: float) -> None:
        from std_msgs.msg import String

        told = {name: value.tolist() for name, value in self._world.truth.items()}
        self._truth.publish(String(data=json.dumps({**told, "trip": self._world.trip, "stamp": wall})))

    def _say_goal(self) -> None:
        self._goal.publish(to_messages.fix(*ORIGIN.degrees(*self._world.goal), time.time()))

    def _obey(self, message: Any) -> None:
        topic = self._config.topics.command
        twist = message.twist if self._config.base.stamped else message
        try:
            self._base.hear(messages.twist(twist, topic), time.monotonic())
        except MessageError as error:
            self._base.hear(STOP, time.monotonic())
            log.error("sim: %s", error)

    def _restart(self, request: Any, response: Any) -> Any:
        self._world.restart()
        self._say_goal()
        response.success, response.message = True, self._world.name
        return response


def lens_of(config: RobotConfig) -> Lens:
    """The rover's lens with the configured number of pixels. Raises ConfigError for another shape."""
    lens, width, height = Lens(), config.camera.width, config.camera.height
    factor = width // lens.width
    if (width, height) != (lens.width * factor, lens.height * factor) or factor < 1:
        raise ConfigError(
            f"camera.width and camera.height are {width} x {height}: the simulated camera has multiples of "
            f"{lens.width} x {lens.height}, such as 640 x 480"
        )
    return lens.scaled(factor)


def run_sim(
    config: RobotConfig,
    world: RoverConfig,
    seed: int = 0,
    trip: int | None = None,
    rates: SimRates | None = None,
    arguments: Sequence[str] = (),
) -> None:
    """Until SIGINT or SIGTERM. arguments: ROS's own."""
    with open_node("sim", arguments) as ros:
        config = declare(ros.node, config)
        rover = SimWorld(replace(world, lens=lens_of(config)), seed)
        rover.restart(trip)
        Sim(ros, config, rover, rates or SimRates()).run()
