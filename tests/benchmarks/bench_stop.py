"""How long from a fault until zero speed is on the wire: worst of many, by cause.

    python tests/benchmarks/bench_stop.py                  # 100 of each cause, about 25 minutes
    python tests/benchmarks/bench_stop.py --trials 1000    # the table in robot/README.md
    python tests/benchmarks/bench_stop.py --quick          # 5 of each
    python tests/benchmarks/bench_stop.py --realtime       # guard and sensors with real-time priority

The guard is its own process with the shipped time-outs (0.2 s); the planner another, which is killed or
stopped for real; sensors and base are this process. A time is from the cause to the stamp that DDS put on the
guard's first zero command, at a random moment of the guard's period. A trial counts as missed when any
command after the target is not zero. Where the guard itself is killed, it is the simulated base that stops.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from robot.config import RobotConfig
from robot.messages import twist
from robot.safety import STOP
from robot.sim import Base

HELP = runpy.run_path(str(Path(__file__).parent.parent / "robot_ros.py"))
TARGET = 0.25
"""s"""
AFTER = 0.3
"""s that are listened on after the target, for commands that must not come"""
HELPER = str(Path(__file__).parent.parent / "robot_ros.py")


class Bench:
    """The rig, the guard and the planner, and everything that went to the base with DDS's own stamps."""

    def __init__(self, env: dict[str, str], folder: Path, realtime: bool) -> None:
        from geometry_msgs.msg import Twist

        self.env, self.folder, self.realtime = env, folder, realtime
        self.config = RobotConfig()
        self.rig = HELP["Rig"](self.config, 0)
        self.rig.silent.add("planner")
        self.rig.ros.node.destroy_publisher(self.rig.publishers.pop("planner"))
        self.sent: list[tuple[float, bool]] = []
        self.base = Base(self.config.base.timeout)
        self.rig.ros.node.create_subscription(Twist, self.config.topics.command, self._command, 50)
        self.guard = self.planner = None
        self.start_guard()
        self.start_planner()

    def start_guard(self) -> None:
        words = HELP["surefoot"]("robot", "guard", *(["--realtime", "20"] if self.realtime else []))
        self.guard = HELP["Program"](words, self.env, self.folder / "guard.log")

    def start_planner(self) -> None:
        command = [sys.executable, HELPER, "plan", "0.1", "0.0", "10" if self.realtime else "0"]
        self.planner = HELP["Program"](command, self.env, self.folder / "planner.log")

    def drive(self) -> None:
        """Arms and drives at 0.1 m/s, which is reached at once: it is the time that is measured."""
        self.rig.wish = (0.1, 0.0)
        self.rig.drive()
        self.rig.pump(random.uniform(0.05, 0.15))

    def _command(self, message: Any, info: Any) -> None:
        self.base.hear(twist(message, "cmd_vel"), time.monotonic())
        moving = message.linear.x != 0 or message.angular.z != 0
        self.sent.append((info["source_timestamp"] * 1e-9, moving))

    def measure(self, cause: Callable[[], None]) -> tuple[float, bool]:
        """(s until zero, whether zero was all that came after the target)."""
        self.sent.clear()
        cause()
        began = time.time()
        self.rig.pump(TARGET + AFTER)
        # Whatever left before the cause does not count; this clock is that of DDS's stamps.
        after = [(stamp, moving) for stamp, moving in self.sent if stamp >= began]
        last_moving = max((stamp for stamp, moving in after if moving), default=began)
        zeros = [stamp for stamp, moving in after if not moving and stamp > last_moving]
        took = zeros[0] - began if zeros else float("inf")
        return took, last_moving - began <= TARGET and bool(zeros)

    def close(self) -> None:
        for program in (self.guard, self.planner):
            if program is not None:
                program.__exit__()
        self.rig.close()


def causes(bench: Bench) -> dict[str, tuple[Callable[[], None], Callable[[], None]]]:
    """Name: (what happens, how it is undone)."""
    rig = bench.rig

    def silence(name: str) -> tuple[Callable[[], None], Callable[[], None]]:
        return (lambda: rig.silent.add(name)), (lambda: rig.silent.discard(name))

    def freeze(name: str) -> tuple[Callable[[], None], Callable[[], None]]:
        return (lambda: rig.frozen.add(name)), (lambda: rig.frozen.discard(name))

    def kill() -> None:
        bench.planner.process.send_signal(signal.SIGKILL)

    def revive() -> None:
        bench.planner.__exit__()
        bench.start_planner()

    def broken() -> None:
        message = rig.message("imu", time.time())
        message.angular_velocity.z = float("nan")
        rig.publishers["imu"].publish(message)

    def press(pressed: bool) -> Callable[[], None]:
        from std_msgs.msg import Bool

        return lambda: rig.estop.publish(Bool(data=pressed))

    def set_clock(seconds: float) -> Callable[[], None]:
        return lambda: rig.skew.update(odometry=seconds)

    return {
        "planner SIGSTOP": (
            lambda: bench.planner.process.send_signal(signal.SIGSTOP),
            lambda: bench.planner.process.send_signal(signal.SIGCONT),
        ),
        "camera silent": silence("camera"),
        "camera repeats a frame": freeze("camera"),
        "odometry silent": silence("odometry"),
        "NaN in the IMU": (broken, lambda: None),
        "emergency stop": (press(True), press(False)),
        "odometry's clock 1 h back": (set_clock(-3600.0), set_clock(0.0)),
        "odometry's clock 1 h ahead": (set_clock(3600.0), set_clock(0.0)),
        "planner SIGKILL": (kill, revive),
    }


@contextmanager
def flood(bench: Bench, senders: int) -> Iterator[None]:
    """Processes that send thousands of messages a second on a topic that the guard hears."""
    command = [sys.executable, HELPER, "flood"]
    with ExitStack() as open_:
        for k in range(senders):
            open_.enter_context(HELP["Program"](command, bench.env, bench.folder / f"flood{k}.log"))
        bench.rig.pump(3.0)
        yield


def run(bench: Bench, name: str, trials: int, cause: Any, undo: Any) -> dict[str, Any]:
    times, missed, again = [], 0, 0
    while len(times) < trials:
        bench.drive()
        if not bench.rig.state["armed"] and bench.rig.state["armed"] is not None:
            again += 1  # this machine stopped it before the cause did
            continue
        took, clean = bench.measure(cause)
        undo()
        times.append(took)
        missed += not clean
    return row(name, times, missed, again)


def guard_killed(bench: Bench, trials: int) -> dict[str, Any]:
    """Until the simulated base's own time-out stops the wheels."""
    times = []
    for _ in range(trials):
        bench.drive()
        bench.guard.process.kill()
        began = time.monotonic()
        while bench.base.speeds(time.monotonic()) != STOP:
            bench.rig.pump(0.002)
        times.append(time.monotonic() - began)
        bench.guard.__exit__()
        bench.start_guard()
        # The dead guard's publisher counts as a second one until DDS forgets it.
        bench.rig.pump(lambda: len(bench.rig.ros.node.get_publishers_info_by_topic("cmd_vel")) == 1)
    return row("guard SIGKILL (base stops)", times, sum(one > bench.base.timeout + 0.05 for one in times), 0)


def row(name: str, times: list[float], missed: int, again: int) -> dict[str, Any]:
    ms = np.array(times) * 1e3
    found = {
        "cause": name,
        "trials": len(times),
        "p50_ms": round(float(np.percentile(ms, 50)), 1),
        "p99_ms": round(float(np.percentile(ms, 99)), 1),
        "worst_ms": round(float(ms.max()), 1),
        "over": int((ms > TARGET * 1e3).sum()),
        "missed": missed,
        "again": again,
    }
    print(
        f"{name:28} {len(times):5} {found['p50_ms']:8} {found['p99_ms']:8} {found['worst_ms']:8} "
        f"{found['over']:5} {missed:6} {again:6}",
        flush=True,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--only", default="", help="part of the causes' names")
    words = parser.parse_args()
    trials = 5 if words.quick else words.trials
    if words.realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    load = os.getloadavg()[0]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}"
    )
    print(f"{'cause':28} {'times':>5} {'p50 ms':>8} {'p99 ms':>8} {'worst':>8} {'>250':>5} missed again")
    rows = []
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        env = open_.enter_context(HELP["in_domain"](HELP["own_domain"](), folder))
        bench = Bench(env, folder, words.realtime)
        open_.callback(bench.close)
        for name, (cause, undo) in causes(bench).items():
            if words.only in name:
                slow = name == "planner SIGKILL"  # a dead planner is forgotten after 20 s
                rows.append(run(bench, name, min(trials, 20) if slow else trials, cause, undo))
        if words.only in "camera silent, guard flooded":
            with flood(bench, 1):
                cause, undo = causes(bench)["camera silent"]
                rows.append(run(bench, "camera silent, guard flooded", trials, cause, undo))
        if words.only in "guard SIGKILL":
            rows.append(guard_killed(bench, min(trials, 20)))
    worst = max((one["worst_ms"] for one in rows), default=None)
    held = worst is not None and worst <= TARGET * 1e3 and not any(one["missed"] for one in rows)
    print(f"worst {worst} ms, target {TARGET * 1e3:.0f} ms: {'held' if held else 'MISSED'}")
    print(
        json.dumps(
            {
                "worst_ms": worst,
                "target_ms": TARGET * 1e3,
                "load": round(load, 1),
                "realtime": words.realtime,
                "causes": rows,
            }
        )
    )


if __name__ == "__main__":
    main()
