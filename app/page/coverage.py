"""Coverage by location and hour: what was published, what every hub has, what is usual. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.base.instants import DAY, HOUR, MILLISECOND, floor_to
from app.base.readings import Slice
from app.page.comparison import Comparison, Hour, total
from app.page.timeline import starts

# What a column of the heatmap may span; the narrowest is taken that keeps it within the limits below.
STEPS = (HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 7 * DAY, 28 * DAY)
# A week of hours; what a browser lays out at once, and a mail takes (some 2 MB); more rows nobody reads.
MOST_COLUMNS = 168
MOST_CELLS = 7_000
MOST_ROWS = 200

# How a cell can be, the worst last; each with a mark that tells it apart without its colour.
STATES = {
    "complete": "",
    "fewer": "-",
    "silent": "·",
    "waiting": "→",
    "excused": "×",
    "differs": "≠",
    "missing": "!",
}
MEANINGS = {
    "complete": "published as usual, at every hub",
    "fewer": "clearly fewer published than usual, at every hub",
    "silent": "nothing published",
    "waiting": "a run still brings some",
    "excused": "from before a hub's start, or gone by its retention",
    "differs": "other content, more than once, or not published",
    "missing": "missing at a hub",
}
_WORST = list(STATES)
# Up to how many columns every which one is labelled.
_LABELS = ((31, 1), (72, 2), (MOST_COLUMNS, 6), (math.inf, 12))
# The share of the usual from which on it is as usual: counts of an hour vary a little.
_AS_USUAL = 0.8
# A number takes the mark's place where the cell is wide enough for it.
_LARGEST_MARK = 99

# A location's counts by hour and hub key.
_Hours = Mapping[datetime, Mapping[str, Hour]]


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """A column of the heatmap, a window of time. Not every one is `labelled`, for want of room."""

    window: Slice
    label: str
    labelled: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """A location in a column: one of STATES, what is written in it, and all of it in words."""

    state: str
    mark: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """A location. `delivered` is what the hub with the fewest has; `usual` what its cadence would give.

    That is the median of its hours with readings, for every hour of the window.
    """

    location: str
    published: int
    delivered: int
    usual: int
    state: str
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Rows by location, columns by time. `groups` are heads over columns: a label, and how many.

    `left_out` counts the locations that did not fit: none of them is worse than those shown.
    """

    step: timedelta
    columns: Sequence[TimeColumn]
    groups: Sequence[tuple[str, int]]
    rows: Sequence[Row]
    left_out: int = 0

    @property
    def states(self) -> list[str]:
        """The states that occur, for the legend."""
        found = {cell.state for row in self.rows for cell in row.cells}
        return [state for state in STATES if state in found]


def heatmap(
    compared: Mapping[str, Comparison], names: Mapping[str, str], window: Slice, locations: Sequence[str]
) -> Heatmap | None:
    """Lay out what hubs have, by key; None where no hub was compared, or no location is known.

    A column spans an hour, or more where the window is long or the locations are many.
    """
    if not compared or not locations:
        return None
    names = {key: names[key] for key in compared}
    by_location = _by_location(compared)
    columns = _columns_for(window, min(len(locations), MOST_ROWS))
    rows = [_row(name, by_location.get(name, {}), columns, window, names) for name in locations]
    if len(rows) > MOST_ROWS:
        rows.sort(key=lambda row: (-_WORST.index(row.state), row.location))
    return Heatmap(
        step=_length(columns[0].window),
        columns=columns,
        groups=_groups(columns),
        rows=rows[:MOST_ROWS],
        left_out=max(0, len(rows) - MOST_ROWS),
    )


def usual_an_hour(published: Iterable[int]) -> int:
    """Give what a location publishes in an hour by its cadence: the median of the hours with readings."""
    return statistics.median_high([count for count in published if count] or [0])


def _by_location(compared: Mapping[str, Comparison]) -> dict[str, _Hours]:
    found: dict[str, dict[datetime, dict[str, Hour]]] = {}
    for key, hub in compared.items():
        for (location, at), hour in hub.hours.items():
            found.setdefault(location, {}).setdefault(at, {})[key] = hour
    return {**found}


# --- columns ----------------------------------------------------------------------------------------


def _columns_for(window: Slice, rows: int) -> list[TimeColumn]:
    """Cut the window into the narrowest columns that leave the heatmap bounded."""
    columns: list[TimeColumn] = []
    for step in STEPS:
        columns = [
            TimeColumn(Slice(start, start + step), f"{start:%H}" if step < DAY else str(start.day))
            for start in starts(window, step)
        ]
        if len(columns) <= MOST_COLUMNS and len(columns) * rows <= MOST_CELLS:
            break
    return [replace(column, labelled=_is_labelled(column, len(columns))) for column in columns]


def _is_labelled(column: TimeColumn, columns: int) -> bool:
    start, step = column.window.start, _length(column.window)
    apart = step * next(every for most, every in _LABELS if columns <= most)
    if step >= DAY:
        return (start.day - 1) % (apart // DAY) == 0 or columns <= _LABELS[0][0]
    return floor_to(start, min(DAY, apart)) == start


def _groups(columns: Sequence[TimeColumn]) -> list[tuple[str, int]]:
    """Name days over hours, months over days."""
    groups: list[tuple[str, int]] = []
    for column in columns:
        start = column.window.start
        within_a_day = _length(column.window) < DAY
        label = f"{start:%a} {start.day} {start:%b}" if within_a_day else f"{start:%B %Y}"
        if groups and groups[-1][0] == label:
            groups[-1] = (label, groups[-1][1] + 1)
        else:
            groups.append((label, 1))
    return groups


def _length(window: Slice) -> timedelta:
    return window.end - window.start


def _whole_hours(span: Slice, window: Slice) -> int:
    """Count the hours of `span` that lie in the window as a whole."""
    first = max(span.start, floor_to(window.start + HOUR - MILLISECOND, HOUR))
    return max(0, (min(span.end, floor_to(window.end, HOUR)) - first) // HOUR)


# --- rows -------------------------------------------------------------------------------------------


def _row(
    location: str, hours: _Hours, columns: Sequence[TimeColumn], window: Slice, names: Mapping[str, str]
) -> Row:
    usual = usual_an_hour(_published(hubs.values()) for hubs in hours.values())
    start, step = columns[0].window.start, _length(columns[0].window)
    inside: list[list[Mapping[str, Hour]]] = [[] for _ in columns]
    for at, hubs in hours.items():
        if columns[0].window.start <= at < columns[-1].window.end:
            inside[(at - start) // step].append(hubs)
    cells = [
        _cell(_by_hub(held, names), usual * _whole_hours(column.window, window), names)
        for column, held in zip(columns, inside, strict=True)
    ]
    whole = _by_hub(hours.values(), names)
    return Row(
        location,
        published=_published(whole.values()),
        delivered=min(hour.delivered for hour in whole.values()),
        usual=round(usual * (_length(window) / HOUR)),
        state=max((cell.state for cell in cells), key=_WORST.index),
        cells=cells,
    )


def _by_hub(held: Iterable[Mapping[str, Hour]], names: Iterable[str]) -> dict[str, Hour]:
    kept = list(held)
    return {key: total(hubs[key] for hubs in kept if key in hubs) for key in names}


def _published(hubs: Iterable[Hour]) -> int:
    """Give what the source showed: it is asked for each hub, and what came between counts."""
    return max((hour.published for hour in hubs), default=0)


def _cell(hubs: Mapping[str, Hour], usual: int, names: Mapping[str, str]) -> Cell:
    """Judge one cell; `usual` is what its whole hours usually bring."""
    published = _published(hubs.values())
    state, number = "complete" if published >= usual * _AS_USUAL else "fewer", 0
    if not published:
        state = "silent"
    said = f"{published:,} published" if published else "nothing published"
    if published < usual:
        said += f", usually {usual:,}"
    wanting = []
    for key, hour in hubs.items():
        found = _wanting(hour)
        if not found:
            continue
        wanting.append(f"{names[key]} " + ", ".join(text for _, _, text in found))
        of_hub, of_hub_number, _ = found[0]
        if _WORST.index(of_hub) > _WORST.index(state):
            state, number = of_hub, of_hub_number
    if published and not wanting:
        wanting.append("at every hub")
    mark = f"{number}" if 0 < number <= _LARGEST_MARK else STATES[state]
    return Cell(state, mark, "; ".join((said, *wanting)))


def _wanting(hour: Hour) -> list[tuple[str, int, str]]:
    """Give what is not as it should be at one hub, the worst first: a state, how many, and the words."""
    headings = (
        ("missing", hour.missing, "lacks {:,}"),
        ("differs", hour.changed, "has {:,} with other content"),
        ("differs", hour.repeated, "has {:,} more than once"),
        ("differs", hour.unknown, "has {:,} that the source does not show"),
        ("excused", hour.excused, "does not hold {:,} from before its start or retention"),
        ("waiting", hour.waiting, "has yet to get {:,}"),
    )
    return [(state, number, words.format(number)) for state, number, words in headings if number]
