"""Rollouts and the recording wrapper: what is kept is what happened."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from envs.dataset import EpisodeDataset
from envs.recording import RandomAgent, RecordEpisodes, rollout, step_seconds


class Counter(gymnasium.Env):
    """Counts its steps; the observation names step and seed, and is one array that is overwritten."""

    metadata = {"render_fps": 20}  # noqa: RUF012  # gymnasium's own form

    def __init__(
        self, steps: int = 5, nested: bool = False, terminates: bool = True, nan_at: int = -1
    ) -> None:
        count = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        camera = spaces.Box(0, 255, (2, 2), np.uint8)
        self.nested = nested
        self.observation_space = (
            spaces.Dict({"body": spaces.Dict({"count": count}), "camera": camera}) if nested else count
        )
        self.action_space = spaces.Discrete(7)
        self.length, self.terminates, self.nan_at = steps, terminates, nan_at
        self._buffer = np.zeros(2, np.float32)

    def _observation(self):
        self._buffer[:] = self.count, self.number
        if self.count == self.nan_at:
            self._buffer[0] = np.nan
        return (
            {"body": {"count": self._buffer}, "camera": np.full((2, 2), self.count, np.uint8)}
            if self.nested
            else self._buffer
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.number = 0, int(self.np_random.integers(1000))
        return self._observation(), {"height": 0.0, "text": "start"}

    def step(self, action):
        self.count += 1
        ended = self.count == self.length
        info = {
            "true_reward": 10.0 * self.count,
            "height": self.count * 2.0,
            "text": "a",
            "_private": 1,
            "nested": {"a": 1},
            "vector": np.full(3, self.count),
        }
        if self.count > 1:
            info["sometimes"] = 1.0
        return (
            self._observation(),
            float(action),
            ended and self.terminates,
            ended and not self.terminates,
            info,
        )


class CountingAgent:
    """Plays 0, 1, 2, … anew in each episode."""

    def reset(self) -> None:
        self.next = -1

    def act(self, observation) -> int:
        self.next += 1
        return self.next % 7


def test_a_rollout_keeps_every_step_in_its_place():
    first, second = rollout(Counter(), CountingAgent(), episodes=2, seed=3)
    np.testing.assert_array_equal(first.observations["observation"][:, 0], [0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(first.actions, [0, 1, 2, 3, 4])
    assert first.actions.dtype == np.int64
    np.testing.assert_array_equal(first.rewards, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(first.times, [0, 0.05, 0.1, 0.15, 0.2, 0.25])
    assert (first.terminated, first.truncated) == (True, False)
    assert len(second) == 5
    numbers = [episode.observations["observation"][0, 1] for episode in (first, second)]
    assert numbers[0] != numbers[1]  # only the first reset is seeded


def test_info_streams_are_the_numbers_that_are_always_there():
    (episode,) = rollout(Counter(), CountingAgent(), seed=0)
    assert sorted(episode.info) == ["height", "true_reward", "vector"]
    np.testing.assert_array_equal(episode.info["true_reward"], [10, 20, 30, 40, 50])  # (T,)
    np.testing.assert_array_equal(episode.info["height"], [0, 2, 4, 6, 8, 10])  # (T+1,): the reset has it too
    assert episode.info["vector"].shape == (5, 3)


def test_dict_observations_get_flat_names():
    (episode,) = rollout(Counter(nested=True), CountingAgent(), seed=0)
    assert sorted(episode.observations) == ["body/count", "camera"]
    np.testing.assert_array_equal(episode.observations["body/count"][:, 0], range(6))
    assert episode.observations["camera"].dtype == np.uint8
    np.testing.assert_array_equal(episode.observations["camera"][:, 1, 1], range(6))


def test_the_same_seed_gives_the_same_episodes():
    def ids() -> list[str]:
        env = gymnasium.make("Pendulum-v1")
        agent = RandomAgent(env.action_space, np.random.default_rng(5))
        return [episode.digest() for episode in rollout(env, agent, episodes=2, seed=1)]

    assert ids() == ids()


def test_a_random_agent_leaves_the_environments_own_draws_alone():
    space = spaces.Box(-2, 2, (3,))
    space.seed(0)
    expected = space.sample()
    space.seed(0)
    agent = RandomAgent(space, np.random.default_rng(1))
    actions = np.array([agent.act(None) for _ in range(500)])
    assert actions.shape == (500, 3)
    assert actions.min() < -1.9
    assert actions.max() > 1.9
    np.testing.assert_array_equal(space.sample(), expected)


def test_times_are_simulated_seconds():
    assert step_seconds(gymnasium.make("Pendulum-v1")) == 0.05  # env.dt, through the wrappers
    assert step_seconds(Counter()) == 1 / 20  # metadata["render_fps"]
    env = Counter()
    env.metadata = {}
    assert step_seconds(env) == 1.0


def test_the_wrapper_appends_every_finished_episode_and_the_unfinished_one_as_truncated(tmp_path):
    plain = Counter(nested=True)
    with EpisodeDataset(tmp_path, observation_space=plain.observation_space) as dataset:
        env = RecordEpisodes(plain, dataset)
        agent = CountingAgent()
        episodes = rollout(env, agent, episodes=2, seed=3)
        assert env.ids == dataset.ids == [episode.digest() for episode in episodes]
        env.reset(seed=4)
        for action in (3, 2, 1):
            env.step(action)
        env.reset(seed=5)  # abandons it
        env.step(6)
        env.close()
        env.close()
        abandoned, closed = (dataset[id] for id in env.ids[2:])
        assert (len(abandoned), abandoned.terminated, abandoned.truncated) == (3, False, True)
        np.testing.assert_array_equal(abandoned.actions, [3, 2, 1])
        assert (len(closed), closed.terminated, closed.truncated) == (1, False, True)
        assert not dataset.closed


def test_a_truncated_episode_is_kept_as_truncated(tmp_path):
    with EpisodeDataset(tmp_path) as dataset:
        env = RecordEpisodes(Counter(terminates=False), dataset)
        (episode,) = rollout(env, CountingAgent())
        assert (dataset[env.ids[0]].terminated, dataset[env.ids[0]].truncated) == (False, True)
        assert episode.truncated


def test_closing_without_a_step_appends_nothing(tmp_path):
    with EpisodeDataset(tmp_path) as dataset:
        RecordEpisodes(Counter(), dataset).close()
        env = RecordEpisodes(Counter(), dataset)
        env.reset()
        env.close()
        assert len(dataset) == 0


def test_nan_from_the_environment_is_an_error_and_the_steps_before_it_are_kept(tmp_path):
    with EpisodeDataset(tmp_path) as dataset:
        env = RecordEpisodes(Counter(nan_at=3), dataset)
        with pytest.raises(
            ValueError, match="the environment gave NaN in the observation 'observation' in step 3"
        ):
            rollout(env, CountingAgent())
        assert len(dataset[env.ids[0]]) == 2
        assert dataset[env.ids[0]].truncated
    env = gymnasium.wrappers.TransformReward(Counter(), lambda reward: np.inf)
    with pytest.raises(ValueError, match="the reward inf in step 1"):
        rollout(env, CountingAgent())


def test_box_actions_are_stored_in_the_spaces_dtype(tmp_path):
    env = gymnasium.make("Pendulum-v1", max_episode_steps=4)
    (episode,) = rollout(env, RandomAgent(env.action_space, np.random.default_rng(0)), seed=0)
    assert episode.actions.shape == (4, 1)
    assert episode.actions.dtype == np.float32
    assert (episode.terminated, episode.truncated) == (False, True)
