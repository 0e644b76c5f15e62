"""Progress of long work: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress:
    """Shows steps done, their rate, the time left and a few numbers; a context manager."""

    def __init__(
        self, title: str, total: int, *, done: int = 0, quiet: bool = False, line_every: float = 10.0
    ) -> None:
        self._title, self._total, self._first = title, total, done
        self._started = self._last_line = time.monotonic()
        self._quiet, self._line_every = quiet, line_every
        self._bars: Bars | None = None
        if not quiet and sys.stderr.isatty():
            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bars.add_task(title, total=total, completed=done, note="")

    def __enter__(self) -> Progress:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def update(self, done: int, **numbers: float) -> None:
        """done: steps so far; numbers: what to show beside them."""
        if self._quiet:
            return
        now = time.monotonic()
        rate = (done - self._first) / max(now - self._started, 1e-9)
        often = f"{rate:,.0f}/s" if rate >= 10 else f"{60 * rate:.3g}/min"
        note = " ".join([often, *(f"{name} {number:.4g}" for name, number in numbers.items())])
        if self._bars is not None:
            self._bars.update(self._task, completed=done, note=note)
        elif now - self._last_line >= self._line_every or done >= self._total:
            self._last_line = now
            left = max(self._total - done, 0) / max(rate, 1e-9)
            print(
                f"{self._title}: {done:,}/{self._total:,} {note}, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    def say(self, text: str) -> None:
        """One line of text that stays."""
        if self._quiet:
            return
        if self._bars is not None:
            self._bars.console.print(text)
        else:
            print(text, file=sys.stderr, flush=True)
