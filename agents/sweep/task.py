"""One piece of work, who carries it out, and what comes of it.

A task is a call of an importable function with JSON arguments, named by its content: whoever carries it out,
and however often, the result is the same. So work that was lost with a machine is simply done again.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.sweep.version import VersionMismatchError, our_version

TAIL = 20
"""lines of a traceback or a log that are told of a failure"""


class TaskError(RuntimeError):
    """A task, or the machines it should run on, failed; the message says what to do."""


@dataclass(frozen=True)
class Task:
    """function: "package.module:name", called with `arguments` by name. key: digest of what it is about."""

    key: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of a task. error: why there is no value. lost: its process or machine went away, so that
    trying again makes sense. node: where it ran."""

    task: Task
    value: Any = None
    error: str = ""
    lost: bool = False
    node: str = ""


class Executor(Protocol):
    """Processes or machines that carry out tasks; `agents.sweep.executors.open_executor` makes one.

    slots: how many tasks it takes at a time; whoever starts more has unbounded queues.
    """

    slots: int

    def start(self, task: Task) -> None:
        """Hands a task over. Raises TaskError when nobody can take it."""

    def wait(self, seconds: float) -> list[Outcome]:
        """What has ended since, as soon as something has; nothing after so many seconds."""

    def close(self) -> None:
        """Ends everything that runs."""


def digest(content: Any) -> str:
    """16 hexadecimal digits of the sha256 of JSON content, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Said:
    """What a worker sends back: value or error, and where it was."""

    value: Any
    error: str
    node: str


def perform(function: str, arguments: Mapping[str, Any], version: str = "") -> Said:
    """Carries a task out, on the worker. version: the driver's; another one here is refused."""
    node = f"{platform.node()}:{os.getpid()}"
    try:
        if version and version != our_version():
            raise VersionMismatchError(platform.node(), our_version(), version)
        module, _, name = function.partition(":")
        return Said(getattr(importlib.import_module(module), name)(**arguments), "", node)
    except (TaskError, VersionMismatchError) as error:  # our own words, meant for people
        return Said(None, str(error), node)
    except Exception:
        return Said(None, "\n".join(traceback.format_exc().splitlines()[-TAIL:]), node)
