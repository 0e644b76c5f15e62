"""`surefoot doctor`: what this machine has, and the fix for what it lacks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from robot.probes import PROBES, SLOW_PROBES, Check, Status

_STYLES: dict[Status, str] = {"ok": "green", "warn": "yellow", "fail": "red", "absent": "bright_black"}


def checks(quick: bool = False, runs: str | Path = "runs") -> list[Check]:
    """Everything `run_checks` finds, as a list."""
    return list(run_checks(quick, runs))


def run_checks(quick: bool = False, runs: str | Path = "runs", only: Sequence[str] = ()) -> Iterator[Check]:
    """One Check after the other, as they are found; a few seconds for all.

    quick: leaves out the measurement of the vector environments, which takes about half a minute.
    runs: the folder in which runs are kept; it need not exist yet. only: these lines; by default all.
    """
    for probe in (*PROBES, *(() if quick else SLOW_PROBES)):
        if only and probe.name not in only:
            continue
        try:
            yield probe.look(probe.name, Path(runs))
        except ModuleNotFoundError as error:
            yield Check(
                probe.name, probe.when_missing, f"{error.name} is not installed{probe.why}", probe.fix
            )
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            # Installed, but it does not work here: a missing system library, another Python, a full disk.
            text = str(error).strip().partition("\n")[0]
            yield Check(probe.name, "fail", f"{type(error).__name__}: {text}", probe.fix)


def failures(found: Sequence[Check]) -> int:
    """How many lines are red; the exit status of the command is 1 if there are any."""
    return sum(check.status == "fail" for check in found)


def print_table(found: Sequence[Check], file: TextIO | None = None) -> None:
    """The table for people, on standard output or in `file`; coloured on a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("what", no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in found:
        style = _STYLES[check.status]
        text = Text(check.found, style=style if check.status == "absent" else "")
        if check.fix:
            text.append(f"\n→ {check.fix}", style=style)
        table.add_row(Text(check.status, style=style), check.name, text)
    console = Console(file=file)
    console.print(table)
    if bad := failures(found):
        console.print(f"\n{bad} to fix: the commands stand after the arrows.", style="red")


def to_json(found: Sequence[Check]) -> str:
    """{"ok": bool, "checks": [{"name", "status", "found", "fix"}, …]}"""
    report = {"ok": failures(found) == 0, "checks": [asdict(check) for check in found]}
    return json.dumps(report, indent=2, ensure_ascii=False)
