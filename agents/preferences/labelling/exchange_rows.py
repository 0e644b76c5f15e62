"""One line of an exported study: how a label becomes JSON, and what a line must be to become a label.

Every line stands on its own: with the clips that were compared, so that it can train a model without
the database that it came from.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any, get_args

from agents.preferences.labelling.types import CHOICES, Choice, Kind, Label, LabellingError, Study

FORMAT = "surefoot-labels"
VERSION = 1
LINE_BYTES = 64 * 1024
HEADER_BYTES = 4 * 1024 * 1024
"""no line that we write is longer, so a longer one is not read"""
KINDS: tuple[Kind, ...] = get_args(Kind)
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_LARGEST = 2**53
_HEADER = ("format", "version", "exported", "retracted", "study", "golds", "choices")
_FIELDS = (
    *("uuid", "key", "kind", "index", "clips", "chosen_by", "score", "reward_version", "step"),
    *("annotator", "annotator_name", "choice", "swapped", "shown_ms", "loops", "speed"),
    *("server_time", "client_time", "retracts", "retracted"),
)


class ExchangeError(LabellingError):
    """A file of labels that cannot be taken in; the message names the line. Nothing of it was."""


@dataclass(frozen=True)
class LabelRow:
    """A label with what a reader of the file alone needs to know of its pair and its giver."""

    label: Label
    name: str
    """what the owner calls the annotator"""
    index: int
    clips: Mapping[str, Any]
    """{"left": [episode, start, length], "right": [...]}"""
    chosen_by: str
    score: float
    reward_version: int
    step: int


@dataclass(frozen=True)
class Header:
    """The first line."""

    study: Mapping[str, Any]
    golds: Mapping[str, Choice]
    retracted: bool
    """whether the file holds answers that were taken back, and the rows that did it"""


def header_json(
    study: Study, golds: Mapping[str, Choice], now: datetime, *, retracted: bool
) -> dict[str, Any]:
    described = {name: value for name, value in asdict(study).items() if name != "created"}
    created = None if study.created is None else _time(study.created)
    return {
        "format": FORMAT,
        "version": VERSION,
        "exported": _time(now),
        "retracted": retracted,
        "study": {**described, "created": created},
        "golds": dict(golds),
        "choices": "by the pair's own sides: left is clips.left, whichever side of the screen it was on",
    }


def row_json(row: LabelRow) -> dict[str, Any]:
    label = row.label
    return {
        "uuid": label.uuid,
        "key": label.key,
        "kind": label.kind,
        "index": row.index,
        "clips": {side: list(row.clips[side]) for side in ("left", "right")},
        "chosen_by": row.chosen_by,
        "score": row.score if math.isfinite(row.score) else None,
        "reward_version": row.reward_version,
        "step": row.step,
        "annotator": label.annotator,
        "annotator_name": row.name,
        "choice": label.choice,
        "swapped": label.swapped,
        "shown_ms": label.shown_ms,
        "loops": label.loops,
        "speed": label.speed,
        "server_time": _time(label.server_time),
        "client_time": None if label.client_time is None else _time(label.client_time),
        "retracts": label.retracts,
        "retracted": label.retracted,
    }


def to_line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def read_header(line: bytes) -> Header:
    """Raises ValueError, in words for whoever wrote the file."""
    content = _object(line, HEADER_BYTES)
    if content.get("format") != FORMAT:
        raise ValueError(f'this is not a file of labels: it must begin with {{"format":"{FORMAT}",...}}')
    version = content.get("version")
    if version != VERSION or isinstance(version, bool):
        raise ValueError(f"version {_shown(version)} of the format is unknown here: only {VERSION} is")
    _expect_fields(content, _HEADER)
    study, golds = content["study"], content["golds"]
    if not isinstance(study, dict) or not isinstance(golds, dict):
        raise ValueError("study and golds must be objects")
    for key, choice in golds.items():
        _identifier("a key of golds", key)
        if choice not in ("left", "right", "tie"):
            raise ValueError(f"a gold must be left, right or tie, got {_shown(choice)}")
    return Header(study, golds, _boolean(content, "retracted"))


def read_row(line: bytes, study: str) -> LabelRow:
    """A label of `study`, its `query` empty. Raises ValueError, in words for whoever wrote the file."""
    content = _object(line)
    _expect_fields(content, _FIELDS)
    label = Label(
        uuid=_identifier("uuid", content["uuid"]),
        study=study,
        query="",
        key=_identifier("key", content["key"]),
        kind=_one_of(content, "kind", KINDS),
        annotator=_identifier("annotator", content["annotator"]),
        choice=_one_of(content, "choice", CHOICES),
        swapped=_boolean(content, "swapped"),
        shown_ms=_whole(content, "shown_ms"),
        loops=_number(content, "loops"),
        speed=_number(content, "speed"),
        server_time=_moment(content, "server_time"),
        client_time=None if content["client_time"] is None else _moment(content, "client_time"),
        retracts=None if content["retracts"] is None else _identifier("retracts", content["retracts"]),
        retracted=_boolean(content, "retracted"),
    )
    if label.retracts is not None and label.retracted:
        raise ValueError("a row that takes another back cannot be taken back itself")
    return LabelRow(
        label=label,
        name=_text(content, "annotator_name", 200),
        index=_whole(content, "index"),
        clips=_clips(content["clips"]),
        chosen_by=_text(content, "chosen_by", 64),
        score=0.0 if content["score"] is None else _number(content, "score"),
        reward_version=_whole(content, "reward_version"),
        step=_whole(content, "step"),
    )


def same_content(stored: Label, given: Label) -> bool:
    """Whether two rows of one uuid say the same; being taken back later is no other content."""
    return replace(stored, query="", retracted=False) == replace(given, query="", retracted=False)


@contextmanager
def of_line(number: int) -> Iterator[None]:
    """A ValueError about a line becomes the message for whoever imports it."""
    try:
        yield
    except ValueError as error:
        raise ExchangeError(f"Line {number}: {error}. Nothing was imported.") from None


# -- one value at a time ------------------------------------------------------------------------------


def _object(line: bytes, longest: int = LINE_BYTES) -> dict[str, Any]:
    if len(line) > longest:
        raise ValueError(f"the line is longer than {longest} bytes")
    try:
        content = json.loads(line.decode(), parse_constant=_no_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise ValueError(f"the line is not UTF-8 (byte {error.start + 1})") from None
    except RecursionError:
        raise ValueError("the line is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the line is not JSON ({error.msg} at character {error.pos + 1})") from None
    if not isinstance(content, dict):
        raise ValueError(f"the line must be a JSON object, got {_shown(content)}")
    return content


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number that can be stored")


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"{_shown(name)} is there twice")
        content[name] = value
    return content


def _expect_fields(content: Mapping[str, Any], names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in content]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing")
    unknown = [name for name in content if name not in names]
    if unknown:
        raise ValueError(f"{_shown(unknown[0])} is no field of version {VERSION}")


def _identifier(name: str, value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(f"{name} must be 1 to 64 letters, digits or _.:-, got {_shown(value)}")
    return value


def _one_of(content: Mapping[str, Any], name: str, allowed: tuple[Any, ...]) -> Any:
    value = content[name]
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {_shown(value)}")
    return value


def _boolean(content: Mapping[str, Any], name: str) -> bool:
    value = content[name]
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {_shown(value)}")
    return value


def _whole(content: Mapping[str, Any], name: str) -> int:
    value = content[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise ValueError(f"{name} must be a whole number from 0 to 2^53, got {_shown(value)}")
    return value


def _number(content: Mapping[str, Any], name: str) -> float:
    value = content[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be a number, got {_shown(value)}")
    if not abs(value) <= sys.float_info.max:  # 1e999 is read as infinity
        raise ValueError(f"{name} must be a finite number, got {_shown(value)}")
    return float(value)


def _text(content: Mapping[str, Any], name: str, longest: int) -> str:
    """Without what PostgreSQL (NUL) or UTF-8 (half of a surrogate pair) cannot hold."""
    value = content[name]
    if not isinstance(value, str) or len(value) > longest or re.search("[\x00\ud800-\udfff]", value):
        raise ValueError(f"{name} must be text of up to {longest} characters, got {_shown(value)}")
    return value


def _moment(content: Mapping[str, Any], name: str) -> datetime:
    value = content[name]
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if moment.tzinfo is None:
            raise ValueError
        moment = moment.astimezone(timezone.utc)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be a time with its zone (ISO 8601), got {_shown(value)}") from None
    return moment


def _clips(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict) or set(value) != {"left", "right"}:
        raise ValueError(f"clips must be an object of left and right, got {_shown(value)}")
    for side in ("left", "right"):
        clip = value[side]
        if not isinstance(clip, list) or len(clip) != 3:
            raise ValueError(f"clips.{side} must be [episode, start, length], got {_shown(clip)}")
        named = {"episode": clip[0], f"clips.{side} start": clip[1], f"clips.{side} length": clip[2]}
        _text(named, "episode", 200)
        _whole(named, f"clips.{side} start")
        _whole(named, f"clips.{side} length")
    return value


def _time(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat()


def _shown(value: Any) -> str:
    """A value in a message: enough to find it, never a page of it."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
