import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.batch import BatchEnv
from envs.moving_dot import MovingDotBatch, MovingDotEnv
from envs.rendering import frames_from_observations

STAY, UP, DOWN, LEFT, RIGHT = range(5)


def _centre_of(picture: np.ndarray) -> np.ndarray:
    return np.argwhere(picture == 255).mean(axis=0)


@pytest.mark.parametrize("preferences", [False, True])
def test_the_single_environment_passes_gymnasiums_checks(preferences: bool) -> None:
    check_env(MovingDotEnv(preferences), skip_render_check=True)


def test_the_batch_equals_the_single_environment_over_resets() -> None:
    copies, seed = 3, 7
    batch, singles = MovingDotBatch(copies), [MovingDotEnv() for _ in range(copies)]
    observations = batch.reset(seed)
    for index, env in enumerate(singles):
        np.testing.assert_array_equal(observations[index], env.reset(seed=seed + index)[0])
    rng = np.random.default_rng(0)
    for _ in range(405):  # two resets
        actions = rng.integers(0, 5, copies)
        result = batch.step(actions)
        for index, env in enumerate(singles):
            observation, reward, terminated, truncated, info = env.step(actions[index])
            assert result.rewards[index] == np.float32(reward)
            assert (result.terminated[index], result.truncated[index]) == (terminated, truncated)
            assert {name: values[index] for name, values in result.infos.items()} == info
            if truncated:
                assert result.final_observations is not None
                np.testing.assert_array_equal(result.final_observations[index], observation)
                observation, _ = env.reset()
            np.testing.assert_array_equal(result.observations[index], observation)


def test_the_actions_move_the_dot_and_the_walls_hold_it() -> None:
    env = MovingDotEnv()
    for action, move in ((STAY, (0, 0)), (UP, (-3, 0)), (DOWN, (3, 0)), (LEFT, (0, -3)), (RIGHT, (0, 3))):
        before, _ = env.reset(seed=3)
        after = env.step(action)[0]
        np.testing.assert_array_equal(_centre_of(after[-1]) - _centre_of(before[-1]), move)
        np.testing.assert_array_equal(after[:-1], before[1:])  # the older pictures move up
    for _ in range(40):
        observation = env.step(UP)[0]
    assert _centre_of(observation[-1])[0] == 1.5
    assert (observation[-1] == 255).sum() == 16


def test_the_true_reward_is_what_the_newest_picture_acted_on_shows() -> None:
    batch = MovingDotBatch(4, seed=0)
    observations = batch.reset()
    rng = np.random.default_rng(1)
    for _ in range(50):
        result = batch.step(rng.integers(0, 5, 4))
        shown = np.stack([_centre_of(stack[-1]) for stack in observations])
        distance = np.linalg.norm(shown - 41.5, axis=1)
        np.testing.assert_allclose(result.infos["true_reward"], 1 - distance / np.hypot(40, 40), atol=1e-6)
        observations = result.observations


def test_staying_in_the_centre_is_a_success_and_leaving_it_is_not() -> None:
    for leave_at, success in ((200, True), (150, False)):
        env = MovingDotEnv()
        observation, _ = env.reset(seed=2)
        for step in range(200):
            row, column = _centre_of(observation[-1]) - 41.5
            action = STAY
            if step >= leave_at:
                action = UP
            elif abs(row) > 1.5:
                action = UP if row > 0 else DOWN
            elif abs(column) > 1.5:
                action = LEFT if column > 0 else RIGHT
            observation, _, terminated, truncated, info = env.step(action)
            assert not terminated
            assert truncated == (step == 199)
            assert info["is_success"] == (success and truncated)
    assert MovingDotEnv(preferences=True).reset(seed=0)[1] == {}


def test_the_preference_variant_shows_its_reward_only_in_info() -> None:
    batch = MovingDotBatch(2, seed=0, preferences=True)
    batch.reset()
    step = batch.step(np.array([UP, DOWN]))
    np.testing.assert_array_equal(step.rewards, [0, 0])
    assert (step.infos["true_reward"] > 0).all()


def test_a_batch_goes_on_from_its_state_bit_for_bit() -> None:
    actions = np.random.default_rng(0).integers(0, 5, (250, 2))
    first, second = MovingDotBatch(2, seed=5), MovingDotBatch(2, seed=99)
    assert isinstance(first, BatchEnv)
    first.reset()
    for action in actions[:150]:
        last = first.step(action)
    np.testing.assert_array_equal(second.set_state(first.get_state()), last.observations)
    for action in actions[150:]:
        here, there = first.step(action), second.step(action)
        np.testing.assert_array_equal(here.observations, there.observations)
        assert {name: values.tolist() for name, values in here.infos.items()} == {
            name: values.tolist() for name, values in there.infos.items()
        }


def test_a_step_leaves_earlier_arrays_alone() -> None:
    batch = MovingDotBatch(2, seed=0)
    before = batch.reset()
    kept = before.copy()
    batch.step(np.array([UP, UP]))
    np.testing.assert_array_equal(before, kept)


@pytest.mark.parametrize("actions", [np.array([0, 5]), np.array([-1, 0]), np.zeros((2, 1), int)])
def test_bad_actions_are_refused(actions: np.ndarray) -> None:
    batch = MovingDotBatch(2, seed=0)
    batch.reset()
    with pytest.raises(ValueError, match="from 0 to 4"):
        batch.step(actions)


def test_it_draws_its_newest_picture() -> None:
    env = MovingDotEnv(render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), frames_from_observations(observation[None])[0])
