"""Blobs in a folder and on S3: whole or not there, named by what they hold, and nothing beside them."""

import errno
import hashlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fsspec", reason="needs the extra 'label'")

from agents.preferences.labelling.drawing import Drawer
from agents.preferences.labelling.sources import write_source
from agents.preferences.labelling.storage import (
    MAX_BYTES,
    DamagedMediaError,
    MediaStorage,
    MissingMediaError,
    open_storage,
)
from agents.preferences.labelling.types import LabellingError, UnavailableError
from envs.episode import Episode

NOWHERE = "0" * 64


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[None]:
    """An S3 server with a bucket "clips", to which the AWS_* variables point."""
    pytest.importorskip("s3fs", reason="needs the extra 's3'")
    server_module = pytest.importorskip("moto.server", reason="needs the extra 'dev'")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        open_storage("s3://clips/any")._remote.mkdir("clips")
        yield
    server.stop()


@pytest.fixture
def s3(s3_server: None) -> str:
    """A prefix of this test's own."""
    return f"s3://clips/{uuid.uuid4().hex}"


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> MediaStorage:
    place = str(tmp_path / "media") if request.param == "folder" else request.getfixturevalue("s3")
    return open_storage(place)


def test_a_blob_is_named_by_its_content_and_comes_back(storage: MediaStorage) -> None:
    content = bytes(range(256)) * 50
    assert storage.put(content) == storage.put(content) == digest(content)
    assert storage.exists(digest(content))
    assert storage.get(digest(content)) == content
    assert not storage.exists(NOWHERE)
    with pytest.raises(MissingMediaError, match=f"{NOWHERE} are gone"):
        storage.get(NOWHERE)


def test_what_is_deleted_is_gone_and_deleting_it_again_is_no_error(storage: MediaStorage) -> None:
    sha = storage.put(b"a picture")
    storage.delete(sha)
    storage.delete(sha)
    assert not storage.exists(sha)
    with pytest.raises(MissingMediaError):
        storage.get(sha)


def test_a_damaged_blob_is_noticed_and_storing_it_again_mends_it(storage: MediaStorage) -> None:
    sha = storage.put(b"a picture")
    path = f"{storage._root}/{sha[:2]}/{sha}"
    if storage._remote is None:
        Path(path).write_bytes(b"a pixture")
    else:
        storage._remote.pipe_file(path, b"a pixture")
    with pytest.raises(DamagedMediaError, match="damaged"):
        storage.get(sha)
    assert storage.put(b"a picture") == sha
    assert storage.get(sha) == b"a picture"


BAD_NAMES = {
    "empty": "",
    "parents": "../../../etc/passwd",
    "parents_64_long": "../" * 21 + "x",
    "absolute": "/etc/passwd",
    "folder": "ab/" + "0" * 61,
    "capitals": "A" * 64,
    "short": "0" * 63,
    "long": "0" * 65,
    "newline": "0" * 64 + "\n",
    "nul": "0" * 63 + "\0",
    "other_digits": "\N{ARABIC-INDIC DIGIT ONE}" * 64,
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_only_digests_reach_the_file_system(storage: MediaStorage, name: str) -> None:
    for method in (storage.get, storage.exists, storage.delete):
        with pytest.raises(MissingMediaError, match="64 hexadecimal digits"):
            method(name)


def test_empty_and_huge_blobs_are_refused(storage: MediaStorage) -> None:
    for content in (b"", bytes(MAX_BYTES + 1)):
        with pytest.raises(LabellingError, match=f"1 to {MAX_BYTES} bytes, this one has {len(content)}"):
            storage.put(content)


def test_a_huge_file_under_a_blobs_name_is_not_read_whole(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    sha = storage.put(b"a picture")
    os.truncate(tmp_path / sha[:2] / sha, 2**40)  # a file with a hole: no disk is used
    with pytest.raises(DamagedMediaError):
        storage.get(sha)


def test_check_says_whether_it_can_be_used(storage: MediaStorage) -> None:
    storage.check()


def test_threads_store_and_read_at_once(storage: MediaStorage) -> None:
    contents = [bytes([number]) * 20_000 for number in range(1, 9)]

    def work(number: int) -> bool:
        content = contents[number % len(contents)]
        return storage.get(storage.put(content)) == content

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))


def test_forms_of_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sha = open_storage("media").put(b"a picture")
    monkeypatch.chdir("/")
    for address in (f"{tmp_path}/media", f"{tmp_path}/media/", f"file://{tmp_path}/media"):
        assert open_storage(address).get(sha) == b"a picture"
    memory = open_storage("memory://clips")
    assert memory.get(memory.put(b"another")) == b"another"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "names no place"),
        ("s3://", "names no place"),
        ("nonsense://bucket/media", "cannot be kept at"),
        ("gs://bucket/media", "not installed: .*gcsfs"),
    ],
)
def test_an_address_that_cannot_be_opened_is_refused(address: str, words: str) -> None:
    with pytest.raises(LabellingError, match=words):
        open_storage(address)


def test_opening_makes_nothing(tmp_path: Path) -> None:
    open_storage(str(tmp_path / "media"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_not_a_lost_blob(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "media"))
    with pytest.raises(UnavailableError, match="mount it"):
        storage.get(NOWHERE)


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(str(tmp_path / "media"))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UnavailableError, match="disk is full"):
            storage.put(b"a picture")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    storage.put(b"a picture")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("a file where the folder should be")
    with pytest.raises(UnavailableError, match=r"let this user read and write there|File exists"):
        open_storage(str(tmp_path / "media")).put(b"a picture")


def test_kill_9_leaves_only_whole_blobs(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from agents.preferences.labelling.storage import open_storage\n"
        "storage = open_storage(sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "while True:\n    storage.put(os.urandom(1_000_000))\n"
    )
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        with writer.stdout:
            writer.stdout.readline()
            time.sleep(0.25)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    blobs = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert blobs
    assert all(digest(path.read_bytes()) == path.name for path in blobs)


def test_a_bucket_that_is_not_there_is_said(s3: str) -> None:
    storage = open_storage("s3://other/study")
    with pytest.raises(UnavailableError, match="make it first"):
        storage.put(b"a picture")
    with pytest.raises(UnavailableError, match="s3://other/study is not there"):
        storage.get(NOWHERE)


def test_an_s3_server_that_is_down_is_said_soon(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    storage = open_storage(s3)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=f"cannot write to {s3}"):
        storage.put(b"a picture")
    with pytest.raises(UnavailableError, match=f"cannot read from {s3}"):
        storage.get(NOWHERE)
    assert time.monotonic() - started < 30


def test_two_studies_of_a_bucket_are_apart(s3: str) -> None:
    sha = open_storage(s3).put(b"a picture")
    with pytest.raises(MissingMediaError):
        open_storage("s3://clips/another").get(sha)


def test_a_clip_is_kept_and_drawn_on_s3(s3: str) -> None:
    states = np.linspace((0.0, 0.0), (1.0, 0.0), 3)
    pictures = {"observation": np.zeros((3, 3), np.float32)}
    clip = Episode(pictures, np.zeros((2, 1)), np.zeros(2), np.arange(3.0), info={"physics": states})
    source = write_source(open_storage(s3), "classic:Pendulum", clip)
    drawer = Drawer(s3, threading.Event())
    sprite = drawer.draw(source.source, source.env, 32)
    drawer.close()
    assert open_storage(s3).get(sprite.media).startswith(b"RIFF")
