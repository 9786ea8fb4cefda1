"""Standard output: JSON objects for programs, or text for people; never both.

Everything is redacted, and nothing that a name or an event holds can move the cursor or begin
a line. Into a pipe, nothing folds and nothing has a colour; on a terminal texts fold to its width.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from app.base import exact_json
from app.base.errors import OutputLost
from app.base.redaction import redact, redact_json
from app.base.text import printable
from app.cli.common_options import chosen

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

# Wider than any table, so that nothing folds in a pipe.
_PIPE_WIDTH = 10_000
_ROOM_OF_MOST = (80, 24)
# Some readers of JSON lines take these for the end of a line; only strings can hold them.
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
_GAP = 2
# Members of a long list that are written at once.
_AT_ONCE = 500


class Output:
    """What a command writes. Each line is flushed, so that a pipe sees it at once."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._is_quiet = chosen().quiet
        # Nobody reads any more; the work goes on, and its exit status stays true.
        self.reader_gone = False
        self._console: Console | None = None

    def write_object(self, found: Mapping[str, Any]) -> None:
        """Write one JSON object on a line of its own."""
        self._write(_json(found) + b"\n")

    def write_long_object(
        self, begins: Mapping[str, Any], lists: Mapping[str, Iterable[Any]], ends: Mapping[str, Any]
    ) -> None:
        """Write one JSON object on a line of its own, whose lists may be longer than memory holds."""
        self._write(_json(begins)[:-1])
        for name, members in lists.items():
            self._write(b"," + _json(name) + b":[")
            first = True
            for some in _some(members):
                self._write(b"" if first else b",")
                self._write(b",".join(map(_json, some)))
                first = False
            self._write(b"]")
        self._write(b"," + _json(ends)[1:] + b"\n")

    def write_document(self, content: bytes) -> None:
        """Write a document as it is, nothing redacted: what is read back must be what was written."""
        self._write(content)

    def show(self, *parts: RenderableType) -> None:
        """Write for people, each part on lines of its own."""
        if self._is_quiet:
            return
        console = self._console or self._make_console()
        with console.capture() as captured:
            for part in parts:
                console.print(text(part) if isinstance(part, str) else part)
        self._write_text("\n".join(line.rstrip(" ") for line in captured.get().split("\n")))

    def show_line(self, content: str) -> None:
        """Write one line for people, cut where a terminal ends."""
        if self._is_quiet:
            return
        console = self._console or self._make_console()
        with console.capture() as captured:
            console.print(text(content), no_wrap=True, overflow="ellipsis")
        self._write_text(captured.get())

    def room(self) -> tuple[int, int]:
        """Give the columns and lines of the terminal; where there is none, those that most have."""
        console = self._console or self._make_console()
        return (console.width, console.height) if console.is_terminal else _ROOM_OF_MOST

    def lines_of(self, parts: Iterable[RenderableType]) -> int:
        """Give how many lines parts take in the room there is."""
        console = self._console or self._make_console()
        options = console.options.update(width=self.room()[0])
        shown = (text(part) if isinstance(part, str) else part for part in parts)
        return sum(len(console.render_lines(part, options, pad=False)) for part in shown)

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks at a terminal, and wants to see something."""
        return not self._is_quiet and (self._console or self._make_console()).is_terminal

    @contextmanager
    def renewed(self) -> Iterator[Callable[..., None]]:
        """Give what puts parts in the place of all that the terminal shows, until the context ends."""
        from rich.console import Group
        from rich.live import Live

        console = self._console or self._make_console()
        with Live(console=console, screen=True, auto_refresh=False) as live:

            def renew(*parts: RenderableType) -> None:
                shown = [text(part) if isinstance(part, str) else part for part in parts]
                live.update(Group(*shown), refresh=True)

            yield renew

    def _make_console(self) -> Console:
        from rich.console import Console

        console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        if not console.is_terminal:
            console.width = _PIPE_WIDTH
        self._console = console
        return console

    def _write_text(self, content: str) -> None:
        self._write(content.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))

    def _write(self, content: bytes) -> None:
        if self.reader_gone:
            return
        try:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        except OSError as error:
            self.reader_gone = True
            # What is still buffered would fail again when the process ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                raise OutputLost(
                    f"standard output: {error.strerror or error}; look at where it is sent to"
                ) from None


def _json(found: Any) -> bytes:
    return exact_json.dumps(redact_json(found)).decode().translate(_LINE_ENDS).encode()


def _some(members: Iterable[Any]) -> Iterator[list[Any]]:
    left = iter(members)
    while some := list(itertools.islice(left, _AT_ONCE)):
        yield some


def text(content: object, style: str = "") -> Text:
    """Give a text of one line that can be shown: no secret, no markup, no control character."""
    from rich.text import Text

    return Text(printable(redact(str(content))), style=style)


def hanging(head: str, content: str, *, style: str = "", width: int = 0) -> Table:
    """Lay out a head of at least `width` characters with a text beside it, which folds there."""
    from rich.table import Table

    made = Table.grid(padding=(0, _GAP, 0, 0))
    made.add_column(no_wrap=True, min_width=width)
    made.add_column(overflow="fold")
    made.add_row(text(head, style), text(content))
    return made
