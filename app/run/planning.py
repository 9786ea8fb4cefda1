"""From checkpoints and the horizon to slices. Pure: no clock, no effect.

A steady run reads one slice from the read floor to the horizon. What is further
behind is read in slices of at most a day that end on a fixed UTC grid, so that
hubs at different positions meet again and become one group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.base.checkpoints import Checkpoint
from app.base.clocks import DATE_RESOLUTION
from app.base.instants import DAY, HOUR, MILLISECOND, floor_to
from app.base.readings import Slice
from app.settings.schema import FeedSettings

# The sizes of catch-up slices. Each divides a day, so that ends meet whatever the size was before.
_GRID = [
    *(timedelta(hours=hours) for hours in (24, 12, 8, 6, 4, 3, 2, 1)),
    *(timedelta(minutes=minutes) for minutes in (30, 15, 5, 1)),
    *(timedelta(seconds=seconds) for seconds in (15, 5, 1)),
]
# Shares of the view's record limit: what a steady slice may hold, and what a catch-up slice aims at. A
# rate was seen in other hours, and buildings have busy ones: a cut answer costs more than a further slice.
_STEADY_SHARE = 0.8
_CATCH_UP_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the slices of a feed: how far to read again, how long, how many records a view gives."""

    look_back: timedelta
    slice_length: timedelta
    record_limit: int

    @classmethod
    def of(cls, feed: FeedSettings) -> Limits:
        return cls(feed.look_back, feed.slice_length, feed.record_limit)

    @property
    def reach(self) -> timedelta:
        return reach(self.look_back)


def reach(look_back: timedelta) -> timedelta:
    """Give how far before a position readings can still be read again, so how long ids are kept.

    A silence of the source that is no longer costs nothing.
    """
    return max(DAY, look_back)


@dataclass(frozen=True, slots=True)
class Group:
    """Hubs of a location that have the same of it, and are to go on from the same `cursor`."""

    location: str
    hubs: tuple[str, ...]
    checkpoint: Checkpoint
    cursor: datetime


def read_floor(checkpoint: Checkpoint, limits: Limits) -> datetime:
    """Give where a run begins to read for a hub.

    The look-back before the lesser of its position and the newest reading it has, so that a
    source that fell silent is read from where it did; at most a day (or the look-back, where it
    is longer) before the position, and never before `known_from`. The newest reading is each
    hub's own: one that was down when a silent source spoke again has yet to get what came then.
    """
    furthest = checkpoint.delivered_until - limits.reach
    if checkpoint.newest is None:
        floor = furthest
    else:
        spoken = min(checkpoint.delivered_until, checkpoint.newest)
        floor = max(spoken - limits.look_back, furthest)
    return max(floor, checkpoint.known_from)


def plan_slice(group: Group, horizon: datetime, limits: Limits) -> Slice | None:
    """Give the next slice of a group, or None where it has all up to the horizon.

    The slice begins at the group's cursor and never ends after the horizon. Where a position is ahead
    of it, for a clock was wrong once, or is now, nothing is asked until time has passed it; a second is
    as exact as a horizon is.
    """
    is_ahead = group.checkpoint.delivered_until > horizon + DATE_RESOLUTION
    if group.cursor >= horizon or is_ahead:
        return None
    if _is_steady(group, horizon, limits):
        return Slice(group.cursor, horizon)
    return Slice(group.cursor, min(_grid_end(group, limits), horizon))


def group_hubs(
    location: str, checkpoints: Mapping[str, Checkpoint], cursors: Mapping[str, datetime]
) -> list[Group]:
    """Put hubs with equal checkpoints and cursors together, in the order of their keys."""
    groups: list[Group] = []
    for hub in sorted(checkpoints):
        checkpoint, cursor = checkpoints[hub], cursors[hub]
        for at, group in enumerate(groups):
            if group.cursor == cursor and (group.checkpoint is checkpoint or group.checkpoint == checkpoint):
                groups[at] = Group(location, (*group.hubs, hub), checkpoint, cursor)
                break
        else:
            groups.append(Group(location, (hub,), checkpoint, cursor))
    return groups


def halve(window: Slice) -> Slice:
    """Give the first half of a window, cut to whole milliseconds and never shorter than one."""
    half = floor_to(window.start + (window.end - window.start) / 2, MILLISECOND)
    return Slice(window.start, max(half, window.start + MILLISECOND))


def slices_needed(window: Slice, rate: float | None, limits: Limits) -> int:
    """Give how many slices a window takes, about, at so many readings an hour (None: not known)."""
    longest = _longest(rate or 0.0, limits)
    step = next((step for step in _GRID if step <= longest), longest)
    return -(-(window.end - floor_to(window.start, step)) // step)


def _is_steady(group: Group, horizon: datetime, limits: Limits) -> bool:
    new = horizon - group.checkpoint.delivered_until
    if new > limits.slice_length:
        return False
    return _expected(group, horizon) <= limits.record_limit * _STEADY_SHARE


def _expected(group: Group, end: datetime) -> float:
    known = sum(len(ids) for hour, ids in group.checkpoint.ids.items() if hour + HOUR > group.cursor)
    new = end - max(group.cursor, group.checkpoint.delivered_until)
    return known + _rate(group.checkpoint.ids.values()) * (max(new, timedelta(0)) / HOUR)


def _grid_end(group: Group, limits: Limits) -> datetime:
    longest = _longest(_rate(group.checkpoint.ids.values()), limits)
    # One that only reads again moves no position: a run without time for a further one would leave it
    # where the next run begins alike, for ever.
    for least in (max(group.cursor, group.checkpoint.delivered_until), group.cursor):
        for step in _GRID:
            end = floor_to(least, step) + step
            if end - group.cursor <= longest:
                return end
    return group.cursor + max(longest, _GRID[-1])


def _longest(rate: float, limits: Limits) -> timedelta:
    """Give the longest slice of catching up, at so many readings an hour."""
    if not rate:
        return limits.slice_length
    return min(limits.slice_length, limits.record_limit * _CATCH_UP_SHARE / rate * HOUR)


def _rate(hours: Iterable[Sized]) -> float:
    """Give readings an hour, over the hours that had any: quiet ones say nothing of the busy ones to come."""
    counts = [count for ids in hours if (count := len(ids))]
    return sum(counts) / len(counts) if counts else 0.0
