"""How long a whole plan takes: image in, action out, and where the time goes.

    python tests/benchmarks/bench_planner.py [--quick]

ours: ONNX Runtime in chunks, sampling, all events, cost and update. torch: the same network and the
same planner with eager torch. two networks: the released code's scheme, a second network for bumpiness,
eager torch. Rounds are interleaved. limit: multiplications of the rollout over this core's measured
matrix-product rate. neighbours: the same beside a process that burns every core.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch

from agents.badgr.export import export_model
from agents.badgr.network import RELEASED_CODE, EventPredictor
from agents.badgr.planner import PlannerConfig, SamplingPlanner
from agents.badgr.prediction import Prediction
from agents.badgr.predictor import Predictor
from agents.badgr.reward import Preferences, plan_cost
from agents.badgr.spec import ModelSpec

SPEC = ModelSpec()
LookAndPredict = Callable[[np.ndarray, np.ndarray], Prediction]
GOAL = np.array([10.0, 3.0])
PREFERENCES = Preferences()


def planning(
    count: int, look_and_predict: Callable[[np.ndarray, np.ndarray], Prediction]
) -> Callable[[], None]:
    """One whole plan a call, with an image that changes."""
    planner = SamplingPlanner(SPEC, PlannerConfig(candidates=count))
    images = np.random.default_rng(0).integers(0, 256, (8, *SPEC.image), dtype=np.uint8)
    calls = [0]

    def plan() -> None:
        calls[0] += 1
        image = images[calls[0] % len(images)]
        planner.plan(
            lambda actions: look_and_predict(image, actions),
            lambda prediction, steering: plan_cost(prediction, steering, PREFERENCES, GOAL),
        )

    return plan


def with_onnx(predictor: Predictor) -> LookAndPredict:
    def predict(image: np.ndarray, actions: np.ndarray) -> Prediction:
        predictor.look(image)
        return predictor.predict(actions)

    return predict


def with_torch(networks: list[EventPredictor]) -> LookAndPredict:
    """Eager, the image encoded once for each network, all candidates at once."""

    @torch.no_grad()
    def predict(image: np.ndarray, actions: np.ndarray) -> Prediction:
        normalised = torch.from_numpy(SPEC.normalised(actions)).transpose(0, 1).contiguous()
        events, position = {}, np.empty(0)
        for network in networks:
            h, c = network.encoder(torch.from_numpy(image)[None])
            states = [state.expand(len(actions), -1).contiguous() for state in (h, c)]
            logits, places = network.rollout(*states, normalised)
            values = torch.sigmoid(logits).transpose(0, 1).numpy()
            events |= {name: values[..., index] for index, name in enumerate(network.spec.events)}
            position = places.transpose(0, 1).numpy()
        return Prediction({"stuck": events["collision"], **events}, position)

    return predict


def flops(count: int) -> float:
    """Multiplications and additions of one rollout of `count` candidates."""
    outputs = len(SPEC.events) + 1
    step = 2 * 16 + 16 * 16 + (16 + 64) * 4 * 64 + 64 * 32 * outputs + 32 * (len(SPEC.events) + 2)
    return 2.0 * count * SPEC.horizon * step


def product_rate() -> float:
    """FLOP/s of one core on a float32 product of the LSTM's own shape."""
    a, b = np.ones((512, 80), np.float32), np.ones((80, 256), np.float32)
    out = np.empty((512, 256), np.float32)
    times = []
    for _ in range(300):
        begun = time.thread_time()
        for _ in range(10):
            np.matmul(a, b, out=out)
        times.append((time.thread_time() - begun) / 10)
    return 2 * 512 * 80 * 256 / statistics.median(times)


def rounds(plans: dict[str, Callable[[], None]], count: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of wall-clock and of CPU, interleaved."""
    found: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in plans}
    for plan in plans.values():
        plan()
    for _ in range(count):
        for name, plan in plans.items():
            wall, cpu = time.perf_counter(), time.process_time()
            plan()
            found[name]["wall"].append(1e3 * (time.perf_counter() - wall))
            found[name]["cpu"].append(1e3 * (time.process_time() - cpu))
    return found


def burn() -> None:
    while True:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two sizes, few rounds, one thread")
    quick = parser.parse_args().quick
    sizes, repeats = ((512, 4096), 10) if quick else ((512, 1024, 2048, 4096, 8192), 60)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, Python {platform.python_version()}")
    versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
    print(f"{versions}, H = {SPEC.horizon}, ms a plan\n")
    torch.manual_seed(0)
    network = EventPredictor(SPEC).eval()
    position_and_collision = ModelSpec(events=("collision",), lasting=("collision",))
    bumpy = ModelSpec(events=("bumpy",), lasting=())
    two = [EventPredictor(spec, RELEASED_CODE).eval() for spec in (position_and_collision, bumpy)]
    rate = product_rate()
    result: dict[str, float] = {"gflops_of_a_core": rate / 1e9}
    columns = ["N", "threads", "neighbours", "ours p50", "p99", "CPU", "torch p50", "two networks p50"]
    columns += ["torch / ours (CPU)", "two / ours (CPU)", "limit"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for threads in (1,) if quick else (1, 2):
        torch.set_num_threads(threads)
        predictor = Predictor(export_model(network), providers=("CPUExecutionProvider",), threads=threads)
        for neighbours in (False, True):
            busy = [multiprocessing.Process(target=burn, daemon=True) for _ in range(os.cpu_count() or 1)]
            for process in busy if neighbours else ():
                process.start()
            for count in sizes:
                plans = {
                    "ours": planning(count, with_onnx(predictor)),
                    "torch": planning(count, with_torch([network])),
                    "two": planning(count, with_torch(two)),
                }
                found = rounds(plans, repeats)
                p50 = {name: statistics.median(times["wall"]) for name, times in found.items()}
                cpu = {name: statistics.median(times["cpu"]) for name, times in found.items()}
                p99 = float(np.percentile(found["ours"]["wall"], 99))
                ratios = [cpu[name] / cpu["ours"] for name in ("torch", "two")]
                limit = 1e3 * flops(count) / rate
                cells = [count, threads, "busy" if neighbours else "quiet", p50["ours"], p99, cpu["ours"]]
                cells += [p50["torch"], p50["two"], *ratios, limit]
                print(
                    "| " + " | ".join(f"{c:.1f}" if isinstance(c, float) else str(c) for c in cells) + " |",
                    flush=True,
                )
                if count == 4096 and threads == 1 and not neighbours:
                    result |= {"p50_ms_4096": p50["ours"], "p99_ms_4096": p99, "cpu_ms_4096": cpu["ours"]}
                    result |= {"ratio_to_torch": ratios[0], "ratio_to_two_networks": ratios[1]}
                if count == 4096 and threads == 1 and neighbours:
                    result["busy_p99_to_p50"] = p99 / p50["ours"]
            for process in busy if neighbours else ():
                process.kill()
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


if __name__ == "__main__":
    main()
