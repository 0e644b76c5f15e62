"""A visual base: it learns to see, resumes bit for bit, and its folder is what it says."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.sidetuning.base_config import BaseNetwork, PretrainConfig
from agents.sidetuning.config import SideError
from agents.sidetuning.pretrain import Pretraining, contrastive_loss, train_base
from agents.sidetuning.visual_base import load_base, load_readouts, read_about

TINY = BaseNetwork(16, 16, (8, 8, 8), 4)


def config(**changes: Any) -> PretrainConfig:
    small: dict[str, Any] = {"network": TINY, "frames": 48, "holdout_frames": 16, "layouts": 2, "steps": 12}
    return PretrainConfig(
        **{**small, "batch_size": 8, "log_rows": 6, "evaluations": 2, "checkpoints": 4, **changes}
    )


def run(config: PretrainConfig, path: Path, **options: Any) -> dict[str, Any]:
    return train_base(config, path, quiet=True, tensorboard=False, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    path = tmp_path_factory.mktemp("bases") / "base"
    return run(config(), path), path


def test_it_learns_to_see_depth(tmp_path: Path) -> None:
    """In a hundred steps half of the error of who says the mean is gone, in rooms that it has not seen."""
    measured = run(config(frames=200, steps=150, batch_size=16, learning_rate=1e-2), tmp_path / "b")[
        "measured"
    ]
    assert measured["holdout/depth"] < 0.6 * measured["holdout/depth_mean"]
    assert measured["holdout/normals_degrees"] < 45
    assert measured["holdout/edges_auroc"] > 0.7


def test_a_resumed_base_is_the_base_that_was_never_interrupted(
    trained: tuple[dict[str, Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, whole = trained
    original = Pretraining.train

    def killed(job: Pretraining, step: int) -> dict[str, float]:
        if step == 7:
            raise KeyboardInterrupt
        return original(job, step)

    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            run(config(), tmp_path / "b")
    assert run(config(), tmp_path / "b", resume=True)["base_sha256"] == summary["base_sha256"]
    for name in ("metrics.jsonl", "base.safetensors", "decoder.safetensors"):
        assert (tmp_path / "b" / name).read_bytes() == (whole / name).read_bytes(), name


def test_the_folder_gives_back_the_base_and_what_reads_it(trained: tuple[dict[str, Any], Path]) -> None:
    summary, path = trained
    base, readouts = load_base(path), load_readouts(path)
    assert base.config == TINY
    assert sum(x.numel() for x in base.parameters()) == summary["parameters"]
    features = base(torch.rand(2, 3, 16, 16))
    assert features.shape[1:] == TINY.shape == (4, 2, 2)
    seen = readouts(features)
    assert {name: tuple(x.shape[1:]) for name, x in seen.items()} == {
        "depth": (1, 4, 4),
        "normals": (3, 4, 4),
        "edges": (1, 4, 4),
    }
    assert read_about(path)["measured"] == summary["measured"]


def test_contrastive_learning_prefers_views_of_one_picture() -> None:
    views = torch.eye(4)
    assert contrastive_loss(views, views) < 0.1 < contrastive_loss(views, views.roll(1, 0))


def test_contrastive_alone_trains_a_base_too(tmp_path: Path) -> None:
    summary = run(config(tasks=("contrastive",), steps=2), tmp_path / "b")
    assert summary["measured"] == {}
    assert load_base(tmp_path / "b").config == TINY


def test_what_is_no_base_is_refused(trained: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    with pytest.raises(SideError, match=r"there is no base in .*surefoot train base --out"):
        load_base(tmp_path)
    _, path = trained
    other = json.loads((path / "base.json").read_text())
    (tmp_path / "base.safetensors").write_bytes((path / "base.safetensors").read_bytes())
    (tmp_path / "base.json").write_text(json.dumps({**other, "format": 7}))
    with pytest.raises(SideError, match="has format 7, this version reads 1"):
        load_base(tmp_path)
    (tmp_path / "base.json").write_text(json.dumps({**other, "sha256": "0" * 64}))
    with pytest.raises(SideError, match=r"is not what base\.json says"):
        load_base(tmp_path)
    (tmp_path / "base.json").write_text(json.dumps(other))
    (tmp_path / "base.safetensors").write_bytes(b"cut")
    with pytest.raises(SideError, match="cannot be read"):
        load_base(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tasks": ()}, "tasks must be some of depth"),
        ({"tasks": ("depth", "depth")}, "each once"),
        ({"weights": {"smell": 1.0}}, "weights must be above 0 and of depth"),
        ({"frames": 0}, "counts of frames, layouts"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SideError, match=message):
        config(**wrong)
    with pytest.raises(SideError, match="multiples of 8"):
        BaseNetwork(height=20)
