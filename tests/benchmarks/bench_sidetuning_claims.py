"""Side-tuning's claims on indoor PointNav: imitation by amount of data, reinforcement, forgetting, costs.

    python tests/benchmarks/bench_sidetuning_claims.py [--results FOLDER] [--only I R F C] [--seeds 5]
    python tests/benchmarks/bench_sidetuning_claims.py --stored    # judges what is there; makes nothing
    python tests/benchmarks/bench_sidetuning_claims.py --quick     # everything, tiny: it learns nothing

Pass marks are the specification's. Every run is kept in --results with the digest of what it learnt: stop
and go on at will. All seeds share one base; they differ in demonstrations, weights and batches. The side
that the claims are about was chosen before the first run: side-zero.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sidetuning_cells import FULL, LEARNING, QUICK, QUICK_LEARNING, Cells, MissingError, digest_of

from agents.sidetuning.base_config import BaseNetwork
from agents.sidetuning.demos import gather_demos
from agents.sidetuning.frozen import FrozenBase
from agents.sidetuning.imitate import Imitation
from agents.sidetuning.navigate import MODEL, decider, load_navigator
from agents.sidetuning.navigate_evaluate import evaluate_navigator
from agents.sidetuning.navigation_config import NAVIGATORS
from agents.sidetuning.navigator import logits, prepared, side_model
from agents.sidetuning.policy_agent import SideTunedAgent
from agents.sidetuning.pretrain import gather, readout_errors
from agents.sidetuning.visual_base import VisualBase, load_base, load_readouts
from envs.pointnav import PointNav

CHOSEN = "side-zero"
WIDTHS = (1, 4)
RESULTS = Path(__file__).resolve().parents[2] / "runs" / "bench" / "sidetuning-claims"


class Claim(NamedTuple):
    name: str
    mark: str
    measured: str
    held: bool


def imitation(cells: Cells) -> list[Claim]:
    """SPL and success by demonstrations, for every method and the controls."""
    sizes = cells.sizes
    spl = {m: {n: cells.scores(m, n) for n in sizes.demos} for m in NAVIGATORS}
    print(f"\n| SPL / success, % | {' | '.join(f'{n} demonstrations' for n in sizes.demos)} |")
    print(f"|---|{'---|' * len(sizes.demos)}")
    for method, scores in spl.items():
        shown = [
            f"{x.mean():.1f} ± {x.std():.1f} / {cells.scores(method, n, 'success').mean():.1f}"
            for n, x in scores.items()
        ]
        print(f"| {method} | {' | '.join(shown)} |")
    mean = {m: {n: float(x.mean()) for n, x in scores.items()} for m, scores in spl.items()}
    few, many = min(sizes.demos), max(sizes.demos)
    gains = {n: mean[CHOSEN][n] - max(mean["finetune"][n], mean["features"][n]) for n in sizes.demos}
    over_side_only = {n: mean[CHOSEN][n] - mean["side-only"][n] for n in sizes.demos}
    over_blind = {n: mean["features"][n] - mean["blind"][n] for n in sizes.demos}
    merges = {m: mean[m][many] for m in ("side", "side-mlp", "side-film")}
    rivals = max(mean["scratch"][few], mean["finetune"][few])
    consistent = abs(mean["side-copy"][many] - mean["finetune"][many])
    alpha = {n: mean["side"][n] - mean["side-fixed"][n] for n in sizes.demos}

    def points(by_demos: dict[int, float]) -> str:
        return ", ".join(f"{n}: {x:+.1f}" for n, x in by_demos.items())

    return [
        Claim("I1 little data: features lead", "features > scratch and fine-tuning in SPL",
              f"{mean['features'][few]:.1f} against {rivals:.1f}", mean["features"][few] > rivals),
        Claim("I2 little data: the side does not overfit", f"{CHOSEN} not below fine-tuning",
              f"{mean[CHOSEN][few]:.1f} against {mean['finetune'][few]:.1f}",
              mean[CHOSEN][few] >= mean["finetune"][few]),
        Claim("I3 the side leads somewhere", f"{CHOSEN} 3 points over features and fine-tuning at some N",
              points(gains), max(gains.values()) >= 3),
        Claim("I4 much data: consistent", "side-copy within 2 points of fine-tuning",
              f"{consistent:.1f} apart", consistent <= 2),
        Claim("I5 the base matters", f"{CHOSEN} 3 points over side-only at every N",
              points(over_side_only), min(over_side_only.values()) >= 3),
        Claim("I6 seeing matters", "features 3 points over blind at every N", points(over_blind),
              min(over_blind.values()) >= 3),
        Claim("I7 merges", "product last of the merges; alpha, MLP, FiLM within 2 points",
              f"product {mean['side-product'][many]:.1f}, "
              + ", ".join(f"{m} {x:.1f}" for m, x in merges.items()),
              mean["side-product"][many] <= min(merges.values())
              and max(merges.values()) - min(merges.values()) <= 2),
        Claim("I8 learnt alpha", "not more than 1 point below alpha fixed at 0.5", points(alpha),
              min(alpha.values()) >= -1),
    ]  # fmt: skip


def reinforcement(cells: Cells) -> list[Claim]:
    """PPO without demonstrations: the area under the curve of success, its first quarter, the end."""
    learning = cells.learning
    for seed in range(learning.seeds):  # one after another: when it is stopped, whole seeds are there
        for method in learning.methods:
            cells.learner(method, seed)
    areas, early = {}, {}
    print(f"\n| PPO, {learning.steps:,} steps | success in training, % | its first quarter | test SPL, % |")
    print("|---|---|---|---|")
    for method in learning.methods:
        curves = [cells.curve(method, seed) for seed in range(learning.seeds)]
        area = np.array([curve.mean() for curve in curves])
        first = np.array([curve[: max(1, len(curve) // 4)].mean() for curve in curves])
        runs = [cells.learner(method, seed) for seed in range(learning.seeds)]
        spl = np.array([100 * cells.summary(run)["test"]["spl"] for run in runs])
        areas[method], early[method] = float(area.mean()), float(first.mean())
        shown = [f"{x.mean():.1f} ± {x.std():.1f}" for x in (area, first, spl)]
        print(f"| {method} | {' | '.join(shown)} |")
    if not {CHOSEN, "side", "side-fixed", "side-scheduled", "scratch"} <= areas.keys():
        return []
    rivals = max(areas["scratch"], areas["finetune"])
    return [
        Claim("R1 the base helps", f"{CHOSEN} above scratch and fine-tuning in area",
              f"{areas[CHOSEN]:.1f} against {rivals:.1f}", areas[CHOSEN] > rivals),
        Claim("R2 learnt alpha", "not more than 1 point of area below alpha fixed at 0.5",
              f"{areas['side'] - areas['side-fixed']:+.1f}", areas["side"] >= areas["side-fixed"] - 1),
        Claim("R3 from the base to the side", "alpha from 1 to 0 arrives more often in the first quarter",
              f"{early['side-scheduled']:.1f} against {early['side']:.1f}",
              early["side-scheduled"] > early["side"]),
    ]  # fmt: skip


def forgetting(cells: Cells) -> list[Claim]:
    """A second world is learnt after the first: what happens to the first, and to what the base could see."""
    sizes, n = cells.sizes, cells.sizes.demos[len(cells.sizes.demos) // 2]
    if cells.only_stored:
        raise MissingError("forgetting: it is measured anew, without --stored")
    base = FrozenBase(load_base(cells.base()))
    changes, losses, ratios = [], [], []
    for seed in range(sizes.seeds):
        first = cells.navigator(CHOSEN, n, seed)
        _, policy = load_navigator(first)
        rooms = cells.config(CHOSEN, n, seed).rooms("test", sizes.height, sizes.width)
        seen = prepared(PointNav(rooms, 8, seed).reset())
        with torch.no_grad():
            before = logits(policy, seen).clone()
        # The same base object is beside both, as on a robot.
        side_model(policy).base.load_state_dict(base.module.state_dict())
        config = replace(cells.config(CHOSEN, n, seed, "negative"), demos=min(sizes.demos))
        other = second_task(cells, config, FrozenBase(side_model(policy).base))
        with torch.no_grad():
            changes.append(float((logits(policy, seen) - before).abs().max()))
        assert other is not None
        tuned = cells.navigator("finetune", n, seed)
        spl_before = cells.summary(tuned)["test"]["spl"]
        _, sequential = load_navigator(tuned)
        after = second_task(cells, replace(config, method="finetune"), base, sequential.state_dict())
        spl = evaluate_navigator(decider(after), rooms, sizes.episodes).summary()["spl"]
        losses.append(100 * (spl_before - spl))
        ratios.append(readout_ratio(cells, sequential))
    unchanged = FrozenBase(load_base(cells.base())).sha256 == base.sha256
    return [
        Claim("F1 no forgetting", "logits of the old task bit-equal, base unchanged",
              f"largest change {max(changes):g}", max(changes) == 0 and unchanged),
        Claim("F2 fine-tuning forgets", "10 points of SPL on the old task, or depth readout 5 times as bad",
              f"{np.mean(losses):.1f} points, readout {np.mean(ratios):.1f} times",
              bool(np.mean(losses) >= 10 or np.mean(ratios) >= 5)),
    ]  # fmt: skip


def second_task(cells: Cells, config: Any, base: FrozenBase, begin: Any = None) -> Any:
    rooms = config.rooms("train", cells.sizes.height, cells.sizes.width)
    demos = gather_demos(rooms, config.demos, config.demo_seed, config.demo_noise, cells.folder / "demos")
    nav = PointNav(rooms, 1)
    job = Imitation(config, base, nav.observation_space, nav.action_space, demos)
    if begin is not None:
        job.policy.load_state_dict(begin)
    for step in range(config.updates):
        job.train(step)
    job.policy.set_training_mode(False)
    return job.policy


def readout_ratio(cells: Cells, policy: Any) -> float:
    """How much worse depth is read off the fine-tuned copy than off the base."""
    from agents.configs import config_from_json
    from agents.sidetuning.base_config import PretrainConfig

    content = json.loads((cells.base() / "config.json").read_text())
    unseen = gather(config_from_json(content, PretrainConfig), "validation", 64)
    readouts = load_readouts(cells.base())
    encoders = load_base(cells.base()), side_model(policy).task("policy").encoder.side
    own, tuned = (readout_errors(one, readouts, *unseen)["holdout/depth"] for one in encoders)
    return tuned / own


def cost(cells: Cells) -> list[Claim]:
    """Parameters, bytes, seconds of an update with baked features, and of a decision."""
    sizes, n = cells.sizes, min(cells.sizes.demos)
    rows, updates = {}, 10 if sizes is QUICK else 60
    for method in (CHOSEN, "side", "features", "lora", "adapter", "finetune"):
        run = cells.navigator(method, n, 0)
        config, policy = load_navigator(run)
        rooms = config.rooms("train", sizes.height, sizes.width)
        demos = gather_demos(rooms, n, 0, config.demo_noise, cells.folder / "demos")
        base = FrozenBase(side_model(policy).base)
        nav = PointNav(rooms, 1)
        config = replace(config, updates=updates)
        job = Imitation(config, base, nav.observation_space, nav.action_space, demos)
        step = median_ms([partial(job.train, k) for k in range(updates)])
        agent = SideTunedAgent(run / MODEL, providers=("CPUExecutionProvider",))
        one = {name: x[0] for name, x in nav.reset(0).items()}
        act = median_ms([partial(agent.act, one)] * (5 * updates))
        parameters = cells.summary(run)["parameters"]
        rows[method] = {"step": step, "act": act, **parameters}
    print(
        "\n| method | new parameters, % of the base | bytes a task | update, CPU ms | ONNX decision, CPU ms |"
    )
    print("|---|---|---|---|---|")
    for method, row in rows.items():
        new = row["side"] + row["merge"]
        print(
            f"| {method} | {new:,} ({100 * row['share']:.1f}) | {row['bytes']:,} | {row['step']:.2f} "
            f"| {row['act']:.3f} |"
        )
    by_size_of_base(cells, updates)
    cheapest = min(rows[m]["step"] for m in ("lora", "adapter", "finetune"))
    return [
        Claim("C1 cheap to train", "an update beside baked features takes less than LoRA, adapters, tuning",
              f"{rows[CHOSEN]['step']:.2f} against {cheapest:.2f} ms", rows[CHOSEN]["step"] < cheapest),
        Claim("C2 small", "at most 10 % of the base's parameters", f"{100 * rows[CHOSEN]['share']:.1f} %",
              rows[CHOSEN]["share"] <= 0.10),
    ]  # fmt: skip


def by_size_of_base(cells: Cells, updates: int) -> None:
    """What an update takes beside wider bases, of random weights: costs do not depend on what they learnt."""
    sizes, n = cells.sizes, min(cells.sizes.demos)
    print(
        "\n| update | " + " | ".join(f"base {wide} times as wide: CPU ms / MB kept" for wide in WIDTHS) + " |"
    )
    print(f"|---|{'---|' * len(WIDTHS)}")
    for method, baked in (
        (CHOSEN, True),
        (CHOSEN, False),
        ("lora", True),
        ("adapter", True),
        ("finetune", True),
    ):
        config = replace(cells.config(method, n, 0), updates=updates)
        rooms = config.rooms("train", sizes.height, sizes.width)
        demos = gather_demos(rooms, n, 0, config.demo_noise, cells.folder / "demos")
        nav, shown = PointNav(rooms, 1), []
        for wide in WIDTHS:
            a, b, c = (wide * width for width in BaseNetwork().channels)
            base = FrozenBase(VisualBase(BaseNetwork(sizes.height, sizes.width, (a, b, c))))
            job = Imitation(config, base, nav.observation_space, nav.action_space, demos)
            if not baked:
                given, wanted = job.learnt
                job.learnt = {name: given[name] for name in nav.observation_space.spaces}, wanted
            kept = megabytes_kept(partial(job.train, 0))
            shown.append(f"{median_ms([partial(job.train, k) for k in range(updates)]):.1f} / {kept:.1f}")
        print(f"| {method}{'' if baked else ', base run each time'} | {' | '.join(shown)} |")


def megabytes_kept(update: Callable[[], Any]) -> float:
    """Of activations that an update keeps for its gradients: what its memory grows with."""
    stored: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device.type == "cpu" and not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            stored[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        update()
    return sum(stored.values()) / 1e6


def median_ms(calls: list[Callable[[], Any]]) -> float:
    """Of this thread's CPU time: other processes do not count."""
    spent = []
    for call in calls:
        began = time.thread_time()
        call()
        spent.append(time.thread_time() - began)
    return 1000 * float(np.median(spent))


GROUPS: dict[str, Callable[[Cells], list[Claim]]] = {
    "I": imitation, "R": reinforcement, "F": forgetting, "C": cost,
}  # fmt: skip


def report(cells: Cells, groups: list[str]) -> None:
    claims, missing = [], []
    for group in groups:
        try:
            claims += GROUPS[group](cells)
        except MissingError as error:
            missing.append(f"{group}: no {error}")
    print("\n| claim | pass mark | measured | |\n|---|---|---|---|")
    for claim in claims:
        print(f"| {claim.name} | {claim.mark} | {claim.measured} | {'held' if claim.held else 'MISSED'} |")
    for line in missing:
        print(f"not measured: {line}")
    for run, digest in sorted(cells.used.items()):
        assert digest, run
    passed = sum(claim.held for claim in claims)
    answer = {
        "claims_passed": passed,
        "claims_failed": len(claims) - passed,
        "claims_missing": len(missing),
        "runs": len(cells.used),
        **{claim.name.split()[0]: claim.held for claim in claims},
    }
    if not cells.only_stored:
        (cells.folder / "digests.json").write_text(json.dumps(cells.used, indent=1, sort_keys=True))
        answer["digests"] = digest_of(cells.folder / "digests.json")
    print(json.dumps(answer))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="everything, tiny, in a temporary folder")
    parser.add_argument("--stored", action="store_true", help="make nothing, judge what is there")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder that all runs are kept in")
    parser.add_argument("--only", nargs="+", choices=tuple(GROUPS), default=list(GROUPS))
    parser.add_argument("--seeds", type=int, default=FULL.seeds)
    parser.add_argument("--learning-seeds", type=int, help="of R, where it is not --seeds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, 1 thread")
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            report(Cells(Path(folder), QUICK, QUICK_LEARNING, quiet=True), options.only)
        return
    sizes = replace(FULL, seeds=options.seeds)
    print(f"sizes: {sizes}")
    learning = replace(LEARNING, seeds=options.learning_seeds or options.seeds)
    report(Cells(options.results, sizes, learning, only_stored=options.stored), options.only)


if __name__ == "__main__":
    main()
