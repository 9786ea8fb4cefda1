"""Runs over time: what each hub got, how far behind it was, when there was no run. Pure.

Charts are bars whose places are shares of the chart: the template draws them at any width.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from app.base.instants import DAY, HOUR, MINUTE, floor_to
from app.base.readings import Slice
from app.base.text import counted, minute, span
from app.health.past_runs import PastRun

_STEPS = (
    *(minutes * MINUTE for minutes in (1, 5, 10, 15, 30)),
    *(hours * HOUR for hours in (1, 2, 3, 6, 12)),
    *(days * DAY for days in (1, 2, 7, 14, 28)),
)
# A day of quarter hours; and as many labels as stand side by side on a phone.
_MOST_BARS = 96
_MOST_TICKS = 6
# Runs are missed where the next one takes this many times as long as usual to come.
_LATE = 2.5
# What the scale of a chart of seconds may end at.
_SPANS_S = (60, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600)


@dataclass(frozen=True, slots=True)
class Tick:
    """A time on the axis, `at` its share of the width in percent."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: where it begins and how wide it is in percent of the width, its share of the height."""

    at: float
    width: float
    height: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars over time. `top` is what the scale ends at; `failed` marks the runs in which a hub failed."""

    summary: str
    top: str
    bars: Sequence[Bar]
    failed: Sequence[Bar] = ()


@dataclass(frozen=True, slots=True)
class Sum:
    """What the runs of a stretch of time did for one hub; `behind_s` is the most, at a run's end."""

    runs: int = 0
    failed: int = 0
    readings: int = 0
    duplicates: int = 0
    behind_s: float | None = None
    delivered_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class HubLine:
    """One hub over time."""

    key: str
    total: Sum
    sums: Sequence[Sum]
    traffic: Chart
    lag: Chart


@dataclass(frozen=True, slots=True)
class Timeline:
    """All hubs over time, on one axis. `idle` are the stretches without a run."""

    step: timedelta
    starts: Sequence[datetime]
    ticks: Sequence[Tick]
    idle: Sequence[Slice]
    idle_bars: Sequence[Bar]
    hubs: Sequence[HubLine]
    runs: int
    failed: int


def timeline(runs: Sequence[PastRun], hubs: Iterable[str], window: Slice) -> Timeline | None:
    """Lay the runs, which are in order, out over the window; None where there was none."""
    begun = [run.started for run in runs]
    if not begun:
        return None
    usual = _usual_interval(begun)
    step = _step_for(window, at_least=usual or timedelta(0), most=_MOST_BARS)
    begins = list(starts(window, step))
    axis = Slice(begins[0], begins[-1] + step)
    inside: list[list[PastRun]] = [[] for _ in begins]
    for run in runs:
        inside[(run.started - axis.start) // step].append(run)
    idle = list(_idle(begun, window, usual)) if usual else []
    return Timeline(
        step=step,
        starts=begins,
        ticks=_ticks(axis),
        idle=idle,
        idle_bars=[_band(found, axis) for found in idle],
        hubs=[_hub_line(key, inside, begins, axis) for key in hubs],
        runs=len(runs),
        failed=sum(not run.ok for run in runs),
    )


def _usual_interval(starts: Sequence[datetime]) -> timedelta | None:
    """Give the time from one run to the next, as a rule; None where too few tell."""
    apart = [after - before for before, after in pairwise(starts)]
    return statistics.median_low(apart) if len(apart) >= 3 else None


def _idle(starts: Sequence[datetime], window: Slice, usual: timedelta) -> Iterator[Slice]:
    """Give the stretches in which runs that were due did not come."""
    for before, after in pairwise((window.start, *starts, window.end)):
        if after - before > usual * _LATE:
            yield Slice(before, after)


# --- the axis ---------------------------------------------------------------------------------------


def _step_for(window: Slice, *, at_least: timedelta, most: int) -> timedelta:
    fitting = (
        step for step in _STEPS if step >= at_least * 0.9 and (window.end - window.start) / step <= most
    )
    return next(fitting, _STEPS[-1])


def starts(window: Slice, step: timedelta) -> Iterator[datetime]:
    """Give where the steps that cover a window begin: at multiples of theirs, or at a midnight."""
    start = floor_to(window.start, min(step, DAY))
    while start < window.end:
        yield start
        start += step


def _ticks(axis: Slice) -> list[Tick]:
    step = max(_step_for(axis, at_least=HOUR, most=_MOST_TICKS), HOUR)
    whole = [start for start in starts(axis, step) if start in axis]
    return [Tick(_share(start, axis), _tick_label(start, step)) for start in whole]


def _tick_label(instant: datetime, step: timedelta) -> str:
    day = f"{instant.day} {instant:%b}"
    return day if step >= DAY or instant == floor_to(instant, DAY) else f"{instant:%H:%M}"


def _share(instant: datetime, axis: Slice) -> float:
    return round(100 * ((instant - axis.start) / (axis.end - axis.start)), 3)


def _band(stretch: Slice, axis: Slice) -> Bar:
    at = _share(stretch.start, axis)
    text = f"no run from {minute(stretch.start)} to {minute(stretch.end)}"
    return Bar(at, round(_share(stretch.end, axis) - at, 3), 1.0, text)


# --- one hub ----------------------------------------------------------------------------------------


def _hub_line(
    key: str, inside: Sequence[Sequence[PastRun]], begins: Sequence[datetime], axis: Slice
) -> HubLine:
    sums = [_sum(key, runs) for runs in inside]
    total = _sum(key, [run for runs in inside for run in runs])
    most = max(found.readings for found in sums)
    longest_s = max((found.behind_s or 0.0 for found in sums), default=0.0)
    top, top_s = _round_up(most), _round_up_s(longest_s)
    width = round(100 / len(begins), 3)
    places = [(_share(start, axis), minute(start), found) for start, found in zip(begins, sums, strict=True)]
    traffic = Chart(
        summary=_traffic(total),
        top=counted(top, "reading"),
        bars=[
            Bar(at, width, round(found.readings / top, 4), f"{when}: {counted(found.readings, 'reading')}")
            for at, when, found in places
            if found.readings
        ],
        failed=[
            Bar(at, width, 1.0, f"{when}: failed in {found.failed:,} of {counted(found.runs, 'run')}")
            for at, when, found in places
            if found.failed
        ],
    )
    lag = Chart(
        summary=f"at most {span(longest_s)} behind at the end of a run" if total.runs else "no run",
        top=span(top_s),
        bars=[
            Bar(at, width, round(found.behind_s / top_s, 4), f"{when}: {span(found.behind_s)} behind")
            for at, when, found in places
            if found.behind_s
        ],
    )
    return HubLine(key, total, sums, traffic, lag)


def _traffic(total: Sum) -> str:
    said = f"{total.readings:,} in {counted(total.runs, 'run')}"
    return f"{said}; it failed in {total.failed:,}, marked below" if total.failed else said


def _sum(key: str, runs: Iterable[PastRun]) -> Sum:
    """Add up what runs did for the hub; a run of before it was configured says nothing of it."""
    said = [run.hubs[key] for run in runs if key in run.hubs]
    positions = [hub.delivered_until for hub in said if hub.delivered_until]
    return Sum(
        runs=len(said),
        failed=sum(hub.error is not None for hub in said),
        readings=sum(hub.readings for hub in said),
        duplicates=sum(hub.duplicates for hub in said),
        behind_s=max((hub.behind_s for hub in said if hub.behind_s is not None), default=None),
        delivered_until=positions[-1] if positions else None,
    )


def _round_up(count: int) -> int:
    """Give 1, 2 or 5 times a power of ten that is not less."""
    size = 1
    while size < count:
        for factor in (2, 5, 10):
            if size * factor >= count:
                return size * factor
        size *= 10
    return size


def _round_up_s(seconds: float) -> float:
    return next((found for found in _SPANS_S if found >= seconds), seconds)
