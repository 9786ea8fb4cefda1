"""Coverage by location and hour: what was published, what hubs have of it, what is usual. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.base.instants import DAY, HOUR, MILLISECOND, floor_to
from app.base.readings import Slice
from app.base.text import joined, minute, named
from app.page.comparison import Comparison, Hour, total
from app.page.timeline import starts

# What a column of the heatmap may span; the narrowest is taken that keeps it within the limits below.
STEPS = (HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 7 * DAY, 28 * DAY)
# A week of hours, and the one that its start cuts; what a browser lays out at once, and a mail takes (some
# 2 MB); more rows nobody reads.
MOST_COLUMNS = 169
MOST_CELLS = 7_000
MOST_ROWS = 200

# How a cell can be, the worst last; each with a mark that tells it apart without its colour.
STATES = {
    "complete": "",
    "fewer": "-",
    "unread": "/",
    "silent": "·",
    "waiting": "→",
    "excused": "×",
    "differs": "≠",
    "missing": "!",
}
_MEANINGS = {
    "complete": "published as usual, {where}",
    "fewer": "clearly fewer published than usual, {where}",
    "unread": "not compared: {unread}",
    "silent": "nothing published",
    "waiting": "some are still to come",
    "excused": "from before a hub's start, expired there, or dealt with",
    "differs": "other content, more than once, or not published",
    "missing": "missing at a hub",
}
_WORST = list(STATES)
# Up to how many columns every which one is labelled.
_LABELS = ((31, 1), (72, 2), (MOST_COLUMNS, 6), (math.inf, 12))
# The share of the usual from which on it is as usual: counts of an hour vary a little.
_AS_USUAL = 0.8
# A number takes the mark's place where the cell is wide enough for it, and it is something to act on.
_LARGEST_MARK = 99
_NUMBERED = frozenset({"waiting", "differs", "missing"})

# A location's counts by hour and hub key.
_Hours = Mapping[datetime, Mapping[str, Hour]]


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a comparison reached: which hubs and locations, and up to when the source was asked.

    `hubs` are the names of those that were compared, by key; `unread` says of others, by name, why they
    were not. Of `failed` locations the source gave nothing; `asked` is the window it was asked for.
    `all_hubs` says that there are no other hubs, `whole` that nothing else was to be compared.
    """

    hubs: Mapping[str, str]
    unread: Mapping[str, str]
    asked: Slice
    failed: Collection[str] = ()
    all_hubs: bool = True
    whole: bool = True

    @property
    def where(self) -> str:
        """Say at which hubs; at every one only where all were compared, with all locations."""
        if self.whole and len(self.hubs) > 1:
            return "at every hub"
        if self.all_hubs and len(self.hubs) > 2:
            return f"at all {len(self.hubs)} hubs"
        return f"at {joined([*self.hubs.values()])}"

    @property
    def unread_hubs(self) -> list[str]:
        return [f"{name} {why}" for name, why in self.unread.items()]


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
    """A location; `published` is None where the source could not be asked for it."""

    location: str
    published: int | None
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
    reach: Reach | None = None

    @property
    def legend(self) -> list[tuple[str, str, str]]:
        """The states that occur, each with its mark and what it means here."""
        found = {cell.state for row in self.rows for cell in row.cells}
        return [(state, mark, self._meaning(state)) for state, mark in STATES.items() if state in found]

    def _meaning(self, state: str) -> str:
        reach = self.reach
        if reach is None:
            return _MEANINGS[state]
        why = [*reach.unread_hubs]
        if reach.failed:
            why.append(f"the source could not be asked for {named(sorted(reach.failed))}")
        if reach.asked.end <= self.columns[-1].window.start:
            why.append(f"the source was asked up to {minute(reach.asked.end)}")
        return _MEANINGS[state].format(where=reach.where, unread=", ".join(why))


def heatmap(
    compared: Mapping[str, Comparison], reach: Reach, window: Slice, locations: Sequence[str]
) -> Heatmap | None:
    """Lay out what hubs have, by key; None where no hub was compared, or no location is known.

    A column spans an hour, or more where the window is long or the locations are many.
    """
    if not compared or not locations:
        return None
    by_location = _by_location(compared)
    columns = _columns_for(window, min(len(locations), MOST_ROWS))
    rows = [_row(name, by_location.get(name, {}), columns, reach) for name in locations]
    if len(rows) > MOST_ROWS:
        rows.sort(key=lambda row: (-_WORST.index(row.state), row.location))
    return Heatmap(
        step=_length(columns[0].window),
        columns=columns,
        groups=_groups(columns),
        rows=rows[:MOST_ROWS],
        left_out=max(0, len(rows) - MOST_ROWS),
        reach=reach,
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


def _row(location: str, hours: _Hours, columns: Sequence[TimeColumn], reach: Reach) -> Row:
    usual = usual_an_hour(_published(hubs.values()) for hubs in hours.values())
    start, step = columns[0].window.start, _length(columns[0].window)
    inside: list[list[Mapping[str, Hour]]] = [[] for _ in columns]
    for at, hubs in hours.items():
        if columns[0].window.start <= at < columns[-1].window.end:
            inside[(at - start) // step].append(hubs)
    why = "the source could not be asked for it" if location in reach.failed else ""
    cells = [
        _unread(why or _not_asked(column.window, reach))
        or _cell(_by_hub(held, reach.hubs), usual * _whole_hours(column.window, reach.asked), reach)
        for column, held in zip(columns, inside, strict=True)
    ]
    whole = _by_hub(hours.values(), reach.hubs)
    return Row(
        location,
        published=None if why else _published(whole.values()),
        state=max((cell.state for cell in cells), key=_WORST.index),
        cells=cells,
    )


def _not_asked(column: Slice, reach: Reach) -> str:
    """Say why nothing is known of a column: it lies outside of what the source was asked for."""
    inside = column.start < reach.asked.end and reach.asked.start < column.end
    return "" if inside else "the source was not asked for this time"


def _unread(why: str) -> Cell | None:
    return Cell("unread", STATES["unread"], f"not compared: {why}") if why else None


def _by_hub(held: Iterable[Mapping[str, Hour]], names: Iterable[str]) -> dict[str, Hour]:
    kept = list(held)
    return {key: total(hubs[key] for hubs in kept if key in hubs) for key in names}


def _published(hubs: Iterable[Hour]) -> int:
    """Give what the source showed: it is asked for each hub, and what came between counts."""
    return max((hour.published for hour in hubs), default=0)


def _cell(hubs: Mapping[str, Hour], usual: int, reach: Reach) -> Cell:
    """Judge one cell; `usual` is what its whole hours usually bring.

    A hub that was not compared may lack what others have; where nothing was published it lacks nothing.
    """
    published = _published(hubs.values())
    state, number = "complete" if published >= usual * _AS_USUAL else "fewer", 0
    if not published:
        state = "silent"
    elif reach.unread:
        state = "unread"
    said = f"{published:,} published" if published else "nothing published"
    if published < usual:
        said += f", usually {usual:,}"
    wanting = []
    for key, hour in hubs.items():
        found = _wanting(hour)
        if not found:
            continue
        wanting.append(f"{reach.hubs[key]} " + ", ".join(text for _, _, text in found))
        of_hub, of_hub_number, _ = found[0]
        if _WORST.index(of_hub) > _WORST.index(state):
            state, number = of_hub, of_hub_number
    if published and not wanting:
        wanting.append(reach.where)
    not_compared = [f"not compared: {', '.join(reach.unread_hubs)}"] if reach.unread else []
    is_numbered = state in _NUMBERED and 0 < number <= _LARGEST_MARK
    mark = f"{number}" if is_numbered else STATES[state]
    return Cell(state, mark, "; ".join((said, *wanting, *not_compared)))


def _wanting(hour: Hour) -> list[tuple[str, int, str]]:
    """Give what is not as it should be at one hub, the worst first: a state, how many, and the words."""
    headings = (
        ("missing", hour.missing, "lacks {:,}"),
        ("differs", hour.changed, "has {:,} with other content"),
        ("differs", hour.repeated, "has {:,} more than once"),
        ("differs", hour.unknown, "has {:,} that the source does not show"),
        ("excused", hour.expired, "may have held {:,} until its retention was over"),
        ("excused", hour.before_start, "lacks {:,} from before its start"),
        ("excused", hour.dealt_with, "lacks {:,} that were set aside, and dealt with"),
        ("waiting", hour.waiting, "has yet to get {:,}"),
    )
    return [(state, number, words.format(number)) for state, number, words in headings if number]
