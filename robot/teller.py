"""The driver's thoughts as topics for whoever watches; nothing is made while nobody does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.badgr.overlay import CHOSEN, cost_colours
from agents.badgr.prediction import Plan
from agents.badgr.trip import Leg
from robot.node import sensor_qos
from robot.thought import MARKERS, TOPIC, Thought, look_at, to_json

Array = NDArray[Any]


class Teller:
    """Publishes on a node, best effort: a slow listener loses messages, the driver loses nothing."""

    def __init__(self, node: Any, *, shadow: bool = False) -> None:
        from std_msgs.msg import String
        from visualization_msgs.msg import MarkerArray

        self._thoughts = node.create_publisher(String, TOPIC, sensor_qos())
        self._markers = node.create_publisher(MarkerArray, MARKERS, sensor_qos())
        self._shadow = shadow

    def tell(
        self,
        words: str,
        action: Array,
        plan: Plan | None = None,
        leg: Leg | None = None,
        waypoint: tuple[int, int] = (1, 1),
    ) -> None:
        """One decision. action: (rad/s, m/s) that is wished for."""
        heard, seen = (one.get_subscription_count() > 0 for one in (self._thoughts, self._markers))
        if not (heard or seen):
            return
        ways, events = look_at(plan) if plan is not None else (None, {})
        thought = Thought(
            words,
            (float(action[0]), float(action[1])),
            self._shadow,
            ways,
            events,
            None if leg is None else (float(leg.goal[0]), float(leg.goal[1])),
            None if leg is None else leg.distance,
            waypoint,
        )
        if heard:
            from std_msgs.msg import String

            self._thoughts.publish(String(data=to_json(thought)))
        if seen:
            self._markers.publish(markers(thought))


def markers(thought: Thought) -> Any:
    """visualization_msgs/MarkerArray in the frame base_link: each way a line in its colour, then the plan.

    Without a plan it deletes what was shown.
    """
    from geometry_msgs.msg import Point
    from std_msgs.msg import ColorRGBA
    from visualization_msgs.msg import Marker, MarkerArray

    def line(number: int, places: Array, colour: Any, width: float) -> Any:
        marker = Marker(ns="ways", id=number, type=Marker.LINE_STRIP, action=Marker.ADD)
        marker.header.frame_id = "base_link"
        marker.pose.orientation.w, marker.scale.x = 1.0, width
        marker.points = [Point(x=float(x), y=float(y)) for x, y in np.nan_to_num(places)]
        red, green, blue = (float(part) / 255 for part in colour)
        marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        return marker

    if thought.ways is None:
        return MarkerArray(markers=[Marker(ns="ways", action=Marker.DELETEALL)])
    colours = cost_colours(thought.ways.cost)
    each = enumerate(zip(thought.ways.position, colours, strict=True))
    lines = [line(number, places, colour, 0.02) for number, (places, colour) in each]
    return MarkerArray(markers=[*lines, line(len(lines), thought.ways.plan, CHOSEN, 0.08)])
