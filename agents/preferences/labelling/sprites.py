"""Draws a clip as one picture: its frames in a grid, row by row."""

from __future__ import annotations

import hashlib
import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.preferences.labelling.sources import UndrawableError, read_source
from agents.preferences.labelling.storage import MediaStorage
from agents.preferences.labelling.types import Sprite
from envs.rendering import frames_from_observations, render_physics
from envs.tasks import task_info

Array = NDArray[Any]

SIZE = 256
MAX_PIXELS = 4096 * 4096
"""of a sheet: phones refuse larger pictures, and WebP ends at 16383 a side"""
_BLOCK = 16
"""A lossy frame's side is a multiple of WebP's blocks, so that no frame bleeds into the next."""
MAX_SIZE = 1024

# Measured by tests/benchmarks/bench_label_media.py: method 4 takes twice the time of 2 for 5 % fewer
# bytes; below 80 the floor's squares, by which speed is judged, begin to smear.
_SHADED: dict[str, Any] = {"quality": 85, "method": 2}
_FLAT: dict[str, Any] = {"lossless": True, "quality": 30, "method": 1}
"""Flat colours and enlarged pixels: exact, and smaller than with loss."""


def draw(storage: MediaStorage, source: str, env: str, size: int = SIZE) -> tuple[bytes, Sprite]:
    """A WebP of all frames of a stored clip, and how they lie in it; nothing is stored.

    size: px of a frame's longer side, at most; less for clips of many frames, and for pictures the
    largest whole multiple of theirs.
    Raises UndrawableError when the clip can never be drawn, NoRendererError without OpenGL,
    UnavailableError when the storage is down.
    """
    if not 1 <= size <= MAX_SIZE:
        raise ValueError(f"size must be 1 to {MAX_SIZE} px, got {size}")
    name, array = read_source(storage, source)
    size = _fitting(len(array), size)
    try:
        frames = _enlarged(array, size) if name == "frames" else render_physics(env, array, size, size)
    except ValueError as error:
        raise UndrawableError(f"the clip cannot be drawn: {error}") from error
    sheet, columns = grid(frames)
    flat = name == "frames" or task_info(env).family == "classic"
    content = encode(sheet, flat)
    height, width = frames.shape[1:3]
    sha = hashlib.sha256(content).hexdigest()
    return content, Sprite(sha, len(frames), columns, width, height)


def grid(frames: Array) -> tuple[Array, int]:
    """A sheet (rows H, columns W, 3) of frames (T, H, W, 3), nearly square, and its columns."""
    count, height, width, _ = frames.shape
    columns = min(count, max(1, round(math.sqrt(count * height / width))))
    rows = -(-count // columns)
    sheet = np.zeros((rows * columns, height, width, 3), np.uint8)
    sheet[:count] = frames
    sheet = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return sheet.reshape(rows * height, columns * width, 3), columns


def encode(sheet: Array, flat: bool = False) -> bytes:
    """A picture as WebP. flat: exactly, for what has few colours."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "WEBP", **(_FLAT if flat else _SHADED))
    return buffer.getvalue()


def _fitting(frames: int, size: int) -> int:
    """The largest size up to `size` at which a sheet of so many frames is not too large."""
    side = math.ceil(math.sqrt(frames)) + 1  # a grid is at most one column off a square
    return min(size, math.isqrt(MAX_PIXELS) // side // _BLOCK * _BLOCK)


def _enlarged(pictures: Array, size: int) -> Array:
    """Pixels enlarged by one whole number, so that all are equally large; larger pictures are reduced."""
    _, height, width = pictures.shape
    longer = max(height, width)
    factor = float(size // longer) if longer <= size else size / longer
    return frames_from_observations(pictures, max(1, round(height * factor)), max(1, round(width * factor)))
