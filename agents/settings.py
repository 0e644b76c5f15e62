"""Single settings of a configuration changed by name: `learner.n_steps=512`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from agents.configs import ConfigError, config_from_json, config_to_json

Config = TypeVar("Config")


def with_settings(config: Config, settings: Sequence[str]) -> Config:
    """The configuration with each "key=value" applied; dots reach into nested ones, values are JSON or text.

    Raises ConfigError for an unknown key (naming the nearest) and for a value of the wrong type.
    """
    content = config_to_json(config)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"a setting is written KEY=VALUE, got {setting!r}")
        _put(content, key, _parse(value))
    return config_from_json(content, type(config), "--set")


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    place = content
    for name in path:
        inner = place.get(name)
        if not isinstance(inner, dict):
            raise ConfigError(_unknown(key, name, place))
        place = inner
    if last not in place:
        raise ConfigError(_unknown(key, last, place))
    place[last] = value


def _unknown(key: str, name: str, place: dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, place, n=3) or sorted(place)
    return f"there is no setting {key!r}: {name!r} is not one of them; nearest: {', '.join(near)}"


def _parse(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
