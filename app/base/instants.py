"""Instants: timezone-aware UTC everywhere, written as ISO with milliseconds and Z; and durations."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from app.base.text import shown

MILLISECOND = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# The units that durations are written in, in settings and on the command line.
UNITS = {"s": timedelta(seconds=1), "m": MINUTE, "h": HOUR, "d": DAY}
_DURATION = re.compile(r"([0-9]{1,7})([smhd])")
# Numbers of two and of three digits, as they are written.
_TWO = [f"{number:02}" for number in range(60)]
_THREE = [f"{number:03}" for number in range(1000)]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


def utc_now() -> datetime:
    return datetime.now(UTC)


def parse_time(text: str, without_zone: Callable[[datetime], datetime] | None = None) -> datetime:
    """Read an ISO time as UTC; a leap second is the second after.

    A time without a zone is UTC, or what `without_zone` makes of it.

    Raises ValueError where `text` is not an ISO time, or one beyond the years 1 to 9999.
    """
    # Nearly all are written like `2025-11-14T14:30:00.000Z`, and a state has hundreds of thousands.
    if text[10:11] == "T" and text[-1:] == "Z" and text[17:19] != "60":
        return datetime.fromisoformat(text)
    # Python takes any character at all between date and time, half a surrogate pair among them.
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{shown(text)} is not an ISO time")
    if text.endswith("z"):
        text = f"{text[:-1]}Z"
    leap = text[16:19] == ":60"
    try:
        instant = datetime.fromisoformat(f"{text[:16]}:59{text[19:]}" if leap else text)
        if instant.tzinfo is None:
            instant = without_zone(instant) if without_zone else instant.replace(tzinfo=UTC)
        instant = instant.astimezone(UTC)
        return instant + timedelta(seconds=1) if leap else instant
    except OverflowError as error:
        raise ValueError(str(error)) from None


def format_time(instant: datetime) -> str:
    """Write `instant` as the API and the state do: `2025-11-14T14:30:00.000Z`."""
    at = instant.astimezone(UTC)
    # In a third of the time that `isoformat` takes, and a state has a hundred thousand.
    return (
        f"{at.year:04}-{_TWO[at.month]}-{_TWO[at.day]}T{_TWO[at.hour]}:{_TWO[at.minute]}:{_TWO[at.second]}"
        f".{_THREE[at.microsecond // 1000]}Z"
    )


def floor_to(instant: datetime, step: timedelta) -> datetime:
    """Give the last multiple of `step`, counted from the epoch in UTC, that is not after `instant`."""
    return instant - (instant - EPOCH) % step


def hour_of(instant: datetime) -> datetime:
    """Give the UTC hour that `instant` lies in."""
    at = instant.astimezone(UTC)
    return datetime(at.year, at.month, at.day, at.hour, tzinfo=UTC)


def read_duration(text: str) -> timedelta:
    """Read `90s`, `15m`, `6h`, `2d`. Raises ValueError, saying what to write."""
    match = _DURATION.fullmatch(text)
    if match is not None:
        return int(match[1]) * UNITS[match[2]]
    if re.fullmatch("[0-9]{1,7}", text):
        raise ValueError(f"{shown(text)} has no unit; write {text}m or {int(text) * 60}s")
    raise ValueError(
        f"{shown(text)} is not a duration; write a whole number and its unit, like 90s, 15m, 6h or 2d"
    )


def write_duration(duration: timedelta) -> str:
    """Write a duration as the settings do, in its largest whole unit."""
    whole = timedelta(seconds=round(duration.total_seconds()))
    unit = next((unit for unit in reversed(UNITS) if whole and not whole % UNITS[unit]), "s")
    return f"{whole // UNITS[unit]}{unit}"
