"""The timer schedules of Azure Functions: six fields, seconds first; checked, and their times given.

Source: the syntax of the NCrontab library that the Functions host uses. The host refuses a bad
schedule only by not starting the timer, so it is said here, with the other settings. Unlike in
Unix crontabs, a day must fit the day and the weekday where both are narrowed; and `5/15` is from 5
to the end, every 15.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import product

from app.base.instants import DAY
from app.base.text import counted

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, Sequence[str]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _WEEKDAYS),
)
_ITEM = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?", re.ASCII)
# The rarest day that can be asked for, 29 February on a given weekday, comes after 40 years at most.
_SEARCHED_DAYS = 40 * 366


def schedule_problem(schedule: str) -> str | None:
    """Say what is wrong with a schedule and what to write, or None where nothing is."""
    if "%" in schedule:
        return f"{schedule!r} names another setting; write the six fields themselves, like '0 */15 * * * *'"
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        return (
            f"{schedule!r} has {counted(len(fields), 'field')}; write six, second minute hour day month "
            "weekday, like '0 */15 * * * *'"
        )
    for at, (written, (name, least, most, _)) in enumerate(zip(fields, _FIELDS, strict=True)):
        try:
            _values(written, at)
        except ValueError:
            return (
                f"{schedule!r}: {written!r} is not a valid {name}; write * or {least} to {most}, or a list, "
                "range or step of them"
            )
    return None


def times_after(schedule: str, instant: datetime) -> Iterator[datetime]:
    """Give the times of a schedule that come after `instant`, in its zone; none where it never fires.

    Raises ValueError for what is no schedule.
    """
    fields = _fields(schedule)
    day = _midnight(instant)
    for _ in range(_SEARCHED_DAYS):
        yield from (found for found in _times_on(day, fields) if found > instant)
        day += DAY


def times_before(schedule: str, instant: datetime) -> Iterator[datetime]:
    """Give the times of a schedule up to `instant`, itself included, the latest first; see `times_after`."""
    fields = _fields(schedule)
    day = _midnight(instant)
    for _ in range(_SEARCHED_DAYS):
        yield from reversed([found for found in _times_on(day, fields) if found <= instant])
        day -= DAY


def _fields(schedule: str) -> Sequence[Sequence[int]]:
    return [_values(written, at) for at, written in enumerate(schedule.split())]


def _midnight(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)


def _times_on(day: datetime, fields: Sequence[Sequence[int]]) -> Iterator[datetime]:
    seconds, minutes, hours, days, months, weekdays = fields
    # Python's weeks begin on Monday, cron's on Sunday.
    if day.day in days and day.month in months and day.isoweekday() % 7 in weekdays:
        for hour, minute, second in product(hours, minutes, seconds):
            yield day.replace(hour=hour, minute=minute, second=second)


def _values(written: str, at: int) -> Sequence[int]:
    """Give the values that a field at this place stands for, sorted. Raises ValueError."""
    return sorted({value for item in written.split(",") for value in _item(item, at)})


def _item(item: str, at: int) -> range:
    _, least, most, names = _FIELDS[at]
    match = _ITEM.fullmatch(item)
    step = int(match["step"] or 1) if match else 0
    if match is None or step == 0:
        raise ValueError(item)
    if match["first"] is None:
        return range(least, most + 1, step)
    first = _number(match["first"], names)
    end = most if match["step"] else first
    last = end if match["last"] is None else _number(match["last"], names)
    if not least <= first <= last <= most:
        raise ValueError(item)
    return range(first, last + 1, step)


def _number(text: str, names: Sequence[str]) -> int:
    if text.isdigit():
        return int(text)
    # Months are counted from 1, weekdays from 0.
    return names.index(text.lower()) + (1 if names is _MONTHS else 0)
