"""`run`: one run of a feed, or of all feeds one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import click

from app.base.budget import Budget
from app.base.causes import advice, of_several, short_cause, without_quotes
from app.base.errors import OutputLost, SettingsError
from app.base.grouping import by_key
from app.base.shards import WHOLE, Shard
from app.base.text import counted, dashed, minute, moment, named, printable, span, zone_name
from app.cli import COMMANDS
from app.cli.choices import FeedName, ShardName
from app.cli.common_options import chosen, verbose_option
from app.cli.output import Output, text
from app.cli.progress import FetchedShare, ProgressBars
from app.cli.session import (
    ALL_WELL,
    SOMETHING_WRONG,
    begin,
    complain,
    explain,
    json_option,
    show_traceback,
    worst,
)
from app.cli.stop import Stop
from app.cli.tables import Column, table
from app.feeds.feed import load_feed
from app.run.forwarder import run_forwarder
from app.run.ports import Wiring
from app.run.report import Failure, Report, RunFailed, is_note
from app.settings.rights import with_rights_told
from app.settings.schema import Settings
from app.wiring import wire

_ALL = "all"
# Of locations that failed alike, and of lines that say the same of other things.
_NAMED_AT_MOST = 4
_ALIKE_AT_MOST = 5


@click.command("run", short_help=COMMANDS["run"])
@click.argument("feed", metavar="FEED", type=FeedName(_ALL))
@click.option("--dry-run", is_flag=True, help="Fetch and show what would go where; send and save nothing.")
@click.option(
    "--shard",
    type=ShardName(),
    metavar="I/N",
    help="Run part I of N of the feed, 1/N to N/N, at the same time as the others. Needs the table store.",
)
@verbose_option
@json_option
def command(feed: str, dry_run: bool, shard: Shard | None, as_json: bool) -> int:
    """Run a feed once, exactly as its timer would: people-counter, hourly-snapshot, or all.

    `all` runs the feeds that are on, one after the other; its exit status is the worst of theirs.
    Ctrl-C or SIGTERM ends a run early and in order: what is under way is finished and saved, the
    next run goes on from there. A second one ends it at once.

    \b
    python -m app run people-counter --dry-run
    python -m app run all --json
    python -m app run people-counter --shard 2/8
    """  # noqa: D301 - \b keeps click from filling the lines after it
    settings = with_rights_told(begin(as_json=as_json))
    names = _chosen(feed, settings)
    if shard is not None and settings.state.store != "table":
        raise click.UsageError(
            f"--shard {shard}: shards need a state that hosts share; set STATE_STORE=table, or run the feed "
            "without --shard"
        )
    out = Output(as_json=as_json)
    stop = Stop()
    statuses: list[int] = []
    is_all, of = feed.lower() == _ALL, shard or WHOLE
    with stop.on_signals():
        for name in names:
            try:
                statuses.append(_run_one(name, settings, stop, out, dry_run=dry_run, of_all=is_all, shard=of))
            except OutputLost as error:
                # It keeps no feed from being run.
                complain(f"{dashed(name)}: {error}")
                statuses.append(SOMETHING_WRONG)
    return worst(statuses)


def _chosen(wanted: str, settings: Settings) -> Sequence[str]:
    """Give the names of the feeds to run; what cannot be run is refused before anything is asked.

    Raises UsageError for a word that is no feed, SettingsError for a feed without a module.
    """
    if wanted.lower() == _ALL:
        names = list(settings.feeds)
    else:
        names = [name for name in settings.feeds if dashed(name) == dashed(wanted.lower())]
    if not names:
        known = ", ".join([*map(dashed, settings.feeds), _ALL])
        raise click.UsageError(f"{printable(wanted)!r} is not a feed; there are {known}")
    for name in names:
        if settings.feeds[name].view_id:
            load_feed(name)
    return names


def _run_one(
    name: str,
    settings: Settings,
    stop: Stop,
    out: Output,
    *,
    dry_run: bool,
    of_all: bool,
    shard: Shard,
) -> int:
    """Run a feed and tell what came of it; gives its exit status."""
    if of_all and not settings.feeds[name].view_id:
        return _not_run(name, "off", "it is off; set its view id to run it", out)
    if stop.asked:
        return _not_run(name, "stopped", "not begun: the command was told to stop", out)
    try:
        with ProgressBars(out) as bars:
            report = run_once(name, wire(settings, dry_run=dry_run), stop, FetchedShare(bars, name), shard)
    except SettingsError:
        raise
    except Exception as error:  # noqa: BLE001 - one feed's trouble must not keep the next from running
        show_traceback(error)
        failure = explain(error)
        # First, as it is to be told where standard output is lost, too.
        complain(f"{dashed(name)}: {failure.text}")
        if out.as_json:
            out.write_object({"feed": name, "ok": False, "error": failure.text})
        return failure.status
    if out.as_json:
        out.write_object(report.as_json())
    else:
        show(report, settings, out, verbose=chosen().verbose)
    return ALL_WELL if report.ok else SOMETHING_WRONG


def run_once(name: str, wiring: Wiring, stop: Stop, fetched: FetchedShare, shard: Shard = WHOLE) -> Report:
    """Run the feed; give its report, whether or not something failed."""
    budget = stop.watch(Budget(wiring.settings.run.budget))
    try:
        return run_forwarder(name, wiring, shard=shard, budget=budget, progress=fetched.show)
    except RunFailed as failed:
        return failed.report


def _not_run(name: str, why: str, said: str, out: Output) -> int:
    if out.as_json:
        out.write_object({"feed": name, "ok": True, why: True})
    else:
        out.show(f"{dashed(name)}: {said}")
    return ALL_WELL


# --- for people -------------------------------------------------------------------------------------


def show(report: Report, settings: Settings, out: Output, *, verbose: bool = False) -> None:
    """Give an account of a run: what every hub got, then whatever is worth a word.

    Errors are told by their cause, and of many alike things some; with `verbose` all of it is told.
    """
    out.show(text(_headline(report), "bold" if report.ok else "bold red"))
    names = settings.hub_names
    columns = [
        Column("hub", key=True),
        Column("events", number=True),
        Column("readings", number=True),
        Column("duplicates", number=True),
        Column("done until (UTC)"),
        Column("behind", number=True),
    ]
    rows = [
        [
            names.get(key, key) + (" (paused)" if hub.paused else " (failed)" if hub.error else ""),
            hub.events,
            hub.readings,
            hub.duplicates,
            hub.delivered_until,
            span(hub.behind_s),
        ]
        for key, hub in report.hubs.items()
    ]
    out.show(table(columns, rows))
    for style, said in (
        *_remarks(report, names, verbose=verbose),
        *_failures(report, names, verbose=verbose),
    ):
        out.show(text(said, style))


def _headline(report: Report) -> str:
    feed = dashed(report.feed)
    feed += "" if report.shard.is_whole else f", shard {report.shard}"
    feed += ", dry run" if report.dry_run else ""
    if report.interrupted:
        return f"{feed}: interrupted after {report.took_s:.1f} s, the next run goes on from there"
    if report.until is None and not report.ok:
        return f"{feed}: failed after {report.took_s:.1f} s, before any location was asked for"
    done = "" if report.ok else "failed in part: "
    until = f" up to {minute(report.until)} {zone_name()}" if report.until else ""
    return f"{feed}: {done}{counted(report.locations, 'location')}{until}, {report.took_s:.1f} s"


def _remarks(report: Report, names: Mapping[str, str], *, verbose: bool) -> Iterator[tuple[str, str]]:
    """Give lines with their style: what is left, and what is worth a word, many alike things cut short."""
    if report.dry_run:
        yield "", "nothing was sent or saved: this is what a run would do"
    if report.left:
        # What fails is not caught up with, whatever the pace of the rest; a run that was cut short has none.
        tells = report.forecast_s is not None and report.ok and not report.interrupted
        more = f", about {span(report.forecast_s)} of runs like this one" if tells else ""
        longest = f"{span(report.left_longest_s)} at most"
        yield "", f"left for the next run: {longest}, at {counted(report.left, 'location')}{more}"
    remarks = by_key((remark.partition(": ")[0], remark) for remark in _worth_a_word(report, names))
    for kind, alike in remarks.items():
        shown = alike if verbose or len(alike) <= _ALIKE_AT_MOST else alike[: _ALIKE_AT_MOST - 1]
        yield from (("yellow", remark) for remark in shown)
        if len(shown) < len(alike):
            yield "dim", f"{kind}: {len(alike) - len(shown):,} more; --verbose shows all"
    if report.compared:
        done = report.compared
        differ = f"{done.differ} differ" if done.differ else "none differs"
        hours, locations = counted(done.hours, "hour"), counted(done.locations, "location")
        yield "", f"compared with the source: {hours} of {locations}, {differ}"


def _worth_a_word(report: Report, names: Mapping[str, str]) -> Iterator[str]:
    def of_hubs(hubs: Sequence[str]) -> str:
        return ", ".join(names.get(hub, hub) for hub in hubs) or "all hubs"

    for warning in report.warnings:
        yield f"{'note' if is_note(warning) else 'warning'}: {without_quotes(warning)}"
    for reading in report.quarantined:
        where = f"{reading.location}, {of_hubs(reading.hubs)}"
        yield f"quarantined: a reading of {where}: {reading.reason}; it is kept at {reading.place}"
    for reading in report.quarantined_before:
        where = f"{reading.location}, {of_hubs(reading.hubs)}"
        yield f"in quarantine already: a reading of {where}: {reading.reason}; `quarantine show {reading.id}`"
    for location, gap in report.gaps:
        window = f"{moment(gap.window.start)} to {moment(gap.window.end)}"
        yield f"gap: {location}, {window}, {gap.cause}, {of_hubs(gap.hubs)}; readings may be missing there"
    for changed in report.changed:
        what = counted(len(changed.ids), "reading") if changed.ids else "content"
        yield f"changed: {changed.location}, {moment(changed.hour)}: {what} changed after delivery"
    for drift in report.drift:
        yield f"noticed: {drift.text}"


def _failures(report: Report, names: Mapping[str, str], *, verbose: bool) -> Iterator[tuple[str, str]]:
    """Give the failures with their style, those of one cause once."""
    of_hubs = by_key(
        ((each.hub, each.location is None, short_cause(each.error), advice(each.error)), each)
        for each in report.failures
    )
    alike = by_key(
        ((cause, do, _places(found)), (hub, found)) for (hub, _, cause, do), found in of_hubs.items()
    )
    for (cause, do, locations), hubs in alike.items():
        about = [named(locations, _NAMED_AT_MOST)] if locations else []
        called = [names.get(hub, hub) for hub, _ in hubs if hub is not None]
        if called:
            about.append(f"{'hub' if len(called) == 1 else 'hubs'} {named(called, _NAMED_AT_MOST)}")
        told = of_several(cause) if len(called) > 1 else cause
        yield "red", f"failed: {', '.join(about)}{': ' if about else ''}{told}{f'; {do}' if do else ''}"
        if verbose:
            errors = dict.fromkeys(each.error for _, found in hubs for each in found)
            yield from (("dim", f"  {error}") for error in errors)


def _places(failures: Sequence[Failure]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.location for each in failures if each.location is not None))
