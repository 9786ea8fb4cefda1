"""Real counts from a CSV file with the columns `time`, `in` and `out`.

What is unambiguous is read: commas, semicolons or tabs between columns, any order of them and others beside,
UTF-8, UTF-16 or Latin-1, whole numbers as `5` or `5.0`. What could mean two things is refused with its line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

# When, how many came, how many left. A time without an offset is the building's own.
Count = tuple[datetime, int, int]

_COLUMNS = ("time", "in", "out")
# No thousands: 1.000 is a thousand to some, and one to others.
_WHOLE = re.compile(r"([0-9]{1,9})(?:[.,]0{1,2})?")
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_TOLD_AT_MOST = 10
# Far from what times can be, so that whole weeks can be added and zones applied.
_YEARS = range(1970, 2101)


def read_counts(path: str | Path) -> list[Count]:
    """Read a file of counts, by time; rows with neither count are left out.

    Either every time has an offset from UTC, which is kept, or none has. Raises ValueError that names the
    file and each line that cannot be read, and OSError.
    """
    found: list[Count] = []
    problems: list[str] = []
    rows = _rows(path, _text(path, Path(path).read_bytes()), problems)
    for line, cells in rows:
        try:
            count = _count(*cells)
            if count is not None:
                if found and (count[0].tzinfo is None) != (found[0][0].tzinfo is None):
                    raise ValueError(
                        "its time has an offset, or none, other than those above; write all with one, like "
                        "08:00Z, or all without, in the building's own time"
                    )
                found.append(count)
        except ValueError as error:
            problems.append(f"{path} line {line}: {error}")
    if not found and not problems:
        problems.append(f"{path}: no row with counts is under its header; write rows of time,in,out")
    if problems:
        more = len(problems) - _TOLD_AT_MOST
        told = problems[:_TOLD_AT_MOST] + ([f"and {more:,} more"] if more > 0 else [])
        raise ValueError("\n".join(told))
    return sorted(found)


def _text(path: str | Path, content: bytes) -> str:
    try:
        if content.startswith(_BYTE_ORDER_MARKS):
            return content.decode("utf-16")
        if b"\0" in content:
            raise ValueError(f"{path}: is not text, or UTF-16 without a byte order mark; save it as UTF-8")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        if content.startswith(_BYTE_ORDER_MARKS):
            raise ValueError(f"{path}: is cut short; copy it whole, or save it as UTF-8") from None
        # Times and counts are ASCII; what else stands there is not looked at.
        return content.decode("latin-1")


def _rows(path: str | Path, text: str, problems: list[str]) -> Iterator[tuple[int, tuple[str, str, str]]]:
    """Give each row below the header that has something in it, with its line; what is no row is noted."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    # Excel's own first line.
    start = 1 if lines and re.fullmatch(r"sep=.", lines[0].strip().lower()) else 0
    header = lines[start] if len(lines) > start else ""
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO("\n".join(lines[start:])), delimiter=delimiter, strict=True)
    try:
        names = [name.strip().casefold() for name in next(reader, [])]
        lacking = [name for name in sorted(_COLUMNS) if name not in names]
        if lacking:
            raise ValueError(f"{path}: no column {', '.join(lacking)}; it needs time, in and out")
        twice = [name for name in _COLUMNS if names.count(name) > 1]
        if twice:
            raise ValueError(f"{path}: the column {twice[0]} is there twice; keep one of them")
        for row in reader:
            line = start + reader.line_num
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if len(cells) != len(names):
                problems.append(
                    f"{path} line {line}: {len(cells)} in place of {len(names)} columns; a number is "
                    "written without commas, a text with commas in double quotes"
                )
                continue
            time, came, left = (cells[names.index(name)] for name in _COLUMNS)
            yield line, (time, came, left)
    except csv.Error as error:
        raise ValueError(f"{path} line {start + reader.line_num}: is not CSV ({error}); correct it") from None


def _count(time: str, came: str, left: str) -> Count | None:
    """Read a row; None where it has no counts. Raises ValueError, saying what to write."""
    if not came and not left:
        return None
    return _time(time), _whole("in", came), _whole("out", left)


def _time(written: str) -> datetime:
    try:
        time = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(
            f"{written[:40]!r} is not a time; write 2025-11-12T08:00, year, month and day in this order, and "
            "no row of totals"
        ) from None
    if time.year not in _YEARS:
        raise ValueError(f"{written[:40]!r} is out of range; write a year from {_YEARS[0]} to {_YEARS[-1]}")
    return time


def _whole(column: str, written: str) -> int:
    match = _WHOLE.fullmatch(written)
    if match is None:
        raise ValueError(
            f"{column} is {written[:40]!r}; write a whole number like 1200, or nothing in both columns"
        )
    return int(match[1])
