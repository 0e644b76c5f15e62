"""What a clip is drawn from, later and only if somebody is asked about it: simulator states or pixels."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.preferences.labelling.storage import MediaStorage, MissingMediaError
from agents.preferences.labelling.types import LabellingError, SegmentSource
from envs.episode import Episode
from envs.tasks import task_info

Array = NDArray[Any]
Stream = Literal["physics", "frames"]

MAX_FRAMES = 4096
"""of one clip"""
_MAX_BYTES = 256 * 2**20
"""of its arrays, unpacked"""
_UNREADABLE = (
    ValueError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""what zipfile and numpy raise for bytes that are no .npz of ours"""


class UndrawableError(LabellingError):
    """A clip can never be drawn: what it is drawn from is gone, damaged or makes no sense."""


def write_source(storage: MediaStorage, env: str, clip: Episode) -> SegmentSource:
    """Stores what the T + 1 frames of a clip are drawn from; the same clip always has the same name.

    Raises UndrawableError for a clip with neither simulator states nor pictures, UnavailableError where
    the storage cannot be written.
    """
    name, array = _seen(clip)
    _check(name, array)
    buffer = io.BytesIO()
    packed: Any = {name: array}
    np.savez_compressed(buffer, **packed)  # a zip without dates: equal arrays, equal bytes
    task = task_info(env)
    return SegmentSource(storage.put(buffer.getvalue()), task.name, len(clip), task.display_fps)


def read_source(storage: MediaStorage, source: str) -> tuple[Stream, Array]:
    """Simulator states ("physics", (T, S)) or pictures ("frames", (T, H, W) uint8) of a stored clip.

    Raises UndrawableError when they are gone or damaged, UnavailableError when the storage is down.
    """
    try:
        content = storage.get(source)
    except MissingMediaError as error:
        raise UndrawableError(f"what the clip is drawn from cannot be read: {error}") from error
    try:
        name, array = _unpack(content)
    except _UNREADABLE as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise UndrawableError(f"the clip's states {source} cannot be read: {reason}") from error
    _check(name, array)
    return name, array


def _unpack(content: bytes) -> tuple[Stream, Array]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (member,) = archive.infolist()
        if member.file_size > _MAX_BYTES:
            raise ValueError(f"{member.file_size} bytes unpacked")
        packed = archive.read(member)
    array = np.lib.format.read_array(io.BytesIO(packed), allow_pickle=False)
    match member.filename:
        case "physics.npy":
            return "physics", array
        case "frames.npy":
            return "frames", array
    raise ValueError(f"holds {member.filename[:40]!r}")


def _seen(clip: Episode) -> tuple[Stream, Array]:
    if "physics" in clip.info:
        return "physics", np.ascontiguousarray(clip.info["physics"])
    if "observation" not in clip.observations:
        raise UndrawableError(
            f"a clip with neither info['physics'] nor the stream 'observation' cannot be drawn: it has "
            f"{', '.join(clip.observations)}"
        )
    pictures = np.asarray(clip.observations["observation"])
    # Of stacked frames only the newest is ever shown.
    return "frames", np.ascontiguousarray(pictures[:, -1] if pictures.ndim == 4 else pictures)


def _check(name: Stream, array: Array) -> None:
    if name == "frames":
        if array.dtype != np.uint8 or array.ndim != 3 or 0 in array.shape[1:]:
            raise UndrawableError(f"pictures are uint8 (T, H, W), these are {array.dtype} {array.shape}")
    elif array.dtype.kind != "f" or array.ndim != 2:
        raise UndrawableError(f"simulator states are floats (T, S), these are {array.dtype} {array.shape}")
    elif not np.isfinite(array).all():
        raise UndrawableError("the simulator states hold NaN or infinity: the simulation blew up")
    if not 1 <= len(array) <= MAX_FRAMES:
        raise UndrawableError(f"a clip that is drawn has 1 to {MAX_FRAMES} frames, this one has {len(array)}")
