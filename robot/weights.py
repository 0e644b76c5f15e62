"""What matters to the user as parameters of the driver, changed while it drives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agents.badgr.reward import Preferences

if TYPE_CHECKING:
    from agents.badgr.agent import BadgrAgent

log = logging.getLogger(__name__)

WEIGHTS = tuple(
    f"preferences.{name}" for name in ("collision", "goal", "bumpy", "stuck", "steering", "smoothness")
)
"""parameters of the driver that may be changed while it drives"""


def declare_weights(node: Any, agent: BadgrAgent) -> None:
    """The preferences as parameters of a node, `preferences.bumpy`; a change counts from the next plan on."""
    from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor, SetParametersResult

    given = {name: node.get_parameter(name).value for name in WEIGHTS if node.has_parameter(name)}
    now = agent.preferences
    for name in WEIGHTS:
        key = name.partition(".")[2]
        value = given.get(name, now.events.get(key, getattr(now, key, 0.0)))
        if node.has_parameter(name):
            node.undeclare_parameter(name)
        descriptor = ParameterDescriptor(
            name=name,
            description="weight of one step in a plan's cost",
            floating_point_range=[FloatingPointRange(from_value=0.0, to_value=1000.0)],
        )
        node.declare_parameter(name, float(value), descriptor, ignore_override=True)
        agent.preferences = with_weight(agent.preferences, name, float(value))

    def change(parameters: Sequence[Any]) -> Any:
        wanted = agent.preferences
        for one in parameters:
            if one.name in WEIGHTS:
                wanted = with_weight(wanted, one.name, float(one.value))
        if wanted != agent.preferences:
            log.info("drive: %s", wanted)
            agent.preferences = wanted
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(change)


def with_weight(preferences: Preferences, name: str, value: float) -> Preferences:
    """The same with one weight changed; name: one of WEIGHTS."""
    key = name.partition(".")[2]
    if key in ("bumpy", "stuck"):
        return replace(preferences, events={**preferences.events, key: value})
    terms = {
        "collision": preferences.collision,
        "goal": preferences.goal,
        "steering": preferences.steering,
        "smoothness": preferences.smoothness,
        key: value,
    }
    return replace(
        preferences,
        collision=terms["collision"],
        goal=terms["goal"],
        steering=terms["steering"],
        smoothness=terms["smoothness"],
    )
