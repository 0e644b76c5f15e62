"""What the guard and backing off do for the trips of the outdoor claims in town, in one process.

    python tests/benchmarks/bench_guard_trips.py [--trips 100] [--out runs/bench/guard-trips.jsonl]
    python tests/benchmarks/bench_guard_trips.py --quick     # 2 trips

The same predictor, planner and trips each time, and between planner and rover: nothing; the guard's own
decisions (`robot.gate.Gate`, at its rate, on the lidar of each decision) with a look straight ahead only; the
same with the driver's backing off; and as it ships, with the look along the arc. Trips that are over are kept
in --out: stopped, the same command goes on. Collisions are by the true state: what lies below the lidar's
plane is seen by no guard.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.badgr.agent import BadgrAgent, DriveConfig
from agents.badgr.planner import PlannerConfig
from agents.badgr.predictor import Predictor
from agents.badgr.reward import Preferences
from agents.badgr.trials import drive_trials
from envs.rover.physics import DECISION
from envs.rover.rovers import RoverConfig
from envs.rover.sensors import LIDAR_FARTHEST
from robot.back_off import BackOff
from robot.config import RobotConfig
from robot.gate import Gate
from robot.messages import ImuReading, OdometryReading
from robot.safety import Command

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "runs" / "bench" / "badgr-claims" / "runs" / "urban-0" / "predictor.model"
EVENTS = {"bumpy": 0.5, "stuck": 1.0}
"""weights of the claims in town"""


@dataclass(frozen=True)
class Method:
    guard: bool = True
    arc: bool = True
    back_off: bool = True


METHODS = {
    "no guard": Method(False, False, False),
    "guard straight ahead, stands": Method(arc=False, back_off=False),
    "guard straight ahead, backs off": Method(arc=False),
    "guard along the arc, backs off": Method(),
}


class Guarded:
    """A BadgrAgent whose wishes pass a gate."""

    def __init__(self, model: Path, number: int, method: Method) -> None:
        agent = DriveConfig(PlannerConfig(candidates=512))
        self._agent = BadgrAgent(Predictor(model, threads=1), Preferences(events=EVENTS), agent, seed=number)
        self._method, self._config = method, RobotConfig()

    @property
    def halt(self) -> Any:
        return self._agent.halt

    def reset(self) -> None:
        self._agent.reset()
        self._gate, self._back_off = Gate(self._config), BackOff(DECISION)
        self._now, self._hold = 100.0, None

    def act(self, observation: Mapping[str, Any]) -> Any:
        wish = self._agent.act(observation)
        if not self._method.guard:
            return wish
        if self._method.back_off and self.halt is None:
            freeing = self._back_off.step(wish, self._hold, observation)
            wish = wish if freeing is None else freeing
        return self._passed(wish, observation)

    def _passed(self, wish: Any, observation: Mapping[str, Any]) -> Any:
        gate, rate = self._gate, self._config.rates.guard
        lidar = np.asarray(observation["lidar"], np.float64)
        heard = lidar < LIDAR_FARTHEST
        angles = np.arange(len(lidar)) * 2 * math.pi / len(lidar)
        gate.hear_scan(angles[heard], lidar[heard])
        if not self._method.arc:
            gate.echoes = gate.echoes[:0]
        speed, turn_rate = (float(one) for one in observation["odometry_velocity"])
        gate.hear_odometry(OdometryReading(np.zeros(3), speed, turn_rate, 0.0, 0.0))
        gate.hear_imu(ImuReading(np.zeros(3), np.zeros(3), (0.0, 0.0, 0.0)), "imu")
        gate.wish = Command(float(wish[1]), float(wish[0]))
        sent = []
        for _ in range(round(DECISION * rate)):
            self._now += 1 / rate
            for stream in gate.streams.values():
                stream.hear(self._now, self._now, self._now)
            if not gate.armed:
                assert gate.arm(self._now) is None, gate.latched
            decision = gate.decide(self._now, self._now)
            sent.append((decision.command.turn_rate, decision.command.speed))
        self._hold = decision.reason
        return np.mean(sent, 0, np.float32)


def driven(name: str, model: Path, numbers: list[int], kept: list[dict[str, Any]], out: Path | None) -> None:
    """Adds the trips that are not there yet."""
    done = {row["number"] for row in kept if row["method"] == name}
    left = [number for number in numbers if number not in done]
    town = RoverConfig(layout="urban", split="test")
    trials = drive_trials(town, left, lambda _, __, n: Guarded(model, n, METHODS[name]), seed=0)
    for trial in trials:
        row = {"method": name, "number": trial.number, "outcome": trial.outcome, "seconds": trial.seconds}
        row |= {"roughness": trial.roughness, "spl": trial.spl}
        kept.append(row)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trips", type=int, default=100)
    parser.add_argument("--out", type=Path, help="file of the trips, to go on with")
    parser.add_argument("--model", type=Path, default=MODEL, help="exported event predictor")
    parser.add_argument("--quick", action="store_true", help="2 trips")
    options = parser.parse_args()
    out = None if options.quick else options.out
    numbers = list(range(2 if options.quick else options.trips))
    kept = [json.loads(line) for line in out.read_text().splitlines()] if out and out.exists() else []
    print("| between planner and rover | arrived | collided | refused | other | s a trip | SPL, % |")
    print("|---|---|---|---|---|---|---|")
    result = {}
    for name in METHODS:
        driven(name, options.model, numbers, kept, out)
        rows = [row for row in kept if row["method"] == name and row["number"] in numbers]
        ends = Counter(row["outcome"] for row in rows)
        reached, hit, refused = ends["reached"], ends["collision"], ends["refused"]
        seconds, spl = (
            np.median([row["seconds"] for row in rows]),
            100 * np.mean([row["spl"] for row in rows]),
        )
        other = len(rows) - reached - hit - refused
        print(f"| {name} | {reached} | {hit} | {refused} | {other} | {seconds:.0f} | {spl:.1f} |", flush=True)
        result[name] = dict(ends)
    print(json.dumps({"trips": len(numbers), **result}))


if __name__ == "__main__":
    main()
