"""Episodes on disk: what was acknowledged is there, whatever happens."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from envs.dataset import (
    DamagedEpisodeError,
    DatasetError,
    DatasetLockedError,
    DatasetWarning,
    DatasetWriteError,
    EpisodeDataset,
)
from envs.episode import Clip, Episode

TESTS = Path(__file__).parent


def numbered(number: int, steps: int = 6, width: int = 5) -> Episode:
    """Every value follows from the number: what another process wrote can be checked in this one."""
    state = np.arange((steps + 1) * width, dtype=np.float32).reshape(-1, width) + number
    return Episode(
        observations={"observation": state, "camera": np.full((steps + 1, 2, 3), number % 256, np.uint8)},
        actions=np.arange(steps) + number,
        rewards=np.full(steps, number, np.float32),
        times=np.arange(steps + 1) * 0.1,
        truncated=True,
        info={"true_reward": np.full(steps, -number, np.float64)},
    )


def assert_same(left: Episode, right: Episode) -> None:
    assert (left.terminated, left.truncated) == (right.terminated, right.truncated)
    ours, theirs = left.streams(), right.streams()
    assert ours.keys() == theirs.keys()
    for name, stream in ours.items():
        assert stream.dtype == theirs[name].dtype
        np.testing.assert_array_equal(stream, theirs[name])


def python(code: str, *arguments: object) -> subprocess.Popen:
    """Starts another interpreter on this code, which sees `numbered` and EpisodeDataset."""
    setup = "import sys\nfrom envs.dataset import *\nfrom test_envs_dataset import numbered\n"
    return subprocess.Popen(
        [sys.executable, "-c", setup + code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_was_appended_is_read_back_after_reopening(tmp_path):
    episodes = [numbered(n, steps=n + 1) for n in range(5)]
    with EpisodeDataset(tmp_path / "a") as dataset:
        ids = [dataset.append(episode) for episode in episodes]
        assert_same(dataset[ids[0]], episodes[0])
    with EpisodeDataset(tmp_path / "a", read_only=True, check=True) as dataset:
        assert dataset.ids == list(dataset) == ids == [episode.digest() for episode in episodes]
        for id, episode in zip(ids, episodes, strict=True):
            assert_same(dataset[id], episode)
            assert dataset.steps(id) == len(episode)
        assert dataset.verify() == []


def test_the_same_content_is_stored_once(tmp_path):
    with EpisodeDataset(tmp_path) as dataset:
        first = dataset.append(numbered(1))
        size = sum(file.stat().st_size for file in tmp_path.iterdir())
        assert dataset.append(numbered(1)) == first
        assert len(dataset) == 1
        assert first in dataset
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) == size


def test_reading_maps_the_file_and_a_clip_copies_only_its_rows(tmp_path):
    with EpisodeDataset(tmp_path, durable=False) as dataset:
        id = dataset.append(numbered(3, steps=100))
        whole, clip = dataset[id], dataset[Clip(id, 20, 30)]
    assert_same(clip, numbered(3, steps=100).slice(20, 30))
    for stream in whole.streams().values():
        assert not stream.flags.writeable
        assert not stream.flags.owndata
        assert stream.ctypes.data % 64 == 0
    for stream in clip.streams().values():
        assert stream.flags.owndata
    assert_same(whole, numbered(3, steps=100))  # still there after close


def test_every_dtype_shape_and_an_empty_stream_survive(tmp_path):
    observations = {
        "flag": np.array([True, False, True]),
        "half": np.zeros((3, 2), np.float16),
        "big": np.arange(3, dtype=">i4"),
        "complex": np.ones((3, 1, 1, 1), np.complex64),
        "text": np.array(["ab", "c", "d"]),
        "nothing": np.zeros((3, 0)),
        "a/b": np.asfortranarray(np.arange(6).reshape(3, 2)),
    }
    episode = Episode(observations, np.zeros((2, 1)), np.zeros(2), np.zeros(3))
    with EpisodeDataset(tmp_path) as dataset:
        assert_same(dataset[dataset.append(episode)], episode)
        with pytest.raises(TypeError, match="dtype object: only numbers"):
            dataset.append(Episode({"x": np.array([None] * 3)}, np.zeros(2), np.zeros(2), np.zeros(3)))
        assert dataset.verify() == []


def test_unknown_ids_and_clips_outside_are_named(tmp_path):
    with EpisodeDataset(tmp_path) as dataset:
        id = dataset.append(numbered(1))
        with pytest.raises(KeyError, match="no episode 'nope' among the 1 of"):
            dataset["nope"]
        with pytest.raises(ValueError, match="outside an episode of 6 steps"):
            dataset[Clip(id, 3, 4)]


def test_only_one_writer_but_many_readers(tmp_path):
    with EpisodeDataset(tmp_path) as writer, EpisodeDataset(tmp_path, read_only=True) as reader:
        with pytest.raises(DatasetLockedError, match=f"open for writing in process {os.getpid()}"):
            EpisodeDataset(tmp_path)
        child = python(
            "import sys; from envs.dataset import EpisodeDataset; EpisodeDataset(sys.argv[1])", tmp_path
        )
        assert "DatasetLockedError" in child.communicate()[1]
        with pytest.raises(DatasetError, match="read_only"):
            reader.append(numbered(1))
        id = writer.append(numbered(1))
        assert len(reader) == 0
        assert reader.refresh() == 1
        assert_same(reader[id], numbered(1))
    EpisodeDataset(tmp_path).close()  # closing releases the lock
    with pytest.raises(DatasetError, match="is closed"):
        writer.append(numbered(2))


def test_threads_may_read_while_one_appends(tmp_path):
    wrong: list[object] = []
    with EpisodeDataset(tmp_path, durable=False) as dataset:
        dataset.append(numbered(0))
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                number, id = len(dataset) - 1, dataset.ids[-1]
                if dataset[id].rewards[0] < number:
                    wrong.append(number)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for thread in readers:
            thread.start()
        for number in range(1, 200):
            dataset.append(numbered(number))
        done.set()
        for thread in readers:
            thread.join()
        assert not wrong
        assert len(dataset) == 200


def test_spaces_are_saved_and_compared(tmp_path):
    space = spaces.Dict(
        {
            "observation": spaces.Box(-np.inf, np.inf, (5,), np.float32),
            "camera": spaces.Box(0, 255, (2, 3), np.uint8),
        }
    )
    EpisodeDataset(tmp_path, observation_space=space, action_space=spaces.Discrete(9)).close()
    with EpisodeDataset(tmp_path, observation_space=space) as dataset:
        assert dataset.spec.observation_space == space
        assert dataset.spec.action_space == spaces.Discrete(9)
        dataset.append(numbered(1))
        with pytest.raises(ValueError, match=r"expected observations\['observation'\] with float32 \(5,\)"):
            dataset.append(numbered(1, width=4))
        with pytest.raises(ValueError, match=r"expected the observations \['camera', 'observation'\]"):
            dataset.append(Episode({"x": np.zeros(3)}, np.zeros(2), np.zeros(2), np.zeros(3)))
    with pytest.raises(ValueError, match="another observation space"):
        EpisodeDataset(tmp_path, observation_space=spaces.Box(-1, 1))
    with pytest.raises(ValueError, match="another action space"):
        EpisodeDataset(tmp_path, action_space=spaces.Discrete(8))
    EpisodeDataset(tmp_path).close()  # a refused opening leaves no lock


def test_folders_that_are_no_datasets_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no dataset at"):
        EpisodeDataset(tmp_path / "absent", read_only=True)
    assert not (tmp_path / "absent").exists()
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(DatasetError, match="other files"):
        EpisodeDataset(tmp_path)
    with pytest.raises(DatasetError, match="is a file"):
        EpisodeDataset(tmp_path / "thesis.txt")
    EpisodeDataset(tmp_path / "a").close()
    spec_file = tmp_path / "a" / "dataset.json"
    spec = json.loads(spec_file.read_text())
    for text, message in [
        (json.dumps(spec | {"version": 2}), "format version 2, this reads 1: upgrade"),
        (json.dumps(spec | {"format": "other"}), "not the description"),
        (json.dumps(spec)[:20], "not the description"),
        ("[]", "not the description"),
    ]:
        spec_file.write_text(text)
        with pytest.raises(DatasetError, match=message):
            EpisodeDataset(tmp_path / "a")


def test_a_creation_that_was_killed_is_taken_up(tmp_path):
    (tmp_path / "lock").write_text("1\n")
    (tmp_path / "dataset.json.tmp").write_text('{"form')
    with EpisodeDataset(tmp_path) as dataset:
        dataset.append(numbered(1))


@pytest.mark.parametrize("name", ["index.jsonl", "data.bin"])
def test_a_file_cut_at_every_byte_of_the_last_record_keeps_the_others(tmp_path, name):
    with EpisodeDataset(tmp_path, durable=False) as dataset:
        ids = [dataset.append(numbered(n)) for n in range(2)]
        sizes = {file: (tmp_path / file).stat().st_size for file in ("index.jsonl", "data.bin")}
        last = dataset.append(numbered(2))
    whole = {file: (tmp_path / file).read_bytes() for file in sizes}

    def restore(size: int) -> None:
        for file, content in whole.items():
            with (tmp_path / file).open("r+b") as opened:  # not "w": ext4 then waits for the disk on close
                opened.write(content)
        os.truncate(tmp_path / name, size)

    for size in range(sizes[name], len(whole[name])):
        restore(size)
        with EpisodeDataset(tmp_path, read_only=True) as reader:
            assert reader.ids == ids
        with pytest.warns(DatasetWarning, match="the last append was interrupted"):
            dataset = EpisodeDataset(tmp_path)
        with dataset:
            assert dataset.ids == ids
            assert {file: (tmp_path / file).stat().st_size for file in sizes} == sizes
            if size % 50 == 0:
                assert dataset.append(numbered(2)) == last
                assert dataset.verify() == []
                assert {file: (tmp_path / file).read_bytes() for file in sizes} == whole
    restore(len(whole[name]))
    with EpisodeDataset(tmp_path) as dataset:  # whole again: no warning
        assert dataset.ids == [*ids, last]


def test_a_flipped_bit_in_the_data_is_found(tmp_path):
    with EpisodeDataset(tmp_path) as dataset:
        ids = [dataset.append(numbered(n)) for n in range(3)]
    data = bytearray((tmp_path / "data.bin").read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "data.bin").write_bytes(data)
    with EpisodeDataset(tmp_path) as dataset:
        assert dataset.verify() == [ids[1]]
        assert dataset.verify([ids[0], ids[2]]) == []
        dataset[ids[1]]
    with EpisodeDataset(tmp_path, read_only=True, check=True) as dataset:
        assert_same(dataset[ids[0]], numbered(0))
        with pytest.raises(DamagedEpisodeError, match=ids[1]):
            dataset[Clip(ids[1], 0, 2)]


def test_a_damaged_index_line_costs_only_its_own_episode(tmp_path):
    with EpisodeDataset(tmp_path) as dataset:
        ids = [dataset.append(numbered(n)) for n in range(3)]
    lines = (tmp_path / "index.jsonl").read_bytes().splitlines(keepends=True)
    for broken in range(3):
        damaged = lines[broken].replace(b"float", b"flaot").replace(b"<f4", b"<f8")
        (tmp_path / "index.jsonl").write_bytes(b"".join([*lines[:broken], damaged, *lines[broken + 1 :]]))
        with pytest.warns(DatasetWarning, match=rf"index lines \[{broken + 1}\] are damaged"):
            dataset = EpisodeDataset(tmp_path)
        with dataset:
            assert dataset.ids == ids[:broken] + ids[broken + 1 :]
            new = dataset.append(numbered(10 + broken))
            assert dataset.verify() == []
            assert_same(dataset[new], numbered(10 + broken))
    (tmp_path / "index.jsonl").write_bytes(b"".join(lines))  # the bytes of all three were never overwritten
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DatasetWarning)
        dataset = EpisodeDataset(tmp_path)
    with dataset:
        assert dataset.ids == ids
        assert dataset.verify() == []


def test_a_full_disk_loses_nothing_that_was_saved(tmp_path):
    code = """
import resource
dataset = EpisodeDataset(sys.argv[1])
for number in range(3):
    print(dataset.append(numbered(number)))
size = dataset.path.joinpath("data.bin").stat().st_size
# The kernel then refuses bytes beyond: a part of the next episode is taken, the rest is not.
resource.setrlimit(resource.RLIMIT_FSIZE, (size + int(sys.argv[2]), resource.RLIM_INFINITY))
for attempt in range(2):
    try:
        dataset.append(numbered(3, steps=1000))
    except DatasetWriteError as error:
        print(error.errno, error)
print(dataset.path.joinpath("data.bin").stat().st_size - size, dataset.verify())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(dataset.append(numbered(3, steps=1000)))
"""
    output, errors = (child := python(code, tmp_path, 10_000)).communicate()
    assert child.returncode == 0, errors
    *ids, first, second, state, last = output.split("\n")[:-1]
    assert first.startswith(str(errno.EFBIG))
    assert "bytes could not be saved (File too large); all episodes saved before are untouched" in second
    assert state == "0 []"
    with EpisodeDataset(tmp_path) as dataset:  # no warning: the failed append left nothing behind
        assert dataset.ids == [*ids, last]
        assert dataset.verify() == []


def test_a_file_system_without_room_loses_nothing_that_was_saved(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], capture_output=True)
    if mount.returncode != 0:
        pytest.skip("mounting a small tmpfs needs root; the file size limit above tests the same path")
    try:
        with EpisodeDataset(folder / "a") as dataset:
            ids: list[str] = []
            with pytest.raises(DatasetWriteError, match="No space left on device") as failure:
                ids.extend(dataset.append(numbered(number, steps=100)) for number in range(1000))
            assert failure.value.errno == errno.ENOSPC
            assert len(ids) > 10
            assert dataset.ids == ids
            small = dataset.append(numbered(0, steps=1))  # what still fits is still taken
        with EpisodeDataset(folder / "a", check=True) as dataset:
            assert dataset.ids == [*ids, small]
            assert dataset.verify() == []
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("durable", [True, False])
def test_everything_acknowledged_survives_kill_9(tmp_path, durable):
    code = """
dataset = EpisodeDataset(sys.argv[1], durable=sys.argv[2] == "True")
number = len(dataset)
while True:
    print(dataset.append(numbered(number, steps=200, width=300)), flush=True)
    number += 1
"""
    rng = np.random.default_rng(int(durable))
    acknowledged: list[str] = []
    for _ in range(6):
        with python(code, tmp_path, durable) as child:
            acknowledged.append(child.stdout.readline().strip())  # it runs: the moment counts from here
            time.sleep(rng.uniform(0.0, 0.08))
            child.send_signal(signal.SIGKILL)
            *lines, _cut_off = child.stdout.read().split("\n")
            acknowledged += lines
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DatasetWarning)  # a torn tail is likely here
            dataset = EpisodeDataset(tmp_path, check=True)
        with dataset:
            assert dataset.ids[: len(acknowledged)] == acknowledged
            assert len(dataset) <= len(acknowledged) + 1
            for number, id in enumerate(dataset.ids):
                assert_same(dataset[id], numbered(number, steps=200, width=300))
            acknowledged = dataset.ids


def test_the_acknowledgement_comes_after_the_append(tmp_path):
    code = """
import os, signal
dataset = EpisodeDataset(sys.argv[1])
for number in range(3):
    print(dataset.append(numbered(number)), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    child = python(code, tmp_path)
    output = child.communicate()[0].split()
    assert child.returncode == -signal.SIGKILL
    with EpisodeDataset(tmp_path) as dataset:
        assert dataset.ids == output
        assert len(output) == 3


def test_an_interrupt_in_mid_append_leaves_the_files_as_they_were(tmp_path):
    code = """
import signal
dataset = EpisodeDataset(sys.argv[1])
number = 0
signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
for attempt in range(40):
    signal.setitimer(signal.ITIMER_REAL, 0.0005 * (attempt + 1))
    try:
        while True:
            dataset.append(numbered(number, steps=300, width=300))
            number = len(dataset)
    except KeyboardInterrupt:
        number = len(dataset)
print(number, dataset.verify())
"""
    child = python(code, tmp_path)
    output, errors = child.communicate()
    assert child.returncode == 0, errors
    count, damaged = output.split(maxsplit=1)
    assert damaged.strip() == "[]"
    with EpisodeDataset(tmp_path) as dataset:
        assert len(dataset) == int(count)
