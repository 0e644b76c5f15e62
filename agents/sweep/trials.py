"""The trials of a sweep: commands with all their options, named by their content."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.sweep.spec import SweepConfig
from agents.sweep.task import digest


@dataclass(frozen=True)
class Trial:
    """One run of one command. values: of the grid and of the search."""

    command: str
    env: str = ""
    seed: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Digest of what is run: the same trial in another sweep has the same."""
        return digest([shlex.split(self.command), self.env, self.seed, dict(self.values)])

    @property
    def words(self) -> list[str]:
        """The command line after "surefoot", but for where the run is kept."""
        words = [*shlex.split(self.command), *(["--env", self.env] if self.env else [])]
        for name, value in self.values.items():
            text = value if isinstance(value, str) else json.dumps(value)
            words += [name, text] if name.startswith("--") else ["--set", f"{name}={text}"]
        return [*words, "--seed", str(self.seed)]

    @property
    def name(self) -> str:
        """For people: what tells it from others."""
        values = [f"{name.lstrip('-')}={value}" for name, value in self.values.items()]
        return " ".join([self.command, self.env, *values, f"seed {self.seed}"]).replace("  ", " ")

    def to_json(self) -> dict[str, Any]:
        return {"command": self.command, "env": self.env, "seed": self.seed, "values": dict(self.values)}


def groups(config: SweepConfig) -> Iterator[list[Trial]]:
    """The trials of each command, environment and point of the grid: one a seed."""
    points = list(itertools.product(*config.grid.values()))
    for command, env, point in itertools.product(config.commands, config.envs or ("",), points):
        values = dict(zip(config.grid, point, strict=True))
        yield [Trial(command, env, seed, values) for seed in config.seeds]


def trials(config: SweepConfig) -> list[Trial]:
    """All of a sweep without a search; seeds come last, so that every point has one seed early."""
    return [trial for seeds in zip(*groups(config), strict=True) for trial in seeds]
