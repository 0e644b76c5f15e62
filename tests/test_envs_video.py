from pathlib import Path

import numpy as np
import pytest

from envs.video import label_frames, side_by_side, write_video


def _read(path: Path) -> tuple[np.ndarray, float]:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), float(stream.average_rate)


def _counting(count: int, height: int, width: int) -> np.ndarray:
    """Frames that can be told apart: frame i is gray 20 + 10 i on the left, red on the right."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[:, :, : width // 2] = (20 + 10 * np.arange(count, dtype=np.uint8))[:, None, None, None]
    frames[:, :, width // 2 :, 0] = 200
    return frames


@pytest.mark.parametrize(("count", "height", "width"), [(20, 64, 96), (3, 63, 85), (1, 32, 32)])
def test_a_video_is_read_back_frame_for_frame(tmp_path: Path, count: int, height: int, width: int) -> None:
    frames = _counting(count, height, width)
    path = write_video(tmp_path / "new" / "clip.mp4", frames, fps=12)
    back, fps = _read(path)
    assert fps == 12
    assert back.shape == (count, height + height % 2, width + width % 2, 3)
    difference = np.abs(
        back[:, 4 : height - 4, 4:-4].astype(int)
        - np.pad(frames, ((0, 0), (0, 0), (0, width % 2), (0, 0)), "edge")[:, 4 : height - 4, 4:-4]
    )
    assert np.median(difference, axis=(1, 2, 3)).max() <= 3
    assert difference.mean() < 5


def test_a_video_starts_playing_before_it_is_all_there(tmp_path: Path) -> None:
    data = write_video(tmp_path / "clip.mp4", _counting(5, 64, 64), 10).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_writing_leaves_one_file_and_replaces_an_older_one(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", _counting(5, 64, 64), 10)
    write_video(tmp_path / "clip.mp4", _counting(2, 64, 64), 10)
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]
    assert len(_read(tmp_path / "clip.mp4")[0]) == 2


@pytest.mark.parametrize(
    "frames", [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8), np.uint8)]
)
def test_other_frames_are_refused_and_leave_no_file(tmp_path: Path, frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"needs frames \(T, H, W, 3\) uint8"):
        write_video(tmp_path / "clip.mp4", frames, 10)
    assert list(tmp_path.iterdir()) == []


def test_side_by_side_holds_the_shorter_clip() -> None:
    left, right = _counting(4, 10, 12), _counting(2, 10, 6)
    both = side_by_side(left, right, gap=3)
    assert both.shape == (4, 10, 21, 3)
    np.testing.assert_array_equal(both[:, :, :12], left)
    np.testing.assert_array_equal(both[:, :, 15:], right[[0, 1, 1, 1]])
    with pytest.raises(ValueError, match="one height, got 10 and 8"):
        side_by_side(left, right[:, :8])


def test_a_caption_is_put_above_and_fits() -> None:
    frames = _counting(3, 64, 128)
    for text in ("before", "after 160 000 steps on a reward learnt from 700 comparisons"):
        labelled = label_frames(frames, text)
        bar = labelled.shape[1] - 64
        np.testing.assert_array_equal(labelled[:, bar:], frames)
        ink = (labelled[0, :bar].min(axis=-1) > 120).any(axis=0)
        assert ink.any()
