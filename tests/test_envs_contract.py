"""One contract that every environment keeps, in both variants."""

from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.batch import BatchEnv
from envs.catalog import ENVIRONMENTS, make, make_vec
from envs.tasks import task_info

N = 2
SEED = 11


def steps(name: str) -> int:
    """Enough that episodes end where they can be short, few where a step is slow."""
    return {"atari": 25, "mujoco": 60, "rover": 12}.get(task_info(name).family, 230)


@pytest.fixture(params=[False, True], ids=["standard", "preferences"])
def preferences(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(params=ENVIRONMENTS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def env(name: str, preferences: bool) -> Iterator[gymnasium.Env]:
    env = make(name, preferences=preferences)
    yield env
    env.close()


@pytest.fixture
def batch(name: str, preferences: bool) -> Iterator[BatchEnv]:
    batch = make_vec(name, N, SEED, preferences=preferences)
    yield batch
    batch.close()


# What gymnasium's own MuJoCo tasks and Pendulum are warned about too.
@pytest.mark.filterwarnings(
    "ignore:.*Box observation space (min|max)imum value", "ignore:.*For Box action spaces"
)
def test_gymnasium_accepts_it(env: gymnasium.Env) -> None:
    check_env(env, skip_render_check=True)


def test_two_seeded_copies_agree(env: gymnasium.Env, name: str, preferences: bool) -> None:
    twin = make(name, preferences=preferences)
    np.testing.assert_array_equal(env.reset(seed=SEED)[0], twin.reset(seed=SEED)[0])
    env.action_space.seed(SEED)
    for _ in range(20):
        action = env.action_space.sample()
        ours, theirs = env.step(action), twin.step(action)
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[1:4] == theirs[1:4]
    twin.close()


def test_the_batch_is_n_single_environments(batch: BatchEnv, name: str, preferences: bool) -> None:
    singles = [make(name, preferences=preferences) for _ in range(N)]
    assert batch.observation_space == singles[0].observation_space
    assert batch.action_space == singles[0].action_space
    expected = [env.reset(seed=SEED + i)[0] for i, env in enumerate(singles)]
    np.testing.assert_array_equal(batch.reset(SEED), expected)
    batch.action_space.seed(SEED)
    for _ in range(steps(name)):
        actions = np.stack([batch.action_space.sample() for _ in range(N)])
        step = batch.step(actions)
        for i, env in enumerate(singles):
            observation, reward, terminated, truncated, info = env.step(actions[i])
            assert (step.terminated[i], step.truncated[i]) == (terminated, truncated)
            np.testing.assert_allclose(step.rewards[i], reward, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(
                step.infos["true_reward"][i], info["true_reward"], rtol=1e-5, atol=1e-6
            )
            if terminated or truncated:
                np.testing.assert_array_equal(step.final_observations[i], observation)
                observation, _ = env.reset()
            np.testing.assert_array_equal(step.observations[i], observation)
    for env in singles:
        env.close()


def test_shapes_types_and_spaces(batch: BatchEnv, preferences: bool) -> None:
    assert isinstance(batch, BatchEnv)
    assert batch.num_envs == N
    assert batch.dt > 0
    observations = batch.reset(SEED)
    shape, dtype = batch.observation_space.shape, batch.observation_space.dtype
    for _ in range(5):
        actions = np.stack([batch.action_space.sample() for _ in range(N)])
        step = batch.step(actions)
        for given in (observations, step.observations):
            assert given.shape == (N, *shape)
            assert given.dtype == dtype
            assert all(batch.observation_space.contains(one) for one in given)
        for numbers in (step.rewards, step.infos["true_reward"]):
            assert (numbers.shape, numbers.dtype) == ((N,), np.float32)
        for flags in (step.terminated, step.truncated, step.ended):
            assert (flags.shape, flags.dtype) == ((N,), np.bool_)
        kept = step.observations.copy()
        batch.step(actions)
        np.testing.assert_array_equal(step.observations, kept)  # what was given does not change later


@pytest.mark.parametrize("preferences", [True], indirect=True)
def test_the_preference_variant_tells_nothing_but_observations(batch: BatchEnv, name: str) -> None:
    limit = task_info(name).episode_steps
    batch.reset(SEED)
    true_rewards = []
    for count in range(1, min(steps(name), 2 * limit) + 1):
        step = batch.step(np.stack([batch.action_space.sample() for _ in range(N)]))
        assert not step.terminated.any()
        assert (step.truncated == (count % limit == 0)).all()
        assert (step.rewards == 0).all()
        true_rewards.append(step.infos["true_reward"])
    assert np.isfinite(true_rewards).all()
