"""The words of `surefoot sweep`: a file, options, or both, made into a SweepConfig."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.configs import ConfigError, config_to_json
from agents.sweep.spec import SweepConfig, read_sweep, sweep_from_json


def sweep_config(
    file: Path | None,
    *,
    commands: Sequence[str] = (),
    envs: Sequence[str] = (),
    seeds: str = "",
    grid: Sequence[str] = (),
    search: Sequence[str] = (),
    options: dict[str, Any] | None = None,
) -> SweepConfig:
    """Options replace the file's parts of the same name; grid and search add to them.

    seeds: "5" for 0 to 4, or "3,7". grid: "KEY=A,B". search: "KEY=LOW..HIGH", with ":log" at the end for a
    logarithmic range, or "KEY=A,B". options: fields of SearchConfig. Raises ConfigError.
    """
    content = config_to_json(read_sweep(file)) if file is not None else {}
    if commands:
        content["commands"] = list(commands)
    if envs:
        content["envs"] = list(envs)
    if seeds:
        content["seeds"] = _seeds(seeds)
    content["grid"] = {**content.get("grid", {}), **dict(_values(one) for one in grid)}
    given = {name: value for name, value in (options or {}).items() if value is not None}
    if search or given:
        inner = content.get("search") or {"parameters": {}}
        inner["parameters"] = {**inner["parameters"], **dict(_range(one) for one in search)}
        content["search"] = {**inner, **given}
        if not inner["parameters"]:
            raise ConfigError(f"{', '.join(given)} are of a search: say of what by --search KEY=LOW..HIGH")
    if not content.get("commands"):
        raise ConfigError('a sweep needs a file, or --command "train rl --env mujoco:Hopper"')
    return sweep_from_json(content, str(file or "sweep"))


def default_folder(file: Path | None, config: SweepConfig) -> Path:
    """runs/sweeps/<name of the file>, or of what is run where."""
    if file is not None:
        return Path("runs") / "sweeps" / file.stem
    words = config.commands[0].split()
    kind = "-".join(word for word in words[:2] if not word.startswith("-"))
    named = [after for word, after in itertools.pairwise(words) if word == "--env"]
    env = [*config.envs, *named, ""][0]
    return Path("runs") / "sweeps" / "-".join(part for part in (kind, env.rpartition(":")[2]) if part)


def assignments(given: Sequence[str]) -> dict[str, Any]:
    """{"slurm_partition": "gpu"} of ["slurm_partition=gpu"]; values are JSON or text."""
    return {key: _value(text) for key, text in (_split(one) for one in given)}


def _seeds(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"seeds are a number, or numbers with commas, got {text!r}") from None
    return numbers if "," in text else list(range(numbers[0]))


def _values(text: str) -> tuple[str, list[Any]]:
    key, values = _split(text)
    whole = _value(values)
    return key, whole if isinstance(whole, list) else [_value(part) for part in values.split(",")]


def _range(text: str) -> tuple[str, dict[str, Any]]:
    key, value = _split(text)
    numbers, _, log = value.partition(":")
    low, dots, high = numbers.partition("..")
    if not dots:
        return key, {"choices": _values(text)[1]}
    if log not in ("", "log"):
        raise ConfigError(f"a range is written LOW..HIGH or LOW..HIGH:log, got {value!r}")
    return key, {"low": _value(low), "high": _value(high), "log": bool(log)}


def _split(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise ConfigError(f"this is written KEY=VALUES, got {text!r}")
    return key, value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
