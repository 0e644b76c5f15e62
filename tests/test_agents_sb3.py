"""The bridge to stable-baselines3: what the learner sees, and that it goes on bit for bit."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from agents.models import Bf16NatureCNN
from agents.normalizer import ObservationNormalizer, RewardScaler
from agents.presets import LearnerConfig, default_learner
from agents.rollouts import NumpyGaussianActor, collect
from agents.sb3 import BatchVecEnv, EnvironmentFault, Learner, learner_env
from envs.batch import BatchEnv, BatchStep, StateUnavailableError
from envs.classic import PendulumBatch

BOX = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


class Toy:
    """Copy i observes (i, step of its episode, a drawn number); the true reward is 10 i + step.

    Even copies terminate after 3 steps, odd ones are truncated after 5. A real BatchEnv, made to be checked.
    """

    dt = 0.1

    def __init__(
        self,
        n: int = 4,
        action_space: gymnasium.Space = BOX,
        image: bool = False,
        has_state: bool = True,
        true_factor: float = 1.0,
    ) -> None:
        self.num_envs, self.action_space, self.image, self.has_state = n, action_space, image, has_state
        self.true_factor = true_factor
        shape = (1, 36, 36) if image else (3,)
        limits = (0, 255, shape, np.uint8) if image else (-np.inf, np.inf, shape, np.float64)
        self.observation_space = gymnasium.spaces.Box(*limits)
        self.rngs = [np.random.default_rng(i) for i in range(n)]
        self.at = np.zeros(n, np.int64)
        self.drawn = np.zeros(n)
        self.poison = False

    def reset(self, seed: int | None = None) -> np.ndarray:
        if seed is not None:
            self.rngs = [np.random.default_rng(seed + i) for i in range(self.num_envs)]
        self._begin(np.arange(self.num_envs))
        return self._observe()

    def step(self, actions: np.ndarray) -> BatchStep:
        assert len(actions) == self.num_envs
        self.at += 1
        index = np.arange(self.num_envs)
        true = ((10 * index + self.at) * self.true_factor).astype(np.float32)
        terminated, truncated = (self.at >= 3) & (index % 2 == 0), (self.at >= 5) & (index % 2 == 1)
        final = None
        if (terminated | truncated).any():
            final = self._observe()
            self._begin(np.flatnonzero(terminated | truncated))
        observations = self._observe()
        if self.poison:
            observations[2] = np.nan
        effort = np.asarray(actions, np.float64).reshape(self.num_envs, -1).sum(axis=1)
        return BatchStep(
            observations,
            (effort + self.drawn).astype(np.float32),
            terminated,
            truncated,
            final,
            {"true_reward": true},
        )

    def physics(self) -> None:
        return None

    def get_state(self) -> dict[str, Any]:
        if not self.has_state:
            raise StateUnavailableError("the toy keeps its state to itself")
        states = [rng.bit_generator.state for rng in self.rngs]
        return {"at": self.at.copy(), "drawn": self.drawn.copy(), "rngs": states}

    def set_state(self, state: Mapping[str, Any]) -> np.ndarray:
        self.at, self.drawn = np.array(state["at"]), np.array(state["drawn"])
        for rng, saved in zip(self.rngs, state["rngs"], strict=True):
            rng.bit_generator.state = saved
        return self._observe()

    def close(self) -> None: ...

    def _begin(self, ids: np.ndarray) -> None:
        self.at[ids] = 0
        self.drawn[ids] = [self.rngs[i].normal() for i in ids]

    def _observe(self) -> np.ndarray:
        rows = np.stack([np.arange(self.num_envs), self.at, self.drawn], axis=1)
        if not self.image:
            return rows
        pictures = np.zeros((self.num_envs, 1, 36, 36), np.uint8)
        pictures[:, 0, :3, 0] = np.abs(rows * 20).astype(np.uint8)
        return pictures


SMALL = {
    "ppo": LearnerConfig(n_envs=4, n_steps=16, batch_size=32, n_epochs=2, normalize_reward=True),
    "a2c": LearnerConfig(algorithm="a2c", n_envs=4, n_steps=5, linear_decay=True),
    "trpo": LearnerConfig(algorithm="trpo", n_envs=4, n_steps=16, batch_size=32, n_epochs=2),
    "sac": LearnerConfig(
        algorithm="sac",
        n_envs=4,
        hidden=(16, 16),
        activation="relu",
        buffer_size=150,
        learning_starts=20,
        batch_size=8,
        iteration_steps=60,
        gradient_steps=-1,
        normalize_observation=False,
    ),
}


def a_learner(config: LearnerConfig, env: BatchEnv | None = None, seed: int = 0, **view: Any) -> Learner:
    return Learner(config, learner_env(config, env or Toy(config.n_envs), **view), seed, 1_000)


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in learner.model.policy.state_dict().items()}


def assert_same_weights(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


# -- the view of the environments ---------------------------------------------------------------


def test_the_toy_is_a_batch_environment() -> None:
    assert isinstance(Toy(), BatchEnv)


def test_an_ended_copy_shows_its_last_observation_its_reason_and_its_true_return() -> None:
    env = BatchVecEnv(Toy(), reward="env")
    env.reset()
    for step in range(1, 6):
        observations, _, dones, infos = env.step(np.zeros((4, 2), np.float32))
        for i, info in enumerate(infos):
            ends = step == 3 if i % 2 == 0 else step == 5
            assert dones[i] == ends
            assert observations[i, 1] == (0 if ends else step % 3 if i % 2 == 0 else step)
            if ends:
                np.testing.assert_array_equal(info["terminal_observation"][:2], [i, step])
                assert info["TimeLimit.truncated"] is (i % 2 == 1)
                assert info["episode"] == {"r": sum(10 * i + k for k in range(1, step + 1)), "l": step}
            else:
                assert info == {}
    assert [length for _, length in env.take_episodes()] == [3, 3, 5, 5]
    assert env.take_episodes() == []


def test_an_end_that_is_both_is_no_time_limit() -> None:
    class Both(Toy):
        def step(self, actions: np.ndarray) -> BatchStep:
            return replace(super().step(actions), truncated=np.full(4, True), terminated=np.full(4, True))

    env = BatchVecEnv(Both())
    env.reset()
    for _ in range(3):
        env.env.at[:] = 2  # every copy has a final observation
        infos = env.step(np.zeros((4, 2)))[3]
    assert [info["TimeLimit.truncated"] for info in infos] == [False] * 4


def test_the_reward_is_the_environments_the_true_one_or_a_function() -> None:
    actions = np.arange(8, dtype=np.float32).reshape(4, 2)
    seen = []

    def of_observation(raw: np.ndarray, done: np.ndarray) -> np.ndarray:
        seen.append((raw.copy(), done.copy()))
        return raw[:, 0] * 100 + raw[:, 1]

    for reward, expected in (
        ("env", [1 + 0.5, 5 + 0.5, 9 + 0.5, 13 + 0.5]),
        ("true", [1, 11, 21, 31]),
        (of_observation, [0, 100, 200, 300]),
    ):
        toy = Toy()
        env = BatchVecEnv(toy, reward)
        env.reset()
        toy.drawn[:] = 0.5
        np.testing.assert_allclose(env.step(actions)[1], expected)
    np.testing.assert_array_equal(seen[0][0][:, :2], [[i, 0] for i in range(4)])  # acted on, not arrived at
    np.testing.assert_array_equal(seen[0][1], actions)


def test_every_step_is_shown_with_the_observation_acted_on() -> None:
    steps: list[tuple[np.ndarray, np.ndarray, BatchStep]] = []
    env = BatchVecEnv(Toy(), on_step=lambda raw, actions, step: steps.append((raw, actions, step)))
    env.reset()
    for _ in range(4):
        env.step(np.ones((4, 2)))
    assert [raw[0, 1] for raw, _, _ in steps] == [0, 1, 2, 0]
    assert [raw[1, 1] for raw, _, _ in steps] == [0, 1, 2, 3]
    assert steps[2][2].terminated[0]


def test_the_learner_sees_normalised_observations_and_float32() -> None:
    config = SMALL["ppo"]
    learner = a_learner(config)
    assert learner.env.observation_space.dtype == np.float32
    learner.iterate()
    normalizer = learner.env.normalizer
    assert normalizer is not None
    assert normalizer.count == 4 * 16
    np.testing.assert_allclose(normalizer.mean[0], 1.5)
    assert abs(learner.model._last_obs[:, 0].mean()) < 1e-6
    learner.iterate()
    assert normalizer.count == 2 * 4 * 16


def test_nan_from_an_environment_names_the_copy() -> None:
    toy = Toy()
    env = BatchVecEnv(toy)
    env.reset()
    toy.poison = True
    with pytest.raises(EnvironmentFault, match=r"observation is nan or infinite in environment copies \[2\]"):
        env.step(np.zeros((4, 2)))


@pytest.mark.parametrize("bad", [np.full(4, np.nan), np.zeros(3), np.zeros((4, 1))])
def test_a_reward_function_that_gives_nonsense_is_stopped(bad: np.ndarray) -> None:
    env = BatchVecEnv(Toy(), reward=lambda raw, actions: bad)
    env.reset()
    with pytest.raises(EnvironmentFault, match=r"reward"):
        env.step(np.zeros((4, 2)))


# -- normalisers --------------------------------------------------------------------------------


def test_the_normaliser_agrees_with_numpy_on_everything_it_saw() -> None:
    data = np.random.default_rng(0).normal(3.0, [1.0, 20.0], (500, 2))
    normalizer = ObservationNormalizer((2,))
    np.testing.assert_array_equal(normalizer(data[:5]), data[:5].clip(-10, 10).astype(np.float32))
    for part in np.split(data, [1, 100, 100, 340]):
        normalizer.update(part)
    expected = ((data - data.mean(axis=0)) / data.std(axis=0)).clip(-10, 10)
    np.testing.assert_allclose(normalizer(data), expected, rtol=1e-5, atol=1e-5)
    other = ObservationNormalizer((2,))
    other.load_state_dict(normalizer.state_dict())
    np.testing.assert_array_equal(other(data), normalizer(data))


def test_the_reward_scaler_agrees_with_stable_baselines3() -> None:
    rng = np.random.default_rng(0)
    peer = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")] * 3), norm_obs=False, gamma=0.9)
    ours = RewardScaler(3, 0.9)
    for _ in range(50):
        rewards, ended = rng.normal(2.0, 3.0, 3), rng.random(3) < 0.1
        peer._update_reward(rewards)
        np.testing.assert_allclose(ours(rewards, ended), peer.normalize_reward(rewards), rtol=1e-5)
        peer.returns[ended] = 0


# -- rollouts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["discrete", "image", "box"])
def test_a_rollout_is_that_of_stable_baselines3(kind: str) -> None:
    """Same draws, two implementations; for boxes ours draws otherwise, so its actions are played back."""
    space = BOX if kind == "box" else gymnasium.spaces.Discrete(3)
    config = replace(SMALL["ppo"], normalize_observation=False, normalize_reward=False)
    ours, peer = (a_learner(config, Toy(4, space, image=kind == "image"), seed=3) for _ in range(2))
    ours.start()
    peer.start()
    torch.manual_seed(0)
    collect(ours.model, ours.env)
    if kind == "box":
        _play_back(peer, ours.model.rollout_buffer.actions)
    callback = CallbackList([])
    callback.init_callback(peer.model)
    torch.manual_seed(0)
    peer.model.collect_rollouts(peer.env, callback, peer.model.rollout_buffer, config.n_steps)
    for name in (
        "observations",
        "actions",
        "rewards",
        "episode_starts",
        "values",
        "log_probs",
        "returns",
        "advantages",
    ):
        a, b = getattr(ours.model.rollout_buffer, name), getattr(peer.model.rollout_buffer, name)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5, err_msg=name)
    assert ours.model.num_timesteps == peer.model.num_timesteps
    np.testing.assert_array_equal(ours.model._last_obs, peer.model._last_obs)
    np.testing.assert_array_equal(ours.model._last_episode_starts, peer.model._last_episode_starts)


def _play_back(learner: Learner, actions: np.ndarray) -> None:
    """Makes a policy act as recorded (it still computes values and probabilities itself)."""
    recorded = iter(actions.reshape(-1, learner.env.num_envs, *BOX.shape))
    policy = learner.model.policy

    def forward(observations: torch.Tensor, deterministic: bool = False) -> tuple[torch.Tensor, ...]:
        chosen = torch.from_numpy(next(recorded).copy())
        values, log_probs, _ = policy.evaluate_actions(observations, chosen)
        return chosen, values, log_probs

    policy.forward = forward


def test_the_numpy_actor_is_the_torch_policy() -> None:
    learner = a_learner(SMALL["ppo"])
    policy = learner.model.policy
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([-0.5, 0.3]))
    assert NumpyGaussianActor.fits(policy)
    rng = np.random.default_rng(0)
    observations, noise = (
        rng.normal(size=(7, 3)).astype(np.float32),
        rng.normal(size=(7, 2)).astype(np.float32),
    )
    actions, log_probs = NumpyGaussianActor(policy)(observations, noise)
    with torch.no_grad():
        distribution = policy.get_distribution(torch.from_numpy(observations)).distribution
        expected = distribution.log_prob(torch.from_numpy(actions)).sum(dim=1)
    expected_actions = distribution.mean + distribution.stddev * torch.from_numpy(noise)
    np.testing.assert_allclose(actions, expected_actions, atol=1e-6)
    np.testing.assert_allclose(log_probs, expected, atol=1e-5)


def test_a_learnt_reward_is_computed_once_a_rollout_on_what_was_executed() -> None:
    calls = []

    def reward(raw: np.ndarray, actions: np.ndarray) -> np.ndarray:
        calls.append((raw, actions))
        return raw[:, 0]

    config = replace(SMALL["ppo"], normalize_reward=False, log_std_init=2.0, gamma=1e-9)
    learner = a_learner(config, reward=reward)
    learner.start()
    collect(learner.model, learner.env)
    assert [len(raw) for raw, _ in calls] == [64]
    np.testing.assert_allclose(
        learner.model.rollout_buffer.rewards, np.tile(np.arange(4), (16, 1)), atol=1e-6
    )
    executed = calls[0][1]
    assert np.abs(executed).max() == 1.0  # clipped to the action space
    assert np.abs(learner.model.rollout_buffer.actions).max() > 1.0  # the learner's own are not


@pytest.mark.parametrize("algorithm", list(SMALL))
def test_the_true_reward_never_reaches_the_policy(algorithm: str) -> None:
    results = []
    for factor in (1.0, -1000.0):
        config = SMALL[algorithm]
        learner = a_learner(
            config, Toy(4, true_factor=factor), reward=lambda raw, actions: raw[:, 1] - actions[:, 0]
        )
        metrics = [learner.iterate() for _ in range(3)]
        results.append((weights(learner), metrics[-1]["rollout/true_return"]))
    assert_same_weights(results[0][0], results[1][0])
    assert results[0][1] > 0 > results[1][1]


# -- state --------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_state", [True, False])
@pytest.mark.parametrize("algorithm", list(SMALL))
def test_a_learner_goes_on_bit_for_bit(tmp_path: Path, algorithm: str, has_state: bool) -> None:
    """Also where the simulator hides its state, and after other work has used every generator."""
    config = SMALL[algorithm]
    one = a_learner(config, Toy(4, has_state=has_state))
    for _ in range(3):
        one.iterate()
    assert one.prepare_checkpoint() is not has_state
    path = save_checkpoint(tmp_path, one.steps, one.state_dict())
    before = [one.iterate() for _ in range(3)]

    two = a_learner(config, Toy(4, has_state=has_state), seed=99)
    random.random()
    two.env.action_space.sample()
    two.load_state_dict(load_checkpoint(path))
    assert [two.iterate() for _ in range(3)] == before
    assert_same_weights(weights(one), weights(two))
    assert one.steps == two.steps


def test_a_replay_buffer_is_saved_only_as_far_as_it_is_filled(tmp_path: Path) -> None:
    learner = a_learner(replace(SMALL["sac"], buffer_size=100_000))
    learner.iterate()
    learner.prepare_checkpoint()
    replay = learner.state_dict()["model"]["replay"]
    assert replay["observations"].shape == (15, 4, 3)
    assert replay["pos"] == 15


def test_a_checkpoint_of_other_spaces_says_both() -> None:
    saved = a_learner(SMALL["a2c"])
    saved.prepare_checkpoint()
    state = saved.state_dict()
    other = a_learner(SMALL["a2c"], PendulumBatch(4, 0))
    with pytest.raises(
        CheckpointError,
        match=r"checkpoint x expects observations \(3,\) float64 in \[-inf, inf\], the environment gives "
        r"\(3,\) float32 .*make the environment it was trained on",
    ):
        other.load_state_dict(state, source="checkpoint x")
    with pytest.raises(CheckpointError, match=r"has algorithm a2c, this learner ppo"):
        a_learner(SMALL["ppo"]).load_state_dict(state)
    with pytest.raises(CheckpointError, match=r"another network"):
        a_learner(replace(SMALL["a2c"], hidden=(8,))).load_state_dict(state)


def test_predicting_draws_no_random_number() -> None:
    learner = a_learner(SMALL["ppo"])
    learner.iterate()
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())  # noqa: NPY002
    actions = learner.predict(learner.env.raw)
    assert actions.shape == (4, 2)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    runs = []
    for seed in (1, 1, 2):
        learner = a_learner(SMALL["ppo"], seed=seed)
        learner.iterate()
        runs.append(weights(learner))
    assert_same_weights(runs[0], runs[1])
    assert not torch.equal(runs[0]["value_net.weight"], runs[2]["value_net.weight"])


# -- off-policy extras --------------------------------------------------------------------------


def test_relabelling_replaces_every_stored_reward() -> None:
    learner = a_learner(SMALL["sac"])
    for _ in range(3):  # past the buffer's end
        learner.iterate()
    learner.relabel(lambda raw, actions: raw[:, 0] * 10 + actions[:, 1], batch=7)
    buffer = learner.model.replay_buffer
    assert buffer.full
    np.testing.assert_allclose(
        buffer.rewards, buffer.observations[..., 0] * 10 + buffer.actions[..., 1], rtol=1e-6
    )


def test_a_new_critic_leaves_the_actor_alone() -> None:
    learner = a_learner(SMALL["sac"])
    learner.iterate()
    before = weights(learner)
    learner.reset_critic()
    after = weights(learner)
    for name in before:
        if name.startswith("actor"):
            assert torch.equal(before[name], after[name])
        elif name.endswith("weight"):
            assert not torch.equal(before[name], after[name])
    for name, tensor in after.items():
        if name.startswith("critic_target"):
            assert torch.equal(tensor, after[name.replace("critic_target", "critic")])
    learner.iterate()


def test_only_sac_has_a_replay_buffer() -> None:
    with pytest.raises(TypeError, match="only sac has a replay buffer"):
        a_learner(SMALL["ppo"]).update(3)
    with pytest.raises(ValueError, match="must not change scale"):
        LearnerConfig(algorithm="sac")


# -- models -------------------------------------------------------------------------------------


def test_the_bf16_network_is_the_float32_one_up_to_rounding() -> None:
    torch.manual_seed(0)
    space = gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    network = Bf16NatureCNN(space)
    picture = torch.rand(3, 4, 84, 84)
    plain = network.linear(network.cnn(picture))
    features = network(picture)
    assert features.dtype == torch.float32
    assert (features - plain).abs().max() < 0.02 * plain.abs().max()


def test_bf16_without_instructions_for_it_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = replace(SMALL["a2c"], bf16_features=True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    with pytest.warns(UserWarning, match="no instructions for bfloat16"):
        a_learner(slow, Toy(4, gymnasium.spaces.Discrete(2), image=True))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        a_learner(slow, Toy(4, gymnasium.spaces.Discrete(2), image=True))


def test_an_absent_device_is_an_error_not_a_fallback() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(ValueError, match="device 'cuda' was asked for"):
        a_learner(replace(SMALL["ppo"], device="cuda"))


def test_the_presets_fit_their_environments() -> None:
    assert default_learner("atari:Pong").algorithm == default_learner("pixel:MovingDot").algorithm == "a2c"
    assert default_learner("mujoco:Hopper", "trpo").gae_lambda == 0.97
    with pytest.raises(ValueError, match="is trained with a2c, ppo or auto, not 'sac'"):
        default_learner("atari:Pong", "sac")
    with pytest.raises(ValueError, match="did you mean"):
        default_learner("mujoco:Hoper")
