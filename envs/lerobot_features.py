"""What LeRobot calls the streams of an episode, and their statistics; no parquet and no video here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.episode import Episode

Array = NDArray[Any]

IMAGES_SAMPLED = 50
"""of each episode, for the statistics of its pictures"""
STATE = ("odometry_velocity", "compass")
"""streams that make up a rover's observation.state; a plain observation is its own state"""
NAMES: Mapping[str, list[str]] = {
    "action": ["angular_velocity", "linear_velocity"],
    "observation.odometry": ["x", "y", "heading"],
    "observation.odometry_velocity": ["linear_velocity", "angular_velocity"],
    "observation.gps": ["east", "north"],
    "observation.gps_velocity": ["east", "north"],
    "observation.goal": ["east", "north"],
    "observation.state": ["linear_velocity", "angular_velocity", "compass"],
}
"""of a rover's numbers; m, rad, s as in envs.rover.rovers.UNITS"""
DEFAULTS = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64",
            "task_index": "int64"}  # fmt: skip
"""columns that every LeRobotDataset has"""


@dataclass(frozen=True)
class Frames:
    """An episode of T steps as LeRobot sees it: the observation before each action, nothing after the last.

    videos: {feature: (T, H, W, 3) uint8}; columns: {feature: (T, n)}.
    """

    videos: Mapping[str, Array]
    columns: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.columns["action"])


def frames_of(episode: Episode) -> Frames:
    """Names are LeRobot's: observation.images.*, observation.state, observation.*, action, next.*, info.*."""
    steps = len(episode)
    videos: dict[str, Array] = {}
    columns: dict[str, Array] = {"action": _flat(episode.actions)}
    for name, stream in episode.observations.items():
        key, values = name.replace("/", "."), np.asarray(stream)[:steps]
        if values.dtype == np.uint8 and values.ndim == 4 and values.shape[-1] == 3:
            videos[f"observation.images.{'front' if key == 'image' else key}"] = values
        elif key == "observation":
            columns["observation.state"] = _flat(values)
        else:
            columns[f"observation.{key}"] = _flat(values)
    if all(name in episode.observations for name in STATE):
        parts = [_flat(np.asarray(episode.observations[name])[:steps]) for name in STATE]
        columns["observation.state"] = np.concatenate(parts, 1).astype(np.float32)
    columns["next.reward"] = _flat(episode.rewards)
    done = np.zeros(steps, np.bool_)
    done[-1] = True
    columns["next.done"] = _flat(done)
    for name, stream in episode.info.items():
        columns[f"info.{name.replace('/', '.')}"] = _flat(np.asarray(stream)[:steps])
    return Frames(videos, columns)


def features_of(frames: Frames, fps: int) -> dict[str, dict[str, Any]]:
    """The `features` of meta/info.json."""
    features: dict[str, dict[str, Any]] = {}
    for name, video in frames.videos.items():
        _, height, width, channels = video.shape
        features[name] = {
            "dtype": "video",
            "shape": [height, width, channels],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height + height % 2,
                "video.width": width + width % 2,
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False,
                "video.fps": fps,
                "video.channels": channels,
                "has_audio": False,
            },
        }
    for name, values in frames.columns.items():
        known = NAMES.get(name, [])
        names = known if len(known) == values.shape[1] else None
        features[name] = {"dtype": values.dtype.name, "shape": [values.shape[1]], "names": names}
    for name, dtype in DEFAULTS.items():
        features[name] = {"dtype": dtype, "shape": [1], "names": None}
    return features


Moments = dict[str, Array]
"""count, sum, sum of squares, min and max of one feature"""


def moments_of(frames: Frames, defaults: Mapping[str, Array]) -> dict[str, Moments]:
    """Of an episode. Pictures as 0 to 1 by channel, (3, 1, 1), of some frames."""
    found = {}
    for name, video in frames.videos.items():
        pick = np.unique(np.linspace(0, len(video) - 1, min(len(video), IMAGES_SAMPLED)).astype(int))
        pixels = video[pick].astype(np.float64) / 255
        per_picture = pixels.mean((1, 2))
        shaped = {
            "count": np.array([len(pick)]),
            "sum": per_picture.sum(0),
            "squares": np.square(pixels).mean((1, 2)).sum(0),
            "min": pixels.min((0, 1, 2)),
            "max": pixels.max((0, 1, 2)),
        }
        found[name] = {
            key: value if key == "count" else value.reshape(3, 1, 1) for key, value in shaped.items()
        }
    for name, values in {**frames.columns, **defaults}.items():
        numbers = _flat(values).astype(np.float64)
        found[name] = {
            "count": np.array([len(numbers)]),
            "sum": numbers.sum(0),
            "squares": np.square(numbers).sum(0),
            "min": numbers.min(0),
            "max": numbers.max(0),
        }
    return found


def merged(one: Mapping[str, Moments], other: Mapping[str, Moments]) -> dict[str, Moments]:
    """Of both together."""
    return {
        name: {
            **{key: part[key] + other[name][key] for key in ("count", "sum", "squares")},
            "min": np.minimum(part["min"], other[name]["min"]),
            "max": np.maximum(part["max"], other[name]["max"]),
        }
        for name, part in one.items()
    }


def stats_of(moments: Mapping[str, Moments]) -> dict[str, dict[str, list[Any]]]:
    """As meta/stats.json has them: min, max, mean, std, count."""
    found = {}
    for name, part in moments.items():
        mean = part["sum"] / part["count"][0]
        variance = np.maximum(part["squares"] / part["count"][0] - np.square(mean), 0.0)
        found[name] = {
            "min": part["min"].tolist(),
            "max": part["max"].tolist(),
            "mean": mean.tolist(),
            "std": np.sqrt(variance).tolist(),
            "count": part["count"].tolist(),
        }
    return found


def _flat(values: Array) -> Array:
    """(T, n) of whatever a step has."""
    array = np.asarray(values)
    return np.ascontiguousarray(array.reshape(len(array), -1))
