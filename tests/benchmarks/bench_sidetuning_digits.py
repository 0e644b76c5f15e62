"""Six tasks one after another on scikit-learn's digits: accuracy, forgetting, rigidity, rank of every method.

    python tests/benchmarks/bench_sidetuning_digits.py [--seeds 5] [--images 100] [--quick] [--out x.json]

A base learns 600 upright digits; then come six tasks of ten classes with few images each: upright, turned by
90 degrees, inverted, mirrored, half masked, pixels permuted. Every task has a head of its own; which task it
is, is known (task-incremental). Learning rates, and the strength of EWC, are chosen on two other tasks
(upside down, transposed) with images of the training pool. After every stage all tasks learnt so far are
measured again, and their logits compared bit by bit with those just after learning.
Data: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998, as in scikit-learn.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from sklearn.datasets import load_digits
from torch import Tensor, nn

from agents.sidetuning.accounting import count_parameters
from agents.sidetuning.base import BaseOutputs, fingerprint
from agents.sidetuning.config import METHODS, AdapterConfig, AnyConfig, LoraConfig, SideConfig
from agents.sidetuning.distill import distill
from agents.sidetuning.ewc import ElasticPenalty, diagonal_fisher
from agents.sidetuning.model import SideModel
from envs.files import write_durably

PERMUTATION = np.random.default_rng(1234).permutation(64)
TASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "upright": lambda x: x,
    "rot90": lambda x: x.rot90(1, (2, 3)),
    "invert": lambda x: 1 - x,
    "mirror": lambda x: x.flip(3),
    "masked": lambda x: x * (torch.arange(8) < 4)[None, None, :, None],
    "permute": lambda x: x.flatten(1)[:, PERMUTATION].view_as(x),
}
VALIDATION: dict[str, Callable[[Tensor], Tensor]] = {
    "upside_down": lambda x: x.flip(2),
    "transposed": lambda x: x.transpose(2, 3),
}
SIDE = SideConfig(width=2, head=(10,))
WIDTH = 64
BATCH = 50
FISHER = 50
"""images that the Fisher information is taken from"""


@dataclass(frozen=True)
class Row:
    """A method of the table. shared: one encoder for all tasks, learnt on and on; strengths: of EWC."""

    config: AnyConfig
    shared: bool = False
    stacked: bool = False
    strengths: tuple[float, ...] = (0.0,)
    learning_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)


ROWS: dict[str, Row] = {
    "blind": Row(replace(METHODS["blind"], head=(10,))),
    "features": Row(replace(METHODS["features"], head=(10,))),
    "scratch, one network a task": Row(replace(METHODS["scratch"], head=(10,))),
    "fine-tuning, one network a task": Row(replace(METHODS["finetune"], head=(10,))),
    "side alpha, random": Row(SIDE),
    "side alpha, distilled": Row(replace(SIDE, init="distilled")),
    "side alpha, copy": Row(replace(SIDE, side="base", init="copy")),
    "side alpha, pruned": Row(replace(SIDE, side="base", init="pruned")),
    "side sum, zero": Row(replace(SIDE, init="zero", merge="sum")),
    "side alpha, stacked": Row(SIDE, stacked=True),
    "side MLP": Row(replace(SIDE, merge="mlp")),
    "side FiLM": Row(replace(SIDE, merge="film")),
    "side product": Row(replace(SIDE, merge="product")),
    "ladder": Row(replace(SIDE, side="none", merge="ladder", init="zero", width=4)),
    "side-only": Row(replace(SIDE, merge="side_only")),
    "LoRA": Row(LoraConfig(rank=3, head=(10,))),
    "residual adapter": Row(AdapterConfig(bottleneck=6, head=(10,))),
    "fine-tuning, sequential": Row(METHODS["finetune"], shared=True),
    "EWC, sequential": Row(
        METHODS["finetune"], shared=True, strengths=(1e1, 1e2, 1e3, 1e4), learning_rates=(1e-3,)
    ),
}


@dataclass
class Split:
    """Images (N, 1, 8, 8) in [0, 1] and labels of base, tasks and test."""

    base: tuple[Tensor, Tensor]
    tasks: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def split_digits(seed: int, images: int) -> Split:
    """600 for the base, `images` for every task, 100 to choose settings on, the rest to measure on."""
    digits = load_digits()
    x = torch.from_numpy(digits.images).float()[:, None] / 16
    y = torch.from_numpy(digits.target)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))
    ends = [0, 600, 1000, 1100, len(x)] if images <= 400 else [0, 600, 600 + images, 700 + images, len(x)]
    base, pool, validation, test = (order[a:b] for a, b in itertools.pairwise(ends))
    parts = [(x[part], y[part]) for part in (base, pool[:images], validation, test)]
    return Split(*parts)


def make_base(split: Split, seed: int, updates: int) -> nn.Module:
    """Features (N, 64) of a network that was trained to classify upright digits."""
    torch.manual_seed(seed)
    base = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()),
        nn.Linear(192, WIDTH),
    )
    head = nn.Sequential(nn.ReLU(), nn.Linear(WIDTH, 10))
    optimizer = torch.optim.Adam([*base.parameters(), *head.parameters()], 1e-3)
    images, labels = split.base
    for rows in batches(len(images), updates, seed):
        loss = F.cross_entropy(head(base(images[rows])), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return base.eval()


def batches(count: int, updates: int, seed: int) -> list[Tensor]:
    """Rows of every update: epochs of shuffled batches."""
    generator = torch.Generator().manual_seed(seed)
    found: list[Tensor] = []
    while len(found) < updates:
        found += torch.randperm(count, generator=generator).split(BATCH)
    return found[:updates]


@dataclass
class Learner:
    """A model that learns tasks by one row's method; `accuracy` and `logits` are of any learnt so far."""

    row: Row
    base: nn.Module
    learning_rate: float
    strength: float
    updates: int
    seed: int
    model: SideModel = field(init=False)
    heads: dict[str, nn.Module] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model = SideModel(self.base, torch.zeros(1, 1, 8, 8))
        self.penalty = ElasticPenalty(self.strength)

    def learn(self, name: str, images: Tensor, labels: Tensor) -> None:
        # Seeded by the task, not by its place: what only the order changes is then seen.
        seed = self.seed * 1000 + sum(map(ord, name))
        torch.manual_seed(seed)
        if self.row.shared:
            self._learn_on(name, images, labels, seed)
            return
        config = self.row.config
        if self.row.stacked and isinstance(config, SideConfig):
            config = replace(config, stack=tuple(self.model.tasks))
        self.model.add_adapter(name, config)
        self.model.set_adapter(name)
        if isinstance(config, SideConfig) and config.init == "distilled":
            distill(self.model, list(images.split(BATCH)), epochs=self.updates // 3, learning_rate=3e-3)
        model = self.model.train()
        kept = model.base_outputs(images)
        optimizer = torch.optim.Adam(model.param_groups(self.learning_rate))
        for rows in batches(len(images), self.updates, seed):
            loss = F.cross_entropy(model(images[rows], part(kept, rows)), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()

    def _learn_on(self, name: str, images: Tensor, labels: Tensor, seed: int) -> None:
        """One network for all tasks; only heads are apart."""
        if not self.model.tasks:
            self.model.add_adapter("all", self.row.config)
        head = self.heads[name] = nn.Linear(WIDTH, 10)
        network = nn.Sequential(self.model, head).train()
        optimizer = torch.optim.Adam(network.parameters(), self.learning_rate)
        for rows in batches(len(images), self.updates, seed):
            loss = F.cross_entropy(network(images[rows]), labels[rows]) + self.penalty(network)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        if self.strength:
            fisher = diagonal_fisher(network, images[:FISHER])
            self.penalty.remember(network, {key: x for key, x in fisher.items() if key.startswith("0.")})

    @torch.no_grad()
    def logits(self, name: str, images: Tensor) -> Tensor:
        if self.row.shared:
            return self.heads[name](self.model(images))
        self.model.set_adapter(name)
        return self.model(images)

    def accuracy(self, name: str, images: Tensor, labels: Tensor) -> float:
        return 100 * (self.logits(name, images).argmax(1) == labels).float().mean().item()


def part(kept: BaseOutputs, rows: Tensor) -> BaseOutputs:
    return BaseOutputs(kept.features[rows], {name: x[rows] for name, x in kept.taps.items()})


def choose(row: Row, base: nn.Module, split: Split, updates: int, seed: int) -> tuple[float, float]:
    """Learning rate and strength with the best mean accuracy at the end of the two validation tasks."""
    best, chosen = -1.0, (row.learning_rates[0], row.strengths[0])
    for learning_rate, strength in itertools.product(row.learning_rates, row.strengths):
        learner = Learner(row, base, learning_rate, strength, updates, seed)
        for name, view in VALIDATION.items():
            learner.learn(name, view(split.tasks[0]), split.tasks[1])
        images, labels = split.validation
        score = np.mean([learner.accuracy(name, view(images), labels) for name, view in VALIDATION.items()])
        if score > best:
            best, chosen = float(score), (learning_rate, strength)
    return chosen


@dataclass
class Outcome:
    """Of one row and seed. matrix[i][k]: accuracy in per cent on task k after stage i."""

    matrix: list[list[float]]
    logit_change: float
    base_unchanged: bool
    rigidity: float
    seconds: float
    new_parameters: int
    head_parameters: int

    @property
    def final(self) -> list[float]:
        return self.matrix[-1]

    @property
    def forgetting(self) -> float:
        """Mean over all tasks but the last: accuracy just after learning less that at the end."""
        just = [self.matrix[stage][stage] for stage in range(len(self.matrix) - 1)]
        return float(np.mean(np.subtract(just, self.final[:-1])))


def run_row(
    row: Row, base: nn.Module, split: Split, settings: tuple[float, float], updates: int, seed: int
) -> Outcome:
    began = time.process_time()
    before = fingerprint(base)
    learner = Learner(row, base, *settings, updates, seed)
    images, labels = split.test
    matrix: list[list[float]] = []
    first_logits: dict[str, Tensor] = {}
    for stage, (name, view) in enumerate(TASKS.items()):
        learner.learn(name, view(split.tasks[0]), split.tasks[1])
        first_logits[name] = learner.logits(name, view(images)).clone()
        known = list(TASKS.items())[: stage + 1]
        matrix.append([learner.accuracy(other, seen(images), labels) for other, seen in known])
    changes = [
        (learner.logits(name, TASKS[name](images)) - logits).abs().max().item()
        for name, logits in first_logits.items()
    ]
    seconds = time.process_time() - began
    name, view = list(TASKS.items())[-1]
    alone = Learner(row, base, *settings, updates, seed)
    alone.learn(name, view(split.tasks[0]), split.tasks[1])
    rigidity = alone.accuracy(name, view(images), labels) - matrix[-1][-1]
    counted = count_parameters(learner.model, list(learner.model.tasks)[-1])
    tasks = len(TASKS) if row.shared else 1
    return Outcome(
        matrix,
        max(changes),
        fingerprint(base) == before,
        rigidity,
        seconds,
        (counted.side + counted.merge) // tasks,
        counted.head or 10 * (WIDTH + 1),
    )


def table(outcomes: dict[str, list[Outcome]]) -> list[dict[str, Any]]:
    """One entry a row: means over seeds, s.d. of the mean accuracy, average rank over tasks and seeds."""
    names = list(outcomes)
    finals = np.array(
        [[outcome.final for outcome in outcomes[name]] for name in names]
    )  # (rows, seeds, tasks)
    ranks = rankdata(-finals, axis=0).mean((1, 2))
    entries = []
    for index, name in enumerate(names):
        runs = outcomes[name]
        means = finals[index].mean(1)
        entries.append(
            {
                "method": name,
                "accuracy": float(means.mean()),
                "sd": float(means.std(ddof=1)) if len(means) > 1 else 0.0,
                "tasks": dict(zip(TASKS, finals[index].mean(0).round(1).tolist(), strict=True)),
                "forgetting": float(np.mean([run.forgetting for run in runs])),
                "logit_change": max(run.logit_change for run in runs),
                "rigidity": float(np.mean([run.rigidity for run in runs])),
                "rank": float(ranks[index]),
                "new_parameters": runs[0].new_parameters,
                "seconds": float(np.mean([run.seconds for run in runs])),
                "matrix": mean_matrix([run.matrix for run in runs]),
            }
        )
    return entries


def mean_matrix(matrices: Sequence[Sequence[Sequence[float]]]) -> list[list[float]]:
    return [np.mean(stages, 0).round(1).tolist() for stages in zip(*matrices, strict=True)]


def claims(entries: list[dict[str, Any]], outcomes: dict[str, list[Outcome]]) -> dict[str, bool]:
    """The pass marks of the specification, 5.5, that this data can show."""
    row = {entry["method"]: entry for entry in entries}
    sides = [entry for name, entry in row.items() if name.startswith("side") or name == "ladder"]
    accuracy = {name: entry["accuracy"] for name, entry in row.items()}
    rigid = np.array([outcome.rigidity for outcome in outcomes["side alpha, random"]])
    error = rigid.std(ddof=1) / np.sqrt(len(rigid)) if len(rigid) > 1 else 0.0
    merges = [accuracy[name] for name in ("side alpha, random", "side MLP", "side FiLM")]
    return {
        "no forgetting: logits of old tasks bit-equal, base unchanged": all(
            entry["logit_change"] == 0.0 for entry in sides
        )
        and all(outcome.base_unchanged for runs in outcomes.values() for outcome in runs),
        "sequential fine-tuning forgets at least 10 points": row["fine-tuning, sequential"]["forgetting"]
        >= 10,
        "no rigidity: first against last within one standard error": abs(float(rigid.mean())) <= error,
        "side beats features by 3 points": accuracy["side alpha, random"] >= accuracy["features"] + 3,
        "side is not below fine-tuning, one network a task": accuracy["side alpha, random"]
        >= accuracy["fine-tuning, one network a task"],
        "side (copy) within 2 points of fine-tuning": abs(
            accuracy["side alpha, copy"] - accuracy["fine-tuning, one network a task"]
        )
        <= 2,
        "base matters: side beats side-only by 3 points": accuracy["side alpha, random"]
        >= accuracy["side-only"] + 3,
        "product is the worst merge": accuracy["side product"] <= min(merges),
        "alpha, MLP and FiLM within 2 points": max(merges) - min(merges) <= 2,
    }


@dataclass
class Progress:
    """What was measured so far, by row; with a file, the same call goes on where one was killed."""

    path: Path | None
    options: dict[str, Any]
    settings: dict[str, tuple[float, float]] = field(default_factory=dict)
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path is None or not self.path.exists():
            return
        saved = json.loads(self.path.read_text())
        if saved["options"] != self.options:
            raise SystemExit(f"{self.path} was measured with {saved['options']}: give another --out")
        self.settings = {name: (rate, strength) for name, (rate, strength) in saved["settings"].items()}
        self.outcomes = {name: [Outcome(**one) for one in runs] for name, runs in saved["outcomes"].items()}

    def keep(self) -> None:
        if self.path is not None:
            runs = {name: [asdict(one) for one in found] for name, found in self.outcomes.items()}
            content = {"options": self.options, "settings": self.settings, "outcomes": runs}
            write_durably(self.path, json.dumps(content, indent=1).encode())


def show(entries: list[dict[str, Any]]) -> None:
    print("| method | accuracy | forgetting | change of an old logit | rigidity | rank | new parameters |")
    print("|---|---|---|---|---|---|---|")
    for entry in sorted(entries, key=lambda entry: -entry["accuracy"]):
        print(
            f"| {entry['method']} | {entry['accuracy']:.1f} ± {entry['sd']:.1f} "
            f"| {entry['forgetting']:.1f} | {entry['logit_change']:.3g} | {entry['rigidity']:.1f} "
            f"| {entry['rank']:.1f} | {entry['new_parameters']:,} |"
        )


def tune(progress: Progress, options: argparse.Namespace) -> None:
    """Chooses the settings of every row that has none yet; --quick takes any."""
    split = split_digits(100, options.images)
    base = make_base(split, 100, 2 * options.updates)
    for name, row in ROWS.items():
        if name in progress.settings:
            continue
        if options.quick:
            progress.settings[name] = row.learning_rates[-1], row.strengths[0]
            continue
        progress.settings[name] = choose(row, copy.deepcopy(base), split, options.updates, 100)
        progress.keep()
        print(f"chosen on other tasks: {name}: {progress.settings[name]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.updates = 1, 6
    torch.set_num_threads(1)
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread; {vars(options)}"
    )
    kept = {"images": options.images, "updates": options.updates, "quick": options.quick}
    progress = Progress(options.out, kept)
    tune(progress, options)
    outcomes = progress.outcomes
    for seed in range(options.seeds):
        split = split_digits(seed, options.images)
        base = make_base(split, seed, 2 * options.updates)
        for name, row in ROWS.items():
            found = outcomes.setdefault(name, [])
            if len(found) > seed:
                continue
            outcome = run_row(row, base, split, progress.settings[name], options.updates, seed)
            found.append(outcome)
            progress.keep()
            took = f"{outcome.seconds:.1f} CPU s"
            print(f"seed {seed} {name}: {np.mean(outcome.final):.1f} in {took}", flush=True)
    entries = table(outcomes)
    size = sum(parameter.numel() for parameter in base.parameters())
    print(f"\nbase: {size:,} parameters; {len(split.test[0])} test images\n")
    show(entries)
    checked = claims(entries, outcomes)
    print()
    for claim, held in checked.items():
        print(f"{'held' if held else 'MISSED'}: {claim}")
    by_name = {entry["method"]: entry for entry in entries}
    print(
        json.dumps(
            {
                "claims_passed": int(sum(checked.values())),
                "claims_failed": int(len(checked) - sum(checked.values())),
                "side_accuracy": round(by_name["side alpha, random"]["accuracy"], 2),
                "side_logit_change": by_name["side alpha, random"]["logit_change"],
                "finetune_forgetting": round(by_name["fine-tuning, sequential"]["forgetting"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
