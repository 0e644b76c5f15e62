"""The rover's body: a skid-steer of a Clearpath Jackal's public figures, and its MuJoCo model.

508 x 430 x 250 mm, 17 kg, four wheels of radius 98 mm, wheelbase 262 mm, track 376 mm, 2 m/s at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.batch import Array

WHEEL_RADIUS = 0.098
WHEELBASE, TRACK = 0.262, 0.3756
WHEEL_DROP = 0.0
"""m of the wheels' centres below the body's origin"""
WHEELS = np.array(
    [(x * WHEELBASE / 2, y * TRACK / 2, -WHEEL_DROP) for x in (1, -1) for y in (1, -1)]
)  # front left, front right, rear left, rear right
HALF_LENGTH, HALF_WIDTH = 0.254, 0.215
CAMERA = np.array((0.15, 0.0, 0.35 - WHEEL_RADIUS))
LIDAR = np.array((0.10, 0.0, 0.30 - WHEEL_RADIUS))
"""m in the body's frame, whose origin rides one wheel radius above level ground"""
TURN_FACTOR = 1.9
"""how much further apart the wheels must be thought for a skid-steer to turn as fast as it should"""
BOXES, CYLINDERS, ELLIPSOIDS = 6, 6, 2
"""solids near the rover that its body can touch at once; others wait below ground"""
PARKED = -50.0
# MuJoCo passes over the position or rotation of a geom compiled without one, also when it is moved later.
_MOVES = f'pos="0.1 0.1 {PARKED}" quat="0.9 0.1 0.2 0.3"'


@dataclass(frozen=True)
class BodyConfig:
    """What may be varied."""

    physics_dt: float = 0.005
    """s; drives, turns, shakes and stops as 0.002 does, to a few per cent"""
    wheel_torque: float = 5.0
    """N m of each wheel at most: less than the ground's grip needs in thick grass"""
    wheel_gain: float = 8.0
    """N m for each rad/s that a wheel is too slow"""


def model_xml(config: BodyConfig, ground: str | None = None) -> str:
    """MJCF of one rover. ground: MJCF of geoms to drive on in place of the four moving planes."""
    wheels, motors, planes, pairs = [], [], [], []
    for k, (x, y, z) in enumerate(WHEELS):
        wheels.append(
            f'<body name="wheel{k}" pos="{x} {y} {z}"><joint name="wheel{k}" axis="0 1 0" damping="0.02" '
            f'armature="0.02"/><geom name="wheel{k}" type="sphere" size="{WHEEL_RADIUS}" mass="0.477" '
            f'contype="{2 if ground is None else 3}" conaffinity="0" friction="0.8" '
            'rgba=".1 .1 .1 1"/></body>'
        )
        motors.append(
            f'<velocity joint="wheel{k}" kv="{config.wheel_gain}" '
            f'forcerange="-{config.wheel_torque} {config.wheel_torque}"/>'
        )
        planes.append(
            f'<geom name="plane{k}" type="plane" size="3 3 .1" {_MOVES} contype="0" conaffinity="0"/>'
        )
        pairs.append(
            f'<pair geom1="plane{k}" geom2="wheel{k}" condim="3" friction="0.8 0.8 0.005 0.0001 0.0001" '
            'solref="0.02 1"/>'
        )
    sizes = ["box"] * BOXES + ["cylinder"] * CYLINDERS + ["ellipsoid"] * ELLIPSOIDS
    slots = [
        f'<geom name="solid{k}" type="{kind}" size=".1 .1 .1" {_MOVES} contype="0" conaffinity="2" '
        'friction="0.5" rgba="0 0 0 0"/>'
        for k, kind in enumerate(sizes)
    ]
    joined = "".join
    return f"""<mujoco model="rover">
<compiler autolimits="true"/>
<option timestep="{config.physics_dt}" integrator="implicitfast" cone="pyramidal" iterations="20">
<flag midphase="disable" island="disable"/></option>
<size memory="2M"/>
{"" if ground is None else _assets(ground)}
<worldbody>{joined(planes) if ground is None else _geoms(ground)}
<body name="solids">{joined(slots)}</body>
<body name="base" pos="0 0 {WHEEL_RADIUS}"><freejoint name="base"/>
<inertial pos="0 0 0.03" mass="15.09" diaginertia="0.30 0.37 0.42"/>
<geom name="hull" type="box" size="{HALF_LENGTH} 0.155 0.085" pos="0 0 0.065" contype="2" conaffinity="0"
 rgba=".95 .75 .1 1"/>
<geom name="bumper" type="box" size="{HALF_LENGTH} {HALF_WIDTH} 0.03" pos="0 0 0.04" contype="2"
 conaffinity="0" rgba=".2 .2 .2 1"/>
<geom name="mast" type="cylinder" size="0.05 0.05" pos="{LIDAR[0]} 0 {LIDAR[2] - 0.01}" contype="2"
 conaffinity="0" rgba=".1 .1 .1 1"/>
<site name="imu" pos="0 0 0.05"/>
{joined(wheels)}</body></worldbody>
<contact>{joined(pairs) if ground is None else ""}</contact>
<actuator>{joined(motors)}</actuator>
<sensor><gyro name="gyro" site="imu"/><accelerometer name="accelerometer" site="imu"/>
<contact name="touch" subtree1="base" subtree2="solids" num="1" reduce="netforce"
 data="found force"/></sensor>
</mujoco>"""


def _assets(ground: str) -> str:
    return ground.partition("<!--geoms-->")[0]


def _geoms(ground: str) -> str:
    return ground.partition("<!--geoms-->")[2]


def load_model(config: BodyConfig) -> Any:
    """The compiled MjModel."""
    import mujoco

    return mujoco.MjModel.from_xml_string(model_xml(config))


def wheel_speeds(linear: Array, angular: Array) -> Array:
    """(N, 4) rad/s of the wheels for m/s and rad/s of the body, as Jackal's own controller reckons."""
    half = 0.5 * TRACK * TURN_FACTOR * np.asarray(angular)
    left, right = (np.asarray(linear) - half) / WHEEL_RADIUS, (np.asarray(linear) + half) / WHEEL_RADIUS
    return np.stack([left, right, left, right], axis=-1)


def rotation(quaternion: Array) -> Array:
    """(N, 3, 3) of (N, 4) w x y z; the columns are the body's axes in the world."""
    w, x, y, z = np.moveaxis(np.asarray(quaternion, np.float64), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)
