"""How long from a fault until zero speed is on the wire: worst of many, by cause.

    python tests/benchmarks/bench_stop.py --realtime --trials 1000 --out runs/bench-stop.jsonl
    python tests/benchmarks/bench_stop.py --quick          # 5 of each
    python tests/benchmarks/bench_stop.py --only camera    # causes with this in their names

Each trial is a line of --out as soon as it is over: stopped or killed, the same command goes on, and several
commands with different --only may fill one file side by side, each in a ROS domain of its own.

The guard is its own process with the shipped time-outs (0.2 s); the planner another, which is killed or
stopped for real; sensors and base are this process. A time is from the cause to the stamp that DDS put on the
guard's first zero command, at a random moment of the guard's period. A trial counts as missed when any
command after the target is not zero. Where the guard itself is killed or stopped, it is the simulated base
that stops. partition: the planner lives in a network namespace of its own, and its link goes down; disk full:
guard and planner log to a file system without a free byte; both need root (unshare), else they are left out.
--set-clock: the machine's own clock jumps, by 5 s and back, and nothing else is measured; it needs root, and
every other program of the machine sees the jumps too.
--realtime: guard and sensors with real-time priority. Several such commands on one machine are several robots
on it: Linux then stops all real-time work for 50 ms when it took 95 % of a second, but for
`sysctl kernel.sched_rt_runtime_us=-1`.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import random
import runpy
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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
LATER = 2.0
"""s more where no zero was heard: it is the stamp that counts, not when the listener gets to it"""
HELPER = str(Path(__file__).parent.parent / "robot_ros.py")
INSIDE = "SUREFOOT_BENCH_STOP_INSIDE"
"""set in the process that has namespaces of its own"""
CALM = ("setsid", "chrt", "--other", "0")
"""Begins a process in a session of its own, as Linux continues stopped ones of a group whose shell ends, and
without its parent's real-time priority: importing takes a second, in which others must have their turn"""
LINK, PEER = "stop0", "stop1"
PROFILE = Path(__file__).parents[2] / "launch" / "config" / "fastdds.xml"
LEASE = """<builtin><discovery_config>
      <leaseDuration><sec>2</sec></leaseDuration>
      <leaseAnnouncement><sec>0</sec><nanosec>500000000</nanosec></leaseAnnouncement>
    </discovery_config></builtin>"""
"""Whoever was killed is forgotten after 2 s in place of 20: only the wait between two trials is shorter"""


def profile(network_only: bool) -> str:
    """The shipped one with a shorter lease; without shared memory for who is on another machine's network."""
    shipped = PROFILE.read_text(encoding="utf-8")
    if network_only:
        # Its first mention is the transport itself, the second one its use.
        shipped, found, rest = shipped.rpartition("<transport_id>large_shared_memory</transport_id>")
        assert found, f"{PROFILE} names another shared memory"
        shipped += rest
    return shipped.replace("<rtps>", f"<rtps>{LEASE}", 1)


class Bench:
    """The rig, the guard and the planner, and everything that went to the base with DDS's own stamps."""

    def __init__(self, env: dict[str, str], folder: Path, realtime: bool, partition: bool = False) -> None:
        from geometry_msgs.msg import Twist

        self.env, self.folder, self.realtime, self.partition = env, folder, realtime, partition
        self.config = RobotConfig()
        self.guard = self.planner = None
        if partition:
            self.start_planner()  # DDS knows the networks that there are when it begins: the wire comes first
        self.rig = HELP["Rig"](self.config, 0)
        self.rig.silent.add("planner")
        self.rig.ros.node.destroy_publisher(self.rig.publishers.pop("planner"))
        self.sent: list[tuple[float, bool]] = []
        self.jump = 0.0
        """s by which the cause sets this machine's clock"""
        self.base = Base(self.config.base.timeout)
        self.rig.ros.node.create_subscription(Twist, self.config.topics.command, self._command, 50)
        self.start_guard()
        if not partition:
            self.start_planner()

    def start_guard(self) -> None:
        words = HELP["surefoot"]("robot", "guard", *(["--realtime", "20"] if self.realtime else []))
        self.guard = HELP["Program"]([*CALM, *words], self.env, self.folder / "guard.log")

    def start_planner(self) -> None:
        command = [sys.executable, HELPER, "plan", "0.1", "0.0", "10" if self.realtime else "0"]
        if self.partition:
            wait = f"until ip -4 addr show {PEER} 2>/dev/null | grep -q inet; do sleep 0.05; done"
            command = ["unshare", "-n", "sh", "-c", f'{wait}; exec "$@"', "planner", *command]
        self.planner = HELP["Program"]([*CALM, *command], self.env, self.folder / "planner.log")
        if self.partition:
            connect(self.planner.process.pid)

    def drive(self) -> None:
        """Arms and drives at 0.1 m/s, which is reached at once: it is the time that is measured."""
        self.rig.wish = (0.1, 0.0)
        self.rig.drive()
        self.rig.pump(random.uniform(0.05, 0.15))

    def _command(self, message: Any, info: Any) -> None:
        self.base.hear(twist(message, "cmd_vel"), time.monotonic())
        moving = message.linear.x != 0 or message.angular.z != 0
        self.sent.append((info["source_timestamp"] * 1e-9, moving))

    def measure(self, cause: Callable[[], None]) -> tuple[float, bool, dict[str, float]]:
        """(s until zero, whether zero was all that came after the target, and what else happened).

        moving: s after the cause of the last command that was not zero; heard: commands after the cause;
        base: s until the base stood, by a command or by its own time-out; listened: s, which are more where
        the listener was held up.
        """
        self.sent.clear()
        cause()
        steady, began = time.monotonic(), time.time() - self.jump
        self.rig.pump(TARGET + AFTER)
        late = time.monotonic() - steady
        if late > TARGET + 2 * AFTER or not self._zeros(began):
            # The listener itself was held up, or the guard: what left in time may still be in the queue.
            with suppress(AssertionError):
                self.rig.pump(lambda: bool(self._zeros(began)), LATER)
        # Whatever left before the cause does not count; this clock is that of DDS's stamps.
        after = [(stamp, moving) for stamp, moving in self._told(began) if stamp >= began]
        last_moving = max((stamp for stamp, moving in after if moving), default=began)
        zeros = self._zeros(began)
        took = zeros[0] - began if zeros else float("inf")
        told = {
            "moving": last_moving - began,
            "heard": len(after),
            "base": min(took, last_moving - began + self.base.timeout),
            "listened": late,
        }
        return took, last_moving - began <= TARGET and bool(zeros), told

    def _zeros(self, began: float) -> list[float]:
        """Stamps of the commands since then that were zero, and after which none was not."""
        told = self._told(began)
        last_moving = max((stamp for stamp, moving in told if moving), default=began)
        return [stamp for stamp, moving in told if not moving and stamp > max(last_moving, began)]

    def _told(self, began: float) -> list[tuple[float, bool]]:
        """What was sent, with all stamps of the clock as it was before it jumped: a jump is longer than a
        trial, so the nearer one of two is right."""
        jumps = (0.0, -self.jump)
        return [
            (min((stamp + by for by in jumps), key=lambda s: abs(s - began)), m) for stamp, m in self.sent
        ]

    def guard_is_alone(self) -> bool:
        return len(self.rig.ros.node.get_publishers_info_by_topic("cmd_vel")) == 1

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


def machine_clock(bench: Bench, seconds: float) -> tuple[Callable[[], None], Callable[[], None]]:
    """The machine's own clock jumps, and back."""

    def jump(by: float) -> None:
        time.clock_settime(time.CLOCK_REALTIME, time.time() + by)

    def cause() -> None:
        jump(seconds)
        bench.jump = seconds

    def undo() -> None:
        jump(-bench.jump)
        bench.jump = 0.0

    return cause, undo


@contextmanager
def flood(bench: Bench, senders: int) -> Iterator[None]:
    """Processes that send thousands of messages a second on a topic that the guard hears."""
    command = [*CALM, sys.executable, HELPER, "flood"]
    with ExitStack() as open_:
        for k in range(senders):
            open_.enter_context(HELP["Program"](command, bench.env, bench.folder / f"flood{k}.log"))
        bench.rig.pump(3.0)
        yield


def connect(pid: int) -> None:
    """A wire between this network namespace and that of a process; it goes when the process ends."""
    here = Path("/proc/self/ns/net").readlink()
    end = time.monotonic() + 60
    while Path(f"/proc/{pid}/ns/net").readlink() == here:
        if time.monotonic() > end:
            raise TimeoutError("waited 60 s for the planner's network namespace")
        time.sleep(0.02)
    inside = ["nsenter", "-t", str(pid), "-n"]
    for words in (
        ["ip", "link", "add", LINK, "type", "veth", "peer", "name", PEER, "netns", str(pid)],
        ["ip", "addr", "add", "10.77.0.1/24", "dev", LINK],
        ["ip", "link", "set", LINK, "up"],
        [*inside, "ip", "link", "set", "lo", "up"],
        [*inside, "ip", "link", "set", PEER, "up"],
        [*inside, "ip", "addr", "add", "10.77.0.2/24", "dev", PEER],
    ):
        subprocess.run(words, check=True)


def switch(on: bool) -> None:
    """Takes the wire down or up, by one system call: a process would take longer than what is measured."""
    get_flags, set_flags, up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name = LINK.encode()
        found = fcntl.ioctl(any_socket, get_flags, struct.pack("16sH14x", name, 0))
        flags = struct.unpack("16sH14x", found)[1]
        flags = flags | up if on else flags & ~up
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", name, flags))


@contextmanager
def hogs() -> Iterator[None]:
    """Two processes a core that compute, as important as any other."""
    command = [*CALM, sys.executable, "-c", "while True: pass"]
    with ExitStack() as open_:
        for _ in range(2 * (os.cpu_count() or 1)):
            hog = subprocess.Popen(command)
            open_.callback(hog.wait)
            open_.callback(hog.kill)
        yield


class Journal:
    """Trials, one line each; all that this file holds count."""

    def __init__(self, path: Path | None, realtime: bool) -> None:
        self.path, self.realtime = path, realtime
        self.trials: dict[str, list[dict[str, Any]]] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                one = json.loads(line)
                if one["realtime"] == realtime:
                    self.trials.setdefault(one["cause"], []).append(one)

    def add(
        self, cause: str, took: float, clean: bool, again: int, told: dict[str, float] | None = None
    ) -> None:
        one = {"cause": cause, "took": took, "clean": clean, "again": again, "realtime": self.realtime}
        one |= told or {}
        self.trials.setdefault(cause, []).append(one)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:  # one write: others append too
                file.write((json.dumps({**one, "load": os.getloadavg()[0]}) + "\n").encode())

    def missing(self, cause: str, trials: int) -> int:
        return max(trials - len(self.trials.get(cause, [])), 0)


def run(bench: Bench, journal: Journal, name: str, trials: int, cause: Any, undo: Any) -> None:
    for _ in range(journal.missing(name, trials)):
        again = 0
        while True:
            bench.drive()
            if bench.rig.state["armed"] or bench.rig.state["armed"] is None:
                break
            again += 1  # this machine stopped it before the cause did
        took, clean, told = bench.measure(cause)
        undo()
        journal.add(name, took, clean, again, told)


def guard_dies(bench: Bench, journal: Journal, name: str, trials: int) -> None:
    """Until the simulated base's own time-out stops the wheels."""
    for _ in range(journal.missing(name, trials)):
        bench.drive()
        bench.guard.process.send_signal(signal.SIGKILL if "KILL" in name else signal.SIGSTOP)
        began = time.monotonic()
        while bench.base.speeds(time.monotonic()) != STOP:
            bench.rig.pump(0.002)
        took = time.monotonic() - began
        clean = took <= TARGET
        if "KILL" in name:
            bench.guard.__exit__()
            bench.start_guard()
            # The dead guard's publisher counts as a second one until DDS forgets it.
            bench.rig.pump(bench.guard_is_alone)
        else:
            bench.rig.pump(0.5)
            bench.sent.clear()
            bench.guard.process.send_signal(signal.SIGCONT)
            bench.rig.pump(AFTER)
            clean &= not any(moving for _, moving in bench.sent)  # it knows that it was late
        journal.add(name, took, clean, 0)


def row(name: str, trials: list[dict[str, Any]]) -> dict[str, Any]:
    ms = np.array([one["took"] for one in trials]) * 1e3
    found = {
        "cause": name,
        "trials": len(trials),
        # The next higher one, not something between: a trial without any zero counts as infinite.
        "p50_ms": round(float(np.percentile(ms, 50, method="higher")), 1),
        "p99_ms": round(float(np.percentile(ms, 99, method="higher")), 1),
        "worst_ms": round(float(ms.max()), 1),
        "over": int((ms > TARGET * 1e3).sum()),
        "missed": sum(not one["clean"] for one in trials),
        "again": sum(one["again"] for one in trials),
    }
    print(
        f"{name:36} {len(trials):5} {found['p50_ms']:8} {found['p99_ms']:8} {found['worst_ms']:8} "
        f"{found['over']:5} {found['missed']:6} {found['again']:6}",
        flush=True,
    )
    return found


def all_causes(bench: Bench, journal: Journal, trials: int, only: str) -> None:
    for name, (cause, undo) in causes(bench).items():
        if only in name:
            run(bench, journal, name, trials, cause, undo)
    silent, heard = causes(bench)["camera silent"]
    for name, busy in (("flooded with messages", lambda: flood(bench, 1)), ("all cores busy", hogs)):
        name = f"camera silent, guard overloaded: {name}"
        if only in name and journal.missing(name, trials):
            with busy():
                run(bench, journal, name, trials, silent, heard)
    for name in ("guard SIGSTOP (base stops)", "guard SIGKILL (base stops)"):
        if only in name:
            guard_dies(bench, journal, name, trials)


CLOCK = {"the machine's clock 5 s ahead": 5.0, "the machine's clock 5 s back": -5.0}


def clock_jumps(bench: Bench, journal: Journal, trials: int, only: str) -> None:
    for name, seconds in CLOCK.items():
        if only in name:
            cause, undo = machine_clock(bench, seconds)
            try:
                run(bench, journal, name, trials, cause, undo)
            finally:
                undo()


PARTITION, FULL = "planner behind a partition", "camera silent, disk full"


def in_namespaces(open_: ExitStack, env: dict[str, str], words: Any, journal: Journal, trials: int) -> None:
    """The causes that need a network or a file system of this process's own."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if words.only in PARTITION and journal.missing(PARTITION, trials):
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        # Across the wire, and nobody else is in this network.
        env["ROS_AUTOMATIC_DISCOVERY_RANGE"] = os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SUBNET"
        Path(env["FASTRTPS_DEFAULT_PROFILES_FILE"]).write_text(profile(network_only=True))
        bench = Bench(env, folder, words.realtime, partition=True)
        run(bench, journal, PARTITION, trials, lambda: switch(False), lambda: switch(True))
        bench.close()
        Path(env["FASTRTPS_DEFAULT_PROFILES_FILE"]).write_text(profile(network_only=False))
    if words.only in FULL and journal.missing(FULL, trials):
        folder = Path(tempfile.mkdtemp())
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], check=True)
        env["ROS_LOG_DIR"] = str(folder)
        bench = Bench(env, folder, words.realtime)
        bench.drive()
        fill(folder)
        cause, undo = causes(bench)["camera silent"]
        run(bench, journal, FULL, trials, cause, undo)
        bench.close()


def fill(folder: Path) -> None:
    """To the last byte."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (2**16, 2**10, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def namespaces(journal: Journal, out: Path, words: Any, trials: int) -> Journal:
    """Has what needs namespaces measured by a process that has them; all trials together."""
    if not any(words.only in name and journal.missing(name, trials) for name in (PARTITION, FULL)):
        return journal
    again = ["--only", words.only, "--trials", str(trials), "--out", str(out)]
    command = [sys.executable, __file__, *again, *(["--realtime"] if words.realtime else [])]
    ran = subprocess.run(["unshare", "-n", "-m", *command], env={**os.environ, INSIDE: "1"}, check=False)
    if ran.returncode:
        print("partition and disk full were left out or not finished: they need root and unshare")
    found = Journal(out, words.realtime)
    journal.trials.update({name: found.trials[name] for name in (PARTITION, FULL) if name in found.trials})
    return journal


NAMES = (
    "planner SIGSTOP", "camera silent", "camera repeats a frame", "odometry silent", "NaN in the IMU",
    "emergency stop", "odometry's clock 1 h back", "odometry's clock 1 h ahead", "planner SIGKILL",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--only", default="", help="part of the causes' names")
    parser.add_argument("--out", type=Path, help="file of the trials, to go on with")
    parser.add_argument("--set-clock", action="store_true", help="the machine's clock jumps; needs root")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("it was ended"))  # and ends its processes
    trials = 5 if words.quick else words.trials
    if words.realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    load, inside = os.getloadavg()[0], INSIDE in os.environ
    journal = Journal(words.out, words.realtime)
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "fastdds.xml"
        file.write_text(profile(network_only=False))
        os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(file)
        env = open_.enter_context(HELP["in_domain"](HELP["own_domain"](), folder))
        if inside:
            in_namespaces(open_, env, words, journal, trials)
            return
        first = any(
            words.only in name and journal.missing(name, trials)
            for name in [*NAMES, "camera silent, guard overloaded: flooded with messages",
                         "camera silent, guard overloaded: all cores busy",
                         "guard SIGSTOP (base stops)", "guard SIGKILL (base stops)"]
        )  # fmt: skip
        if first or words.set_clock:
            bench = Bench(env, folder, words.realtime)
            open_.callback(bench.close)
            causes_of = clock_jumps if words.set_clock else all_causes
            causes_of(bench, journal, trials, words.only)
        out = words.out or folder / "trials.jsonl"
        if not words.set_clock:
            journal = namespaces(journal, out, words, trials)
    versions = f"Python {platform.python_version()}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, {versions}")
    print(f"{'cause':36} {'times':>5} {'p50 ms':>8} {'p99 ms':>8} {'worst':>8} {'>250':>5} missed again")
    rows = [row(name, found) for name, found in journal.trials.items() if words.only in name]
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
