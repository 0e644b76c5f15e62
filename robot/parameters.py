"""A robot's configuration as ROS parameters: described, in range, and some of them live."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from robot.config import ConfigError, RobotConfig

_ROS_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides")
"""parameters that ROS declares for every node"""


def declare(node: Any, defaults: RobotConfig, extra: Sequence[str] = ()) -> RobotConfig:
    """Declares every value of RobotConfig under its ROS name, and gives what they were set to.

    defaults: of those that nobody gave, such as a file's. extra: names that the node declares itself.
    Raises ConfigError for an unknown name, which ROS would pass over, a wrong type or range.
    """
    given = {
        name: parameter.value
        for name, parameter in node.get_parameters_by_prefix("").items()
        if not name.startswith(_ROS_OWN) and name not in extra
    }
    try:
        config = RobotConfig.from_mapping({**dict(defaults.parameters()), **given})
    except ConfigError as error:
        raise ConfigError(f"ROS parameters of {node.get_name()}: {error}") from error
    for name, value in config.parameters():
        if node.has_parameter(name):
            node.undeclare_parameter(name)
        node.declare_parameter(name, value, _descriptor(config, name), ignore_override=True)
    return config


def on_change(node: Any, live: str, apply: Callable[[RobotConfig], None]) -> None:
    """Calls `apply` with the new configuration whenever parameters below `live` ("limits.") are set.

    All others of RobotConfig are refused, those that nobody declared, and what `apply` raises a ConfigError
    for; the reason is told. Call it when all parameters are declared.
    """
    from rcl_interfaces.msg import SetParametersResult

    def check(parameters: Sequence[Any]) -> Any:
        unknown = [one.name for one in parameters if not node.has_parameter(one.name)]
        if unknown:
            return SetParametersResult(successful=False, reason=_unknown(node, unknown[0]))
        ours = {name: node.get_parameter(name).value for name, _ in RobotConfig().parameters()}
        wanted = {one.name: one.value for one in parameters if one.name in ours}
        fixed = [name for name in wanted if not name.startswith(live)]
        if fixed:
            return SetParametersResult(
                successful=False,
                reason=f"{fixed[0]} cannot be changed while the node runs: change the file, start it again",
            )
        try:
            if wanted:
                apply(RobotConfig.from_mapping({**ours, **wanted}))
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)


def _unknown(node: Any, name: str) -> str:
    known = sorted(node.get_parameters_by_prefix(""))
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else f": `ros2 param list` shows its {len(known)}"
    return f"{node.get_name()} has no parameter {name}{hint}"


def _descriptor(config: RobotConfig, name: str) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    section, _, key = name.rpartition(".")
    part = getattr(config, section) if section else config
    (entry,) = (one for one in fields(part) if one.name == key)
    metadata = entry.metadata
    descriptor = ParameterDescriptor(name=name, description=metadata.get("unit", ""))
    if metadata and isinstance(entry.default, float):
        low, high = float(metadata["low"]), float(metadata["high"])
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif metadata:
        low, high = int(metadata["low"]), int(metadata["high"])
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor
