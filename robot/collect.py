"""`surefoot robot collect`: the robot drives itself at random within a fence, and records.

The agent is that of the simulation (agents.badgr.collect_agent): a random walk or a trained predictor with
noise, kept inside a fence, with manoeuvres that get the robot free. Its wishes go through the guard as all
others do. What is recorded is what `surefoot train badgr --data <out>` takes; the actions are those that the
guard sent, not those that were wished for.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agents.badgr.collect_agent import CollectAgent
from agents.badgr.collect_config import LABELS
from agents.badgr.geofence import FenceConfig, Geofence
from agents.badgr.recovery import Recovery, RecoveryConfig
from agents.badgr.walk import RandomWalk, WalkConfig
from envs.dataset import EpisodeDataset
from envs.files import write_durably
from envs.recording import Agent, EpisodeRecorder
from robot import messages
from robot.bridge import RosRobot
from robot.config import ConfigError, RobotConfig
from robot.messages import MessageError
from robot.node import command_qos, open_node
from robot.parameters import declare, on_change
from robot.teller import Teller

log = logging.getLogger(__name__)

Array = NDArray[Any]

SHORTEST = 8
"""steps; a drive that ends sooner is not kept"""
STEP_BYTES = 45_000
"""of a step on the disk: its picture and some more"""
RESERVE = 200e6
"""bytes that are left free for the rest of the robot"""


class CollectError(RuntimeError):
    """Nothing can be recorded; the robot was stopped before."""


@dataclass(frozen=True)
class CollectOptions:
    """What is driven, and where it is kept."""

    out: Path
    minutes: float = 30.0
    """of driving, in all; what an earlier call recorded there does not count"""
    fence: float = 15.0
    """m north, south, east and west of where it was armed, kept to by GPS; 0: none, where walls are one"""
    world: Literal["urban", "off-road", "indoor"] = "urban"
    """whose thresholds tell when it has hit something"""
    model: Path | None = None
    """event predictor that drives, with noise; None: a random walk"""
    episode_seconds: float = 60.0
    seed: int = 0
    walk: WalkConfig = field(default_factory=WalkConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    bounds: FenceConfig = field(default_factory=FenceConfig)

    def __post_init__(self) -> None:
        if not self.minutes > 0:
            raise ConfigError(f"minutes must be above 0, got {self.minutes}")
        if self.fence and not self.fence > self.bounds.margin:
            raise ConfigError(
                f"a fence of {self.fence:g} m leaves no room inside its margin of {self.bounds.margin:g} m: "
                "take a larger one, or 0 for none"
            )
        if not 5 <= self.episode_seconds <= 3600:
            raise ConfigError(f"episode_seconds must be 5 to 3600, got {self.episode_seconds}")


@dataclass
class CollectReport:
    drives: int = 0
    steps: int = 0
    resetting: int = 0
    """steps of manoeuvres"""
    manoeuvres: dict[str, int] = field(default_factory=dict)
    rescues: dict[str, int] = field(default_factory=dict)
    """how often a person was called, and why"""
    held: int = 0
    """steps in which the guard held the robot"""
    ended: str = ""


class Collector:
    """The loop around an agent that is made anew each time the robot is armed."""

    def __init__(self, robot: RosRobot, options: CollectOptions, dataset: EpisodeDataset) -> None:
        from geometry_msgs.msg import Twist, TwistStamped
        from std_srvs.srv import SetBool

        self.robot, self.options = robot, options
        self.report = CollectReport()
        self._dataset = dataset
        self._generator = np.random.default_rng(options.seed)
        self._agent: CollectAgent | None = None
        self._recorder: EpisodeRecorder | None = None
        self._sent: list[tuple[float, float]] = []
        self._rescues: Counter[str] = Counter()
        self._manoeuvres: Counter[str] = Counter()
        self._said = ""
        self._armed_at: float | None = None
        node, config = robot.ros.node, robot.config
        self._teller = Teller(node)
        self._arming = node.create_client(SetBool, "guard/arm")
        kind = TwistStamped if config.base.stamped else Twist
        node.create_subscription(kind, config.topics.command, self._hear_command, command_qos())

    def run(self) -> CollectReport:
        """Until the minutes are full or the node is told to end. Raises CollectError for a full disk."""
        steps = round(self.options.minutes * 60 / self.robot.dt)
        why = "told to end"
        try:
            while not self.robot.ros.ending.is_set():
                if self.report.steps >= steps:
                    why = f"{self.options.minutes:g} minutes are recorded"
                    break
                self._tick()
        finally:
            self.robot.stop()
            self._finish()
        self.report.ended = why
        log.info("collect: ended: %s", why)
        return self.report

    def _tick(self) -> None:
        if self._agent is None:
            self.robot.restart()  # it may have been carried elsewhere
        try:
            seen = self.robot.observe()
        except (TimeoutError, MessageError) as error:
            self._rest(f"waits: {error}")
            return
        if self.robot.armed_at is None:
            self._agent = None
            self._rest(f"waits: {self.robot.guard['reason']}; `surefoot robot arm` lets it drive")
            return
        if self._agent is not None and self.robot.armed_at != self._armed_at:
            self._agent = None
            self._rest("was disarmed and armed again while a sensor was silent")
            return
        self._armed_at = self.robot.armed_at
        if self._agent is None and self._fence_is_unsure(seen):
            self._rest("waits: the fence needs a new GPS fix of where it stands")
            return
        if self._agent is None:
            self._agent = self._new_agent(np.asarray(seen["gps"], np.float64))
        if self._recorder is None:
            self._begin(seen)
        else:
            self._take_in(seen)
        self._drive(seen)

    def _fence_is_unsure(self, seen: Any) -> bool:
        return self.options.fence > 0 and float(seen["gps_age"][0]) > self.robot.config.timeouts.position

    def _drive(self, seen: Any) -> None:
        assert self._agent is not None
        action = np.asarray(self._agent.act(seen), np.float32)
        if self._agent.rescue is not None:
            why = self._agent.rescue
            self._rescues[why] += 1
            self._call_a_person(why)
            return
        hold = self.robot.guard["reason"]
        words = "gets itself free" if self._agent.resetting else "drives at random"
        self._say(f"held by the guard: {hold}" if hold else words)
        self._teller.tell(self._said, action)
        self._sent.clear()
        self.robot.act(action)

    def _new_agent(self, place: Array) -> CollectAgent:
        c = self.options
        low, high = place - c.fence, place + c.fence
        fence = Geofence((*low.tolist(), *high.tolist()), c.bounds, self.robot.dt) if c.fence else None
        recovery = Recovery(c.recovery, LABELS[c.world], self._generator)
        agent = CollectAgent(_driver(c, place, self._generator), recovery, fence)
        agent.reset()
        return agent

    def _begin(self, seen: Any) -> None:
        need = self.options.episode_seconds / self.robot.dt * STEP_BYTES + RESERVE
        free = shutil.disk_usage(self.options.out).free
        if free < need:
            raise CollectError(
                f"{self.options.out}: {free / 1e6:.0f} MB are free, a drive needs {need / 1e6:.0f} MB: the "
                "robot was stopped; make room, or give another --out"
            )
        self._recorder = EpisodeRecorder(seen, {}, self.robot.dt, np.float32)

    def _take_in(self, seen: Any) -> None:
        """What came of the last action, as the guard let it pass."""
        assert self._recorder is not None
        assert self._agent is not None
        executed = np.mean(self._sent, 0, np.float32) if self._sent else np.zeros(2, np.float32)
        resetting = self._agent.resetting
        self._recorder.add(executed, seen, 0.0, (False, False), {"resetting": resetting})
        self.report.steps += 1
        self.report.resetting += resetting
        self.report.held += bool(self.robot.guard["reason"])
        if len(self._recorder) * self.robot.dt >= self.options.episode_seconds:
            self.robot.stop()  # it stands while the disk is busy
            self._finish()
            self._begin(seen)

    def _finish(self) -> None:
        """Keeps what was recorded so far, if it is long enough."""
        recorder, self._recorder = self._recorder, None
        if self._agent is not None:
            self._manoeuvres = Counter(self._agent.manoeuvres)
            self.report.manoeuvres = {str(name): count for name, count in self._manoeuvres.items()}
        self.report.rescues = dict(self._rescues)
        if recorder is None or len(recorder) < SHORTEST:
            return
        try:
            self._dataset.append(recorder.episode())
        except OSError as error:
            lost = len(recorder) * self.robot.dt
            raise CollectError(
                f"{error}: the robot was stopped, and the last {lost:.0f} s are lost"
            ) from error
        self.report.drives += 1
        log.info("collect: drive %d, %.0f s", self.report.drives, len(recorder) * self.robot.dt)

    def _rest(self, words: str) -> None:
        if self._recorder is not None:
            self.robot.stop()
            self._finish()
        self._say(words)
        self._teller.tell(words, np.zeros(2, np.float32))
        self.robot.act(np.zeros(2, np.float32))

    def _call_a_person(self, why: str) -> None:
        from std_srvs.srv import SetBool

        self.robot.stop()
        log.warning("collect: %s, and no manoeuvre helped: put the robot elsewhere, then arm it", why)
        self._finish()
        self._agent = None
        self._arming.call_async(SetBool.Request(data=False))
        end = time.monotonic() + 2.0
        while self.robot.guard["armed"] and time.monotonic() < end:
            self.robot.act(np.zeros(2, np.float32))

    def _say(self, words: str) -> None:
        if words.split("the newest message is")[0] != self._said.split("the newest message is")[0]:
            log.info("collect: %s", words)
        self._said = words

    def _hear_command(self, message: Any) -> None:
        stamped = self.robot.config.base.stamped
        command = messages.twist(message.twist if stamped else message, self.robot.config.topics.command)
        self._sent.append((command.turn_rate, command.speed))


def _driver(options: CollectOptions, place: Array, generator: np.random.Generator) -> Agent:
    """place: (2,) m east and north, the middle of the fence."""
    if options.model is None:
        return RandomWalk(options.walk, generator)
    from agents.badgr.agent import BadgrAgent
    from agents.badgr.collect_policy import NoisyTrips
    from agents.badgr.predictor import Predictor

    reach = max(options.fence - options.bounds.margin, 6.0)
    box = (*(place - reach).tolist(), *(place + reach).tolist())
    return NoisyTrips(BadgrAgent(Predictor(options.model), seed=options.seed), box, generator)


def run_collect(config: RobotConfig, options: CollectOptions, arguments: Sequence[str] = ()) -> CollectReport:
    """Until it has enough, SIGINT or SIGTERM. arguments: ROS's own."""
    _expect_same(options)
    with open_node("driver", arguments) as ros, EpisodeDataset(options.out) as dataset:
        _say_origin(options)
        config = declare(ros.node, config)
        _check_limits(config, options)
        on_change(ros.node, "limits.speed", lambda changed: _check_limits(changed, options))
        with RosRobot(config, needs_goal=False, ros=ros) as robot:
            return Collector(robot, options, dataset).run()


def _check_limits(config: RobotConfig, options: CollectOptions) -> None:
    if options.walk.fastest > config.limits.speed:
        raise ConfigError(
            f"the walk drives at up to {options.walk.fastest:g} m/s, limits.speed is "
            f"{config.limits.speed:g} m/s: lower one or raise the other"
        )


def _expect_same(options: CollectOptions) -> None:
    """A folder holds drives of one origin: the labels' thresholds follow from it."""
    file = options.out / "collect.json"
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        if before.get("origin") != "robot" or before.get("world") != options.world:
            raise CollectError(
                f"{options.out} holds drives of {before.get('origin', 'the simulation')} in the world "
                f"{before.get('world')!r}: choose another --out"
            )


def _say_origin(options: CollectOptions) -> None:
    file = options.out / "collect.json"
    if file.exists():
        return
    told = {**asdict(options), "out": str(options.out), "model": options.model and str(options.model)}
    write_durably(file, (json.dumps({"origin": "robot", **told}, indent=2) + "\n").encode())
