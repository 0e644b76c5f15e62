"""`surefoot drive`: the event predictor and its planner drive the robot to a goal, one decision a tick.

The guard must be armed for anything to move. Where it holds the robot before an obstacle that the plan did
not see, the robot backs off (`back_off`). While a sensor is silent or the robot is disarmed, wishes are
zero; what it does and why is printed, and on /diagnostics. With shadow it predicts and plans, and wishes
nothing but zero: a person drives with the joystick.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.badgr.planner import PlannerConfig
from agents.badgr.prediction import Plan
from agents.badgr.reward import Preferences
from agents.badgr.trip import Halt, Leg
from robot import to_messages
from robot.back_off import BackOff
from robot.bridge import RosRobot
from robot.config import ConfigError, RobotConfig
from robot.messages import MessageError
from robot.node import open_node
from robot.parameters import declare, on_change
from robot.route import Route
from robot.teller import Teller
from robot.weights import WEIGHTS, declare_weights

log = logging.getLogger(__name__)

REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class DriveOptions:
    """What to drive with, and where to."""

    model: Path
    """exported event predictor"""
    route: Route | None = None
    """None: what the topics say"""
    shadow: bool = False
    preferences: Preferences = field(default_factory=Preferences)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    seconds: float = float("inf")
    """after which it ends"""
    threads: int = 1
    """of the CPU provider"""
    back_off: bool = True
    """from what the guard holds it before"""


@dataclass
class DriveReport:
    """How a drive went. Milliseconds are of a tick's own work: observing and planning."""

    provider: str
    ticks: int = 0
    late: int = 0
    """ticks whose work took longer than a decision lasts"""
    waits: int = 0
    """how often the robot stood until the next action came"""
    tick_ms_p50: float = 0.0
    tick_ms_p99: float = 0.0
    frame_age_ms_p50: float = 0.0
    """of the picture, when its action was wished for"""
    frame_age_ms_p99: float = 0.0
    driving_seconds: float = 0.0
    back_offs: int = 0
    """how often it backed off from what the guard held it before"""
    silences: dict[str, int] = field(default_factory=dict)
    goals: tuple[int, int] = (0, 0)
    """which of how many it was on its way to at the end"""
    ended: str = ""


class GoalAgent(Protocol):
    """Who drives to a goal; `BadgrAgent` and `NavigatorAgent` do."""

    config: Any
    """its trip.arrive: m from the goal that count as there"""
    halt: Halt | None
    leg: Leg | None

    @property
    def plan(self) -> Plan | None:
        """What was looked at for the last action, if anything was."""
        ...

    def act(self, observation: Mapping[str, Any]) -> NDArray[Any]: ...

    def reset(self) -> None: ...


class Driver:
    """The loop around an agent.

    work, ages: s that the last ticks took, and how old their pictures were.
    """

    def __init__(
        self,
        robot: RosRobot,
        agent: GoalAgent,
        provider: str,
        *,
        shadow: bool = False,
        back_off: bool = True,
    ) -> None:
        from diagnostic_msgs.msg import DiagnosticArray

        self.robot, self.agent, self.shadow = robot, agent, shadow
        self.report = DriveReport(provider)
        self._back_off = BackOff(robot.dt) if back_off and not shadow else None
        self.work: deque[float] = deque(maxlen=20_000)
        self.ages: deque[float] = deque(maxlen=20_000)
        self._silences: Counter[str] = Counter()
        self._said = ""
        self._next_report = 0.0
        self._armed_at: float | None = None
        self._frame = ""
        self._arrived = ""
        node = robot.ros.node
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._teller = Teller(node, shadow=shadow)

    def run(self, seconds: float = float("inf")) -> DriveReport:
        """Until the trip is over, the node is told to end, or so many seconds have passed."""
        end = time.monotonic() + seconds
        why = "told to end"
        try:
            while not self.robot.ros.ending.is_set():
                if time.monotonic() > end:
                    why = f"{seconds:g} s are over"
                    break
                self._tick()
                if self._arrived:
                    why = f"the end of the path of {self._arrived} is reached"
                    break
                halt = self.agent.halt
                if halt is not None and halt.is_final:
                    if self.shadow and halt.kind == "refused":
                        self.agent.reset()  # it is a person who stands there, as long as he or she likes
                        continue
                    why = halt.words
                    break
        finally:
            self.robot.stop()
        self._sum_up()
        self.report.ended = why
        log.info("drive: ended: %s", why)
        return self.report

    def _tick(self) -> None:
        began = time.monotonic()
        try:
            seen = self.robot.observe()
        except (TimeoutError, MessageError) as error:
            self._silences[str(error).partition(":")[0]] += 1
            self._say(f"waits: {error}")
            self._rest()
            return
        if not (self.shadow or self._is_armed()):
            self._say(f"waits: {self.robot.guard['reason']}; `surefoot robot arm` lets it drive")
            self._rest()
            return
        too_far = self.robot.beyond_fence()
        if too_far is not None:
            self._say(f"waits: {too_far}")
            self._rest()
            return
        self._expect_one_frame()
        action = self.agent.act(seen)
        self.work.append(time.monotonic() - began)
        self.ages.append(self.robot.camera_age())
        self.report.ticks += 1
        self.report.late += self.work[-1] > self.robot.dt
        self.report.driving_seconds += self.robot.dt
        freeing = self._free(action, seen)
        if freeing is not None:
            action = freeing
        self._say(self._words())
        self._publish(time.monotonic())
        route = self.robot.route
        waypoint = route.progress if route is not None else (1, 1)
        self._teller.tell(self._said, action, self.agent.plan, self.agent.leg, waypoint)
        self._go_on(route)
        self.robot.act(np.zeros(2, np.float32) if self.shadow else action)

    def _free(self, action: NDArray[Any], seen: Mapping[str, Any]) -> NDArray[Any] | None:
        """An action in place of the agent's, while the robot backs off."""
        back_off = self._back_off
        if back_off is None:
            return None
        if self.agent.halt is not None:
            back_off.reset()
            return None
        freeing = back_off.step(action, self.robot.guard["reason"], seen)
        self.report.back_offs = back_off.count
        return freeing

    def _words(self) -> str:
        """What it does, for people."""
        halt, hold = self.agent.halt, self.robot.guard["reason"]
        if halt is not None:
            why = self.robot.position_trouble() if halt.kind == "blind" else None
            return f"stands: {halt.words}; {why}" if why else f"stands: {halt.words}"
        if self._back_off is not None and self._back_off.phase is not None:
            return f"backs off: {'backwards' if self._back_off.phase == 'back' else 'turns'}"
        return f"held by the guard: {hold}" if hold else "drives"

    def _expect_one_frame(self) -> None:
        """Where the robot was by GPS says nothing about where it is by odometry."""
        route = self.robot.route
        frame = route.frame if route is not None else self._frame
        if frame != self._frame:
            self.agent.reset()
            self._frame = frame

    def _go_on(self, route: Route | None) -> None:
        """The next goal's turn, or the end of a path: odometry needs no circle around it, as GPS does."""
        leg = self.agent.leg
        if route is None or leg is None:
            return
        self.report.goals = route.progress
        if route.advance(leg.distance):
            log.info("drive: goal %d of %d", *route.progress)
        elif route.frame == "odometry" and route.is_last:
            near = leg.distance < self.agent.config.trip.arrive
            self._arrived = route.source if near else ""

    def _is_armed(self) -> bool:
        at = self.robot.armed_at
        # Nobody looked at the guard while a sensor was silent: it may have been disarmed and armed meanwhile.
        if at is not None and at != self._armed_at:
            self.agent.reset()  # it may have been carried elsewhere
            self.robot.restart()
            self._armed_at = at
        return at is not None

    def _rest(self) -> None:
        if self._back_off is not None:
            self._back_off.reset()
        self._publish(time.monotonic())
        self._teller.tell(self._said, np.zeros(2, np.float32))
        self.robot.act(np.zeros(2, np.float32))

    def _say(self, words: str) -> None:
        # Ages in the words change at each tick; the beginning tells whether it is something new.
        if words.split("the newest message is")[0] != self._said.split("the newest message is")[0]:
            log.info("drive: %s", words)
        self._said = words

    def _sum_up(self) -> None:
        report = self.report
        report.silences, report.waits = dict(self._silences), self.robot.waits
        if self.work:
            work, ages = np.array(self.work) * 1e3, np.array(self.ages) * 1e3
            report.tick_ms_p50, report.tick_ms_p99 = (float(np.percentile(work, q)) for q in (50, 99))
            report.frame_age_ms_p50, report.frame_age_ms_p99 = (
                float(np.percentile(ages, q)) for q in (50, 99)
            )

    def _publish(self, now: float) -> None:
        if now < self._next_report:
            return
        from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

        self._next_report = now + REPORT_SECONDS
        self._sum_up()
        values = {
            key: value
            for key, value in asdict(self.report).items()
            if key not in ("silences", "ended", "goals")
        }
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK if self._said == "drives" else DiagnosticStatus.WARN,
            name="surefoot: driver",
            message=self._said,
            hardware_id=self.robot.config.name,
            values=[
                KeyValue(key=key, value=f"{value:.3g}" if isinstance(value, float) else str(value))
                for key, value in values.items()
            ],
        )
        self._diagnostics.publish(
            DiagnosticArray(header=to_messages.header(time.time(), ""), status=[status])
        )


def run_drive(config: RobotConfig, options: DriveOptions, arguments: Sequence[str] = ()) -> DriveReport:
    """Until the goal, SIGINT or SIGTERM. arguments: ROS's own. Raises SpecError for a model that cannot be
    used, before anything is published."""
    from agents.badgr.agent import BadgrAgent, DriveConfig
    from agents.badgr.predictor import Predictor

    predictor = Predictor(options.model, threads=options.threads)
    spec = predictor.spec
    with open_node("driver", arguments) as ros:
        config = declare(ros.node, config, extra=WEIGHTS)
        agent = BadgrAgent(predictor, options.preferences, DriveConfig(planner=options.planner))
        declare_weights(ros.node, agent)
        on_change(ros.node, "limits.speed", lambda changed: _check_limits(changed, options))
        _check_limits(config, options)
        log.info(
            "drive: %s on %s, %d candidates", options.model, predictor.provider, options.planner.candidates
        )
        with RosRobot(
            config, image=spec.image[:2], dt=spec.step_seconds, route=options.route, ros=ros
        ) as robot:
            driver = Driver(
                robot, agent, predictor.provider, shadow=options.shadow, back_off=options.back_off
            )
            return driver.run(options.seconds)


def _check_limits(config: RobotConfig, options: DriveOptions) -> None:
    speed = options.planner.speed
    if speed is not None and speed > config.limits.speed:
        raise ConfigError(
            f"the planner drives at {speed:g} m/s, limits.speed is {config.limits.speed:g} m/s: the guard "
            "would hold it back and predictions would be about something else; lower one or raise the other"
        )
