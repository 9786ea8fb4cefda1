"""`backfill`: a past window of a feed, asked for and sent again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import click

from app.base.budget import Budget
from app.base.errors import StateError, StateTooLarge
from app.base.instants import DAY, MILLISECOND, floor_to, format_time, utc_now
from app.base.readings import Slice
from app.base.text import counted, dashed, moment, span
from app.cli import COMMANDS, PROGRAM
from app.cli.choices import (
    consumer_group_option,
    feed_argument,
    feeds_to,
    find_hubs,
    hubs_option,
    instant,
    locations_option,
    unknown_name,
)
from app.cli.common_options import chosen
from app.cli.output import Output
from app.cli.progress import FetchedShare, ProgressBars
from app.cli.run import run_once, show
from app.cli.session import (
    ALL_WELL,
    DISCOVERY_TIME,
    SOMETHING_WRONG,
    begin,
    complain,
    confirmed,
    json_option,
    yes_option,
)
from app.cli.stop import Stop
from app.eventhub.reader import HubReader
from app.feeds.feed import Feed, load_feed
from app.health.past_runs import pace_of, past_runs
from app.run.backfill import Backfill, Held, expected, first_state, summed
from app.run.locations import find_locations
from app.run.ports import Wiring
from app.run.report import Report
from app.settings.schema import HubSettings, Settings
from app.state.read_only import RememberingStore
from app.wiring import wire

# Runs in a row that opened no slice: the next one would not either.
_FRUITLESS = 3
# A hub's clock may be a little behind ours.
_SKEW = timedelta(minutes=5)


@dataclass(slots=True)
class _Job:
    """A backfill with all that it needs."""

    backfill: Backfill
    feed: Feed
    settings: Settings
    hubs: Sequence[HubSettings]
    wiring: Wiring
    name: str
    locations: Sequence[str] = ()
    resumed: bool = False
    # What the hubs were found to hold, by key.
    held: dict[str, Held] = field(default_factory=dict)


@click.command("backfill", short_help=COMMANDS["backfill"])
@feed_argument
@click.option("--from", "since", metavar="T", required=True, help="The window's start.")
@click.option("--to", "until", metavar="T", required=True, help="The window's end, not part of it.")
@locations_option
@hubs_option
@click.option("--only-missing", is_flag=True, help="Read the hubs first, and send what they lack.")
@consumer_group_option
@click.option("--dry-run", is_flag=True, help="Ask the source, send and save nothing, show what would go.")
@yes_option
@json_option
def command(
    feed: str,
    since: str,
    until: str,
    locations: tuple[str, ...],
    hubs: tuple[str, ...],
    only_missing: bool,
    consumer_group: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Ask the source for a past window again, and send it to the hubs.

    T is an ISO time (UTC unless it names a zone), or a duration back from now like 30d or 6h, cut to
    its unit: 2d begins at midnight UTC. Live runs go on meanwhile, and their positions stay. What is
    sent has the same message ids as ever, so that consumers can drop what they know.

    It goes on, run after run, until all is sent. Where it was stopped, or something failed, the
    same command goes on from there. It says how much it is about, and asks, before it sends anything.

    \b
    python -m app backfill people-counter --from 7d --to 0s --dry-run
    python -m app backfill people-counter --from 9d --to 8d --only-missing
    python -m app backfill hourly-snapshot --from 30d --to 1d --hub second
    """  # noqa: D301 - \b keeps click from filling the lines after it
    settings = begin(as_json=as_json)
    (name,) = (found.name for found in feeds_to("fill", settings, [feed]))
    now = floor_to(utc_now(), MILLISECOND)
    # Cut, so that the same command stays the same request for a while.
    window = Slice(instant("--from", since, now, cut=True), instant("--to", until, now, cut=True))
    if window.start >= min(window.end, now):
        raise click.UsageError(f"--from {since} is not before --to {until}, and before now")
    chosen = find_hubs(settings, hubs)
    keys = tuple(hub.key for hub in chosen) if hubs else ()
    backfill = Backfill(name, window, tuple(dict.fromkeys(locations)), keys, only_missing)
    job = _prepared(backfill, settings, chosen, now, dry_run=dry_run)
    if only_missing and not job.resumed:
        _read_hubs(job, now, consumer_group)
    _announce(job, now)
    if not dry_run and not confirmed("send it?", yes=yes):
        return SOMETHING_WRONG
    _write_down(job)
    return _carry_out(job, Output(as_json=as_json))


# --- what was asked for -----------------------------------------------------------------------------


def _prepared(
    backfill: Backfill, settings: Settings, hubs: Sequence[HubSettings], now: datetime, *, dry_run: bool
) -> _Job:
    """Find out what there is to do: all of it, or what an earlier command left."""
    feed, wiring = load_feed(backfill.feed), wire(settings, dry_run=dry_run)
    if dry_run:
        wiring = replace(wiring, store=RememberingStore(wiring.store))
    job = _Job(backfill, feed, settings, hubs, wiring, backfill.state_name(feed.state_name))
    begun = wiring.store.load(job.name)
    job.resumed = begun.last_run is not None
    job.locations = sorted(begun.locations) if job.resumed else _locations(job, now)
    return job


def _locations(job: _Job, now: datetime) -> list[str]:
    """Give the locations to ask for, those that a live run would ask for unless they are named.

    Raises UsageError, listing what there is, for a name that is none.
    """
    asked, state = job.backfill, job.wiring.store.load(job.feed.state_name)
    feed = job.settings.feeds[asked.feed]
    client = job.wiring.make_client(Budget(DISCOVERY_TIME))
    try:
        client.login()
        found = find_locations(client, state, job.settings, feed, now)
    finally:
        client.close()
    for text in (*found.warnings, *(text for _, text in found.failures)):
        complain(f"warning: {text}")
    # Lately gone ones may be named too: in the window they were there.
    known = {*found.names, *state.locations} - found.refused
    unknown = [name for name in asked.locations if name not in known]
    if unknown:
        raise unknown_name(unknown[0], sorted(known))
    if not found.names:
        raise click.UsageError("there is no location to ask for; see `locations`")
    return sorted(asked.locations or found.names)


# --- what hubs have ---------------------------------------------------------------------------------


def _read_hubs(job: _Job, now: datetime, consumer_group: str) -> None:
    """Learn what the hubs hold of the window. Raises HubError where one cannot be read."""
    window = replace(job.backfill.window, end=min(job.backfill.window.end, now))
    for hub in job.hubs:
        complain(f"reading what hub {hub.name} got since {moment(window.start)}")
        held = Held(job.feed, window, job.locations)
        reader = HubReader(hub, consumer_group)
        reader.open(latest=False, since=window.start - _SKEW)
        held.readable_from = reader.read_held(held.take)
        job.held[hub.key] = held


def _announce(job: _Job, now: datetime) -> None:
    """Say what is going to be done, before anything is."""
    asked = job.backfill
    locations = ", ".join(asked.locations) or counted(len(job.locations), "location")
    window = f"from {moment(asked.window.start)} to {moment(min(asked.window.end, now))}"
    to = ", ".join(hub.name for hub in job.hubs)
    what = "that they lack go to" if asked.only_missing else "go again to"
    complain(
        f"readings of {dashed(asked.feed)} of {locations}, {window}, {what} {to}, with the same message ids"
    )
    complain(_amount(job, now))
    if asked.window.end > now:
        complain(f"--to is in the future; it is cut to {moment(now)}")
    if job.resumed:
        complain("an earlier command began this; it goes on from where that one stopped")
    for hub in job.hubs:
        held = job.held.get(hub.key)
        if held is not None:
            complain(f"hub {hub.name} has {counted(held.readings, 'reading')} of it")
        if held is not None and held.readable_from is not None:
            complain(
                f"hub {hub.name} no longer holds all that came before {moment(held.readable_from)}; what it "
                "lost since counts as missing, and is sent again"
            )


def _amount(job: _Job, now: datetime) -> str:
    """Say of how many locations, how long, in how many windows, and about how much and how long that is."""
    window = replace(job.backfill.window, end=min(job.backfill.window.end, now))
    store, name = job.wiring.store, job.feed.state_name
    found = expected(window, job.locations, store.load(name), job.settings.feeds[job.backfill.feed])
    places = f"{counted(len(job.locations), 'location')} x {span(window.end - window.start)}"
    readings = "how many readings is not known"
    if found.readings is not None:
        readings = f"about {counted(found.readings, 'reading')} by the rate of the last day"
        if found.unknown:
            readings += f" (of {counted(found.unknown, 'location')} it is not known)"
    pace = pace_of(past_runs(store.history(name, now - DAY)))
    takes = "" if pace is None else f"; about {span(pace * found.windows)} at the pace of the last day's runs"
    return f"{places}, in about {counted(found.windows, 'window')}, {readings}{takes}"


def _write_down(job: _Job) -> None:
    """Save where the job begins, before anything is sent. Raises LockHeld beside the same backfill."""
    state = first_state(job.backfill, job.locations, [hub.key for hub in job.hubs], job.held)
    try:
        with job.wiring.store.lock(job.name, "backfill"):
            if job.wiring.store.load(job.name).last_run is None:
                job.wiring.store.save(job.name, state, list(state.locations))
    except StateTooLarge as error:
        # The other locations were saved: the same command must not take them for the whole.
        job.wiring.store.remove(job.name)
        raise StateError(
            f"state: {', '.join(error.locations)}: more readings at the hubs than the store takes; "
            "make the window shorter"
        ) from error


# --- carrying it out --------------------------------------------------------------------------------


def _carry_out(job: _Job, out: Output) -> int:
    """Run until nothing is left, something failed, or somebody says stop; tell what came of it."""
    narrowed = job.backfill.narrowed(job.settings, job.locations)
    wiring = replace(
        wire(narrowed, dry_run=job.wiring.dry_run),
        store=job.wiring.store,
        until=job.backfill.window.end,
        state_name=job.name,
    )
    stop = Stop()
    reports: list[Report] = []
    with stop.on_signals(), ProgressBars(out) as bars:
        fetched = FetchedShare(bars, job.backfill.feed)
        while not reports or (_goes_on(reports) and not stop.asked):
            reports.append(run_once(job.backfill.feed, wiring, stop, fetched))
    whole = summed(reports)
    done = whole.ok and not whole.left
    if done:
        job.wiring.store.remove(job.name)
    if out.as_json:
        out.write_object(whole.as_json() | {"backfill": _backfill_json(job, len(reports), done=done)})
    else:
        show(whole, job.settings, out, verbose=chosen().verbose)
    if not done and not job.wiring.dry_run:
        complain(f"not all of it is sent; to go on: {_command(job.backfill)}")
    return ALL_WELL if done or (whole.ok and stop.asked) else SOMETHING_WRONG


def _goes_on(reports: Sequence[Report]) -> bool:
    fruitless = len(reports) >= _FRUITLESS and not any(report.slices for report in reports[-_FRUITLESS:])
    return reports[-1].ok and reports[-1].left > 0 and not fruitless


def _backfill_json(job: _Job, runs: int, *, done: bool) -> Mapping[str, Any]:
    asked = job.backfill
    return {
        "from": format_time(asked.window.start),
        "to": format_time(asked.window.end),
        "only_missing": asked.only_missing,
        "state": job.name,
        "resumed": job.resumed,
        "runs": runs,
        "done": done,
        "held": {
            key: {
                "readings": held.readings,
                "readable_from": held.readable_from and format_time(held.readable_from),
            }
            for key, held in job.held.items()
        },
    }


def _command(asked: Backfill) -> str:
    """Give the command that goes on from here, whatever the time is by then."""
    words = ["backfill", dashed(asked.feed)]
    words += ["--from", format_time(asked.window.start), "--to", format_time(asked.window.end)]
    words += [word for name in asked.locations for word in ("--location", name)]
    words += [word for key in asked.hubs for word in ("--hub", key)]
    words += ["--only-missing"] if asked.only_missing else []
    return f"{PROGRAM} {shlex.join(words)}"
