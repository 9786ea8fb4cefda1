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
from app.base.instants import parse_time, utc_now
from app.base.text import counted, dashed, minute, moment, span
from app.cli import COMMANDS
from app.cli.choices import find_feed
from app.cli.output import Column, Output, hanging, table, text
from app.cli.session import ALL_WELL, FOUND_WANTING, begin, json_option
from app.feeds.feed import load_feed
from app.health.feed_health import HISTORY, Kept, damaged_json, judge, off_json
from app.settings.rules import duration
from app.settings.schema import FeedSettings, Settings
from app.state.opening import open_store
from app.state.store import MendableStore

if TYPE_CHECKING:
    from rich.console import RenderableType

# Readings in quarantine are read whole, so they are counted up to here.
_COUNTED_AT_MOST = 100
# Of locations and of troubles, unless all are asked for; and of names and characters in one of them.
_SHOWN_AT_MOST = 10
_NAMED_AT_MOST = 3
_CHARACTERS = 300
_REFRESH_S = 5.0

_Look = Callable[[], list[dict[str, Any]]]


class _Limits(click.ParamType[dict[str, timedelta]]):
    """A duration as in the settings, for all feeds, or FEED=DURATION."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, timedelta]:
        feed, _, written = str(value).rpartition("=")
        try:
            return {dashed(feed.lower()): duration(written)}
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

    def look() -> list[dict[str, Any]]:
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
    return ALL_WELL if all(feed["ok"] for feed in found) else FOUND_WANTING


def _look(
    feed: FeedSettings, settings: Settings, store: MendableStore, max_behind: timedelta | None
) -> dict[str, Any]:
    """Give the object of one feed, as it is now."""
    if not feed.view_id:
        return off_json(feed)
    name = load_feed(feed.name).state_name
    now = utc_now()
    try:
        with _not_collecting():
            state = store.load(name)
            reports = list(store.history(name, now - HISTORY))
    except StateError as error:
        return damaged_json(feed, str(error))
    quarantined = _count_quarantined(store, name, feed.name)
    kept = Kept(state, reports, quarantined, counted_all=quarantined < _COUNTED_AT_MOST)
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


def _watch(
    look: Callable[[], list[dict[str, Any]]], every_s: float, out: Output, *, everything: bool
) -> None:
    """Look and tell again and again. On a terminal the last that was seen stays when it ends."""
    if out.as_json:
        while not out.reader_gone:
            _tell(look(), out, everything=everything)
            time.sleep(every_s)
        return
    found: list[dict[str, Any]] = []
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


def _tell(found: Sequence[Mapping[str, Any]], out: Output, *, everything: bool) -> None:
    if out.as_json:
        for feed in found:
            out.write_object(feed)
    else:
        out.show(*_parts(found, everything=everything))


# --- for people -------------------------------------------------------------------------------------

_STYLES = {
    "healthy": "green",
    "behind": "yellow",
    "failing": "bold red",
    "stopped": "bold red",
    "unknown": "bold red",
    "never ran": "yellow",
    "off": "dim",
}
_KIND_WIDTH = len("quarantine")
_HUB_COLUMNS = [
    Column("hub"),
    Column("is"),
    Column("behind", number=True),
    Column("done until (UTC)", whole=True),
    Column("readings", number=True),
    Column("last success", whole=True),
]
_LOCATION_COLUMNS = [
    Column("location"),
    Column("at hub"),
    Column("is"),
    Column("behind", number=True),
    Column("done until (UTC)", whole=True),
]


def _parts(found: Sequence[Mapping[str, Any]], *, everything: bool) -> Iterator[RenderableType]:
    for number, feed in enumerate(found):
        if number:
            yield ""
        yield from _feed_parts(feed, everything=everything)


def _verdict(found: Mapping[str, Any]) -> RenderableType:
    style = _STYLES[found["verdict"]]
    return text(f"{dashed(found['feed'])}: {found['verdict']}: {found['said']}", style)


def _feed_parts(found: Mapping[str, Any], *, everything: bool) -> Iterator[RenderableType]:
    """Give the verdict, then hubs, then the locations in trouble, then what is wrong and what to do."""
    yield _verdict(found)
    if "locations" in found:
        yield text(_runs(found), "dim")
        if found["locations"]:
            yield ""
            yield table(_HUB_COLUMNS, _hub_rows(found))
        rows = _all_rows(found) if everything else _rows_in_trouble(found)
        if rows:
            shown = rows if everything else rows[:_SHOWN_AT_MOST]
            yield ""
            yield table(_LOCATION_COLUMNS, shown)
            if len(shown) < len(rows):
                yield text(f"and {len(rows) - len(shown):,} more; --all shows every location", "dim")
    if found.get("wrong"):
        yield ""
        wrong = found["wrong"] if everything else found["wrong"][:_SHOWN_AT_MOST]
        for trouble in wrong:
            yield from _trouble_parts(trouble, found)
        if len(wrong) < len(found["wrong"]):
            yield text(f"and {len(found['wrong']) - len(wrong):,} more; --all shows them", "dim")
    trend = list(_trend(found))
    if trend:
        yield ""
        yield from (text(line, "dim") for line in trend)


def _runs(found: Mapping[str, Any]) -> str:
    run = found["last_run"]
    at = _instant(found["at"])
    if run is None or not run.get("ended"):
        said = "no run has ended yet"
    else:
        ended = _instant(run["ended"])
        how = "well" if run.get("ok", True) else "with failures"
        said = f"the last run ended {span((at - ended).total_seconds())} ago, {how} ({moment(ended)})"
    if found["next_run"] is None:
        return f"{said}; its schedule never fires"
    following = _instant(found["next_run"])
    return f"{said}; the next is due in {span((following - at).total_seconds())}"


def _hub_rows(found: Mapping[str, Any]) -> Iterator[list[object]]:
    for hub in found["hubs"].values():
        where = hub["locations_failing"] or hub["locations_behind"]
        of = f" at {where:,} of {hub['locations']:,}" if hub["verdict"] in ("failing", "behind") else ""
        yield [
            hub["name"],
            text(hub["verdict"] + of, _STYLES.get(hub["verdict"], "dim")),
            span(hub["behind_s"]),
            _minute(hub["delivered_until"]),
            hub["readings"],
            _ago(hub["last_success"], found["at"]),
        ]


def _rows_in_trouble(found: Mapping[str, Any]) -> list[list[object]]:
    """Give a row for each lag or failure, the worst first; locations that share one share a row."""
    alike: dict[tuple[float, str | None, str, str], list[str]] = {}
    for location in found["locations"]:
        by_state: dict[tuple[float, str | None, str], list[str]] = {}
        for key, at_hub in location["hubs"].items():
            hub = found["hubs"][key]
            how = _how(location, at_hub, found["limit_s"])
            if location["asked"] and not hub["paused"] and not hub["removed"] and how != "healthy":
                state = (at_hub["behind_s"], at_hub["delivered_until"], how)
                by_state.setdefault(state, []).append(hub["name"])
        for state, hubs in by_state.items():
            alike.setdefault((*state, ", ".join(hubs)), []).append(location["location"])
    return [
        [_named(names), hubs, text(how, _STYLES[how.split()[0]]), span(behind_s), _minute(until)]
        for (behind_s, until, how, hubs), names in sorted(alike.items(), key=lambda item: -item[0][0])
    ]


def _all_rows(found: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []
    for location in found["locations"]:
        name = location["location"] + ("" if location["asked"] else " (gone)")
        for key, at_hub in location["hubs"].items():
            how = _how(location, at_hub, found["limit_s"]) if location["asked"] else "gone"
            hub = found["hubs"][key]
            how = "paused" if hub["paused"] else "removed" if hub["removed"] else how
            style = _STYLES.get(how.split()[0], "dim")
            where = [span(at_hub["behind_s"]), _minute(at_hub["delivered_until"])]
            rows.append([name, hub["name"], text(how, style), *where])
            name = ""
    return rows


def _how(location: Mapping[str, Any], at_hub: Mapping[str, Any], limit_s: float | None) -> str:
    if at_hub["error"] or location["error"]:
        return "failing"
    behind = limit_s is not None and at_hub["behind_s"] > limit_s
    return "behind" if behind else "healthy"


def _trouble_parts(trouble: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[RenderableType]:
    about = []
    # What a warning or drift says begins with its location; what is behind says at how many.
    is_named = trouble["kind"] in ("warning", "drift") and len(trouble["locations"]) == 1
    if trouble["locations"] and trouble["kind"] != "behind" and not is_named:
        about.append(f"at {_named(trouble['locations'])}")
    if trouble["since"]:
        lasts = (_instant(found["at"]) - _instant(trouble["since"])).total_seconds()
        found_or_since = "found" if trouble["kind"] == "gap" else "since"
        about.append(f"{found_or_since} {_minute(trouble['since'])} UTC ({span(lasts)})")
    if trouble["last"] and trouble["last"] != trouble["since"]:
        about.append(f"last said {_ago(trouble['last'], found['at'])}")
    said = _cut(trouble["said"]) + (f" [{', '.join(about)}]" if about else "")
    yield hanging(
        trouble["kind"], said, style="bold red" if trouble["grave"] else "yellow", width=_KIND_WIDTH
    )
    if trouble["do"]:
        yield hanging("", f"do: {trouble['do']}", width=_KIND_WIDTH)


def _trend(found: Mapping[str, Any]) -> Iterator[str]:
    trend = found.get("trend")
    if trend is None:
        return
    names = {key: hub["name"] for key, hub in found["hubs"].items()}
    before = trend["readings_before"] or {}
    readings = ", ".join(
        f"{names.get(key, key)} {count:,}" + (f" ({before[key]:,} the day before)" if key in before else "")
        for key, count in trend["readings"].items()
    )
    runs = f"{counted(trend['runs'], 'run')}, {trend['failed']:,} failed, {trend['missed']:,} missed"
    yield f"last 24 h: {runs}" + (f"; readings: {readings}" if readings else "")
    if trend["changed"]:
        yield f"{counted(trend['changed'], 'reading')} changed at the source after delivery, see `report`"
    compared = trend["compared"]
    if compared:
        where = f"{counted(compared['hours'], 'hour')} of {counted(compared['locations'], 'location')}"
        yield f"compared with the source: {where}; {compared['differ']:,} differ"
    a_day = trend["per_day"]
    if a_day:
        hubs = ", ".join(
            f"{names.get(key, key)} {hub['events']:,} events, {hub['bytes'] / 1e6:,.1f} MB, "
            f"{_share(hub['unit_share'])} of a throughput unit"
            for key, hub in a_day["hubs"].items()
        )
        yield f"a day at this pace: {counted(a_day['api_calls'], 'API call')}; {hubs}"


def _share(part: float) -> str:
    return f"{part:.1%}" if part >= 0.001 or part == 0 else "under 0.1%"


def _named(names: Sequence[str]) -> str:
    if len(names) <= _NAMED_AT_MOST + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED_AT_MOST])} and {len(names) - _NAMED_AT_MOST:,} more"


def _cut(said: str) -> str:
    return said if len(said) <= _CHARACTERS else f"{said[:_CHARACTERS]}…"


def _ago(written: str | None, at: str) -> str:
    return "-" if written is None else f"{span((_instant(at) - _instant(written)).total_seconds())} ago"


def _instant(written: str) -> datetime:
    return parse_time(written)


def _minute(written: str | None) -> str:
    return minute(parse_time(written)) if written else "-"
