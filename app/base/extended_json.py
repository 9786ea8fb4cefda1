"""Numbers and instants as others write them in JSON, MongoDB's extended form included. Pure.

A number that is written in a few characters can be too long for anybody to write it out: 1e1000000
has a million digits. None of those that are read here is so large, and what is larger is no number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from app.base.instants import EPOCH, parse_time

# Over any count, any length in seconds, and any instant in milliseconds.
_MOST_DIGITS = 18
_WRITTEN = re.compile(rf"-?[0-9]{{1,{_MOST_DIGITS}}}(\.[0-9]{{1,{_MOST_DIGITS}}})?")
# https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/
_NUMBERS = ("$numberLong", "$numberInt", "$numberDouble", "$numberDecimal")
_DATE = "$date"


def number(found: Any) -> int | Decimal | None:
    """Give a number of at most 18 digits before its point, a text that is one included; else None."""
    if isinstance(found, Mapping) and len(found) == 1:
        found = next((found[name] for name in _NUMBERS if name in found), None)
    if isinstance(found, bool):
        return None
    if isinstance(found, str):
        return Decimal(found) if _WRITTEN.fullmatch(found) else None
    if isinstance(found, int):
        return found if abs(found) < 10**_MOST_DIGITS else None
    if isinstance(found, Decimal) and found.is_finite() and found.adjusted() < _MOST_DIGITS:
        return found
    return None


def whole_number(found: Any) -> int | None:
    """Give a whole number as `number` reads it, whatever way it is written (`2`, `2.0`, `"2"`); else None."""
    read = number(found)
    if read is None or (isinstance(read, Decimal) and read != read.to_integral_value()):
        return None
    return int(read)


def instant(found: Any) -> datetime:
    """Read an ISO time, or milliseconds since 1970, whole or not; `$date` before either says the same.

    Raises ValueError where it is neither, or beyond the years 1 to 9999.
    """
    # Nearly all are texts, and to ask whether one is a mapping takes longer.
    if not isinstance(found, str) and isinstance(found, Mapping) and _DATE in found:
        found = found[_DATE]
    if isinstance(found, str):
        return parse_time(found)
    milliseconds = number(found)
    if milliseconds is None:
        raise ValueError("neither an ISO time nor milliseconds since 1970")
    try:
        return EPOCH + timedelta(microseconds=int(milliseconds * 1000))
    except OverflowError:
        raise ValueError("beyond the year 9999") from None
