"""What readings hold, in a few words for people. Pure; entries may hold anything at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from app.base.grouping import by_key
from app.base.readings import Reading
from app.base.text import counted, cut_short, printable

# To write out what has an exponent of a million takes as many digits.
_LARGEST_ROUNDED = 10**12
# A line of a terminal has to hold it all.
_LONGEST = 24
_METRICS_AT_MOST = 3
_FIELDS_AT_MOST = 4
# What of an entry says which reading it is, not what was read.
_OF_ITSELF = frozenset({"time", "record", "recType", "category", "metric"})


def in_words(readings: Sequence[Reading]) -> str:
    """Say what readings hold: `in 3  out 2`; of an hour `4 readings  occupancy avg 10.75 to 19.75`."""
    if len(readings) == 1:
        return _of_one(readings[0].entry)
    return "  ".join([counted(len(readings), "reading"), *_of_several(readings)])


def _of_one(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return "an entry that is not an object"
    change = entry.get("change")
    if isinstance(change, Mapping) and "in" in change and "out" in change:
        return f"in {_value(change['in'])}  out {_value(change['out'])}"
    if (measured := _measured(entry)) is not None:
        metric, what, value = measured
        return f"{metric} {what} {_value(value)}"
    return "  ".join(_scalars(entry)) or "nothing that is a number or a text"


def _of_several(readings: Sequence[Reading]) -> Iterator[str]:
    """Give for each metric the least and the greatest of its averages."""
    found = [_measured(reading.entry) for reading in readings if isinstance(reading.entry, Mapping)]
    groups = by_key(((one[0], one[1]), one[2]) for one in found if one is not None)
    for (metric, what), values in list(groups.items())[:_METRICS_AT_MOST]:
        least, greatest = _value(min(values)), _value(max(values))
        yield f"{metric} {what} {least}" + (f" to {greatest}" if least != greatest else "")
    if len(groups) > _METRICS_AT_MOST:
        yield f"and {len(groups) - _METRICS_AT_MOST} metrics more"


def _measured(entry: Mapping[str, Any]) -> tuple[str, str, Any] | None:
    """Give an entry's metric, and what was measured in its first sub-document with an average."""
    averages = (value.get("avg") for value in entry.values() if isinstance(value, Mapping))
    average = next((value for value in averages if _is_number(value)), None)
    return None if average is None else (_text(entry.get("metric", "")), "avg", average)


def _scalars(entry: Mapping[str, Any]) -> list[str]:
    held = [
        f"{_text(name)} {_value(value)}"
        for name, value in entry.items()
        if name not in _OF_ITSELF and (_is_number(value) or isinstance(value, str | bool))
    ]
    return held[:_FIELDS_AT_MOST]


def _value(value: Any) -> str:
    if not _is_number(value) or not -_LARGEST_ROUNDED < value < _LARGEST_ROUNDED:
        return _text(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")


def _text(value: Any) -> str:
    written = cut_short(printable(str(value)), _LONGEST + 1)
    return written if len(written) <= _LONGEST else f"{written[:_LONGEST]}…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
