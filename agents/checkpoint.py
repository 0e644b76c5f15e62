"""Exact checkpoints: a nested state in a folder; neither a kill nor a full disk harms an older one.

`step_000000123/` holds `state.safetensors` (every array and tensor) and `state.json` (everything else,
with the digests of both). No pickle, so loading a checkpoint from a stranger runs no code.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from envs.files import sync_folder

logger = logging.getLogger(__name__)

TENSORS, TREE = "state.safetensors", "state.json"
FORMAT = 1
_NAME = re.compile(r"step_(\d{9,})")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, read, or used here; the message says what to do."""


def save_checkpoint(folder: Path | str, step: int, state: Mapping[str, Any], keep: int = 2) -> Path:
    """Writes `folder/step_<step>/` and removes all but the newest `keep` checkpoints.

    state: nested dicts (str keys), lists and tuples of numpy arrays and scalars, torch tensors, int of any
    size, float, str, bool, None. Raises CheckpointError; older checkpoints are then untouched.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"a checkpoint needs step >= 0 and keep >= 1, got {step} and {keep}")
    folder = Path(folder)
    arrays: dict[str, np.ndarray] = {}
    tree = _encode(state, arrays, "state")
    final = folder / f"step_{step:09d}"
    temporary = folder / f".{final.name}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".step_*"):
            shutil.rmtree(stale)
        temporary.mkdir()
        _write(temporary, step, tree, arrays)
        _replace(temporary, final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        size = sum(array.nbytes for array in arrays.values()) / 1e6
        raise CheckpointError(
            f"could not write checkpoint {final} ({size:.1f} MB): {error}; "
            "the older checkpoints are untouched: free some disk space and resume the run"
        ) from error
    for _, old in _checkpoints(folder)[keep:]:
        _remove(old)
    return final


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """The state that `save_checkpoint` was given, bit for bit. Raises CheckpointError."""
    path = Path(path)
    advice = "resume from an older checkpoint beside it, or start the run again"
    try:
        envelope = json.loads((path / TREE).read_text(encoding="utf-8"))
        tensors = (path / TENSORS).read_bytes()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({error}): {advice}") from error
    version = envelope.get("format") if isinstance(envelope, dict) else None
    if version != FORMAT:
        raise CheckpointError(
            f"checkpoint {path} has format {version}, this version reads {FORMAT}: {advice}"
        )
    digests = {TENSORS: hashlib.sha256(tensors).hexdigest(), TREE: _digest(envelope.get("state"))}
    for name, digest in digests.items():
        if envelope.get("sha256", {}).get(name) != digest:
            raise CheckpointError(
                f"checkpoint {path} is damaged: {name} is not what was written (truncated or changed, "
                f"{(path / name).stat().st_size} bytes): {advice}"
            )
    del tensors
    state = _decode(envelope["state"], load_file(path / TENSORS))
    assert isinstance(state, dict)
    return state


def latest_checkpoint(folder: Path | str) -> Path | None:
    """The newest checkpoint that reads in full, or None; damaged ones are skipped with a warning."""
    for _, path in _checkpoints(Path(folder)):
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            logger.warning("skipped: %s", error)
            continue
        return path
    return None


def checkpoint_step(path: Path | str) -> int:
    """The step in a checkpoint's name."""
    match = _NAME.fullmatch(Path(path).name)
    if match is None:
        raise CheckpointError(f"{path} is no checkpoint: expected a folder named step_<number>")
    return int(match[1])


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Newest first."""
    entries = folder.iterdir() if folder.is_dir() else iter(())
    found = [(int(match[1]), path) for path in entries if (match := _NAME.fullmatch(path.name))]
    return sorted(found, reverse=True)


def _write(folder: Path, step: int, tree: Any, arrays: dict[str, np.ndarray]) -> None:
    save_file(arrays, folder / TENSORS)
    with (folder / TENSORS).open("rb") as stream:
        os.fsync(stream.fileno())
        # hashlib.file_digest needs Python 3.11
        sha = hashlib.sha256()
        for block in _blocks(stream):
            sha.update(block)
    digests = {TENSORS: sha.hexdigest(), TREE: _digest(tree)}
    envelope = {"format": FORMAT, "step": step, "sha256": digests, "state": tree}
    with (folder / TREE).open("w", encoding="utf-8") as text:
        json.dump(envelope, text, allow_nan=False)
        text.flush()
        os.fsync(text.fileno())
    sync_folder(folder)


def _blocks(stream: Any) -> Iterator[bytes]:
    while block := stream.read(1 << 20):
        yield block


def _replace(temporary: Path, final: Path) -> None:
    if final.exists():  # the same step saved twice, as after Ctrl-C
        _remove(final)
    temporary.rename(final)
    sync_folder(final.parent)


def _remove(path: Path) -> None:
    """Renamed first: a kill in the middle must not leave half a checkpoint under a good name."""
    trash = path.with_name(f".{path.name}.old")
    path.rename(trash)
    shutil.rmtree(trash)


def _digest(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def _encode(value: Any, arrays: dict[str, np.ndarray], where: str) -> Any:
    """JSON for a value; arrays move to `arrays`, whatever JSON lacks becomes {"$kind": …}."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.generic):
        return {"$scalar": _store(np.asarray(value), arrays, where)}
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, np.ndarray):
        return {"$array": _store(value, arrays, where)}
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu().contiguous()
        if tensor.dtype == torch.bfloat16:  # numpy has no such type: its bits travel as int16
            return {"$bfloat16": _store(tensor.view(torch.int16).numpy(), arrays, where)}
        return {"$tensor": _store(tensor.numpy(), arrays, where)}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, arrays, f"{where}/{index}") for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise TypeError(f"{where}: a key must be a str that does not start with $, got {key!r}")
        return {key: _encode(item, arrays, f"{where}/{key}") for key, item in value.items()}
    raise TypeError(
        f"{where}: a checkpoint cannot hold {type(value).__name__}; give it as arrays and numbers"
    )


def _store(array: np.ndarray, arrays: dict[str, np.ndarray], where: str) -> str:
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{where}: a checkpoint cannot hold an array of {array.dtype}")
    arrays[where] = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
    return where


def _decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    kind = next(iter(value), "")
    if not kind.startswith("$"):
        return {key: _decode(item, arrays) for key, item in value.items()}
    content = value[kind]
    if kind == "$tuple":
        return tuple(_decode(item, arrays) for item in content)
    if kind == "$float":
        return float(content)
    array = arrays[content]
    if kind == "$scalar":
        return array[()]
    if kind == "$array":
        return array
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if kind == "$bfloat16" else tensor
