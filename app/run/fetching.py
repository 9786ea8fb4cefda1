"""Fetching a slice until its answer is complete, or is known not to become so. Effects only through `ask`.

A view without a limit of its own gives only the newest 999 records that match and
does not say so; an answer that large is taken for incomplete, and a shorter
window is asked: what is left of the slice is planned anew by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from app.base.errors import SourceUnavailable, WindowTooWide
from app.base.instants import HOUR, MILLISECOND, MINUTE, floor_to
from app.base.readings import DashboardAnswer, Ids, Reading, Slice, key_of
from app.feeds.feed import count_lines, reading_order
from app.run.planning import halve

# Answers overlap by this much, in case a view cuts or rounds times; ids remove the overlap.
OVERLAP = timedelta(seconds=1)
# From this share of the record limit on, an answer may be cut.
_FULL_SHARE = 0.95
# A source that cannot answer for so little is not too slow but broken.
_SHORTEST_AFTER_TIMEOUT = MINUTE

Ask = Callable[[Slice], DashboardAnswer]
Read = Callable[[DashboardAnswer], Sequence[Reading]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came for `window`, which begins where the slice asked for begins and may end before it.

    `lines` counts the entries as they came, repeats included. `saturated` is the window of one
    millisecond whose answer is full and cannot be asked in smaller parts. `too_wide` says that the
    source could not answer for longer: what follows is better asked no wider. `absent` counts the
    readings that were had before and did not come back, though they were asked for twice.
    """

    window: Slice
    readings: Sequence[Reading]
    lines: int
    warnings: tuple[str, ...] = ()
    saturated: Slice | None = None
    too_wide: bool = False
    absent: int = 0


def fetch_slice(
    ask: Ask,
    read: Read,
    window: Slice,
    earliest: datetime,
    record_limit: int,
    had: Ids = MappingProxyType({}),
) -> Fetched:
    """Ask for a slice, an overlap before it included, but nothing before `earliest`.

    `had` are ids of readings that the source showed before; those of the hours that lie in the
    slice must come back, in whatever version. Where some do not, the answer is cut, or a cache's:
    it is asked for again in halves.

    Raises SourceError as `ask` does; SourceUnavailable where no window is short enough to be answered.
    """
    asked = Slice(max(window.start - OVERLAP, earliest), window.end)
    too_wide = False
    while True:
        try:
            answer = ask(asked)
            lines = count_lines(answer)
            readings = read(answer)
            full = lines >= record_limit * _FULL_SHARE
            if full and asked.end - asked.start > MILLISECOND:
                asked = _narrower(asked, window, readings)
                continue
            absent = frozenset() if full else _absent(readings, asked, had)
            halves = [ask(half) for half in _halves(asked)] if absent else []
        except WindowTooWide as error:
            asked = _shorter_after(error, asked, window)
            too_wide = True
            continue
        if any(count_lines(half) >= record_limit * _FULL_SHARE for half in halves):
            asked = _beginning_at(window.start, halve(asked), asked)
            continue
        if halves:
            lines = max(lines, sum(map(count_lines, halves)))
            readings = _renewed(readings, [reading for half in halves for reading in read(half)])
            absent = _absent(readings, asked, had)
        done = Slice(window.start, asked.end)
        saturated = asked if full else None
        return Fetched(done, readings, lines, answer.warnings, saturated, too_wide, len(absent))


def _absent(readings: Sequence[Reading], asked: Slice, had: Ids) -> frozenset[str]:
    """Name what should have come back, by the half of the id that tells the reading."""
    within = [ids for hour, ids in had.items() if asked.start <= hour and hour + HOUR <= asked.end]
    expected = {key_of(reading_id) for ids in within for reading_id in ids}
    return frozenset(expected - {key_of(reading.id) for reading in readings})


def _halves(asked: Slice) -> tuple[Slice, Slice]:
    first = halve(asked)
    return first, Slice(first.end, asked.end)


def _renewed(before: Sequence[Reading], after: Sequence[Reading]) -> list[Reading]:
    """Put what was shown `before` and `after` together, each reading once, in its later version."""
    later = {key_of(reading.id) for reading in after}
    found = {reading.id: reading for reading in before if key_of(reading.id) not in later}
    found |= {reading.id: reading for reading in after}
    return sorted(found.values(), key=reading_order)


def _shorter_after(error: WindowTooWide, asked: Slice, window: Slice) -> Slice:
    if asked.end - asked.start <= _SHORTEST_AFTER_TIMEOUT:
        raise SourceUnavailable(f"{error}; no shorter window is tried") from error
    return _beginning_at(window.start, halve(asked), asked)


def _narrower(asked: Slice, window: Slice, readings: Sequence[Reading]) -> Slice:
    times = {reading.time and floor_to(reading.time, MILLISECOND) for reading in readings}
    shared = times.pop() if len(times) == 1 else None
    if shared is None or shared not in asked:
        return _beginning_at(window.start, halve(asked), asked)
    # All of a full answer share one millisecond: ask what lies before it, then it alone, then the rest.
    if shared > max(asked.start, window.start):
        return replace(asked, end=shared)
    if shared < window.start:
        return replace(asked, start=window.start)
    return Slice(shared, shared + MILLISECOND)


def _beginning_at(start: datetime, half: Slice, asked: Slice) -> Slice:
    """Give up the overlap rather than the slice, where a half would end before the slice begins."""
    return half if half.end > start else Slice(start, asked.end)
