"""`surefoot robot navigate`: a side-tuned policy drives the robot indoors, and is changed while it drives.

`ros2 param set /driver adapter office`: the next decision is another adapter's. One that is not there is
refused, with the names of those that are, and the one before goes on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.sidetuning.config import SideError
from agents.sidetuning.policy_agent import SideTunedAgent
from agents.sidetuning.rover_agent import NavigatorAgent, NavigatorConfig
from envs.pointnav_moves import STRIDE, TURN
from robot.bridge import RosRobot
from robot.config import ConfigError, RobotConfig
from robot.drive import Driver, DriveReport
from robot.node import open_node
from robot.parameters import declare, on_change
from robot.route import Route

log = logging.getLogger(__name__)

ADAPTER = "adapter"
"""parameter of the driver that may be changed while it drives"""


@dataclass(frozen=True)
class NavigateOptions:
    """policies: exported ones of one base, whose adapters are all there to choose from. adapter: the one to
    begin with; empty: the first policy's. route: None: what the topics say. step_seconds: see
    `NavigatorConfig`."""

    policies: tuple[Path, ...]
    adapter: str = ""
    route: Route | None = None
    shadow: bool = False
    step_seconds: float = 0.5
    seconds: float = float("inf")
    threads: int = 1
    back_off: bool = True


def load_policies(paths: Sequence[Path], threads: int = 1) -> SideTunedAgent:
    """The adapters of all files beside one base. Raises SideError for another base's, or names twice."""
    policy = SideTunedAgent(paths[0], threads=threads)
    for path in paths[1:]:
        try:
            policy.add_adapters(path)
        except SideError as error:
            raise SideError(f"{path} does not go with {paths[0]}: {error}") from error
    return policy


def run_navigate(config: RobotConfig, options: NavigateOptions, arguments: Sequence[str] = ()) -> DriveReport:
    """Until the goal, SIGINT or SIGTERM. arguments: ROS's own. Raises SideError for a policy that cannot be
    used, before anything is published."""
    agent = NavigatorAgent(
        load_policies(options.policies, options.threads), NavigatorConfig(options.step_seconds)
    )
    if options.adapter:
        agent.policy.set_adapter(options.adapter)
    _check_limits(config, options.step_seconds)
    with open_node("driver", arguments) as ros:
        config = declare(ros.node, config, extra=(ADAPTER,))
        declare_adapter(ros.node, agent.policy)
        on_change(ros.node, "limits.speed", lambda changed: _check_limits(changed, options.step_seconds))
        _check_limits(config, options.step_seconds)
        provider = agent.policy.provider
        log.info("drive: adapter %r of %s, on %s", agent.policy.active, _all(agent.policy), provider)
        with RosRobot(
            config, image=agent.image, dt=options.step_seconds, route=options.route, ros=ros
        ) as robot:
            driver = Driver(robot, agent, provider, shadow=options.shadow, back_off=options.back_off)
            return driver.run(options.seconds)


def declare_adapter(node: Any, policy: SideTunedAgent) -> None:
    """The active adapter as a parameter of a node; a change counts from the next decision on.

    Raises SideError where the node was started with one that is not there.
    """
    from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult

    if node.has_parameter(ADAPTER):
        policy.set_adapter(str(node.get_parameter(ADAPTER).value))
        node.undeclare_parameter(ADAPTER)
    descriptor = ParameterDescriptor(name=ADAPTER, description=f"which adapter decides: {_all(policy)}")
    node.declare_parameter(ADAPTER, policy.active, descriptor, ignore_override=True)

    def change(parameters: Sequence[Any]) -> Any:
        for one in parameters:
            if one.name == ADAPTER:
                try:
                    policy.set_adapter(str(one.value))
                except SideError as error:
                    return SetParametersResult(successful=False, reason=f"{error}; {policy.active} goes on")
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(change)


def _all(policy: SideTunedAgent) -> str:
    return ", ".join(policy.adapters)


def _check_limits(config: RobotConfig, step_seconds: float) -> None:
    limits = config.limits
    for name, asked, most in (("speed", STRIDE, limits.speed), ("turn_rate", TURN, limits.turn_rate)):
        if asked / step_seconds > most:
            enough = math.ceil(100 * asked / most) / 100
            raise ConfigError(
                f"steps of {step_seconds:g} s ask for {asked / step_seconds:.2f}, limits.{name} is {most:g}: "
                f"the guard would hold it back; give --step-seconds {enough:.2f} or more"
            )
