"""MuJoCo tasks as pictures: gymnasium's models, dressed for people to look at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SUPERSAMPLING = 2
"""Frames are drawn this much larger and reduced: half the cost of MuJoCo's multisampling on a CPU."""

_CONTEXT_LOCK = threading.Lock()  # the first EGL context sets up a display that all later ones share


@dataclass(frozen=True)
class _View:
    model: str
    """file among gymnasium's MuJoCo assets"""
    distance: float
    """m from the point looked at"""
    elevation: float
    """degrees; -90 looks straight down"""
    height: float = 0.0
    """m above ground of the point looked at"""
    follows: bool = True
    """the camera keeps the robot in the middle; else it stays over the origin"""


# gymnasium looks along the ground, where the floor's squares blur and speed is hard to see;
# these look down a little, and further off where the robot leaves the ground.
_VIEWS = {
    "Hopper": _View("hopper.xml", 3.4, -12.0, 0.75),
    "HopperBackflip": _View("hopper.xml", 4.4, -12.0, 1.0),
    "Walker2d": _View("walker2d_v5.xml", 3.8, -12.0, 0.75),
    "HalfCheetah": _View("half_cheetah.xml", 3.2, -14.0, 0.5),
    "Swimmer": _View("swimmer.xml", 4.5, -60.0),
    "Ant": _View("ant.xml", 3.6, -28.0, 0.3),
    "Humanoid": _View("humanoid.xml", 4.0, -12.0, 0.9),
    "Reacher": _View("reacher.xml", 0.68, -90.0, follows=False),
    "InvertedPendulum": _View("inverted_pendulum.xml", 3.3, -10.0, 0.2, follows=False),
    "InvertedDoublePendulum": _View("inverted_double_pendulum.xml", 4.2, -10.0, 0.4, follows=False),
}


def draw(task: str, physics: Array, height: int, width: int, backend: str) -> Array:
    """Frames (T, height, width, 3) uint8 of states (T, nq + nv), each concat(qpos, qvel).

    backend: "egl" or "osmesa", one that is known to work: a bad one aborts the process.
    """
    import mujoco
    from PIL import Image

    view = _VIEWS[task]
    model = _dressed_model(view, height * SUPERSAMPLING, width * SUPERSAMPLING)
    if physics.shape[1] != model.nq + model.nv:
        raise ValueError(
            f"a state of mujoco:{task} has {model.nq} positions and {model.nv} velocities, "
            f"the rows of physics have {physics.shape[1]} numbers"
        )
    data = mujoco.MjData(model)
    scene = mujoco.MjvScene(model, maxgeom=500)
    scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0  # four fifths of the time on a CPU
    camera, option = _camera(view), mujoco.MjvOption()
    buffer = np.empty((height * SUPERSAMPLING, width * SUPERSAMPLING, 3), np.uint8)
    rectangle = mujoco.MjrRect(0, 0, buffer.shape[1], buffer.shape[0])
    frames = np.empty((len(physics), height, width, 3), np.uint8)
    with _context(model, buffer.shape[0], buffer.shape[1], backend) as context:
        for row, frame in zip(physics, frames, strict=True):
            data.qpos[:] = row[: model.nq]
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_camlight(model, data)
            if view.follows:
                camera.lookat[:2] = data.subtree_com[1, :2]
            # First the camera: an endless floor is laid out around where the scene's camera already is.
            mujoco.mjv_updateCamera(model, data, camera, scene)
            mujoco.mjv_updateScene(model, data, option, None, camera, mujoco.mjtCatBit.mjCAT_ALL.value, scene)
            mujoco.mjr_render(rectangle, scene, context)
            mujoco.mjr_readPixels(buffer, None, rectangle, context)
            upright = Image.fromarray(buffer[::-1])  # OpenGL's first row is the lowest
            frame[:] = np.asarray(upright.reduce(SUPERSAMPLING))
    return frames


def _dressed_model(view: _View, height: int, width: int) -> Any:
    """The task's model with an endless, softer floor, a sky and light from the viewer's side."""
    import mujoco

    assets = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
    spec = mujoco.MjSpec.from_file(str(assets / view.model))
    spec.compiler.settotalmass = -1.0  # masses do not show, and MuJoCo 4 warns of the setting
    spec.visual.global_.offheight, spec.visual.global_.offwidth = height, width
    spec.visual.quality.offsamples = spec.visual.quality.shadowsize = 0
    spec.visual.headlight.ambient = [0.35, 0.35, 0.35]
    spec.visual.headlight.diffuse = [0.45, 0.45, 0.45]
    spec.visual.rgba.haze = [0.78, 0.84, 0.90, 1.0]
    for light in spec.lights:
        light.diffuse = [0.45, 0.45, 0.45]
    for texture in list(spec.textures):
        if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            spec.delete(texture)
        elif texture.builtin == mujoco.mjtBuiltin.mjBUILTIN_CHECKER:
            texture.rgb1, texture.rgb2 = [0.42, 0.47, 0.50], [0.62, 0.66, 0.68]
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.80, 0.87, 0.93],
        rgb2=[0.55, 0.66, 0.78],
        width=64,
        height=64 * 6,
    )
    for material in spec.materials:
        material.reflectance = 0.0
        if material.name == "MatPlane":
            material.texuniform, material.texrepeat = True, [1.0, 1.0]
    for geom in spec.geoms:
        if geom.type == mujoco.mjtGeom.mjGEOM_PLANE and view.follows:
            geom.size = [0.0, 0.0, 1.0]  # drawn without end: a fast runner leaves a finite floor
            geom.rgba = [1.0, 1.0, 1.0, 1.0]
    return spec.compile()


def _camera(view: _View) -> Any:
    import mujoco

    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE.value
    camera.azimuth, camera.elevation, camera.distance = 90.0, view.elevation, view.distance
    camera.lookat[:] = (0.0, 0.0, view.height)
    return camera


@contextmanager
def _context(model: Any, height: int, width: int, backend: str) -> Iterator[Any]:
    """A MuJoCo drawing context, current in this thread, freed at the end.

    Made here and not by mujoco.Renderer, which takes its back-end from the time mujoco was imported.
    """
    import mujoco

    if backend == "egl":
        from mujoco.egl import GLContext
    else:
        from mujoco.osmesa import GLContext
    with _CONTEXT_LOCK:
        gl = GLContext(width, height)
        gl.make_current()
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
    try:
        yield context
    finally:
        with _CONTEXT_LOCK:
            context.free()
            gl.free()
