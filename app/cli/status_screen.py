"""The screen of `status`: a verdict for each feed, then as much of what is wrong as there is room for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.base.text import counted, dashed, label_of, span
from app.cli.output import hanging, text
from app.cli.tables import Column, table
from app.health.records import Condition, FeedHealth, HubHealth, Kind, Told, Trend
from app.run.report import is_note

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import RenderableType
    from rich.text import Text

# A verdict is read at a glance; what is wrong follows below it.
_LINES_OF_A_VERDICT = 2
# Of a table beside what is wrong; and of one trouble, whose commands must stay whole.
_HUBS_AT_MOST = 4
_CHARACTERS = 240
# One line stays for what the shell writes next.
_PROMPT = 1

_STYLES = {
    Condition.HEALTHY: "green",
    Condition.BEHIND: "yellow",
    Condition.FAILING: "bold red",
    Condition.STOPPED: "bold red",
    Condition.UNKNOWN: "bold red",
    Condition.NEVER_RAN: "yellow",
    Condition.OFF: "dim",
    Condition.PAUSED: "dim",
    Condition.REMOVED: "dim",
    Condition.GONE: "dim",
}
_WORST_FIRST = (Condition.FAILING, Condition.BEHIND, Condition.HEALTHY, Condition.PAUSED, Condition.REMOVED)
# What says of itself what it is about, or is of the whole feed; the others are named by their kind.
_SAY_WHAT_THEY_ARE = (Kind.STATE, Kind.STOPPED, Kind.RUN, Kind.HUB, Kind.LOCATION, Kind.BEHIND)
_HUB_COLUMNS = [
    Column("hub", key=True),
    Column("is"),
    Column("behind", number=True),
    Column("done until (UTC)"),
    Column("last success", whole=True),
]
_ALL_HUB_COLUMNS = [*_HUB_COLUMNS, Column("readings", number=True)]
_LOCATION_COLUMNS = [Column("location", key=True), Column("at hub", key=True), *_HUB_COLUMNS[1:4]]


@dataclass(frozen=True, slots=True)
class Room:
    """The columns and lines there are, and `lines_of`, which says how many of these parts take."""

    columns: int
    lines: int
    lines_of: Callable[[Iterable[RenderableType]], int]


@dataclass(frozen=True, slots=True)
class _Block:
    """Parts of the feed `at` that are shown together or not at all: the lower the `rank`, the sooner.

    `of` says what is left out where they are not. `below` is shown with them, and takes no room: who
    wants it has asked for more than a screen.
    """

    at: int
    rank: int
    parts: Sequence[RenderableType]
    of: str = ""
    below: Sequence[RenderableType] = ()


def brief(found: Sequence[FeedHealth]) -> Iterator[str]:
    """Give a line a feed."""
    return map(_verdict_said, found)


def screen(found: Sequence[FeedHealth], room: Room, *, verbose: bool) -> Iterator[RenderableType]:
    """Give a verdict for each feed, and of what is wrong the worst that the room has lines for.

    With `verbose` the whole errors stand below what is shown of them, beyond the room.
    """
    verdicts = _verdicts(found, room)
    yield from verdicts
    whole = [said.plain == _verdict_said(feed) for said, feed in zip(verdicts, found, strict=True)]
    blocks = [
        block
        for at, feed in enumerate(found)
        for block in _blocks(at, feed, verbose=verbose, has_whole_verdict=whole[at])
    ]
    # The last line says what was left out.
    shown = _fitting(blocks, room.lines - _PROMPT - room.lines_of(verdicts) - 1, room)
    for number, block in enumerate(blocks):
        if number in shown:
            yield from (*block.parts, *block.below)
    more = _left_out([block for number, block in enumerate(blocks) if number not in shown], found)
    if more:
        yield _one_line(f"more: {more}; --all shows all, --verbose whole errors", "dim", room)


def whole(found: Sequence[FeedHealth], *, verbose: bool) -> Iterator[RenderableType]:
    """Give all there is: verdicts, then of each feed what is wrong, hubs, locations, and the last day."""
    for feed in found:
        yield text(_verdict_said(feed), _STYLES[feed.verdict])
    for feed in found:
        if feed.verdict is Condition.OFF:
            continue
        yield from ("", _head(feed))
        for told in feed.told:
            yield from (*_told(told, in_verdict=_is_said_by(feed, told)), *_technical(told, verbose=verbose))
        yield from _notes(feed)
        if feed.locations:
            yield from ("", table(_ALL_HUB_COLUMNS, _hub_rows(feed, feed.hubs.values(), readings=True)))
            yield from ("", table(_LOCATION_COLUMNS, _location_rows(feed)))
        if feed.trend:
            yield ""
            yield from (text(line, "dim") for line in _trend(feed, feed.trend))


# --- what there is room for -------------------------------------------------------------------------


def _blocks(at: int, found: FeedHealth, *, verbose: bool, has_whole_verdict: bool) -> Iterator[_Block]:
    """Give what can be shown of a feed, in the order in which it stands on the screen."""
    if found.verdict is not Condition.OFF:
        yield _Block(at, 0, ["", _head(found)])
    for number, told in enumerate(found.told):
        rank = (1 if told.grave else 200) + number
        parts = [*_told(told, in_verdict=has_whole_verdict and _is_said_by(found, told))]
        yield _Block(at, rank, parts, "trouble", [*_technical(told, verbose=verbose)])
    for note in _notes(found):
        yield _Block(at, 150, [note], "note")
    if found.locations:
        yield _Block(at, 100, [table(_HUB_COLUMNS, _hub_rows(found, _hubs_shown(found)))], "hub")
    if found.trend:
        yield _Block(at, 300, [text(next(_trend(found, found.trend)), "dim")])


def _hubs_shown(found: FeedHealth) -> Sequence[HubHealth]:
    hubs = sorted(found.hubs.values(), key=lambda hub: _WORST_FIRST.index(hub.verdict))
    return hubs if len(hubs) <= _HUBS_AT_MOST + 1 else hubs[:_HUBS_AT_MOST]


def _fitting(blocks: Sequence[_Block], lines: int, room: Room) -> set[int]:
    """Give which blocks fit. No trouble is shown in place of a worse one of its feed that does not."""
    chosen, full = set(), set()
    for number, block in sorted(enumerate(blocks), key=lambda each: each[1].rank):
        takes = room.lines_of(block.parts)
        if takes <= lines and (block.at, block.of) not in full:
            chosen.add(number)
            lines -= takes
        elif block.of == "trouble":
            full.add((block.at, block.of))
    return chosen


def _left_out(blocks: Sequence[_Block], found: Sequence[FeedHealth]) -> str:
    """Count what is not shown; feeds have the same hubs."""
    troubles = sum(block.of == "trouble" for block in blocks)
    without_table = {block.at for block in blocks if block.of == "hub"}
    hubs = max(
        len(feed.hubs) - (0 if at in without_table else len(_hubs_shown(feed)))
        for at, feed in enumerate(found)
    )
    return ", ".join(counted(count, noun) for count, noun in ((troubles, "trouble"), (hubs, "hub")) if count)


def _verdicts(found: Sequence[FeedHealth], room: Room) -> list[Text]:
    """Give the verdicts in whole, a long one cut; of many feeds only their beginnings."""
    most = _LINES_OF_A_VERDICT * room.columns - room.columns // 8
    verdicts: list[Text] = []
    for feed in found:
        said = text(_verdict_said(feed), _STYLES[feed.verdict])
        said.truncate(most, overflow="ellipsis")
        verdicts.append(said)
    if room.lines_of(verdicts) <= room.lines // 2:
        return verdicts
    return [_one_line(_verdict_said(feed), _STYLES[feed.verdict], room) for feed in found]


def _one_line(content: str, style: str, room: Room) -> Text:
    made = text(content, style)
    made.truncate(room.columns, overflow="ellipsis")
    return made


# --- parts ------------------------------------------------------------------------------------------


def _verdict_said(found: FeedHealth) -> str:
    return f"{dashed(found.feed)}: {found.verdict}: {found.said}"


def _head(found: FeedHealth) -> RenderableType:
    return text(f"{dashed(found.feed)}: {_runs(found)}" if found.is_known else dashed(found.feed), "dim")


def _runs(found: FeedHealth) -> str:
    runs = found.runs
    said = "no run has ended yet"
    if runs.ended is not None:
        ago = f"{span(found.at - runs.ended)} ago"
        failed = any(trouble.kind is Kind.RUN for trouble in found.troubles)
        is_ok = (found.last_run or {}).get("ok", True) and not failed
        said = f"last run {ago}{'' if is_ok else ', with failures'}"
        if found.interrupted:
            said = f"last run interrupted {ago}, the next goes on"
    if runs.next_due is None:
        return f"{said}; its schedule never fires"
    return f"{said}; next due in {span(runs.next_due - found.at)}"


def _is_said_by(found: FeedHealth, told: Told) -> bool:
    """Whether the verdict of a feed says what it is told here."""
    return found.said.startswith(told.said)


def _told(told: Told, *, in_verdict: bool) -> Iterator[RenderableType]:
    """Give what is wrong, and what to do; that alone where the verdict has said the first."""
    kind = "noticed" if told.kind is Kind.DRIFT else told.kind
    style = "bold red" if told.grave else "yellow"
    said = told.said if told.kind in _SAY_WHAT_THEY_ARE else f"{kind}: {told.said}"
    if not in_verdict:
        yield hanging("-", _cut(said), style=style)
    if told.do:
        do = f"{label_of(told.do)}: {_cut(told.do)}"
        yield hanging("-", do, style=style) if in_verdict else hanging(" ", do)


def _technical(told: Told, *, verbose: bool) -> Iterator[RenderableType]:
    if verbose:
        yield from (hanging(" ", each) for each in told.technical)


def _notes(found: FeedHealth) -> Iterator[RenderableType]:
    yield from (hanging("-", f"note: {_cut(warning)}") for warning in found.warnings if is_note(warning))


def _cut(said: str) -> str:
    return said if len(said) <= _CHARACTERS else f"{said[:_CHARACTERS]}…"


def _hub_rows(
    found: FeedHealth, hubs: Iterable[HubHealth], *, readings: bool = False
) -> Iterator[list[object]]:
    for hub in hubs:
        where = hub.failing or hub.behind
        is_well = hub.verdict not in (Condition.FAILING, Condition.BEHIND)
        how = hub.verdict if is_well else f"{hub.verdict} at {where:,} of {hub.locations:,}"
        yield [
            hub.name,
            text(how, _STYLES[hub.verdict]),
            span(hub.lag),
            hub.position,
            _ago(hub.record.last_success, found),
            *([hub.record.readings] if readings else []),
        ]


def _location_rows(found: FeedHealth) -> list[list[object]]:
    rows: list[list[object]] = []
    for location in found.locations:
        name = location.name + ("" if location.asked else " (gone)")
        if not location.hubs:
            how = text(location.verdict, _STYLES[location.verdict])
            rows.append([name, "-", how, span(location.lag), None])
        for key, hub in location.hubs.items():
            how = text(hub.condition, _STYLES[hub.condition])
            rows.append([name, found.hubs[key].name, how, span(hub.lag), hub.position])
    return rows


def _trend(found: FeedHealth, trend: Trend) -> Iterator[str]:
    """Give what the last day brought: its runs first, which stand alone."""
    names = {key: hub.name for key, hub in found.hubs.items()}
    before = trend.readings_before or {}
    yield f"last 24 h: {counted(trend.runs, 'run')}, {trend.failed:,} failed, {trend.missed:,} missed"
    readings = ", ".join(
        f"{names.get(key, key)} {count:,}" + (f" ({before[key]:,} the day before)" if key in before else "")
        for key, count in trend.readings.items()
    )
    if readings:
        yield f"readings: {readings}"
    if trend.changed:
        yield f"{counted(trend.changed, 'reading')} changed at the source after delivery, see `report`"
    compared, per_day = trend.compared, trend.per_day
    if compared:
        where = f"{counted(compared.hours, 'hour')} of {counted(compared.locations, 'location')}"
        yield f"compared with the source: {where}; {compared.differ:,} differ"
    if per_day:
        hubs = ", ".join(
            f"{names.get(key, key)} {counted(hub['events'], 'event')}, {hub['bytes'] / 1e6:,.1f} MB, "
            f"{_share(hub['unit_share'])} of a throughput unit"
            for key, hub in per_day["hubs"].items()
        )
        yield f"a day at the mean of these runs: {counted(per_day['api_calls'], 'API call')}; {hubs}"


def _share(part: float) -> str:
    return f"{part:.1%}" if part >= 0.001 or part == 0 else "under 0.1%"


def _ago(instant: datetime | None, found: FeedHealth) -> str:
    return "-" if instant is None else f"{span(found.at - instant)} ago"
