"""Atari: the plain path against gymnasium's preprocessing, the native batch against the plain path."""

import ale_py
import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import AtariPreprocessing

from envs.atari import FIRE, GAMES, AtariEnv, NoopDraw, make_atari
from envs.atari_batch import AtariBatch
from envs.batch import Array, BatchStep, StateUnavailableError
from envs.sync_batch import SyncBatch

N = 2
NOOP, RIGHT = 0, 2
ONE_NOOP = next(seed for seed in range(1000) if NoopDraw(seed).draw() == 1)


def play(batch: AtariBatch | SyncBatch, actions: Array, seed: int = 7) -> tuple[Array, list[BatchStep]]:
    """actions: (T, N)."""
    return batch.reset(seed), [batch.step(row) for row in actions]


def random_actions(count: int, actions: int, copies: int = N) -> Array:
    return np.random.default_rng(3).integers(0, actions, (count, copies))


@pytest.mark.parametrize("game", ["Pong", "SpaceInvaders", "Qbert"])
def test_frames_are_those_of_gymnasium(game: str) -> None:
    gymnasium.register_envs(ale_py)
    raw = gymnasium.make(f"ALE/{game}-v5", frameskip=1, repeat_action_probability=0.0)
    theirs = AtariPreprocessing(raw, noop_max=1)
    ours = make_atari(game)
    frame, _ = theirs.reset(seed=0)
    observation, _ = ours.reset(seed=ONE_NOOP)
    np.testing.assert_array_equal(observation[-1], frame)
    assert not observation[:-1].any()
    frames = [observation[1], observation[2], frame]
    assert ours.action_space == theirs.action_space
    for action in random_actions(150, int(ours.action_space.n), 1)[:, 0]:
        frame, reward, over, _, _ = theirs.step(action)
        observation, _, terminated, _, info = ours.step(action)
        frames = [*frames[-3:], frame]
        np.testing.assert_array_equal(observation, frames)
        assert (info["score"], terminated) == (reward, over)
    theirs.close()


@pytest.mark.parametrize(
    ("game", "options"),
    [
        *((game, {}) for game in GAMES),
        *((game, {"preferences": True}) for game in GAMES),
        *((game, {"life_loss_terminates": True}) for game in ("Breakout", "Qbert", "SpaceInvaders")),
    ],
    ids=str,
)
def test_the_native_batch_plays_as_the_plain_path(game: str, options: dict[str, bool]) -> None:
    # Breakout needs more steps: its games end in them, and it serves.
    steps, limit = (300, 250) if game == "Breakout" else (50, 22)

    def make_one() -> AtariEnv:
        return make_atari(game, episode_steps=limit, **options)

    native = AtariBatch(game, N, episode_steps=limit, **options)
    plain = SyncBatch(make_one, N)
    actions = random_actions(steps, int(native.action_space.n))
    first, ours = play(native, actions)
    expected, theirs = play(plain, actions)
    np.testing.assert_array_equal(first, expected)
    for step, other in zip(ours, theirs, strict=True):
        for name in ("observations", "rewards", "terminated", "truncated"):
            np.testing.assert_array_equal(getattr(step, name), getattr(other, name), name)
        for name in ("true_reward", "score"):
            np.testing.assert_array_equal(step.infos[name], other.infos[name], name)
        if step.ended.any():
            assert step.final_observations is not None
            assert other.final_observations is not None
            np.testing.assert_array_equal(
                step.final_observations[step.ended], other.final_observations[step.ended]
            )
    ends = np.array([step.ended for step in ours])
    assert ends.any(axis=0).all()
    native.close()


def test_threads_do_not_change_what_happens() -> None:
    actions = random_actions(80, 4, 3)
    (_, one), (_, two) = (play(AtariBatch("Breakout", 3, threads=threads), actions) for threads in (1, 2))
    for step, other in zip(one, two, strict=True):
        np.testing.assert_array_equal(step.observations, other.observations)


def test_a_lost_life_terminates_but_the_game_goes_on() -> None:
    # The paddle rests on the left, so balls are lost: five lives, one game.
    batch = AtariBatch("Breakout", 1, 7, life_loss_terminates=True)
    whole = AtariBatch("Breakout", 1, 7)
    batch.reset(), whole.reset()
    left = np.array([3])
    lives = games = 0
    for _ in range(400):
        step, game = batch.step(left), whole.step(left)
        np.testing.assert_array_equal(step.observations, game.observations)
        lives += int(step.terminated[0])
        if step.terminated[0] and not game.terminated[0]:
            assert step.final_observations is not None
            np.testing.assert_array_equal(step.final_observations, step.observations)
        games += int(game.terminated[0])
        if games:
            break
    assert (games, lives) == (1, 5)


def test_breakout_is_served_without_the_agents_help() -> None:
    env = make_atari("Breakout")
    env.reset(seed=0)
    ended = [env.step(NOOP)[2] for _ in range(400)]
    assert any(ended)


def test_a_reset_with_a_seed_starts_anew_even_after_a_lost_life() -> None:
    env = make_atari("Breakout", life_loss_terminates=True)
    first, _ = env.reset(seed=3)
    while not env.step(NOOP)[2]:
        pass
    np.testing.assert_array_equal(env.reset(seed=3)[0], first)


def test_rewards_are_clipped_and_true_rewards_are_not() -> None:
    steps = play(AtariBatch("SpaceInvaders", N), random_actions(120, 6))[1]
    rewards = np.array([step.rewards for step in steps])
    true_rewards = np.array([step.infos["true_reward"] for step in steps])
    assert true_rewards.max() >= 5
    np.testing.assert_array_equal(rewards, true_rewards > 0)


@pytest.mark.parametrize("game", GAMES)
def test_the_score_is_hidden_in_the_preference_variant_only(game: str) -> None:
    # Qbert shows its score only when the figure has jumped for some time.
    actions = random_actions(300 if game == "Qbert" else 20, 4, 1)
    hidden = np.zeros((84, 84), bool)
    for top, bottom, left, right in GAMES[game].hidden:
        hidden[top:bottom, left:right] = True
    seen = play(AtariBatch(game, 1), actions)[1]
    masked = play(AtariBatch(game, 1, preferences=True), actions)[1]
    assert any(step.observations[..., hidden].any() for step in seen)
    for step, other in zip(seen, masked, strict=True):
        if step.terminated.any():  # the stacks part: one begins anew
            break
        assert not other.observations[..., hidden].any()
        np.testing.assert_array_equal(step.observations[..., ~hidden], other.observations[..., ~hidden])


def test_another_score_gives_the_same_observation() -> None:
    # Pong keeps its two scores in RAM 13 and 14: with others, only hidden pixels may change.
    env = make_atari("Pong", preferences=True, render_mode="rgb_array")
    env.reset(seed=0)
    for _ in range(20):
        env.step(NOOP)
    state = env.get_state()
    observation, screen = env.step(NOOP)[0], env.render()
    env.set_state(state)
    env._ale.setRAM(13, 9)
    env._ale.setRAM(14, 17)
    np.testing.assert_array_equal(env.step(NOOP)[0], observation)
    assert (env.render() != screen).any()


def test_nothing_tells_of_the_end_of_a_game() -> None:
    env = make_atari("Breakout", preferences=True)
    observation, _ = env.reset(seed=0)
    penalties = 0.0
    for _ in range(300):
        following, reward, terminated, truncated, info = env.step(NOOP)
        np.testing.assert_array_equal(following[:-1], observation[1:])  # no break in the stack
        assert (reward, terminated, truncated) == (0.0, False, False)
        penalties += info["score"] - info["true_reward"]
        observation = following
    assert penalties >= GAMES["Breakout"].end_penalty


def test_pong_has_no_penalty() -> None:
    assert [game for game, facts in GAMES.items() if facts.end_penalty == 0] == ["Pong"]


@pytest.mark.parametrize("preferences", [False, True])
def test_the_plain_path_goes_on_from_a_saved_state(preferences: bool) -> None:
    def batch() -> SyncBatch:
        return SyncBatch(lambda: make_atari("Breakout", preferences=preferences, episode_steps=250), 2)

    actions = random_actions(320, 4, 2)
    run = batch()
    run.reset(5)
    for row in actions[:60]:
        run.step(row)
    state = run.get_state()
    rest = [run.step(row) for row in actions[60:]]
    again = batch()
    again.set_state(state)
    for row, expected in zip(actions[60:], rest, strict=True):
        step = again.step(row)
        np.testing.assert_array_equal(step.observations, expected.observations)
        np.testing.assert_array_equal(step.infos["true_reward"], expected.infos["true_reward"])
        np.testing.assert_array_equal(step.ended, expected.ended)
    assert any(step.ended.any() for step in rest)


def test_the_native_batch_says_that_it_has_no_state() -> None:
    batch = AtariBatch("Pong", 1)
    batch.reset(0)
    with pytest.raises(StateUnavailableError, match='backend="sync"'):
        batch.get_state()


@pytest.mark.parametrize(
    "actions", [np.array([0, 6]), np.array([-1, 0]), np.array([0]), np.array([0.0, 1.0])]
)
def test_a_wrong_action_is_an_error_and_no_endless_wait(actions: Array) -> None:
    batch = AtariBatch("Pong", 2)
    batch.reset(0)
    with pytest.raises(ValueError, match="expected"):
        batch.step(actions)
    batch.step(np.array([FIRE, RIGHT]))  # still usable


def test_the_draw_of_no_ops_is_uniform_from_0_to_30() -> None:
    noops = NoopDraw(1)
    counts = np.bincount([noops.draw() for _ in range(31_000)], minlength=31)
    assert len(counts) == 31
    assert 850 < counts.min() <= counts.max() < 1150


def test_colour_frames_are_drawn_on_request() -> None:
    env = make_atari("Enduro", render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame is not None
    assert (frame.shape, frame.dtype) == ((210, 160, 3), np.uint8)
    assert make_atari("Enduro").render() is None
    with pytest.raises(ValueError, match="rgb_array"):
        make_atari("Enduro", render_mode="human")
