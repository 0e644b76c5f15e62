"""Frozen dataclasses as JSON and back, strictly: an unknown key or a wrong type is an error."""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Config = TypeVar("Config")


class ConfigError(ValueError):
    """A configuration does not fit its dataclass."""


def config_to_json(value: Any) -> Any:
    """Dicts, lists and plain values for a dataclass instance (or a part of one)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: config_to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): config_to_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [config_to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ConfigError(f"a configuration cannot hold {type(value).__name__}: {value!r}")


def config_from_json(content: Any, cls: type[Config], where: str = "config") -> Config:
    """The dataclass instance that `config_to_json` was given. Raises ConfigError."""
    result: Config = _read(content, cls, where)
    return result


def _read(content: Any, kind: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(content, kind, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _read_union(content, arguments, where)
    if origin is Literal:
        if content not in arguments:
            raise ConfigError(f"{where}: expected one of {', '.join(map(repr, arguments))}, got {content!r}")
        return content
    if origin in (list, tuple):
        return _read_sequence(content, origin, arguments, where)
    if origin is dict or origin is Mapping:
        _expect(isinstance(content, dict), content, "an object", where)
        return {key: _read(item, arguments[1], f"{where}: {key}") for key, item in content.items()}
    return _read_plain(content, kind, where)


def _read_dataclass(content: Any, kind: Any, where: str) -> Any:
    _expect(isinstance(content, dict), content, f"an object with the fields of {kind.__name__}", where)
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for key in content:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f", did you mean {near[0]!r}?" if near else f"; {kind.__name__} has {', '.join(fields)}"
            raise ConfigError(f"{where}: unknown key {key!r}{hint}")
    missing = [
        name
        for name, field in fields.items()
        if name not in content
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: missing {', '.join(missing)}")
    values = {key: _read(item, hints[key], f"{where}: {key}") for key, item in content.items()}
    try:
        return kind(**values)
    except ValueError as error:  # the dataclass's own checks
        raise ConfigError(f"{where}: {error}") from error


def _read_union(content: Any, kinds: tuple[Any, ...], where: str) -> Any:
    errors = []
    for kind in kinds:
        try:
            return _read(content, kind, where)
        except ConfigError as error:
            errors.append(str(error))
    raise ConfigError(errors[0])


def _read_sequence(content: Any, origin: Any, arguments: tuple[Any, ...], where: str) -> Any:
    _expect(isinstance(content, list), content, "a list", where)
    if origin is list or arguments[-1] is Ellipsis:
        kinds = [arguments[0]] * len(content)
    else:
        kinds = list(arguments)
        _expect(len(content) == len(kinds), content, f"{len(kinds)} values", where)
    pairs = zip(content, kinds, strict=True)
    return origin(_read(item, kind, f"{where}[{index}]") for index, (item, kind) in enumerate(pairs))


def _read_plain(content: Any, kind: Any, where: str) -> Any:
    if kind is Any:
        return content
    if kind is None or kind is type(None):
        _expect(content is None, content, "null", where)
        return None
    if kind is Path:
        _expect(isinstance(content, str), content, "a path", where)
        return Path(content)
    if kind is float and isinstance(content, int) and not isinstance(content, bool):
        return float(content)
    fits = isinstance(content, kind) and not (isinstance(content, bool) and kind is not bool)
    _expect(fits, content, getattr(kind, "__name__", str(kind)), where)
    return content


def _expect(fits: bool, content: Any, expected: str, where: str) -> None:
    if not fits:
        raise ConfigError(f"{where}: expected {expected}, got {content!r}")
