"""Drives of a toy world, with every stream of the rover: a red disc ahead is hit by who does not turn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.badgr.events import EventLabels
from agents.badgr.spec import ActionLimit, ModelSpec
from envs.dataset import EpisodeDataset
from envs.episode import Episode

STEP, SAMPLES, BEAMS, FAR = 0.25, 25, 72, 12.0
HIT = 0.65
"""m from the disc's centre"""
IMAGE = (24, 32, 3)
SPEC = ModelSpec(
    image=IMAGE,
    horizon=4,
    actions=(ActionLimit("angular_velocity", -1.0, 1.0), ActionLimit("linear_velocity", 0.5, 1.25)),
    events=("collision", "bumpy"),
    lasting=("collision",),
)
GYRO, ACCELERATION = "imu_angular_velocity", "imu_linear_acceleration"


def quiet_drive(steps: int = 20, speed: float = 0.8) -> Episode:
    """Straight on over smooth ground, nothing near."""
    frames = steps + 1
    way = np.arange(frames) * STEP * speed
    observations = {
        "image": np.zeros((frames, *IMAGE), np.uint8),
        GYRO: np.zeros((frames, SAMPLES, 3), np.float32),
        ACCELERATION: np.tile(np.float32([0, 0, 9.81]), (frames, SAMPLES, 1)),
        "lidar": np.full((frames, BEAMS), FAR, np.float32),
        "odometry": np.stack([way, 0 * way, 0 * way], 1),
        "odometry_velocity": np.tile([speed, 0.0], (frames, 1)),
        "gps_velocity": np.tile([0.0, speed], (frames, 1)),  # it drives north
    }
    return Episode(
        observations,
        np.tile(np.float32([0, speed]), (steps, 1)),
        np.zeros(steps, np.float32),
        np.arange(frames) * STEP,
        truncated=True,
    )


def changed(episode: Episode, *, info: dict[str, Any] | None = None, **streams: Any) -> Episode:
    """The same drive with some streams in place of its own; None takes one away."""
    observations = {k: v for k, v in {**episode.observations, **streams}.items() if v is not None}
    return replace(episode, observations=observations, info=info or dict(episode.info))


def stream(episode: Episode, name: str) -> np.ndarray:
    """A copy that may be changed."""
    return np.array(episode.observations[name])


def plain_labels(steps: int, events: dict[str, list[int]] | None = None, speed: float = 0.8) -> EventLabels:
    """Everything known, straight on at `speed`; events: the steps in which each happens."""
    happened = {name: np.zeros(steps, bool) for name in ("collision", "bumpy", "stuck")}
    for name, at in (events or {}).items():
        happened[name][at] = True
    pose = np.zeros((steps + 1, 3))
    pose[:, 0] = np.arange(steps + 1) * STEP * speed
    sure = {name: np.ones(steps, bool) for name in happened}
    return EventLabels(happened, sure, pose, np.ones(steps, bool), np.ones(steps, bool))


def toy_drive(seed: int, steps: int = 10) -> Episode:
    """One trip: ends with a collision, or after `steps`. Half have a disc ahead; half go over rough ground,
    which is green."""
    rng = np.random.default_rng(seed)
    rough = bool(rng.random() < 0.5)
    disc = np.array([rng.uniform(0.7, 1.5), rng.uniform(-0.4, 0.4)]) if rng.random() < 0.6 else None
    pose, frames, actions, hit = np.zeros(3), [], [], False
    turning = rng.choice([-1.0, 0.0, 1.0])
    while True:
        frames.append(_toy_frame(pose, disc, rough, rng))
        if hit or len(actions) == steps:
            break
        turn, speed = np.clip(turning + 0.3 * rng.standard_normal(), -1, 1), rng.uniform(0.7, 1.0)
        actions.append((turn, speed))
        heading = pose[2] + turn * STEP / 2
        pose = pose + np.array([speed * np.cos(heading), speed * np.sin(heading), turn]) * [STEP, STEP, STEP]
        hit = disc is not None and bool(np.linalg.norm(disc - pose[:2]) < HIT)
    done = np.array(actions, np.float32)
    observations = {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}
    observations["odometry_velocity"] = np.concatenate([[[0.0, 0.0]], done[:, ::-1]])
    if hit:
        observations["odometry_velocity"][-1, 0] *= 0.5
    observations["gps_velocity"] = observations["odometry_velocity"].copy()  # of which only the size counts
    observations["gps_velocity"][:, 1] = 0.0
    observations[GYRO][1:, :, 2] = done[:, None, 0]
    times = np.arange(len(frames)) * STEP
    truth = {"collision": np.zeros(len(done), bool), "bumpy": np.full(len(done), rough)}
    truth["collision"][-1] = hit
    return Episode(observations, done, np.zeros(len(done), np.float32), times, hit, not hit, truth)


def _toy_frame(
    pose: np.ndarray, disc: np.ndarray | None, rough: bool, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    image = np.full(IMAGE, 90, np.uint8)
    image[12:] = (40, 160, 40) if rough else (120, 120, 120)
    lidar = np.full(BEAMS, FAR, np.float32)
    if disc is not None:
        away = disc - pose[:2]
        distance = float(np.linalg.norm(away))
        bearing = (np.arctan2(away[1], away[0]) - pose[2] + np.pi) % (2 * np.pi) - np.pi
        if abs(bearing) < 1.0:
            column, half = 16 - 16 * bearing, 3.5 / max(distance, 0.3)
            near, high = np.abs(np.arange(32) - column) < half, int(10 / max(distance, 0.4))
            image[max(14 - high, 0) : 14, near] = (220, 30, 30)
        beams = (np.arange(-2, 3) + round(bearing / (2 * np.pi) * BEAMS)) % BEAMS
        lidar[beams] = distance - 0.3 if distance >= HIT else 0.14
    shaking = rng.standard_normal((SAMPLES, 3)) * (0.6 if rough else 0.05)
    shaking[:, 2] = 0
    return {
        "image": np.clip(image + rng.integers(-8, 9, IMAGE), 0, 255).astype(np.uint8),
        GYRO: shaking.astype(np.float32),
        ACCELERATION: np.tile(np.float32([0, 0, 9.81]), (SAMPLES, 1)),
        "lidar": lidar,
        "odometry": pose.copy(),
    }


def record_toy(folder: Path, count: int, first_seed: int = 0) -> Path:
    """A dataset of toy drives."""
    with EpisodeDataset(folder, durable=False) as dataset:
        for seed in range(first_seed, first_seed + count):
            dataset.append(toy_drive(seed))
    return folder
