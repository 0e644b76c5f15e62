"""Videos that every browser plays, and what is put around the pictures in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_GAP_GRAY = 255
_BAR_COLOUR, _TEXT_COLOUR = (32, 36, 40), (245, 246, 247)


def write_video(path: str | os.PathLike[str], frames: Array, fps: float) -> Path:
    """An MP4 (H.264, yuv420p, index at the front) of frames (T, H, W, 3) uint8; returns its path.

    Odd sizes are made even by repeating the last row or column. The file appears complete or not at
    all. Raises ValueError for frames of another kind, OSError when the disk refuses.
    """
    import av

    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or frames.size == 0:
        raise ValueError(f"a video needs frames (T, H, W, 3) uint8, got {frames.dtype} {frames.shape}")
    if not fps > 0:
        raise ValueError(f"a video needs frames per second above 0, got {fps}")
    _, height, width, _ = frames.shape
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=_rate(fps))
            stream.width, stream.height = width + width % 2, height + height % 2
            stream.pix_fmt = "yuv420p"  # the one layout that all browsers play
            stream.options = {"crf": "20", "preset": "veryfast"}
            stream.codec_context.thread_count = 1  # the same bytes each time
            for frame in frames:
                even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
                container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            container.mux(stream.encode(None))
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def side_by_side(left: Array, right: Array, gap: int = 8) -> Array:
    """Frames (T, H, W1 + gap + W2, 3) of two clips; the shorter one waits on its last frame.

    left, right: (T1, H, W1, 3) and (T2, H, W2, 3) uint8.
    """
    left, right = np.asarray(left), np.asarray(right)
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"clips side by side need one height, got {left.shape[1]} and {right.shape[1]}")
    steps, height = max(len(left), len(right)), left.shape[1]
    between = np.full((steps, height, gap, 3), _GAP_GRAY, np.uint8)
    return np.concatenate([_hold(left, steps), between, _hold(right, steps)], axis=2)


def label_frames(frames: Array, text: str) -> Array:
    """Frames (T, H + bar, W, 3) with a caption in a bar above (T, H, W, 3) uint8; too long a text shrinks."""
    from PIL import Image, ImageDraw, ImageFont

    frames = np.asarray(frames)
    steps, height, width, _ = frames.shape
    bar = max(18, height // 11)
    size, font = bar * 0.6, ImageFont.load_default(bar * 0.6)
    while size > 6 and font.getlength(text) > width - bar / 2:
        size -= 1
        font = ImageFont.load_default(size)
    image = Image.new("RGB", (width, bar), _BAR_COLOUR)
    ImageDraw.Draw(image).text((width / 2, bar / 2), text, fill=_TEXT_COLOUR, font=font, anchor="mm")
    bars = np.broadcast_to(np.asarray(image), (steps, bar, width, 3))
    return np.concatenate([bars, frames], axis=1)


def _hold(frames: Array, steps: int) -> Array:
    return frames[np.minimum(np.arange(steps), len(frames) - 1)]


def _rate(fps: float) -> Any:
    from fractions import Fraction

    return Fraction(fps).limit_denominator(1000)
