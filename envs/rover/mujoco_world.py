"""A whole world as one MuJoCo model: height field, every solid, and the rover on real contacts.

Too slow to train on; the ray caster and the moving ground planes are tested against it, and OpenGL draws
videos from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.rover.body import BodyConfig, model_xml
from envs.rover.kernel_camera import TEXTURE_METRES, TEXTURE_SIZE
from envs.rover.kernel_solids import BOX, CYLINDER, ELLIPSOID, LOG
from envs.rover.terrain import KINDS
from envs.rover.textures import NAMES, atlas
from envs.rover.world import CELL, Solid, World

_BELOW = 0.5
"""m of soil under the height field"""


def world_model(world: World, *, picture: bool = False) -> Any:
    """The compiled MjModel. picture: with light and the ground's colours, for OpenGL."""
    import mujoco

    low, high = float(world.heights.min()), float(world.heights.max())
    span = max(high - low, 1e-3)
    rows, columns = world.heights.shape
    width, depth = world.size
    ground = f"""<asset><hfield name="ground" nrow="{rows}" ncol="{columns}"
 size="{width / 2} {depth / 2} {span} {_BELOW}"/>{_ground_texture(world) if picture else ""}</asset>
<visual><global offwidth="1280" offheight="960"/><quality shadowsize="2048"/>
<map znear="0.001"/></visual><!--geoms-->
<geom name="ground" type="hfield" hfield="ground" pos="{width / 2} {depth / 2} {low}" contype="0"
 conaffinity="1" friction="0.8" {'material="ground"' if picture else ""}/>
{_roof(world)}{_sun(world) if picture else ""}
{"".join(_geom(k, solid) for k, solid in enumerate(world.solids))}"""
    model = mujoco.MjModel.from_xml_string(model_xml(BodyConfig(), ground))
    model.hfield_data[:] = ((world.heights - low) / span).ravel()
    if picture:
        texels = _colours(world)
        start = model.tex_adr[0]
        model.tex_data[start : start + texels.size] = texels.ravel()
    return model


def _geom(k: int, solid: Solid) -> str:
    x, y, z = solid.centre
    a, b, c = solid.half
    half = solid.yaw / 2
    w, n, r = np.cos(half), np.sin(half), np.sqrt(0.5)
    quaternion = f"{w} 0 0 {n}"
    if solid.shape == BOX:
        kind, size = "box", f"{a} {b} {c}"
    elif solid.shape == ELLIPSOID:
        kind, size = "ellipsoid", f"{a} {b} {c}"
    elif solid.shape == CYLINDER:
        kind, size = "cylinder", f"{a} {c}"
    else:
        assert solid.shape == LOG
        kind, size, quaternion = "cylinder", f"{b} {a}", f"{w * r} {-n * r} {w * r} {n * r}"
    mean = atlas()[NAMES.index(solid.texture), -1] / 255.0 * np.array(solid.colour)
    red, green, blue = np.clip(mean, 0, 1)
    return (
        f'<geom name="thing{k}" type="{kind}" size="{size}" pos="{x} {y} {z}" quat="{quaternion}" '
        f'contype="0" conaffinity="2" rgba="{red} {green} {blue} 1"/>'
    )


def _roof(world: World) -> str:
    if not world.light.roof:
        return ""
    width, depth = world.size
    return (
        f'<geom name="roof" type="box" size="{width} {depth} 0.05" pos="{width / 2} {depth / 2} '
        f'{world.light.roof + 0.05}" contype="0" conaffinity="0" rgba=".8 .8 .8 1"/>'
    )


def _sun(world: World) -> str:
    x, y, z = (-part for part in world.light.sun)
    red, green, blue = world.light.sun_colour
    return (
        f'<light directional="true" dir="{x} {y} {z}" diffuse="{red} {green} {blue}" ambient=".4 .4 .4" '
        f'pos="{world.size[0] / 2} {world.size[1] / 2} 40" castshadow="true"/>'
    )


_TEXELS = 1024


def _ground_texture(world: World) -> str:
    red, green, blue = world.light.horizon
    above = " ".join(str(part) for part in world.light.zenith)
    return (
        f'<texture name="ground" type="2d" builtin="flat" width="{_TEXELS}" height="{_TEXELS}"/>'
        '<material name="ground" texture="ground" texuniform="false" specular="0"/>'
        f'<texture type="skybox" builtin="gradient" rgb1="{above}" rgb2="{red} {green} {blue}" '
        'width="64" height="384"/>'
    )


def _colours(world: World) -> np.ndarray:
    """(texels, texels, 3) uint8: the ground's textures seen from above."""
    width, depth = world.size
    y, x = np.meshgrid(
        (np.arange(_TEXELS) + 0.5) / _TEXELS * depth,
        (np.arange(_TEXELS) + 0.5) / _TEXELS * width,
        indexing="ij",
    )
    kinds = world.kinds[(y / CELL).astype(int), (x / CELL).astype(int)]
    looks = np.array(world.looks or range(len(KINDS)))[kinds]
    names = world.textures or [kind.texture for kind in KINDS]
    chosen = np.array([NAMES.index(name) for name in names])[looks]
    level, start = TEXTURE_SIZE // 2, TEXTURE_SIZE * TEXTURE_SIZE
    u = (x / TEXTURE_METRES * level).astype(int) % level
    v = (y / TEXTURE_METRES * level).astype(int) % level
    tints = np.array(world.light.ground_tint or [(1.0, 1.0, 1.0)] * len(KINDS))[looks]
    texels = np.clip(atlas()[chosen, start + v * level + u] * tints, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(texels[::-1])  # OpenGL lays the first row along the far side
