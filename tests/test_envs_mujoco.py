import math
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs.batch import BatchEnv
from envs.mujoco import make_mujoco
from envs.mujoco_batch import MujocoBatch, native_batch_available
from envs.mujoco_spec import Motion
from envs.mujoco_tasks import TASKS, full_rotations
from envs.tasks import task_info

COPIES = 3
variants = pytest.mark.parametrize("preferences", [False, True], ids=["standard", "preferences"])
tasks = pytest.mark.parametrize("task", TASKS)


def random_actions(task_env: object, steps: int, seed: int = 3) -> np.ndarray:
    space = task_env.action_space  # type: ignore[attr-defined]
    draw = np.random.default_rng(seed).uniform(space.low, space.high, (steps, COPIES, *space.shape))
    return draw.astype(np.float32)


@tasks
@variants
def test_the_batch_is_step_for_step_the_single_environment(task: str, preferences: bool) -> None:
    batch = MujocoBatch(task, COPIES, seed=11, preferences=preferences, threads=2)
    singles = [make_mujoco(task, preferences=preferences) for _ in range(COPIES)]
    # Shortened, so that resets by the limit are among the steps of every task.
    batch.episode_steps = min(batch.episode_steps, 170)
    for single in singles:
        single.episode_steps = batch.episode_steps
    first = np.stack([single.reset(seed=11 + i)[0] for i, single in enumerate(singles)])
    np.testing.assert_allclose(batch.reset(seed=11), first, rtol=0, atol=1e-12)
    ends = 0
    for actions in random_actions(batch, 400):
        step = batch.step(actions)
        for i, single in enumerate(singles):
            observation, reward, terminated, truncated, info = single.step(actions[i])
            assert (terminated, truncated) == (step.terminated[i], step.truncated[i])
            assert np.float32(reward) == pytest.approx(step.rewards[i], abs=1e-6)
            for name, values in step.infos.items():
                assert values[i] == pytest.approx(info[name], rel=1e-6, abs=1e-6), name
            if terminated or truncated:
                ends += 1
                assert step.final_observations is not None
                np.testing.assert_allclose(step.final_observations[i], observation, rtol=0, atol=1e-9)
                observation = single.reset()[0]
            np.testing.assert_allclose(step.observations[i], observation, rtol=0, atol=1e-9)
            np.testing.assert_array_equal(batch.physics()[i], single.physics())
    assert ends >= COPIES


@tasks
def test_the_standard_variant_is_gymnasiums_own(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # gymnasium's HalfCheetah makes MuJoCo write a log to the current folder
    if TASKS[task].own_observation:
        return
    ours = MujocoBatch(task, COPIES, seed=5, threads=1)
    theirs = gymnasium.make_vec(f"{task}-v5", 1)
    observation, _ = theirs.reset(seed=5)
    np.testing.assert_allclose(ours.reset(seed=5)[0], observation[0], rtol=0, atol=1e-12)
    for actions in random_actions(ours, 300):
        step = ours.step(actions)
        observation, reward, terminated, truncated, _ = theirs.step(actions[:1])
        assert step.rewards[0] == pytest.approx(float(reward[0]), abs=1e-6)
        assert (step.terminated[0], step.truncated[0]) == (terminated[0], truncated[0])
        if step.ended[0]:
            break
        np.testing.assert_allclose(step.observations[0], observation[0], rtol=0, atol=1e-9)
    theirs.close()
    assert ours.episode_steps == gymnasium.spec(f"{task}-v5").max_episode_steps


@tasks
@variants
@pytest.mark.filterwarnings("ignore:.*Box observation space.*infinity")
@pytest.mark.filterwarnings("ignore:.*For Box action spaces, we recommend")
def test_gymnasium_accepts_the_environment(task: str, preferences: bool) -> None:
    check_env(make_mujoco(task, preferences=preferences), skip_render_check=True)


@tasks
def test_preference_episodes_have_constant_length_and_hide_the_reward(task: str) -> None:
    batch = MujocoBatch(task, COPIES, seed=0, preferences=True, threads=1)
    limit = task_info(f"mujoco:{task}").episode_steps
    assert batch.episode_steps == limit
    hidden = []
    for count, actions in enumerate(random_actions(batch, limit), start=1):
        step = batch.step(actions)
        assert not step.terminated.any()
        assert step.truncated.all() == step.truncated.any() == (count == limit)
        assert not step.rewards.any()
        hidden.append(step.infos["true_reward"])
    assert np.std(hidden) > 0


@pytest.mark.parametrize("task", [task for task in TASKS if task != "HopperBackflip"])
def test_no_torque_is_paid_for_in_the_preference_reward(task: str) -> None:
    """The backflip's teacher pays for the joints' work, which a viewer sees as an extending leg."""
    batch = MujocoBatch(task, COPIES, seed=0, preferences=True, threads=1)
    fields = {name: batch._batch.bind(name) for name in ("qpos", "qvel", *TASKS[task].fields)}
    still = np.zeros((COPIES, *batch.action_space.shape), np.float32)
    rewards = [
        TASKS[task].preference_reward(Motion(fields, actions, np.ones(COPIES)))
        for actions in (still, still + 1)
    ]
    np.testing.assert_array_equal(rewards[0], rewards[1])


@pytest.mark.parametrize(
    ("task", "qpos", "expected"),
    [
        # upright, velocity 3 m/s: forward + survival + (z - bound)
        ("Hopper", {1: 1.25}, 3 + 1 + 0.25),
        ("Hopper", {1: 0.3}, 3 + 0 - 0.7),
        ("Walker2d", {1: 1.25}, 3 + 1 - 0.75),
        ("Ant", {2: 0.5}, 3 - 0.7),
        ("Humanoid", {2: 1.4}, 1.25 * 3 + 5 * 0.4),
        ("HalfCheetah", {}, 3),
        ("Swimmer", {}, 3),
        ("InvertedPendulum", {1: 0.1}, 1 - 0.01),
        ("InvertedPendulum", {1: 0.5}, 0 - 0.25),
    ],
)
def test_preference_rewards_are_the_written_formulas(
    task: str, qpos: dict[int, float], expected: float
) -> None:
    positions = np.zeros((1, 24))
    for index, value in qpos.items():
        positions[0, index] = value
    motion = Motion({"qpos": positions, "qvel": np.zeros((1, 24))}, np.ones((1, 6)), np.array([3.0]))
    assert TASKS[task].preference_reward(motion)[0] == pytest.approx(expected)


@tasks
@variants
def test_a_saved_state_goes_on_bit_for_bit(task: str, preferences: bool) -> None:
    batch = MujocoBatch(task, COPIES, seed=1, preferences=preferences, threads=2)
    batch.episode_steps = 60  # the saved stretch has resets, which draw from the generators
    actions = random_actions(batch, 90)
    for action in actions[:40]:
        batch.step(action)
    state = batch.get_state()
    expected = [batch.step(action) for action in actions[40:]]
    for going_on in (batch, MujocoBatch(task, COPIES, seed=99, preferences=preferences, threads=1)):
        going_on.episode_steps = 60
        observations = going_on.set_state(state)
        np.testing.assert_array_equal(observations, state["observations"])
        for action, want in zip(actions[40:], expected, strict=True):
            got = going_on.step(action)
            np.testing.assert_array_equal(got.observations, want.observations)
            np.testing.assert_array_equal(got.rewards, want.rewards)
            np.testing.assert_array_equal(got.ended, want.ended)
            for name, values in want.infos.items():
                np.testing.assert_array_equal(got.infos[name], values)


def test_the_state_of_another_batch_is_refused() -> None:
    state = MujocoBatch("Hopper", 2, seed=0, threads=1).get_state()
    for other in (MujocoBatch("HopperBackflip", 2, seed=0), MujocoBatch("Hopper", 3, seed=0)):
        with pytest.raises(ValueError, match="the state is one of Hopper"):
            other.set_state(state)


def test_a_full_backward_turn_counts_when_the_hopper_is_upright_again() -> None:
    turn = 2 * math.pi
    pitch_and_height = [
        (0.0, 1.2, 0),
        (turn, 1.2, 0),  # forward
        (-3.0, 1.2, 0),
        (0.1 - turn, 1.2, 1),
        (0.3 - turn, 1.2, 0),
        (-turn, 0.3, 0),  # lying
        (-2 * turn - 0.1, 0.8, 2),
    ]
    qpos = np.zeros((len(pitch_and_height), 6))
    qpos[:, 2], qpos[:, 1], expected = np.transpose(pitch_and_height)
    np.testing.assert_array_equal(full_rotations(qpos), expected)


def test_rotations_are_kept_until_the_episode_ends() -> None:
    batch = MujocoBatch("HopperBackflip", 2, seed=0, preferences=True, threads=1)
    state = batch.get_state()
    batch._fields["qpos"][1, 2] = -2 * math.pi
    batch._fields["qpos"][1, 1] = 3.0  # in the air
    still = np.zeros((2, 3), np.float32)
    np.testing.assert_array_equal(batch.step(still).infos["rotations"], [0, 1])
    batch._fields["qpos"][1, 2] = 0.0
    np.testing.assert_array_equal(batch.step(still).infos["rotations"], [0, 1])
    batch.set_state(state)
    np.testing.assert_array_equal(batch.step(still).infos["rotations"], [0, 0])


def test_the_backflip_teacher_wants_backward_spin_high_up_with_a_working_leg() -> None:
    def reward(height: float, rate: float, speed: float = 0.0, torque: float = 0.0) -> float:
        qpos, qvel = np.zeros((1, 6)), np.zeros((1, 6))
        qpos[0, 1], qvel[0, 2], qvel[0, 0], qvel[0, 3:] = height, rate, speed, 1.0
        motion = Motion({"qpos": qpos, "qvel": qvel}, np.full((1, 3), torque), np.zeros(1))
        return float(TASKS["HopperBackflip"].reward(motion)[0])

    assert reward(1.5, -6) > reward(1.5, -1) > 0 > reward(1.5, 4), "backward is a negative rate"
    assert reward(1.5, -6) > reward(0.5, -6)
    assert reward(1.5, -6, torque=1.0) > reward(1.5, -6)
    assert reward(1.5, -6, speed=-1.0) > reward(1.5, -6, speed=1.0)
    assert reward(1.5, 0) == 0, "standing pays nothing"


def test_a_simulation_that_diverges_names_copy_and_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its own log to the current folder
    batch = MujocoBatch("Hopper", COPIES, seed=0, preferences=True, threads=1)
    still = np.zeros((COPIES, 3), np.float32)
    batch.step(still)
    batch._fields["qvel"][1, 0] = np.nan
    with pytest.raises(FloatingPointError, match=r"copy 1: NaN.* qvel at step 2 "):
        batch.step(still)
    batch.reset()
    assert np.isfinite(batch.step(still).observations).all()
    with pytest.raises(FloatingPointError, match=r"copy 0: .*ctrl \(the action\)"):
        batch.step(np.full((COPIES, 3), np.nan))
    single = make_mujoco("Hopper", preferences=True)
    single.reset(seed=0)
    with pytest.raises(FloatingPointError, match=r"ctrl \(the action\) at step 1 "):
        single.step(np.full(3, np.nan))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="n=0"):
        MujocoBatch("Hopper", 0, seed=0)
    with pytest.raises(ValueError, match="threads"):
        MujocoBatch("Hopper", 1, seed=0, threads=0)
    with pytest.raises(ValueError, match=r"expects actions \(2, 3\), got \(3,\)"):
        MujocoBatch("Hopper", 2, seed=0, threads=1).step(np.zeros(3))


def test_results_do_not_depend_on_threads_and_steps_own_their_arrays() -> None:
    one, two = (MujocoBatch("Ant", COPIES, seed=0, threads=threads) for threads in (1, 2))
    assert isinstance(one, BatchEnv)
    assert native_batch_available()
    steps = [(one.step(actions), two.step(actions)) for actions in random_actions(one, 50)]
    for a, b in steps:
        np.testing.assert_array_equal(a.observations, b.observations)
    assert len({a.observations[0].tobytes() for a, _ in steps}) == 50


def test_loading_a_model_leaves_no_log_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_mujoco("HalfCheetah").close()
    MujocoBatch("HalfCheetah", 1, seed=0).close()
    assert not list(tmp_path.iterdir())
