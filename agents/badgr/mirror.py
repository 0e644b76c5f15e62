"""Windows seen in a mirror: what lies to the left lies to the right then, and steering with it.

A camera that looks straight ahead from the robot's middle sees worlds that might as well be the other way
round, so each drive teaches twice. Not in the original.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agents.badgr.spec import ModelSpec
from agents.badgr.windows import Batch


def steering_column(spec: ModelSpec, name: str) -> int:
    """Of the action that a mirror turns round. Raises ValueError where there is none, or where its limits are
    not the same on both sides: what it means to steer the other way is unknown then."""
    for column, limit in enumerate(spec.actions):
        if limit.name == name:
            if limit.low != -limit.high:
                raise ValueError(
                    f"windows cannot be mirrored: {name} reaches from {limit.low} to {limit.high}, not as "
                    "far to both sides; set mirror=0"
                )
            return column
    names = ", ".join(limit.name for limit in spec.actions)
    raise ValueError(
        f"windows cannot be mirrored: there is no action {name}, there is {names}; set mirror=0, or steering "
        "to the action that turns the robot"
    )


def mirrored(
    batch: Batch, column: int, share: float, rng: np.random.Generator, images: slice = slice(None)
) -> Batch:
    """With so many of its windows, chosen by rng, seen in a mirror. images: of which windows the batch holds
    those. column: the action that changes its sign."""
    turned = rng.random(len(batch.actions)) < share
    seen, actions, position = batch.images.copy(), batch.actions.copy(), batch.position.copy()
    seen[turned[images]] = seen[turned[images]][:, :, ::-1]
    actions[turned, :, column] *= -1
    position[turned, :, 1] *= -1
    return replace(batch, images=seen, actions=actions, position=position)
