"""What a sweep varies: commands, environments, seeds, a grid of settings, or ranges to search.

As YAML, every part but `commands` optional:

    commands:                         # methods to compare; any surefoot command that trains or measures
      - train rl
      - train preferences --labels 300
    envs: [mujoco:Hopper, mujoco:HalfCheetah]
    seeds: 5                          # 0 to 4, or a list
    grid:                             # all combinations; with two dashes an option, else a setting
      --algorithm: [ppo, sac]
      learner.n_steps: [256, 512]
    search:                           # Optuna, in place of or inside the grid
      parameters:
        learner.learning_rate: {low: 1e-5, high: 1e-2, log: true}
        learner.n_epochs: {low: 2, high: 12, step: 2}
        learner.activation: {choices: [tanh, relu]}
      trials: 40
      metric: final_return            # of summary.json: what is searched for
      watch: true_return              # of metrics.jsonl: by which hopeless trials are ended early
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agents.configs import ConfigError, config_from_json

_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
COMMANDS = ("train", "collect", "evaluate")


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, or choices. Whole numbers where both ends and the step are whole."""

    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    step: float | int | None = None
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.choices) == (self.low is not None or self.high is not None):
            raise ValueError("a range has either low and high, or choices")
        if self.choices:
            return
        if self.low is None or self.high is None or not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a logarithmic range begins above 0 and has no step")


@dataclass(frozen=True)
class SearchConfig:
    """A search by Optuna, one study for each command, environment and point of the grid."""

    parameters: Mapping[str, Range]
    trials: int = 20
    """each of them runs all seeds, and counts by their mean"""
    metric: str = "final_return"
    """of summary.json, with dots for what lies deeper, such as measured.loss"""
    direction: Literal["maximize", "minimize"] = "maximize"
    watch: str = ""
    """of metrics.jsonl; none: every trial runs to its end"""
    pruner: Literal["median", "halving"] = "median"
    sampler: Literal["tpe", "random"] = "tpe"
    startup: int = 5
    """trials before the first is ended early, and before TPE begins"""
    seed: int = 0
    """of the sampler: with one job at a time the same seed tries the same values"""
    storage: str = ""
    """where Optuna keeps trials: postgresql://host/name; none: a SQLite file in the sweep"""

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ValueError("a search needs parameters")
        if self.trials < 1 or self.startup < 0:
            raise ValueError(f"trials must be at least 1, startup 0, got {self.trials} and {self.startup}")


@dataclass(frozen=True)
class SweepConfig:
    """A sweep; see above."""

    commands: tuple[str, ...]
    envs: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    search: SearchConfig | None = None

    def __post_init__(self) -> None:
        for command in self.commands:
            words = command.split()
            if not words or words[0] not in COMMANDS:
                raise ValueError(f"a sweep runs {', '.join(COMMANDS)}, got {command!r}")
            taken = {"--seed", "--run", "--out"} | ({"--env"} if self.envs else set())
            if twice := sorted(taken & {word.partition("=")[0] for word in words}):
                raise ValueError(f"{' and '.join(twice)} of {command!r} are for the sweep to give")
        if not self.commands or not self.seeds:
            raise ValueError("a sweep needs a command and a seed")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"the seeds {self.seeds} hold one twice")
        if empty := [name for name, values in self.grid.items() if not values]:
            raise ValueError(f"the grid has no value for {', '.join(empty)}")


def read_sweep(file: Path) -> SweepConfig:
    """Reads YAML. Raises ConfigError that names the file and the key."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: expected keys such as commands and seeds, got {content!r}")
    return sweep_from_json(content, str(file))


def sweep_from_json(content: Mapping[str, Any], where: str) -> SweepConfig:
    """From plain values, in which a number of seeds and single values stand for lists."""
    plain = dict(content)
    if isinstance(plain.get("seeds"), int):
        plain["seeds"] = list(range(plain["seeds"]))
    for name in ("commands", "envs"):
        if isinstance(plain.get(name), str):
            plain[name] = [plain[name]]
    if isinstance(plain.get("grid"), dict):
        plain["grid"] = {
            key: value if isinstance(value, list) else [value] for key, value in plain["grid"].items()
        }
    plain = {name: value for name, value in plain.items() if value is not None}
    return config_from_json(_numbers(plain), SweepConfig, where)


def _numbers(content: Any) -> Any:
    """YAML 1.1 reads 1e-5 as text: made a number where it is one."""
    if isinstance(content, dict):
        return {key: _numbers(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_numbers(value) for value in content]
    if isinstance(content, str) and _EXPONENT.fullmatch(content):
        return float(content)
    return content
