"""A side model on disk: the tasks and the fingerprint of their base, never the base itself.

side_model.safetensors holds every task's weights and buffers, side_config.json all else with the digest of
the weights. No pickle.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from agents.configs import ConfigError, config_from_json, config_to_json
from agents.sidetuning.base import fingerprint
from agents.sidetuning.config import CONFIGS, SideConfig, SideError
from agents.sidetuning.model import SideModel
from envs.files import write_durably

logger = logging.getLogger(__name__)

WEIGHTS, CONFIG = "side_model.safetensors", "side_config.json"
FORMAT = 1


def save_pretrained(model: SideModel, folder: Path | str) -> None:
    """Writes both files; an older model in the folder is replaced."""
    folder = Path(folder)
    tensors = {
        f"{name}/{key}": value.detach().cpu().contiguous()
        for name, task in model.tasks.items()
        for key, value in task.state_dict().items()
    }
    weights = tensors_to_bytes(_unshared(tensors))
    content = {
        "format": FORMAT,
        "base_sha256": model.base_fingerprint(),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "base_input": model.base_input,
        "sensors": {
            name: {"shape": list(x.shape[1:]), "dtype": str(x.dtype).removeprefix("torch.")}
            for name, x in model.sensors.zeros.items()
        },
        "features": list(model.features),
        "active": model.active,
        "adapters": {name: _describe(model, name) for name in model.tasks},
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / WEIGHTS, weights)
    write_durably(folder / CONFIG, (json.dumps(content, indent=2) + "\n").encode())


def from_pretrained(
    base: nn.Module,
    folder: Path | str,
    *,
    strict_base: bool = True,
    sides: Mapping[str, nn.Module] | None = None,
    heads: Mapping[str, nn.Module] | None = None,
) -> SideModel:
    """The model that was saved, on its base.

    sides, heads: modules of adapters that were given their own, by adapter. strict_base: False only warns
    about another base. Raises SideError for another base, another version, damaged or unfitting files.
    """
    folder = Path(folder)
    content = _read(folder)
    _check_base(base, content, folder, strict_base)
    tensors = load_tensors(_weights(folder, content))
    try:
        example = {
            name: torch.zeros(1, *sensor["shape"], dtype=getattr(torch, sensor["dtype"]))
            for name, sensor in content["sensors"].items()
        }
        model = SideModel(base, example, content["base_input"])
        if list(model.features) != content["features"]:
            raise SideError(f"{folder}: the base gives {model.features}, expected {content['features']}")
        for name, saved in content["adapters"].items():
            _add(model, name, saved, (sides or {}).get(name), (heads or {}).get(name))
            prefix = f"{name}/"
            state = {key[len(prefix) :]: x for key, x in tensors.items() if key.startswith(prefix)}
            model.task(name).load_state_dict(state)
        if content["active"] is not None:
            model.set_adapter(content["active"])
    except (KeyError, TypeError, AttributeError, RuntimeError, ConfigError) as error:
        raise SideError(f"{folder} does not hold a side model of this version: {error}") from error
    return model


def _describe(model: SideModel, name: str) -> dict[str, Any]:
    task = model.task(name)
    config = task.encoder.config
    own_side = isinstance(config, SideConfig) and config.side == "custom"
    return {
        "kind": type(config).__name__,
        "config": config_to_json(config),
        "own_side": own_side,
        "own_head": task.head is not None and not config.head,
    }


def _add(
    model: SideModel,
    name: str,
    saved: Mapping[str, Any],
    side: nn.Module | None,
    head: nn.Module | None,
) -> None:
    for what, needed, given in (("side", saved["own_side"], side), ("head", saved["own_head"], head)):
        if needed != (given is not None):
            verb = "has a module of its own as" if needed else "brings its own"
            raise SideError(
                f"adapter {name!r} {verb} {what}: {'give' if needed else 'leave out'} {what}s[{name!r}]"
            )
    if saved["kind"] not in CONFIGS:
        raise SideError(f"adapter {name!r} is a {saved['kind']!r}, this version knows {', '.join(CONFIGS)}")
    config: Any = config_from_json(saved["config"], CONFIGS[saved["kind"]], f"adapter {name!r}")
    model.add_adapter(name, config, side=side, head=head)


def _read(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SideError(f"there is no side model in {folder}: {error}") from error
    version = content.get("format") if isinstance(content, dict) else None
    if version != FORMAT:
        raise SideError(f"{folder / CONFIG} has format {version}, this version reads {FORMAT}: save it anew")
    result: dict[str, Any] = content
    return result


def _weights(folder: Path, content: Mapping[str, Any]) -> bytes:
    try:
        weights = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise SideError(f"there is no side model in {folder}: {error}") from error
    if hashlib.sha256(weights).hexdigest() != content.get("weights_sha256"):
        raise SideError(f"{folder / WEIGHTS} is not what was saved (cut short or changed): copy it again")
    return weights


def _check_base(base: nn.Module, content: Mapping[str, Any], folder: Path, strict: bool) -> None:
    ours, theirs = fingerprint(base), str(content.get("base_sha256"))
    if ours == theirs:
        return
    message = (
        f"{folder} was trained beside another base (sha256 {theirs[:12]}, yours {ours[:12]}): "
        "its features would mean something else"
    )
    if strict:
        raise SideError(f"{message}; load the base it was trained with")
    logger.warning("%s; used all the same", message)


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """safetensors refuses tensors that share memory, as tied weights do."""
    return {name: tensor.clone() for name, tensor in tensors.items()}
