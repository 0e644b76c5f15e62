"""Two processes train the network that one would: the same minibatches, the same parameters."""

import dataclasses
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agents.badgr.config import BadgrConfig
from agents.badgr.ddp import Ranks, RanksError
from agents.badgr.train import train_badgr
from agents.configs import config_to_json
from agents.sweep.shards import own_shards, write_shards
from envs.dataset import EpisodeDataset

toy = runpy.run_path(str(Path(__file__).with_name("badgr_drives.py")))

TRAIN = """
import os, signal, sys
from pathlib import Path
import torch
from agents.badgr.config import BadgrConfig
from agents.badgr.ddp import join_ranks
from agents.badgr.step import Optimisation
from agents.badgr.train import train_badgr
from agents.runs import read_config
from safetensors.torch import save_file

out, finish = Path(sys.argv[1]), Optimisation.step

def step(self, batch, number):
    metrics = finish(self, batch, number)
    assert len(batch.images) == self.config.batch_size // 2
    if number + 1 == self.config.steps:  # what this process has at the end
        state = {name: values.contiguous() for name, values in self.network.state_dict().items()}
        save_file(state, out / f"rank{self.ranks.rank}.safetensors")
    killed = out / "killed"
    if "kill" in sys.argv and self.ranks.rank == 1 and number == 5 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return metrics

Optimisation.step = step
name = "run" if "whole" not in sys.argv else "whole"
train_badgr(read_config(out, BadgrConfig), out / name, resume=True, quiet=True,
            tensorboard=False)
"""


def launch(script: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "0", "--monitor-interval", "1"]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, str(script), str(out), *options],
        cwd=root, env=environment, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> BadgrConfig:
    data = str(toy["record_toy"](tmp_path_factory.mktemp("toy") / "drives", 40))
    return BadgrConfig(
        data=(data,), spec=toy["SPEC"], steps=8, batch_size=8, holdout=0.2, device="cpu", members=2,
        holdout_windows=32, evaluations=2, checkpoints=2, log_rows=4, keep="last", learning_rate=1e-3,
    )  # fmt: skip


def test_two_processes_are_as_one(settings: BadgrConfig, tmp_path: Path) -> None:
    alone = train_badgr(settings, tmp_path / "alone", quiet=True, tensorboard=False)
    (tmp_path / "config.json").write_text(json.dumps(config_to_json(settings)))
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    done = launch(script, tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    single = load_file(tmp_path / "alone" / "network.safetensors")
    for name, values in single.items():
        # Sums in another order, passed through eight steps of Adam: far below the 1e-2 that they moved.
        assert torch.allclose(values, first[name], atol=2e-4), name
    together = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert together["measured"]["loss"] == pytest.approx(alone["measured"]["loss"], abs=1e-3)
    rows = [
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("alone", "run")
    ]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    assert rows[0][0]["train/loss"] == pytest.approx(rows[1][0]["train/loss"], abs=1e-3)


@pytest.mark.slow
def test_each_process_reads_its_own_shards_and_a_killed_one_goes_on_in_order(
    settings: BadgrConfig, tmp_path: Path
) -> None:
    place, cache = tmp_path / "place", tmp_path / "cache"
    shards = write_shards(Path(settings.data[0]), str(place), 4)
    config = dataclasses.replace(
        settings, data=(), shards=str(place), cache=str(cache), keep="last", members=1
    )
    (tmp_path / "config.json").write_text(json.dumps(config_to_json(config)))
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    done = launch(script, tmp_path, "whole")
    assert done.returncode == 0, done.stderr
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    drives = [
        json.loads((tmp_path / "whole" / name).read_text()) for name in ("drives.json", "drives-1.json")
    ]
    known = [{id for side in one.values() for id in side} for one in drives]
    assert known[0].isdisjoint(known[1])
    for rank in (0, 1):  # the very episodes of its shards
        own = set[str]()
        for shard in own_shards(shards, rank, 2):
            with EpisodeDataset(cache / shard.folder, read_only=True) as dataset:
                own |= set(dataset.ids)
        assert known[rank] == own
    assert launch(script, tmp_path, "kill").returncode != 0
    assert (tmp_path / "killed").exists()
    resumed = launch(script, tmp_path, "kill")  # as a scheduler does; it is killed only once
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (
        tmp_path / "whole" / "metrics.jsonl"
    ).read_bytes()
    again = load_file(tmp_path / "rank1.safetensors")
    assert all(torch.equal(second[name], again[name]) for name in second)


def test_every_row_of_a_minibatch_has_one_process() -> None:
    parts = [Ranks(rank, 3).part(12) for rank in range(3)]
    rows = [row for part in parts for row in range(12)[part]]
    assert sorted(rows) == list(range(12))
    with pytest.raises(RanksError, match="batch_size 32 cannot be shared by 3 processes: choose a multiple"):
        Ranks(0, 3).part(32)
