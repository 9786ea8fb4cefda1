"""`status`: is each feed healthy; what is behind, by how much, since when, why, and what to do."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from app.base.errors import StateError
from app.base.grouping import by_key
from app.base.instants import MILLISECOND, floor_to, read_duration, utc_now
from app.base.text import counted, dashed, minute, moment, named, span
from app.cli import COMMANDS
from app.cli.choices import find_feed
from app.cli.output import Output, hanging, text
from app.cli.session import ALL_WELL, FOUND_WANTING, begin, json_option
from app.cli.tables import Column, table
from app.feeds.feed import load_feed
from app.health.facts import HISTORY, Kept
from app.health.feed_health import judge, off, unreadable
from app.health.past_runs import past_runs
from app.health.records import Condition, FeedHealth, Kind, Trend, Trouble
from app.settings.schema import FeedSettings, Settings
from app.state.opening import open_store
from app.state.store import MendableStore

if TYPE_CHECKING:
    from rich.console import RenderableType

# Readings in quarantine are read whole, so they are counted up to here.
_COUNTED_AT_MOST = 100
# Of locations and of troubles, unless all are asked for; and of names and characters in one of them.
_SHOWN_AT_MOST = 10
_NAMED_AT_MOST = 4
_CHARACTERS = 300
# Positions change with runs, minutes apart; soon enough to watch one, and little work for the store.
_REFRESH_S = 5.0


class _Limits(click.ParamType[dict[str, timedelta]]):
    """A duration as in the settings, for all feeds, or FEED=DURATION."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, timedelta]:
        feed, _, written = str(value).rpartition("=")
        try:
            return {dashed(feed.lower()): read_duration(written)}
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("status", short_help=COMMANDS["status"])
@click.option(
    "--max-behind",
    "limits",
    metavar="[FEED=]DURATION",
    type=_Limits(),
    multiple=True,
    help="End with 1 where anything lags by more, like 35m; may be given for each feed.",
)
@click.option("--all", "everything", is_flag=True, help="Show every location, not only those in trouble.")
@click.option(
    "--watch",
    metavar="[SECONDS]",
    type=click.FloatRange(min=1),
    is_flag=False,
    flag_value=_REFRESH_S,
    help=f"Look again and again, every {_REFRESH_S:.0f} seconds unless told, until Ctrl-C.",
)
@json_option
def command(
    limits: Sequence[Mapping[str, timedelta]], everything: bool, watch: float | None, as_json: bool
) -> int:
    """Say of each feed whether it is healthy, what is behind or failing, since when, and what to do.

    Reads what is kept of the runs, also while one is under way, and changes nothing. Nothing is
    asked of Microshare or of hubs. A feed is behind where two runs that were due did not bring it on.

    Ends with 1 where the last run failed, a hub or location fails, runs have stopped, or the state
    cannot be read; with --max-behind also where a location lags by more at a hub that is on. Lag
    grows from one run to the next, so the limit should be two schedule periods and five minutes.

    \b
    python -m app status
    python -m app status --max-behind 35m --max-behind hourly-snapshot=125m
    python -m app status --watch
    """  # noqa: D301 - \b keeps click from filling the lines after it
    settings = begin(as_json=as_json)
    out = Output(as_json=as_json)
    if watch is not None and not as_json and not out.is_terminal:
        raise click.UsageError("--watch renews a terminal's screen, and there is none; add --json")
    store = open_store(settings.state)
    by_feed = {feed: limit for given in limits for feed, limit in given.items()}
    for feed in by_feed.keys() - {""}:
        find_feed(settings, feed)

    def look() -> list[FeedHealth]:
        return [
            _look(feed, settings, store, by_feed.get(dashed(feed.name), by_feed.get("")))
            for feed in settings.feeds.values()
        ]

    if watch is not None:
        with suppress(KeyboardInterrupt):
            _watch(look, watch, out, everything=everything)
        return ALL_WELL
    found = look()
    _tell(found, out, everything=everything)
    return ALL_WELL if all(feed.ok for feed in found) else FOUND_WANTING


def _look(
    feed: FeedSettings, settings: Settings, store: MendableStore, max_behind: timedelta | None
) -> FeedHealth:
    """Say how one feed fares now."""
    # To the millisecond, as all instants are written.
    now = floor_to(utc_now(), MILLISECOND)
    if not feed.view_id:
        return off(feed, now)
    name = load_feed(feed.name).state_name
    try:
        with _not_collecting():
            state = store.load(name)
            runs = list(past_runs(store.history(name, now - HISTORY)))
    except StateError as error:
        return unreadable(feed, now, str(error))
    quarantined = _count_quarantined(store, name, feed.name)
    kept = Kept(state, runs, quarantined, counted_all=quarantined < _COUNTED_AT_MOST)
    return judge(feed, settings, kept, now, max_behind)


@contextmanager
def _not_collecting() -> Iterator[None]:
    """Keep the collector from looking, again and again, through a million ids while they are read."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _count_quarantined(store: MendableStore, name: str, feed: str) -> int:
    count = 0
    # What cannot be read is for `quarantine list` to say.
    with suppress(StateError):
        for _ in islice(store.quarantined(name, feed), _COUNTED_AT_MOST):
            count += 1
    return count


def _watch(look: Callable[[], list[FeedHealth]], every_s: float, out: Output, *, everything: bool) -> None:
    """Look and tell again and again. On a terminal the last that was seen stays when it ends."""
    if out.as_json:
        while not out.reader_gone:
            _tell(look(), out, everything=everything)
            time.sleep(every_s)
        return
    found: list[FeedHealth] = []
    try:
        with out.renewed() as renew:
            while True:
                found = look()
                head = f"{moment(utc_now())}, again every {every_s:g} s; Ctrl-C ends"
                verdicts = [_verdict(feed) for feed in found]
                renew(text(head, "dim"), *verdicts, "", *_parts(found, everything=everything))
                time.sleep(every_s)
    finally:
        _tell(found, out, everything=everything)


def _tell(found: Sequence[FeedHealth], out: Output, *, everything: bool) -> None:
    if out.as_json:
        for feed in found:
            out.write_object(feed.as_json())
    else:
        out.show(*_parts(found, everything=everything))


# --- for people -------------------------------------------------------------------------------------

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
_KIND_WIDTH = max(map(len, Kind))
_HUB_COLUMNS = [
    Column("hub", key=True),
    Column("is"),
    Column("behind", number=True),
    Column("done until (UTC)"),
    Column("readings", number=True),
    Column("last success", whole=True),
]
_LOCATION_COLUMNS = [Column("location", key=True), Column("at hub", key=True), *_HUB_COLUMNS[1:4]]


def _parts(found: Sequence[FeedHealth], *, everything: bool) -> Iterator[RenderableType]:
    for number, feed in enumerate(found):
        if number:
            yield ""
        yield from _feed_parts(feed, everything=everything)


def _verdict(found: FeedHealth) -> RenderableType:
    return text(f"{dashed(found.feed)}: {found.verdict}: {found.said}", _STYLES[found.verdict])


def _feed_parts(found: FeedHealth, *, everything: bool) -> Iterator[RenderableType]:
    """Give the verdict, then hubs, then the locations in trouble, then what is wrong and what to do."""
    yield _verdict(found)
    if found.is_known:
        yield text(_runs(found), "dim")
    if found.locations:
        yield from ("", table(_HUB_COLUMNS, _hub_rows(found)))
    rows = _all_rows(found) if everything else _rows_in_trouble(found)
    at_most = None if everything else _SHOWN_AT_MOST
    if rows:
        yield from ("", table(_LOCATION_COLUMNS, rows[:at_most]))
        yield from _left_out(rows[:at_most], rows, "shows every location")
    if found.troubles:
        yield ""
        for trouble in found.troubles[:at_most]:
            yield from _trouble_parts(trouble, found)
        yield from _left_out(found.troubles[:at_most], found.troubles, "shows them")
    if found.trend:
        yield ""
        yield from (text(line, "dim") for line in _trend(found, found.trend))


def _left_out(shown: Sequence[object], whole: Sequence[object], how: str) -> Iterator[RenderableType]:
    if len(shown) < len(whole):
        yield text(f"and {len(whole) - len(shown):,} more; --all {how}", "dim")


def _runs(found: FeedHealth) -> str:
    runs = found.runs
    said = "no run has ended yet"
    if runs.ended is not None:
        how = "well" if (found.last_run or {}).get("ok", True) else "with failures"
        said = f"the last run ended {span(found.at - runs.ended)} ago, {how} ({moment(runs.ended)})"
    if runs.next_due is None:
        return f"{said}; its schedule never fires"
    return f"{said}; the next is due in {span(runs.next_due - found.at)}"


def _hub_rows(found: FeedHealth) -> Iterator[list[object]]:
    for hub in found.hubs.values():
        where = hub.failing or hub.behind
        is_well = hub.verdict not in (Condition.FAILING, Condition.BEHIND)
        yield [
            hub.name,
            text(
                hub.verdict if is_well else f"{hub.verdict} at {where:,} of {hub.locations:,}",
                _STYLES[hub.verdict],
            ),
            span(hub.lag),
            hub.position,
            hub.record.readings,
            _ago(hub.record.last_success, found),
        ]


def _rows_in_trouble(found: FeedHealth) -> list[list[object]]:
    """Give a row for each lag or failure, the worst first; locations that share one share a row."""
    at_hubs = by_key(
        ((location.name, hub.lag, hub.position, hub.condition), found.hubs[key].name)
        for location in found.locations
        for key, hub in location.hubs.items()
        if hub.condition in (Condition.FAILING, Condition.BEHIND)
    )
    alike = by_key(
        ((lag, position, how, ", ".join(hubs)), name) for (name, lag, position, how), hubs in at_hubs.items()
    )
    return [
        [named(names, _NAMED_AT_MOST), hubs, text(how, _STYLES[how]), span(lag), position]
        for (lag, position, how, hubs), names in sorted(
            alike.items(), key=lambda item: item[0][0], reverse=True
        )
    ]


def _all_rows(found: FeedHealth) -> list[list[object]]:
    rows: list[list[object]] = []
    for location in found.locations:
        name = location.name + ("" if location.asked else " (gone)")
        for key, hub in location.hubs.items():
            how = text(hub.condition, _STYLES[hub.condition])
            rows.append([name, found.hubs[key].name, how, span(hub.lag), hub.position])
    return rows


def _trouble_parts(trouble: Trouble, found: FeedHealth) -> Iterator[RenderableType]:
    about = []
    # What a warning or drift says begins with its location; what is behind says at how many.
    is_named = trouble.kind in (Kind.WARNING, Kind.DRIFT) and len(trouble.locations) == 1
    if trouble.locations and trouble.kind is not Kind.BEHIND and not is_named:
        about.append(f"at {named(trouble.locations, _NAMED_AT_MOST)}")
    if trouble.since:
        found_or_since = "found" if trouble.kind is Kind.GAP else "since"
        about.append(f"{found_or_since} {minute(trouble.since)} UTC ({span(found.at - trouble.since)})")
    if trouble.last and trouble.last != trouble.since:
        about.append(f"last said {_ago(trouble.last, found)}")
    said = trouble.said if len(trouble.said) <= _CHARACTERS else f"{trouble.said[:_CHARACTERS]}…"
    said += f" [{', '.join(about)}]" if about else ""
    yield hanging(trouble.kind, said, style="bold red" if trouble.grave else "yellow", width=_KIND_WIDTH)
    if trouble.do:
        yield hanging("", f"do: {trouble.do}", width=_KIND_WIDTH)


def _trend(found: FeedHealth, trend: Trend) -> Iterator[str]:
    names = {key: hub.name for key, hub in found.hubs.items()}
    before = trend.readings_before or {}
    readings = ", ".join(
        f"{names.get(key, key)} {count:,}" + (f" ({before[key]:,} the day before)" if key in before else "")
        for key, count in trend.readings.items()
    )
    runs = f"{counted(trend.runs, 'run')}, {trend.failed:,} failed, {trend.missed:,} missed"
    yield f"last 24 h: {runs}" + (f"; readings: {readings}" if readings else "")
    if trend.changed:
        yield f"{counted(trend.changed, 'reading')} changed at the source after delivery, see `report`"
    compared, per_day = trend.compared, trend.per_day
    if compared:
        where = f"{counted(compared.hours, 'hour')} of {counted(compared.locations, 'location')}"
        yield f"compared with the source: {where}; {compared.differ:,} differ"
    if per_day:
        hubs = ", ".join(
            f"{names.get(key, key)} {hub['events']:,} events, {hub['bytes'] / 1e6:,.1f} MB, "
            f"{_share(hub['unit_share'])} of a throughput unit"
            for key, hub in per_day["hubs"].items()
        )
        yield f"a day at this pace: {counted(per_day['api_calls'], 'API call')}; {hubs}"


def _share(part: float) -> str:
    return f"{part:.1%}" if part >= 0.001 or part == 0 else "under 0.1%"


def _ago(instant: datetime | None, found: FeedHealth) -> str:
    return "-" if instant is None else f"{span(found.at - instant)} ago"
