"""`audit`: what the source shows and what the hubs hold, compared reading by reading."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import click

from app.audit.auditor import Asked, ComparedFeed, UnknownLocation, compared_feeds
from app.audit.findings import Finding, HourCount, HubAudit
from app.audit.repair import Outcome, Plan, plan_repair, repair
from app.audit.summary import OVERDUE, STUCK, TO_COME
from app.base.instants import MILLISECOND, floor_to, format_time, utc_now
from app.base.text import counted, dashed, moment, span
from app.cli import COMMANDS
from app.cli.choices import (
    consumer_group_option,
    feeds_option,
    feeds_to,
    find_hubs,
    hubs_option,
    locations_option,
    since_option,
    unknown_name,
    until_option,
    window_until_now,
)
from app.cli.output import Output, hanging, text
from app.cli.progress import ProgressBars
from app.cli.session import ALL_WELL, FOUND_WANTING, begin, complain, confirmed, json_option, yes_option
from app.cli.tables import Column, FittedTable, table
from app.wiring import wire

if TYPE_CHECKING:
    from rich.text import Text

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
# What is told of each reading under a heading, beside what it is.
_TOLD = {
    "missing": ("cause", "due", "repaired", "stuck"),
    "repeated": ("times",),
    "changed": ("held", "times"),
    "unknown": ("times",),
}
# What is `behind`, divided, by its names in JSON.
_TO_COME = {"next_run": TO_COME, "overdue": OVERDUE, "stuck": STUCK}
_COUNTS = ("published", "delivered", "missing", "repeated", "changed", "unknown")


@click.command("audit", short_help=COMMANDS["audit"])
@feeds_option
@since_option
@until_option
@locations_option
@hubs_option
@consumer_group_option
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
    window = window_until_now(since, until, floor_to(utc_now(), MILLISECOND))
    named = tuple(dict.fromkeys(locations))
    asked = [Asked(feed.name, window, named) for feed in feeds_to("audit", settings, feeds)]
    chosen, wiring = find_hubs(settings, hubs), wire(settings)
    with ProgressBars(out) as bars:
        group, progress = consumer_group, bars.show
        send = partial(repair, wiring=wiring, consumer_group=group, progress=progress)
        found = compared_feeds(asked, chosen, wiring, consumer_group=group, progress=progress)
        try:
            well = [_tell(feed, out, bars, send if repairs else None, yes=yes) for feed in found]
        except UnknownLocation as error:
            raise unknown_name(error.name, sorted(error.known)) from error
    return ALL_WELL if all(well) else FOUND_WANTING


# --- telling ----------------------------------------------------------------------------------------


def _tell(
    feed: ComparedFeed,
    out: Output,
    bars: ProgressBars,
    send: Callable[[ComparedFeed], Outcome] | None,
    *,
    yes: bool,
) -> bool:
    """Tell what was found, and `send` what is missing where that is wanted; whether all is well then."""
    bars.hide()
    names = {hub.key: hub.name for hub in feed.hubs}
    if not out.as_json:
        for audit in feed.audits():
            _show(audit, names[audit.hub], out)
    if send is not None and _may_repair(plan_repair(feed), feed, names, yes=yes):
        outcome = send(feed)
        bars.hide()
        _tell_of_repair(feed, outcome, names, out)
    audits = list(feed.audits())
    if out.as_json:
        for audit in audits:
            _write(audit, out)
    return all(audit.ok for audit in audits)


def _may_repair(plan: Plan, feed: ComparedFeed, names: Mapping[str, str], *, yes: bool) -> bool:
    """Say what a repair would do, and ask."""
    name = dashed(feed.settings.name)
    if plan.is_empty:
        complain(f"{name}: nothing is missing that sending mends")
        return False
    for hub, causes in plan.readings.items():
        if causes:
            said = ", ".join(f"{count:,} {cause}" for cause, count in sorted(causes.items()))
            complain(f"{name}: {counted(sum(causes.values()), 'reading')} for {names[hub]}: {said}")
    if plan.gaps:
        complain(f"{name}: {counted(plan.gaps, 'gap')} over then")
    return confirmed("send them, with the message ids that they would have had?", yes=yes)


def _tell_of_repair(feed: ComparedFeed, outcome: Outcome, names: Mapping[str, str], out: Output) -> None:
    name = dashed(feed.settings.name)
    for hub in feed.compared_hubs:
        complain(f"{name}: {counted(outcome.sent[hub.key], 'reading')} sent to {hub.name}")
    if outcome.gaps:
        complain(f"{name}: {counted(outcome.gaps, 'gap')} closed")
    for error in outcome.errors:
        complain(f"{name}: {error}")
    if not out.as_json:
        for audit in feed.audits():
            out.show(text(f"{name}, {names[audit.hub]}, after the repair", "bold"), _verdict(audit), "")


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
    lists: dict[str, Iterable[Any]] = {
        heading: map(partial(_named, more=more), getattr(audit, heading)) for heading, more in _TOLD.items()
    }
    lists["hours"] = map(_hour_json, audit.hours)
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
        "compared": audit.compared,
        "to_come": {name: audit.to_come.get(cause, 0) for name, cause in _TO_COME.items()},
        "stuck": [{"location": name, **asdict(failing)} for name, failing in sorted(audit.stuck.items())],
        "without_readings": list(audit.without_readings),
    }
    out.write_long_object(begins, lists, ends)


def _named(finding: Finding, more: Sequence[str]) -> dict[str, Any]:
    named = {"location": finding.location, "time": finding.written, "id": finding.id}
    return named | {name: getattr(finding, name) for name in more}


def _hour_json(count: HourCount) -> dict[str, Any]:
    return asdict(count) | {"hour": format_time(count.hour)}


def _show(audit: HubAudit, name: str, out: Output) -> None:
    window = f"{moment(audit.window.start)} to {moment(audit.window.end)}"
    out.show(text(f"{dashed(audit.feed)}, {name}: {window}", "bold"))
    if audit.error is not None:
        out.show(text(audit.error, "red"), "")
        return
    out.show(_by_location(audit.hours))
    for heading in _TOLD:
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


def _by_location(hours: Sequence[HourCount]) -> FittedTable:
    columns = [Column("location", key=True), *(Column(head, number=True) for head in _COUNTS)]
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
    columns = [
        Column(heading, key=True),
        Column("time as written", whole=True),
        Column("id", key=True),
        Column(""),
    ]
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
