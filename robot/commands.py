"""The commands of the robot: `surefoot robot …` and `surefoot drive`. Heavy imports stand inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from robot.config import RobotConfig


def guard(config: Path | None = None) -> None:
    """Watch over the robot: the only node that commands the base. Runs until Ctrl-C.

    Args:
        config: Parameter file of the robot, such as launch/config/robot.yaml.
    """
    from robot.guard import run_guard

    _log()
    run_guard(_read(config))


def arm() -> None:
    """Let the robot drive from now on, if nothing speaks against it. Look at it first."""
    from robot.operator import arm as ask

    print(ask())


def disarm() -> None:
    """Stop the robot until it is armed again."""
    from robot.operator import arm as ask

    print(ask(False))


def estop(config: Path | None = None, release: bool = False) -> None:
    """Press the emergency stop, or release it; the robot stays disarmed.

    Args:
        config: Parameter file of the robot, for the topic's name.
        release: Release it.
    """
    from robot.operator import press_estop

    press_estop(_read(config), not release)
    print("released; `surefoot robot arm` lets it drive again" if release else "pressed")


def sim(
    config: Path | None = None,
    layout: Literal["urban", "offroad", "indoor"] = "urban",
    split: Literal["train", "validation", "test"] = "train",
    world: int = 0,
    seed: int = 0,
    trip: int | None = None,
    width: int | None = None,
) -> None:
    """Run the simulated rover as ROS 2 topics, in real time, until Ctrl-C.

    Args:
        config: Parameter file of the robot.
        layout: Kind of world.
        split: Worlds of training, validation or test.
        world: Number of the world in its split.
        seed: Seed of the trip and of the sensors' noise.
        trip: Number of the trip in its world; by default drawn.
        width: Pixels of the camera's frames, in place of the file's: 128, 256, 384, 512 or 640, and three
            quarters as many high; fewer are quicker.
    """
    from dataclasses import replace

    from envs.rover.rovers import RoverConfig
    from robot.config import Camera
    from robot.sim import run_sim

    _log()
    robot = _read(config)
    if width is not None:
        camera = Camera(width, width * 3 // 4, robot.camera.compressed)
        robot = replace(robot, camera=camera)
    run_sim(robot, RoverConfig(layout=layout, split=split, indices=(world,)), seed, trip)


ROBOT: dict[str, Callable[..., Any]] = {
    "guard": guard,
    "sim": sim,
    "arm": arm,
    "disarm": disarm,
    "estop": estop,
}


def _read(path: Path | None) -> RobotConfig:
    from robot.config import RobotConfig

    return RobotConfig() if path is None else RobotConfig.from_yaml(path)


def _log() -> None:
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
