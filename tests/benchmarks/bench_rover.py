"""How fast the rover's world runs: whole decisions, camera frames and lidar turns, beside MuJoCo's renderer.

    python tests/benchmarks/bench_rover.py            # about two minutes
    python tests/benchmarks/bench_rover.py --quick    # about half a minute

A whole step is a decision of 0.25 s for one rover: 50 physics steps, camera 96x128 RGB and depth, lidar,
IMU at 100 Hz, odometry, GPS, compass and the truth. Wall time says what this machine gave, with its other
work; CPU time of the process says what a quiet core would. Rounds alternate and the best one counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from envs.batch import usable_cores
from envs.rendering import choose_gl
from envs.rover.body import CAMERA
from envs.rover.camera import BADGR_LENS, Camera, camera_axes
from envs.rover.compiled import load
from envs.rover.mujoco_world import world_model
from envs.rover.physics import Physics
from envs.rover.prepared import Prepared, prepare
from envs.rover.rovers import RoverConfig, Rovers
from envs.rover.worlds import LAYOUTS, Layout

COPIES = 16
WORLDS = (0, 1, 2, 3)


def best(work: Callable[[], int], rounds: int) -> tuple[float, float]:
    """(per wall second, per CPU second) of what `work` says it did; the best round of each."""
    wall, cpu = 0.0, 0.0
    work()
    for _ in range(rounds):
        began, used = time.perf_counter(), time.process_time()
        done = work()
        wall = max(wall, done / (time.perf_counter() - began))
        cpu = max(cpu, done / (time.process_time() - used))
    return wall, cpu


def eyes(one: Prepared) -> list[tuple[Any, Any]]:
    """(place, axes) of a camera at the start of each trip of a world."""
    views = []
    for x, y, heading in one.world.starts:
        c, s = np.cos(heading), np.sin(heading)
        body = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        place = np.array((x, y, one.world.height_at(x, y) + 0.098)) + body @ CAMERA
        views.append((place, camera_axes(body)))
    return views


def frames(layout: Layout, rounds: int) -> tuple[float, float]:
    camera, worlds = Camera(grain=2.0), [prepare(layout, "train", index) for index in WORLDS]
    image, depth = np.empty((96, 128, 3), np.uint8), np.empty((96, 128), np.float32)
    shots = [(one.views.scene, *eye) for one in worlds for eye in eyes(one)]

    def work() -> int:
        for scene, place, axes in shots:
            camera.take(scene, place, axes, image, depth)
        return len(shots)

    return best(work, rounds * 4)


def turns(layout: Layout, rounds: int) -> tuple[float, float]:
    one, ranges = prepare(layout, "train", 0), np.empty(360, np.float32)
    scan, shots = load()["kernel_lidar"].scan, eyes(one)

    def work() -> int:
        for place, _ in shots:
            scan(one.views.lidar, one.views.solids, place - (0, 0, 0.05), np.eye(3), 0.1, 12.0, ranges)
        return len(shots)

    return best(work, rounds * 8)


def physics(layout: Layout, rounds: int) -> tuple[float, float]:
    one = prepare(layout, "train", 0)
    bodies = Physics(COPIES, one.world.heights.shape, 1)
    generator = np.random.default_rng(0)

    def work() -> int:
        for i in range(COPIES):
            bodies.settle_on(i, one.world, one.surface)
            bodies.place(i, *one.world.starts[i % len(one.world.starts)])
        for _ in range(4):
            bodies.drive(np.full(COPIES, 0.8), generator.uniform(-1, 1, COPIES))
        return 4 * COPIES

    return best(work, rounds)


def steps(layout: Layout, threads: int, rounds: int) -> tuple[float, float]:
    rovers = Rovers(RoverConfig(layout, indices=WORLDS, depth=True), COPIES, 0, threads=threads)
    generator = np.random.default_rng(0)
    rovers.restart()

    def work() -> int:
        rovers.restart(range(1))  # an episode of 64 decisions ends now and then
        for _ in range(4):
            actions = np.stack([generator.uniform(-1, 1, COPIES), np.full(COPIES, 0.8)], axis=1)
            rovers.drive(actions)
        return 4 * COPIES

    measured = best(work, rounds)
    rovers.close()
    return measured


def gl_frames(layout: Layout, tuned: bool, seconds: float) -> tuple[float, float]:
    """Frames of mujoco.Renderer per wall and CPU second, same world and places, RGB only."""
    import mujoco

    one = prepare(layout, "train", 0)
    model = world_model(one.world, picture=True)
    model.vis.quality.offsamples = 0 if tuned else 4
    model.vis.quality.shadowsize = 0 if tuned else 4096
    data = mujoco.MjData(model)
    data.qpos[2] = -20
    mujoco.mj_forward(model, data)
    view = mujoco.MjvCamera()
    model.vis.global_.fovy = 2 * np.rad2deg(np.arctan(48 / BADGR_LENS.focal_y))
    view.distance = 0.01
    wall, cpu = 0.0, 0.0
    with mujoco.Renderer(model, 96, 128) as renderer:
        if tuned:
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds or not wall:
            start, used = time.perf_counter(), time.process_time()
            for x, y, heading in one.world.starts[:2]:
                view.lookat[:] = x, y, one.world.height_at(x, y) + 0.35
                view.azimuth, view.elevation = np.rad2deg(heading), 0.0
                renderer.update_scene(data, view)
                renderer.render()
            wall = max(wall, 2 / (time.perf_counter() - start))
            cpu = max(cpu, 2 / (time.process_time() - used))
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one layout, fewer rounds")
    quick = parser.parse_args().quick
    rounds = 3 if quick else 6
    gl = choose_gl()  # before mujoco is imported
    cores = min(usable_cores(), 2)
    load_average = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    machine = f"{platform.machine()}, {os.cpu_count()} cores{load_average}"
    print(f"{machine}, Python {platform.python_version()}, OpenGL: {gl}")
    results: dict[str, float] = {}
    layouts = LAYOUTS[:2] if quick else LAYOUTS
    print(f"{'':34}{'a wall second':>16}{'a CPU second':>16}")
    for layout in layouts:
        for name, measured in (
            ("camera frames, RGB and depth", frames(layout, rounds)),
            ("lidar turns", turns(layout, rounds)),
            ("decisions of physics", physics(layout, rounds)),
            ("whole steps, 1 thread", steps(layout, 1, rounds)),
            (f"whole steps, {cores} threads", steps(layout, cores, rounds)),
        ):
            print(f"{layout:10}{name:24}{measured[0]:16.0f}{measured[1]:16.0f}")
            results[f"{layout} {name}"] = measured[0]
            results[f"{layout} {name} cpu"] = measured[1]
    whole = f"urban whole steps, {cores} threads"
    summary = {
        "env_steps_per_s": round(results[whole], 1),
        "env_steps_per_cpu_s": round(results[f"{whole} cpu"], 1),
        "env_steps_per_s_on_two_quiet_cores": round(2 * results[f"{whole} cpu"], 1),
        "camera_frames_per_s": round(results["urban camera frames, RGB and depth"], 1),
        "camera_frames_per_cpu_s": round(results["urban camera frames, RGB and depth cpu"], 1),
        "offroad_env_steps_per_cpu_s": round(results[f"offroad whole steps, {cores} threads cpu"], 1),
        "real_time_factor": round(results[whole] * 0.25, 1),
        "real_time_factor_on_two_quiet_cores": round(2 * results[f"{whole} cpu"] * 0.25, 1),
    }
    for name, value, aim in (
        ("whole steps, two quiet cores", summary["env_steps_per_s_on_two_quiet_cores"], 900),
        ("camera frames a core", summary["camera_frames_per_cpu_s"], 1000),
    ):
        print(f"{name}: {value:.0f}, aim {aim}: {'met' if value >= aim else 'missed'}")
    if gl != "none":
        tuned, default = (gl_frames("urban", choice, 1.0 if quick else 4.0) for choice in (True, False))
        for name, rate in (("tuned", tuned), ("default", default)):
            print(f"mujoco.Renderer, RGB only, {name}: {rate[0]:.1f} a wall, {rate[1]:.1f} a CPU second")
        ours = summary["camera_frames_per_cpu_s"]  # CPU time: other work on the machine tells less on it
        summary["ratio_to_tuned_gl"] = round(ours / tuned[1], 2)
        summary["ratio_to_default_gl"] = round(ours / default[1], 1)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
