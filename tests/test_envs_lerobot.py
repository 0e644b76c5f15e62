"""Drives in LeRobot's layout, read back as LeRobot reads them: parquet by pyarrow, video by PyAV."""

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs pip install 'surefoot[lerobot]'")
pytest.importorskip("av", reason="needs pip install 'surefoot[lerobot]'")

import av
import pyarrow.parquet as pq

from envs.dataset import EpisodeDataset
from envs.dataset_spec import DatasetError
from envs.episode import Episode
from envs.lerobot import export_lerobot

quiet_drive = runpy.run_path(str(Path(__file__).with_name("badgr_drives.py")))["quiet_drive"]
CAMERA = "observation.images.front"


def drive(steps: int, first: int) -> Episode:
    """Whose pictures and numbers count on from `first`."""
    episode = quiet_drive(steps)
    number = first + np.arange(steps + 1)
    image = np.broadcast_to((number * 8 % 256)[:, None, None, None], (steps + 1, 48, 64, 3)).astype(np.uint8)
    seen = {**episode.observations, "image": image, "compass": np.float32(number)[:, None] / 100}
    actions = np.stack([number[:-1] / 50, 1 - number[:-1] / 100], 1).astype(np.float32)
    return replace(episode, observations=seen, actions=actions, info={"held": number[:-1] % 2 == 0})


DRIVES = [drive(steps, first) for steps, first in ((12, 0), (9, 12), (20, 21))]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("lerobot")
    with EpisodeDataset(folder / "drives", durable=False) as dataset:
        for one in DRIVES:
            dataset.append(one)
    told = export_lerobot(folder / "drives", folder / "out", task="drive home", steps_per_file=25)
    return folder / "out", told


def rows(out: Path, kind: str) -> list[dict[str, Any]]:
    return [
        row for file in sorted((out / kind).glob("*/*.parquet")) for row in pq.read_table(file).to_pylist()
    ]


def frames(file: Path) -> tuple[np.ndarray, list[float]]:
    with av.open(str(file)) as video:
        decoded = list(video.decode(video=0))
    return np.stack([one.to_ndarray(format="rgb24") for one in decoded]), [float(one.time) for one in decoded]


def test_every_row_is_the_observation_and_the_action_that_followed(
    exported: tuple[Path, dict[str, Any]],
) -> None:
    out, told = exported
    data = rows(out, "data")
    assert told["frames"] == len(data) == 41
    assert told["episodes"] == 3
    assert [row["index"] for row in data] == list(range(41))
    start = 0
    for number, one in enumerate(DRIVES):
        part = data[start : start + len(one)]
        assert {row["episode_index"] for row in part} == {number}
        assert [row["frame_index"] for row in part] == list(range(len(one)))
        np.testing.assert_allclose([row["timestamp"] for row in part], one.times[:-1])
        np.testing.assert_array_equal([row["action"] for row in part], one.actions)
        for name, stream in one.observations.items():
            if name == "image":
                continue
            saved = np.array([row[f"observation.{name}"] for row in part], stream.dtype)
            np.testing.assert_array_equal(saved.reshape(stream[:-1].shape), stream[:-1])
        state = np.concatenate([one.observations["odometry_velocity"], one.observations["compass"]], 1)
        np.testing.assert_allclose([row["observation.state"] for row in part], state[:-1], rtol=1e-6)
        assert [row["next.done"] for row in part] == [False] * (len(one) - 1) + [True]
        assert [row["info.held"] for row in part] == one.info["held"].tolist()
        start += len(one)


def test_each_picture_is_where_its_episode_says(exported: tuple[Path, dict[str, Any]]) -> None:
    out, _ = exported
    info = json.loads((out / "meta" / "info.json").read_text())
    for row, one in zip(rows(out, "meta/episodes"), DRIVES, strict=True):
        place = {key: row[f"videos/{CAMERA}/{key}"] for key in ("chunk_index", "file_index")}
        pictures, times = frames(out / info["video_path"].format(video_key=CAMERA, **place))
        first = row[f"videos/{CAMERA}/from_timestamp"]
        assert row[f"videos/{CAMERA}/to_timestamp"] - first == pytest.approx(len(one) / 4)
        for step in range(len(one)):
            at = int(np.argmin(np.abs(np.array(times) - (first + step / 4))))
            assert times[at] == pytest.approx(first + step / 4, abs=1e-4)  # LeRobot's own tolerance
            wanted = int(one.observations["image"][step, 0, 0, 0])
            assert abs(pictures[at].mean() - wanted) < 6


def test_the_description_is_that_of_version_3(exported: tuple[Path, dict[str, Any]]) -> None:
    out, _ = exported
    info = json.loads((out / "meta" / "info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["splits"]) == ("v3.0", 4, {"train": "0:3"})
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 41, 1)
    assert info["features"][CAMERA]["shape"] == [48, 64, 3]
    assert info["features"]["action"] == {
        "dtype": "float32", "shape": [2], "names": ["angular_velocity", "linear_velocity"],
    }  # fmt: skip
    table = pq.read_table(next((out / "data").glob("*/*.parquet")))
    numbers = {name for name, one in info["features"].items() if one["dtype"] != "video"}
    assert numbers == set(table.column_names)
    assert not [name for name in info["features"] if "/" in name]
    episodes = rows(out, "meta/episodes")
    assert [row["length"] for row in episodes] == [12, 9, 20]
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in episodes] == [
        (0, 12),
        (12, 21),
        (21, 41),
    ]
    assert [row["data/file_index"] for row in episodes] == [0, 0, 1]
    assert {tuple(row["tasks"]) for row in episodes} == {("drive home",)}
    for row in episodes:
        file = pq.read_table(out / info["data_path"].format(chunk_index=0, file_index=row["data/file_index"]))
        assert row["episode_index"] in file["episode_index"].to_pylist()


def test_the_tasks_are_a_frame_indexed_by_their_words(exported: tuple[Path, dict[str, Any]]) -> None:
    """As pandas, by which LeRobot reads it, sees the file."""
    table = pq.read_table(exported[0] / "meta" / "tasks.parquet")
    assert table.to_pylist() == [{"task_index": 0, "task": "drive home"}]
    assert table.schema.pandas_metadata["index_columns"] == ["task"]


def test_statistics_are_those_of_all_rows(exported: tuple[Path, dict[str, Any]]) -> None:
    out, _ = exported
    stats = json.loads((out / "meta" / "stats.json").read_text())
    actions = np.concatenate([one.actions for one in DRIVES]).astype(np.float64)
    for name, wanted in (("mean", actions.mean(0)), ("std", actions.std(0)), ("min", actions.min(0))):
        np.testing.assert_allclose(stats["action"][name], wanted, atol=1e-9)
    assert stats["action"]["count"] == [41]
    pixels = np.concatenate([one.observations["image"][:-1] for one in DRIVES]) / 255
    assert np.shape(stats[CAMERA]["mean"]) == (3, 1, 1)
    np.testing.assert_allclose(np.ravel(stats[CAMERA]["mean"]), pixels.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(np.ravel(stats[CAMERA]["std"]), pixels.std((0, 1, 2)), atol=1e-6)
    first = rows(out, "meta/episodes")[0]
    np.testing.assert_allclose(first["stats/action/mean"], DRIVES[0].actions.mean(0), rtol=1e-5)


def test_what_cannot_be_exported_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with EpisodeDataset(tmp_path / "drives", durable=False) as dataset:
        assert len(dataset) == 0
    out = tmp_path / "out"
    with pytest.raises(DatasetError, match="has no episodes"):
        export_lerobot(tmp_path / "drives", out)
    with EpisodeDataset(tmp_path / "drives", durable=False) as dataset:
        dataset.append(DRIVES[0])
        dataset.append(replace(DRIVES[1], info={}))
    with pytest.raises(DatasetError, match=r"episodes differ in info\.held"):
        export_lerobot(tmp_path / "drives", out)
    odd = replace(DRIVES[0], times=DRIVES[0].times * 1.1)
    with EpisodeDataset(tmp_path / "odd", durable=False) as dataset:
        dataset.append(odd)
    with pytest.raises(DatasetError, match=r"a step lasts 0.275 s, LeRobot needs a whole number"):
        export_lerobot(tmp_path / "odd", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drives", "odd"]


def test_an_export_is_replaced_only_when_told(exported: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with EpisodeDataset(tmp_path / "drives", durable=False) as dataset:
        dataset.append(DRIVES[0])
    first = export_lerobot(tmp_path / "drives", tmp_path / "out")
    with pytest.raises(DatasetError, match="is there already: give another --out, or --overwrite"):
        export_lerobot(tmp_path / "drives", tmp_path / "out")
    assert export_lerobot(tmp_path / "drives", tmp_path / "out", overwrite=True) == first
