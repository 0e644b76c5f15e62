"""The training set of comparisons."""

import numpy as np
import pytest

from agents.preferences.comparison import Answer, Comparison, Query
from agents.preferences.data import ComparisonSet, frame_stacks, single_frames
from envs.episode import Clip, Episode


def numbered(first: int, steps: int = 3) -> Episode:
    """A clip whose observation t is (first + t, -(first + t)) and whose action is 100 * first + t."""
    values = first + np.arange(steps + 1, dtype=np.float32)
    return Episode(
        {"observation": np.stack([values, -values], axis=1)},
        (100 * first + np.arange(steps, dtype=np.float32))[:, None],
        np.zeros(steps),
        np.arange(steps + 1.0),
    )


def compare(index: int, answer: Answer = "left") -> Comparison:
    return Comparison(Query(index, Clip(f"{index} left", 0, 3), Clip(f"{index} right", 0, 3)), answer)


def test_clips_are_copied_in_order() -> None:
    data = ComparisonSet()
    left, right = numbered(1), numbered(7)
    assert data.add(compare(0), left, right)
    left.observations["observation"][:] = 0  # the set owns its memory
    np.testing.assert_array_equal(data.observations[0, :, :, 0], [[1, 2, 3], [7, 8, 9]])
    np.testing.assert_array_equal(data.actions[0, 1, :, 0], [700, 701, 702])
    assert not np.shares_memory(data.observations, right.observations["observation"])


def test_targets_follow_the_answers_and_skips_are_left_out() -> None:
    data = ComparisonSet()
    answers: tuple[Answer, ...] = ("left", "skip", "right", "tie")
    stored = [data.add(compare(i, answer), numbered(i), numbered(9)) for i, answer in enumerate(answers)]
    assert stored == [True, False, True, True]
    np.testing.assert_array_equal(data.targets, [1, 0, 0.5])
    assert (len(data), data.skipped) == (3, 1)


def test_it_grows_and_a_ring_keeps_the_last() -> None:
    everything, ring = ComparisonSet(), ComparisonSet(keep_last=70)
    for i in range(150):
        for data in (everything, ring):
            data.add(compare(i), numbered(i), numbered(i + 1000))
    np.testing.assert_array_equal(everything.observations[:, 0, 0, 0], np.arange(150))
    np.testing.assert_array_equal(np.sort(ring.observations[:, 0, 0, 0]), np.arange(80, 150))
    np.testing.assert_array_equal(ring.labels, ring.observations[:, 0, 0, 0])
    assert len(ring._arrays["targets"]) == 70


def test_state_goes_back_exactly_and_can_be_added_to() -> None:
    first = ComparisonSet(keep_last=5)
    for i in range(7):
        first.add(compare(i), numbered(i), numbered(i + 50))
    second = ComparisonSet(keep_last=5)
    second.load_state_dict(first.state_dict())
    for data in (first, second):
        data.add(compare(7), numbered(7), numbered(57))
    for name, array in first.state_dict()["arrays"].items():
        np.testing.assert_array_equal(array, second.state_dict()["arrays"][name])


def test_stacked_frames_are_stored_once() -> None:
    frames = np.arange(9, dtype=np.uint8)[:, None, None] * np.ones((1, 6, 6), np.uint8)
    stacks = frame_stacks(frames, 4)  # (6, 4, 6, 6): five steps and the last observation
    np.testing.assert_array_equal(stacks[2, :, 0, 0], [2, 3, 4, 5])
    assert np.shares_memory(stacks, frames)
    np.testing.assert_array_equal(single_frames(stacks), frames)
    data = ComparisonSet()
    clip = Episode({"observation": stacks}, np.zeros(5, np.int64), np.zeros(5), np.arange(6.0))
    data.add(compare(0), clip, clip)
    assert data.observations.shape == (1, 2, 8, 6, 6)
    np.testing.assert_array_equal(frame_stacks(data.observations, 4)[0, 1], stacks[:5])


def test_bad_clips_are_refused_and_change_nothing() -> None:
    data = ComparisonSet()
    bad = numbered(1)
    bad.observations["observation"][1, 0] = np.nan
    with pytest.raises(ValueError, match=r"right clip of query .* NaN"):
        data.add(compare(0), numbered(1), bad)
    data.add(compare(0), numbered(1), numbered(2))
    with pytest.raises(ValueError, match=r"observations \(4, 2\) float32, the others have \(3, 2\)"):
        data.add(compare(1), numbered(1), numbered(2, steps=4))
    frames = np.random.default_rng(0).integers(0, 255, (4, 4, 6, 6), np.uint8)
    torn = Episode({"observation": frames}, np.zeros(3), np.zeros(3), np.arange(4.0))
    with pytest.raises(ValueError, match="do not follow one another"):
        ComparisonSet().add(compare(0), torn, torn)
    nameless = Episode({"camera": np.zeros((4, 2))}, np.zeros(3), np.zeros(3), np.arange(4.0))
    with pytest.raises(ValueError, match="no stream 'observation', only camera"):
        data.add(compare(2), nameless, nameless)
    assert len(data) == 1
