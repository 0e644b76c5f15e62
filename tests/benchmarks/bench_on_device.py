"""What the robot's side costs: install, import, memory, and a plan's time by provider and number format.

    python tests/benchmarks/bench_on_device.py                          # this machine, an untrained model
    python tests/benchmarks/bench_on_device.py --model predictor.model  # a Jetson: no torch, no onnx needed
    python tests/benchmarks/bench_on_device.py --write variants/        # keeps the int8 and fp16 models too
    python tests/benchmarks/bench_on_device.py --quick --no-install

install: `uv pip install .` without extras into a fresh environment, from uv's cache (--cold: downloads anew);
MB on the disk, Python itself left out. import and memory: fresh processes of that environment. plan: image
in, action out, one thread, with every provider that runs; rounds of the formats are interleaved; cpu: the
processor's time alone, which other work on the machine does not change much. Where onnx is not installed, as
on a robot, only the models that are given are measured. target: 512 candidates in 250 ms, a decision's time.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from agents.badgr.model_file import ModelFile, read_model, write_model
from agents.badgr.planner import PlannerConfig, SamplingPlanner
from agents.badgr.predictor import PROVIDERS, Predictor
from agents.badgr.reward import Preferences, plan_cost

ROOT = Path(__file__).parent.parent.parent
COUNTS = (512, 1024, 4096)
GOAL, PREFERENCES = np.array([10.0, 3.0]), Preferences()
COST_OF_IMPORT = """
import json, pathlib, sys, time
began = time.perf_counter()
import robot.drive, agents.badgr.agent, agents.badgr.predictor
took = time.perf_counter() - began
def mb():  # not getrusage's: that counts what the parent process had before it became this one
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
heavy = sorted({"torch", "mujoco", "rclpy"} & set(sys.modules))
found = {"import_s": took, "import_cpu_s": time.process_time(), "import_mb": mb(), "heavy": heavy}
if len(sys.argv) > 1:
    import numpy as np
    predictor = agents.badgr.predictor.Predictor(sys.argv[1], providers=("CPUExecutionProvider",))
    predictor.look(np.zeros(predictor.spec.image, np.uint8))
    predictor.predict(np.full((1024, predictor.spec.horizon, 2), 1.0, np.float32))
    found["model_mb"] = mb()
print(json.dumps(found))
"""


def install(folder: Path, cold: bool) -> tuple[Path, dict[str, Any]]:
    """A fresh environment with the base install; its Python, and what it took."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    place = folder / "base"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(place)], check=True)
    python = place / "bin" / "python"
    before = size_mb(place)
    began = time.perf_counter()
    words = [uv, "pip", "install", "-q", "--link-mode=copy", "--python", str(python), str(ROOT)]
    subprocess.run([*words, *(["--no-cache"] if cold else [])], check=True)
    took = time.perf_counter() - began
    listed = subprocess.run(
        [uv, "pip", "list", "--format=json", "--python", str(python)], check=True, capture_output=True
    )
    packages = [one["name"] for one in json.loads(listed.stdout)]
    extra = sorted({"torch", "mujoco", "stable-baselines3", "fastapi"} & set(packages))
    found = {"install_s": took, "install_mb": size_mb(place) - before, "packages": len(packages)}
    return python, {**found, "unwanted": extra, "cold": cold}


def size_mb(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def fresh(python: Path, model: Path, times: int) -> dict[str, Any]:
    """Fastest import and smallest memory of several fresh processes, outside of the repository."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    if python == Path(sys.executable):
        env["PYTHONPATH"] = str(ROOT)
    found = []
    for _ in range(times):
        ran = subprocess.run(
            [str(python), "-c", COST_OF_IMPORT, str(model)], check=True, capture_output=True, env=env, cwd="/"
        )
        found.append(json.loads(ran.stdout))
    best: dict[str, Any] = {key: min(one[key] for one in found) for key in found[0] if key != "heavy"}
    return {**best, "heavy": found[0]["heavy"]}


def formats(given: list[Path], write: Path | None) -> tuple[dict[str, ModelFile], dict[str, Any]]:
    """Models by name, and how far int8 and fp16 are from the first."""
    if given:
        models = {path.stem: read_model(path) for path in given}
    else:
        import torch

        from agents.badgr.export import export_model
        from agents.badgr.network import EventPredictor
        from agents.badgr.spec import ModelSpec

        torch.manual_seed(0)
        models = {"untrained": export_model(EventPredictor(ModelSpec()).eval())}
    if len(models) > 1 or importlib.util.find_spec("onnx") is None:
        return models, {}
    from agents.badgr.variants import difference, variant

    (name, model), parity = next(iter(models.items())), {}
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, *model.spec.image), dtype=np.uint8)
    actions = rng.uniform(model.spec.low, model.spec.high, (256, model.spec.horizon, 2)).astype(np.float32)
    cpu = ("CPUExecutionProvider",)
    for kind in ("fp16", "int8"):
        other = variant(model, kind)
        models[kind] = other
        parity[kind] = vars(
            difference(Predictor(model, providers=cpu), Predictor(other, providers=cpu), images, actions)
        )
        if write is not None:
            write_model(write / f"{name}-{kind}.model", other)
    return models, parity


def row(provider: str, name: str, count: int, ms: np.ndarray) -> dict[str, Any]:
    """ms: (rounds, 2) by the clock and of the processor."""
    found = {
        "provider": provider.removesuffix("ExecutionProvider"),
        "model": name,
        "candidates": count,
        "p50_ms": round(float(np.percentile(ms[:, 0], 50)), 2),
        "p99_ms": round(float(np.percentile(ms[:, 0], 99)), 2),
        "cpu_ms": round(float(np.percentile(ms[:, 1], 50)), 2),
    }
    print(" ".join(f"{value!s:>10}" for value in found.values()), flush=True)
    return found


def plan_times(models: dict[str, ModelFile], rounds: int) -> list[dict[str, Any]]:
    """ms of a plan, for each provider that runs, each format and number of candidates."""
    rows = []
    for provider in (one for one in PROVIDERS if one in onnxruntime.get_available_providers()):
        predictors = {name: Predictor(model, providers=(provider,)) for name, model in models.items()}
        predictors = {name: one for name, one in predictors.items() if one.provider == provider}
        for count in COUNTS:
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in predictors}
            planners = {
                name: SamplingPlanner(one.spec, PlannerConfig(candidates=count))
                for name, one in predictors.items()
            }
            for k in range(rounds + 2):
                for name, predictor in predictors.items():
                    image = np.full(predictor.spec.image, 10 * k % 256, np.uint8)
                    began, before = time.perf_counter(), time.process_time()
                    predictor.look(image)
                    planners[name].plan(
                        predictor.predict,
                        lambda prediction, steering: plan_cost(prediction, steering, PREFERENCES, GOAL),
                    )
                    if k >= 2:
                        took = time.perf_counter() - began, time.process_time() - before
                        times[name].append(took)
            for name, took in times.items():
                rows.append(row(provider, name, count, np.array(took) * 1e3))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, nargs="*", default=[])
    parser.add_argument("--write", type=Path)
    parser.add_argument("--no-install", action="store_true")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--quick", action="store_true")
    words = parser.parse_args()
    load = os.getloadavg()[0]
    versions = f"Python {platform.python_version()}, ONNX Runtime {onnxruntime.__version__}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, {versions}")
    found: dict[str, Any] = {"machine": platform.machine(), "load": round(load, 1)}
    models, parity = formats(words.model, words.write)
    with tempfile.TemporaryDirectory() as folder:
        python = Path(sys.executable)
        if not words.no_install:
            python, cost = install(Path(folder), words.cold)
            found |= cost
            print(
                f"install {cost['install_s']:.1f} s, {cost['install_mb']:.0f} MB, {cost['packages']} packages"
            )
        path = Path(folder) / "bench.model"
        write_model(path, next(iter(models.values())))
        found |= fresh(python, path, 2 if words.quick else 5)
    print(
        f"import {found['import_s']:.2f} s ({found['import_cpu_s']:.2f} s of the processor), "
        f"{found['import_mb']:.0f} MB; with a model {found['model_mb']:.0f} MB"
    )
    for kind, one in parity.items():
        print(f"{kind}: probability {one['probability']:.2g}, position {one['position']:.2g} m, same choice "
              f"{one['agreement']:.0%}, regret {one['regret']:.2g}")  # fmt: skip
    heads = ("provider", "model", "N", "p50 ms", "p99 ms", "cpu ms")
    print(" ".join(f"{one:>10}" for one in heads))
    rows = plan_times(models, 5 if words.quick else 40)
    found |= {"parity": parity, "plans": rows}
    slowest = max(row["p50_ms"] for row in rows if row["candidates"] == 512)
    print(
        f"512 candidates: p50 at most {slowest} ms, target 250 ms: {'held' if slowest <= 250 else 'MISSED'}"
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
