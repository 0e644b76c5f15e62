"""Frames for people: from simulator states, or from the pixels an agent saw."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs.tasks import task_info

Array = NDArray[Any]
Backend = Literal["egl", "osmesa", "none"]

GL_FIX = "sudo apt-get install libegl1 libgl1-mesa-dri (or libosmesa6)"
"""The system packages that give OpenGL without a screen on Debian and Ubuntu."""

_SWITCHED_OFF = ("disable", "disabled", "off", "false", "0")  # MuJoCo's own words for MUJOCO_GL

_PROBE = """
import sys
import mujoco, numpy
from mujoco.{backend} import GLContext
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
data, scene, camera = mujoco.MjData(model), mujoco.MjvScene(model, maxgeom=9), mujoco.MjvCamera()
camera.distance = 4
mujoco.mj_forward(model, data)
mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, camera, 7, scene)
gl = GLContext(32, 32)
gl.make_current()
context = mujoco.MjrContext(model, 100)
mujoco.mjr_setBuffer(1, context)
frame = numpy.zeros((32, 32, 3), numpy.uint8)
mujoco.mjr_render(mujoco.MjrRect(0, 0, 32, 32), scene, context)
mujoco.mjr_readPixels(frame, None, mujoco.MjrRect(0, 0, 32, 32), context)
context.free()
gl.free()
sys.exit(0 if frame.std() > 1 else 1)
"""


class NoRendererError(RuntimeError):
    """No OpenGL back-end of this machine can draw off screen."""


@functools.cache
def choose_gl() -> Backend:
    """The OpenGL back-end that really drew a frame here; the same answer for the whole process.

    MUJOCO_GL is tried first when it is set to "egl" or "osmesa", then egl, then osmesa. Each is
    tried in a process of its own, because a bad one aborts its process. Call it before mujoco is
    imported: it sets MUJOCO_GL for this process and its children ("disabled" when nothing drew:
    gymnasium then raises where it would abort), and LP_NUM_THREADS, since one thread a renderer
    draws as fast as several.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")
    wish = os.environ.get("MUJOCO_GL", "").strip().lower()
    if wish in _SWITCHED_OFF:
        return "none"
    backends: tuple[Backend, ...] = ("osmesa", "egl") if wish == "osmesa" else ("egl", "osmesa")
    for backend in backends:
        if _draws(backend):
            os.environ["MUJOCO_GL"] = backend
            return backend
    os.environ["MUJOCO_GL"] = "disabled"
    return "none"


def render_physics(name: str, physics: Array, height: int = 256, width: int = 256) -> Array:
    """Frames (T, height, width, 3) uint8 of simulator states (T, S) as `BatchEnv.physics` gives them.

    name: "mujoco:..." (a state is concat(qpos, qvel)) or "classic:Pendulum" (angle rad, velocity rad/s).
    Raises ValueError for a task or shape it cannot draw, NoRendererError without OpenGL.
    """
    family, _, task = task_info(name).name.partition(":")
    physics = np.asarray(physics)
    if physics.ndim != 2:
        raise ValueError(f"render_physics expects states of shape (T, S), got {physics.shape}")
    if family == "classic":
        from envs.classic import draw_pendulum

        return draw_pendulum(physics, height, width)
    if family != "mujoco":
        raise ValueError(f"{name} has no simulator states to draw: use frames_from_observations")
    from envs import scene

    backend = choose_gl()
    if backend == "none":
        raise NoRendererError(
            f"no OpenGL back-end can draw {name} on this machine (MUJOCO_GL="
            f"{os.environ.get('MUJOCO_GL', '')!r}, tried egl and osmesa); fix: {GL_FIX}"
        )
    return scene.draw(task, physics, height, width, backend)


def frames_from_observations(observations: Array, height: int = 256, width: int = 256) -> Array:
    """Frames (T, height, width, 3) uint8 of what an agent saw, its pixels enlarged unblurred.

    observations: uint8; gray (T, H, W), or stacks of gray (T, C, H, W) of which the newest, last one is
    shown; or colours (T, H, W, 3).
    """
    from PIL import Image

    observations = np.asarray(observations)
    if observations.dtype != np.uint8 or observations.ndim not in (3, 4):
        raise ValueError(
            "frames_from_observations expects uint8 of shape (T, H, W), (T, C, H, W) or (T, H, W, 3), "
            f"got {observations.dtype} {observations.shape}"
        )
    # No stack is as deep as a picture is high.
    coloured = observations.ndim == 4 and observations.shape[-1] == 3 and observations.shape[1] > 8
    newest = observations[:, -1] if observations.ndim == 4 and not coloured else observations
    frames = np.empty((len(newest), height, width, 3), np.uint8)
    for image, frame in zip(newest, frames, strict=True):
        enlarged = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST))
        frame[:] = enlarged if coloured else enlarged[..., None]
    return frames


def _draws(backend: Backend) -> bool:
    code = _PROBE.format(backend=backend)
    environment = {**os.environ, "MUJOCO_GL": backend}
    try:
        probe = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0
