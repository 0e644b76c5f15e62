"""What the driver thinks, as a small message for people who watch: ways, costs, plan, words. No ROS.

It travels as JSON in a std_msgs/String on `driver/thought`, best effort: nobody who watches can hold the
driver up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.overlay import Ways
from agents.badgr.prediction import Plan
from robot.messages import MessageError

Array = NDArray[Any]

TOPIC = "driver/thought"
MARKERS = "driver/ways"
"""visualization_msgs/MarkerArray of the same, for Foxglove and RViz"""
MOST = 48
"""ways of a message: 8 steps of each are about 8 kB"""
LARGEST = 64
"""ways that are taken from a message"""


@dataclass(frozen=True)
class Thought:
    """One decision. Places are m in the robot's frame of then, x forward, y to the left."""

    words: str
    """what the driver does"""
    action: tuple[float, float] = (0.0, 0.0)
    """rad/s, m/s that it wishes for"""
    shadow: bool = False
    ways: Ways | None = None
    """None while nothing is planned"""
    events: Mapping[str, float] = field(default_factory=dict)
    """{event: highest probability within the plan}"""
    goal: tuple[float, float] | None = None
    distance: float | None = None
    """m to the goal"""
    waypoint: tuple[int, int] = (1, 1)
    """which of how many goals"""


def look_at(plan: Plan) -> tuple[Ways, dict[str, float]]:
    """A plan's ways, evenly picked over the costs, and the events expected on the cheapest."""
    order = np.argsort(np.where(np.isfinite(plan.cost), plan.cost, np.inf), kind="stable")
    picked = order[np.unique(np.linspace(0, len(order) - 1, min(MOST, len(order))).astype(int))]
    position, best = plan.prediction.position, order[0]
    expected = {name: float(np.max(values[best])) for name, values in plan.prediction.events.items()}
    return Ways(position[picked], plan.cost[picked], position[best]), expected


def to_json(thought: Thought) -> str:
    """Places in whole centimetres: a tenth of the text."""
    content: dict[str, Any] = {
        "words": thought.words,
        "action": [round(part, 3) for part in thought.action],
        "shadow": thought.shadow,
        "events": {name: round(value, 3) for name, value in thought.events.items()},
        "goal": thought.goal and [round(part, 2) for part in thought.goal],
        "distance": thought.distance and round(thought.distance, 2),
        "waypoint": thought.waypoint,
    }
    if thought.ways is not None:
        ways = thought.ways
        content["ways"] = _centimetres(ways.position)
        content["cost"] = [round(float(one), 4) if math.isfinite(one) else None for one in ways.cost]
        content["plan"] = _centimetres(ways.chosen)
    return json.dumps(content)


def from_json(text: str, topic: str = TOPIC) -> Thought:
    """Raises MessageError for what is no thought."""
    try:
        content = json.loads(text)
        ways = None
        if "ways" in content:
            position = np.array(content["ways"], np.float64)[:LARGEST] / 100
            cost = np.array([math.nan if one is None else one for one in content["cost"]], np.float64)
            ways = Ways(position, cost[:LARGEST], np.array(content["plan"], np.float64) / 100)
        goal, distance = content["goal"], content["distance"]
        turn_rate, speed = content["action"]
        number, count = content["waypoint"]
        return Thought(
            str(content["words"]),
            (float(turn_rate), float(speed)),
            bool(content["shadow"]),
            ways,
            {str(name): float(value) for name, value in content["events"].items()},
            None if goal is None else (float(goal[0]), float(goal[1])),
            None if distance is None else float(distance),
            (int(number), int(count)),
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise MessageError(
            f"{topic}: no thought of this version's driver ({type(error).__name__}: {error}): "
            "is another release of surefoot driving?"
        ) from error


def _centimetres(places: Array) -> Any:
    """Nested lists; what is not finite is far away, where nobody looks."""
    finite = np.nan_to_num(np.asarray(places, np.float64), nan=1e4, posinf=1e4, neginf=-1e4)
    return np.clip(np.round(finite * 100), -1e6, 1e6).astype(int).tolist()
