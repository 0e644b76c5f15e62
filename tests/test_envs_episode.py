"""Episodes and clips: slicing, checks, ids."""

import dataclasses

import numpy as np
import pytest

from envs.episode import Clip, Episode


def counting_episode(steps: int = 10, terminated: bool = True) -> Episode:
    """Every value says where it comes from."""
    return Episode(
        observations={"state": np.arange(steps + 1)[:, None] * [1.0, 100.0], "camera": np.arange(steps + 1)},
        actions=np.arange(steps)[:, None] + 0.5,
        rewards=np.arange(steps, dtype=np.float32),
        times=np.arange(steps + 1) * 0.05,
        terminated=terminated,
        info={"true_reward": -np.arange(steps), "physics": np.arange(steps + 1)[:, None]},
    )


def test_a_slice_has_one_more_observation_than_actions():
    piece = counting_episode().slice(3, 4)
    assert len(piece) == 4
    np.testing.assert_array_equal(piece.observations["camera"], [3, 4, 5, 6, 7])
    np.testing.assert_array_equal(piece.observations["state"][:, 1], [300, 400, 500, 600, 700])
    np.testing.assert_array_equal(piece.actions[:, 0], [3.5, 4.5, 5.5, 6.5])
    np.testing.assert_array_equal(piece.info["true_reward"], [-3, -4, -5, -6])
    np.testing.assert_array_equal(piece.info["physics"][:, 0], [3, 4, 5, 6, 7])
    np.testing.assert_allclose(piece.times, np.arange(3, 8) * 0.05)


def test_only_the_slice_at_the_end_keeps_the_termination():
    episode = counting_episode()
    inner, last = episode.slice(0, 9), episode.slice(1, 9)
    assert (inner.terminated, inner.truncated) == (False, True)
    assert (last.terminated, last.truncated) == (True, False)


def test_a_slice_does_not_keep_the_episode_alive():
    episode = counting_episode()
    for stream in episode.slice(2, 3).streams().values():
        assert stream.base is None
        assert not any(np.shares_memory(stream, whole) for whole in episode.streams().values())


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, 0), (0, 11), (10, 1)])
def test_a_slice_outside_is_refused(start, length):
    with pytest.raises(ValueError, match="outside an episode of 10 steps"):
        counting_episode().slice(start, length)


@pytest.mark.parametrize(
    ("field", "value"), [("rewards", np.zeros(9)), ("times", np.zeros(10)), ("observations", {})]
)
def test_lengths_that_disagree_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} has length|at least one observation"):
        dataclasses.replace(counting_episode(), **{field: value})


def test_the_id_depends_on_all_content_and_only_on_it():
    episode = counting_episode()
    assert episode.digest() == counting_episode().digest()
    changed = [
        dataclasses.replace(episode, terminated=False),
        dataclasses.replace(episode, truncated=True),
        dataclasses.replace(episode, rewards=episode.rewards.astype(np.float64)),
        dataclasses.replace(episode, actions=episode.actions + 1e-12),
        dataclasses.replace(
            episode, observations={"pose": episode.observations["state"], "camera": np.arange(11)}
        ),
        dataclasses.replace(episode, info={}),
    ]
    assert len({one.digest() for one in [episode, *changed]}) == len(changed) + 1


def test_the_id_does_not_depend_on_memory_layout_or_order_of_names():
    episode = counting_episode()
    state = np.asfortranarray(episode.observations["state"])
    other = dataclasses.replace(episode, observations={"camera": np.arange(11), "state": state})
    assert other.digest() == episode.digest()


@pytest.mark.parametrize(("start", "length"), [(-1, 5), (0, 0)])
def test_an_impossible_clip_is_refused(start, length):
    with pytest.raises(ValueError, match="start >= 0 and length >= 1"):
        Clip("a", start, length)
