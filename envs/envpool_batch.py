"""EnvPool as one more back-end of the standard variants: a peer to measure against.

It brings its own MuJoCo (3.6.0 in EnvPool 1.2.5) and its own random starts, so its trajectories are
not those of `make`; it is never chosen by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from envs.atari import FRAME_SKIP, NOOP_MAX, STACK, STANDARD_STEPS, STEP_SECONDS
from envs.batch import Array, BatchStep, StateUnavailableError

SECONDS = {"Hopper": 0.008, "Walker2d": 0.008, "HalfCheetah": 0.05, "Swimmer": 0.04, "Ant": 0.05}
"""simulated seconds of a step, which EnvPool does not tell"""


class EnvPoolBatch:
    """N copies of "mujoco:<task>" (gymnasium's -v5) or "atari:<game>", standard variant.

    Atari's rewards are clipped and `life_loss_terminates` is as in AtariBatch.
    """

    def __init__(
        self, name: str, n: int, seed: int, *, threads: int | None = None, life_loss_terminates: bool = False
    ) -> None:
        import envpool

        family, _, task = name.partition(":")
        if family != "atari" and task not in SECONDS:
            raise ValueError(f"the EnvPool back-end has {', '.join(SECONDS)} and Atari, not {name}")
        self.num_envs = n
        self._seed: int | None = seed
        if family == "atari":
            self.dt = STEP_SECONDS
            self._pool = envpool.make_gymnasium(
                f"{task}-v5",
                num_envs=n,
                num_threads=threads or 0,
                seed=seed,
                stack_num=STACK,
                frame_skip=FRAME_SKIP,
                noop_max=NOOP_MAX,
                reward_clip=False,
                episodic_life=life_loss_terminates,
                max_episode_steps=STANDARD_STEPS,
            )
        else:
            self.dt = SECONDS[task]
            self._pool = envpool.make_gymnasium(f"{task}-v5", num_envs=n, num_threads=threads or 0, seed=seed)
        self._clip = family == "atari"
        self.observation_space: gymnasium.spaces.Space[Any] = self._pool.observation_space
        self.action_space: gymnasium.spaces.Space[Any] = self._pool.action_space

    def reset(self, seed: int | None = None) -> Array:
        """Starts every copy anew. EnvPool takes its seed when it is made: another one is refused."""
        if seed not in (None, self._seed):
            raise ValueError(f"EnvPool was made with seed {self._seed} and cannot take {seed}: make another")
        return np.array(self._pool.reset()[0])

    def step(self, actions: Array) -> BatchStep:
        observations, rewards, terminated, truncated, _ = self._pool.step(np.asarray(actions))
        ended = np.flatnonzero(terminated | truncated).astype(np.int32)
        final = None
        if len(ended):
            # EnvPool would reset with the next step; ours reset within the one that ends them.
            final = np.array(observations)
            observations = np.array(observations)
            observations[ended] = self._pool.reset(ended)[0]
        points = rewards.astype(np.float32)
        return BatchStep(
            observations=observations,
            rewards=np.sign(points) if self._clip else points,
            terminated=terminated,
            truncated=truncated,
            final_observations=final,
            infos={"true_reward": points},
        )

    def physics(self) -> None:
        """None: EnvPool does not tell its simulators' states."""
        return

    def get_state(self) -> dict[str, Any]:
        raise StateUnavailableError(
            "EnvPool cannot give its state; choose another back-end to resume exactly"
        )

    def set_state(self, state: Mapping[str, Any]) -> Array:
        raise StateUnavailableError("EnvPool cannot take a state; choose another back-end to resume exactly")

    def close(self) -> None:
        self._pool.close()
