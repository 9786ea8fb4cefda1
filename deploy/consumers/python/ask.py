"""Asks a question of the table that consumer.py writes: python ask.py readings.db questions/visitors.sql."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

LONGEST_BAR = 30


def local_hour(time: str, zone: Any) -> str:
    """Give the hour of a time in UTC as clocks of a zone show it; of what is none in UTC, which it says."""
    at = datetime.fromisoformat(time)
    try:
        return at.astimezone(ZoneInfo(zone or "UTC")).strftime("%Y-%m-%d %H:00")
    # Whatever the source wrote there: of one reading it must not keep all others from being asked.
    except (ValueError, TypeError, AttributeError, KeyError, OSError):
        return at.strftime("%Y-%m-%d %H:00 UTC")


def answer(file: Path, question: str) -> tuple[list[str], list[tuple[object, ...]]]:
    """Give the names of a question's columns, and its rows."""
    database = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
    try:
        database.create_function("local_hour", 2, local_hour, deterministic=True)
        asked = database.execute(question)
        return [column[0] for column in asked.description], asked.fetchall()
    finally:
        database.close()


def bar_in(encoding: str) -> str:
    """Give what bars are made of in text of an encoding: blocks, or plain characters where it has none."""
    try:
        "█".encode(encoding)
    except UnicodeEncodeError:
        return "#"
    return "█"


def chart(columns: Sequence[str], rows: Sequence[tuple[object, ...]], *, bar: str = "█") -> list[str]:
    """Give the lines of a table, with a bar for its last column where that is a number."""
    cells = [
        columns,
        *([f"{cell:,}" if isinstance(cell, int | float) else str(cell) for cell in row] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numbers = [row[-1] if isinstance(row[-1], int | float) else 0 for row in rows]
    most = max(numbers, default=0) or 1
    bars = ["", *(bar * round(LONGEST_BAR * max(number, 0) / most) for number in numbers)]
    lines = []
    for row, drawn in zip(cells, bars, strict=True):
        *texts, last = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([*texts, f"{last.strip():>{widths[-1]}}", drawn]).rstrip())
    return lines


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python ask.py DATABASE QUESTION.sql")
    found = answer(Path(sys.argv[1]), Path(sys.argv[2]).read_text("utf-8"))
    print(*chart(*found, bar=bar_in(sys.stdout.encoding)), sep="\n")
