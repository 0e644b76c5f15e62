"""Are the error rates of labellers that the dashboard shows right, and their intervals honest?

Four people of known error rates answer: 3 % golds, 5 % repeats, 5 % of their answers to pairs that three
share. "clear": one clip of each pair is plainly better; "close": how much better is normal with standard
deviation 1 on the logit scale, so that even careful people contradict themselves. "prior": error rates
are drawn as the estimate expects people to be; there 95 % of the intervals must hold the truth.

    python tests/benchmarks/bench_label_quality.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import platform
import runpy
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents.preferences.labelling.error_rates import ANYTHING, PRIOR, error_rates

simulate = runpy.run_path(str(Path(__file__).parents[1] / "label_rows.py"))["simulate"]
KNOWN = (0.0, 0.1, 0.3, 0.6)
LOGITS = {"clear": 50.0, "close": 1.0}


def expected(generator: np.random.Generator) -> list[float]:
    anything = generator.random(4) < ANYTHING
    return list(np.where(anything, generator.random(4), generator.beta(*PRIOR, 4)))


def measure(answers: int, pairs: str, sessions: int, known: bool) -> dict[str, list[float]]:
    """Of each of four people over all sessions: mean and spread of the estimate, width, coverage."""
    generator = np.random.default_rng([answers, known, len(pairs)])
    rows = []
    for _ in range(sessions):
        true = list(KNOWN) if known else expected(generator)
        found = error_rates(*simulate(generator, true, answers, logit=LOGITS[pairs]))
        rates = [found[f"p{person}"] for person in range(4)]
        rows.append([(r.mean, r.low, r.high, r.low <= t <= r.high) for r, t in zip(rates, true, strict=True)])
    table = np.array(rows, float)  # (sessions, 4, 4)
    mean, low, high, inside = np.moveaxis(table, -1, 0)
    return {
        "mean": mean.mean(0).tolist(),
        "spread": mean.std(0).tolist(),
        "width": (high - low).mean(0).tolist(),
        "inside": inside.mean(0).tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    sessions = 10 if parser.parse_args().quick else 100
    print(f"{platform.platform()}, NumPy {np.__version__}, {sessions} sessions a row\n")
    print("| pairs | answers | true | found (spread) | width of 95 % | truth inside |")
    print("|---|---|---|---|---|---|")
    results: dict[str, float] = {}
    began = time.process_time()
    for pairs in LOGITS:
        for answers in (200, 700):
            found = measure(answers, pairs, sessions, known=True)
            for person, true in enumerate(KNOWN):
                mean, spread, width, inside = (values[person] for values in found.values())
                estimate = f"{mean:.2f} ({spread:.2f}) | {width:.2f} | {inside:.0%}"
                print(f"| {pairs} | {answers} | {true} | {estimate} |", flush=True)
                results[f"{pairs}_{answers}_{true}"] = round(inside, 3)
    for answers in (200, 700):
        inside = float(np.mean(measure(answers, "clear", sessions, known=False)["inside"]))
        print(f"| clear | {answers} | as the prior | | | {inside:.0%} |")
        results[f"prior_{answers}"] = round(inside, 3)
    seconds = (time.process_time() - began) / (6 * sessions)
    print(f"\n{1e3 * seconds:.0f} ms of CPU a session of four people\n")
    print(json.dumps({**results, "cpu_ms": round(1e3 * seconds, 1)}))


if __name__ == "__main__":
    main()
