"""Side-tuning in stable-baselines3: the base is run once a frame, never trained, never saved."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.utils import update_learning_rate
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import nn

from agents.sidetuning.baked import BakedBaseVecEnv
from agents.sidetuning.config import METHODS, Alpha, AnyConfig, LoraConfig, SideConfig, SideError
from agents.sidetuning.extractor import SideAdam, SideTunedExtractor, SideTuningCallback
from agents.sidetuning.frozen import FrozenBase, base_at_hand
from agents.sidetuning.policy_agent import SideTunedAgent
from agents.sidetuning.policy_file import FEATURES
from agents.sidetuning.sb3_export import export_sb3

help_ = runpy.run_path(str(Path(__file__).with_name("sidetuning_models.py")))
vector_base: Callable[..., nn.Sequential] = help_["vector_base"]


class Rooms(gymnasium.Env[Any, Any]):
    """Random frames and goals; episodes end after 5 steps, in turn by an end and by time."""

    observation_space = spaces.Dict(
        {"rgb": spaces.Box(0, 255, (3, 16, 16), np.uint8), "goal": spaces.Box(-1, 1, (2,), np.float32)}
    )
    action_space = spaces.Discrete(3)

    def __init__(self) -> None:
        self.steps, self.episodes = 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.episodes = 0, self.episodes + 1
        return self._look(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        ended = self.steps == 5
        by_time = self.episodes % 2 == 0
        return self._look(), float(action == 1), ended and not by_time, ended and by_time, {}

    def _look(self) -> dict[str, Any]:
        rgb = self.np_random.integers(0, 256, (3, 16, 16), dtype=np.uint8)
        return {"rgb": rgb, "goal": self.np_random.uniform(-1, 1, 2).astype(np.float32)}


def rooms(base: FrozenBase | None = None, **options: Any) -> VecEnv:
    env = DummyVecEnv([Rooms, Rooms])
    return env if base is None else BakedBaseVecEnv(env, base, "rgb", **options)


def ppo(env: VecEnv, base: FrozenBase, config: AnyConfig, **options: Any) -> PPO:
    return PPO(
        "MultiInputPolicy",
        env,
        n_steps=8,
        batch_size=8,
        n_epochs=3,
        seed=0,
        device="cpu",
        policy_kwargs={
            "features_extractor_class": SideTunedExtractor,
            "features_extractor_kwargs": {"base": base, "config": config, "base_input": "rgb"},
            "optimizer_class": SideAdam,
            "net_arch": [8],
        },
        **options,
    )


def extractor(model: PPO) -> SideTunedExtractor:
    return model.policy.features_extractor


def test_learning_never_runs_the_base_again() -> None:
    """Once for every frame that comes, the last ones of episodes among them; not once in the epochs."""
    module = vector_base()
    rows: list[int] = []
    module.register_forward_hook(lambda _m, inputs, _o: rows.append(len(inputs[0])))
    base = FrozenBase(module)
    model = ppo(rooms(base), base, SideConfig(side_inputs=("rgb", "goal")))
    rows.clear()
    model.learn(32)
    frames, ended = 2 * (16 + 1), 2 * 3
    assert sum(rows) == frames + ended
    without = ppo(rooms(), FrozenBase(module), SideConfig())
    rows.clear()
    without.learn(32)
    assert sum(rows) > 3 * (frames + ended)


def test_baked_and_live_policies_are_the_same_and_float16_nearly() -> None:
    base = FrozenBase(vector_base())
    live, baked = rooms(), rooms(base)
    live.seed(3)
    baked.seed(3)
    plain, with_base = live.reset(), baked.reset()
    ladder = SideConfig(side="none", merge="ladder", taps=("3", "9"))
    for config, env in ((SideConfig(), baked), (ladder, rooms(base, taps=("3", "9")))):
        if env is not baked:
            env.seed(3)
            with_base = env.reset()
        ours, theirs = ppo(env, base, config).policy, ppo(live, base, config).policy
        values = ours.predict_values(ours.obs_to_tensor(with_base)[0])
        expected = theirs.predict_values(theirs.obs_to_tensor(plain)[0])
        assert torch.allclose(values, expected, atol=1e-6)
    half = rooms(base, dtype=np.float16)
    half.seed(3)
    kept = half.reset()[FEATURES]
    assert kept.dtype == np.float16
    assert np.allclose(kept, baked_features(base, plain["rgb"]), atol=1e-2)


def baked_features(base: FrozenBase, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return base.module(torch.from_numpy(images).float() / 255).numpy()


def test_the_last_frame_of_an_episode_has_its_own_features() -> None:
    base = FrozenBase(vector_base())
    env = rooms(base)
    env.reset()
    for _ in range(5):
        observations, _, dones, infos = env.step(np.array([0, 1]))
    assert dones.all()
    for row, info in enumerate(infos):
        last = info["terminal_observation"]
        assert np.allclose(last[FEATURES], baked_features(base, last["rgb"][None])[0], atol=1e-6)
        assert not np.array_equal(last[FEATURES], observations[FEATURES][row])
        assert env.observation_space.contains(last)


def test_training_leaves_base_and_statistics_alone_and_logs_alpha() -> None:
    module = vector_base()
    base = FrozenBase(module)
    statistics = module[1].running_mean.clone()
    model = ppo(rooms(), base, SideConfig(alpha=Alpha.learned(0.5, 20.0)), learning_rate=1e-3)
    weights = [parameter.clone() for parameter in extractor(model).parameters()]
    model.learn(64, callback=SideTuningCallback())
    model.policy.set_training_mode(True)
    assert not module.training
    assert torch.equal(module[1].running_mean, statistics)
    assert FrozenBase(module).sha256 == base.sha256
    learnt = zip(weights, extractor(model).parameters(), strict=True)
    assert not all(torch.equal(old, new) for old, new in learnt)
    owned = {id(p) for group in model.policy.optimizer.param_groups for p in group["params"]}
    assert not owned & {id(p) for p in module.parameters()}
    assert abs(extractor(model).model.alpha - 0.5) > 5e-3


def test_a_changed_base_is_reported_at_the_end_of_training() -> None:
    module = vector_base()
    model = ppo(rooms(), FrozenBase(module), SideConfig())

    class Meddling(SideTuningCallback):
        def _on_step(self) -> bool:
            with torch.no_grad():
                module[9].bias += 1e-3
            return True

    with pytest.raises(SideError, match="the base was changed in training"):
        model.learn(16, callback=Meddling())


def test_alpha_follows_its_schedule_between_rollouts() -> None:
    base = FrozenBase(vector_base())
    model = ppo(rooms(base), base, SideConfig(alpha=Alpha.linear(1.0, 0.0, 4)))
    model.learn(48, callback=SideTuningCallback())  # 3 rollouts of 2 x 8 steps
    assert extractor(model).model.alpha == 0.5


def test_the_policy_does_not_draw_new_weights_over_a_prepared_side() -> None:
    """Orthogonal initialisation would: a zero or copied side would not start as what it is."""
    base = FrozenBase(vector_base())
    env = rooms(base)
    observations = env.reset()
    for config in (SideConfig(init="zero", merge="sum"), METHODS["finetune"]):
        policy = ppo(env, base, config).policy
        policy.set_training_mode(False)
        features = policy.extract_features(policy.obs_to_tensor(observations)[0])
        assert np.allclose(features[:, :16].detach().numpy(), observations[FEATURES], atol=1e-6)
        assert np.array_equal(features[:, 16:].detach().numpy(), observations["goal"])


def test_alpha_keeps_its_rate_when_the_learner_sets_another() -> None:
    base = FrozenBase(vector_base())
    optimizer = ppo(rooms(), base, SideConfig()).policy.optimizer
    (alpha,) = (group["params"][0] for group in optimizer.param_groups if group["multiplier"] == 20.0)
    update_learning_rate(optimizer, 1e-3)
    before = alpha.item()
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert before - alpha.item() == pytest.approx(0.02, rel=1e-3)  # Adam's first step is its rate
    assert {group["lr"] for group in optimizer.param_groups} == {1e-3}


def test_a_saved_policy_has_no_copy_of_its_base_and_asks_for_it(tmp_path: Path) -> None:
    big = nn.Sequential(vector_base(), nn.Linear(16, 100_000), nn.Linear(100_000, 16))
    base = FrozenBase(big)
    env = rooms(base)
    model = ppo(env, base, SideConfig())
    model.save(tmp_path / "policy.zip")
    assert (tmp_path / "policy.zip").stat().st_size < 1_000_000 < sum(p.nbytes for p in big.parameters())
    assert not any(".base." in name for name in model.policy.state_dict())
    with base_at_hand(vector_base(), big):
        again = PPO.load(tmp_path / "policy.zip", device="cpu")
    observations = env.reset()
    values = [one.policy.predict_values(one.policy.obs_to_tensor(observations)[0]) for one in (model, again)]
    assert torch.equal(*values)
    with pytest.raises(SideError, match="none is at hand"):
        PPO.load(tmp_path / "policy.zip", device="cpu")
    with base_at_hand(vector_base()), pytest.raises(SideError, match="another one is at hand"):
        PPO.load(tmp_path / "policy.zip", device="cpu")


def test_policies_of_one_base_go_to_the_robot_in_one_file() -> None:
    """Trained with baked features and without; the agent decides as `predict` does, from raw frames."""
    module = vector_base()
    base = FrozenBase(module)
    ladder = SideConfig(side="none", merge="ladder", taps=("3",))
    policies = {
        "office": ppo(rooms(base), base, SideConfig(side_inputs=("rgb", "goal"))).learn(16).policy,
        "garden": ppo(rooms(base, taps=("3",)), base, ladder).learn(16).policy,
        "stairs": ppo(rooms(), base, LoraConfig()).learn(16).policy,
    }
    live = rooms()
    live.seed(5)
    observations = live.reset()
    policy_file, difference = export_sb3(policies, observations)
    assert difference < 1e-5
    agent = SideTunedAgent(policy_file, providers=("CPUExecutionProvider",))
    assert agent.adapters == tuple(policies)
    agent.set_adapter("stairs")
    actions = policies["stairs"].predict(observations, deterministic=True)[0]
    assert [
        agent.act({key: x[row] for key, x in observations.items()}) for row in range(2)
    ] == actions.tolist()
    other = FrozenBase(vector_base(9))
    with pytest.raises(SideError, match="other base"):
        export_sb3({**policies, "x": ppo(rooms(), other, SideConfig()).policy}, observations)


def test_what_does_not_fit_is_refused() -> None:
    base = FrozenBase(vector_base())
    space = Rooms.observation_space
    with pytest.raises(SideError, match="which of goal, rgb does the base read"):
        SideTunedExtractor(space, base, SideConfig())
    with pytest.raises(SideError, match=r"leave config\.head empty"):
        SideTunedExtractor(space, base, SideConfig(head=(3,)), "rgb")
    with pytest.raises(SideError, match="no sensor 'depth' for the base"):
        BakedBaseVecEnv(rooms(), base, "depth")
