"""Fetching a slice until its answer is complete, or is known not to become so. Effects only through `ask`.

A view without a limit of its own gives only the newest 999 records that match and
does not say so; an answer that large is taken for incomplete, and a shorter
window is asked: what is left of the slice is planned anew by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.errors import SourceUnavailable, WindowTooWide
from app.feeds.feed import count_lines
from app.instants import MILLISECOND, floor_to
from app.model import DashboardAnswer, Reading, Slice
from app.planning import halve

# Answers overlap by this much, in case a view cuts or rounds times; ids remove the overlap.
OVERLAP = timedelta(seconds=1)
# From this share of the record limit on, an answer may be cut.
_FULL_SHARE = 0.95
# A source that cannot answer for so little is not too slow but broken.
_SHORTEST_AFTER_TIMEOUT = timedelta(minutes=1)

Ask = Callable[[Slice], DashboardAnswer]
Read = Callable[[DashboardAnswer], Sequence[Reading]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came for `window`, which begins where the slice asked for begins and may end before it.

    `lines` counts the entries as they came, repeats included. `saturated` is the window of one
    millisecond whose answer is full and cannot be asked in smaller parts. `too_wide` says that the
    source could not answer for longer: what follows is better asked no wider.
    """

    window: Slice
    readings: Sequence[Reading]
    lines: int
    warnings: tuple[str, ...] = ()
    saturated: Slice | None = None
    too_wide: bool = False


def fetch_slice(ask: Ask, read: Read, window: Slice, earliest: datetime, record_limit: int) -> Fetched:
    """Ask for a slice, an overlap before it included, but nothing before `earliest`.

    Raises SourceError as `ask` does; SourceUnavailable where no window is short enough to be answered.
    """
    asked = Slice(max(window.start - OVERLAP, earliest), window.end)
    too_wide = False
    while True:
        try:
            answer = ask(asked)
        except WindowTooWide as error:
            asked = _shorter_after(error, asked, window)
            too_wide = True
            continue
        lines = count_lines(answer)
        readings = read(answer)
        full = lines >= record_limit * _FULL_SHARE
        if full and asked.end - asked.start > MILLISECOND:
            asked = _narrower(asked, window, readings)
            continue
        done = Slice(window.start, asked.end)
        return Fetched(done, readings, lines, answer.warnings, asked if full else None, too_wide)


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
