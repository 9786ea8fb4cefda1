"""Checks the timer schedules of Azure Functions: six fields, seconds first.

Source: the syntax of the NCrontab library that the Functions host uses. The host refuses a bad
schedule only by not starting the timer, so it is said here, with the other settings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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


def schedule_problem(schedule: str) -> str | None:
    """Say what is wrong with a schedule and what to write, or None where nothing is."""
    if "%" in schedule:
        return f"{schedule!r} names another setting; write the six fields themselves, like '0 */15 * * * *'"
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        return (
            f"{schedule!r} has {len(fields)} fields; write six, second minute hour day month weekday, "
            "like '0 */15 * * * *'"
        )
    for written, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        if not all(_is_item(item, least, most, names) for item in written.split(",")):
            return (
                f"{schedule!r}: {written!r} is no {name}; write * or {least} to {most}, or a list, "
                "range or step of them"
            )
    return None


def _is_item(item: str, least: int, most: int, names: Sequence[str]) -> bool:
    match = _ITEM.fullmatch(item)
    if match is None or (match["step"] is not None and int(match["step"]) == 0):
        return False
    first, last = (_number(match[end], names) for end in ("first", "last"))
    if match["first"] is None:
        return True
    if first is None or (match["last"] is not None and last is None):
        return False
    return least <= first <= (first if last is None else last) <= most


def _number(text: str | None, names: Sequence[str]) -> int | None:
    if text is None or text.isdigit():
        return None if text is None else int(text)
    # Months are counted from 1, weekdays from 0.
    first = 1 if names is _MONTHS else 0
    return next((at for at, name in enumerate(names, first) if text.lower() == name), None)
