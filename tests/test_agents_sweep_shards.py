"""Datasets in pieces: nothing lost between them, only its own on each machine, damage refused."""

import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from agents.sweep import shards as module
from agents.sweep.shards import ShardError, fetch_shards, own_shards, read_shards, world_of, write_shards
from envs.dataset import EpisodeDataset
from envs.episode import Episode


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten episodes, each of another value."""
    folder = tmp_path_factory.mktemp("drives")
    with EpisodeDataset(folder, durable=False) as made:
        for number in range(10):
            frames = np.full((6, 4, 4, 3), number, np.uint8)
            made.append(Episode({"image": frames}, np.zeros((5, 2)), np.zeros(5), np.arange(6.0)))
    (folder / "collect.json").write_text(json.dumps({"world": "off-road"}))
    return folder


def ids(folders: list[Path]) -> list[str]:
    found = []
    for folder in folders:
        with EpisodeDataset(folder, read_only=True, check=True) as opened:
            found += [opened[id].digest() for id in opened.ids]
    return found


def test_each_machine_fetches_its_own_shards_and_together_they_have_all(
    dataset: Path, tmp_path: Path
) -> None:
    place = str(tmp_path / "place")
    made = write_shards(dataset, place, 4)
    assert read_shards(place) == made
    assert world_of(place) == "off-road"
    assert [shard.episodes for shard in made] == [3, 3, 2, 2]
    nodes = [fetch_shards(place, own_shards(made, k, 2), tmp_path / f"node{k}") for k in (0, 1)]
    for k, folders in enumerate(nodes):
        assert sorted((tmp_path / f"node{k}").iterdir()) == sorted(folders)
        assert len(folders) == 2
    with EpisodeDataset(dataset, read_only=True) as whole:
        assert sorted(ids(nodes[0]) + ids(nodes[1])) == sorted(whole.ids)
    # The same dataset gives the same shards, and what was fetched is not fetched again.
    assert write_shards(dataset, str(tmp_path / "again"), 4) == made
    shutil.rmtree(place)
    assert fetch_shards(str(tmp_path / "again"), own_shards(made, 0, 2), tmp_path / "node0") == nodes[0]
    shutil.rmtree(tmp_path / "again")
    assert fetch_shards(str(tmp_path / "again"), own_shards(made, 0, 2), tmp_path / "node0") == nodes[0]


def test_a_shard_that_is_missing_or_other_is_refused(dataset: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    made = write_shards(dataset, str(place), 2)
    data = place / "shard-00001" / "data.bin"
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(bytes(content))
    with pytest.raises(ShardError, match=r"shard-00001/data\.bin has .* it was changed or cut"):
        fetch_shards(str(place), made, tmp_path / "cache")
    data.unlink()
    with pytest.raises(ShardError, match=r"shard-00001/data\.bin is missing: bring it back"):
        fetch_shards(str(place), made, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [made[0].folder]  # nothing half-fetched
    with pytest.raises(ShardError, match=r"has no shards\.json: make it with `surefoot shard"):
        read_shards(str(tmp_path))
    (place / "shards.json").write_text("{")
    with pytest.raises(ShardError, match=r"shards\.json is damaged"):
        read_shards(str(place))


def test_what_cannot_be_shared_is_said(dataset: Path, tmp_path: Path) -> None:
    made = write_shards(dataset, str(tmp_path / "place"), 4)
    with pytest.raises(ShardError, match="4 shards cannot be shared evenly by 3 processes: make a multiple"):
        own_shards(made, 0, 3)
    with pytest.raises(ShardError, match="has 10 episodes: they do not make 11 shards"):
        write_shards(dataset, str(tmp_path / "more"), 11)


def test_shards_on_s3_and_tries_with_a_limit_when_it_is_gone(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    with s3(monkeypatch):
        with pytest.raises(
            ShardError,
            match=r"absent/drives/shard-00000/.* cannot be written: .*make the bucket or folder first",
        ):
            write_shards(dataset, "s3://absent/drives", 2)
        made = write_shards(dataset, "s3://drives/urban", 2)
        folders = fetch_shards("s3://drives/urban", made[1:], tmp_path)
        assert len(ids(folders)) == 5
        assert read_shards("s3://drives/urban") == made
    began = time.monotonic()
    with pytest.raises(ShardError, match="in 4 tries"):
        fetch_shards("s3://drives/urban", made[:1], tmp_path)
    assert time.monotonic() - began < 300
    assert "(1 of 4)" in caplog.text
    assert list(tmp_path.iterdir()) == folders


@contextmanager
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server on loopback with the bucket "drives"."""
    server_module = pytest.importorskip("moto.server", reason="needs the extra 'dev'")
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("s3fs", reason="needs the extra 's3'")
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("drives")
        yield
    finally:
        server.stop()
