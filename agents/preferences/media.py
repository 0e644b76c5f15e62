"""What people look at: a policy at work, and the clips that were compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from agents.preferences.comparison import Comparison
from agents.runs import write_json
from envs.batch import Array
from envs.catalog import make_vec
from envs.dataset import EpisodeDataset
from envs.episode import Episode
from envs.rendering import frames_from_observations, render_physics
from envs.tasks import task_info
from envs.video import label_frames, side_by_side, write_video

SIZE = 256


def clip_frames(env: str, clip: Episode, size: int = SIZE) -> Array:
    """The T + 1 frames of a clip, (T+1, size, size, 3) uint8: from simulator states, or from its pixels.

    Raises RuntimeError where states cannot be drawn for want of a GL library.
    """
    if "physics" in clip.info:
        return render_physics(env, clip.info["physics"], size, size)
    return frames_from_observations(clip.observations["observation"], size, size)


def policy_frames(
    env: str, predict: Callable[[Array], Array], steps: int, seed: int, size: int = SIZE
) -> Array:
    """Frames of one copy under a policy, (steps, size, size, 3) uint8."""
    copy = make_vec(env, 1, seed, preferences=True)
    try:
        observations = copy.reset(seed)
        states = []
        for _ in range(steps):
            physics = copy.physics()
            states.append(observations[0] if physics is None else physics[0].copy())
            observations = copy.step(predict(observations)).observations
        drawn_from_state = copy.physics() is not None
    finally:
        copy.close()
    stacked = np.stack(states)
    return (
        render_physics(env, stacked, size, size)
        if drawn_from_state
        else frames_from_observations(stacked, size, size)
    )


def write_policy_video(
    env: str,
    predict: Callable[[Array], Array],
    path: Path,
    *,
    seed: int,
    seconds: float = 8.0,
    size: int = 320,
) -> Path:
    """An MP4 of a policy for `seconds` of viewing time, at the task's viewing speed."""
    task = task_info(env)
    steps = min(max(1, round(seconds * task.display_fps)), task.episode_steps or 10**9)
    write_video(path, policy_frames(env, predict, steps, seed, size), task.display_fps)
    return path


def write_clip_videos(
    folder: Path, env: str, dataset: EpisodeDataset, comparisons: Sequence[Comparison], count: int = 4
) -> list[Path]:
    """Videos of up to `count` compared pairs, spread over the run, and clips.json that describes them."""
    decided = [comparison for comparison in comparisons if comparison.answer != "skip"]
    chosen = (
        [decided[i] for i in np.unique(np.linspace(0, len(decided) - 1, count).round().astype(int))]
        if decided
        else []
    )
    task, rows, paths = task_info(env), [], []
    for comparison in chosen:
        left, right = dataset[comparison.left], dataset[comparison.right]
        frames = side_by_side(
            label_frames(clip_frames(env, left), "left"), label_frames(clip_frames(env, right), "right")
        )
        path = folder / f"pair_{comparison.query.index:05d}.mp4"
        write_video(path, frames, task.display_fps)
        paths.append(path)
        rows.append(
            {
                "file": path.name,
                "answer": comparison.answer,
                "true_left": float(left.info["true_reward"].sum()),
                "true_right": float(right.info["true_reward"].sum()),
                "chosen_by": comparison.query.chosen_by,
                "step": comparison.query.step,
            }
        )
    if rows:
        write_json(folder / "clips.json", rows)
    return paths
