"""`audit`: what the source shows and what the hubs hold, compared reading by reading."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import click

from app.audit.auditor import Asked, ComparedFeed, UnknownLocation, compared_feeds
from app.audit.findings import Finding, HourCount, HubAudit
from app.audit.repair import plan_repair, repair
from app.base.errors import FeedOff
from app.base.instants import MILLISECOND, floor_to, format_time, utc_now
from app.base.readings import Slice
from app.base.text import counted, dashed, moment, printable, span
from app.cli import COMMANDS
from app.cli.choices import instant
from app.cli.output import Column, Output, hanging, table, text
from app.cli.session import (
    ALL_WELL,
    FOUND_WANTING,
    begin,
    complain,
    confirmed,
    find_feed,
    find_hubs,
    json_option,
    yes_option,
)
from app.run.ports import Wiring
from app.settings.schema import Settings
from app.state.opening import open_store
from app.state.store import MendableStore
from app.wiring import wire

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table
    from rich.text import Text

_DAY = timedelta(days=1)
# What people are shown of a long list.
_SHOWN = 10
# What a cause means, and what to do.
_CAUSES = {
    "late": "published after the look-back had passed; --repair sends that, a longer look_back finds it",
    "behind": "to be brought by a coming run; where a hub is far behind, `status` says why",
    "lost": "acknowledged by the hub, and not there; --repair sends that",
    "unexplained": "older than what the state remembers; --repair sends that",
    "quarantined": "set aside, because it could not be forwarded; `quarantine list` says why",
    "retention": "older than what the hub still holds, so it cannot be told; choose a later --from",
    "before start": "from before the hub's start, never promised; `backfill` would send that",
    "saturated": "more of one millisecond than the view gave; --repair sends what it gives now",
    "missed": "found by the daily comparison with the source; --repair sends that",
    "left behind": "left behind by `state skip` or `state reset`; --repair would send it all the same",
}
_WIDTH = 12
_COUNTS = ("published", "delivered", "missing", "repeated", "changed", "unknown")


@click.command("audit", short_help=COMMANDS["audit"])
@click.option("--feed", "feeds", metavar="F", multiple=True, help="This feed only; may be repeated.")
@click.option("--from", "since", metavar="T", help="The window's start; a day before its end unless given.")
@click.option("--to", "until", metavar="T", help="The window's end, not part of it; now unless given.")
@click.option(
    "--location", "locations", metavar="NAME", multiple=True, help="This one only; may be repeated."
)
@click.option("--hub", "hubs", metavar="KEY", multiple=True, help="This one only; may be repeated.")
@click.option(
    "--consumer-group",
    metavar="NAME",
    default="$Default",
    show_default=True,
    help="Read the hubs through this one.",
)
@click.option("--repair", "repairs", is_flag=True, help="Send what is missing, and close the gaps.")
@yes_option
@json_option
def command(
    feeds: tuple[str, ...],
    since: str | None,
    until: str | None,
    locations: tuple[str, ...],
    hubs: tuple[str, ...],
    consumer_group: str,
    repairs: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Ask the source for a window again, read the hubs, and compare them reading by reading.

    Says of each location and hour how many readings were published and delivered, and names each one
    that is missing (and why), repeated, changed or unknown. Ends with 1 where anything is wrong. What
    a coming run brings, and what was never promised, is named and is not wrong.

    T is an ISO time (UTC unless it names a zone), or a duration back from now like 30d or 6h. It
    needs keys with the Listen right, and leaves nothing behind in the hubs.

    \b
    python -m app audit
    python -m app audit --feed people-counter --from 7d --json | jq '.missing[]'
    python -m app audit --from 2026-03-01 --to 2026-03-02 --hub second --repair
    """  # noqa: D301 - \b keeps click from filling the lines after it
    settings, out = begin(as_json=as_json), Output(as_json=as_json)
    asked = _asked(settings, feeds, since, until, locations)
    chosen = find_hubs(settings, hubs)
    desk = _Desk(settings, out, open_store(settings.state), wire(settings), consumer_group, _Bar(out))
    with desk.bar:
        compared = compared_feeds(
            asked, chosen, desk.wiring, desk.store, consumer_group=consumer_group, progress=desk.bar.show
        )
        well = [_tell(feed, desk, repairs=repairs, yes=yes) for feed in _named(compared)]
    return ALL_WELL if all(well) else FOUND_WANTING


@dataclass(frozen=True, slots=True)
class _Desk:
    """What the steps of the command share."""

    settings: Settings
    out: Output
    store: MendableStore
    wiring: Wiring
    consumer_group: str
    bar: _Bar


# --- what was asked for -----------------------------------------------------------------------------


def _asked(
    settings: Settings,
    feeds: Sequence[str],
    since: str | None,
    until: str | None,
    locations: Sequence[str],
) -> list[Asked]:
    """Give the feeds to audit, those that are on unless they are named. Raises UsageError, FeedOff."""
    now = floor_to(utc_now(), MILLISECOND)
    end = now if until is None else instant("--to", until, now)
    start = end - _DAY if since is None else instant("--from", since, now)
    if start >= min(end, now):
        raise click.UsageError(
            f"--from {moment(start)} does not lie before --to {moment(end)}, and before now"
        )
    named = {feed.name: feed for feed in (find_feed(settings, name) for name in feeds)}
    for feed in named.values():
        if not feed.view_id:
            raise FeedOff([f"feeds.{feed.name}: the feed is off; set its view id to audit it"])
    chosen = list(named) or [name for name, feed in settings.feeds.items() if feed.view_id]
    if not chosen:
        raise FeedOff(["feeds: every feed is off; set the view id of one to audit it"])
    return [Asked(name, Slice(start, end), tuple(dict.fromkeys(locations))) for name in chosen]


def _named(compared: Iterator[ComparedFeed]) -> Iterator[ComparedFeed]:
    """Give what is compared. Raises UsageError, listing what there is, for a location that is none."""
    try:
        yield from compared
    except UnknownLocation as error:
        known = "".join(f"\n  {printable(name)}" for name in error.known)
        raise click.UsageError(
            f"{printable(error.name)!r} is none of the locations; there are:{known or ' none'}"
        ) from error


# --- telling ----------------------------------------------------------------------------------------


def _tell(feed: ComparedFeed, desk: _Desk, *, repairs: bool, yes: bool) -> bool:
    """Tell what was found, and repair it where that is wanted; whether all is well then."""
    desk.bar.hide()
    out, names = desk.out, {hub.key: hub.name for hub in desk.settings.hubs}
    if not out.as_json:
        for audit in feed.audits():
            _show(audit, names[audit.hub], out)
    if repairs:
        _repair(feed, desk, names, yes=yes)
    audits = list(feed.audits())
    if out.as_json:
        for audit in audits:
            _write(audit, out)
    return all(audit.ok for audit in audits)


def _repair(feed: ComparedFeed, desk: _Desk, names: Mapping[str, str], *, yes: bool) -> None:
    """Say what a repair would do, ask, and do it. Raises LockHeld."""
    plan = plan_repair(feed)
    name = dashed(feed.settings.name)
    if plan.is_empty:
        complain(f"{name}: nothing is missing that sending mends")
        return
    for hub, causes in plan.readings.items():
        if causes:
            said = ", ".join(f"{count:,} {cause}" for cause, count in sorted(causes.items()))
            complain(f"{name}: {counted(sum(causes.values()), 'reading')} for {names[hub]}: {said}")
    if plan.gaps:
        complain(f"{name}: {counted(plan.gaps, 'gap')} over then")
    if not confirmed("send them, with the message ids that they would have had?", yes=yes):
        return
    outcome = repair(
        feed, desk.wiring, desk.store, consumer_group=desk.consumer_group, progress=desk.bar.show
    )
    desk.bar.hide()
    for hub in plan.readings:
        complain(f"{name}: {counted(outcome.sent[hub], 'reading')} sent to {names[hub]}")
    if outcome.gaps:
        complain(f"{name}: {counted(outcome.gaps, 'gap')} closed")
    for error in outcome.errors:
        complain(f"{name}: {error}")
    if not desk.out.as_json:
        for audit in feed.audits():
            desk.out.show(text(f"{name}, {names[audit.hub]}, after the repair", "bold"), _verdict(audit), "")


def _write(audit: HubAudit, out: Output) -> None:
    begins = {
        "feed": audit.feed,
        "hub": audit.hub,
        "from": format_time(audit.window.start),
        "to": format_time(audit.window.end),
        "ok": audit.ok,
        "published": audit.published,
        "delivered": audit.delivered,
    }
    lists = {
        "missing": (_told(found, "cause", "due", "repaired") for found in audit.missing),
        "repeated": (_told(found, "times") for found in audit.repeated),
        "changed": (_told(found, "held", "times") for found in audit.changed),
        "unknown": (_told(found, "times") for found in audit.unknown),
        "hours": map(_hour_json, audit.hours),
    }
    ends = {
        "locations": audit.locations,
        "causes": audit.causes,
        "wrong": audit.wrong,
        "repaired": audit.repaired,
        "superseded": audit.superseded,
        "foreign": audit.foreign,
        "readable_from": audit.readable_from and format_time(audit.readable_from),
        "delays": [asdict(delay) for delay in audit.delays],
        "max_delay_s": audit.max_delay_s and round(audit.max_delay_s, 3),
        "failures": [{"location": name, "error": error} for name, error in audit.failures.items()],
        "warnings": list(audit.warnings),
        "error": audit.error,
    }
    out.write_long_object(begins, lists, ends)


def _told(finding: Finding, *more: str) -> dict[str, Any]:
    told = {"location": finding.location, "time": finding.written, "id": finding.id}
    return told | {name: getattr(finding, name) for name in more}


def _hour_json(count: HourCount) -> dict[str, Any]:
    return asdict(count) | {"hour": format_time(count.hour)}


def _show(audit: HubAudit, name: str, out: Output) -> None:
    window = f"{moment(audit.window.start)} to {moment(audit.window.end)}"
    out.show(text(f"{dashed(audit.feed)}, {name}: {window}", "bold"))
    if audit.error is not None:
        out.show(text(audit.error, "red"), "")
        return
    out.show(_by_location(audit.hours))
    for heading in ("missing", "repeated", "changed", "unknown"):
        _show_findings(heading, getattr(audit, heading), out)
    for cause, count in sorted(audit.causes.items()):
        out.show(
            hanging(cause, f"{counted(count, 'reading')}, {_CAUSES.get(cause, 'see `status`')}", width=_WIDTH)
        )
    for location, error in sorted(audit.failures.items()):
        out.show(text(f"{location} could not be compared: {error}", "red"))
    for warning in audit.warnings:
        out.show(text(warning, "yellow"))
    if audit.readable_from is not None:
        out.show(f"the hub no longer holds all that came before {moment(audit.readable_from)}")
    out.show(_verdict(audit), "")


def _by_location(hours: Sequence[HourCount]) -> Table:
    columns = [Column("location"), *(Column(head, number=True) for head in _COUNTS)]
    rows = [
        [location, *(sum(getattr(hour, head) for hour in found) for head in _COUNTS)]
        for location, found in (
            (location, list(found)) for location, found in groupby(hours, lambda hour: hour.location)
        )
    ]
    return table(columns, rows)


def _show_findings(heading: str, findings: Collection[Finding], out: Output) -> None:
    count = len(findings)
    if not count:
        return
    columns = [Column(heading), Column("time as written", whole=True), Column("id", whole=True), Column("")]
    out.show(table(columns, [_row(found) for found in islice(findings, _SHOWN)]))
    if count > _SHOWN:
        out.show(f"and {count - _SHOWN:,} more {heading}; --json names each")


def _row(finding: Finding) -> Sequence[object]:
    more = {
        "missing": finding.cause,
        "repeated": f"{finding.times} times",
        "changed": f"the hub has {finding.held}",
        "unknown": None,
    }[finding.heading]
    return finding.location, finding.written, finding.id, more


def _verdict(audit: HubAudit) -> Text:
    if not audit.ok:
        wrong = audit.wrong - audit.repaired
        what = counted(wrong, "reading") if wrong else counted(len(audit.failures), "location")
        return text(f"{what} found wanting", "red")
    delay = "" if audit.max_delay_s is None else f", at most {span(audit.max_delay_s)} after their time"
    said = f"nothing is wrong: {counted(audit.delivered + audit.repaired, 'reading')} delivered{delay}"
    return text(said, "green")


class _Bar:
    """Shows on a terminal how far an audit has come; nothing where nobody looks."""

    def __init__(self, out: Output) -> None:
        self._wanted = not out.as_json and sys.stderr.isatty()
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()

    def show(self, doing: str, done: float, whole: float) -> None:
        if not self._wanted:
            return
        bar = self._bar or self._begin()
        if doing not in self._tasks:
            self._tasks[doing] = bar.add_task(printable(doing), total=None)
        bar.update(self._tasks[doing], completed=done, total=whole or None)

    def hide(self) -> None:
        """Take it off the terminal, so that something else can be written there."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._tasks = None, {}

    def _begin(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar.start()
        return self._bar
