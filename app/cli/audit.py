"""`audit`: what the source shows and what the hubs hold, compared reading by reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import click

from app.audit.auditor import Asked, ComparedFeed, UnknownLocation, compared_feeds
from app.audit.findings import Finding, HourCount, HubAudit
from app.audit.repair import Outcome, Plan, plan_repair, repair
from app.audit.summary import OVERDUE, STUCK, TO_COME, NamedReading, gravity
from app.base.instants import MILLISECOND, floor_to, format_time, utc_now
from app.base.text import counted, dashed
from app.cli import COMMANDS
from app.cli.audit_text import EXAMPLES, show_feed, show_repaired, show_verdicts
from app.cli.audit_verdict import Result, verdict
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
from app.cli.output import Output
from app.cli.progress import ProgressBars
from app.cli.session import ALL_WELL, SOMETHING_WRONG, begin, complain, confirmed, json_option, yes_option
from app.wiring import wire

# What is told of each reading under a heading, beside what it is.
_TOLD = {
    "missing": ("cause", "due", "repaired", "stuck"),
    "repeated": ("times",),
    "changed": ("held", "times"),
    "unknown": ("times",),
}
# What is `behind`, divided, by its names in JSON.
_TO_COME = {"next_run": TO_COME, "overdue": OVERDUE, "stuck": STUCK}


@click.command("audit", short_help=COMMANDS["audit"])
@feeds_option
@since_option
@until_option
@locations_option
@hubs_option
@consumer_group_option
@click.option("--repair", "repairs", is_flag=True, help="Send what is missing, and close the gaps.")
@click.option("--all", "every", is_flag=True, help="Name every reading, and count by location too.")
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
    every: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Ask the source for a window again, read the hubs, and compare them reading by reading.

    Says of each hub how many readings were published and delivered, and of the others why they are
    not there, the worst cause first. The last line is the verdict. Ends with 1 where anything is wrong,
    or could not be compared. What the next run brings, and what was never promised, is not wrong.

    T is an ISO time (UTC unless it names a zone), or a duration back from now like 30d or 6h. It
    needs keys with the Listen right, and leaves nothing behind in the hubs.

    \b
    python -m app audit
    python -m app audit --feed people-counter --from 7d --json |
        jq '.missing[]'
    python -m app audit --from 2026-03-01 --to 2026-03-02 --repair
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
        work = _Work(out, bars, send if repairs else None, every=every, yes=yes)
        try:
            for feed in found:
                work.tell(feed)
        except UnknownLocation as error:
            raise unknown_name(error.name, sorted(error.known)) from error
        finally:
            work.close()
    return ALL_WELL if work.is_well else SOMETHING_WRONG


# --- telling ----------------------------------------------------------------------------------------


class _Work:
    """Tells what was found, a feed at a time, and sends what is missing where that is wanted."""

    def __init__(
        self,
        out: Output,
        bars: ProgressBars,
        send: Callable[[ComparedFeed], Outcome] | None,
        *,
        every: bool,
        yes: bool,
    ) -> None:
        self._out = out
        self._bars = bars
        self._send = send
        self._every = every
        self._yes = yes
        self._results: list[Result] = []

    @property
    def is_well(self) -> bool:
        return all(audit.ok for result in self._results for audit in result.audits)

    def tell(self, feed: ComparedFeed) -> None:
        """Show what was found, and repair it where that is wanted."""
        self._bars.hide()
        found = _result(feed)
        if not self._out.as_json:
            show_feed(found, self._out, every=_every_reading(feed, found) if self._every else None)
        if self._send is not None and _may_repair(plan_repair(feed), found, yes=self._yes):
            outcome = self._send(feed)
            self._bars.hide()
            _tell_of_repair(outcome, found)
            found = _result(feed)
            if not self._out.as_json:
                show_repaired(found, self._out)
        if self._out.as_json:
            for audit in feed.audits():
                _write(audit, self._out)
        self._results.append(found)

    def close(self) -> None:
        """Show the verdicts of all feeds that were told of, also where the next one failed."""
        if not self._out.as_json:
            show_verdicts(self._results, self._out)


def _result(feed: ComparedFeed) -> Result:
    names = {hub.key: hub.name for hub in feed.hubs}
    # Lists of readings are at hand no longer than the feed is.
    audits = [replace(audit, missing=(), repeated=(), changed=(), unknown=()) for audit in feed.audits()]
    return Result(feed.settings.name, audits, feed.summary(examples=EXAMPLES), names)


def _every_reading(feed: ComparedFeed, found: Result) -> Iterator[Iterator[NamedReading]]:
    return (feed.readings(each.cause) for each in found.summary.causes)


def _may_repair(plan: Plan, found: Result, *, yes: bool) -> bool:
    """Say what a repair would do, and ask."""
    name = dashed(found.feed)
    if plan.is_empty:
        complain(f"{name}: {_nothing_to_send(found)}")
        return False
    for hub, causes in plan.readings.items():
        if causes:
            said = ", ".join(f"{causes[cause]:,} {cause}" for cause in sorted(causes, key=gravity))
            complain(f"{name}: {counted(sum(causes.values()), 'reading')} for {found.names[hub]}: {said}")
    if plan.gaps:
        complain(f"{name}: {counted(plan.gaps, 'gap')} will be closed")
    if not plan.distinct:
        return confirmed(f"close {counted(plan.gaps, 'gap')} of {name}?", yes=yes)
    where = "where it is missing" if plan.distinct == 1 else "where they are missing"
    question = f"send {counted(plan.distinct, 'reading')} {where}, with the message ids of a run?"
    return confirmed(question, yes=yes)


def _nothing_to_send(found: Result) -> str:
    """Say that there is nothing to repair, of as much as was compared."""
    if not found.has_readings:
        return verdict(found)
    in_part = found.failures or len(found.compared) < len(found.audits)
    of = ", of what could be compared" if in_part else ""
    return f"nothing is missing that a repair can send{of}"


def _tell_of_repair(outcome: Outcome, found: Result) -> None:
    name = dashed(found.feed)
    for audit in found.compared:
        complain(f"{name}: {counted(outcome.sent[audit.hub], 'reading')} sent to {found.names[audit.hub]}")
    if outcome.gaps:
        complain(f"{name}: {counted(outcome.gaps, 'gap')} closed")
    for error in outcome.errors:
        complain(f"{name}: {error}")


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
