"""Gathering experience: whatever is killed, and however many work, the same drives come together."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("numba")

from agents.badgr.collect import CollectError, collect, read_drives
from agents.badgr.collect_config import LABELS, CollectConfig
from agents.badgr.collect_drive import Fleet
from agents.badgr.collect_workers import Driven, WorkerError, Workers
from agents.badgr.config import BadgrConfig
from agents.badgr.experience import load_experience
from agents.badgr.spec import ModelSpec
from envs.dataset import EpisodeDataset

ROOT = Path(__file__).parent.parent
SMALL = CollectConfig("indoor", hours=3 * 3 * 6 / 3600, episode_seconds=6, rovers=3, seed=5)
"""Three units of three rovers, 24 decisions each"""


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of SMALL's drives."""
    out = tmp_path_factory.mktemp("drives") / "indoor"
    collect(SMALL, out, workers=1, quiet=True)
    return out


def ids(out: Path) -> set[str]:
    with EpisodeDataset(out, read_only=True, check=True) as dataset:
        assert dataset.verify() == []
        return set(dataset.ids)


def test_the_drives_hold_sensors_manoeuvres_and_the_truth(gathered: Path) -> None:
    with EpisodeDataset(gathered, read_only=True) as dataset:
        drives = [dataset[id] for id in dataset.ids]
    assert sum(len(drive) for drive in drives) == 3 * 3 * 24
    for drive in drives:
        assert {"image", "lidar", "imu_angular_velocity", "odometry", "gps_velocity"} <= set(
            drive.observations
        )
        assert drive.actions.shape == (len(drive), 2)
        assert {"resetting", "collision", "bumpy", "stuck", "position"} <= set(drive.info)
        driven = ~drive.info["resetting"]
        assert (drive.actions[driven, 1] >= 0.75).all()
        assert (drive.actions[~driven, 1] <= 0).all()
        speed = np.linalg.norm(np.diff(drive.info["position"], axis=0), axis=1) / 0.25
        assert speed.max() < 1.6
        np.testing.assert_array_equal(np.diff(drive.times), 0.25)


def test_the_summary_counts_what_was_driven(gathered: Path) -> None:
    summary = json.loads((gathered / "summary.json").read_text())
    with EpisodeDataset(gathered, read_only=True) as dataset:
        drives = [dataset[id] for id in dataset.ids]
    resetting = np.concatenate([drive.info["resetting"] for drive in drives])
    collision = np.concatenate([drive.info["collision"] for drive in drives])
    assert summary["steps"] == len(resetting) == 216
    assert summary["hours"] == pytest.approx(216 / 14400, abs=1e-3)
    assert summary["drives"] == len(drives)
    assert summary["worlds"] == 9  # every rover in another
    assert summary["share_resetting"] == pytest.approx(resetting.mean(), abs=1e-4)
    assert summary["truth_share"]["collision"] == pytest.approx(collision[~resetting].mean(), abs=1e-4)
    assert summary["bytes"] == (gathered / "data.bin").stat().st_size
    listed = {one["id"] for drives in read_drives(gathered).values() for one in drives}
    assert listed == ids(gathered)


def test_a_unit_follows_from_its_number_alone(gathered: Path) -> None:
    """Whatever was driven before, and however many processes there are."""
    fleet = Fleet(SMALL)
    order = [2, 0]
    found = {unit: [drive.episode.digest() for drive in fleet.drives(unit)] for unit in order}
    fleet.close()
    for unit, expected in read_drives(gathered).items():
        if unit in found:
            assert found[unit] == [one["id"] for one in expected]
    other = Fleet(dataclasses.replace(SMALL, seed=6))
    first = next(other.drives(2)).episode.digest()
    other.close()
    assert first not in ids(gathered)


def test_killed_twice_and_gone_on_with_it_is_the_same_and_nothing_is_doubled(
    gathered: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    command = [
        *(sys.executable, str(ROOT / "surefoot.py"), "collect", "--world", "indoor", "--seed", "5"),
        *("--hours", str(SMALL.hours), "--out", str(out)),
        *("--set", "episode_seconds=6", "--set", "rovers=3"),
    ]
    kept = 0
    for wanted in (1, 4):
        process = subprocess.Popen(
            [*command, "--workers", "1"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        for _ in growing(out / "index.jsonl", process):
            if lines(out / "index.jsonl") >= wanted:
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert lines(out / "index.jsonl") >= max(kept, wanted)
        kept = lines(out / "index.jsonl")
    with (out / "drives.jsonl").open("ab") as journal:
        journal.write(b'{"unit": 1, "dri')  # a line that a kill tore
    done = subprocess.run(
        [*command, "--workers", "2"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    assert ids(out) == ids(gathered)
    with EpisodeDataset(out, read_only=True) as dataset:
        assert len(dataset) == len(ids(gathered))
    assert sorted(read_drives(out)) == [0, 1, 2]
    told, straight = json.loads(done.stdout), json.loads((gathered / "summary.json").read_text())
    del told["seconds"]
    same = {name: value for name, value in straight.items() if not name.startswith("bytes")}
    assert {name: value for name, value in told.items() if not name.startswith("bytes")} == same


def growing(file: Path, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """As long as the process runs."""
    while process.poll() is None:
        yield
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    assert process.stderr is not None
    # It may have ended by itself on a fast machine: that is no failure of what is tested.
    assert process.returncode == 0, process.stderr.read().decode()


def lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_more_hours_add_to_what_there_is(gathered: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, hours=SMALL.hours / 3)
    collect(config, tmp_path, workers=1, quiet=True)
    before = ids(tmp_path)
    assert before < ids(gathered)
    stamp = (tmp_path / "data.bin").stat().st_size
    collect(config, tmp_path, workers=1, quiet=True)
    assert (tmp_path / "data.bin").stat().st_size == stamp
    summary = collect(dataclasses.replace(SMALL, hours=SMALL.hours * 2 / 3), tmp_path, quiet=True)
    assert before < ids(tmp_path) < ids(gathered)
    assert summary["drives"] == len(ids(tmp_path))


def test_other_settings_do_not_mix(gathered: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(SMALL, seed=9, walk=dataclasses.replace(SMALL.walk, slowest=0.5))
    with pytest.raises(
        CollectError, match=r"was gathered with seed 5, walk .*give the same settings, or another --out"
    ):
        collect(other, gathered, quiet=True)
    with (
        EpisodeDataset(tmp_path / "others", durable=False) as dataset,
        EpisodeDataset(gathered, read_only=True) as source,
    ):
        dataset.append(source[source.ids[0]])
    with pytest.raises(CollectError, match="holds drives of another origin"):
        collect(SMALL, tmp_path / "others", quiet=True)


def test_what_was_gathered_can_be_learned_from(gathered: Path) -> None:
    spec = ModelSpec(events=("collision",), lasting=("collision",))  # floors are smooth, and nobody is stuck
    config = BadgrConfig(data=(str(gathered),), labels=LABELS["indoor"], spec=spec)
    found = load_experience(config)
    assert len(found.training) + len(found.holdout) > 50
    assert found.training.share("collision") > 0
    assert found.training.dropped["reset"] + found.holdout.dropped["reset"] > 0
    assert found.training.dropped["action outside limits"] == 0


def test_a_killed_worker_is_told_of_and_its_drives_are_kept() -> None:
    with Workers(SMALL, 1) as workers:
        (process,) = workers.processes
        said = workers.run(iter(range(3)))
        assert isinstance(next(one for one in said if one is not None), Driven)
        os.kill(process, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"exit code -9 .*run the same command again"):
            list(said)


def test_a_policy_that_there_is_not_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no policy 'nobody'"):
        collect(dataclasses.replace(SMALL, policy="nobody"), tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hours": 0.0}, "hours must be finite and above 0"),
        ({"hours": float("nan")}, "hours must be finite and above 0"),
        ({"world": "moon"}, "the worlds are urban, off-road, indoor, got 'moon'"),
        ({"rovers": 0}, "rovers must be at least 1"),
        ({"episode_seconds": 1.0}, "episode_seconds must be 5 to 3600"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CollectConfig(**wrong)  # type: ignore[arg-type]  # wrong on purpose
