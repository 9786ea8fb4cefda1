"""Tables for people: no wider than a terminal, and no key in them is ever cut or left out.

Where rows do not fit, instants become shorter, then heads and texts fold, then each row becomes a
block of lines. Into a pipe, tables are as wide as what they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from app.base.readings import Slice
from app.base.text import in_shown_zone, minute, zone_name
from app.cli.output import text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table
    from rich.text import Text

_GAP = 2
# What is folded to fewer characters is read letter by letter. A key folds between its words only, a
# text within a word where that is longer than most words of ours are.
_LEAST_OF_A_TEXT = 12
_LEAST_OF_A_KEY = 14
_LONGEST_WORD_KEPT = 20
# The year, and the dash after it.
_YEAR = len("2026-")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its head, and what its cells are.

    A `key` says what a row is about: no word of it is ever cut or left out, and it comes first where
    a row becomes a block. A `number` stands to the right, a `whole` text does not fold. An `optional`
    column is left out where it is None in each row.
    """

    head: str
    number: bool = False
    whole: bool = False
    key: bool = False
    optional: bool = False


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> FittedTable:
    """Lay rows out under heads.

    Hand instants over as datetimes and stretches as slices: they are written to the minute, in UTC or in the
    zone that is chosen, which takes the place of `(UTC)` in a head, and without the year where that makes
    rows fit. A None is a dash; a Text is shown as it is, anything else as text that cannot move the cursor.
    """
    cells = [list(row) for row in rows]
    kept = [
        at
        for at, column in enumerate(columns)
        if not column.optional or any(row[at] is not None for row in cells)
    ]
    named = [replace(column, head=column.head.replace("(UTC)", f"({zone_name()})")) for column in columns]
    return FittedTable([named[at] for at in kept], [[row[at] for at in kept] for row in cells])


@dataclass(frozen=True, slots=True)
class FittedTable:
    """Rows that are laid out when the width is known."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        cells = self._cells(with_year=True)
        widths = _widths(self.columns, cells)
        if _whole(widths) > options.max_width:
            cells = self._cells(with_year=not self._is_of_one_year())
            widths = _narrowed(self.columns, cells, options.max_width)
        if _whole(widths) <= options.max_width:
            yield _as_table(self.columns, cells, widths)
        else:
            yield from _as_blocks(self.columns, cells)

    def _cells(self, *, with_year: bool) -> list[list[Text]]:
        return [[_cell(value, with_year=with_year) for value in row] for row in self.rows]

    def _is_of_one_year(self) -> bool:
        return len({in_shown_zone(instant).year for row in self.rows for instant in _instants(row)}) == 1


def _instants(row: Sequence[object]) -> Iterator[datetime]:
    for value in row:
        if isinstance(value, datetime):
            yield value
        elif isinstance(value, Slice):
            yield from (value.start, value.end)


def _cell(value: object, *, with_year: bool) -> Text:
    from rich.text import Text

    if isinstance(value, Text):
        return value
    if value is None:
        return text("-")
    written = partial(_instant, with_year=with_year)
    if isinstance(value, datetime):
        return _unfolded(text(written(value)))
    if isinstance(value, Slice):
        return _unfolded(text(f"{written(value.start)} to {written(value.end)}"))
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return text(f"{value:,}" if is_number else value)


def _unfolded(content: Text) -> Text:
    content.no_wrap = True
    return content


def _instant(instant: datetime, *, with_year: bool) -> str:
    return minute(instant)[0 if with_year else _YEAR :]


# --- widths -----------------------------------------------------------------------------------------


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> list[int]:
    """Give the widths that columns have where nothing folds."""
    return [
        max([text(column.head).cell_len, *(row[at].cell_len for row in cells)])
        for at, column in enumerate(columns)
    ]


def _narrowed(columns: Sequence[Column], cells: Sequence[Sequence[Text]], room: int) -> list[int]:
    """Give widths at which heads fold, then texts, as far as `room` asks for.

    They may be wider than that: then a table cannot be read at that width.
    """
    widths = _widths(columns, cells)
    for texts_fold in (False, True):
        leasts = _least_widths(columns, cells, texts_fold=texts_fold)
        while _whole(widths) > room and widths != leasts:
            # The widest first, so that what is short anyway stays on one line.
            widest = max(range(len(widths)), key=lambda at: (widths[at] > leasts[at], widths[at]))
            widths[widest] -= 1
    return widths


def _least_widths(
    columns: Sequence[Column], cells: Sequence[Sequence[Text]], *, texts_fold: bool
) -> list[int]:
    return [
        max(
            [
                _longest_word(text(column.head)),
                *(_least_width(column, row[at]) if texts_fold else row[at].cell_len for row in cells),
            ]
        )
        for at, column in enumerate(columns)
    ]


def _least_width(column: Column, cell: Text) -> int:
    if cell.no_wrap or column.number or column.whole:
        return cell.cell_len
    word = _longest_word(cell)
    if column.key:
        return max(min(cell.cell_len, _LEAST_OF_A_KEY), word)
    return max(min(cell.cell_len, _LEAST_OF_A_TEXT), min(word, _LONGEST_WORD_KEPT))


def _longest_word(content: Text) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, content.plain.split()), default=0)


def _whole(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


# --- layouts ----------------------------------------------------------------------------------------


def _as_table(columns: Sequence[Column], cells: Iterable[Sequence[Text]], widths: Sequence[int]) -> Table:
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        made.add_column(
            text(column.head), justify="right" if column.number else "left", width=width, overflow="fold"
        )
    for row in cells:
        made.add_row(*row)
    return made


def _as_blocks(columns: Sequence[Column], cells: Iterable[Sequence[Text]]) -> Iterator[RenderableType]:
    """Give a block a row: a line a column, the keys first, and no line for what there is not."""
    from rich.table import Table
    from rich.text import Text

    width = max(text(column.head).cell_len for column in columns)
    order = sorted(range(len(columns)), key=lambda at: not columns[at].key)
    for number, row in enumerate(cells):
        if number:
            yield Text()
        made = Table.grid(padding=(0, _GAP, 0, 0))
        made.add_column(min_width=width, overflow="fold")
        made.add_column(overflow="fold")
        for at in order:
            if columns[at].key or row[at].plain not in ("", "-"):
                made.add_row(text(columns[at].head, "bold"), row[at])
        yield made
