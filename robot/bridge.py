"""A robot behind ROS 2 topics as a `Robot`: what drives the simulated rover drives this one.

    with RosRobot(RobotConfig.from_yaml("launch/config/robot.yaml")) as robot:
        robot.act(agent.act(robot.observe()))

It never commands the base: it publishes wishes at the guard's rate, zero ones while nobody drives, and the
guard decides. A thread of its own hears the sensors and repeats the wish, so planning may take its time.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.robot_env import Observation
from envs.rover.camera import Lens
from envs.rover.rovers import RoverConfig, observation_space
from robot import messages, to_messages
from robot.config import RobotConfig
from robot.gate import Stream
from robot.messages import MessageError
from robot.node import RosNode, command_qos, sensor_qos, silence, state_qos
from robot.route import Route, ahead_on
from robot.safety import STOP, Command
from robot.streams import Streams, units

log = logging.getLogger(__name__)

Array = NDArray[Any]


class RosRobot:
    """Actions: (rad/s to the left, m/s). Observations are those of `SimulatedRover`.

    image: (height, width) that the model sees; dt: s of a decision; route: where to drive, None: what the
    topics goal and path say; needs_goal: whether the first observation waits for one. late: s that the
    decisions of the last minutes came after they were due. waits: how often the next action came so late
    that the robot stood.
    start_seconds: how long the first observation may wait for sensors and goal.
    """

    def __init__(
        self,
        config: RobotConfig,
        *,
        image: tuple[int, int] = (96, 128),
        dt: float = 0.25,
        route: Route | None = None,
        needs_goal: bool = True,
        start_seconds: float = 20.0,
        ros: RosNode | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        from geometry_msgs.msg import TwistStamped

        limits = config.limits
        low, high = (-limits.turn_rate, -limits.reverse_speed), (limits.turn_rate, limits.speed)
        self.config, self.dt = config, dt
        self.observation_space = observation_space(RoverConfig(lens=Lens(width=image[1], height=image[0])))
        self.action_space = spaces.Box(
            np.array(low, np.float32), np.array(high, np.float32), dtype=np.float32
        )
        self.units = units()
        self.guard: dict[str, Any] = {"armed": None, "reason": "the guard has said nothing yet"}
        self.late: deque[float] = deque(maxlen=4000)
        self.waits = 0
        self.ros = ros or RosNode("driver", arguments)
        self._streams = Streams(config, image, dt, needs_goal=needs_goal)
        self._streams.route, self._is_given = route, route is not None
        self._goal_trouble, self._no_fix = "", False
        self._passed_over: set[str] = set()
        self._path: Any = None  # one that came before odometry did
        self._lock = threading.Lock()
        self._start_seconds = start_seconds
        self._wish, self._wish_ends = STOP, 0.0
        self._due: float | None = None
        self._kinds: dict[str, tuple[str, str]] = {}
        self._wishes = self.ros.node.create_publisher(TwistStamped, config.topics.wish, command_qos())
        self._subscribe()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._live, name="RosRobot", daemon=True)
        self._thread.start()

    def observe(self) -> Observation:
        """Raises TimeoutError for a sensor that is silent and MessageError for one that is broken; the
        robot is stopped before."""
        try:
            self._wait_for_all()
            with self._lock:
                now = time.monotonic()
                stale = self._streams.stale(now)
                if stale is not None:
                    raise TimeoutError(stale + self._more_about(stale))
                return self._streams.observation(now)
        except BaseException:
            self.stop()
            raise

    def act(self, action: Array) -> None:
        """Raises ValueError for an action that is not finite."""
        if np.shape(action) != (2,) or not np.isfinite(action).all():
            self.stop()
            raise ValueError(f"expected an action (rad/s, m/s), got {action}: the robot was stopped")
        turn_rate, speed = np.clip(action, self.action_space.low, self.action_space.high).tolist()
        now = time.monotonic()
        due = now if self._due is None else self._due
        self.late.append(now - due)
        due = due if now - due < self.dt else now  # what was missed is not made up for
        # Planning the next action may take as long again; then the robot stands and waits.
        self._ask(Command(speed, turn_rate), due + 2 * self.dt)
        self._due = due + self.dt
        self.ros.ending.wait(max(self._due - time.monotonic(), 0.0))

    def stop(self) -> None:
        self._due = None
        self._ask(STOP, 0.0)

    def camera_age(self) -> float:
        """s since the newest picture was taken."""
        time_taken = self._streams.streams["camera"].time
        return time.monotonic() - time_taken if time_taken is not None else float("inf")

    @property
    def route(self) -> Route | None:
        """Where it drives."""
        return self._streams.route

    def beyond_fence(self) -> str | None:
        """Which goal lies outside of the guard's geofence, in words."""
        with self._lock:
            return self._streams.beyond(self.config.safety.geofence_radius)

    def position_trouble(self) -> str:
        """Why GPS tells nothing, in words; empty while it has a fix."""
        if not self._no_fix:
            return ""
        topic = self.config.topics.position
        return f"{topic}: the receiver has no fix (status.status): is its antenna under the open sky?"

    def restart(self) -> None:
        """A new trip: odometry counts from here."""
        with self._lock:
            self._streams.restart()

    def close(self) -> None:
        """Stops and leaves ROS. Any number of times."""
        if self._closing.is_set():
            return
        self.stop()
        time.sleep(0.05)  # until it is on the wire
        self._closing.set()
        self._thread.join()
        self.ros.close()

    def __enter__(self) -> RosRobot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, wish: Command, ends: float) -> None:
        with self._lock:
            self._wish, self._wish_ends = wish, ends
            self._publish(wish)

    def _publish(self, wish: Command) -> None:
        self._wishes.publish(to_messages.twist_stamped(wish, time.time()))

    def _live(self) -> None:
        """The thread: hears, and repeats the wish at the guard's rate."""
        period, due = 1 / self.config.rates.guard, time.monotonic()
        try:
            while not self._closing.is_set():
                self.ros.spin_some(due)
                now = time.monotonic()
                if now < due:
                    continue
                due = max(due + period, now)
                with self._lock:
                    if self._wish != STOP and now > self._wish_ends:
                        self._wish = STOP
                        self.waits += 1
                        # A busy machine has many of these.
                        if self.waits & (self.waits - 1) == 0:
                            log.warning("driver: the next action is late, the robot waits (%d)", self.waits)
                    self._publish(self._wish)
        except Exception:
            # Silence is what the guard understands: it stops the robot.
            log.exception("driver: the thread that hears the sensors has ended")
            self.ros.ending.set()

    def _subscribe(self) -> None:
        from geometry_msgs.msg import TwistStamped
        from nav_msgs.msg import Odometry, Path
        from sensor_msgs.msg import CompressedImage, Image, Imu, LaserScan, NavSatFix
        from std_msgs.msg import String

        streams, config = self._streams, self.config
        topics = config.topics
        compressed = config.camera.compressed
        unpack = messages.compressed_image if compressed else messages.image
        size = config.camera.height, config.camera.width

        def picture(message: Any, topic: str, stamp: float) -> None:
            streams.hear_picture(lambda: unpack(message, topic, size))

        def imu(message: Any, topic: str, stamp: float) -> None:
            streams.hear_imu(messages.imu(message, topic), stamp, topic)

        def odometry(message: Any, topic: str, stamp: float) -> None:
            streams.hear_odometry(messages.odometry(message, topic), stamp)
            streams.odometry_frame = str(message.header.frame_id)
            if self._path is not None:
                waiting, self._path = self._path, None
                self._follow(waiting)

        def lidar(message: Any, topic: str, stamp: float) -> None:
            streams.hear_scan(*messages.scan(message, topic))

        def velocity(message: Any, topic: str, stamp: float) -> None:
            wanted = messages.vector(message.twist.linear, topic, "twist.linear")
            streams.hear_velocity(float(wanted[0]), float(wanted[1]), stamp)

        self._listen("camera", CompressedImage if compressed else Image, topics.camera, picture)
        self._listen("imu", Imu, topics.imu, imu, depth=20)
        self._listen("odometry", Odometry, topics.odometry, odometry, depth=5)
        self._listen("lidar", LaserScan, topics.lidar, lidar)
        self._listen("velocity", TwistStamped, topics.velocity, velocity)
        node = self.ros.node
        node.create_subscription(NavSatFix, topics.position, self._hear_fix, sensor_qos())
        node.create_subscription(NavSatFix, topics.goal, self._hear_goal, state_qos())
        # Some planners keep their last path for who comes late, some do not: this hears both.
        node.create_subscription(Path, topics.path, self._hear_path, command_qos())
        node.create_subscription(String, "guard/state", self._hear_guard, state_qos())
        self._kinds |= {"position": (topics.position, "sensor_msgs/msg/NavSatFix")}
        self._kinds |= {"goal": (topics.goal, "sensor_msgs/msg/NavSatFix")}

    def _listen(
        self, name: str, kind: type, topic: str, take: Callable[[Any, str, float], None], depth: int = 1
    ) -> None:
        stream: Stream = self._streams.streams[name]

        def heard(message: Any) -> None:
            with self._lock:
                try:
                    stamp = messages.stamp_seconds(message, topic)
                    if stream.hear(stamp, time.monotonic(), time.time()):
                        take(message, topic, stamp)
                except MessageError as error:
                    stream.trouble = str(error)

        self._kinds[name] = topic, f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
        self.ros.node.create_subscription(kind, topic, heard, sensor_qos(depth))

    def _hear_fix(self, message: Any) -> None:
        topic, stream = self.config.topics.position, self._streams.streams["position"]
        with self._lock:
            try:
                place = messages.fix(message, topic)
                self._no_fix = place is None
                stamp = messages.stamp_seconds(message, topic)
                if place is not None and stream.hear(stamp, time.monotonic(), time.time()):
                    self._streams.hear_fix(place)
            except MessageError as error:
                log.error("driver: %s", error)

    def _hear_goal(self, message: Any) -> None:
        topic = self.config.topics.goal
        try:
            goal = messages.fix(message, topic)
        except MessageError as error:
            log.error("driver: %s; the old goal stays", error)
            return
        if goal is None:
            log.error("driver: %s: status.status says that it is no place; the old goal stays", topic)
        elif self._takes(topic):
            log.info("driver: goal %.7f %.7f", *goal)
            with self._lock:
                self._streams.route, self._goal_trouble = Route([goal], source=topic), ""

    def _hear_path(self, message: Any) -> None:
        if self._takes(self.config.topics.path):
            with self._lock:
                if self._streams.odometry_frame is None:
                    self._path = message
                else:
                    self._follow(message)

    def _follow(self, message: Any) -> None:
        """A new path takes the old one's place; one that cannot be used stops the robot."""
        topic, streams = self.config.topics.path, self._streams
        try:
            places = messages.path(message, topic, streams.odometry_frame or "")
        except MessageError as error:
            if str(error) != self._goal_trouble:
                log.error("driver: %s", error)
            streams.route, self._goal_trouble = None, str(error)
            return
        if not streams.by_odometry:
            log.info("driver: follows %s, %d poses in %s", topic, len(places), streams.odometry_frame)
        streams.route, self._goal_trouble = Route(ahead_on(places, streams.place), "odometry", topic), ""

    def _takes(self, topic: str) -> bool:
        """Goals of the command line are not changed by topics."""
        if self._is_given and topic not in self._passed_over:
            self._passed_over.add(topic)
            log.info("driver: goals were given when it was started: what %s says is not followed", topic)
        return not self._is_given

    @property
    def armed_at(self) -> float | None:
        """When it was armed, s of the guard's clock: another number, another arming. None: not armed."""
        return float(self.guard.get("armed_at") or 0.0) if self.guard["armed"] else None

    def _hear_guard(self, message: Any) -> None:
        self.guard = json.loads(message.data)

    def _wait_for_all(self) -> None:
        """Only the first observation waits."""
        end = time.monotonic() + self._start_seconds
        while missing := self._streams.missing():
            if self.ros.ending.is_set():
                raise KeyboardInterrupt
            if missing[0] == "goal" and self._goal_trouble:
                raise MessageError(self._goal_trouble)
            if time.monotonic() > end:
                if missing[0] == "position" and self._no_fix:
                    raise TimeoutError(f"position: {self.position_trouble()}")
                topic, kind = self._kinds[missing[0]]
                words = silence(self.ros.node, topic, kind)
                raise TimeoutError(f"{missing[0]}: nothing has come in {self._start_seconds:g} s; {words}")
            time.sleep(0.02)
        self._start_seconds = 0.0

    def _more_about(self, stale: str) -> str:
        name = stale.partition(":")[0]
        return f"; {silence(self.ros.node, *self._kinds[name])}" if name in self._kinds else ""
