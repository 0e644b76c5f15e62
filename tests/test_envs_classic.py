import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.batch import BatchEnv
from envs.classic import PendulumBatch, draw_pendulum, make_pendulum


def test_the_single_environment_passes_gymnasiums_checks() -> None:
    for preferences in (False, True):
        with warnings.catch_warnings():
            # gymnasium advises against its own limits of the action (-2 to 2, not -1 to 1)
            warnings.filterwarnings("ignore", message=".*symmetric and normalized space.*")
            check_env(make_pendulum(preferences), skip_render_check=True)


def test_the_batch_equals_gymnasium_step_for_step_over_resets() -> None:
    copies, seed = 3, 40
    batch = PendulumBatch(copies)
    singles = [gymnasium.make("Pendulum-v1") for _ in range(copies)]
    observations = batch.reset(seed)
    expected = np.stack([env.reset(seed=seed + index)[0] for index, env in enumerate(singles)])
    np.testing.assert_array_equal(observations, expected)
    rng = np.random.default_rng(0)
    for step in range(450):  # two resets
        actions = rng.uniform(-3, 3, (copies, 1)).astype(np.float32)  # beyond the limits too
        result = batch.step(actions)
        assert result.infos["true_reward"].dtype == np.float32
        for index, env in enumerate(singles):
            observation, reward, terminated, truncated, _ = env.step(actions[index])
            assert result.rewards[index] == np.float32(reward)
            assert (result.terminated[index], result.truncated[index]) == (terminated, truncated)
            if truncated:
                assert (step + 1) % 200 == 0
                assert result.final_observations is not None
                np.testing.assert_array_equal(result.final_observations[index], observation)
                observation, _ = env.reset()
            np.testing.assert_array_equal(result.observations[index], observation)
            np.testing.assert_array_equal(batch.physics()[index], env.unwrapped.state)


def test_the_preference_variant_shows_its_reward_only_in_info() -> None:
    plain, hidden = PendulumBatch(2, seed=1), PendulumBatch(2, seed=1, preferences=True)
    plain.reset()
    hidden.reset()
    single = make_pendulum(preferences=True)
    single.reset(seed=1)
    actions = np.ones((2, 1), np.float32)
    shown, step = plain.step(actions), hidden.step(actions)
    np.testing.assert_array_equal(step.rewards, [0.0, 0.0])
    np.testing.assert_array_equal(step.infos["true_reward"], shown.rewards)
    _, reward, _, _, info = single.step(actions[0])
    assert reward == 0.0
    assert np.float32(info["true_reward"]) == shown.rewards[0]


def test_the_single_environment_ends_after_200_steps_each_time() -> None:
    env = make_pendulum()
    for _ in range(2):
        env.reset(seed=0)
        ends = [env.step(np.zeros(1, np.float32))[3] for _ in range(200)]
        assert ends == [False] * 199 + [True]


def test_a_batch_goes_on_from_its_state_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    actions = rng.uniform(-2, 2, (250, 2, 1)).astype(np.float32)
    first, second = PendulumBatch(2, seed=5), PendulumBatch(2, seed=99)
    assert isinstance(first, BatchEnv)
    first.reset()
    for action in actions[:150]:
        last = first.step(action)
    np.testing.assert_array_equal(second.set_state(first.get_state()), last.observations)
    for action in actions[150:]:  # over a reset, so the generators must have gone along
        here, there = first.step(action), second.step(action)
        np.testing.assert_array_equal(here.observations, there.observations)
        np.testing.assert_array_equal(here.rewards, there.rewards)


def test_a_step_leaves_earlier_arrays_alone() -> None:
    batch = PendulumBatch(2, seed=0)
    before = batch.reset()
    kept = before.copy()
    batch.step(np.ones((2, 1), np.float32))
    np.testing.assert_array_equal(before, kept)


def test_bad_actions_and_states_are_refused() -> None:
    batch = PendulumBatch(2, seed=0)
    batch.reset()
    with pytest.raises(ValueError, match=r"shape \(2, 1\), got \(2,\)"):
        batch.step(np.zeros(2))
    with pytest.raises(ValueError, match="of 3 pendulums"):
        batch.set_state(PendulumBatch(3, seed=0).get_state())


def test_the_picture_shows_the_angle() -> None:
    up, down, left, right = draw_pendulum(
        np.array([[0, 0], [np.pi, 0], [np.pi / 2, 0], [-np.pi / 2, 0]]), 90, 90
    )
    for frame, (row, column) in zip(
        (up, down, left, right), ((25, 45), (65, 45), (45, 25), (45, 65)), strict=True
    ):
        red = frame[..., 0].astype(int) - frame[..., 2] > 60
        centre = np.argwhere(red).mean(axis=0)
        assert np.abs(centre - (row, column)).max() < 10


def test_the_single_environment_draws_without_pygame() -> None:
    env = make_pendulum(render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (256, 256, 3)
    assert frame.std() > 5
    with pytest.raises(ValueError, match="human"):
        make_pendulum(render_mode="human")
