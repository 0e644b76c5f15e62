"""A trained network's numbers in one file, for training that goes on from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from agents.badgr.network import EventPredictor
from agents.badgr.spec import ModelSpec, SpecError
from envs.files import write_durably

WEIGHTS_FILE = "network.safetensors"
"""in the run's folder: the exported network as training takes it"""


def save_weights(network: EventPredictor, path: Path) -> None:
    """With the specification, so that no other model takes them."""
    state = {name: values.contiguous().cpu() for name, values in network.state_dict().items()}
    write_durably(path, save(state, {"spec": network.spec.to_json()}))


def load_weights(network: EventPredictor, source: Path) -> None:
    """From another run's folder, or from the file itself.

    Raises SpecError when there are none, and when they are of a network that sees, does or predicts
    something else.
    """
    path = source / WEIGHTS_FILE if source.is_dir() else source
    try:
        with safe_open(path, framework="pt") as content:
            about = content.metadata() or {}
            state = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - no mapping
    except FileNotFoundError:
        raise SpecError(
            f"{source} has no {WEIGHTS_FILE} to begin with: give a finished run, such as runs/urban-badgr-0"
        ) from None
    except (SafetensorError, OSError) as error:
        raise SpecError(f"{path} is no whole file of weights ({error}): copy it again") from error
    _expect_same(network.spec, ModelSpec.from_json(about.get("spec", "{}")), path)
    _expect_fits(network.state_dict(), state, path)
    network.load_state_dict(state)


def _expect_same(ours: ModelSpec, theirs: ModelSpec, path: Path) -> None:
    for name in ("image", "horizon", "step_seconds", "actions", "events", "lasting"):
        wanted, found = getattr(ours, name), getattr(theirs, name)
        if wanted != found:
            raise SpecError(f"{path} is of a model with {name} {found}, this run's has {wanted}")


def _expect_fits(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], path: Path) -> None:
    differ = [
        name
        for name in sorted(ours.keys() | theirs.keys())
        if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape
    ]
    if differ:
        raise SpecError(
            f"{path} is of a network with other layers ({len(differ)} differ, such as {differ[0]}): take the "
            "same members and released_code as that run"
        )
