"""The guard: its own process, the only publisher of the base's commands. What it decides stands in `gate`.

    surefoot robot guard --config launch/config/robot.yaml
    surefoot robot arm          # after a look at the robot

It publishes commands at a fixed rate from its first moment on, zero while it is disarmed; what it thinks
on `guard/state` for whoever comes, and on /diagnostics.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robot import to_messages
from robot.config import RobotConfig
from robot.ears import Ears
from robot.gate import Decision, Gate
from robot.node import RosNode, command_qos, open_node, state_qos
from robot.parameters import declare, on_change
from robot.safety import STOP, Command

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""between two looks at who else publishes commands"""
REPORT_SECONDS = 0.5
"""between two diagnostics when nothing changes"""
MOST = 100
"""messages between two decisions; a sender that floods a topic does not get the guard's whole time"""
QUIET = ("not armed yet", "disarmed by an operator")
"""reasons that are no fault"""


class Guard:
    """The node around a Gate."""

    def __init__(self, ros: RosNode, config: RobotConfig) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import Twist, TwistStamped
        from std_msgs.msg import String
        from std_srvs.srv import SetBool

        self._ros, self._node = ros, ros.node
        self._gate = Gate(config)
        self._ears = Ears(ros.node, self._gate, self._hurry)
        self._urgent = False
        self._last: Decision | None = None
        self._said: dict[str, Any] = {}
        self._late: deque[float] = deque(maxlen=1000)
        self._next_look = self._next_report = 0.0
        kind = TwistStamped if config.base.stamped else Twist
        self._command = self._node.create_publisher(kind, config.topics.command, command_qos())
        self._state = self._node.create_publisher(String, "guard/state", state_qos())
        self._diagnostics = self._node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._node.create_service(SetBool, "guard/arm", self._answer)
        on_change(self._node, "limits.", self._reconfigure)

    def run(self) -> None:
        """Until the node is told to end; then a last zero."""
        log.info("guard: ready, disarmed; it watches %s", ", ".join(self._gate.streams))
        due = time.monotonic()
        try:
            while not self._ros.ending.is_set():
                self._hear_until(due)
                now = time.monotonic()
                self._late.append(max(now - due, 0.0))
                self._send(self._gate.decide(now, time.time()), now)
                due = self._gate.next_deadline(now)
                self._look_around(now)
        finally:
            self._publish(STOP)
            time.sleep(0.05)  # until it is on the wire

    def _hear_until(self, due: float) -> None:
        """Hears messages, one at a time: however many come, the next decision is not put off."""
        self._urgent, heard = False, 0
        while not (self._urgent or self._ros.ending.is_set()) and time.monotonic() < due:
            if heard == MOST:
                time.sleep(max(due - time.monotonic(), 0.0))
                return
            self._ros.spin_some(due)
            heard += 1

    def _hurry(self) -> None:
        self._urgent = True

    def _send(self, decision: Decision, decided: float) -> None:
        self._publish(decision.command, decided)
        self._last = decision
        state = {
            "armed": decision.armed,
            "reason": decision.reason,
            "estop": self._gate.estop,
            # Tells two armings apart for who missed what was between them.
            "armed_at": round(self._gate.armed_at, 3) if decision.armed else None,
        }
        before, self._said = self._said, state
        if before == state:
            return
        from std_msgs.msg import String

        self._next_report = 0.0
        self._state.publish(String(data=json.dumps(state)))
        if decision.armed:
            log.info("guard: armed: %s", decision.reason or "driving")
        else:
            log.warning("guard: disarmed: %s", decision.reason)

    def _publish(self, command: Command, decided: float = math.inf) -> None:
        """decided: s of the steady clock. Where this process was held up since then, zero is sent: what was
        decided is old; the next decision is made of what is known then."""
        message = self._message(command)
        if time.monotonic() - decided > self._gate.config.timeouts.guard:
            message = self._message(STOP)
        self._command.publish(message)

    def _message(self, command: Command) -> Any:
        if self._gate.config.base.stamped:
            return to_messages.twist_stamped(command, time.time())
        return to_messages.twist(command)

    def _answer(self, request: Any, response: Any) -> Any:
        """guard/arm: true arms, false disarms; the response says why not."""
        self._urgent = True
        if not request.data:
            self._gate.disarm("disarmed by an operator")
            response.success, response.message = True, "disarmed"
            return response
        self._look_for_intruders()
        why = self._gate.arm(time.monotonic())
        if why is not None:
            self._gate.latched = why = why + self._ears.more_about(why)
        response.success, response.message = why is None, why or "armed: the robot may move now"
        return response

    def _look_around(self, now: float) -> None:
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look_for_intruders()
        if now >= self._next_report:
            self._next_report = now + REPORT_SECONDS
            self._report(now)

    def _look_for_intruders(self) -> None:
        """Whoever else commands the base would get past the guard."""
        topics = self._gate.config.topics
        self._gate.intruders = ""
        for topic, what in ((topics.command, "the guard"), (topics.wish, "the planner")):
            names = sorted(one.node_name for one in self._node.get_publishers_info_by_topic(topic))
            if len(names) > 1:
                self._gate.intruders = (
                    f"{topic} has {len(names)} publishers ({', '.join(names)}), {what} must be the only one: "
                    "end the others (one that was killed is forgotten after 20 s)"
                )

    def _report(self, now: float) -> None:
        from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

        gate, last = self._gate, self._last
        level = DiagnosticStatus.OK
        if last is None or last.reason is not None:
            fault = not gate.armed and gate.latched not in QUIET
            level = DiagnosticStatus.ERROR if fault else DiagnosticStatus.WARN
        late = np.percentile(self._late, (50, 99)) * 1e3
        values = {
            "armed": str(gate.armed).lower(),
            "decision late ms p50": f"{late[0]:.2f}",
            "decision late ms p99": f"{late[1]:.2f}",
            **{f"{name} age s": f"{age:.3f}" for name, age in gate.ages(now).items()},
            "obstacle ahead m": f"{gate.ahead:.2f}",
            "speed cap m/s": f"{gate.config.limits.speed:g}",
        }
        status = DiagnosticStatus(
            level=level,
            name="surefoot: guard",
            message=(last.reason if last else None) or "driving",
            hardware_id=gate.config.name,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        self._diagnostics.publish(
            DiagnosticArray(header=to_messages.header(time.time(), ""), status=[status])
        )

    def _reconfigure(self, config: RobotConfig) -> None:
        log.info("guard: the limits are now %s", config.limits)
        self._gate.config = replace(self._gate.config, limits=config.limits)


def run_guard(config: RobotConfig, arguments: Sequence[str] = ()) -> None:
    """Until SIGINT or SIGTERM. arguments: ROS's own."""
    with open_node("guard", arguments) as ros:
        Guard(ros, declare(ros.node, config)).run()
