"""The robot is disarmed, carried and armed again while a sensor is silent: nobody saw it disarmed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from robot.config import RobotConfig
from robot.gate import Gate

CARRIED = [10.0, 10.0, "camera: silent", 20.0, 20.0]
"""what the guard says of when it was armed, at each look; a silent camera in between"""


@dataclass
class Robot:
    """Looks through a script; everything else is left out."""

    script: Iterator[Any]
    restarts: int = 0
    armed_at: float | None = None
    config: RobotConfig = field(default_factory=RobotConfig)
    dt: float = 0.25
    late: list[float] = field(default_factory=list)
    waits: int = 0
    route: Any = None
    guard: Any = field(default_factory=lambda: {"armed": True, "reason": None})
    ros: Any = field(default_factory=MagicMock)

    def observe(self) -> dict[str, Any]:
        told = next(self.script)
        if isinstance(told, str):
            raise TimeoutError(told)
        self.armed_at = told
        return {"gps": np.zeros(2), "gps_age": np.zeros(1)}

    def restart(self) -> None:
        self.restarts += 1

    def act(self, action: Any) -> None: ...

    def stop(self) -> None: ...

    def beyond_fence(self) -> None:
        return None

    def camera_age(self) -> float:
        return 0.0


@pytest.fixture
def robot() -> Robot:
    pytest.importorskip("rclpy", reason="needs ROS 2: pip install 'surefoot[ros]' on Linux x86_64")
    robot = Robot(iter(CARRIED))
    robot.ros.node.create_publisher.return_value.get_subscription_count.return_value = 0
    return robot


def test_the_driver_forgets_where_it_was(robot: Robot) -> None:
    from robot.drive import Driver

    agent = MagicMock(halt=None, leg=None, plan=None)
    agent.act.return_value = np.zeros(2, np.float32)
    driver, resets = Driver(robot, agent, "none"), []  # type: ignore[arg-type]
    for _ in CARRIED:
        driver._tick()
        resets.append(agent.reset.call_count)
    assert resets == [1, 1, 1, 2, 2]
    assert robot.restarts == 2


@pytest.mark.parametrize("shadow", [True, False])
def test_who_looks_on_does_not_give_up(robot: Robot, shadow: bool) -> None:
    """A person may stand still as long as he or she likes."""
    from agents.badgr.trip import Halt
    from robot.drive import Driver

    robot.script = iter([10.0] * 100)
    robot.ros.ending.is_set.side_effect = [False] * 5 + [True]
    agent = MagicMock(halt=None, leg=None, plan=None)

    def act(_: Any) -> Any:
        agent.halt = Halt("refused", "no way on")
        return np.zeros(2, np.float32)

    agent.act.side_effect = act
    report = Driver(robot, agent, "none", shadow=shadow).run()  # type: ignore[arg-type]
    assert (report.ended, report.ticks) == (("told to end", 5) if shadow else ("no way on", 1))


def test_who_collects_begins_anew(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    from robot.collect import Collector

    collector = Collector(robot, SimpleNamespace(fence=0.0, seed=0), MagicMock())  # type: ignore[arg-type]
    new_agent, made = MagicMock(), []
    monkeypatch.setattr(collector, "_new_agent", new_agent)
    for name in ("_drive", "_begin", "_take_in", "_finish"):
        monkeypatch.setattr(collector, name, lambda *_: None)
    for _ in CARRIED:
        collector._tick()
        made.append(new_agent.call_count)
    assert made == [1, 1, 1, 1, 2]


def test_a_fence_is_not_put_around_an_old_fix(robot: Robot) -> None:
    from robot.collect import Collector

    collector = Collector(robot, SimpleNamespace(fence=5.0, seed=0), MagicMock())  # type: ignore[arg-type]
    assert collector._fence_is_unsure({"gps_age": np.array([3.0])})
    assert not collector._fence_is_unsure({"gps_age": np.array([1.0])})


def test_each_arming_is_told_apart() -> None:
    gate = Gate(RobotConfig())
    assert np.isnan(gate.armed_at)
    gate._reason = lambda state, now: None  # type: ignore[method-assign]
    assert gate.arm(5.0) is None
    assert gate.armed_at == 5.0
    gate.disarm("an operator")
    assert gate.arm(6.0) is None
    assert gate.armed_at == 6.0
