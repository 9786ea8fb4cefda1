"""How instants, durations, counts and foreign texts are written for people, on a screen or on the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from app.base.redaction import redact

# More names would hide what a sentence says; all are in its details.
IN_A_SENTENCE: Final = 3
_LONGEST_SHOWN = 60
# How what follows by itself begins: with what it is about, where an instruction has a verb or an `if`.
_FOLLOWS = re.compile(
    r"(?:(?:the next|these|they|it|all|others?|what|nothing|this|that) |the (?:others|connection|answer) "
    r"|given up after |no shorter )"
)
# In which people read and write; None is the zone of this host. What is kept or sent is in UTC, always.
_read_in: ContextVar[tzinfo | None] = ContextVar("read_in", default=UTC)
_written_in: ContextVar[tzinfo | None] = ContextVar("written_in", default=UTC)


def printable(content: str) -> str:
    """Escape what is not printable, line ends and terminal commands among it."""
    if content.isprintable():
        return content
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in content
    )


def cut_short(text: str, most: int) -> str:
    """Give at most so many characters of a text. Redacted first: a part of a secret is not known as one."""
    return redact(text)[:most]


def shown(value: object) -> str:
    """Write a value, which must not be secret, for a message; long ones are cut."""
    text = redact(repr(value))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


@contextmanager
def times_in(zone: tzinfo | None) -> Iterator[None]:
    """Write and read people's times in that zone, None being this host's, until the context ends."""
    before = _read_in.set(zone), _written_in.set(zone)
    try:
        yield
    finally:
        _read_in.reset(before[0])
        _written_in.reset(before[1])


def use_times_in(zone: tzinfo | None) -> None:
    """Write and read people's times in that zone from now on, None being this host's; UTC unless told."""
    _read_in.set(zone)
    _written_in.set(zone)


def write_times_in_utc() -> None:
    """Write all times in UTC from now on, as what programs read; what people wrote is read as before."""
    _written_in.set(UTC)


def in_shown_zone(instant: datetime) -> datetime:
    """Give an instant with the date and the time of day that people are shown."""
    return instant.astimezone(_written_in.get())


def as_people_write(written: datetime) -> datetime:
    """Give the instant of a date and time without a zone: people write in the zone that they chose."""
    zone = _read_in.get()
    return written.astimezone(UTC) if zone is None else written.replace(tzinfo=zone).astimezone(UTC)


def zone_name() -> str:
    """Name the zone that people are shown: `UTC`, `Europe/Brussels`, `local`."""
    zone = _written_in.get()
    return "local" if zone is None else str(zone)


def minute(instant: datetime | None) -> str:
    """Write an instant for people, in UTC unless told, to the minute; a dash where there is none."""
    return "-" if instant is None else str(in_shown_zone(instant))[:16]


def moment(instant: datetime | None) -> str:
    """Write an instant for people, to the second, with the zone, UTC unless told."""
    if instant is None:
        return "-"
    local = in_shown_zone(instant)
    return f"{str(local)[:19]} {local.tzname()}"


def span(length: timedelta | float | None) -> str:
    """Write a duration, or seconds, for people in its two largest units: `40 s`, `3 h 20 min`, `2 d 4 h`."""
    if length is None:
        return "-"
    whole = round(length.total_seconds() if isinstance(length, timedelta) else length)
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def counted(number: int, noun: str) -> str:
    """Write how many there are: `1 run`, `1,204 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def named(names: Sequence[str], most: int = IN_A_SENTENCE) -> str:
    """Name a few, and count the others: at most so many of both."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1:,} more"


def joined(names: Sequence[str]) -> str:
    """Name all: `a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def dashed(feed: str) -> str:
    """Give a feed's name as the command line writes it."""
    return feed.replace("_", "-")


def said_and_advised(message: str) -> tuple[str, str | None]:
    """Split an error's message into what is wrong and what to do, which follows the first semicolon."""
    said, semicolon, advice = message.partition("; ")
    return (said, advice) if semicolon else (message, None)


def label_of(advice: str) -> str:
    """Give what goes before an advice: `do` where somebody is to do it, `then` where it follows by itself."""
    return "then" if _FOLLOWS.match(advice) else "do"
