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
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or frames.size == 0:
        raise ValueError(f"a video needs frames (T, H, W, 3) uint8, got {frames.dtype} {frames.shape}")
    with VideoFile(path, fps) as video:
        for frame in frames:
            video.add(frame)
    return video.path


class VideoFile:
    """A video as `write_video` writes it, frame by frame: what is long need not fit into memory.

    A context manager, or `close` it; the file appears then, and not at all after an error or without a frame.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        if not fps > 0:
            raise ValueError(f"a video needs frames per second above 0, got {fps}")
        self.path, self.fps, self.count = Path(path), fps, 0
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._container: Any = None
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()

    def add(self, frame: Array) -> None:
        """frame: (H, W, 3) uint8, all of one size; ValueError otherwise."""
        import av

        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
            raise ValueError(f"a video needs frames (H, W, 3) uint8, got {frame.dtype} {frame.shape}")
        if self._container is None:
            self._begin(frame.shape)
        if frame.shape != self._shape:
            raise ValueError(f"the video has frames {self._shape}, this one is {frame.shape}")
        height, width, _ = frame.shape
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        self.count += 1

    def close(self) -> None:
        """Finishes the file, if there was a frame."""
        if self._container is None:
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            with self._temporary.open("rb") as written:
                os.fsync(written.fileno())
            self._temporary.replace(self.path)
        finally:
            self.discard()

    def discard(self) -> None:
        """Leaves nothing of what is not finished."""
        container, self._container = self._container, None
        try:
            if container is not None:
                container.close()
        finally:
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _begin(self, shape: tuple[int, ...]) -> None:
        import av

        self._shape = shape
        height, width, _ = shape
        self.path.parent.mkdir(parents=True, exist_ok=True)
        options = {"movflags": "+faststart"}
        self._container = av.open(str(self._temporary), "w", format="mp4", options=options)
        stream = self._container.add_stream("libx264", rate=_rate(self.fps))
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"  # the one layout that all browsers play
        stream.options = {"crf": "20", "preset": "veryfast"}
        stream.codec_context.thread_count = 1  # the same bytes each time
        self._stream = stream


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
