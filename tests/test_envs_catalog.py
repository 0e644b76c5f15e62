"""Environments by name, the choice of back-end, and the fall-backs."""

import subprocess
import sys
from importlib.util import find_spec

import gymnasium
import numpy as np
import pytest

import envs
from envs.batch import Array, StateUnavailableError
from envs.catalog import (
    ENVIRONMENTS,
    UnknownEnvironmentError,
    available_backends,
    fastest_backend,
    make,
    make_vec,
    measure_backends,
)
from envs.sync_batch import SyncBatch


class Counter(gymnasium.Env):
    """Observes how many steps it made since its start; ends after `limit`; gives NaN at step `bad`."""

    observation_space = gymnasium.spaces.Box(0, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float64)

    def __init__(self, limit: int = 3, bad: int | None = None, bad_reward: int | None = None) -> None:
        self.limit, self.bad, self.bad_reward, self.count = limit, bad, bad_reward, 0

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[Array, dict[str, object]]:
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, object]]:
        self.count += 1
        value = np.nan if self.count == self.bad else float(self.count)
        reward = np.inf if self.count == self.bad_reward else 2.0 * self.count
        return np.array([value]), reward, self.count >= self.limit, False, {"twice": reward, "text": "no"}


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    for function in (make, lambda name: make_vec(name, 1, 0)):
        with pytest.raises(UnknownEnvironmentError, match=r"atari:Pong.*ENVIRONMENTS lists all"):
            function("atari:Pog")


def test_a_missing_simulator_is_named_with_its_pip_line() -> None:
    code = """
import sys
from importlib.util import find_spec
sys.modules.update(mujoco=None, ale_py=None, envpool=None)
from envs.catalog import MissingExtraError, make, make_vec
for function in (make, lambda name: make_vec(name, 1, 0), lambda name: make_vec(name, 1, 0, backend="sync")):
    for name in ("mujoco:Hopper", "atari:Pong"):
        try:
            function(name)
        except MissingExtraError as error:
            print(error)
try:
    make_vec("atari:Pong", 1, 0, backend="envpool")
except MissingExtraError as error:
    print(error)
make("classic:Pendulum")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    lines = ran.stdout.splitlines()
    assert len(lines) == 7
    for line in lines[:6]:
        assert 'pip install "surefoot[sim]"' in line
        assert "mujoco:Hopper needs mujoco" in line or "atari:Pong needs ale_py" in line
    assert "needs envpool" in lines[6]
    assert 'pip install "surefoot[envpool]"' in lines[6]


def test_an_older_mujoco_falls_back_to_one_after_the_other() -> None:
    code = """
import sys
from importlib.util import find_spec
import mujoco
sys.modules["mujoco.batch"] = None
from envs.catalog import MissingExtraError, fastest_backend, make_vec
print(fastest_backend("mujoco"), type(make_vec("mujoco:Hopper", 2, 0)).__name__)
try:
    make_vec("mujoco:Hopper", 2, 0, backend="native")
except MissingExtraError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    chosen, refusal = ran.stdout.splitlines()
    assert chosen == "sync SyncBatch"
    assert "older than 3.17" in refusal


def test_importing_envs_loads_no_simulator() -> None:
    code = "import sys, envs; print({'mujoco', 'ale_py', 'cv2', 'envpool', 'torch'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "set()"


def test_what_envs_offers() -> None:
    assert envs.make is make
    assert {"make", "make_vec", "Episode", "Clip", "EpisodeDataset", "rollout"} == set(envs.__all__)
    assert all(hasattr(envs, name) for name in envs.__all__)


def test_the_seed_of_make_decides_the_first_episode_and_the_actions() -> None:
    first, second, other = (make("classic:Pendulum", seed=seed) for seed in (1, 1, 2))
    start = first.reset()[0]
    np.testing.assert_array_equal(start, second.reset()[0])
    assert (start != other.reset()[0]).any()
    assert first.action_space.sample() == second.action_space.sample()


@pytest.mark.parametrize("name", ["mujoco:Hopper", "classic:Pendulum", "pixel:MovingDot", "atari:Pong"])
def test_back_ends_that_equal_make_agree(name: str) -> None:
    assert fastest_backend(name.partition(":")[0]) == "native"
    native, sync, auto = (make_vec(name, 2, 4, backend=choice) for choice in ("native", "sync", "auto"))
    assert type(auto) is type(native)
    observations = native.reset(4)
    np.testing.assert_array_equal(observations, sync.reset(4))
    native.action_space.seed(0)
    for _ in range(40):
        actions = np.stack([native.action_space.sample() for _ in range(2)])
        ours, theirs = native.step(actions), sync.step(actions)
        np.testing.assert_array_equal(ours.observations, theirs.observations)
        np.testing.assert_allclose(ours.rewards, theirs.rewards, rtol=1e-5, atol=1e-6)
    physics, other = native.physics(), sync.physics()
    assert (physics is None) == (other is None)
    if physics is not None:
        np.testing.assert_allclose(physics, other)


def test_bad_requests_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="at least one copy"):
        make_vec("classic:Pendulum", 0, 0)
    with pytest.raises(ValueError, match='"native", "sync" or "envpool"'):
        make_vec("classic:Pendulum", 1, 0, backend="fast")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(ValueError, match="no preference variant"):
        make_vec("atari:Pong", 1, 0, preferences=True, backend="envpool")


def test_back_ends_are_measured() -> None:
    assert available_backends("classic:Pendulum") == ("native", "sync")
    speeds = measure_backends("classic:Pendulum", n=4, seconds=0.2)
    assert set(speeds) == {"native", "sync"}
    assert all(speed > 0 for speed in speeds.values())


@pytest.mark.skipif(find_spec("envpool") is None, reason='optional: pip install "surefoot[envpool]"')
@pytest.mark.parametrize("name", ["mujoco:Hopper", "atari:Breakout"])
def test_envpool_ends_episodes_in_the_same_step(name: str) -> None:
    batch = make_vec(name, 3, 0, backend="envpool", threads=1)
    single = make(name)
    assert batch.observation_space.shape == single.observation_space.shape
    assert batch.dt == pytest.approx(single.get_wrapper_attr("dt"))
    observations = batch.reset()
    batch.action_space.seed(0)
    ended = 0
    for _ in range(300):
        step = batch.step(np.stack([batch.action_space.sample() for _ in range(3)]))
        assert step.observations.shape == observations.shape
        for copy in np.flatnonzero(step.ended):
            assert step.final_observations is not None
            assert (step.final_observations[copy] != step.observations[copy]).any()
            ended += 1
        if ended:
            break
    assert ended
    with pytest.raises(StateUnavailableError):
        batch.get_state()
    batch.close()


def test_copies_start_anew_in_the_step_that_ends_them() -> None:
    limits = iter([3, 5])
    batch = SyncBatch(lambda: Counter(next(limits)), 2)
    batch.reset(0)
    steps = [batch.step(np.zeros((2, 1))) for _ in range(5)]
    np.testing.assert_array_equal(
        [s.observations[:, 0] for s in steps], [[1, 1], [2, 2], [0, 3], [1, 4], [2, 0]]
    )
    assert steps[2].final_observations is not None
    assert steps[2].final_observations[0, 0] == 3
    assert steps[3].final_observations is None
    np.testing.assert_array_equal(steps[4].terminated, [False, True])
    np.testing.assert_array_equal(steps[1].infos["true_reward"], [4.0, 4.0])
    assert set(steps[1].infos) == {"true_reward", "twice"}
    with pytest.raises(StateUnavailableError, match="get_state"):
        batch.get_state()


@pytest.mark.parametrize(
    ("fault", "what"), [({"bad": 2}, "NaN in its observation"), ({"bad_reward": 2}, "reward inf")]
)
def test_nan_from_an_environment_is_an_error(fault: dict[str, int], what: str) -> None:
    batch = SyncBatch(lambda: Counter(5, **fault), 2)
    batch.reset(0)
    batch.step(np.zeros((2, 1)))
    with pytest.raises(FloatingPointError, match=f"NaN from an environment: copy 0 of Counter.*{what}"):
        batch.step(np.zeros((2, 1)))


def test_every_family_is_in_the_list() -> None:
    families = {name.partition(":")[0] for name in ENVIRONMENTS}
    assert families == {"mujoco", "classic", "pixel", "atari", "rover"}
