"""N rovers in N worlds on MuJoCo's threads: one decision is 0.25 s, 50 steps of 5 ms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.batch import Array
from envs.rover.body import (
    BOXES,
    CYLINDERS,
    ELLIPSOIDS,
    PARKED,
    WHEEL_RADIUS,
    WHEELS,
    BodyConfig,
    load_model,
    wheel_speeds,
)  # fmt: skip
from envs.rover.compiled import load
from envs.rover.terrain import KINDS
from envs.rover.world import CELL, World

DECISION = 0.25
"""s that one action lasts"""
CHUNK = 0.01
"""s between two looks at the ground under the wheels, and between two samples of the IMU"""
_RECORDED = ("sensordata", "qpos", "qvel")
REACH = 1.6
"""m from the rover within which solids can be touched in one decision"""


@dataclass(frozen=True)
class Motion:
    """What one decision was like; K samples of 10 ms."""

    gyro: Array
    """(N, K, 3) rad/s in the body's frame, without noise"""
    acceleration: Array
    """(N, K, 3) m/s^2, gravity's reaction included, without noise"""
    wheels: Array
    """(N, K, 4) rad/s"""
    pose: Array
    """(N, K, 7) of the body's origin: m, quaternion"""
    velocity: Array
    """(N, K, 2) m/s along x and y"""
    touched: Array
    """(N, K) N, the force of solids on the body, 0 where nothing was touched"""
    under: Array
    """(N, K, 4) kind of ground under each wheel"""


class Physics:
    """The bodies. `place` before the first `drive`; copies are independent of each other.

    decision: s that one `drive` lasts, a multiple of CHUNK.
    """

    def __init__(
        self,
        n: int,
        shape: tuple[int, int],
        threads: int = 1,
        config: BodyConfig | None = None,
        decision: float = DECISION,
    ) -> None:
        import mujoco
        from mujoco.batch import Batch

        config = config or BodyConfig()
        model = load_model(config)
        self.count = n
        self._batch = Batch(model, n, min(threads, n))
        self._fields = {name: self._batch.expand(name) for name in (
            "geom_pos", "geom_quat", "geom_size", "geom_rbound", "geom_aabb", "dof_damping", "pair_friction",
        )}  # fmt: skip
        self._first_plane = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, "plane0")
        self._first_solid = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, "solid0")
        self._qpos, self._qvel = self._batch.bind("qpos"), self._batch.bind("qvel")
        self._surfaces = np.zeros((n, *shape), np.float32)
        self._kinds = np.zeros((n, *shape), np.uint8)
        self._solids: list[Array] = [np.zeros((0, 10))] * n
        self._slots = np.array((BOXES, CYLINDERS, ELLIPSOIDS))
        self._under = np.zeros((n, 4), np.uint8)
        self._table = np.array([(kind.friction, kind.drag) for kind in KINDS])
        self._substeps = round(CHUNK / config.physics_dt)
        self._chunks = round(decision / CHUNK)
        if self._chunks < 1 or abs(self._chunks * CHUNK - decision) > 1e-9:
            raise ValueError(f"decision must be a multiple of {CHUNK} s, got {decision}")
        shaped = self._batch.rollout(self._substeps, record=_RECORDED)  # of no matter what: see place
        self._buffers = {name: np.stack([shaped[name]] * self._chunks) for name in _RECORDED}
        self._records: list[dict[Any, Array]] = [
            {name: buffer[k] for name, buffer in self._buffers.items()} for k in range(self._chunks)
        ]
        kernels = load()["kernel_wheels"]
        self._feel, self._bring = kernels.feel, kernels.bring
        self._list_solids()

    def settle_on(self, i: int, world: World, surface: Array | None = None) -> None:
        """Gives rover i another world. surface: `ground_surface(world)` where it is known."""
        self._surfaces[i] = ground_surface(world) if surface is None else surface
        self._kinds[i] = world.kinds
        self._solids[i] = np.array([solid.row() for solid in world.solids]).reshape(-1, 10)
        self._list_solids()

    def place(self, i: int, x: float, y: float, heading: float) -> None:
        """Puts rover i at rest on the ground."""
        import mujoco

        self._batch.reset(np.array([i]), stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        row, column = round(y / CELL), round(x / CELL)
        around = self._surfaces[i, max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5]
        self._qpos[i] = 0.0
        self._qpos[i, :7] = x, y, around.max() + WHEEL_RADIUS, np.cos(heading / 2), 0, 0, np.sin(heading / 2)
        self._qvel[i] = 0.0
        self._look_down()
        self._batch.forward(np.array([i]))

    def drive(self, linear: Array, angular: Array) -> Motion:
        """One decision. linear: (N,) m/s, angular: (N,) rad/s to the left."""
        self._bring_solids()
        self._batch.ctrl = wheel_speeds(linear, angular)
        count, chunks = self.count, self._chunks
        under = np.empty((count, chunks, 4), np.uint8)
        for k, record in enumerate(self._records):
            self._look_down()
            under[:, k] = self._under
            self._batch.rollout(self._substeps, record=_RECORDED, out=record)
        sensed, place, speed = (np.moveaxis(self._buffers[name], 0, 1) for name in _RECORDED)
        force = np.where(sensed[..., 6] > 0, np.linalg.norm(sensed[..., 7:10], axis=-1) + 1e-3, 0.0)
        inertial = sensed[..., :6].mean(2)
        return Motion(
            inertial[..., :3], inertial[..., 3:], speed[:, :, -1, 6:10].copy(), place[:, :, -1, :7].copy(),
            speed[:, :, -1, :2].copy(), force.max(2), under,
        )  # fmt: skip

    @property
    def poses(self) -> Array:
        """(N, 7) m and quaternion, live."""
        poses: Array = self._qpos[:, :7]
        return poses

    def get_state(self) -> dict[str, Array]:
        return {"simulation": self._batch.state.copy()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """The worlds must be those that the state was taken in."""
        if np.shape(state["simulation"]) != self._batch.state.shape:
            raise ValueError(
                f"the state has rows {np.shape(state['simulation'])}, these {self._batch.state.shape}: "
                "use the same number of copies and version of MuJoCo"
            )
        self._batch.reset()
        self._batch.state[:] = state["simulation"]
        self._look_down()

    def _look_down(self) -> None:
        f = self._fields
        self._feel(
            self._qpos, self._qvel, self._surfaces, self._kinds, CELL, WHEELS, self._table, self._first_plane,
            f["geom_pos"], f["geom_quat"], f["pair_friction"], f["dof_damping"], self._under,
        )  # fmt: skip

    def _list_solids(self) -> None:
        """All solids in one array, rover after rover, as the kernel takes them."""
        self._rows = np.concatenate(self._solids)
        self._begins = np.cumsum([0, *map(len, self._solids)])
        self._distances = np.empty(len(self._rows))

    def _bring_solids(self) -> None:
        """Moves the slots to the solids nearest to each rover."""
        f = self._fields
        self._bring(
            self._qpos, self._rows, self._begins, REACH, PARKED, self._first_solid, self._slots,
            self._distances, f["geom_pos"], f["geom_quat"], f["geom_size"], f["geom_rbound"], f["geom_aabb"],
        )  # fmt: skip


def ground_surface(world: World) -> Array:
    """(R, C) float32 m: the envelope of the ground for a wheel."""
    surface = np.empty(world.heights.shape, np.float32)
    load()["kernel_wheels"].envelope(world.heights, CELL, WHEEL_RADIUS, surface)
    return surface
