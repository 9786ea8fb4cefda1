"""Windows of time as commands are told them: `--from` and `--to`."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from app.base.instants import EPOCH, MILLISECOND, floor_to, parse_time
from app.base.text import printable

_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def instant(option: str, text: str, now: datetime, *, cut: bool = False) -> datetime:
    """Read an ISO time, in UTC unless it names a zone, or a duration back from `now` like 30d or 6h.

    With `cut`, a duration is cut to its unit: 2d is a midnight. Raises UsageError for anything else,
    or before 1970.
    """
    found = _read(option, text, now, cut=cut)
    if found < EPOCH:
        raise click.UsageError(f"{option}: {printable(text)} is before 1970; no source goes back so far")
    return found


def _read(option: str, text: str, now: datetime, *, cut: bool) -> datetime:
    if text[:-1].isdecimal() and text[-1:] in _UNITS:
        unit = _UNITS[text[-1]]
        try:
            return floor_to(now - int(text[:-1]) * unit, unit if cut else MILLISECOND)
        except OverflowError:
            return EPOCH - unit
    try:
        return floor_to(parse_time(text), MILLISECOND)
    except (ValueError, OverflowError):
        raise click.UsageError(
            f"{option}: {printable(text)!r} is no time; write it like 2026-03-01T06:00:00Z, or a duration "
            "back from now like 30d or 6h"
        ) from None
