"""A checkpoint gives back what it was given, bit for bit, or says what is wrong."""

from __future__ import annotations

import logging
import math
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.checkpoint import (
    CheckpointError,
    checkpoint_step,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)


def a_state() -> dict[str, Any]:
    shared = np.arange(12, dtype=np.float64).reshape(3, 4)
    return {
        "float64": shared,
        "transposed": shared.T,
        "big_endian": shared.astype(">f8"),
        "float32_nan": np.array([np.nan, np.inf, -0.0], np.float32),
        "uint8": np.arange(256, dtype=np.uint8),
        "int64": np.array([-(2**63), 2**63 - 1]),
        "uint64": np.array([2**64 - 1], np.uint64),
        "bool": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float32),
        "zero_d": np.array(2.5),
        "scalar": np.float32(1.1),
        "bfloat16": torch.tensor([1.5, -2.25], dtype=torch.bfloat16),
        "tensor_view": torch.arange(6).reshape(2, 3).T,
        "rng": np.random.default_rng(0).bit_generator.state,
        "nested": [1, (2.5, None, ["x", True, ()]), {"deep": {"inf": -math.inf, "nan": math.nan}}],
        "tenth": 0.1,
        "empty_dict": {},
        "name/with slash": {"π": "ü"},
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, (np.ndarray, np.generic)):
        native = a.dtype.newbyteorder("=")
        return (
            type(a) is type(b)
            and native == b.dtype
            and a.shape == b.shape
            and a.astype(native).tobytes() == b.tobytes()
        )
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


def test_a_nested_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 123, a_state())
    assert path.name == "step_000000123"
    assert checkpoint_step(path) == 123
    loaded = load_checkpoint(path)
    for key, value in a_state().items():
        assert same(value, loaded[key]), key


def test_a_generator_goes_on_from_its_saved_state(tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    generator.normal(size=3)
    path = save_checkpoint(tmp_path, 0, {"rng": generator.bit_generator.state})
    other = np.random.default_rng()
    other.bit_generator.state = load_checkpoint(path)["rng"]
    np.testing.assert_array_equal(generator.normal(size=5), other.normal(size=5))


def test_only_the_newest_two_are_kept_and_a_step_may_be_saved_again(tmp_path: Path) -> None:
    for step in (1, 2, 10, 10):
        save_checkpoint(tmp_path, step, {"step": step})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000000002", "step_000000010"]
    assert latest_checkpoint(tmp_path) == tmp_path / "step_000000010"


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
@pytest.mark.parametrize("harm", ["truncate", "flip", "delete"])
def test_a_damaged_checkpoint_is_refused_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, harm: str
) -> None:
    good = save_checkpoint(tmp_path, 1, {"x": np.arange(100), "y": 5})
    bad = save_checkpoint(tmp_path, 2, {"x": np.arange(100), "y": 5})
    content = (bad / name).read_bytes()
    if harm == "truncate":
        (bad / name).write_bytes(content[:-20])
    elif harm == "flip" and name == "state.json":
        (bad / name).write_bytes(content.replace(b'"y": 5', b'"y": 7'))
    elif harm == "flip":
        (bad / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        (bad / name).unlink()
    with pytest.raises(
        CheckpointError, match=r"step_000000002.*(damaged|cannot be read).*resume from an older"
    ):
        load_checkpoint(bad)
    with caplog.at_level(logging.WARNING):
        assert latest_checkpoint(tmp_path) == good
    assert "step_000000002" in caplog.text


def test_a_folder_without_checkpoints_has_no_latest(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "absent") is None


def test_what_a_kill_left_behind_is_neither_read_nor_kept(tmp_path: Path) -> None:
    (tmp_path / ".step_000000009.tmp").mkdir()
    (tmp_path / ".step_000000009.tmp" / "state.safetensors").write_bytes(b"half")
    assert latest_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, 3, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000003"]


def test_a_write_that_fails_leaves_the_older_ones_and_no_rubbish(tmp_path: Path) -> None:
    """The file-size limit stands in for a full disk: the write fails in the middle, for real."""
    save_checkpoint(tmp_path, 1, {"x": np.arange(10)})
    code = (
        "import resource, sys, numpy as np\n"
        "from agents.checkpoint import CheckpointError, save_checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n    save_checkpoint(sys.argv[1], 2, {'x': np.zeros(100_000)})\n"
        "except CheckpointError as error:\n    print(error)\n"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True
    )
    assert "could not write checkpoint" in done.stdout
    assert "older checkpoints are untouched" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000001"]
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "step_000000001")["x"], np.arange(10))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize(
    "state",
    [{"a": {"b": object()}}, {"a": {1: 2}}, {"a": {"$array": 1}}, {"a": np.array(["text"])}, {"a": {3}}],
)
def test_what_cannot_be_stored_is_named(tmp_path: Path, state: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="state/a"):
        save_checkpoint(tmp_path, 0, state)
    assert list(tmp_path.iterdir()) == []


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 0, {})
    text = (path / "state.json").read_text()
    (path / "state.json").write_text(text.replace('"format": 1', '"format": 99'))
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(path)
