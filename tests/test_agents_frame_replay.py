"""Frames stored once: what is sampled is what the environment showed."""

from collections import Counter

import numpy as np
import pytest

from agents.frame_replay import (
    FrameReplay,
    expected_bytes,
    pack_clip,
    stack_frames,
    unpack_clip,
)
from envs.batch import BatchStep

STACK = 4


class NumberedCopies:
    """N copies whose every frame is another number, with episodes of many lengths.

    Frame (copy, count) is filled with two bytes that name it. The first observation of an episode is padded
    by repetition in even copies, by zeros in odd ones.
    """

    def __init__(self, num_envs: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.num_envs = num_envs
        self.count = np.zeros(num_envs, int)
        self.left = np.zeros(num_envs, int)
        self.observations = np.zeros((num_envs, STACK, 2, 2), np.uint8)

    def frame(self, copy: int) -> np.ndarray:
        self.count[copy] += 1
        return np.array([[copy, self.count[copy] // 256], [self.count[copy] % 256, 1]], np.uint8)

    def begin(self, copy: int) -> None:
        self.left[copy] = self.rng.integers(1, 12)
        frame = self.frame(copy)
        self.observations[copy] = 0 if copy % 2 else frame
        self.observations[copy, -1] = frame

    def reset(self) -> np.ndarray:
        for copy in range(self.num_envs):
            self.begin(copy)
        return self.observations.copy()

    def step(self) -> BatchStep:
        for copy in range(self.num_envs):
            self.observations[copy] = np.concatenate([self.observations[copy, 1:], self.frame(copy)[None]])
        self.left -= 1
        ended = self.left == 0
        terminated = ended & (self.rng.random(self.num_envs) < 0.5)
        final = self.observations.copy()
        for copy in np.flatnonzero(ended):
            self.begin(copy)
        rewards = final[:, -1, 1, 0].astype(np.float32)
        return BatchStep(self.observations.copy(), rewards, terminated, ended & ~terminated, final)


def fill(replay: FrameReplay, env: NumberedCopies, steps: int) -> list[dict]:
    """Steps the copies; returns, for each, what a replay that stores everything twice would hold."""
    observations = env.reset()
    replay.reset(observations)
    everything = []
    for number in range(steps):
        actions = np.arange(env.num_envs) + 100 * number
        step = env.step()
        replay.add(actions, step)
        following = np.where(step.ended[:, None, None, None], step.final_observations, step.observations)
        everything += [
            {
                "observation": observations[copy].tobytes(),
                "action": int(actions[copy]),
                "reward": float(step.rewards[copy]),
                "next": following[copy].tobytes(),
                "done": bool(step.terminated[copy]),
            }
            for copy in range(env.num_envs)
        ]
        observations = step.observations
    return everything


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize(("num_envs", "steps"), [(1, 30), (1, 500), (3, 17), (3, 400)])
def test_every_sample_is_a_step_that_happened_at_boundaries_and_wraps(tmp_path, num_envs, steps, in_file):
    replay = FrameReplay(
        60 * num_envs, num_envs, (STACK, 2, 2), path=tmp_path / "frames" if in_file else None
    )
    happened = {one["action"]: one for one in fill(replay, NumberedCopies(num_envs), steps)}
    batch = replay.sample(3000, np.random.default_rng(1))
    seen = set()
    for index in range(3000):
        expected = happened[int(batch.actions[index])]
        assert batch.observations[index].tobytes() == expected["observation"]
        assert batch.next_observations[index].tobytes() == expected["next"]
        assert batch.rewards[index] == expected["reward"]
        assert batch.dones[index] == expected["done"]
        seen.add(expected["action"])
    assert len(seen) == len(replay)  # all that is stored is reached
    assert len(replay) == len(happened) or len(replay) >= 60 * num_envs // 3
    oldest = min(seen) // 100
    assert max(seen) // 100 == steps - 1  # the newest steps are there
    assert oldest == 0 or oldest >= steps - 60


def test_the_draw_is_uniform():
    replay = FrameReplay(50, 1, (STACK, 2, 2))
    fill(replay, NumberedCopies(1), 300)
    counts = Counter(replay.sample(len(replay) * 1000, np.random.default_rng(0)).actions.tolist())
    assert len(counts) == len(replay)
    assert all(abs(count - 1000) < 6 * np.sqrt(1000) for count in counts.values())


def test_the_same_generator_gives_the_same_sample_also_after_loading():
    replay, other = (FrameReplay(90, 2, (STACK, 2, 2)) for _ in range(2))
    fill(replay, NumberedCopies(2), 100)
    other.load_state_dict({name: array.copy() for name, array in replay.state_dict().items()})
    for one, two in zip(
        vars(replay.sample(64, np.random.default_rng(3))).values(),
        vars(other.sample(64, np.random.default_rng(3))).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match="the saved replay has frames"):
        FrameReplay(80, 2, (STACK, 2, 2)).load_state_dict(replay.state_dict())


def test_frames_are_stored_once():
    replay = FrameReplay(10_000, 1, (STACK, 84, 84))
    assert replay.frames.nbytes == 10_000 * 84 * 84
    stored = sum(array.nbytes for array in replay.state_dict().values())
    assert stored == pytest.approx(expected_bytes(10_000), rel=1e-4)


def test_bad_input_is_refused():
    replay = FrameReplay(60, 2, (STACK, 2, 2))
    env = NumberedCopies(2)
    with pytest.raises(RuntimeError, match="call reset"):
        replay.add(np.zeros(2), env.step())
    with pytest.raises(
        ValueError, match=r"expected observations \(2, 4, 2, 2\) uint8, got \(2, 4, 2, 2\) float64"
    ):
        replay.reset(np.zeros((2, STACK, 2, 2)))
    replay.reset(env.reset())
    with pytest.raises(ValueError, match="no step to sample"):
        replay.sample(1, np.random.default_rng(0))
    env.step()
    with pytest.raises(ValueError, match="does not continue"):
        replay.add(np.zeros(2), env.step())
    with pytest.raises(ValueError, match="capacity 11 is too small"):
        FrameReplay(11, 2, (STACK, 2, 2))


def test_what_cannot_fit_is_said_before_it_is_filled(tmp_path):
    with pytest.raises(MemoryError, match=r"GiB are available: lower the capacity, or give path="):
        FrameReplay(10**9, 1, (STACK, 84, 84))
    with pytest.raises(OSError, match=r"GiB are free on the disk of"):
        FrameReplay(10**10, 1, (STACK, 84, 84), path=tmp_path / "frames")
    assert not list(tmp_path.iterdir())


def test_a_clip_of_stacks_is_a_few_more_single_frames():
    frames = np.random.default_rng(0).integers(0, 256, (28, 84, 84), dtype=np.uint8)
    stacked = stack_frames(frames, 4)
    assert stacked.shape == (25, 4, 84, 84)
    assert np.shares_memory(stacked, frames)
    np.testing.assert_array_equal(stacked[7], frames[7:11])
    packed = pack_clip(np.array(stacked))
    np.testing.assert_array_equal(packed, frames)
    np.testing.assert_array_equal(unpack_clip(packed, 4), stacked)
    assert not np.shares_memory(unpack_clip(packed, 4), packed)


def test_a_clip_across_a_reset_cannot_share_frames():
    env = NumberedCopies(1)
    observations = [env.reset()[0]] + [env.step().observations[0] for _ in range(30)]
    with pytest.raises(ValueError, match="not consecutive frame stacks of one episode"):
        pack_clip(np.stack(observations))
    with pytest.raises(ValueError, match="needs at least as many frames, got 3"):
        stack_frames(np.zeros((3, 2, 2)), 4)
