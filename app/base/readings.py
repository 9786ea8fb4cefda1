"""A reading, and what it is on its way: the slice, the question, the answer, the event. Frozen, no effects.

A position always means the exclusive end of what is done. All instants are timezone-aware UTC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from app.base.instants import EPOCH, HOUR, LATEST, hour_of
from app.base.packed_ids import packed

# What the last instant of an hour lies behind its first; the hour after may lie beyond the year 9999.
_WITHIN_AN_HOUR = HOUR - timedelta.resolution

JsonObject = Mapping[str, Any]

# Ids by the hour under which they are remembered.
Ids = Mapping[datetime, Set[str]]


@dataclass(frozen=True, slots=True)
class Slice:
    """A half-open UTC window `[start, end)` of one feed at one location."""

    start: datetime
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def covers(self, other: Slice) -> bool:
        return self.start <= other.start and other.end <= self.end


@dataclass(frozen=True, slots=True)
class DashboardQuery:
    """One question to a dashboard view.

    `window` is half-open; the API's ends are inclusive, so its end is asked less a millisecond.
    `parameters` are the view's other placeholders, texts as they go on the wire before encoding.
    """

    view_id: str
    rec_type: str
    data_context: tuple[str, ...]
    loc1: str
    window: Slice
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DashboardAnswer:
    """A complete answer, all pages in the order they came; what stands among the objects may be none."""

    objs: tuple[Any, ...]
    warnings: tuple[str, ...] = ()


def line_entries(obj: Any) -> list[Any] | None:
    """Give the line entries of an object of an answer; None where it has no list of them."""
    data = obj.get("data") if isinstance(obj, Mapping) else None
    lines = data.get("line") if isinstance(data, Mapping) else None
    return lines if isinstance(lines, list) else None


# Of readings, and of events, a run makes thousands: frozen dataclasses take three times as long to make.
class Reading(NamedTuple):
    """One line entry of an answer.

    `data` is the object that held the entry, as it came; `time` is None and `flaw` says
    why where the entry cannot be forwarded: it goes to quarantine.
    """

    id: str
    time: datetime | None
    tags: tuple[str, ...]
    entry: Any
    data: JsonObject
    flaw: str | None = None


class Event(NamedTuple):
    """What goes to a hub: a JSON body with the readings it stands for.

    `properties` are the AMQP application properties; the partition key is made of `location`. `feed` is
    the name of its feed.
    """

    message_id: str
    location: str
    body: bytes
    properties: Mapping[str, str | int | bool]
    readings: tuple[Reading, ...]
    feed: str = ""


@dataclass(frozen=True, slots=True)
class QuarantinedReading:
    """A reading that hubs cannot take, in full: `text` is its JSON with what held it, flaws named in it."""

    feed: str
    location: str
    hubs: Sequence[str]
    id: str
    reason: str
    at: datetime
    text: bytes = field(repr=False)


def ids_by_hour(found: Iterable[tuple[datetime, str]]) -> Ids:
    """Gather ids, each with an instant, by the hours that these lie in."""
    ids: defaultdict[datetime, set[str]] = defaultdict(set)
    # Nearly all come in the order of their times: the hour is that of the one before.
    first, last, together = LATEST, EPOCH, set[str]()
    for instant, reading_id in found:
        if not first <= instant <= last:
            first = hour_of(instant)
            last = first + _WITHIN_AN_HOUR
            together = ids[first]
        together.add(reading_id)
    return {hour: packed(together) for hour, together in ids.items()}


def key_of(reading_id: str) -> str:
    """Give the half of an id that tells the reading, whatever its content."""
    return reading_id[: len(reading_id) // 2]
