"""Many copies of an Atari game on ale_py's native threads; the same trajectories as `atari.AtariEnv`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.atari import FIRE, FRAME_SKIP, GAMES, NOOP_MAX, SIZE, STACK, STEP_SECONDS, default_steps, hide_score
from envs.atari import observation_space as atari_observation_space
from envs.batch import Array, BatchStep, StateUnavailableError, usable_cores


class AtariBatch:
    """N copies of one game, stepped by `threads` threads (default: the cores this process may use).

    Variants, rewards, infos and `life_loss_terminates` are AtariEnv's. Two of the native options are
    left alone on purpose: `episodic_life` starts the whole game anew at each lost life, and
    `use_fire_reset` presses FIRE at the start only, never after a lost life.
    """

    def __init__(
        self,
        game: str,
        n: int,
        seed: int | None = None,
        *,
        preferences: bool = False,
        threads: int | None = None,
        life_loss_terminates: bool = False,
        episode_steps: int | None = None,
    ) -> None:
        from ale_py.vector_env import AtariVectorEnv

        self.num_envs = n
        self.dt = STEP_SECONDS
        self._game = GAMES[game]
        self._preferences = preferences
        self._life_loss_terminates = life_loss_terminates
        self._episode_steps = episode_steps or default_steps(game, preferences)
        self._native = AtariVectorEnv(
            self._game.rom,
            n,
            num_threads=min(n, threads or usable_cores()),
            max_num_frames_per_episode=2**31 - 1,  # steps are counted here, across games
            autoreset_mode="SameStep",
            frameskip=FRAME_SKIP,
            # Preference work hides the end of a game: the stack goes on, so it is kept here.
            stack_num=1 if preferences else STACK,
            noop_max=NOOP_MAX + 1,  # the native bound is exclusive
            reward_clipping=False,
            use_fire_reset=False,
        )
        self.observation_space: gymnasium.spaces.Space[Any] = atari_observation_space()
        self.action_space: gymnasium.spaces.Space[Any] = self._native.single_action_space
        self._stack = np.zeros((n, STACK, SIZE, SIZE), np.uint8)
        self._lives = np.zeros(n, np.int32)
        self._steps = np.zeros(n, np.int64)
        self._serve = np.zeros(n, np.bool_)
        self._first_seed = seed

    def reset(self, seed: int | None = None) -> Array:
        """Starts every copy anew; without a seed goes on with the generators, first with that of the
        constructor."""
        seed = self._first_seed if seed is None else seed
        self._first_seed = None
        every = np.ones(self.num_envs, np.bool_)
        seeds = None if seed is None else (seed + np.arange(self.num_envs)) % 2**31
        return self._restart(every, self._stack, seeds)

    def step(self, actions: Array) -> BatchStep:
        native_actions = np.where(self._serve, FIRE, self._checked(actions))
        observations, score, over, _, native = self._native.step(native_actions)
        lives = native["lives"]
        # Zero lives are not counted: Qbert stays there for some frames before its game is over.
        life_lost = (lives > 0) & (lives < self._lives) & ~over
        self._lives = lives
        self._serve = self._game.fire_serves & (life_lost | over)
        self._steps += 1
        if self._preferences:
            return self._preference_outcome(observations, score, over)
        limit = (self._steps >= self._episode_steps) & ~over
        self._steps[over] = 0
        terminated = over | life_lost if self._life_loss_terminates else over
        final = None
        if (terminated | limit).any():
            final = observations.copy()
            if over.any():
                final[over] = native["final_obs"][over]
        points = score.astype(np.float32)
        return BatchStep(
            observations=self._restart(limit, observations) if limit.any() else observations,
            rewards=np.sign(points),
            terminated=terminated,
            truncated=limit,
            final_observations=final,
            infos={"true_reward": points, "score": points},
        )

    def physics(self) -> None:
        """None: the frames are the observation."""
        return

    def get_state(self) -> dict[str, Any]:
        raise StateUnavailableError(
            "ale_py's native batch cannot give its state; "
            'make_vec(..., backend="sync") steps the same games, slower, and can'
        )

    def set_state(self, state: Mapping[str, Any]) -> Array:
        raise StateUnavailableError(
            "ale_py's native batch cannot take a state; "
            'make_vec(..., backend="sync") steps the same games, slower, and can'
        )

    def close(self) -> None:
        self._native.close()

    def _preference_outcome(self, frames: NDArray[np.uint8], score: Array, over: Array) -> BatchStep:
        # A new array each step: callers keep the ones they got.
        stack = np.empty_like(self._stack)
        stack[:, :-1] = self._stack[:, 1:]
        stack[:, -1] = frames[:, -1]
        hide_score(stack[:, -1], self._game)
        self._stack = stack
        limit = self._steps >= self._episode_steps
        points = score.astype(np.float32)
        return BatchStep(
            observations=self._restart(limit, stack) if limit.any() else stack,
            rewards=np.zeros(self.num_envs, np.float32),
            terminated=np.zeros(self.num_envs, np.bool_),
            truncated=limit,
            final_observations=stack if limit.any() else None,
            infos={"true_reward": points - np.float32(self._game.end_penalty) * over, "score": points},
        )

    def _restart(self, copies: Array, observations: Array, seeds: Array | None = None) -> Array:
        """Starts the games of `copies` (N,) bool anew; returns all observations, those replaced."""
        frames, native = self._native.reset(seed=seeds, options={"reset_mask": copies})
        observations = observations.copy()
        if self._preferences:
            observations[copies] = 0
            observations[copies, -1] = frames[copies, -1]
            hide_score(observations[:, -1], self._game)
            self._stack = observations
        else:
            observations[copies] = frames[copies]
        self._lives = np.where(copies, native["lives"], self._lives)
        self._steps[copies] = 0
        self._serve[copies] = self._game.fire_serves
        return observations

    def _checked(self, actions: Array) -> Array:
        """An action that is out of range would leave the native threads waiting for ever."""
        actions = np.asarray(actions)
        count = int(self.action_space.n)
        if actions.shape != (self.num_envs,) or not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(
                f"expected integer actions ({self.num_envs},), got {actions.dtype} {actions.shape}"
            )
        if actions.min() < 0 or actions.max() >= count:
            raise ValueError(f"expected actions from 0 to {count - 1}, got {actions.tolist()}")
        return actions.astype(np.int64)
