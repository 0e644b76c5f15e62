"""The process that draws may crash, hang or be killed: the next clip is drawn all the same."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fsspec", reason="needs the extra 'label'")

from agents.preferences.labelling.drawing import Drawer, reply
from agents.preferences.labelling.sources import UndrawableError, write_source
from agents.preferences.labelling.sprites import draw
from agents.preferences.labelling.storage import MediaStorage, open_storage
from agents.preferences.labelling.types import UnavailableError
from envs.episode import Episode

ENV = "classic:Pendulum"


@pytest.fixture
def storage(tmp_path: Path) -> MediaStorage:
    return open_storage(str(tmp_path / "media"))


@pytest.fixture
def source(storage: MediaStorage) -> str:
    return write_source(storage, ENV, clip()).source


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def drawer(storage: MediaStorage, stopping: threading.Event) -> Iterator[Drawer]:
    drawer = Drawer(storage.url, stopping)
    yield drawer
    drawer.close()


def clip() -> Episode:
    states = np.linspace((0.0, 0.0), (1.0, 0.0), 3)
    pictures = {"observation": np.zeros((3, 3), np.float32)}
    return Episode(pictures, np.zeros((2, 1)), np.zeros(2), np.arange(3.0), info={"physics": states})


def process_of(drawer: Drawer) -> subprocess.Popen[bytes]:
    assert drawer._process is not None
    return drawer._process


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_draws_what_would_be_drawn_here(drawer: Drawer, storage: MediaStorage, source: str) -> None:
    content, expected = draw(storage, source, ENV, 32)
    assert not storage.exists(expected.media)
    assert drawer.draw(source, ENV, 32) == expected
    assert storage.get(expected.media) == content
    first = process_of(drawer)
    assert drawer.draw(source, ENV, 32) == expected
    assert process_of(drawer) is first


def test_errors_come_back_as_what_they_are(drawer: Drawer, source: str, tmp_path: Path) -> None:
    with pytest.raises(UndrawableError, match="no environment 'classic:Nothing'"):
        drawer.draw(source, "classic:Nothing", 32)
    first = process_of(drawer)
    (tmp_path / "media").rename(tmp_path / "away")
    with pytest.raises(UnavailableError, match="mount it"):
        drawer.draw(source, ENV, 32)
    (tmp_path / "away").rename(tmp_path / "media")
    assert drawer.draw(source, ENV, 32).frames == 3
    assert process_of(drawer) is first


def test_a_process_killed_over_a_clip_costs_that_clip_alone(drawer: Drawer, source: str) -> None:
    drawer.draw(source, ENV, 32)
    process = process_of(drawer)
    process.send_signal(signal.SIGSTOP)  # so that it dies over the clip
    threading.Timer(0.3, process.kill).start()
    with pytest.raises(UndrawableError, match=r"ended by SIGKILL \(is there memory enough"):
        drawer.draw(source, ENV, 32)
    assert drawer.draw(source, ENV, 32).frames == 3


def test_a_crash_names_its_signal(drawer: Drawer, source: str) -> None:
    drawer.draw(source, ENV, 32)
    process = process_of(drawer)
    process.send_signal(signal.SIGSTOP)

    def crash() -> None:
        process.send_signal(signal.SIGSEGV)
        process.send_signal(signal.SIGCONT)

    threading.Timer(0.3, crash).start()
    with pytest.raises(UndrawableError, match="ended by SIGSEGV while it drew this clip"):
        drawer.draw(source, ENV, 32)


def test_a_process_that_ended_between_clips_is_no_clips_fault(drawer: Drawer, source: str) -> None:
    drawer.draw(source, ENV, 32)
    process_of(drawer).kill()
    process_of(drawer).wait()
    assert drawer.draw(source, ENV, 32).frames == 3


def test_a_process_that_hangs_is_ended(storage: MediaStorage, source: str, stopping: threading.Event) -> None:
    drawer = Drawer(storage.url, stopping)
    drawer.draw(source, ENV, 32)
    drawer._seconds = 0.5
    hung = process_of(drawer)
    hung.send_signal(signal.SIGSTOP)
    with pytest.raises(UndrawableError, match="took longer than"):
        drawer.draw(source, ENV, 32)
    assert hung.poll() == -signal.SIGKILL
    drawer._seconds = 60
    assert drawer.draw(source, ENV, 32).frames == 3
    drawer.close()


def test_stopping_does_not_wait_for_a_clip_that_takes_long(
    drawer: Drawer, source: str, stopping: threading.Event
) -> None:
    drawer.draw(source, ENV, 32)
    process_of(drawer).send_signal(signal.SIGSTOP)
    threading.Timer(0.1, stopping.set).start()
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="stopped"):
        drawer.draw(source, ENV, 32)
    assert time.monotonic() - started < 10


def test_closing_ends_the_process(drawer: Drawer, source: str) -> None:
    drawer.close()
    drawer.draw(source, ENV, 32)
    process = process_of(drawer)
    drawer.close()
    assert process.returncode == 0
    drawer.close()


def test_ctrl_c_does_not_reach_the_process(drawer: Drawer, source: str) -> None:
    drawer.draw(source, ENV, 32)
    process = process_of(drawer)
    process.send_signal(signal.SIGINT)
    assert drawer.draw(source, ENV, 32).frames == 3
    assert process_of(drawer) is process


def test_it_ends_when_its_parent_is_killed(storage: MediaStorage, source: str) -> None:
    code = (
        "import sys, threading, time\n"
        "from agents.preferences.labelling.drawing import Drawer\n"
        "drawer = Drawer(sys.argv[1], threading.Event())\n"
        "drawer.draw(sys.argv[2], 'classic:Pendulum', 16)\n"
        "print(drawer._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, storage.url, source]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    deadline = time.monotonic() + 60
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_librarys_fault_is_logged_and_told(
    storage: MediaStorage, source: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = {"source": source, "env": ENV, "size": 16}

    def fail(error: Exception) -> dict[str, object]:
        def save(*arguments: object, **options: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Image.Image, "save", save)
            return reply(storage, job)

    assert fail(TypeError("whose?")) == {"undrawable": "drawing failed: TypeError: whose?"}
    assert "Traceback" in caplog.text
    assert fail(MemoryError()) == {"unavailable": "there is no memory left to draw with"}
    assert reply(storage, job)["sprite"]["frames"] == 3


def test_what_libraries_print_is_no_reply(source: str, storage: MediaStorage) -> None:
    code = (
        "import os, sys, threading\n"
        "from agents.preferences.labelling import drawing, sprites\n"
        "real = sprites.grid\n"
        "def grid(frames):\n    print('a warning'); os.write(1, b'of OpenGL'); return real(frames)\n"
        "sprites.grid = grid\n"
        "sys.argv = ['drawing', sys.argv[1]]\n"
        "drawing.main()\n"
    )
    job = f'{{"source": "{source}", "env": "{ENV}", "size": 16}}\n'
    ran = subprocess.run(
        [sys.executable, "-c", code, storage.url], input=job.encode(), capture_output=True, check=True
    )
    assert ran.stdout.startswith(b'{"sprite":')
    assert ran.stdout.count(b"\n") == 1
    assert b"of OpenGL" in ran.stderr
