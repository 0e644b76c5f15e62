"""A run folder as training leaves it, without training: for the tests of the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.video import label_frames, side_by_side, write_video

FPS = 20


def write_synthetic_run(path: Path, *, labels: int = 140, seed: int = 0, final: float = -210.0) -> Path:
    """A finished run of 140 labels that reaches 93 % of the way from -1200 to -135."""
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True)
    config = {
        "env": "classic:Pendulum",
        "labels": labels,
        "steps": 120_000,
        "seed": seed,
        "learner": {"algorithm": "ppo", "learning_rate": 1e-3, "hidden": [64, 64], "copies": 16},
        "reward": {"members": 3, "hidden": [64, 64], "error_rate": 0.1, "initial_l2": 1e-4},
        "teacher": {"kind": "mistake", "error_rate": 0.1},
        "selector": "information_gain",
        "asynchronous": False,
    }
    run = {
        "kind": "PreferenceConfig",
        "seed": seed,
        "started": "2026-11-21T03:00:00+00:00",
        "command": ["/somewhere/bin/surefoot", "train", "preferences", "--env", "classic:Pendulum"],
        "python": "3.11.2",
        "platform": "Linux-6.1-x86_64",
        "versions": {"surefoot": "0.1.0", "torch": "2.13.0+cpu", "gymnasium": "1.4.0"},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
    }
    bounds = {
        "random_return": -1213.0,
        "untrained_return": -1200.0,
        "true_reward_return": -135.0,
        "true_reward_curve": [[x, -1200 + 1065 * (1 - np.exp(-x / 2e4))] for x in range(0, 120_001, 12_000)],
    }
    summary = {
        "env": "classic:Pendulum",
        "labels": labels,
        "steps": 120_000,
        "seed": seed,
        "final_return": final,
        "score": (final + 1200) / 1065,
        "held_out_accuracy": 0.934,
        "cpu_seconds": 141.2,
        "wall_seconds": 154.7,
    }
    for name, content in {"config": config, "run": run, "bounds": bounds, "summary": summary}.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    _write_lines(path / "metrics.jsonl", _metrics(rng, labels, final))
    answers = rng.choice(["left", "right", "tie", "skip"], labels, p=[0.46, 0.44, 0.06, 0.04])
    _write_lines(path / "labels.jsonl", [{"answer": str(answer)} for answer in answers])
    _write_videos(path / "videos")
    return path


def pendulum_frames(angles: NDArray[np.float64], size: int = 128) -> NDArray[np.uint8]:
    """(T, size, size, 3) pictures of a rod at the given angles, 0 is up."""
    rows, columns = np.mgrid[0:size, 0:size]
    down, right = (rows - size / 2)[None], (columns - size / 2)[None]
    sine, cosine = np.sin(angles)[:, None, None], np.cos(angles)[:, None, None]
    along = right * sine - down * cosine
    across = np.abs(right * cosine + down * sine)
    rod = (along > -4) & (along < size * 0.4) & (across < size * 0.045)
    return np.where(rod[..., None], np.uint8([204, 77, 77]), np.uint8([255, 255, 255])).astype(np.uint8)


def _metrics(rng: np.random.Generator, labels: int, final: float) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    for index, step in enumerate(range(0, 120_001, 6_000)):
        done = step / 120_000
        given = round(labels * (0.25 + 0.75 * done**0.6))
        rows.append(
            {
                "step": step,
                "labels": given,
                "reward/train_loss": 0.25 + 0.44 * np.exp(-4 * done) + rng.normal(0, 0.01),
                "reward/validation_loss": 0.34 + 0.35 * np.exp(-4 * done) + rng.normal(0, 0.02),
                "reward/validation_accuracy": 0.86 - 0.2 * np.exp(-4 * done) + rng.normal(0, 0.02),
                "reward/held_out_accuracy": 0.94 - 0.25 * np.exp(-4 * done) + rng.normal(0, 0.01),
                "reward/true_correlation": 0.95 - 0.4 * np.exp(-5 * done),
                "policy/entropy": 1.4 - done,
                "steps_per_second": 3000 + rng.normal(0, 150),
            }
        )
        if index % 2 == 0:
            middle = final - (final + 1200) * np.exp(-4 * done)
            spread = 40 + 200 * np.exp(-4 * done)
            rows.append(
                {
                    "step": step,
                    "true_return": middle,
                    "true_return_low": middle - spread,
                    "true_return_high": middle + spread,
                }
            )
    return rows


def _write_videos(folder: Path) -> None:
    times = np.arange(40) / FPS
    write_video(folder / "before.mp4", pendulum_frames(np.pi + np.sin(3 * times)), FPS)
    write_video(folder / "after.mp4", pendulum_frames(np.pi * np.exp(-2 * times)), FPS)
    rows = []
    for index, answer in enumerate(("left", "right", "tie")):
        left, right = (pendulum_frames(np.pi * np.exp(-rate * times)) for rate in (2 - index, index))
        frames = side_by_side(label_frames(left, "left"), label_frames(right, "right"))
        write_video(folder / "clips" / f"pair_{index:05d}.mp4", frames, FPS)
        row = {"file": f"pair_{index:05d}.mp4", "answer": answer, "chosen_by": "information_gain"}
        rows.append({**row, "true_left": -40.0 - 60 * index, "true_right": -160.0 + 25 * index})
    (folder / "clips" / "clips.json").write_text(json.dumps(rows))


def _write_lines(path: Path, rows: list[dict[str, float]] | list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
