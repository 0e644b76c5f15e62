"""Milliseconds from a clip's simulator states to the picture that people are sent.

    python tests/benchmarks/bench_label_media.py [--quick]

Drawing and WebP encoding of clips of 60 frames at 256 px, how many clips a renderer draws in a minute of
one processor, storing and reading blobs. A table of WebP's settings shows why sprites.py has its own.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from PIL import Image

from agents.preferences.clips import ClipRecorder
from agents.preferences.labelling.sources import write_source
from agents.preferences.labelling.sprites import SIZE, draw, encode, grid
from agents.preferences.labelling.storage import open_storage
from envs.catalog import make_vec
from envs.episode import Episode
from envs.rendering import choose_gl, frames_from_observations, render_physics

FRAMES = 60
TASKS = (
    "mujoco:Hopper",
    "mujoco:Ant",
    "mujoco:Humanoid",
    "classic:Pendulum",
    "atari:Pong",
    "pixel:MovingDot",
)
SETTINGS: tuple[dict[str, Any], ...] = (
    *({"quality": quality, "method": method} for quality in (75, 85, 90) for method in (0, 2, 4)),
    {"lossless": True, "quality": 0, "method": 0},
    {"lossless": True, "quality": 30, "method": 1},
)


def record(env: str) -> Episode:
    """A clip of 60 frames under random actions, each held for some steps."""
    copies = make_vec(env, 1, 3, preferences=True)
    copies.action_space.seed(0)
    recorder = ClipRecorder(1, FRAMES, 1)
    observations = copies.reset(3)
    while not len(recorder):
        actions = np.asarray(copies.action_space.sample())[None]
        for _ in range(5):
            physics = copies.physics()
            physics = None if physics is None else physics.copy()
            step = copies.step(actions)
            recorder.on_step(observations, actions, step, physics)
            observations = step.observations
    copies.close()
    return recorder.clip(0)


def least(work: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """CPU and wall milliseconds, the least of several."""
    times = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        times.append((1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - wall)))
    return min(cpu for cpu, _ in times), min(wall for _, wall in times)


def pictures(env: str, clip: Episode) -> np.ndarray:
    if "physics" in clip.info:
        return render_physics(env, clip.info["physics"], SIZE, SIZE)
    newest = clip.observations["observation"][:FRAMES, -1]
    factor = SIZE // newest.shape[1]
    return frames_from_observations(newest, newest.shape[1] * factor, newest.shape[2] * factor)


def loss_db(sheet: np.ndarray, content: bytes) -> float:
    """Peak signal to noise of what comes back."""
    back = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(float)
    return float(10 * np.log10(255**2 / max(1e-6, ((back - sheet) ** 2).mean())))


def show_settings(env: str, sheet: np.ndarray, repeats: int) -> None:
    print(f"\nWebP of {FRAMES} frames of {env}:   CPU ms      KiB   dB")
    for setting in SETTINGS:
        buffer = io.BytesIO()

        def save(buffer: io.BytesIO = buffer, setting: dict[str, Any] = setting) -> None:
            buffer.seek(0)
            buffer.truncate()
            Image.fromarray(sheet).save(buffer, "WEBP", **setting)

        cpu, _ = least(save, repeats)
        content = buffer.getvalue()
        text = ", ".join(f"{name} {value}" for name, value in setting.items())
        print(f"  {text:38} {cpu:7.0f} {len(content) / 1024:8.0f} {min(99, loss_db(sheet, content)):4.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    repeats = 2 if parser.parse_args().quick else 5
    backend = choose_gl()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, OpenGL by {backend}")
    print("load at the start:", " ".join(f"{load:.1f}" for load in os.getloadavg()))
    results: dict[str, float] = {}
    shown: list[tuple[str, np.ndarray]] = []
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(folder)
        print(f"\n{FRAMES} frames, {SIZE} px: CPU ms  draw  encode   all (wall)   KiB  source KiB")
        for env in TASKS:
            if env.startswith("mujoco:") and backend == "none":
                continue
            clip = record(env)
            source = write_source(storage, env, clip).source
            frames = pictures(env, clip)
            sheet, _ = grid(frames)
            flat = not env.startswith("mujoco:")
            drawing, _ = least(lambda env=env, clip=clip: pictures(env, clip), repeats)
            encoding, _ = least(lambda sheet=sheet, flat=flat: encode(sheet, flat), repeats)
            total, wall = least(lambda env=env, source=source: draw(storage, source, env), repeats)
            size = len(draw(storage, source, env)[0]) / 1024
            raw = len(storage.get(source)) / 1024
            times = f"{drawing:9.0f} {encoding:7.0f} {total:5.0f} ({wall:4.0f})"
            print(f"  {env:22} {times} {size:5.0f} {raw:11.1f}")
            name = env.partition(":")[2].lower()
            results |= {f"draw_ms_{name}": drawing, f"encode_ms_{name}": encoding, f"kib_{name}": size}
            results[f"clips_per_cpu_minute_{name}"] = 60e3 / total
            if env in ("mujoco:Hopper", "classic:Pendulum"):
                shown.append((env, sheet))
        content = os.urandom(200 * 1024)
        _, put = least(lambda: storage.put(content), 20)
        sha = storage.put(content)
        _, got = least(lambda: storage.get(sha), 20)
    for env, sheet in shown:
        show_settings(env, sheet, 1 if repeats == 2 else 3)
    print(f"\nstoring 200 KiB durably takes {put:.1f} ms, reading and checking it {got:.1f} ms")
    results |= {"put_ms": put, "get_ms": got}
    print(json.dumps({name: round(value, 2) for name, value in results.items()}))


if __name__ == "__main__":
    main()
