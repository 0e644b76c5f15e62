"""The commands of the robot: `surefoot robot …` and `surefoot drive`. Heavy imports stand inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from robot.config import RobotConfig
    from robot.route import Route


def guard(config: Path | None = None, realtime: int = 0) -> None:
    """Watch over the robot: the only node that commands the base. Runs until Ctrl-C.

    Args:
        config: Parameter file of the robot, such as launch/config/robot.yaml.
        realtime: Real-time priority, 1 to 99 (SCHED_FIFO; needs the right to it); 0: none.
    """
    from robot.guard import run_guard
    from robot.node import take_priority

    _log()
    if realtime:
        take_priority(realtime)
    run_guard(_read(config), _ros())


def arm() -> None:
    """Let the robot drive from now on, if nothing speaks against it. Look at it first."""
    from robot.operator import arm as ask

    print(ask(arguments=_ros()))


def disarm() -> None:
    """Stop the robot until it is armed again."""
    from robot.operator import arm as ask

    print(ask(False, _ros()))


def estop(config: Path | None = None, release: bool = False) -> None:
    """Press the emergency stop, or release it; the robot stays disarmed.

    Args:
        config: Parameter file of the robot, for the topic's name.
        release: Release it.
    """
    from robot.operator import press_estop

    press_estop(_read(config), not release, _ros())
    print("released; `surefoot robot arm` lets it drive again" if release else "pressed")


def view(
    config: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8740,
    heartbeat: bool = False,
    token: str | None = None,
) -> None:
    """Show in a browser what the robot sees and thinks, with an emergency stop, until Ctrl-C.

    Needs pip install 'surefoot[label]'; runs on the robot, or on a laptop that hears its topics.

    Args:
        config: Parameter file of the robot.
        host: Address to listen at; 0.0.0.0 for other machines, which then need the printed link's key.
        port: Port, or the next free one.
        heartbeat: Be the operator's station: the robot stops when nobody has the page open any more.
        token: Key of the link in place of a drawn one.
    """
    from robot.view import run_view

    _log()
    run_view(_read(config), host, port, heartbeat=heartbeat, token=token, arguments=_ros())


def record(
    out: Path | None = None,
    config: Path | None = None,
    also: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    seconds: float = float("inf"),
    split_seconds: float = 60.0,
    flush_seconds: float = 1.0,
    compression: Literal["none", "lz4", "zstd"] = "none",
    queue_mb: int = 128,
    reserve_gb: float = 1.0,
) -> None:
    """Record the drive as a rosbag2 folder, until Ctrl-C; `surefoot import` makes training data of it.

    It only listens. A slow disk costs camera frames first, a full one ends the recording and not the
    drive; what a power cut leaves is read back. Prints a report as JSON at the end.

    Args:
        out: New folder; by default recordings/<robot>-<time>.
        config: Parameter file of the robot, for the topics' names.
        also: A further topic, of ROS's common message types; may be given several times.
        seconds: End after so many seconds.
        split_seconds: Length of one file.
        flush_seconds: How much a power cut may cost.
        compression: Of the files' chunks; pictures hardly get smaller.
        queue_mb: Memory for what waits for the disk.
        reserve_gb: What is kept free on the disk.
    """
    import json
    from dataclasses import asdict

    from robot.bag import BagConfig
    from robot.recorder import RecordOptions, run_recorder
    from robot.recording import RecordingConfig

    _log()
    options = RecordOptions(
        out,
        also,
        seconds=seconds,
        bag=BagConfig(split_seconds=split_seconds, compression=compression),
        recording=RecordingConfig(flush_seconds, queue_mb << 20, int(reserve_gb * 2**30)),
    )
    print(json.dumps(asdict(run_recorder(_read(config), options, _ros()))))


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
    from robot.sim import run_sim

    _log()
    robot = _read(config)
    if width is not None:
        robot = replace(robot, camera=replace(robot.camera, width=width, height=width * 3 // 4))
    run_sim(robot, RoverConfig(layout=layout, split=split, indices=(world,)), seed, trip, arguments=_ros())


def drive(
    model: Annotated[Path, tyro.conf.Positional],
    goal: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    route: Path | None = None,
    config: Path | None = None,
    shadow: bool = False,
    candidates: int = 1024,
    speed: float = 0.8,
    seconds: float = float("inf"),
    threads: int = 1,
    back_off: bool = True,
    collision: float = 1.0,
    goal_weight: float = 0.5,
    bumpy: float = 0.5,
    stuck: float = 1.0,
) -> None:
    """Drive to a goal by what the event predictor expects; prints a report as JSON at the end.

    Needs the robot's drivers (or `surefoot robot sim`), `surefoot robot guard`, and `surefoot robot arm`.
    Weights can be changed while it drives: `ros2 param set /driver preferences.bumpy 0.0`.

    Args:
        model: Exported event predictor.
        goal: latitude,longitude in degrees; several are driven to in order; by default what the topics
            `goal` (sensor_msgs/NavSatFix) and `plan` (nav_msgs/Path, such as nav2's) say.
        route: File of goals in order: YAML or GeoJSON.
        config: Parameter file of the robot.
        shadow: Predict and plan, but do not drive.
        candidates: Action sequences that are looked at in each decision.
        speed: m/s.
        seconds: End after so many seconds.
        threads: Threads of the predictor on the CPU.
        back_off: Back up 0.6 m and turn away where the guard holds it before an obstacle; else stand.
        collision: Weight of collisions.
        goal_weight: Weight of the direction to the goal.
        bumpy: Weight of bumpy ground.
        stuck: Weight of getting stuck.
    """
    import json
    from dataclasses import asdict

    from agents.badgr.planner import PlannerConfig
    from agents.badgr.reward import Preferences
    from robot.drive import DriveOptions, run_drive

    _log()
    events = {"bumpy": bumpy, "stuck": stuck}
    options = DriveOptions(
        model,
        _route(goal, route),
        shadow,
        Preferences(collision=collision, goal=goal_weight, events=events),
        PlannerConfig(candidates=candidates, speed=speed),
        seconds,
        threads,
        back_off,
    )
    print(json.dumps(asdict(run_drive(_read(config), options, _ros()))))


def navigate(
    policies: Annotated[tuple[Path, ...], tyro.conf.Positional],
    adapter: str = "",
    goal: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    route: Path | None = None,
    config: Path | None = None,
    shadow: bool = False,
    step_seconds: float = 0.5,
    seconds: float = float("inf"),
    threads: int = 1,
    back_off: bool = True,
) -> None:
    """Drive to a goal indoors by a side-tuned policy; prints a report as JSON at the end.

    Needs what `surefoot drive` needs. The adapter can be changed while it drives:
    `ros2 param set /driver adapter fog-side`; an unknown one is refused, and the one before goes on.

    Args:
        policies: navigator.side of `surefoot train sidetuning`; several of one base, to change between.
        adapter: Which adapter begins, such as strange-side; by default the first policy's.
        goal: latitude,longitude in degrees; several are driven to in order; by default what the topics
            `goal` (sensor_msgs/NavSatFix) and `plan` (nav_msgs/Path, such as nav2's) say.
        route: File of goals in order: YAML or GeoJSON.
        config: Parameter file of the robot.
        shadow: Decide, but do not drive.
        step_seconds: How long a step of 0.25 m or 10 degrees lasts; fewer drive faster.
        seconds: End after so many seconds.
        threads: Threads of the policy on the CPU.
        back_off: Back up 0.6 m and turn away where the guard holds it before an obstacle; else stand.
    """
    import json
    from dataclasses import asdict

    from robot.navigate import NavigateOptions, run_navigate

    _log()
    options = NavigateOptions(
        policies, adapter, _route(goal, route), shadow, step_seconds, seconds, threads, back_off
    )
    print(json.dumps(asdict(run_navigate(_read(config), options, _ros()))))


def collect(
    out: Path,
    minutes: float = 30.0,
    config: Path | None = None,
    fence: float = 15.0,
    world: Literal["urban", "off-road", "indoor"] = "urban",
    model: Path | None = None,
    slowest: float = 0.75,
    fastest: float = 1.25,
    episode_seconds: float = 60.0,
    seed: int = 0,
) -> None:
    """Let the robot drive itself at random and record, for `surefoot train badgr --data OUT`.

    Needs the robot's drivers, `surefoot robot guard`, and `surefoot robot arm`. It backs out of what it runs
    into by itself, and calls a person where that does not help. Prints a report as JSON at the end.

    Args:
        out: Folder of the drives; more minutes add to it.
        minutes: Of driving.
        config: Parameter file of the robot.
        fence: m to each side of where it was armed, kept to by GPS; 0: none, where walls are one.
        world: Kind of world, whose thresholds tell collisions.
        model: Event predictor that drives, with noise, in place of a random walk.
        slowest: m/s.
        fastest: m/s.
        episode_seconds: Longest drive; between two the robot stands while the disk is busy.
        seed: Seed of the walk.
    """
    import json
    from dataclasses import asdict

    from agents.badgr.walk import WalkConfig
    from robot.collect import CollectOptions, run_collect

    _log()
    walk = WalkConfig(slowest=slowest, fastest=fastest)
    options = CollectOptions(out, minutes, fence, world, model, episode_seconds, seed, walk)
    print(json.dumps(asdict(run_collect(_read(config), options, _ros()))))


ROBOT: dict[str, Callable[..., Any]] = {
    "guard": guard,
    "record": record,
    "view": view,
    "navigate": navigate,
    "collect": collect,
    "sim": sim,
    "arm": arm,
    "disarm": disarm,
    "estop": estop,
}


def _read(path: Path | None) -> RobotConfig:
    from robot.config import RobotConfig

    return RobotConfig() if path is None else RobotConfig.from_yaml(path)


def _ros() -> list[str]:
    """What stands after the command for ROS itself; `ros2 launch` puts names and parameters there."""
    import sys

    from robot.node import split_arguments

    return split_arguments(sys.argv[1:])[1]


def _route(goals: Sequence[str], file: Path | None) -> Route | None:
    from robot.route import Route, RouteError, place, read_route

    given = [goal for goal in goals if goal]  # launch files give an empty one for none
    if given and file is not None:
        raise RouteError("--goal and --route were both given: put all goals into the file")
    if file is not None:
        return read_route(file)
    return Route([place(goal, "--goal") for goal in given]) if given else None


def _log() -> None:
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
