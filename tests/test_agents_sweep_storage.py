"""A storage that is slow, cuts connections or answers with errors: tries with a limit, nothing by halves."""

import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from agents.sweep import shards as module
from agents.sweep.shards import ShardError, fetch_shards, read_shards, write_shards
from envs.dataset import EpisodeDataset
from envs.episode import Episode

moto_server = pytest.importorskip("moto.server", reason="needs the extra 'dev'")
fsspec = pytest.importorskip("fsspec")
pytest.importorskip("s3fs", reason="needs the extra 's3'")

_BODY = b"<Error><Code>SlowDown</Code><Message>reduce your request rate</Message></Error>"
BUSY = b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
AFTER = 3000
"""bytes of an answer after which it is cut"""


class Line:
    """A TCP connection to a storage, that fails in one way or another."""

    def __init__(self, host: str, port: int) -> None:
        self._there, self.trouble, self.left, self.met = (host, port), "", 0, 0
        self.place = f"s3://{uuid.uuid4()}/urban"  # moto keeps its buckets for as long as its process
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def fail(self, how: str, times: int) -> None:
        """The next so many connections."""
        self.trouble, self.left, self.met = how, times, 0

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                how = self.trouble if self.left > 0 else ""
                self.left -= 1
                self.met += bool(how)
                threading.Thread(target=self._carry, args=(ours, how), daemon=True).start()

    def _carry(self, ours: socket.socket, how: str) -> None:
        with suppress(OSError), ours:
            if how == "silent":  # nothing ever comes
                while ours.recv(65536):
                    pass
            elif how == "busy":
                ours.recv(65536)
                ours.sendall(BUSY)
            elif how != "refused":
                with socket.create_connection(self._there) as theirs:
                    back = threading.Thread(target=self._pump, args=(theirs, ours, how), daemon=True)
                    back.start()
                    self._pump(ours, theirs, "")
                    back.join()

    def _pump(self, source: socket.socket, target: socket.socket, how: str) -> None:
        sent = 0
        with suppress(OSError):
            while part := source.recv(1024 if how else 65536):
                target.sendall(part)
                sent += len(part)
                if how == "cut" and sent > AFTER:
                    break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drives")
    frames = np.random.default_rng(0).integers(0, 255, (4, 6, 32, 32, 3), np.uint8)
    with EpisodeDataset(folder, durable=False) as made:
        for one in frames:
            made.append(Episode({"image": one}, np.zeros((5, 2)), np.zeros(5), np.arange(6.0)))
    return folder


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """To a server on loopback that has the bucket; limits of a second, where it has a minute else."""
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    quick = {"connect_timeout": 2, "read_timeout": 1, "retries": {"total_max_attempts": 1}}
    monkeypatch.setattr(module, "_S3_CONFIG", quick)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    line = Line(*server.get_host_and_port())
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    try:
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir(line.place.split("/")[2])
        yield line
    finally:
        line.close()
        server.stop()


def test_trouble_that_passes_is_waited_out(line: Line, dataset: Path, tmp_path: Path) -> None:
    made = write_shards(dataset, line.place, 2)
    for how in ("busy", "cut", "refused"):
        line.fail(how, 2)
        folders = fetch_shards(line.place, made[:1], tmp_path / how)
        assert line.met >= 1, how
        with EpisodeDataset(folders[0], read_only=True) as found:
            assert found.verify() == []
            assert len(found) == 2
        assert [path.name for path in (tmp_path / how).iterdir()] == [made[0].folder]


@pytest.mark.parametrize("how", ["silent", "busy", "cut"])
def test_trouble_that_stays_is_said_and_leaves_nothing(
    line: Line, dataset: Path, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = write_shards(dataset, line.place, 2)
    line.fail(how, 10_000)
    began = time.monotonic()
    with pytest.raises(ShardError, match=rf"could not read {line.place}/shard-00000/\S+ in 4 tries: "):
        fetch_shards(line.place, made[:1], tmp_path / "cache")
    assert time.monotonic() - began < 300
    assert [record.getMessage().split(":")[0][-9:] for record in caplog.records if "of 4" in record.message]
    assert list((tmp_path / "cache").iterdir()) == []
    line.fail("", 0)
    assert len(fetch_shards(line.place, made[:1], tmp_path / "cache")) == 1


def test_what_was_written_by_halves_is_no_set_of_shards(line: Line, dataset: Path) -> None:
    system = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    put = module._put

    def then_fail(*arguments: object) -> None:
        put(*arguments)  # type: ignore[arg-type]
        line.fail("busy", 10_000)

    module._put = then_fail  # type: ignore[assignment]
    try:
        with pytest.raises(ShardError, match=r"could not write \S+/urban/shard-00000/\S+ in 4 tries: "):
            write_shards(dataset, line.place, 2)
    finally:
        module._put = put
    line.fail("", 0)
    assert system.find(line.place)  # something is there,
    with pytest.raises(ShardError, match=r"has no shards\.json: make it with"):
        read_shards(line.place)  # and nobody takes it for whole
    made = write_shards(dataset, line.place, 2)  # the same call makes it so
    assert json.loads(system.cat_file(f"{line.place}/shards.json"))["shards"][0]["name"] == made[0].name
    assert read_shards(line.place) == made
