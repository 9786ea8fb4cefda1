"""How far a command has come: bars on a terminal; elsewhere nothing, or a line for each step."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Self

from app.base.text import dashed, printable, span
from app.cli.output import Output
from app.cli.session import complain

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# What ends sooner needs no bar.
_MOMENT_S = 1.0


class ProgressBars:
    """A bar for each thing that is being done, from a moment after the first; gone in the end.

    Where nobody looks there are none; `in_lines` says of each thing that it begins then.
    """

    def __init__(self, out: Output, *, in_lines: bool = False) -> None:
        self._wanted = not out.as_json and sys.stderr.isatty()
        self._in_lines = in_lines
        self._said: set[str] = set()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._later: threading.Timer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()

    def show(self, doing: str, done: float, whole: float, said: str = "") -> None:
        """Show how much is done of a thing, and of how much; what is `said` of it may change."""
        if not self._wanted:
            self._say(doing)
            return
        bars = self._bars or self._begin()
        if doing not in self._tasks:
            self._tasks[doing] = bars.add_task("", total=None)
        text = printable(f"{doing}{said}")
        bars.update(self._tasks[doing], description=text, completed=done, total=whole or None)

    def hide(self) -> None:
        """Take them off the terminal, so that something else can be written there."""
        if self._later is not None:
            self._later.cancel()
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._tasks = None, {}

    def _say(self, doing: str) -> None:
        if self._in_lines and doing not in self._said:
            self._said.add(doing)
            complain(doing)

    def _begin(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
        self._later = threading.Timer(_MOMENT_S, self._bars.start)
        self._later.daemon = True
        self._later.start()
        return self._bars


class FetchedShare:
    """How much of a feed's backlog is fetched, over all of its runs: each knows only what it found left."""

    def __init__(self, bars: ProgressBars, feed: str) -> None:
        self._bars = bars
        self._feed = dashed(feed)
        self._whole_s = 0.0
        bars.show(self._feed, 0, 0, ": connecting")

    def show(self, fetched_s: float, backlog_s: float) -> None:
        self._whole_s = max(self._whole_s, backlog_s)
        done_s = self._whole_s - backlog_s + fetched_s
        said = f": {span(done_s)} of {span(self._whole_s)} fetched"
        self._bars.show(self._feed, done_s, self._whole_s, said)
