"""The rover from behind, drawn by OpenGL: for people's videos only."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.batch import Array
from envs.rover.world import World

DISTANCE, ELEVATION = 3.2, -22.0
"""m behind the rover, degrees"""


class ChaseCamera:
    """Frames of one world, with the rover at given poses. Close it to hand the OpenGL context back.

    Raises envs.rendering.NoRendererError where nothing can draw.
    """

    def __init__(self, world: World, height: int = 360, width: int = 480) -> None:
        from envs.rendering import GL_FIX, NoRendererError, choose_gl

        if choose_gl() == "none":  # before mujoco is imported: a bad choice aborts the process
            raise NoRendererError(f"no OpenGL back-end can draw the rover on this machine; fix: {GL_FIX}")
        import mujoco

        from envs.rover.mujoco_world import world_model

        self._model = world_model(world, picture=True)
        self._data = mujoco.MjData(self._model)
        self._view = mujoco.MjvCamera()
        self._view.distance, self._view.elevation = DISTANCE, ELEVATION
        self._renderer: Any = mujoco.Renderer(self._model, height, width)

    def draw(self, pose: Array) -> Array:
        """(H, W, 3) uint8. pose: (7,) m and quaternion, a row of `Rovers.poses`."""
        import mujoco

        self._data.qpos[:7] = pose
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        w, x, y, z = pose[3:7]
        self._view.lookat[:] = pose[0], pose[1], pose[2] + 0.25
        self._view.azimuth = float(np.rad2deg(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))))
        self._renderer.update_scene(self._data, self._view)
        frame: Array = self._renderer.render()
        return frame.copy()

    def close(self) -> None:
        self._renderer.close()

    def __enter__(self) -> ChaseCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
