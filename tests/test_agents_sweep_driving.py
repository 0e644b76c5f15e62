"""Drives and clips made as tasks are those that the usual processes make."""

import contextlib
import runpy
from pathlib import Path

import pytest

from agents.badgr.collect import collect
from agents.badgr.collect_config import CollectConfig
from agents.badgr.collect_workers import WorkerError
from agents.preferences.labelling.types import UnavailableError
from agents.sweep.drawing import draw_clips
from agents.sweep.driving import TaskFleet, unit_task
from agents.sweep.local import LocalExecutor
from envs.dataset import EpisodeDataset

labels = runpy.run_path(str(Path(__file__).with_name("label_server.py")))

CONFIG = CollectConfig(hours=3 * 5 / 3600, rovers=1, episode_seconds=5.0, seed=3)
"""three units of a drive each"""


@pytest.mark.slow
def test_drives_of_tasks_are_those_of_worker_processes(tmp_path: Path) -> None:
    collect(CONFIG, tmp_path / "workers", 1, quiet=True)
    fleets = []

    def fleet(config: CollectConfig, count: int) -> TaskFleet:
        fleets.append(TaskFleet(config, LocalExecutor(1)))
        return fleets[-1]

    collect(CONFIG, tmp_path / "tasks", fleet=fleet, quiet=True)
    assert sum(fleets[0].nodes.values()) == 3
    for name in ("data.bin", "index.jsonl", "drives.jsonl", "summary.json"):
        assert (tmp_path / "tasks" / name).read_bytes() == (tmp_path / "workers" / name).read_bytes(), name
    with EpisodeDataset(tmp_path / "tasks", read_only=True) as dataset:
        assert len(dataset) == 3


def test_a_unit_has_a_name_of_its_own_and_a_failed_one_is_told() -> None:
    longer = CollectConfig(hours=1.0, rovers=1, episode_seconds=5.0, seed=3)
    assert unit_task(CONFIG, 1).key == unit_task(longer, 1).key
    assert unit_task(CONFIG, 1).key != unit_task(CONFIG, 2).key
    wrong = CollectConfig(policy="nowhere.model", rovers=1, episode_seconds=5.0)
    with TaskFleet(wrong, LocalExecutor(1)) as fleet, pytest.raises(WorkerError, match="unit 7 failed: "):
        list(fleet.run(iter([7])))


def test_clips_are_drawn_as_the_server_draws_them(tmp_path: Path) -> None:
    found = []
    for name in ("server", "tasks"):
        (tmp_path / name).mkdir()
        server = labels["LabelServer"](tmp_path / name, queries=0)
        with contextlib.closing(server):
            server.ask(3, draw=False)
            if name == "server":
                count = labels["draw_all"](server.store, server.storage, size=64)
            else:
                executor = LocalExecutor(1)
                arguments = (server.store, server.storage, executor, server.study)
                count = draw_clips(*arguments, size=64, idle_seconds=0)
                assert draw_clips(*arguments, size=64, idle_seconds=0) == 0  # nothing twice
                executor.close()
            assert count == 6
            found.append(server.store.media(server.study))
    assert found[0] == found[1]
    assert len(found[0]) == 6


def test_a_storage_that_stays_away_is_said_after_some_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agents.sweep.drawing.RETRIES", 1)
    server = labels["LabelServer"](tmp_path, queries=0)
    with contextlib.closing(server):
        server.ask(1, draw=False)
        (tmp_path / "media").rename(tmp_path / "unplugged")
        executor = LocalExecutor(1)
        with pytest.raises(UnavailableError, match="media"):
            draw_clips(server.store, server.storage, executor, server.study, claim_seconds=0.1)
        executor.close()
    assert "clips are not drawn for now (1 of 1)" in caplog.text
