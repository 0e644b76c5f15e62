"""Many bags imported as tasks: what one process imports, byte for byte, whoever dies on the way."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("mcap", reason="needs pip install 'surefoot[record]'")

from agents.sweep.executors import ExecutorConfig, open_executor
from agents.sweep.importing import DONE, PIECES, Imported, import_by_tasks
from agents.sweep.local import LocalExecutor
from agents.sweep.task import Executor
from envs.dataset import EpisodeDataset
from robot.bag_episodes import ImportConfig
from robot.bag_import import import_bags
from surefoot import main

ROOT = Path(__file__).parent.parent
HELP = runpy.run_path(str(Path(__file__).with_name("robot_bags.py")))
SLOW = {**HELP["RATES"], "camera": 10.0, "imu": 50.0, "odometry": 20.0}
SETTINGS = {"image": [24, 32], "longest_gap": 0.5, "stamps": "header", "robot": None}
FUNCTION = "surefoot:import_bag"


def bag(folder: Path, number: int) -> Path:
    """Each of another length, so that the later ones are ready first."""
    drive = HELP["Drive"](10.0 - 2.0 * number, size=(24, 32), phase=0.05 * number, rates=SLOW)
    written: Path = HELP["write"](folder / f"trip{number}", drive)
    return written


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bags")
    return [bag(folder, number) for number in range(3)]


@pytest.fixture(scope="module")
def alone(bags: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process imports."""
    out = tmp_path_factory.mktemp("alone") / "drives"
    import_bags(bags, out, ImportConfig((24, 32)), quiet=True)
    return out


def same(out: Path, alone: Path) -> None:
    for name in ("data.bin", "index.jsonl", "dataset.json"):
        assert (out / name).read_bytes() == (alone / name).read_bytes(), name
    assert not (out / PIECES).exists()
    names = [sorted(file.name for file in (place / "imports").glob("*.json")) for place in (out, alone)]
    assert names[0] == names[1]


def by_tasks(bags: list[Path], out: Path, executor: Executor | None = None) -> Imported:
    executor = executor or LocalExecutor(2)
    try:
        return import_by_tasks(bags, out, SETTINGS, executor, FUNCTION, quiet=True)
    finally:
        executor.close()


def test_bags_of_tasks_are_those_of_one_process_and_again_add_nothing(
    bags: list[Path], alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "drives"
    words = ["import", *map(str, bags), "--out", str(out), "--width", "32", "--height", "24", "--jobs", "2"]
    main([*words, "--json"])
    assert [one["added"] for one in json.loads(capsys.readouterr().out)] == [1, 1, 1]
    same(out, alone)
    main(words)
    assert capsys.readouterr().out.count("was imported before") == 3
    same(out, alone)


def test_a_bag_that_cannot_be_used_is_told_and_does_not_stop_the_others(
    bags: list[Path], alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise, out = tmp_path / "noise.mcap", tmp_path / "drives"
    noise.write_bytes(b"no bag at all")
    words = ["import", str(bags[0]), str(noise), *map(str, bags[1:]), "--out", str(out), "--jobs", "1"]
    with pytest.raises(SystemExit, match=r"1 of 4 bags were not imported: noise\.mcap"):
        main([*words, "--width", "32", "--height", "24"])
    said = capsys.readouterr()
    assert "noise.mcap: noise: the bag has no camera" in said.err
    assert "Traceback" not in said.err
    assert said.out.count("1 drives added") == 3
    for name in ("data.bin", "index.jsonl"):
        assert (out / name).read_bytes() == (alone / name).read_bytes()
    assert not list((out / PIECES).iterdir())  # nothing half-written of it
    with pytest.raises(FileNotFoundError, match="there is no bag"):
        by_tasks([tmp_path / "none"], out)


def test_a_driver_that_is_killed_goes_on(bags: list[Path], alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "drives"
    words = ["import", *map(str, bags), "--out", str(out), "--width", "32", "--height", "24", "--jobs", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen([sys.executable, "-m", "surefoot", *words], env=environment)
    deadline = time.monotonic() + 300
    while not list(out.glob(f"imports/{DONE}/*")):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    done = by_tasks(bags, out)
    assert not done.failed
    assert done.reports[0]["again"]  # it was not read a second time
    assert done.reports[0]["added"] == 0
    same(out, alone)


def test_a_piece_that_a_driver_left_is_taken_once(bags: list[Path], alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "drives"
    by_tasks(bags[:1], out)
    (marker,) = (out / "imports" / DONE).iterdir()
    piece = out / PIECES / marker.name
    import_bags(bags[:1], piece, ImportConfig((24, 32)), quiet=True)
    marker.unlink()  # as if it had died before the piece was added, or in the midst of that
    done = by_tasks(bags, out)
    assert [one["added"] for one in done.reports] == [0, 1, 1]
    same(out, alone)


@pytest.mark.cluster
def test_a_cluster_imports_the_same(bags: list[Path], alone: Path, tmp_path: Path) -> None:
    cluster = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "cluster_nodes.py"))["cluster"]
    with cluster(1) as nodes:
        executor = open_executor(ExecutorConfig("ray", jobs=2, address=nodes[0].address), tmp_path)
        done = by_tasks(bags, tmp_path / "drives", executor)
    assert not done.failed
    same(tmp_path / "drives", alone)
    with EpisodeDataset(tmp_path / "drives", read_only=True) as dataset:
        assert dataset.verify() == []
