"""From a side model to the file that a robot runs, with a gate: both must give the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import torch

from agents.sidetuning.config import SideError
from agents.sidetuning.graphs import Decider, assemble, compare
from agents.sidetuning.inputs import Inputs, named
from agents.sidetuning.model import SideModel
from agents.sidetuning.policy_file import PolicyFile, write_policy


def export_policy(
    model: SideModel,
    action_space: gymnasium.spaces.Space[Any],
    adapters: Sequence[str] | None = None,
) -> PolicyFile:
    """Base and adapters as ONNX, any batch size.

    adapters: by name, all by default; the active one begins. Each needs a head that gives one number a
    discrete action, or the mean of continuous ones. Raises SideError for other shapes.
    """
    names = tuple(model.tasks) if adapters is None else tuple(adapters)
    if not names:
        raise SideError("the model has no adapter: there is no policy to export")
    active = model.active if model.active is not None and model.active in names else names[0]
    training = model.training
    try:
        parts = {name: Decider(model, name) for name in names}
        return assemble(model.base, parts, model.sensors.zeros, model.base_input, action_space, active)
    finally:
        model.train(training)


def check_parity(model: SideModel, policy: PolicyFile, observations: Inputs) -> float:
    """The largest difference over all adapters and observations (N, ...).

    Raises ParityError, as `compare` does.
    """
    active, training, trained = model.active, model.training, {}
    model.eval()
    try:
        for name in policy.adapters:
            model.task(name)
            model.active = name
            with torch.no_grad():
                trained[name] = model(observations).flatten(1).cpu().numpy()
    finally:
        model.active = active
        model.train(training)
    return compare(policy, trained, {key: x.cpu().numpy() for key, x in named(observations).items()})


def export_onnx(
    model: SideModel,
    path: Path | str,
    action_space: gymnasium.spaces.Space[Any],
    observations: Inputs,
    adapters: Sequence[str] | None = None,
) -> float:
    """Writes the policy if it passes the gate on these observations; gives the largest difference."""
    policy = export_policy(model, action_space, adapters)
    difference = check_parity(model, policy, observations)
    write_policy(path, policy)
    return difference
