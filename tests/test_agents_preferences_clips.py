"""Clips cut from a stream of steps; every value says where it came from."""

import numpy as np
import pytest

from agents.preferences.clips import ClipRecorder
from envs.batch import BatchStep

COPIES = 3


class Stream:
    """A batched environment in which observation (copy, episode, t) says what it is."""

    def __init__(self, lengths: tuple[int, ...], stack: int = 0) -> None:
        self.lengths, self.stack = lengths, stack
        self.time = np.zeros(COPIES, int)
        self.episode = np.zeros(COPIES, int)

    def observe(self) -> np.ndarray:
        if self.stack:
            offsets = np.arange(1 - self.stack, 1)
            values = 100 * np.arange(COPIES)[:, None] + 20 * self.episode[:, None] + self.time[:, None]
            frames = np.maximum(values + offsets, 0).astype(np.uint8)
            return np.broadcast_to(frames[:, :, None, None], (COPIES, self.stack, 5, 5)).copy()
        return np.stack([np.arange(COPIES), self.episode, self.time], axis=1).astype(np.float32)

    def feed(self, recorder: ClipRecorder, steps: int, physics: bool = False) -> None:
        for _ in range(steps):
            observations = self.observe()
            state = 1000.0 * np.arange(COPIES)[:, None] + self.time[:, None]
            actions = (10 * self.time)[:, None].astype(np.float32)
            true_reward = (self.time + 0.5).astype(np.float32)
            self.time += 1
            final = self.observe()
            ended = np.array([self.time[i] == self.lengths[i] for i in range(COPIES)])
            self.episode[ended] += 1
            self.time[ended] = 0
            step = BatchStep(
                self.observe(),
                np.zeros(COPIES, np.float32),
                np.zeros(COPIES, bool),
                ended,
                final if ended.any() else None,
                {"true_reward": true_reward},
            )
            recorder.on_step(observations, actions, step, state if physics else None)


def test_clips_follow_one_another_within_an_episode() -> None:
    recorder = ClipRecorder(COPIES, 4, capacity=100, dt=0.5)
    Stream((10, 8, 100)).feed(recorder, 24, physics=True)
    found = []
    for clip in recorder.clips():
        observations = clip.observations["observation"]
        assert len(set(observations[:, 0])) == 1  # one copy
        assert len(set(observations[:, 1])) == 1  # one episode, the last observation included
        start = int(observations[0, 2])
        np.testing.assert_array_equal(observations[:, 2], np.arange(start, start + 5))
        np.testing.assert_array_equal(clip.actions[:, 0], 10 * np.arange(start, start + 4))
        np.testing.assert_array_equal(clip.info["true_reward"], np.arange(start, start + 4) + 0.5)
        np.testing.assert_array_equal(
            clip.info["physics"][:, 0], 1000 * observations[0, 0] + np.arange(start, start + 4)
        )
        np.testing.assert_array_equal(clip.times, [0, 0.5, 1, 1.5, 2])
        assert not clip.rewards.any()
        found.append((int(observations[0, 0]), int(observations[0, 1]), start))
    # Episodes of 10 give two clips and drop two steps, those of 8 fit exactly.
    assert sorted(found) == sorted(
        [(0, e, s) for e in (0, 1) for s in (0, 4)]
        + [(0, 2, 0)]
        + [(1, e, s) for e in (0, 1, 2) for s in (0, 4)]
        + [(2, 0, s) for s in range(0, 24, 4)]
    )


def test_the_newest_clips_are_kept_and_are_copies() -> None:
    recorder = ClipRecorder(COPIES, 4, capacity=5)
    stream = Stream((100, 100, 100))
    stream.feed(recorder, 20)
    assert (len(recorder), recorder.recorded) == (5, 15)
    before = recorder.clips()
    starts = [int(clip.observations["observation"][0, 2]) for clip in before]
    assert starts == [12, 12, 16, 16, 16]  # from old to new
    digests = [clip.digest() for clip in before]
    assert recorder.clip(4).digest() == digests[4]
    stream.feed(recorder, 20)
    assert [clip.digest() for clip in before] == digests


def test_stacked_frames_are_stored_once() -> None:
    recorder = ClipRecorder(COPIES, 4, capacity=50)
    Stream((9, 12, 12), stack=4).feed(recorder, 12)
    plain = ClipRecorder(COPIES, 4, capacity=50)
    Stream((9, 12, 12)).feed(plain, 12)
    assert recorder._pool["observations"].shape == (50, 8, 5, 5)
    for stacked, values in zip(recorder.clips(), plain.clips(), strict=True):
        copy, episode, time = values.observations["observation"].T
        expected = np.maximum((100 * copy + 20 * episode + time)[:, None] + np.arange(-3, 1), 0)
        np.testing.assert_array_equal(stacked.observations["observation"][:, :, 0, 0], expected)


@pytest.mark.parametrize("stack", [0, 4])
def test_state_goes_back_exactly_in_the_middle_of_clips(stack: int) -> None:
    first, stream = ClipRecorder(COPIES, 4, capacity=6), Stream((10, 7, 100), stack)
    stream.feed(first, 18)
    state = first.state_dict()
    second, twin = ClipRecorder(COPIES, 4, capacity=6), Stream((10, 7, 100), stack)
    twin.time, twin.episode = stream.time.copy(), stream.episode.copy()
    second.load_state_dict(state)
    stream.feed(first, 15)
    twin.feed(second, 15)
    assert [clip.digest() for clip in second.clips()] == [clip.digest() for clip in first.clips()]
    assert second.recorded == first.recorded


def test_recent_steps_come_from_the_newest_clips() -> None:
    for stack in (0, 4):
        recorder = ClipRecorder(COPIES, 4, capacity=50)
        Stream((100, 100, 100), stack).feed(recorder, 24)
        observations, actions = recorder.recent_steps(24)
        assert len(observations) == len(actions) == 24
        assert observations.shape[1:] == ((4, 5, 5) if stack else (3,))
        np.testing.assert_array_equal(np.sort(actions[:, 0]), np.repeat(np.arange(160, 240, 10), 3))
        assert len(recorder.recent_steps(10_000)[0]) == 72


def test_a_restart_drops_what_is_unfinished() -> None:
    recorder, stream = ClipRecorder(COPIES, 4, capacity=50), Stream((100, 100, 100))
    stream.feed(recorder, 6)
    recorder.restart()
    assert recorder.initial_steps == 6 * COPIES
    stream.feed(recorder, 4)
    starts = [int(clip.observations["observation"][0, 2]) for clip in recorder.clips()]
    assert starts == [0, 0, 0, 6, 6, 6]


def test_single_steps_can_be_clips() -> None:
    recorder = ClipRecorder(COPIES, 1, capacity=50)
    Stream((2, 3, 100)).feed(recorder, 6)
    assert len(recorder) == 18


def test_misuse_is_named() -> None:
    recorder, stream = ClipRecorder(COPIES, 4, capacity=5), Stream((100, 100, 100))
    with pytest.raises(ValueError, match="no clip is finished yet"):
        recorder.recent_steps(10)
    stream.feed(recorder, 8, physics=True)
    with pytest.raises(ValueError, match="physics must come with every step"):
        stream.feed(recorder, 1)
    with pytest.raises(ValueError, match="expected"):
        ClipRecorder(COPIES, 6, capacity=5).load_state_dict(recorder.state_dict())
    with pytest.raises(ValueError, match="do not fit a capacity of 3"):
        ClipRecorder(COPIES, 4, capacity=3).load_state_dict(recorder.state_dict())
    with pytest.raises(ValueError, match="at least 1"):
        ClipRecorder(COPIES, 0, 5)
