"""Memory of Atari clips and of a replay: every frame once, against stacks as they come and against SB3.

Each figure is the growth of a fresh process's resident memory while real arrays are filled, so pages that
were only promised do not count. What is too large for a laptop is measured smaller and scaled: the table
says which. Ratios are ours / theirs: below 1 is less memory.

    python tests/benchmarks/bench_memory.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents.frame_replay import FrameReplay, expected_bytes, pack_clip, unpack_clip
from envs.batch import BatchStep

STACK, FRAME, CLIP_STEPS, EPISODE = 4, (84, 84), 25, 1000
CLIPS, REPLAY_FRAMES = 10_000, 1_000_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_bytes() -> int:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def stacked_observations(rng: np.random.Generator, steps: int) -> np.ndarray:
    """(steps, 4, 84, 84) uint8 as an environment gives them: noise, so that nothing could compress it."""
    frames = rng.integers(0, 256, (steps + STACK - 1, *FRAME), np.uint8)
    return np.stack([frames[i : i + STACK] for i in range(steps)])


def fill_clips(kind: str, count: int) -> dict[str, float]:
    """Keeps `count` clips, as single frames ("ours") or as the stacks come ("stacked")."""
    rng = np.random.default_rng(0)
    stacked_observations(rng, CLIP_STEPS)  # what NumPy itself takes on first use is no clip
    clips, before = [], resident_bytes()
    for _ in range(count):
        stacked = stacked_observations(rng, CLIP_STEPS)
        clips.append(pack_clip(stacked) if kind == "ours" else stacked)
    bytes_taken = resident_bytes() - before
    if kind == "ours":
        np.testing.assert_array_equal(unpack_clip(clips[-1], STACK), stacked)
    seconds = []
    for index in rng.integers(count, size=256):
        start = time.perf_counter()
        unpack_clip(clips[index], STACK) if kind == "ours" else clips[index].copy()
        seconds.append(time.perf_counter() - start)
    return {"bytes": bytes_taken, "read_us": float(np.median(seconds)) * 1e6}


def fill_replay(kind: str, count: int) -> dict[str, float]:
    """Fills a replay of `count` steps with one copy of an environment, episodes of 1 000 steps."""
    rng = np.random.default_rng(0)
    observations = stacked_observations(rng, EPISODE + 1)
    if kind == "ours":
        # The same number of usable steps: an episode takes the frames of its first stack more.
        capacity = count + (count // EPISODE + 1) * STACK
        before = resident_bytes()
        replay = FrameReplay(capacity, 1, (STACK, *FRAME))
        replay.reset(observations[:1])
        nothing = np.zeros(1, bool)
        for step in range(count):
            at, ends = step % EPISODE, np.array([step % EPISODE == EPISODE - 1])
            following, final = observations[at + 1 : at + 2], observations[EPISODE:]
            first = observations[:1] if ends[0] else following
            replay.add(np.zeros(1, np.int64), BatchStep(first, np.ones(1), nothing, ends, final))
        assert len(replay) == count
    else:
        replay, before = _sb3_replay(kind, count)
        for step in range(count):
            at = step % EPISODE
            replay.add(
                observations[at : at + 1],
                observations[at + 1 : at + 2],
                np.zeros(1),
                np.ones(1),
                np.array([at == EPISODE - 1]),
                [{}],
            )
    bytes_taken = resident_bytes() - before
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        replay.sample(32, rng) if kind == "ours" else replay.sample(32)
        seconds.append(time.perf_counter() - start)
    return {"bytes": bytes_taken, "read_us": float(np.median(seconds)) * 1e6}


def _sb3_replay(kind: str, count: int):
    import torch
    from gymnasium import spaces
    from stable_baselines3.common.buffers import ReplayBuffer

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "This system does not have apparently enough memory")
    space = spaces.Box(0, 255, (STACK, *FRAME), np.uint8)
    options = (
        {"optimize_memory_usage": True, "handle_timeout_termination": False}
        if kind == "sb3_optimized"
        else {}
    )
    before = resident_bytes()
    return ReplayBuffer(count, space, spaces.Discrete(6), "cpu", n_envs=1, **options), before


def measure(what: str, kind: str, count: int) -> dict[str, float]:
    """In a process of its own: memory that was freed before would hide what is taken now."""
    command = [sys.executable, __file__, "--fill", what, "--kind", kind, "--count", str(count)]
    return json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    )


def table(
    title: str, unit: str, target: int, rows: list[tuple[str, str, int]], what: str
) -> dict[str, float]:
    """Measures and prints; returns bytes per clip or step of each kind."""
    print(f"\n{title}\n{'':40}{'measured':>24}{'per ' + unit:>14}{f'{target:,} {unit}s':>20}{'read':>12}")
    per_item = {}
    for name, kind, count in rows:
        result = measure(what, kind, count)
        per_item[kind] = result["bytes"] / count
        measured = f"{result['bytes'] / 1e6:,.0f} MB of {count:,}"
        total = f"{per_item[kind] * target / 1e9:.2f} GB " + ("measured" if count == target else "scaled  ")
        print(
            f"{name:40}{measured:>24}{per_item[kind]:>12,.0f} B{total:>20}{result['read_us']:>9,.0f} us",
            flush=True,
        )
    return per_item


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a twentieth of the clips, 10 000 replay steps")
    parser.add_argument("--fill", choices=["clips", "replay"], help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fill:
        fill = fill_clips if arguments.fill == "clips" else fill_replay
        print(json.dumps(fill(arguments.kind, arguments.count)))
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"
    )
    print(f"NumPy {np.__version__}; resident memory of a process each")
    print("read: median time of 1 clip, or of 32 steps of a replay")
    # The stacked clips would take 7 GB: a fifth of them shows the same.
    ours, theirs = (500, 500) if arguments.quick else (CLIPS, CLIPS // 5)
    clips = table(
        f"Clips of {CLIP_STEPS} steps, {STACK}x84x84 uint8",
        "clip",
        CLIPS,
        [
            ("single frames, stacked on reading (ours)", "ours", ours),
            ("stacks as they come", "stacked", theirs),
        ],
        "clips",
    )
    whole = free_bytes() > 1.5 * expected_bytes(REPLAY_FRAMES)
    ours, theirs = (10_000, 10_000) if arguments.quick else (REPLAY_FRAMES if whole else 200_000, 50_000)
    replay = table(
        f"Replay, {STACK}x84x84 uint8, episodes of {EPISODE} steps",
        "step",
        REPLAY_FRAMES,
        [
            ("FrameReplay (ours)", "ours", ours),
            ("SB3, optimize_memory_usage=True", "sb3_optimized", theirs),
            ("SB3, optimize_memory_usage=False", "sb3", theirs),
        ],
        "replay",
    )
    print(f"\nexpected_bytes({REPLAY_FRAMES:,}) said before: {expected_bytes(REPLAY_FRAMES) / 1e9:.2f} GB")
    results = {
        "clip_ratio_to_stacked": clips["ours"] / clips["stacked"],
        "replay_ratio_to_sb3": replay["ours"] / replay["sb3_optimized"],
        "replay_ratio_to_sb3_default": replay["ours"] / replay["sb3"],
        "clips_10000_gb": clips["ours"] * CLIPS / 1e9,
        "replay_1m_gb": replay["ours"] * REPLAY_FRAMES / 1e9,
    }
    print("ratios are ours / theirs, so less than 1 is less memory")
    print(json.dumps({name: round(value, 4) for name, value in results.items()}))


if __name__ == "__main__":
    main()
