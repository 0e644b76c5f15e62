"""The learnt reward: its loss, its networks, its normalisation, its state."""

import math
import time

import gymnasium
import numpy as np
import pytest
import torch

from agents.normalizer import ObservationNormalizer
from agents.preferences.reward import RewardConfig, RewardEnsemble, answer_loss, preference_loss
from envs.episode import Episode

STATES = gymnasium.spaces.Box(-np.inf, np.inf, (5,), np.float32)
FORCES = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
FRAMES = gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)
BUTTONS = gymnasium.spaces.Discrete(3)


def gradient(d: float, target: float, error_rate: float) -> float:
    difference = torch.tensor([d], dtype=torch.float64, requires_grad=True)
    answer_loss(difference, torch.tensor([target], dtype=torch.float64), error_rate).sum().backward()
    return float(difference.grad)


def steps(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 5)).astype(np.float32), rng.uniform(-1, 1, (count, 2)).astype(np.float32)


def trained(ensemble: RewardEnsemble, seed: int = 0) -> RewardEnsemble:
    """Away from the first weights, with moments in the optimiser."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        ensemble.optimizer.zero_grad()
        for parameter in ensemble.network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        ensemble.optimizer.step()
    ensemble.finish_update()
    return ensemble


def test_the_loss_is_the_cross_entropy_of_the_error_model() -> None:
    left = torch.tensor([[1.0, 0.5], [0.2, -0.4], [3.0, 0.0]])
    right = torch.tensor([[0.0, 0.3], [0.9, 0.1], [3.0, 0.0]])
    target = torch.tensor([1.0, 0.0, 0.5])
    slow = []
    for row in range(3):
        p = 0.9 / (1 + math.exp(-float((left - right)[row].sum()))) + 0.05
        slow.append(-float(target[row]) * math.log(p) - (1 - float(target[row])) * math.log(1 - p))
    assert float(preference_loss(left, right, target)) == pytest.approx(sum(slow) / 3, abs=1e-6)


def test_a_label_firmly_disbelieved_pulls_only_without_the_error_model() -> None:
    assert abs(gradient(-20.0, 1.0, 0.1)) < 1e-6
    assert gradient(-20.0, 1.0, 0.0) == pytest.approx(-1.0, abs=1e-6)
    pulls = {d / 100: -gradient(d / 100, 1.0, 0.1) for d in range(-600, 600)}
    peak = max(pulls, key=pulls.get)
    assert peak == pytest.approx(-1.47, abs=0.02)
    assert pulls[peak] == pytest.approx(0.627, abs=1e-3)


def test_ties_are_flat_at_equal_returns_and_the_loss_stays_finite() -> None:
    assert gradient(0.0, 0.5, 0.1) == pytest.approx(0.0, abs=1e-12)
    for error_rate in (0.0, 0.1):
        extreme = answer_loss(torch.tensor([1e6, -1e6]), torch.tensor([0.0, 1.0]), error_rate)
        assert torch.isfinite(extreme).all()


def test_members_in_one_pass_equal_members_one_by_one() -> None:
    ensemble = trained(RewardEnsemble(STATES, FORCES, RewardConfig(members=3), seed=4))
    observations, actions = steps(7)
    inputs = torch.from_numpy(np.concatenate([observations, actions], axis=1))
    together = ensemble.member_rewards(observations, actions)
    for k in range(3):
        h = inputs
        for layer in range(3):
            h = h @ ensemble.network.weights[layer][k] + ensemble.network.biases[layer][k]
            h = torch.nn.functional.leaky_relu(h, 0.01) if layer < 2 else h
        np.testing.assert_allclose(together[k], h[:, 0].detach(), atol=1e-5)


def test_pixel_members_in_one_pass_equal_plain_convolutions() -> None:
    ensemble = trained(RewardEnsemble(FRAMES, BUTTONS, RewardConfig(members=2), seed=1))
    network = ensemble.network
    frames = np.random.default_rng(0).integers(0, 256, (6, 4, 84, 84), np.uint8)
    network.train()
    with torch.no_grad():
        network(torch.from_numpy(frames), torch.Generator().manual_seed(0))  # moves the batch statistics
    together = ensemble.member_rewards(frames, np.zeros(6, np.int64))
    for k in range(2):
        layers: list[torch.nn.Module] = []
        for i, (inputs, kernel, stride) in enumerate(((4, 7, 3), (16, 5, 2), (16, 3, 1), (16, 3, 1))):
            conv, norm = torch.nn.Conv2d(inputs, 16, kernel, stride, bias=False), torch.nn.BatchNorm2d(16)
            part = slice(16 * k, 16 * k + 16)
            conv.weight.data = network.weights[i][k].data
            norm.weight.data, norm.bias.data = network.scales[i].data[part], network.shifts[i].data[part]
            norm.running_mean, norm.running_var = (
                network.running_mean[i][part],
                network.running_variance[i][part],
            )
            layers += [conv, norm, torch.nn.LeakyReLU(0.01)]
        plain = torch.nn.Sequential(*layers, torch.nn.Flatten()).eval()
        with torch.no_grad():
            features = plain(torch.from_numpy(frames).float() / 255)
            assert features.shape == (6, 784)
            h = torch.nn.functional.leaky_relu(features @ network.weights[4][k] + network.biases[0][k], 0.01)
            expected = (h @ network.weights[5][k] + network.biases[1][k])[:, 0]
        np.testing.assert_allclose(together[k], expected, atol=1e-4)


def test_both_clips_share_batch_statistics_and_have_their_own_dropout_masks() -> None:
    network = RewardEnsemble(FRAMES, BUTTONS, RewardConfig(), seed=1).network.train()
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 4, 84, 84), np.uint8))
    with torch.no_grad():
        rewards = network(torch.cat([frames, frames]), torch.Generator().manual_seed(0))
        network.dropout = 0.0
        without = network(torch.cat([frames, frames]))
    assert not torch.allclose(rewards[:, :5], rewards[:, 5:])
    torch.testing.assert_close(without[:, :5], without[:, 5:])


def test_members_start_different_and_a_seed_repeats() -> None:
    observations, actions = steps(4)
    first = RewardEnsemble(STATES, FORCES, seed=3).member_rewards(observations, actions)
    again = RewardEnsemble(STATES, FORCES, seed=3).member_rewards(observations, actions)
    other = RewardEnsemble(STATES, FORCES, seed=4).member_rewards(observations, actions)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first[0], first[1])


def test_each_member_is_normalised_before_the_mean() -> None:
    ensemble = trained(RewardEnsemble(STATES, FORCES, RewardConfig(output_std=0.05)))
    observations, actions = steps(500)
    ensemble.set_reference(observations, actions)
    raw = ensemble.member_rewards(observations, actions).astype(np.float64)
    expected = (0.05 * (raw - raw.mean(1, keepdims=True)) / raw.std(1, keepdims=True)).mean(0)
    np.testing.assert_allclose(ensemble.reward(observations, actions), expected, atol=1e-5)
    elsewhere, other_actions = steps(500, seed=9)
    shifted = ensemble.reward(elsewhere + 3, other_actions)  # frozen: other steps change no statistics
    np.testing.assert_array_equal(shifted, ensemble.reward(elsewhere + 3, other_actions))
    np.testing.assert_allclose(ensemble.reward(observations, actions), expected, atol=1e-5)


def test_discrete_actions_are_one_hot() -> None:
    ensemble = RewardEnsemble(STATES, gymnasium.spaces.Discrete(3, start=1))
    observations, _ = steps(3)
    inputs = ensemble.inputs(observations, np.array([1, 3, 2]))
    np.testing.assert_array_equal(inputs[:, 5:], [[1, 0, 0], [0, 0, 1], [0, 1, 0]])


def test_every_path_sees_what_the_policy_sees() -> None:
    normalizer = ObservationNormalizer((5,))
    observations, actions = steps(240)
    observations = 3 * observations + 7
    normalizer.update(observations)
    policy_input = normalizer(observations)
    ours = trained(RewardEnsemble(STATES, FORCES, seed=2, preprocess=normalizer))
    plain = trained(RewardEnsemble(STATES, FORCES, seed=2))
    np.testing.assert_array_equal(ours.inputs(observations, actions)[:, :5], policy_input)
    for ensemble, seen in ((ours, observations), (plain, policy_input)):
        ensemble.set_reference(seen, actions)
    np.testing.assert_array_equal(ours.mean, plain.mean)
    # The reward of a step, the relabelling of many, the query scores.
    for few in (slice(0, 8), slice(None)):
        np.testing.assert_array_equal(
            ours.reward(observations[few], actions[few]), plain.reward(policy_input[few], actions[few])
        )
    clips = (observations.reshape(8, 30, 5), actions.reshape(8, 30, 2))
    np.testing.assert_array_equal(
        ours.clip_returns(*clips), plain.clip_returns(policy_input.reshape(8, 30, 5), clips[1])
    )


def test_clip_returns_are_sums_of_member_rewards() -> None:
    ensemble = trained(RewardEnsemble(STATES, FORCES))
    observations, actions = steps(300)
    summed = ensemble.member_rewards(observations, actions).reshape(3, 10, 30).sum(-1)
    returns = ensemble.clip_returns(observations.reshape(10, 30, 5), actions.reshape(10, 30, 2))
    np.testing.assert_allclose(returns, summed, rtol=1e-4, atol=1e-5)
    clips = [
        Episode(
            {"observation": np.concatenate([observations[i : i + 30], np.zeros((1, 5), np.float32)])},
            actions[i : i + 30],
            np.zeros(30),
            np.arange(31.0),
        )
        for i in range(0, 300, 30)
    ]
    np.testing.assert_allclose(ensemble.predict_clips(clips), returns, rtol=1e-4, atol=1e-5)


def test_rewards_of_a_few_steps_take_microseconds() -> None:
    ensemble = trained(RewardEnsemble(STATES, FORCES))
    observations, actions = steps(16)
    ensemble.reward(observations, actions)
    best = math.inf
    for _ in range(20):
        started = time.process_time()
        for _ in range(20):
            ensemble.reward(observations, actions)
        best = min(best, (time.process_time() - started) / 20)
    assert best < 1e-3  # about 60 microseconds on a quiet machine


def test_state_goes_back_exactly() -> None:
    source = trained(RewardEnsemble(STATES, FORCES, seed=5))
    source.set_reference(*steps(100))
    source.l2[:] = [1e-3, 2e-3, 3e-3]
    state = source.state_dict()
    copy = RewardEnsemble(STATES, FORCES, seed=6)
    copy.load_state_dict(state)
    trained(source, seed=7)  # must change neither the copy nor the state
    second = RewardEnsemble(STATES, FORCES, seed=8)
    second.load_state_dict(state)
    np.testing.assert_array_equal(copy.reward(*steps(16)), second.reward(*steps(16)))
    trained(second, seed=7)
    assert (second.version, second.seed) == (source.version, 5)
    np.testing.assert_array_equal(second.l2, source.l2)
    for ours, theirs in zip(second.network.parameters(), source.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_state_of_other_spaces_is_refused() -> None:
    state = RewardEnsemble(STATES, FORCES).state_dict()
    with pytest.raises(ValueError, match=r"weights\.0 \(3, 7, 64\), this one needs \(3, 8, 64\).*spaces"):
        RewardEnsemble(STATES, BUTTONS).load_state_dict(state)


def test_bad_input_is_named() -> None:
    ensemble = RewardEnsemble(STATES, FORCES)
    observations, actions = steps(4)
    observations[2, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        ensemble.reward(observations, actions)
    with pytest.raises(ValueError, match="expected observations"):
        ensemble.reward(observations[:, :3], actions)
    with pytest.raises(ValueError, match="move the channel axis first"):
        RewardEnsemble(gymnasium.spaces.Box(0, 255, (84, 84, 4), np.uint8), BUTTONS)
    with pytest.raises(ValueError, match="Box or Discrete"):
        RewardEnsemble(STATES, gymnasium.spaces.MultiDiscrete([2, 2]))
    with pytest.raises(ValueError, match="at least 2 steps"):
        ensemble.set_reference(*steps(1))
    with pytest.raises(ValueError, match="error_rate"):
        RewardConfig(error_rate=1.0)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device cuda"):
            RewardEnsemble(STATES, FORCES, RewardConfig(device="cuda"))
