"""The commands of the robot: `surefoot robot …` and `surefoot drive`. Heavy imports stand inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


ROBOT: dict[str, Callable[..., Any]] = {"guard": guard, "arm": arm, "disarm": disarm, "estop": estop}


def _read(path: Path | None) -> RobotConfig:
    from robot.config import RobotConfig

    return RobotConfig() if path is None else RobotConfig.from_yaml(path)


def _log() -> None:
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
