"""N copies of a MuJoCo task on MuJoCo's own threads (`mujoco.batch`), step for step those of `MujocoEnv`.

A step is one call into C for all copies and a few vectorised formulas over live views of the
simulations' states.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.utils.seeding import np_random

from envs.batch import Array, BatchStep, usable_cores
from envs.mujoco import bad_warnings, diverged, load_gymnasium, observation_space
from envs.mujoco_spec import Fields, Motion
from envs.mujoco_tasks import TASKS, full_rotations
from envs.tasks import task_info

_RNG_WORDS = 6


def native_batch_available() -> bool:
    """Whether this machine's MuJoCo has `mujoco.batch` (3.17 and later)."""
    if importlib.util.find_spec("mujoco") is None:
        return False
    return importlib.util.find_spec("mujoco.batch") is not None


class MujocoBatch:
    """BatchEnv over one MuJoCo task; both variants as in `MujocoEnv`.

    threads: simulation threads, the caller's included; None for all usable cores.
    infos: "true_reward", "x_position" (m) where the task has one; "rotations", "is_success" for the backflip.
    Raises FloatingPointError when a simulation diverges; reset() makes the batch usable again.
    """

    backend = "mujoco.batch"

    def __init__(
        self, task: str, n: int, seed: int, *, preferences: bool = False, threads: int | None = None
    ) -> None:
        from mujoco.batch import Batch

        if n < 1:
            raise ValueError(f"a batch needs at least one copy, got n={n}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1 or None for all cores, got {threads}")
        self.name, self.task = task, TASKS[task]
        self.preferences = preferences
        single, limit = load_gymnasium(self.task)
        self.num_envs = n
        self.threads = min(threads or usable_cores(), n)
        self.episode_steps = task_info(f"mujoco:{task}").episode_steps if preferences else limit
        self.observation_space = observation_space(self.task, single)
        self.action_space = single.action_space
        self.dt = float(single.dt)
        self._substeps: int = single.frame_skip
        self._start: tuple[Array, Array] = (single.init_qpos, single.init_qvel)
        # Contact wrenches need each copy's whole MjData after the step.
        self._batch = Batch(single.model, n, self.threads, persistent=self.task.contact_wrenches)
        self._model, self._scratch = single.model, single.data
        self._fields = self._bind()
        self._bad = bad_warnings()
        self._generators = [np_random(seed + i)[0] for i in range(n)]
        self._elapsed = np.zeros(n, np.int64)
        self._rotations = np.zeros(n)
        self._position = np.zeros(n)
        self._observations = np.zeros((n, *self.observation_space.shape))
        self.reset()

    def reset(self, seed: int | None = None) -> Array:
        """As BatchEnv; without a seed the generators go on, as gymnasium's do."""
        if seed is not None:
            self._generators = [np_random(seed + i)[0] for i in range(self.num_envs)]
        self._restart(np.arange(self.num_envs))
        self._observations = self.task.observe(self._fields)
        return self._observations.copy()

    def step(self, actions: Array) -> BatchStep:
        """As BatchEnv; actions: (N, A), clipped by MuJoCo to the action space."""
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs, *self.action_space.shape):
            expected = (self.num_envs, *self.action_space.shape)
            raise ValueError(f"{self.name} expects actions {expected}, got {actions.shape}")
        self._batch.ctrl = actions
        self._batch.step(nstep=self._substeps)
        self._elapsed += 1
        self._expect_stable()
        if self.task.contact_wrenches:
            self._read_wrenches()
        reward, infos = self._measure(actions)
        truncated = self._elapsed >= self.episode_steps
        terminated = np.zeros(self.num_envs, bool)
        if self.task.healthy is not None and not self.preferences:
            terminated = ~self.task.healthy(self._fields)
        observations, final = self.task.observe(self._fields), None
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            final = observations.copy()
            self._restart(ended)
            observations = self.task.observe(self._fields)
        self._observations = observations
        returned = np.zeros(self.num_envs, np.float32) if self.preferences else reward.copy()
        return BatchStep(observations.copy(), returned, terminated, truncated, final, infos)

    def physics(self) -> Array:
        """(N, nq + nv) joint positions and velocities, from which frames can be drawn."""
        return np.concatenate((self._fields["qpos"], self._fields["qvel"]), axis=1)

    def get_state(self) -> dict[str, Any]:
        """As BatchEnv: arrays with the copies in front."""
        return {
            "task": self.name,
            "simulation": self._batch.state.copy(),
            "elapsed": self._elapsed.copy(),
            "rotations": self._rotations.copy(),
            "position": self._position.copy(),
            "observations": self._observations.copy(),
            "generators": np.stack([generator_words(g) for g in self._generators]),
        }

    def set_state(self, state: Mapping[str, Any]) -> Array:
        """As BatchEnv. Raises ValueError for the state of another task, count or MuJoCo."""
        shape = np.shape(state["simulation"])
        if state["task"] != self.name or shape != self._batch.state.shape:
            raise ValueError(
                f"the state is one of {state['task']} with simulation rows {shape}, this batch runs "
                f"{self.name} with {self._batch.state.shape}; use the same task, number of "
                "copies and MuJoCo version"
            )
        # Clears the warnings of a simulation that diverged; the state itself is overwritten.
        self._batch.reset()
        self._batch.state[:] = state["simulation"]
        self._elapsed = np.array(state["elapsed"], np.int64)
        self._rotations = np.array(state["rotations"], np.float64)
        # Kept, not recomputed: derived fields lag a stage behind the simulation's state.
        self._position = np.array(state["position"], np.float64)
        self._observations = np.array(state["observations"], np.float64)
        for generator, words in zip(self._generators, state["generators"], strict=True):
            set_generator(generator, words)
        return self._observations.copy()

    def close(self) -> None:
        """Nothing to hand back: MuJoCo ends the threads with the batch."""

    def _bind(self) -> Fields:
        names = ("qpos", "qvel", *self.task.fields)
        fields: dict[str, Array] = {name: self._batch.bind(name) for name in names}
        if self.task.contact_wrenches:
            fields["cfrc_ext"] = np.zeros((self.num_envs, *self._scratch.cfrc_ext.shape))
        return fields

    def _restart(self, ids: Array) -> None:
        import mujoco

        self._batch.reset(ids, stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        for i in ids:
            qpos, qvel = self.task.draw(self._generators[i], *self._start)
            self._fields["qpos"][i], self._fields["qvel"][i] = qpos, qvel
        self._batch.forward(ids)
        self._elapsed[ids] = 0
        self._rotations[ids] = 0.0
        if self.task.contact_wrenches:
            self._fields["cfrc_ext"][ids] = 0.0
        self._position[ids] = self.task.position(self._fields)[ids]

    def _read_wrenches(self) -> None:
        import mujoco

        # mj_step leaves cfrc_ext alone, and neither contacts nor their forces can be bound.
        data, wrenches = self._scratch, self._fields["cfrc_ext"]
        for i in range(self.num_envs):
            self._batch.get_data(i, data)
            mujoco.mj_rnePostConstraint(self._model, data)
            wrenches[i] = data.cfrc_ext

    def _measure(self, actions: Array) -> tuple[Array, dict[str, Array]]:
        """(N,) true reward float32 of the step just taken, and the infos."""
        position = self.task.position(self._fields)
        motion = Motion(self._fields, actions, (position - self._position) / self.dt)
        self._position = position
        formula = self.task.preference_reward if self.preferences else self.task.reward
        reward = formula(motion).astype(np.float32)
        infos: dict[str, Array] = {"true_reward": reward}
        if self.task.travels:
            infos["x_position"] = self._fields["qpos"][:, 0].copy()
        if self.task.count_rotations:
            self._rotations = np.maximum(self._rotations, full_rotations(self._fields["qpos"]))
            infos["rotations"], infos["is_success"] = self._rotations.copy(), self._rotations >= 1
        return reward, infos

    def _expect_stable(self) -> None:
        counts = self._batch.warning[:, self._bad, 1]
        if counts.any():
            copy = int(np.flatnonzero(counts.any(axis=1))[0])
            raise diverged(self.task, copy, int(self._elapsed[copy]), counts[copy])


def generator_words(generator: np.random.Generator) -> Array:
    """(6,) uint64 of a PCG64: its two 128-bit numbers by halves, then the buffered 32 bits."""
    state = generator.bit_generator.state
    numbers = (state["state"]["state"], state["state"]["inc"])
    halves = [half for number in numbers for half in (number >> 64, number & (2**64 - 1))]
    return np.array([*halves, state["has_uint32"], state["uinteger"]], np.uint64)


def set_generator(generator: np.random.Generator, words: Array) -> None:
    if np.shape(words) != (_RNG_WORDS,):
        raise ValueError(f"a PCG64 state has {_RNG_WORDS} words, got shape {np.shape(words)}")
    high, low, inc_high, inc_low, has_uint32, uinteger = (int(word) for word in words)
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": high << 64 | low, "inc": inc_high << 64 | inc_low},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
