"""Instants: timezone-aware UTC everywhere, written as ISO with milliseconds and Z."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)


def utc_now() -> datetime:
    return datetime.now(UTC)


def parse_time(text: str) -> datetime:
    """Read an ISO time as UTC; a time without a zone is UTC, a leap second is the second after.

    Raises ValueError where `text` is no ISO time.
    """
    leap = text[16:19] == ":60"
    instant = datetime.fromisoformat(f"{text[:16]}:59{text[19:]}" if leap else text)
    instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    return instant + timedelta(seconds=1) if leap else instant


def format_time(instant: datetime) -> str:
    """Write `instant` as the API and the state do: `2025-11-14T14:30:00.000Z`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def floor_to(instant: datetime, step: timedelta) -> datetime:
    """Give the last multiple of `step`, counted from the epoch in UTC, that is not after `instant`."""
    return instant - (instant - EPOCH) % step


def hour_of(instant: datetime) -> datetime:
    return floor_to(instant, HOUR)
