"""One file that a robot is given: a base and any number of adapters as ONNX, and what they read and give."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from agents.sidetuning.config import SideError
from envs.files import write_durably
from envs.spaces import space_from_json, space_to_json

FORMAT = 1
SPEC, BASE = "spec.json", "base.onnx"
FEATURES = "base/features"
LARGEST = 500 * 2**20
"""bytes of a part; a damaged or hostile file must not fill the robot's memory"""


@dataclass(frozen=True)
class Sensor:
    """One observation without the batch; dtype by its numpy name."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class PolicyFile:
    """What a robot needs of a side model; `write_policy` makes a file of it.

    sensors: by name; base_input: the one that the base reads. taps: modules of the base whose outputs it
    gives beside its features.
    base: ONNX from `base_input` to FEATURES and the taps; empty where no adapter reads them. adapters: ONNX
    each, from any of the sensors, FEATURES and taps to "output", (N, outputs). base_sha256: fingerprint of
    the base, which adapters of several files must share. active: the adapter to begin with.
    """

    sensors: Mapping[str, Sensor]
    base_input: str
    taps: tuple[str, ...]
    action_space: gymnasium.spaces.Space[Any]
    base_sha256: str
    active: str
    base: bytes
    adapters: Mapping[str, bytes]

    @property
    def base_outputs(self) -> tuple[str, ...]:
        """Names of what the base's graph gives, which no sensor has."""
        return (FEATURES, *(tap_name(tap) for tap in self.taps))


def tap_name(tap: str) -> str:
    """Of an output of a module of the base."""
    return f"base/{tap}"


def write_policy(path: Path | str, policy: PolicyFile) -> None:
    """Whole or not at all: a robot never reads half a policy. The same policy gives the same bytes."""
    path = Path(path)
    spec = {
        "format": FORMAT,
        "sensors": {name: {"shape": list(s.shape), "dtype": s.dtype} for name, s in policy.sensors.items()},
        "base_input": policy.base_input,
        "taps": list(policy.taps),
        "action_space": space_to_json(policy.action_space),
        "base_sha256": policy.base_sha256,
        "active": policy.active,
        "adapters": list(policy.adapters),
    }
    parts = {SPEC: json.dumps(spec, indent=2).encode(), BASE: policy.base}
    parts |= {_adapter(name): graph for name, graph in policy.adapters.items()}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, part in parts.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), part)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, content.getvalue())


def read_policy(path: Path | str) -> PolicyFile:
    """Raises SideError when the file is missing, damaged, or of another version."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            large = [part.filename for part in archive.infolist() if part.file_size > LARGEST]
            if large:
                raise SideError(f"{path}: {large[0]} is larger than any policy, refused")
            spec = json.loads(archive.read(SPEC))
            version = spec.get("format") if isinstance(spec, dict) else None
            if version != FORMAT:
                raise SideError(
                    f"{path} has format {version}, this version reads {FORMAT}: export the policy again"
                )
            return PolicyFile(
                sensors={
                    name: Sensor(tuple(map(int, one["shape"])), np.dtype(one["dtype"]).name)
                    for name, one in spec["sensors"].items()
                },
                base_input=str(spec["base_input"]),
                taps=tuple(spec["taps"]),
                action_space=space_from_json(spec["action_space"]),
                base_sha256=str(spec["base_sha256"]),
                active=str(spec["active"]),
                base=archive.read(BASE),
                adapters={name: archive.read(_adapter(name)) for name in spec["adapters"]},
            )
    except FileNotFoundError:
        raise SideError(f"there is no policy {path}: export one, or copy it here") from None
    except SideError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SideError(f"{path} is not a whole policy file ({error}): copy it again") from error


def _adapter(name: str) -> str:
    return f"adapters/{name}.onnx"
