"""The closed loop over DDS: the trips of the outdoor claims, driven by ROS nodes in processes of their own.

    python tests/benchmarks/bench_drive_dds.py [--minutes 60] [--out runs/bench/drive-dds]
    python tests/benchmarks/bench_drive_dds.py --quick       # one trip, an untrained model if there is none

Simulated world, guard and driver are three processes, with the shipped time-outs, camera 640x480 at 30 Hz,
IMU 100 Hz, odometry 50 Hz, lidar 10 Hz. Guard and driver live through all trips, as on a robot; the world is
begun anew for each. Trips are those of bench_badgr_claims.py, with its first predictor and preferences: the
same trips without ROS stand beside them where that has driven them. A trip that is over is kept in --out:
stopped, the same command goes on with the next.

    tick      ms of observing and planning, over the ticks of this call; age: of the picture when its
              action was wished for
    stops     how often the guard stopped it on the way, and why; it is armed again at once
    back_offs how often the driver backed off from what the guard held it before
    slope     MB an hour, of a line through the second half of the memory
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cluster_nodes import memory_below

from agents.badgr.trials import outcome_of, trip_of
from envs.rover.physics import DECISION
from envs.rover.rovers import RoverConfig
from robot.config import RobotConfig
from robot.drive import Driver

ROOT = Path(__file__).resolve().parents[2]
HELP = runpy.run_path(str(ROOT / "tests" / "robot_ros.py"))
KEPT = ROOT / "runs" / "bench" / "badgr-claims"
WORLD = "urban"
READY_SECONDS = 180.0
LONGEST = 180.0
"""s that a trip may take, as without ROS"""
CANDIDATES = 512
EVENTS = {"bumpy": 0.5, "stuck": 1.0}
"""weights of the claims in town"""


# -- the driver's process ---------------------------------------------------------------------------------


def drive(model: Path, config_file: Path, out: Path) -> None:
    """Trip after trip until it is told to end: `surefoot drive`'s own loop, begun anew at each new goal."""
    from agents.badgr.agent import BadgrAgent, DriveConfig
    from agents.badgr.planner import PlannerConfig
    from agents.badgr.predictor import Predictor
    from agents.badgr.reward import Preferences
    from robot.bridge import RosRobot
    from robot.node import open_node

    predictor = Predictor(model, threads=1)
    spec, config = predictor.spec, RobotConfig.from_yaml(config_file)
    planner = PlannerConfig(candidates=CANDIDATES)
    agent = BadgrAgent(predictor, Preferences(events=EVENTS), DriveConfig(planner))
    with (
        open_node("driver", ()) as ros,
        RosRobot(
            config, image=spec.image[:2], dt=spec.step_seconds, start_seconds=READY_SECONDS, ros=ros
        ) as robot,
    ):
        driver = Driver(robot, agent, predictor.provider)
        threading.Thread(target=tell, args=(driver, out), daemon=True).start()
        while not ros.ending.is_set():
            driver.run()
            if agent.halt is not None and agent.halt.is_final:
                print(f"halt {agent.halt.kind}", flush=True)
            while robot.guard["armed"] and not ros.ending.wait(0.05):
                pass  # the trip is over when the operator says so
            agent.reset()


def tell(driver: Driver, out: Path) -> None:
    """Prints that a new goal was heard, and keeps the ticks so far."""
    heard, kept = driver.robot.route, time.monotonic()
    while True:
        time.sleep(0.05)
        if driver.robot.route is not heard:
            heard = driver.robot.route
            print("goal", flush=True)
        if time.monotonic() > kept + 2.0:
            kept = time.monotonic()
            report = driver.report
            counts = {"late": report.late, "waits": driver.robot.waits, "back_offs": report.back_offs}
            with out.with_suffix(".new").open("wb") as file:
                np.savez(file, work=list(driver.work), ages=list(driver.ages), **counts)
            out.with_suffix(".new").replace(out)


# -- one trip ---------------------------------------------------------------------------------------------


@dataclass
class Trip:
    """What came of one, as `agents.badgr.trials` judges it."""

    number: int
    outcome: str = ""
    seconds: float = 0.0
    roughness: float = 0.0
    smooth: float = 0.0
    path: float = 0.0
    stops: dict[str, int] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    """share of a core, by node"""
    nearest: float = float("nan")
    """m, of the lidar's echoes at its end"""


class Judge:
    """Takes in the truth of each decision from arming on."""

    def __init__(self) -> None:
        self.track: list[np.ndarray] = []
        self.rough = self.smooth = self.path = 0.0

    def take(self, truth: dict[str, Any]) -> str:
        """The outcome, if that was the end."""
        self.track.append(np.array(truth["position"]))
        way = float(truth["distance"]) if np.isfinite(truth["distance"]) else 0.0
        self.path += way
        self.smooth += way * (not truth["bumpy"])
        self.rough += truth["roughness"]
        return outcome_of(truth, self.track, DECISION, LONGEST) or ""


class Loop:
    """Guard and driver, and the node that watches and arms them."""

    def __init__(self, open_: ExitStack, folder: Path, model: Path, realtime: bool) -> None:
        from sensor_msgs.msg import LaserScan
        from std_msgs.msg import String

        from robot.node import RosNode, sensor_qos, state_qos

        self.folder = folder
        self.config = HELP["write_config"](folder / "robot.yaml", {})
        self.env = open_.enter_context(HELP["in_domain"](HELP["own_domain"](), folder))
        profile = str(ROOT / "launch" / "config" / "fastdds.xml")
        self.env["FASTRTPS_DEFAULT_PROFILES_FILE"] = os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = profile
        self.open = open_
        priority = ["--realtime", "20"] if realtime else []
        self.guard = self.program("guard", HELP["surefoot"]("robot", "guard", *self.words, *priority))
        self.ticks = folder / "ticks.npz"
        own = [sys.executable, __file__, "--driver", str(model), str(self.config), str(self.ticks)]
        self.driver = self.program("driver", own)
        self.ros = RosNode("judge")
        open_.callback(self.ros.close)
        self.truths: list[dict[str, Any]] = []
        self.state: dict[str, Any] = {"armed": False, "reason": ""}
        node = self.ros.node
        node.create_subscription(String, "sim/truth", lambda m: self.truths.append(json.loads(m.data)), 50)
        node.create_subscription(
            String, "guard/state", lambda m: self.state.update(json.loads(m.data)), state_qos()
        )
        self.nearest = float("nan")
        topic = RobotConfig.from_yaml(self.config).topics.lidar
        node.create_subscription(LaserScan, topic, self.hear_scan, sensor_qos())
        self.memory: list[tuple[float, dict[str, float]]] = []

    @property
    def words(self) -> list[str]:
        return ["--config", str(self.config)]

    def program(self, name: str, command: list[str]) -> Any:
        return self.open.enter_context(HELP["Program"](command, self.env, self.folder / f"{name}.log"))

    def said(self, what: str) -> int:
        """How often the driver has printed this."""
        return self.driver.said().splitlines().count(what)

    def hear_scan(self, message: Any) -> None:
        self.nearest = float(np.min(message.ranges))

    def wait(self, ready: Any, what: str) -> None:
        for name, program in (("guard", self.guard), ("driver", self.driver)):
            if program.process.poll() is not None:
                raise RuntimeError(f"the {name} ended:\n{program.said()[-3000:]}")
        self.ros.wait_for(ready, READY_SECONDS, what)

    def ask(self, armed: bool) -> bool:
        from robot.operator import Refused, ask_guard

        try:
            ask_guard(self.ros, armed, 10.0)
        except (Refused, TimeoutError):
            return False
        return True

    def trip(self, number: int) -> Trip:
        world, way = trip_of(number, RoverConfig(layout=WORLD, split="test"))
        words = ["sim", *self.words, "--layout", WORLD, "--split", "test"]
        words += ["--world", str(world), "--trip", str(way), "--seed", str(number)]
        goals, arrivals = self.said("goal"), self.said("halt arrived")
        with HELP["Program"](HELP["surefoot"]("robot", *words), self.env, self.folder / "sim.log") as sim:
            self.wait(lambda: self.said("goal") > goals, "the driver to hear the goal")
            self.wait(lambda: self.ask(True), "the guard to be armed")
            trip = self.judge(Trip(number), sim.process.pid)
            if trip.outcome == "refused" and self.said("halt arrived") > arrivals:
                trip.outcome = "missed"
            self.wait(lambda: self.ask(False), "the guard to be disarmed")
            sim.end(signal.SIGTERM)
        return trip

    def judge(self, trip: Trip, sim: int) -> Trip:
        judge, stops, was_armed = Judge(), Counter[str](), True
        nodes = {"sim": sim, "guard": self.guard.process.pid, "driver": self.driver.process.pid}
        before, began, look = {name: cpu_seconds(pid) for name, pid in nodes.items()}, time.monotonic(), 0.0
        self.truths.clear()
        while not trip.outcome:
            self.ros.spin_for(0.05)
            while self.truths and not trip.outcome:
                trip.outcome = judge.take(self.truths.pop(0))
            if was_armed and not self.state["armed"]:
                stops[self.state["reason"].partition(",")[0][:60]] += 1
            was_armed = bool(self.state["armed"]) or self.ask(True)
            if time.monotonic() > look:
                look = time.monotonic() + 5.0
                self.memory.append((look, {n: memory_below(nodes[n]) / 1e6 for n in ("guard", "driver")}))
            if time.monotonic() - began > 3 * LONGEST:
                raise RuntimeError(
                    f"the world stands still:\n{(self.folder / 'sim.log').read_text()[-2000:]}"
                )
        wall = time.monotonic() - began
        steps = max(len(judge.track), 1)
        trip.seconds, trip.path, trip.stops = steps * DECISION, judge.path, dict(stops)
        trip.nearest = self.nearest
        trip.roughness, trip.smooth = judge.rough / steps, judge.smooth / max(judge.path, 1e-9)
        trip.cpu = {name: round((cpu_seconds(pid) - before[name]) / wall, 3) for name, pid in nodes.items()}
        return trip


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- all of it --------------------------------------------------------------------------------------------


def in_process(numbers: list[int]) -> dict[int, dict[str, Any]]:
    """The same trips without ROS, by the same predictor, as far as they were driven."""
    from badgr_cells import FULL, PREFERENCES, Cells, MissingError

    assert (FULL.candidates, FULL.seconds, PREFERENCES[WORLD].events) == (CANDIDATES, LONGEST, EVENTS)
    cells = Cells(KEPT, FULL, only_stored=True)
    try:
        rows = cells.trials("urban", "badgr", model=cells.model("urban", 0))
    except MissingError:
        return {}
    return {row["number"]: row for row in rows if row["number"] in numbers}


def slope(memory: list[tuple[float, dict[str, float]]], name: str) -> float:
    half = memory[len(memory) // 2 :]
    if len(half) < 3:
        return 0.0
    hours = np.array([when for when, _ in half]) / 3600
    return float(np.polyfit(hours - hours[0], [row[name] for _, row in half], 1)[0])


def percentiles(seconds: np.ndarray) -> str:
    if not len(seconds):
        return "none"
    return " / ".join(f"{q:.1f}" for q in np.percentile(seconds * 1e3, (50, 99, 99.9), method="higher"))


def judged(trips: list[Trip]) -> dict[str, Any]:
    outcomes = Counter(trip.outcome for trip in trips)
    stops: Counter[str] = Counter()
    for trip in trips:
        stops.update(trip.stops)
    found: dict[str, Any] = {
        "trips": len(trips),
        "reached": outcomes["reached"],
        "outcomes": dict(outcomes),
        "roughness": round(float(np.mean([trip.roughness for trip in trips])), 4),
        "stops": dict(stops),
        # The outline is within 0.55 m of the lidar: what is farther away was not hit.
        "collisions_lidar_sees_nothing": sum(t.outcome == "collision" and t.nearest > 0.55 for t in trips),
        "cpu": {
            name: round(float(np.median([trip.cpu[name] for trip in trips])), 3) for name in trips[0].cpu
        },
    }
    beside = in_process([trip.number for trip in trips])
    both = [trip for trip in trips if trip.number in beside]
    if both:
        rows = [beside[trip.number] for trip in both]
        found |= {
            "paired": len(both),
            "reached_in_process": sum(row["outcome"] == "reached" for row in rows),
            "reached_over_dds": sum(trip.outcome == "reached" for trip in both),
            "only_in_process": sum(
                row["outcome"] == "reached" and trip.outcome != "reached"
                for row, trip in zip(rows, both, strict=True)
            ),
            "outcomes_over_dds_and_in_process": dict(
                Counter(f"{trip.outcome}, {row['outcome']}" for row, trip in zip(rows, both, strict=True))
            ),
            "roughness_in_process": round(float(np.mean([row["roughness"] for row in rows])), 4),
        }
    return found


def expect_model(note: Path, model: Path) -> None:
    """Ends this where the kept trips were driven by another one."""
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    if not note.exists():
        note.write_text(digest)
    elif note.read_text() != digest:
        sys.exit(f"the trips in {note.parent} were driven by another model than {model}: give another --out")


def main() -> None:
    if sys.argv[1:2] == ["--driver"]:
        drive(*map(Path, sys.argv[2:5]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="no trip is begun after them")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench" / "drive-dds")
    parser.add_argument("--model", type=Path, default=KEPT / "runs" / "urban-0" / "predictor.model")
    parser.add_argument("--realtime", action="store_true", help="guard with real-time priority")
    parser.add_argument("--quick", action="store_true", help="one trip")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("it was ended"))  # and ends its processes
    print(f"{platform.machine()}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name, ExitStack() as open_:
        folder = Path(name)
        out = folder if options.quick else options.out  # a quick trip is not one of the results
        out.mkdir(parents=True, exist_ok=True)
        kept = out / "trips.jsonl"
        trips = [Trip(**json.loads(line)) for line in kept.read_text().splitlines()] if kept.exists() else []
        model = options.model if options.model.exists() else untrained(folder)
        expect_model(out / "model.sha256", model)
        loop, end = Loop(open_, folder, model, options.realtime), time.monotonic() + 60 * options.minutes
        while time.monotonic() < end:
            trip = loop.trip(len(trips))
            trips.append(trip)
            with kept.open("a") as file:
                file.write(json.dumps(asdict(trip)) + "\n")
            print(
                f"trip {trip.number}: {trip.outcome} in {trip.seconds:.0f} s, {trip.stops}, {trip.cpu}",
                file=sys.stderr, flush=True,
            )  # fmt: skip
            if options.quick:
                break
        ticks = np.load(loop.ticks)
        result = judged(trips) | {
            "ticks": len(ticks["work"]),
            "tick_ms_50_99_999": percentiles(ticks["work"]),
            "age_ms_50_99_999": percentiles(ticks["ages"]),
            "late": int(ticks["late"]),
            "waits": int(ticks["waits"]),
            "back_offs": int(ticks["back_offs"]),
            "mb": {name: round(loop.memory[-1][1][name], 1) for name in ("guard", "driver")},
            "mb_per_hour": {name: round(slope(loop.memory, name), 1) for name in ("guard", "driver")},
            "load_after": round(os.getloadavg()[0], 1),
        }
    for key, value in result.items():
        print(f"{key:22} {value}")
    print(json.dumps(result))


def untrained(folder: Path) -> Path:
    """A network that drives somewhere, made in a process of its own: torch would be beside ROS here."""
    path = folder / "predictor.model"
    code = (
        "import runpy, sys; from agents.badgr.export import export_model; "
        "from agents.badgr.model_file import write_model; from agents.badgr.spec import ModelSpec; "
        "calm = runpy.run_path(sys.argv[1])['calm_network']; "
        "from pathlib import Path; write_model(Path(sys.argv[2]), export_model(calm(ModelSpec())))"
    )
    helper = str(ROOT / "tests" / "badgr_calm.py")
    subprocess.run([sys.executable, "-c", code, helper, str(path)], check=True, cwd=ROOT)
    return path


if __name__ == "__main__":
    main()
