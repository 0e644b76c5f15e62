"""Recorded drives as a LeRobotDataset in version 3 of its layout, written without LeRobot.

    <out>/meta/info.json, stats.json, tasks.parquet, episodes/chunk-000/file-000.parquet
    <out>/data/chunk-000/file-000.parquet           one row a step, one row group an episode
    <out>/videos/observation.images.front/chunk-000/file-000.mp4

A file holds whole episodes; meta/episodes says where each one lies. Source of the layout: lerobot 0.6.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.dataset import EpisodeDataset
from envs.dataset_spec import DatasetError
from envs.episode import Episode
from envs.files import sync_folder
from envs.lerobot_features import Frames, features_of, frames_of, merged, moments_of, stats_of
from envs.video import VideoFile

Array = NDArray[Any]

VERSION = "v3.0"
STEPS_PER_FILE = 20_000
"""about 50 MB of a rover's numbers: LeRobot's own files have up to 100"""
FILES_PER_CHUNK = 1000
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{_FILE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{_FILE}.mp4"
FIX = "pip install 'surefoot[lerobot]'"


def export_lerobot(
    data: Path,
    out: Path,
    *,
    task: str = "drive",
    robot_type: str = "surefoot_rover",
    overwrite: bool = False,
    steps_per_file: int = STEPS_PER_FILE,
) -> dict[str, Any]:
    """Writes all episodes of a dataset; `out` appears when it is complete. Gives counts.

    Raises DatasetError where there is nothing to export, `out` is there already, or steps do not have one
    length that is a whole number of frames a second.
    """
    _expect_libraries()
    if out.exists() and not overwrite:
        raise DatasetError(f"{out} is there already: give another --out, or --overwrite")
    with EpisodeDataset(data, read_only=True) as dataset:
        if not len(dataset):
            raise DatasetError(f"{data} has no episodes")
        temporary = out.with_name(f".{out.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)  # of an export that was killed
        temporary.mkdir(parents=True)
        try:
            writer = _Writer(temporary, frames_per_second(dataset[dataset.ids[0]]), task, steps_per_file)
            for id in dataset.ids:
                writer.add(dataset[id])
            counts = writer.finish(robot_type)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    if out.exists():
        shutil.rmtree(out)
    temporary.rename(out)
    sync_folder(out.parent)
    return {"out": str(out), **counts}


def frames_per_second(episode: Episode) -> int:
    """Raises DatasetError where it is no whole number."""
    step = float(np.median(np.diff(episode.times)))
    fps = round(1 / step) if step > 0 else 0
    if fps < 1 or abs(fps * step - 1) > 0.01:
        raise DatasetError(f"a step lasts {step:g} s, LeRobot needs a whole number of frames a second")
    return fps


class _Writer:
    """Episodes into files of about `steps_per_file` steps."""

    def __init__(self, out: Path, fps: int, task: str, steps_per_file: int) -> None:
        self.out, self.fps, self.task = out, fps, task
        self._limit = steps_per_file
        self._features: dict[str, dict[str, Any]] = {}
        self._rows: list[dict[str, Any]] = []
        self._moments: dict[str, Any] = {}
        self._steps = self._in_file = 0
        self._file = -1
        self._data: Any = None
        self._videos: dict[str, VideoFile] = {}

    def add(self, episode: Episode) -> None:
        if abs(frames_per_second(episode) - self.fps) > 0:
            raise DatasetError("the episodes have steps of different lengths: export them one by one")
        frames = frames_of(episode)
        features = features_of(frames, self.fps)
        if self._features and features != self._features:
            differ = sorted(
                name
                for name in features.keys() | self._features.keys()
                if features.get(name) != self._features.get(name)
            )
            raise DatasetError(f"episodes differ in {', '.join(differ)}: LeRobot needs the same in all")
        self._features = features
        if self._data is None or self._in_file + len(frames) > self._limit:
            self._next_file()
        defaults = self._defaults(len(frames))
        self._write(frames, defaults)
        moments = moments_of(frames, defaults)
        self._rows.append(self._row(frames, stats_of(moments)))
        self._moments = merged(self._moments, moments) if self._moments else moments
        self._steps += len(frames)
        self._in_file += len(frames)

    def finish(self, robot_type: str) -> dict[str, Any]:
        self._close_file()
        meta = self.out / "meta"
        _write_table(meta / "episodes" / f"{_FILE}.parquet".format(**_place(0)), _columns(self._rows))
        _write_tasks(meta / "tasks.parquet", self.task)
        (meta / "stats.json").write_text(json.dumps(stats_of(self._moments), indent=4))
        info = {
            "codebase_version": VERSION,
            "robot_type": robot_type,
            "total_episodes": len(self._rows),
            "total_frames": self._steps,
            "total_tasks": 1,
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self.fps,
            "splits": {"train": f"0:{len(self._rows)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._has_videos else None,
            "features": self._features,
        }
        (meta / "info.json").write_text(json.dumps(info, indent=4))
        size = sum(file.stat().st_size for file in self.out.rglob("*") if file.is_file())
        seconds = self._steps / self.fps
        return {"episodes": len(self._rows), "frames": self._steps, "seconds": seconds, "bytes": size}

    @property
    def _has_videos(self) -> bool:
        return any(one["dtype"] == "video" for one in self._features.values())

    def _defaults(self, steps: int) -> dict[str, Array]:
        number = np.arange(steps)
        return {
            "timestamp": (number / self.fps).astype(np.float32),
            "frame_index": number,
            "episode_index": np.full(steps, len(self._rows)),
            "index": number + self._steps,
            "task_index": np.zeros(steps, np.int64),
        }

    def _write(self, frames: Frames, defaults: Mapping[str, Array]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({name: _column(values) for name, values in {**frames.columns, **defaults}.items()})
        if self._data is None:
            path = self.out / DATA_PATH.format(**_place(self._file))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._data = pq.ParquetWriter(path, table.schema, compression="snappy")
        self._data.write_table(table)
        for name, video in frames.videos.items():
            if name not in self._videos:
                path = self.out / VIDEO_PATH.format(video_key=name, **_place(self._file))
                self._videos[name] = VideoFile(path, self.fps)
            for picture in video:
                self._videos[name].add(picture)

    def _row(self, frames: Frames, stats: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Of meta/episodes."""
        place = _place(self._file)
        row: dict[str, Any] = {
            "episode_index": len(self._rows),
            "tasks": [self.task],
            "length": len(frames),
            "data/chunk_index": place["chunk_index"],
            "data/file_index": place["file_index"],
            "dataset_from_index": self._steps,
            "dataset_to_index": self._steps + len(frames),
        }
        for name in frames.videos:
            row |= {f"videos/{name}/{key}": value for key, value in place.items()}
            row[f"videos/{name}/from_timestamp"] = self._in_file / self.fps
            row[f"videos/{name}/to_timestamp"] = (self._in_file + len(frames)) / self.fps
        for name, one in stats.items():
            row |= {f"stats/{name}/{key}": value for key, value in one.items()}
        return row | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}

    def _next_file(self) -> None:
        self._close_file()
        self._file, self._in_file = self._file + 1, 0

    def _close_file(self) -> None:
        if self._data is not None:
            self._data.close()
            self._data = None
        for video in self._videos.values():
            video.close()
        self._videos.clear()


def _place(file: int) -> dict[str, int]:
    return {"chunk_index": file // FILES_PER_CHUNK, "file_index": file % FILES_PER_CHUNK}


def _column(values: Array) -> Any:
    """A number a row, or a list of fixed length."""
    import pyarrow as pa

    flat = pa.array(values.reshape(-1))
    width = values.shape[1] if values.ndim == 2 else 1
    return flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)


def _columns(rows: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(rows)


def _write_table(path: Path, table: Any) -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="snappy")


def _write_tasks(path: Path, task: str) -> None:
    """As pandas writes a frame whose index is the task: LeRobot reads it so."""
    import pyarrow as pa

    columns = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
            for name, kind, dtype in columns
        ],
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": pa.array([0], pa.int64()), "task": pa.array([task])})
    _write_table(path, table.replace_schema_metadata({"pandas": json.dumps(pandas)}))


def _expect_libraries() -> None:
    missing = [name for name in ("pyarrow", "av") if importlib.util.find_spec(name) is None]
    if missing:
        raise DatasetError(f"this export needs {' and '.join(missing)}: {FIX}")
